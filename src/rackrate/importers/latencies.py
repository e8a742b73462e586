"""Latencies as vLLM's and SGLang's bench keep them: lists with an entry a request, or sums in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from rackrate.importers.results import ForeignRequest, LayoutError, Object, number, numbers
from rackrate.metrics.summary import Quantiles
from rackrate.runs.records import StatedFigures, StatedQuantiles


class Latencies:
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
            "ttft": stated_quantiles(Quantiles.of([self.ttft[at] for at in answered])),
            "tpot": stated_quantiles(Quantiles.of(tpot)),
            "itl": stated_quantiles(Quantiles.of([gap for at in answered for gap in self.gaps[at]]))
            if single
            else None,
            "e2e": stated_quantiles(Quantiles.of([self.whole[at] for at in answered])),
        }


def _listed(values: Object, key: str) -> list[Any]:
    found = values.get(key)
    if not isinstance(found, list):
        raise LayoutError(f"{key} is missing")
    return cast("list[Any]", found)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def stated_quantiles(found: Quantiles | None) -> StatedQuantiles | None:
    """As they are kept with a run."""
    if found is None:
        return None
    return StatedQuantiles(
        count=found.count, mean=found.mean, p50=found.p50, p90=found.p90, p95=found.p95, p99=found.p99
    )


def stated_totals(
    values: Object, finished: int, failed: int | None, latencies: Latencies | None, e2e_name: str = "e2el"
) -> StatedFigures:
    """What the file sums up, end to end under that name; percentiles that were not asked for are not there."""
    duration_s = number(values, "duration")
    into, out = number(values, "total_input_tokens"), number(values, "total_output_tokens")
    request_s = number(values, "request_throughput")
    spread: dict[str, StatedQuantiles | None]
    if latencies is not None:
        spread = latencies.quantiles()
    else:
        spread = {
            metric: _percentiles(values, name, finished if metric in {"ttft", "e2e"} else None)
            for metric, name in (("ttft", "ttft"), ("tpot", "tpot"), ("itl", "itl"), ("e2e", e2e_name))
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


def _percentiles(values: Object, name: str, count: int | None) -> StatedQuantiles | None:
    def seconds(key: str) -> float | None:
        found = number(values, f"{key}_{name}_ms")
        return found / 1000 if found is not None else None

    found = StatedQuantiles(
        count=count,
        mean=seconds("mean"),
        p50=seconds("median") if seconds("median") is not None else seconds("p50"),
        p90=seconds("p90"),
        p95=seconds("p95"),
        p99=seconds("p99"),
    )
    return found if found.mean is not None or found.p50 is not None else None
