"""A fleet over real traffic, priced: every shape that its offers allow, and the cheapest that serves in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

import numpy as np
import numpy.typing as npt

from rackrate.economics.fleet import MOST_REPLICAS, Policy, Replicas, machines, replicas, served
from rackrate.economics.fleet_card import FleetCard, Tokens, apportion, billed, fleet_card
from rackrate.economics.fleet_types import (
    FleetKind,
    FleetModel,
    FleetPlan,
    FleetPricing,
    FleetShape,
    ModelPart,
    OfferUse,
)
from rackrate.economics.hourly import HourlyCost
from rackrate.economics.lateness import SAMPLE_DAYS, Bursts, Lateness, bursts_of, lateness
from rackrate.economics.mix import Allocation, Demand, FleetOffer, cheapest_mix, only, work_while_held
from rackrate.economics.replica import BusyTime, Replica, busy_time
from rackrate.economics.uncertainty import half80
from rackrate.errors import PriceError
from rackrate.units import PER_MILLION, SECONDS_PER_HOUR
from rackrate.workload.traffic import Traffic, together

Floats = npt.NDArray[np.float64]

MOST_HEADROOM = 4.0
HEADROOM_STEP = 0.05


@dataclass(frozen=True, eq=False)
class _ModelLoad:
    """A model's traffic as load."""

    model: FleetModel
    busy: BusyTime
    load: Floats
    """Replicas at full load in each step."""
    bursts: Bursts | None

    def at_speed(self, speed: float) -> _ModelLoad:
        """The same work on replicas that much faster."""

        def over(values: Floats | None) -> Floats | None:
            return None if values is None else values / speed

        item = self.busy
        busy = BusyTime(item.step_s, item.total / speed, over(item.input), over(item.cached), over(item.output))
        return _ModelLoad(self.model, busy, self.load / speed, self.bursts)


def price_fleet(traffic: Traffic, replica: Replica, offers: Sequence[FleetOffer], plan: FleetPlan) -> FleetPricing:
    """Prices one model's traffic on every shape that the offers allow; see `price_models`."""
    return price_models([FleetModel("", traffic, replica)], offers, plan)


def price_models(models: Sequence[FleetModel], offers: Sequence[FleetOffer], plan: FleetPlan) -> FleetPricing:
    """Prices the traffic of one or several models that share machines, on every shape that the offers allow.

    An offer alone is held for the peak (fixed), or follows the load (autoscaled) where it is rented by the hour;
    several together are mixed, the committed ones always there, so that a mix holds what the autoscaled fleet does and
    costs no more than any one of its offers would. Models are scaled each for itself; their replicas fill machines
    together, and may be put anew on other machines when their numbers change.

    Raises:
        PriceError: no offer, no shape possible, a capacity that does not fit its traffic, replicas that leave gaps.
    """
    if not offers or not models:
        raise PriceError("a fleet needs at least one model and one offer")
    traffic = together([model.traffic for model in models])
    asked: list[_ModelLoad] = []
    for item in models:
        busy = busy_time(item.traffic, item.replica)
        asked.append(_ModelLoad(item, busy, busy.total / item.traffic.step_s, bursts_of(item.traffic, item.replica)))
        if float(asked[-1].load.max()) * plan.policy.headroom > MOST_REPLICAS:
            raise PriceError(f"the peak takes {asked[-1].load.max():.3g} replicas; is the capacity of one right?")
    for offer in offers:
        if len(models) > 1 or models[0].slots > 1:
            machines([(np.zeros(1, dtype=np.int64), model.slots) for model in models], offer.replicas)
    headrooms = _headrooms(asked, plan)
    shapes = _shapes(traffic, asked, offers, plan, headrooms)
    if not shapes:
        raise PriceError("no shape is possible with these offers: quotas or shares leave too few machines for the peak")
    if any(model.replica.relative_half_width for model in models):
        # all at the same end at once: what one engine and one machine do for one model they do for another
        ends = [
            _by_name(
                _shapes(
                    traffic, [demand.at_speed(1 + sign * _half(demand)) for demand in asked], offers, plan, headrooms
                )
            )
            for sign in (1, -1)
        ]
        shapes = [
            replace(shape, usd_month_interval=(ends[0][shape.name].usd_month, ends[1][shape.name].usd_month))
            if all(shape.name in end for end in ends)
            else shape
            for shape in shapes
        ]
    shapes.sort(
        key=lambda item: (
            not item.within_limit,
            item.usd_month if item.within_limit else item.late_share,
            item.usd_month,
        )
    )
    load = sum((demand.load * demand.model.slots for demand in asked), start=np.zeros(len(traffic)))
    notes = tuple(note for demand in asked for note in demand.busy.notes)
    if any(demand.bursts is not None for demand in asked):
        sampled = any(demand.bursts is not None and demand.bursts.sampled for demand in asked)
        notes += (
            "Late requests are counted with the recorded bursts within each step"
            + (f", on {SAMPLE_DAYS} days spread over the time." if sampled else "."),
        )
    else:
        notes += (
            "Bursts within a step of the traffic are not known, so late requests that they make are not counted.",
        )
    return FleetPricing(tuple(models), traffic, plan, load, tuple(shapes), notes)


def _half(asked: _ModelLoad) -> float:
    half = half80(asked.model.replica.relative_half_width or 0.0)
    return half if 0 < half < 1 else 0.0


def _by_name(shapes: Sequence[FleetShape]) -> dict[str, FleetShape]:
    return {shape.name: shape for shape in shapes}


@dataclass(frozen=True, eq=False)
class _Schedule:
    """The replicas of each model, and of all in slots."""

    by_model: list[Replicas]
    all: Replicas
    demand: Demand
    headrooms: list[float]


def _schedule_of(traffic: Traffic, asked: Sequence[_ModelLoad], policies: Sequence[Policy]) -> _Schedule:
    step_s = traffic.step_s
    each = [replicas(item.load, step_s, policy) for item, policy in zip(asked, policies, strict=True)]
    none = np.zeros(len(traffic), dtype=np.int64)
    held = sum((item.held * ask.model.slots for item, ask in zip(each, asked, strict=True)), start=none)
    ready = sum((item.ready * ask.model.slots for item, ask in zip(each, asked, strict=True)), start=none)
    work = np.zeros(len(traffic))
    for item, ask in zip(each, asked, strict=True):
        work += work_while_held(ask.load, item.held, step_s) * ask.model.slots
    demand = Demand(held, work, step_s, traffic.hours_of_day(), policies[0].spares)
    return _Schedule(each, Replicas(held, ready), demand, [policy.headroom for policy in policies])


def _headrooms(asked: Sequence[_ModelLoad], plan: FleetPlan) -> dict[Literal["fixed", "autoscaled"], list[float]]:
    """Each model's headroom: the policy's, or more where it would be late too often."""
    result: dict[Literal["fixed", "autoscaled"], list[float]] = {}
    for kind in ("fixed", "autoscaled"):
        policy = replace(plan.policy, kind=kind)
        result[kind] = [
            enough_headroom(demand.model.traffic, demand.load, policy, plan.late_limit, demand.bursts)
            if plan.raise_headroom and not (kind == "autoscaled" and plan.kinds == ("fixed",))
            else policy.headroom
            for demand in asked
        ]
    return result


def _shapes(
    traffic: Traffic,
    asked: Sequence[_ModelLoad],
    offers: Sequence[FleetOffer],
    plan: FleetPlan,
    headrooms: dict[Literal["fixed", "autoscaled"], list[float]],
) -> list[FleetShape]:
    least = [replace(plan.policy, kind="autoscaled") for _ in asked]
    scalers = [replace(plan.policy, kind="autoscaled", headroom=item) for item in headrooms["autoscaled"]]
    follows = _schedule_of(traffic, asked, scalers)
    stands = _schedule_of(
        traffic, asked, [replace(plan.policy, kind="fixed", headroom=item) for item in headrooms["fixed"]]
    )
    result: list[FleetShape] = []

    def shape(kind: FleetKind, name: str, fleet: _Schedule, allocations: Sequence[Allocation]) -> FleetShape:
        return _shape(kind, name, traffic, asked, fleet, allocations, plan)

    for offer in offers:
        alone = only(stands.demand, offer)
        if alone is not None and "fixed" in plan.kinds:
            result.append(shape("fixed", f"fixed {offer.cost.name}", stands, [alone]))
        following = None if offer.committed else only(follows.demand, offer)
        if following is not None and "autoscaled" in plan.kinds:
            result.append(shape("autoscaled", f"autoscaled {offer.cost.name}", follows, [following]))
    if len(offers) > 1 and "mix" in plan.kinds and not all(offer.committed for offer in offers):
        name = "mix of " + ", ".join(offer.cost.name for offer in offers)
        # the committed base may make headroom needless that an autoscaled fleet takes to be in time
        for share in (0, 1 / 3, 2 / 3, 1) if scalers != least else (1,):
            between = [
                replace(scaler, headroom=scaler.headroom + share * (other.headroom - scaler.headroom))
                for scaler, other in zip(least, scalers, strict=True)
            ]
            fleet = follows if share == 1 else _schedule_of(traffic, asked, between)
            mixed = _mix(fleet.demand, offers)
            if mixed is None:
                continue
            found = shape("mix", name, _with_base(fleet, mixed), mixed)
            if found.within_limit or share == 1:
                result.append(found)
                break
    return result


def _mix(demand: Demand, offers: Sequence[FleetOffer]) -> list[Allocation] | None:
    """The cheapest mix, one offer alone among them."""
    alone = [item for item in (only(demand, offer) for offer in offers) if item is not None]
    best = min(alone, key=lambda item: float(item.usd.sum()), default=None)
    mixed = cheapest_mix(demand, offers)
    if best is None or (mixed is not None and sum(float(item.usd.sum()) for item in mixed) <= float(best.usd.sum())):
        return mixed
    # a solver's tolerance, or sizes that were rounded up
    return [best]


def _with_base(fleet: _Schedule, allocations: Sequence[Allocation]) -> _Schedule:
    """Committed machines are always there, wanted or not; one model's replicas are then always ready on them."""
    base = sum(
        int(allocation.paid[0]) * allocation.offer.replicas for allocation in allocations if allocation.offer.committed
    )
    # spares are for what fails, not for the load
    largest = max((allocation.offer.replicas for allocation in allocations), default=0)
    base = max(0, base - fleet.demand.spares * largest)
    if len(fleet.by_model) > 1:
        # whose replicas the base holds is not settled: nobody's are counted as ready before their time
        return replace(fleet, all=Replicas(np.maximum(fleet.all.held, base), fleet.all.ready))
    both = Replicas(np.maximum(fleet.all.held, base), np.maximum(fleet.all.ready, base))
    return replace(fleet, by_model=[both], all=both)


def enough_headroom(
    traffic: Traffic, load: Floats, policy: Policy, late_limit: float, bursts: Bursts | None = None
) -> float:
    """The least headroom, from the policy's own on in steps of 0.05, with which few enough requests are late.

    More headroom holds no fewer replicas at any moment, so no more requests are late, and halving finds it. Where even
    MOST_HEADROOM is not enough (a fleet scaled to zero is late whatever its headroom), the policy's own stays.
    """

    def late(headroom: float) -> float:
        fleet = replicas(load, traffic.step_s, replace(policy, headroom=headroom))
        return lateness(traffic, load, fleet.ready, policy.max_wait_s, bursts, longest=False).late_share

    allowed = late_limit
    low, high = 0, max(0, round((MOST_HEADROOM - policy.headroom) / HEADROOM_STEP))

    def at(step: int) -> float:
        return round(policy.headroom + step * HEADROOM_STEP, 10)

    if late(at(0)) <= allowed or late(at(high)) > allowed:
        return policy.headroom
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if late(at(middle)) <= allowed else (middle, high)
    return at(high)


def _shape(
    kind: FleetKind,
    name: str,
    traffic: Traffic,
    asked: Sequence[_ModelLoad],
    fleet: _Schedule,
    allocations: Sequence[Allocation],
    plan: FleetPlan,
) -> FleetShape:
    step_s = traffic.step_s
    step_h = step_s / SECONDS_PER_HOUR
    months = traffic.duration_s / SECONDS_PER_HOUR / plan.hours_per_month
    uses = tuple(
        OfferUse(
            offer=allocation.offer,
            machine_hours=float(allocation.paid.sum()) * step_h,
            mean_machines=float(allocation.paid.mean()),
            peak_machines=float(allocation.paid.max()),
            busy_machine_hours=float(allocation.work.sum()) / allocation.offer.replicas / SECONDS_PER_HOUR,
            usd=billed(float(allocation.usd.sum())),
        )
        for allocation in allocations
    )
    machine_usd = sum((use.usd for use in uses), start=Decimal(0))
    labour = billed(plan.labour_usd_month * months)
    paid_s = sum(float(allocation.paid.sum()) * allocation.offer.replicas for allocation in allocations) * step_s
    work_s = sum(float(allocation.work.sum()) for allocation in allocations)
    utilisation = min(1.0, work_s / paid_s) if paid_s else 0.0
    energy = sum(
        float((allocation.usd - _without_work(allocation, step_h, traffic)).sum()) for allocation in allocations
    )
    seconds = None
    busy = asked[0].busy
    if len(asked) == 1 and busy.input is not None and busy.output is not None:
        hits = float(busy.cached.sum()) if busy.cached is not None else 0.0
        seconds = (float(busy.input.sum()), hits, float(busy.output.sum()))
    card = fleet_card(machine_usd, labour, utilisation, energy, seconds, _tokens(traffic))

    services = [
        lateness(item.model.traffic, item.load, held.ready, plan.policy.max_wait_s, item.bursts)
        for item, held in zip(asked, fleet.by_model, strict=True)
    ]
    backlogs = [
        float(served(item.load, held.ready, step_s, 0.0, longest=False).backlog[-1]) * item.model.slots
        for item, held in zip(asked, fleet.by_model, strict=True)
    ]
    work = float(sum(float(demand.load.sum()) * demand.model.slots for demand in asked)) * step_s
    models = _models(asked, fleet, services, card)
    known = traffic.total("requests")
    late = (
        sum(model.late_requests for model in models if model.late_requests is not None) if known is not None else None
    )
    late_share = late / known if late is not None and known else max(model.late_share for model in models)
    return FleetShape(
        kind=kind,
        name=name,
        uses=uses,
        card=card,
        usd_month=float(card.bill_usd) / months,
        usd_month_interval=None,
        by_month_usd=_by_month(allocations, traffic, plan),
        utilisation=utilisation,
        peak_replicas=int(fleet.all.held.max()),
        mean_replicas=float(fleet.all.held.mean()),
        late_requests=late,
        late_share=late_share,
        longest_wait_s=max(service.longest_wait_s for service in services),
        unserved_share=sum(backlogs) / work if work else 0.0,
        within_limit=all(model.late_share <= plan.late_limit for model in models),
        headroom=max(fleet.headrooms),
        models=models,
        fleet=fleet.all,
        allocations=tuple(allocations),
    )


def _models(
    asked: Sequence[_ModelLoad], fleet: _Schedule, services: Sequence[Lateness], card: FleetCard
) -> tuple[ModelPart, ...]:
    """Each model's part of the bill, by busy slot-time, and who of its requests waited."""
    weights = [float(demand.load.sum()) * demand.model.slots for demand in asked]
    parts = apportion(card.bill_usd, weights if any(weights) else [1.0] * len(weights))
    result: list[ModelPart] = []
    for item, held, service, usd in zip(asked, fleet.by_model, services, parts, strict=True):
        tokens = _tokens(item.model.traffic)
        result.append(
            ModelPart(
                name=item.model.name,
                slots=item.model.slots,
                mean_replicas=float(held.held.mean()),
                peak_replicas=int(held.held.max()),
                usd=usd,
                usd_per_1m=float(usd) / tokens.all * PER_MILLION if tokens.all else None,
                usd_per_1k_requests=float(usd) / tokens.requests * 1000 if tokens.requests else None,
                late_requests=service.late_share * tokens.requests if tokens.requests is not None else None,
                late_share=service.late_share,
            )
        )
    return tuple(result)


def _without_work(allocation: Allocation, step_h: float, traffic: Traffic) -> Floats:
    """What the machines would have cost idle."""
    cost: HourlyCost = allocation.offer.cost
    if not cost.kwh_by_hour or step_h > 1 + 1e-9:
        return allocation.paid * (cost.fixed_usd_h * step_h)
    return allocation.paid * np.asarray(cost.by_hour_of_day()[0])[traffic.hours_of_day()] * step_h


def _tokens(traffic: Traffic) -> Tokens:
    given, cached = traffic.total("input_tokens"), traffic.total("cached_tokens")
    fresh = None if given is None else given - (cached or 0.0)
    return Tokens(traffic.total("requests"), fresh, cached, traffic.total("output_tokens"))


def _by_month(allocations: Sequence[Allocation], traffic: Traffic, plan: FleetPlan) -> tuple[float, ...]:
    """USD of each month; a step belongs to the month in which it begins."""
    month_s = plan.hours_per_month * SECONDS_PER_HOUR
    month = np.floor(np.arange(len(traffic)) * traffic.step_s / month_s + 1e-9).astype(np.int64)
    usd = np.bincount(month, sum((allocation.usd for allocation in allocations), start=np.zeros(len(traffic))))
    steps = np.bincount(month)
    labour = steps * traffic.step_s / month_s * plan.labour_usd_month
    return tuple(float(value) for value in usd + labour)
