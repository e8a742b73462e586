"""A fleet over real traffic, priced: every shape that its offers allow, and the cheapest that serves in time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal

import numpy as np
import numpy.typing as npt

from rackrate.economics.fleet import Policy, Replicas, Service, machines, replicas, served
from rackrate.economics.fleet_card import FleetCard, Tokens, apportion, billed, fleet_card
from rackrate.economics.hourly import HourlyCost
from rackrate.economics.mix import Allocation, Demand, FleetOffer, cheapest_mix, only, work_while_held
from rackrate.economics.replica import BusyTime, Replica, busy_time
from rackrate.errors import PriceError
from rackrate.units import HOURS_PER_MONTH, PER_MILLION, SECONDS_PER_HOUR
from rackrate.workload.traffic import Traffic, together

Floats = npt.NDArray[np.float64]
Kind = Literal["fixed", "autoscaled", "mix"]

MOST_REPLICAS = 1_000_000
MOST_HEADROOM = 4.0
HEADROOM_STEP = 0.05


@dataclass(frozen=True)
class FleetPlan:
    """What a fleet is asked to do, beside the traffic."""

    policy: Policy = field(default_factory=Policy)
    kinds: tuple[Kind, ...] = ("fixed", "autoscaled", "mix")
    late_limit: float = 0.01
    """Share of requests that may wait longer than allowed for a shape to be chosen."""
    raise_headroom: bool = False
    """An autoscaled fleet that is late too often gets more headroom, until it is not (or to MOST_HEADROOM)."""
    labour_usd_month: float = 0.0
    hours_per_month: float = HOURS_PER_MONTH

    def __post_init__(self) -> None:
        if not 0 <= self.late_limit <= 1:
            raise PriceError(f"the share of late requests that is allowed is 0 to 1, got {self.late_limit:g}")
        if not 0 <= self.labour_usd_month < math.inf:
            raise PriceError(f"labour must not be negative, got {self.labour_usd_month:g}")


@dataclass(frozen=True, eq=False)
class FleetModel:
    """A model that a fleet serves."""

    name: str
    traffic: Traffic
    replica: Replica
    slots: int = 1
    """Of a machine's slots (GPUs) that one replica takes."""


@dataclass(frozen=True)
class ModelPart:
    """What one of several models takes of a fleet."""

    name: str
    slots: int
    mean_replicas: float
    peak_replicas: int
    usd: Decimal
    """Its part of the bill, by busy slot-time; the parts of all models are the bill."""
    usd_per_1m: float | None
    usd_per_1k_requests: float | None
    late_requests: float | None
    late_share: float


@dataclass(frozen=True)
class OfferUse:
    """What a fleet takes of one offer, over the whole time."""

    offer: FleetOffer
    machine_hours: float
    mean_machines: float
    peak_machines: float
    busy_machine_hours: float
    usd: Decimal


@dataclass(frozen=True, eq=False)
class FleetShape:
    """One way to serve the traffic, and what it costs."""

    kind: Kind
    name: str
    uses: tuple[OfferUse, ...]
    card: FleetCard
    """Of the whole time."""
    usd_month: float
    """Mean of the months (of so many hours as stated)."""
    usd_month_interval: tuple[float, float] | None
    """With the throughput at the ends of its 95 % interval; prices are taken as given."""
    by_month_usd: tuple[float, ...]
    """Machines and labour of each month from the start; the last may be incomplete."""
    utilisation: float
    """Busy over paid replica-time."""
    peak_replicas: int
    mean_replicas: float
    late_requests: float | None
    """None where the traffic has no requests."""
    late_share: float
    """Of the requests (of the work, where there are no requests)."""
    longest_wait_s: float
    unserved_share: float
    """Share of the work that was still waiting at the end."""
    within_limit: bool
    headroom: float
    """Replicas kept per replica of load."""
    models: tuple[ModelPart, ...]
    fleet: Replicas
    """All models together, in slots."""
    allocations: tuple[Allocation, ...]


@dataclass(frozen=True, eq=False)
class FleetPricing:
    """All shapes, the cheapest that serves in time first."""

    models: tuple[FleetModel, ...]
    traffic: Traffic
    """Of all models together."""
    plan: FleetPlan
    load: Floats
    """Replicas at full load in each step; of several models, slots."""
    shapes: tuple[FleetShape, ...]
    notes: tuple[str, ...]

    @property
    def best(self) -> FleetShape:
        """The cheapest that serves in time; where none does, the one that leaves fewest waiting."""
        return self.shapes[0]


@dataclass(frozen=True, eq=False)
class _Asked:
    """A model's traffic as load."""

    model: FleetModel
    busy: BusyTime
    load: Floats
    """Replicas at full load in each step."""

    def at_speed(self, speed: float) -> _Asked:
        """The same work on replicas that much faster."""

        def over(values: Floats | None) -> Floats | None:
            return None if values is None else values / speed

        one = self.busy
        busy = BusyTime(one.step_s, one.total / speed, over(one.input), over(one.cached), over(one.output))
        return _Asked(self.model, busy, self.load / speed)


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
    traffic = together([one.traffic for one in models])
    asked: list[_Asked] = []
    for one in models:
        busy = busy_time(one.traffic, one.replica)
        asked.append(_Asked(one, busy, busy.total / one.traffic.step_s))
        if float(asked[-1].load.max()) * plan.policy.headroom > MOST_REPLICAS:
            raise PriceError(f"the peak takes {asked[-1].load.max():,.0f} replicas; is the capacity of one right?")
    for offer in offers:
        if len(models) > 1 or models[0].slots > 1:
            machines([(np.zeros(1, dtype=np.int64), one.slots) for one in models], offer.replicas)
    shapes = _shapes(traffic, asked, offers, plan)
    if not shapes:
        raise PriceError("no shape is possible with these offers: quotas or shares leave too few machines for the peak")
    if any(one.replica.relative_half_width for one in models):
        # all at the same end at once: what one engine and one machine do for one model they do for another
        ends = [
            _by_name(_shapes(traffic, [one.at_speed(1 + sign * _half(one)) for one in asked], offers, plan))
            for sign in (1, -1)
        ]
        shapes = [
            replace(one, usd_month_interval=(ends[0][one.name].usd_month, ends[1][one.name].usd_month))
            if all(one.name in end for end in ends)
            else one
            for one in shapes
        ]
    shapes.sort(
        key=lambda one: (not one.within_limit, one.usd_month if one.within_limit else one.late_share, one.usd_month)
    )
    load = sum((one.load * one.model.slots for one in asked), start=np.zeros(len(traffic)))
    notes = tuple(note for one in asked for note in one.busy.notes)
    return FleetPricing(tuple(models), traffic, plan, load, tuple(shapes), notes)


def _half(asked: _Asked) -> float:
    half = asked.model.replica.relative_half_width
    return half if half is not None and 0 < half < 1 else 0.0


def _by_name(shapes: Sequence[FleetShape]) -> dict[str, FleetShape]:
    return {one.name: one for one in shapes}


@dataclass(frozen=True, eq=False)
class _Held:
    """The replicas of each model, and of all in slots."""

    by_model: list[Replicas]
    all: Replicas
    demand: Demand


def _held(traffic: Traffic, asked: Sequence[_Asked], policies: Sequence[Policy]) -> _Held:
    step_s = traffic.step_s
    each = [replicas(one.load, step_s, policy) for one, policy in zip(asked, policies, strict=True)]
    none = np.zeros(len(traffic), dtype=np.int64)
    held = sum((one.held * ask.model.slots for one, ask in zip(each, asked, strict=True)), start=none)
    ready = sum((one.ready * ask.model.slots for one, ask in zip(each, asked, strict=True)), start=none)
    work = np.zeros(len(traffic))
    for one, ask in zip(each, asked, strict=True):
        work += work_while_held(ask.load, one.held, step_s) * ask.model.slots
    return _Held(each, Replicas(held, ready), Demand(held, work, step_s, traffic.hours_of_day()))


def _shapes(
    traffic: Traffic, asked: Sequence[_Asked], offers: Sequence[FleetOffer], plan: FleetPlan
) -> list[FleetShape]:
    scalers = [replace(plan.policy, kind="autoscaled") for _ in asked]
    if plan.raise_headroom:
        scalers = [
            replace(policy, headroom=enough_headroom(one.model.traffic, one.load, policy, plan.late_limit))
            for one, policy in zip(asked, scalers, strict=True)
        ]
    follows = _held(traffic, asked, scalers)
    stands = _held(traffic, asked, [replace(plan.policy, kind="fixed") for _ in asked])
    result: list[FleetShape] = []

    def add(kind: Kind, name: str, fleet: _Held, allocations: Sequence[Allocation]) -> None:
        headroom = plan.policy.headroom if kind == "fixed" else max(one.headroom for one in scalers)
        result.append(_shape(kind, name, traffic, asked, fleet, allocations, plan, headroom))

    best: tuple[float, Allocation] | None = None
    for offer in offers:
        alone = only(stands.demand, offer)
        if alone is not None and "fixed" in plan.kinds:
            add("fixed", f"fixed {offer.cost.name}", stands, [alone])
        following = only(follows.demand, offer)
        if following is None:
            continue
        if not offer.committed and "autoscaled" in plan.kinds:
            add("autoscaled", f"autoscaled {offer.cost.name}", follows, [following])
        usd = float(following.usd.sum())
        if best is None or usd < best[0]:
            best = (usd, following)
    if len(offers) > 1 and "mix" in plan.kinds and not all(one.committed for one in offers):
        mixed = cheapest_mix(follows.demand, offers)
        total = math.inf if mixed is None else sum(float(one.usd.sum()) for one in mixed)
        if best is not None and best[0] < total:
            # a solver's tolerance, or sizes that were rounded up: one offer alone is cheaper still
            mixed = [best[1]]
        if mixed is not None:
            add("mix", "mix of " + ", ".join(one.cost.name for one in offers), _with_base(follows, mixed), mixed)
    return result


def _with_base(fleet: _Held, allocations: Sequence[Allocation]) -> _Held:
    """Committed machines are always there, wanted or not; one model's replicas are then always ready on them."""
    base = sum(int(one.paid[0]) * one.offer.replicas for one in allocations if one.offer.committed)
    if len(fleet.by_model) > 1:
        # whose replicas the base holds is not settled: nobody's are counted as ready before their time
        return _Held(fleet.by_model, Replicas(np.maximum(fleet.all.held, base), fleet.all.ready), fleet.demand)
    both = Replicas(np.maximum(fleet.all.held, base), np.maximum(fleet.all.ready, base))
    return _Held([both], both, fleet.demand)


def enough_headroom(traffic: Traffic, load: Floats, policy: Policy, late_limit: float) -> float:
    """The least headroom, from the policy's own on in steps of 0.05, with which few enough requests are late.

    More headroom holds no fewer replicas at any moment, so no more requests are late, and halving finds it. Where even
    MOST_HEADROOM is not enough (a fleet scaled to zero is late whatever its headroom), the policy's own stays.
    """
    by = traffic.demand
    allowed = late_limit * float(by.sum())

    def late(headroom: float) -> float:
        fleet = replicas(load, traffic.step_s, replace(policy, headroom=headroom))
        return float(by @ served(load, fleet.ready, traffic.step_s, policy.max_wait_s).late_share)

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
    kind: Kind,
    name: str,
    traffic: Traffic,
    asked: Sequence[_Asked],
    fleet: _Held,
    allocations: Sequence[Allocation],
    plan: FleetPlan,
    headroom: float,
) -> FleetShape:
    step_s = traffic.step_s
    step_h = step_s / SECONDS_PER_HOUR
    months = traffic.duration_s / SECONDS_PER_HOUR / plan.hours_per_month
    uses = tuple(
        OfferUse(
            offer=one.offer,
            machine_hours=float(one.paid.sum()) * step_h,
            mean_machines=float(one.paid.mean()),
            peak_machines=float(one.paid.max()),
            busy_machine_hours=float(one.work.sum()) / one.offer.replicas / SECONDS_PER_HOUR,
            usd=billed(float(one.usd.sum())),
        )
        for one in allocations
    )
    machine_usd = sum((one.usd for one in uses), start=Decimal(0))
    labour = billed(plan.labour_usd_month * months)
    paid_s = sum(float(one.paid.sum()) * one.offer.replicas for one in allocations) * step_s
    work_s = sum(float(one.work.sum()) for one in allocations)
    utilisation = min(1.0, work_s / paid_s) if paid_s else 0.0
    energy = sum(float((one.usd - _without_work(one, step_h, traffic)).sum()) for one in allocations)
    seconds = None
    busy = asked[0].busy
    if len(asked) == 1 and busy.input is not None and busy.output is not None:
        hits = float(busy.cached.sum()) if busy.cached is not None else 0.0
        seconds = (float(busy.input.sum()), hits, float(busy.output.sum()))
    card = fleet_card(machine_usd, labour, utilisation, energy, seconds, _tokens(traffic))

    services = [
        served(one.load, held.ready, step_s, plan.policy.max_wait_s)
        for one, held in zip(asked, fleet.by_model, strict=True)
    ]
    work = float(sum(float(one.load.sum()) * one.model.slots for one in asked)) * step_s
    waiting = sum(float(one.backlog[-1]) * ask.model.slots for one, ask in zip(services, asked, strict=True))
    models = _models(asked, fleet, services, card)
    known = traffic.total("requests")
    late = sum(one.late_requests for one in models if one.late_requests is not None) if known is not None else None
    late_share = late / known if late is not None and known else max(one.late_share for one in models)
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
        longest_wait_s=max(one.longest_wait_s for one in services),
        unserved_share=waiting / work if work else 0.0,
        within_limit=all(one.late_share <= plan.late_limit for one in models),
        headroom=headroom,
        models=models,
        fleet=fleet.all,
        allocations=tuple(allocations),
    )


def _models(
    asked: Sequence[_Asked], fleet: _Held, services: Sequence[Service], card: FleetCard
) -> tuple[ModelPart, ...]:
    """Each model's part of the bill, by busy slot-time, and who of its requests waited."""
    weights = [float(one.load.sum()) * one.model.slots for one in asked]
    parts = apportion(card.bill_usd, weights if any(weights) else [1.0] * len(weights))
    result: list[ModelPart] = []
    for one, held, service, usd in zip(asked, fleet.by_model, services, parts, strict=True):
        tokens = _tokens(one.model.traffic)
        by = one.model.traffic.demand
        late, total = float(by @ service.late_share), float(by.sum())
        result.append(
            ModelPart(
                name=one.model.name,
                slots=one.model.slots,
                mean_replicas=float(held.held.mean()),
                peak_replicas=int(held.held.max()),
                usd=usd,
                usd_per_1m=float(usd) / tokens.all * PER_MILLION if tokens.all else None,
                usd_per_1k_requests=float(usd) / tokens.requests * 1000 if tokens.requests else None,
                late_requests=late if tokens.requests is not None else None,
                late_share=late / total if total else 0.0,
            )
        )
    return tuple(result)


def _without_work(one: Allocation, step_h: float, traffic: Traffic) -> Floats:
    """What the machines would have cost idle."""
    cost: HourlyCost = one.offer.cost
    if not cost.kwh_by_hour or step_h > 1 + 1e-9:
        return one.paid * (cost.fixed_usd_h * step_h)
    return one.paid * np.asarray(cost.by_hour_of_day()[0])[traffic.hours_of_day()] * step_h


def _tokens(traffic: Traffic) -> Tokens:
    given, cached = traffic.total("input_tokens"), traffic.total("cached_tokens")
    fresh = None if given is None else given - (cached or 0.0)
    return Tokens(traffic.total("requests"), fresh, cached, traffic.total("output_tokens"))


def _by_month(allocations: Sequence[Allocation], traffic: Traffic, plan: FleetPlan) -> tuple[float, ...]:
    """USD of each month; a step belongs to the month in which it begins."""
    month_s = plan.hours_per_month * SECONDS_PER_HOUR
    month = np.floor(np.arange(len(traffic)) * traffic.step_s / month_s + 1e-9).astype(np.int64)
    usd = np.bincount(month, sum((one.usd for one in allocations), start=np.zeros(len(traffic))))
    steps = np.bincount(month)
    labour = steps * traffic.step_s / month_s * plan.labour_usd_month
    return tuple(float(value) for value in usd + labour)
