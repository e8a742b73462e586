"""Simulated runs and aggregates as what their outputs are made of. docs/json.md describes them."""

from __future__ import annotations

from rackrate.app.simulated_aggregates import AggregatedLevel, SimulatedAggregates
from rackrate.app.simulating import SimulatedRun
from rackrate.report.view import run_view
from rackrate.schemas import predictions as views
from rackrate.schemas.costs import RunSummary
from rackrate.schemas.root import made
from rackrate.simulation.simulator import Latencies


def simulated_view(found: SimulatedRun) -> RunSummary:
    """A run, as a measured one."""
    return run_view(found.run, found.levels, found.saturation)


def aggregates_view(found: SimulatedAggregates) -> views.AggregatesView:
    """Loads of which no request was kept."""
    header = found.header
    return views.AggregatesView(header.model.requested, header.engine, [_level_view(level) for level in found.levels])


def _level_view(level: AggregatedLevel) -> views.AggregateLevel:
    outcome, slo = level.outcome, level.slo
    span = outcome.end_s or 1.0
    return made(
        views.AggregateLevel,
        level,
        outcome,
        simulated_s=outcome.end_s,
        request_s=outcome.requests / span,
        output_tok_s=outcome.output_tokens / span,
        input_tok_s=outcome.input_tokens / span,
        cached_share=outcome.cached_tokens / outcome.input_tokens,
        ttft=_times(outcome.ttft),
        tpot=_times(outcome.tpot),
        e2e=_times(outcome.e2e),
        busy_share=outcome.busy_s / outcome.replica_s if outcome.replica_s else None,
        mean_replicas=outcome.replica_s / span,
        slo=str(slo) if slo is not None else None,
        attainment=outcome.attainment if slo is not None else None,
    )


def _times(latencies: Latencies) -> views.SimulatedTimes | None:
    mean, *points = latencies.mean_s(), *(latencies.quantile_s(share) for share in (0.5, 0.95, 0.99))
    return None if mean is None else views.SimulatedTimes(mean, *(point or 0.0 for point in points))
