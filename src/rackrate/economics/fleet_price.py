"""A fleet over real traffic, priced: every shape that its offers allow, and the cheapest that serves in time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal

import numpy as np
import numpy.typing as npt

from rackrate.economics.fleet import Policy, Replicas, replicas, served
from rackrate.economics.fleet_card import FleetCard, Tokens, billed, fleet_card
from rackrate.economics.hourly import HourlyCost
from rackrate.economics.mix import Allocation, Demand, FleetOffer, cheapest_mix, only, work_while_held
from rackrate.economics.replica import BusyTime, Replica, busy_time
from rackrate.errors import PriceError
from rackrate.units import HOURS_PER_MONTH, SECONDS_PER_HOUR
from rackrate.workload.traffic import Traffic

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
    fleet: Replicas
    allocations: tuple[Allocation, ...]


@dataclass(frozen=True, eq=False)
class FleetPricing:
    """All shapes, the cheapest that serves in time first."""

    traffic: Traffic
    replica: Replica
    plan: FleetPlan
    load: Floats
    """Replicas at full load in each step."""
    shapes: tuple[FleetShape, ...]
    notes: tuple[str, ...]

    @property
    def best(self) -> FleetShape:
        """The cheapest that serves in time; where none does, the one that leaves fewest waiting."""
        return self.shapes[0]


def price_fleet(traffic: Traffic, replica: Replica, offers: Sequence[FleetOffer], plan: FleetPlan) -> FleetPricing:
    """Prices traffic on every shape that the offers allow.

    An offer alone is held for the peak (fixed), or follows the load (autoscaled) where it is rented by the hour;
    several together are mixed, the committed ones always there, so that a mix holds what the autoscaled fleet does and
    costs no more than any one of its offers would.

    Raises:
        PriceError: no offer, no shape possible, or a capacity that does not fit the traffic.
    """
    if not offers:
        raise PriceError("a fleet needs at least one offer")
    busy = busy_time(traffic, replica)
    load = busy.total / traffic.step_s
    peak = float(load.max()) * plan.policy.headroom
    if peak > MOST_REPLICAS:
        raise PriceError(f"the peak takes {peak:,.0f} replicas; is the capacity of one right?")
    shapes = _shapes(traffic, busy, load, offers, plan)
    if not shapes:
        raise PriceError("no shape is possible with these offers: quotas or shares leave too few machines for the peak")
    half = replica.relative_half_width
    if half is not None and 0 < half < 1:
        slow = _by_name(_shapes(traffic, _slower(busy, 1 - half), load / (1 - half), offers, plan))
        fast = _by_name(_shapes(traffic, _slower(busy, 1 + half), load / (1 + half), offers, plan))
        shapes = [
            replace(one, usd_month_interval=(fast[one.name].usd_month, slow[one.name].usd_month))
            if one.name in slow and one.name in fast
            else one
            for one in shapes
        ]
    shapes.sort(
        key=lambda one: (not one.within_limit, one.usd_month if one.within_limit else one.late_share, one.usd_month)
    )
    return FleetPricing(traffic, replica, plan, load, tuple(shapes), busy.notes)


def _by_name(shapes: Sequence[FleetShape]) -> dict[str, FleetShape]:
    return {one.name: one for one in shapes}


def _slower(busy: BusyTime, speed: float) -> BusyTime:
    def over(values: Floats | None) -> Floats | None:
        return None if values is None else values / speed

    return BusyTime(busy.step_s, busy.total / speed, over(busy.input), over(busy.cached), over(busy.output))


def _shapes(
    traffic: Traffic, busy: BusyTime, load: Floats, offers: Sequence[FleetOffer], plan: FleetPlan
) -> list[FleetShape]:
    hours = traffic.hours_of_day()
    step_s = traffic.step_s
    scaler = replace(plan.policy, kind="autoscaled")
    if plan.raise_headroom:
        scaler = replace(scaler, headroom=enough_headroom(traffic, load, scaler, plan.late_limit))
    follows = replicas(load, step_s, scaler)
    stands = replicas(load, step_s, replace(plan.policy, kind="fixed"))

    def demand(fleet: Replicas) -> Demand:
        return Demand(fleet.held, work_while_held(load, fleet.held, step_s), step_s, hours)

    result: list[FleetShape] = []

    def add(kind: Kind, name: str, fleet: Replicas, allocations: Sequence[Allocation]) -> None:
        headroom = plan.policy.headroom if kind == "fixed" else scaler.headroom
        result.append(_shape(kind, name, traffic, busy, load, fleet, allocations, plan, headroom))

    best: tuple[float, FleetOffer, Allocation] | None = None
    for offer in offers:
        alone = only(demand(stands), offer)
        if alone is not None and "fixed" in plan.kinds:
            add("fixed", f"fixed {offer.cost.name}", stands, [alone])
        following = only(demand(follows), offer)
        if following is None:
            continue
        if not offer.committed and "autoscaled" in plan.kinds:
            add("autoscaled", f"autoscaled {offer.cost.name}", follows, [following])
        usd = float(following.usd.sum())
        if best is None or usd < best[0]:
            best = (usd, offer, following)
    if len(offers) > 1 and "mix" in plan.kinds and not all(one.committed for one in offers):
        mixed = cheapest_mix(demand(follows), offers)
        total = math.inf if mixed is None else sum(float(one.usd.sum()) for one in mixed)
        if best is not None and best[0] < total:
            # a solver's tolerance, or sizes that were rounded up: one offer alone is cheaper still
            mixed, total = [best[2]], best[0]
        if mixed is not None:
            add("mix", "mix of " + ", ".join(one.cost.name for one in offers), _with_base(follows, mixed), mixed)
    return result


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


def _with_base(fleet: Replicas, allocations: Sequence[Allocation]) -> Replicas:
    """Committed machines are always there, wanted or not."""
    base = sum(int(one.paid[0]) * one.offer.replicas for one in allocations if one.offer.committed)
    return Replicas(np.maximum(fleet.held, base), np.maximum(fleet.ready, base))


def _shape(
    kind: Kind,
    name: str,
    traffic: Traffic,
    busy: BusyTime,
    load: Floats,
    fleet: Replicas,
    allocations: Sequence[Allocation],
    plan: FleetPlan,
    headroom: float,
) -> FleetShape:
    step_s = traffic.step_s
    step_h = step_s / SECONDS_PER_HOUR
    hours = traffic.duration_s / SECONDS_PER_HOUR
    months = hours / plan.hours_per_month
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
    if busy.input is not None and busy.output is not None:
        hits = float(busy.cached.sum()) if busy.cached is not None else 0.0
        seconds = (float(busy.input.sum()), hits, float(busy.output.sum()))
    card = fleet_card(machine_usd, labour, utilisation, energy, seconds, _tokens(traffic))

    service = served(load, fleet.ready, step_s, plan.policy.max_wait_s)
    requests = traffic.total("requests")
    by = traffic.requests if traffic.requests is not None else load
    total = float(by.sum())
    late = float(by @ service.late_share)
    late_share = late / total if total else 0.0
    work = float(load.sum()) * step_s
    return FleetShape(
        kind=kind,
        name=name,
        uses=uses,
        card=card,
        usd_month=float(card.bill_usd) / months,
        usd_month_interval=None,
        by_month_usd=_by_month(allocations, traffic, plan),
        utilisation=utilisation,
        peak_replicas=int(fleet.held.max()),
        mean_replicas=float(fleet.held.mean()),
        late_requests=late if requests is not None else None,
        late_share=late_share,
        longest_wait_s=service.longest_wait_s,
        unserved_share=float(service.backlog[-1]) / work if work else 0.0,
        within_limit=late_share <= plan.late_limit,
        headroom=headroom,
        fleet=fleet,
        allocations=tuple(allocations),
    )


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
