"""What a fleet is asked to do, and what it then is and costs: the types of `fleet_price`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

import numpy as np
import numpy.typing as npt

from rackrate.catalog.apis import ApiPrice
from rackrate.economics.fleet import Policy, Replicas
from rackrate.economics.fleet_card import FleetCard
from rackrate.economics.mix import Allocation, FleetOffer
from rackrate.economics.replica import Replica
from rackrate.errors import PriceError
from rackrate.units import HOURS_PER_MONTH
from rackrate.workload.traffic import Traffic

Floats = npt.NDArray[np.float64]
FleetKind = Literal["fixed", "autoscaled", "mix"]


@dataclass(frozen=True)
class FleetPlan:
    """What a fleet is asked to do, beside the traffic."""

    policy: Policy = field(default_factory=Policy)
    kinds: tuple[FleetKind, ...] = ("fixed", "autoscaled", "mix")
    late_limit: float = 0.01
    """Share of requests that may wait longer than allowed for a shape to be chosen."""
    raise_headroom: bool = False
    """A fleet that is late too often gets more headroom, until it is not (or to MOST_HEADROOM)."""
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

    kind: FleetKind
    name: str
    uses: tuple[OfferUse, ...]
    card: FleetCard
    """Of the whole time."""
    usd_month: float
    """Mean of the months (of so many hours as stated)."""
    usd_month_interval: tuple[float, float] | None
    """80 %: with the throughput at the ends of its own; prices are taken as given."""
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
    """Replicas kept per replica of load; of several models, the most that one has."""
    models: tuple[ModelPart, ...]
    fleet: Replicas
    """All models together, in slots."""
    allocations: tuple[Allocation, ...]

    @property
    def peak_machines(self) -> float:
        """The most that are paid for at any moment, of all offers."""
        paid = [allocation.paid for allocation in self.allocations]
        return float(np.sum(paid, axis=0).max()) if paid else 0.0


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


@dataclass(frozen=True)
class ApiBill:
    """What an API charges for the traffic's tokens."""

    api: ApiPrice
    same_model: bool
    """Whether it sells the very model that was measured."""
    usd: float
    """Over the whole time."""
