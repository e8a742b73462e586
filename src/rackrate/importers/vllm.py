"""vLLM's `vllm bench serve --save-result`, with and without --save-detailed.

Keys as written by vLLM 0.6 to 0.32 (vllm/benchmarks/serve.py, earlier benchmarks/benchmark_serving.py): seconds in
lists, milliseconds in sums. Start times are there since 0.11; without them requests cannot be placed in time, and only
their latencies are used. `vllm bench sweep` keeps such results in a list, with the settings of each combination added.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, cast

from rackrate.importers.files import ResultFile
from rackrate.importers.latencies import Latencies, stated_totals
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
from rackrate.runs.records import StatedFigures

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

FILES = "vLLM `bench serve` (--save-result) and `bench sweep` (summary.json)"

_TIMED_SHARE = 0.2
"""Requests whose starts lie apart by more than this share of the whole were not sent at once."""
_OWN_KEYS = re.compile(
    r"date|endpoint_type|backend|label|model_id|tokenizer_id|run_number|duration|completed|failed|rtfx|latencies"
    r"|request_(throughput|goodput|goodput:)|total_.*|.*_throughput|max_(output_tokens_per_s|concurrent_requests)"
    r"|input_lens|output_lens|ttfts|itls|start_times|generated_texts|errors|spec_decode_.*|.*_(ttft|tpot|itl|e2el)_ms"
    # what is set on the bench, not on the server
    r"|num_.*|request_rate|burstiness|max_concurrency|seed|ramp_up_.*|dataset_.*|(random|sonnet|sharegpt|hf|custom|blazedit"
    r"|prefix_repetition|spec_bench|mtbench)_.*|temperature|top_p|top_k|ignore_eos|endpoint|base_url|host|port|model"
    r"|tokenizer|percentile_metrics|metric_percentiles|goodput|metadata|save_.*|result_.*|_benchmark_name|_.*"
)
"""Keys of a result of a sweep that are not settings of the server."""


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
    finished = whole(values, "completed")
    if finished is None:
        raise LayoutError("completed is missing")
    asked = whole(values, "num_prompts")
    notes = [_FIRST_CHUNK] if "chat" in backend or not backend else []
    starts = numbers(values["start_times"]) if "start_times" in values else []
    concurrency, rate, arrivals, said = _load(values, asked or finished or 1, starts)
    notes += [*said, _USAGE]
    requests: list[ForeignRequest] = []
    layout, stated = "totals", None
    if "ttfts" in values and "itls" in values:
        latencies = Latencies(values)
        if latencies.strip_ends():
            notes.remove(_FIRST_CHUNK)
            notes.append(_STRIPPED)
        if "start_times" in values:
            layout, requests = "detailed", latencies.requests(starts)
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
        arrivals=arrivals,
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
        server=_server_settings(values),
    )


def _load(
    values: Object, asked: int, starts: Sequence[float]
) -> tuple[int | None, float | None, str | None, list[str]]:
    """How requests were sent: how many in flight, or else the rate and its pattern; and what is to be said of it."""
    rate = number(values, "request_rate")  # "inf": all at once, by a ramp or a trace, or as max_concurrency lets them
    concurrency = whole(values, "max_concurrency")
    at_most = f"No more than {concurrency} requests were let out at a time, so the loop was not fully open."
    notes = [_SENT, *([at_most] if concurrency is not None else [])]
    span_s = max(starts, default=0.0) - min(starts, default=0.0)
    ramp, first, last = (
        text(values, "ramp_up_strategy"), number(values, "ramp_up_start_rps"), number(values, "ramp_up_end_rps"),
    )  # fmt: skip
    if ramp is not None and first is not None and last is not None and asked > 1:
        taken_s = span_s or _ramp_s(ramp, first, last, asked)
        if taken_s <= 0:
            raise LayoutError(f"a ramp from {first:g} to {last:g} requests a second is no load")
        return None, (asked - 1) / taken_s, f"ramp:{first:g}-{last:g}@{taken_s:.3g}", [
            f"The rate was raised from {first:g} to {last:g} requests/s ({ramp}); the rate shown is the mean.", *notes,
        ]  # fmt: skip
    if rate is not None:
        shape = number(values, "burstiness")
        arrivals = "poisson" if shape in {None, 1.0} else f"gamma:{cast('float', shape) ** -0.5:.3g}"
        return None, rate, arrivals, notes
    duration_s = number(values, "duration") or span_s
    if concurrency is None and span_s > _TIMED_SHARE * duration_s:
        return None, (len(starts) - 1) / span_s, "trace", [
            f"Requests were sent by times of their own, over {span_s:.3g} s; the rate shown is the mean.", *notes,
        ]  # fmt: skip
    if concurrency is None:
        return asked, None, None, [f"All {asked} requests were sent at once."]
    return concurrency, None, None, []


def _ramp_s(strategy: str, first: float, last: float, requests: int) -> float:
    """How long a ramp takes: vLLM goes from one rate to the other by the number of the request. [s]

    >>> round(_ramp_s("linear", 1, 5, 15), 2)
    6.06
    """
    if not (first > 0 and last > 0):
        return 0.0
    shares = [number / (requests - 1) for number in range(requests - 1)]
    if strategy == "exponential":
        return sum(1 / (first * (last / first) ** share) for share in shares)
    return sum(1 / (first + (last - first) * share) for share in shares)


def _server_settings(values: Object) -> tuple[tuple[str, str], ...]:
    """What a combination of a sweep sets on the server; of a result that is of no sweep nothing is known."""
    if "run_number" not in values:
        return ()
    return tuple(
        sorted(
            (key, str(value))
            for key, value in values.items()
            if not isinstance(value, dict | list) and not _OWN_KEYS.fullmatch(key)
        )
    )


def _totals(values: Object, finished: int, asked: int | None, latencies: Latencies | None) -> StatedFigures:
    failed = whole(values, "failed")
    if failed is None and asked is not None:
        failed = max(0, asked - finished)
    return stated_totals(values, finished, failed, latencies)


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
