"""Simulated runs and aggregates as plain JSON-able values. docs/json.md describes them."""

from __future__ import annotations

from typing import Any

from rackrate.app.simulated_aggregates import AggregatedLevel, SimulatedAggregates
from rackrate.app.simulating import SimulatedRun
from rackrate.report.view import run_view
from rackrate.simulation.simulator import Latencies, Outcome

SCHEMA = "rackrate.simulated-aggregates/1"


def simulated_view(found: SimulatedRun) -> dict[str, Any]:
    """A run, as a measured one."""
    return run_view(found.run, list(found.levels), found.saturation)


def aggregates_view(found: SimulatedAggregates) -> dict[str, Any]:
    """Loads of which no request was kept."""
    return {
        "schema": SCHEMA,
        "model": found.header.model.requested,
        "engine": found.header.engine.model_dump(mode="json"),
        "levels": [_level_view(level) for level in found.levels],
    }


def _level_view(level: AggregatedLevel) -> dict[str, Any]:
    outcome, slo = level.outcome, level.slo
    return {
        "rate": level.rate,
        "arrivals": level.arrivals,
        **_figures(outcome),
        "overloaded": level.overloaded,
        "slo": str(slo) if slo is not None else None,
        "slo_met": level.slo_met,
        "attainment": outcome.attainment if slo is not None else None,
        "took_s": level.took_s,
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
