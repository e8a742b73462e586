"""A fleet over real traffic: from what a user says of capacity, machines and policy to its priced shapes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate.app.context import Context
from rackrate.app.fleet_request import FleetRequest, plan_of
from rackrate.app.traffic import TrafficFields, traffic_of
from rackrate.errors import PriceError, UserError

if TYPE_CHECKING:
    from rackrate.economics.currency import Currency
    from rackrate.economics.fleet_types import ApiBill, FleetModel, FleetPricing
    from rackrate.economics.replica import Replica
    from rackrate.runs.records import RunHeader

__all__ = ["FleetRequest", "PricedFleet", "price"]

STEP_AT_MOST_S = 60.0
"""Traffic is seen in steps no longer than that, so that a fleet that follows it does so within a minute."""
SLOW_STEPS = 100_000
"""More steps than that take seconds."""
COARSE_STEP_S = 300.0
"""In longer steps a fleet that follows its load looks slower than it is."""


@dataclass(frozen=True)
class PricedFleet:
    """The shapes of a fleet, what APIs charge for the same tokens, and what must be said of both."""

    pricing: FleetPricing
    currency: Currency
    """That money is shown in; all figures are USD."""
    bills: tuple[ApiBill, ...]
    notes: tuple[str, ...]


def price(request: FleetRequest, context: Context) -> PricedFleet:
    """Prices a fleet in every shape that its offers allow, the cheapest that serves in time first.

    Raises:
        PriceError: no capacity or no machine, one that is not the run's, a policy that cannot be.
        WorkloadError: no traffic, or traffic that cannot be.
        RunError: the run cannot be read, or nothing was served.
    """
    from rackrate.app.fleet_machines import fleet_offers
    from rackrate.catalog.types import moment
    from rackrate.economics.api_bills import api_bills
    from rackrate.economics.currency import parse_currency
    from rackrate.economics.fleet_price import price_models

    currency = parse_currency(request.currency)
    plan = plan_of(request)
    header = None
    notes: list[str] = []
    if request.models is not None:
        models = _several(request, request.models, context.clock())
        machines = fleet_offers(request, None, context.catalog)
    else:
        if request.traffic is None:
            raise UserError(
                "say what is asked for: {traffic} with a rate such as 2/s or a file, or {models} FILE",
                field="traffic", fields=("models",),
            )  # fmt: skip
        replica, header, notes = _replica(request)
        machines = fleet_offers(request, header.machine if header is not None else None, context.catalog)
        if machines.other_hardware:
            replica = dataclasses.replace(replica, caveats=(*replica.caveats, "other-hardware"))
        models = [_model("", request, replica, context.clock(), request.hours_per_month)]
    notes += machines.notes
    steps, step_s = len(models[0].traffic), models[0].traffic.step_s
    if steps > SLOW_STEPS:
        context.notify.note(f"pricing {steps:,} steps ...")
    if step_s > COARSE_STEP_S and set(plan.kinds) != {"fixed"}:
        notes.append(
            f"The traffic is in steps of {step_s / 60:g} min, and a fleet that follows it sees it a step late: "
            "steps of 1 min show what a real scaler does"
        )
    pricing = price_models(models, machines.offers, plan)
    model_id = header.model.catalogue_id if header is not None else None
    bills, said = api_bills(
        context.catalog.models.get(model_id or ""), pricing.traffic, context.catalog, request.apis,
        when=moment(context.today()), has_hours=request.profile is not None or pricing.traffic.start_known,
    )  # fmt: skip
    return PricedFleet(pricing, currency, tuple(bills), (*notes, *said))


def _replica(request: FleetRequest) -> tuple[Replica, RunHeader | None, list[str]]:
    """What one replica does, what is known of the run it was measured in (None where stated), and notes."""
    from rackrate.economics.replica import parse_capacity, replica_of
    from rackrate.economics.served import served_by

    if (request.run is None) == (request.capacity is None):
        raise PriceError(
            "say what one replica can do: either a {run} directory, or {capacity} such as 2.5/s",
            field="capacity", fields=("run",),
        )  # fmt: skip
    if request.capacity is not None:
        return parse_capacity(request.capacity), None, []
    assert request.run is not None  # noqa: S101 - one of the two is given
    found = served_by(request.run, at_concurrency=request.at_concurrency, force=request.force)
    notes: list[str] = []
    if found.best.lower_bound:
        notes.append("The machine was not saturated at the highest load measured: fewer replicas may do.")
    if found.best.level.kind == "closed":
        notes.append(
            "The capacity is the throughput with a fixed number of requests in flight, without a latency target; "
            "measuring with an objective finds the rate that is sustained within one."
        )
    if not found.serving.prefill_share:
        notes.append("Prefill alone was not measured, so input and output tokens cannot be priced apart.")
    return replica_of(found.serving), found.run.header, notes


def _several(request: FleetRequest, path: Path, now: datetime) -> list[FleetModel]:
    """The models of a file, all over the same time in the same steps."""
    from rackrate.app.fleet_models import read_models
    from rackrate.economics.replica import parse_capacity, replica_of
    from rackrate.economics.served import served_by

    shared = {"over", "step"}
    of_each = [field for field in dataclasses.fields(TrafficFields) if field.name not in shared]
    stray = [field.name for field in of_each if getattr(request, field.name) != field.default]
    stray = [name for name in ("run", "capacity") if getattr(request, name) is not None] + stray
    if stray:
        raise UserError(
            f"{{{stray[0]}}} and {{models}} exclude each other: each model of the file says its own",
            field=stray[0], fields=("models",),
        )  # fmt: skip
    result: list[FleetModel] = []
    for entry in read_models(path):
        if entry.capacity is not None:
            replica = parse_capacity(entry.capacity)
        else:
            assert entry.run is not None  # noqa: S101 - one of the two is given
            replica = replica_of(served_by(entry.run, force=request.force).serving)
        result.append(
            _model(
                entry.name,
                entry.traffic_fields(request.over, request.step),
                replica,
                now,
                request.hours_per_month,
                entry.slots,
            )
        )
    return result


def _model(
    name: str, fields: TrafficFields, replica: Replica, now: datetime, hours_per_month: float, slots: int = 1
) -> FleetModel:
    from rackrate.economics.fleet_types import FleetModel

    return FleetModel(name, traffic_of(fields, now, STEP_AT_MOST_S, hours_per_month), replica, slots)
