"""Simulate a load on a deployment that need not exist: a run like a measured one, or its aggregates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rackrate.app.request_json import to_json
from rackrate.app.simulate_request import SimulateRequest

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.app.simulated_aggregates import SimulatedAggregates
    from rackrate.app.simulated_levels import Simulation
    from rackrate.metrics.saturation import Saturation
    from rackrate.metrics.summary import LevelSummary
    from rackrate.runs.records import Run

AGGREGATED = 1_000_000
"""Requests of a load of which only aggregates are kept, unless others are asked for."""


@dataclass(frozen=True)
class SimulatedRun:
    """The run, its metrics, and what the simulation knows that a measurement does not."""

    run: Run
    levels: tuple[LevelSummary, ...]
    saturation: Saturation | None
    notes: tuple[str, ...]


def simulate(request: SimulateRequest, context: Context) -> SimulatedRun:
    """A run like a measured one, request by request. It is kept nowhere: `runs.store.write_run` writes it.

    Raises:
        UserError: options that do not go together, a model that does not fit, an SLO that nothing meets.
    """
    from rackrate.metrics.saturation import saturation
    from rackrate.metrics.summary import summarise
    from rackrate.runs.records import Run
    from rackrate.workload.slo import parse_slo

    work = _prepared(request, context)
    rates, workload = list(request.rates), work.workload
    # of a search, too, whose requests are in memory
    work.refuse_too_many(rates or (() if request.levels else (1.0,)), request.levels)
    if (own := _own_rate(request, work)) is not None:
        rates, work.requests = [own[0]], own[1]  # all of them are drawn, however many are sent
        work.refuse_too_many(rates, ())
        work.requests = request.requests or own[1]
    elif request.slo is not None and not rates and not request.levels:
        rates = work.search(parse_slo(request.slo))
    elif workload.trace is not None and not rates and not request.levels:
        rates = [workload.trace.mean_rate]  # as recorded
    work.refuse_too_many(rates, request.levels)
    records = [record for rate in rates for record in work.open_level(rate)]
    if not rates:
        records += work.closed_sweep(list(request.levels))
    work.header.state = "complete"
    run = Run(work.header, records)
    summaries = summarise(run)
    return SimulatedRun(run, tuple(summaries), saturation(summaries), tuple(work.notes()))


def simulate_aggregates(request: SimulateRequest, context: Context) -> SimulatedAggregates:
    """Sums and quantiles of open loops of any length; no request is kept, and memory is bounded.

    Raises:
        UserError: as `simulate`; a closed loop, no load, or a trace whose prefix blocks would be followed.
    """
    from rackrate.app.simulated_aggregates import SimulatedAggregates, aggregate, refuse
    from rackrate.workload.slo import parse_slo

    work = _prepared(request, context)
    _own_rate(request, work)
    rates, trace = request.rates, work.workload.trace
    if trace is not None and not rates and not request.levels:
        rates = (trace.mean_rate,)
    refuse(request, rates, trace)
    work.requests = request.requests or AGGREGATED
    slo = parse_slo(request.slo) if request.slo is not None else None
    levels = tuple(aggregate(work, rate, slo, context.notify.progress) for rate in rates)
    return SimulatedAggregates(work.header, levels)


def _check(request: SimulateRequest) -> None:
    """Raises UserError for what is wrong whatever the model and the machine."""
    from rackrate.errors import UserError
    from rackrate.simulation.settings import ROUTERS
    from rackrate.workload.slo import parse_slo

    if request.rates and request.levels:
        raise UserError("give {rates} (open loop) or {levels} (closed loop), not both", fields=("rates", "levels"))
    if request.router not in ROUTERS:
        raise UserError(f"{{router}} is one of {', '.join(ROUTERS)}, not {request.router!r}", field="router")
    if request.slo is not None:
        parse_slo(request.slo)


def _prepared(request: SimulateRequest, context: Context) -> Simulation:
    """The deployment, the workload and the header of the run, with nothing simulated yet."""
    from rackrate.app.simulated_levels import Simulation
    from rackrate.app.simulated_load import autoscaler_of, workload_of
    from rackrate.app.simulated_replica import header_of, placed
    from rackrate.models.read_model import read_model
    from rackrate.simulation.compiled import first_use
    from rackrate.simulation.settings import Fleet

    _check(request)
    say = context.notify.note
    read = read_model(request.model, context.catalog, weights_stated=request.weights is not None)
    for note in read.reading_notes:
        say(f"note: {note}")
    workload = workload_of(request.input_tokens, request.output_tokens, request.trace, request.longest, request.seed)
    where = placed(request, read, workload, context)
    limits = where.replica.limits
    limits = replace(
        limits,
        max_num_seqs=request.max_num_seqs or limits.max_num_seqs,
        max_num_batched_tokens=request.max_num_batched_tokens or limits.max_num_batched_tokens,
    )
    number = request.replicas or max(1, where.place.count // where.replica.kind.accelerators)
    scaler = autoscaler_of(request.autoscale, request.cold_start) if request.autoscale is not None else None
    fleet = Fleet(number, request.router, scaler)  # pyright: ignore[reportArgumentType] - looked at above
    if (first := first_use()) is not None:
        say(first)
    header = header_of(where, read, fleet, limits, workload, request, context)
    header.request = to_json(request)
    pattern = request.arrivals or ("trace" if request.trace is not None else "poisson")
    return Simulation(
        workload, where.replica, limits, fleet, pattern, request.cached_share, request.prefix_cache,
        request.requests, header,
    )  # fmt: skip


def _own_rate(request: SimulateRequest, work: Simulation) -> tuple[float, int] | None:
    """Rate and requests of arrivals that have rates of their own; else None. UserError where arrivals do not fit."""
    from rackrate.app.simulated_load import own_rate
    from rackrate.errors import UserError

    loads, searches = bool(request.rates or request.levels), request.slo is not None
    own = own_rate(work.pattern, request.arrivals, given=loads, searches=searches)
    closed = bool(request.levels) or (request.trace is None and not searches)
    if request.arrivals is not None and not request.rates and own is None and closed:
        raise UserError(
            f"{{arrivals}} {request.arrivals} is of open loops: give {{rates}}", fields=("arrivals", "rates")
        )
    return own
