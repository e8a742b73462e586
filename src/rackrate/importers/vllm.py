"""vLLM's `vllm bench serve --save-result`, with and without --save-detailed.

Keys as written by vLLM 0.6 to 0.32 (vllm/benchmarks/serve.py, earlier benchmarks/benchmark_serving.py): seconds in
lists, milliseconds in sums. Start times are there since 0.11; without them requests cannot be placed in time, and only
their latencies are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, cast

from rackrate.importers.files import ResultFile
from rackrate.importers.results import (
    ForeignLevel,
    ForeignRequest,
    ImportedRun,
    LayoutError,
    Object,
    number,
    numbers,
    text,
    whole,
)
from rackrate.metrics.summary import Quantiles
from rackrate.runs.records import StatedFigures, StatedQuantiles

_FIRST_CHUNK = (
    "vLLM bench takes the first chunk with a choice for the first token, even if it only names the role: where a "
    "server sends the role early, its TTFT is too short."
)
_STRIPPED = (
    "Every answer came in two pieces more than it has tokens: the first (the role) and the last (the end) were taken "
    "off, so TTFT counts to the first text."
)
_SENT = "vLLM bench does not record when a request was due: TTFT counts from when it was sent."
_USAGE = (
    "vLLM bench takes output tokens from the server's usage where there is one, else it tokenizes the text itself; "
    "the file does not say which."
)
_CLIENT = ("client-bound", "contended", "cold")

FILES = "vLLM `bench serve` (--save-result)"


def read(file: ResultFile) -> list[ImportedRun] | None:
    """A result a line. See `detect.Importer`."""
    if not file.lines or not all(is_vllm(line) for line in file.lines):
        return None
    return [read_vllm(line) for line in file.lines]


def is_vllm(values: Object) -> bool:
    """Whether it looks like a result of `vllm bench serve`; SGLang's, much alike, counts tokens otherwise."""
    return {"request_throughput", "total_output_tokens", "mean_ttft_ms"} <= set(
        values
    ) and "total_output_tokens_retokenized" not in values


def read_vllm(values: Object) -> ImportedRun:
    """One result.

    Raises:
        LayoutError: what a result must have is missing.
    """
    backend = text(values, "endpoint_type") or text(values, "backend") or ""
    rate = number(values, "request_rate")  # "inf": all at once, or as max_concurrency lets them
    concurrency = whole(values, "max_concurrency")
    finished = whole(values, "completed")
    if finished is None:
        raise LayoutError("completed is missing")
    asked = whole(values, "num_prompts")
    notes = [_FIRST_CHUNK] if "chat" in backend or not backend else []
    if rate is None and concurrency is None:
        concurrency = asked or finished or 1
        notes.append(f"All {concurrency} requests were sent at once.")
    shape = number(values, "burstiness")
    arrivals = "poisson" if shape in {None, 1.0} else f"gamma:{cast('float', shape) ** -0.5:.3g}"
    if rate is not None:
        notes.append(_SENT)
        if concurrency is not None:
            notes.append(f"No more than {concurrency} requests were let out at a time, so the loop was not fully open.")
    notes.append(_USAGE)
    requests: list[ForeignRequest] = []
    layout, stated = "totals", None
    if "ttfts" in values and "itls" in values:
        latencies = _Latencies(values)
        if latencies.strip_ends():
            notes.remove(_FIRST_CHUNK)
            notes.append(_STRIPPED)
        if "start_times" in values:
            layout, requests = "detailed", latencies.requests(numbers(values["start_times"]))
        else:
            layout = "detailed, without start times"
            stated = _totals(values, finished, asked, latencies)
    if not requests and stated is None:
        stated = _totals(values, finished, asked, None)
    unknown = (*_CLIENT, "no-usage")
    if stated is not None:
        unknown += ("overloaded",) if rate is not None else ("unsteady",)
    level = ForeignLevel(
        concurrency=concurrency if rate is None else None,
        rate=rate,
        arrivals=arrivals if rate is not None else None,
        requests=requests,
        stated=stated,
        unknown=unknown,
    )
    return ImportedRun(
        tool="vllm bench serve",
        layout=layout,
        levels=[level],
        created=_created(text(values, "date")),
        model=text(values, "model_id"),
        endpoint=_endpoint(backend),
        notes=tuple(notes),
    )


def _endpoint(backend: str) -> Literal["chat", "completions"] | None:
    if "chat" in backend:
        return "chat"
    return "completions" if backend in {"vllm", "openai", "sglang", "lmdeploy", "llama.cpp"} else None


def _created(date: str | None) -> str | None:
    """20260131-235959 in the local time of that machine, of which the file says nothing: the date alone is kept."""
    try:
        return datetime.strptime(date or "", "%Y%m%d-%H%M%S").date().isoformat()  # noqa: DTZ007 -- no zone is stated
    except ValueError:
        return None


class _Latencies:
    """The lists that --save-detailed adds, one entry a request, failed ones included."""

    def __init__(self, values: Object) -> None:
        self.ttft = numbers(values["ttfts"])
        self.gaps = [numbers(item) for item in _listed(values, "itls")]
        self.output = [_count(item) for item in _listed(values, "output_lens")]
        self.input = [_count(item) for item in _listed(values, "input_lens")]
        told = _listed(values, "errors") if "errors" in values else [""] * len(self.ttft)
        self.errors = [str(item or "") for item in told]
        # older files have no latencies; the last chunk ended the answer
        self.whole = (
            numbers(values["latencies"])
            if "latencies" in values
            else [ttft + sum(gaps) for ttft, gaps in zip(self.ttft, self.gaps, strict=False)]
        )
        lengths = {len(item) for item in (self.ttft, self.gaps, self.output, self.input, self.errors, self.whole)}
        if len(lengths) != 1:
            raise LayoutError("its lists per request are not equally long")
        self.ok = [
            not error and bool(output) and ttft > 0
            for error, output, ttft in zip(self.errors, self.output, self.ttft, strict=True)
        ]

    def strip_ends(self) -> bool:
        """Takes the role and the end off answers, where each answer has exactly these two pieces too many."""
        answered = [at for at, ok in enumerate(self.ok) if ok]
        if not answered or any(len(self.gaps[at]) + 1 != (self.output[at] or 0) + 2 for at in answered):
            return False
        for at in answered:
            self.ttft[at] += self.gaps[at][0]
            self.gaps[at] = self.gaps[at][1:-1]
        return True

    def requests(self, starts: Sequence[float]) -> list[ForeignRequest]:
        """With their times."""
        if len(starts) != len(self.ttft):
            raise LayoutError("its lists per request are not equally long")
        found: list[ForeignRequest] = []
        for at, start in enumerate(starts):
            if not self.ok[at]:
                said = self.errors[at].strip().splitlines()
                found.append(
                    ForeignRequest(
                        due_s=start, sent_s=start, done_s=start + max(0.0, self.whole[at]), first_token_s=None,
                        status="unnamed", detail=said[-1][:200] if said else None,
                    )
                )  # fmt: skip
                continue
            moment = start + self.ttft[at]
            pieces = [moment]
            for gap in self.gaps[at]:
                moment += gap
                pieces.append(moment)
            found.append(
                ForeignRequest(
                    due_s=start,
                    sent_s=start,
                    done_s=max(start + self.whole[at], moment),
                    first_token_s=pieces[0],
                    chunk_s=tuple(pieces),
                    input_tokens=self.input[at],
                    output_tokens=self.output[at],
                )
            )
        return found

    def quantiles(self) -> dict[str, StatedQuantiles | None]:
        """Of the latencies, whatever their times."""
        answered = [at for at, ok in enumerate(self.ok) if ok]
        tpot = [
            (self.whole[at] - self.ttft[at]) / ((self.output[at] or 0) - 1)
            for at in answered
            if (self.output[at] or 0) > 1
        ]
        pieces = sum(len(self.gaps[at]) + 1 for at in answered)
        single = sum(self.output[at] or 0 for at in answered) < 1.05 * pieces
        return {
            "ttft": _stated(Quantiles.of([self.ttft[at] for at in answered])),
            "tpot": _stated(Quantiles.of(tpot)),
            "itl": _stated(Quantiles.of([gap for at in answered for gap in self.gaps[at]])) if single else None,
            "e2e": _stated(Quantiles.of([self.whole[at] for at in answered])),
        }


def _listed(values: Object, key: str) -> list[Any]:
    found = values.get(key)
    if not isinstance(found, list):
        raise LayoutError(f"{key} is missing")
    return cast("list[Any]", found)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _stated(found: Quantiles | None) -> StatedQuantiles | None:
    if found is None:
        return None
    return StatedQuantiles(
        count=found.count, mean=found.mean, p50=found.p50, p90=found.p90, p95=found.p95, p99=found.p99
    )


def _totals(values: Object, finished: int, asked: int | None, latencies: _Latencies | None) -> StatedFigures:
    """What the file sums up; percentiles that were not asked for are not there."""
    failed = whole(values, "failed")
    if failed is None and asked is not None:
        failed = max(0, asked - finished)
    duration_s = number(values, "duration")
    into, out = number(values, "total_input_tokens"), number(values, "total_output_tokens")
    request_s = number(values, "request_throughput")
    spread: dict[str, StatedQuantiles | None]
    if latencies is not None:
        spread = latencies.quantiles()
    else:
        spread = {
            metric: _percentiles(values, name, finished)
            for metric, name in (("ttft", "ttft"), ("tpot", "tpot"), ("itl", "itl"), ("e2e", "e2el"))
        }
    e2e = spread["e2e"].mean if spread["e2e"] is not None else None
    return StatedFigures(
        finished=finished,
        failed=failed,
        duration_s=duration_s,
        output_tok_s=number(values, "output_throughput"),
        input_tok_s=into / duration_s if into is not None and duration_s else None,
        request_s=request_s,
        mean_input_tokens=into / finished if into is not None and finished else None,
        mean_output_tokens=out / finished if out is not None and finished else None,
        # Little's law: requests in flight = rate x time in the system
        mean_in_flight=request_s * e2e if request_s is not None and e2e is not None else None,
        **spread,
    )


def _percentiles(values: Object, name: str, finished: int) -> StatedQuantiles | None:
    def seconds(key: str) -> float | None:
        found = number(values, f"{key}_{name}_ms")
        return found / 1000 if found is not None else None

    found = StatedQuantiles(
        count=finished if name in {"ttft", "e2el"} else None,
        mean=seconds("mean"),
        p50=seconds("median") if seconds("median") is not None else seconds("p50"),
        p90=seconds("p90"),
        p95=seconds("p95"),
        p99=seconds("p99"),
    )
    return found if found.mean is not None or found.p50 is not None else None
