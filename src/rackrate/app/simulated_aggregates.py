"""Open loops of any length, of which no request is kept: only sums and quantiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rackrate.app.simulate_request import SimulateRequest
    from rackrate.app.simulated_levels import Simulation
    from rackrate.runs.records import RunHeader
    from rackrate.simulation.simulator import Outcome
    from rackrate.workload.slo import Slo
    from rackrate.workload.traces import Trace


@dataclass(frozen=True)
class AggregatedLevel:
    """One load."""

    rate: float
    """[request/s]"""
    arrivals: str
    outcome: Outcome
    overloaded: bool
    """Whether the number in flight grows."""
    slo: Slo | None
    slo_met: bool | None
    """None where there is no SLO."""
    took_s: float
    """To simulate it."""


@dataclass(frozen=True)
class SimulatedAggregates:
    """Loads of which no request was kept."""

    header: RunHeader
    """What was simulated; its levels are not in it."""
    levels: tuple[AggregatedLevel, ...]

    @property
    def note(self) -> str:
        """What was simulated, in a sentence."""
        from rackrate.app.simulated_replica import served_note

        return served_note(self.header)


def refuse(request: SimulateRequest, rates: Sequence[float], trace: Trace | None) -> None:
    """Raises UserError for what goes only with requests that are kept."""
    from rackrate.errors import UserError

    if request.levels:
        raise UserError(
            "{aggregates} is of open loops: give {rates}, not {levels}", fields=("aggregates", "rates", "levels")
        )
    if not rates:
        raise UserError(
            "{aggregates} needs a load: {rates}, or the recorded one of {trace}",
            fields=("aggregates", "rates", "trace"),
        )
    if request.prefix_cache and trace is not None and trace.records_sharing:
        raise UserError(
            "{aggregates} does not follow the prefix blocks of a trace: add {no_prefix_cache}, and {cached_share} for "
            "a hit rate",
            fields=("aggregates", "no_prefix_cache", "cached_share"),
        )


def aggregate(
    work: Simulation, rate: float, slo: Slo | None, on_progress: Callable[[str, float, float | None], None]
) -> AggregatedLevel:
    """Simulates one load of `work.requests` requests."""
    from rackrate.simulation.capacity import OVERLOADED, WARMUP_SHARE, sustained
    from rackrate.simulation.simulator import simulate_blocks
    from rackrate.workload.stream import stream

    began, number = time.monotonic(), work.requests or 0
    outcome = simulate_blocks(
        stream(work.pattern, rate, number, work.workload),
        number,
        work.served.step,
        work.limits,
        work.fleet,
        slo=slo,
        warmup=int(number * WARMUP_SHARE),
        cached_share=work.cached_share,
        on_progress=lambda arrived: on_progress(f"requests at {rate:g}/s", arrived, number),
    )
    return AggregatedLevel(
        rate, work.pattern, outcome, overloaded=(outcome.growth or 0.0) > OVERLOADED, slo=slo,
        slo_met=sustained(outcome, slo) if slo is not None else None, took_s=time.monotonic() - began,
    )  # fmt: skip
