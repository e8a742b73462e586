"""`simulate --aggregates`: open loops of any length, of which no request is kept."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rackrate.planner.candidates import Replica
    from rackrate.runs.records import RunHeader
    from rackrate.simulate.settings import EngineLimits, Fleet
    from rackrate.simulate.simulator import Latencies, Outcome
    from rackrate.workload.slo import Slo
    from rackrate.workload.synthetic import SyntheticWorkload

SCHEMA = "rackrate.simulated-aggregates/1"
PACE_S = 2.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True)
class Streamed:
    """What is simulated, but for the rate."""

    workload: SyntheticWorkload
    served: Replica
    limits: EngineLimits
    fleet: Fleet
    pattern: str
    cached_share: float
    requests: int
    slo: Slo | None


def refuse(
    *, rates: list[float], levels: list[int], out: object, workload: SyntheticWorkload, prefix_cache: bool
) -> None:
    """Raises UserError for what goes only with requests that are kept."""
    from rackrate.errors import UserError

    if levels:
        raise UserError("--aggregates is of open loops: give --rate, not --concurrency")
    if out is not None:
        raise UserError("--aggregates keeps no request, and a run is its requests: leave out --out, or --aggregates")
    if not rates:
        raise UserError("--aggregates needs a load: --rate, or the recorded one of --trace")
    if prefix_cache and workload.trace is not None and workload.trace.records_sharing:
        raise UserError(
            "--aggregates does not follow the prefix blocks of a trace: add --no-prefix-cache, "
            "and --cached-share for a hit rate"
        )


def streamed_view(work: Streamed, rates: list[float], header: RunHeader) -> dict[str, Any]:
    """Simulates each rate, and gives plain values."""
    return {
        "schema": SCHEMA,
        "model": header.model.requested,
        "engine": header.engine.model_dump(mode="json"),
        "levels": [_level(work, rate) for rate in rates],
    }


def _level(work: Streamed, rate: float) -> dict[str, Any]:
    from rackrate.cli.output import say
    from rackrate.simulate.capacity import OVERLOADED, WARMUP_SHARE, sustained
    from rackrate.simulate.simulator import simulate_blocks
    from rackrate.workload.stream import stream

    began = last = time.monotonic()

    def on_progress(arrived: int) -> None:
        nonlocal last
        if time.monotonic() - last > PACE_S:
            last = time.monotonic()
            left = (last - began) / arrived * (work.requests - arrived)
            say(f"{rate:g}/s: {arrived:,} of {work.requests:,} requests, about {left:.0f} s left")

    outcome = simulate_blocks(
        stream(work.pattern, rate, work.requests, work.workload),
        work.requests,
        work.served.step,
        work.limits,
        work.fleet,
        slo=work.slo,
        warmup=int(work.requests * WARMUP_SHARE),
        cached_share=work.cached_share,
        on_progress=on_progress,
    )
    return {
        "rate": rate,
        "arrivals": work.pattern,
        **_figures(outcome),
        "overloaded": (outcome.growth or 0.0) > OVERLOADED,
        "slo": str(work.slo) if work.slo is not None else None,
        "slo_met": sustained(outcome, work.slo) if work.slo is not None else None,
        "attainment": outcome.attainment if work.slo is not None else None,
        "took_s": time.monotonic() - began,
    }


def _figures(outcome: Outcome) -> dict[str, Any]:
    span = outcome.end_s or 1.0
    return {
        "requests": outcome.requests,
        "judged": outcome.judged,
        "simulated_s": outcome.end_s,
        "request_s": outcome.requests / span,
        "output_tok_s": outcome.output_tokens / span,
        "input_tok_s": outcome.input_tokens / span,
        "cached_share": outcome.cached_tokens / outcome.input_tokens,
        "ttft": _quantiles(outcome.ttft),
        "tpot": _quantiles(outcome.tpot),
        "e2e": _quantiles(outcome.e2e),
        "mean_in_flight": outcome.mean_in_flight,
        "growth": outcome.growth,
        "busy_share": outcome.busy_s / outcome.replica_s if outcome.replica_s else None,
        "mean_replicas": outcome.replica_s / span,
        "preemptions": outcome.preemptions,
        "recomputed_tokens": outcome.recomputed_tokens,
    }


def _quantiles(latencies: Latencies) -> dict[str, float | None] | None:
    if not latencies.count:
        return None
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {"mean": latencies.mean_s(), **{name: latencies.quantile_s(share) for name, share in shares.items()}}
