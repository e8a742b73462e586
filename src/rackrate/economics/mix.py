"""The cheapest mix of offers for a fleet: what to commit to for the base load, what to rent for the peaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rackrate.economics.hourly import HourlyCost
from rackrate.economics.integer_program import Program, solve
from rackrate.errors import PriceError
from rackrate.units import SECONDS_PER_HOUR

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_LEVELS = 400
"""More different sizes of the fleet than that are rounded up to so many; the bill stays exact for what is chosen."""
_TIME_LIMIT_S = 20.0


@dataclass(frozen=True)
class FleetOffer:
    """A machine that a fleet may be made of."""

    cost: HourlyCost
    committed: bool = False
    """Paid every hour, used or not: owned, or reserved. Else rented by the hour when needed."""
    replicas: int = 1
    """Replicas that one machine holds."""
    most: int | None = None
    """Machines that can be had at most."""
    most_share: float | None = None
    """Share of the fleet that may be on it at any moment: what one dares to put on spot machines."""

    def __post_init__(self) -> None:
        if self.replicas < 1 or (self.most is not None and self.most < 0):
            raise PriceError(f"{self.cost.name}: a machine holds at least one replica, and there are at least none")
        if self.most_share is not None and not 0 <= self.most_share <= 1:
            raise PriceError(f"{self.cost.name}: a share of the fleet is 0 to 1, got {self.most_share:g}")


@dataclass(frozen=True, eq=False)
class Demand:
    """What a fleet must hold and do, step by step."""

    held: Ints
    """Replicas."""
    work: Floats
    """Replica-seconds of work, done in that step."""
    step_s: float
    hours: Ints
    """The hour of the day, for tariffs."""
    spares: int = 0
    """Machines beyond those that hold the replicas, while there are any."""

    def machines(self, replicas: int) -> Ints:
        """Machines of so many replicas each: those that hold the fleet, and the spares.

        Seven replicas on machines of four are two machines; with one to spare three, so that any one may fail:

        >>> fleet = Demand(np.array([0, 7]), np.zeros(2), 3600.0, np.zeros(2, dtype=np.int64), spares=1)
        >>> fleet.machines(4).tolist()
        [0, 3]
        """
        needed = -(-self.held // replicas)
        return needed + self.spares * (needed > 0)


@dataclass(frozen=True, eq=False)
class Allocation:
    """Machines of one offer over time."""

    offer: FleetOffer
    paid: Floats
    """In each step."""
    used: Floats
    """Those of them that work."""
    work: Floats
    """Replica-seconds of the demand's work that they do."""
    usd: Floats
    """In each step."""


def work_while_held(load: Floats, held: Ints, step_s: float) -> Floats:
    """Replica-seconds of work by step; what comes while there is no replica is done in the next step that has one.

    Nothing is lost: what no later step can do counts in the last that could.

    >>> work_while_held(np.array([0.5, 1.0, 0.0]), np.array([0, 1, 0]), 60.0).tolist()
    [0.0, 90.0, 0.0]
    """
    work = load * step_s
    there = np.flatnonzero(held > 0)
    if len(there) == len(work) or not len(there):
        return work if len(there) else np.zeros(len(work))
    begin = np.concatenate(([0], there[:-1] + 1))
    moved = np.zeros(len(work))
    moved[there] = np.add.reduceat(work, begin)
    # reduceat's last stretch runs to the end, and each other one ends with its own step
    return moved


def only(demand: Demand, offer: FleetOffer) -> Allocation | None:
    """All replicas on machines of one offer: the committed ones sized for the peak. None where there are too few."""
    needed = demand.machines(offer.replicas)
    peak = int(needed.max())
    if (offer.most is not None and peak > offer.most) or (offer.most_share or 1.0) < 1:
        return None
    used = needed.astype(np.float64)
    paid = np.full(len(used), float(peak)) if offer.committed else used
    return _allocation(demand, offer, paid, used, demand.work)


def _allocation(demand: Demand, offer: FleetOffer, paid: Floats, used: Floats, work: Floats) -> Allocation:
    step_h = demand.step_s / SECONDS_PER_HOUR
    fixed, busy = (np.asarray(values) for values in offer.cost.by_hour_of_day())
    if not offer.cost.kwh_by_hour or step_h > 1 + 1e-9:
        usd = paid * (offer.cost.fixed_usd_h * step_h)
        usd += work * (offer.cost.busy_usd_h / offer.replicas / SECONDS_PER_HOUR)
    else:
        usd = paid * fixed[demand.hours] * step_h + work / offer.replicas / SECONDS_PER_HOUR * busy[demand.hours]
    return Allocation(offer, paid, used, work, usd)


def cheapest_mix(demand: Demand, offers: Sequence[FleetOffer]) -> list[Allocation] | None:
    """The allocation of all replicas to offers that costs least. None where no mix can hold them.

    A mixed-integer linear program: steps in which the fleet has the same size are one class k, of n_k
    replicas. Committed offers have a whole number b of machines, paid in every step, of which u_k work; others have x_k
    in class k. Every class is covered, u_k <= b, and x_k is within the quota and within the offer's share of n_k,
    rounded down (of the machines, where all offers hold equally many; a share of 1 is no limit). The work of a class is
    spread evenly over the replicas that are used. All are whole; where a machine of every offer holds equally many
    replicas only b must be said to be, since the rest then is of itself. A spare machine, where they differ, is as many
    replicas as the largest holds: that is what may fail.
    """
    largest = max(offer.replicas for offer in offers)
    alike = all(offer.replicas == largest for offer in offers)
    unit = largest if alike else 1
    needed = demand.machines(unit) if alike else demand.held + demand.spares * largest * (demand.held > 0)
    levels, classes = _classes(needed)
    if not len(levels):
        return [_allocation(demand, offer, *(np.zeros(len(needed)),) * 3) for offer in offers]
    solved = _solve(demand, offers, needed, levels, classes, unit)
    if solved is None:
        return None
    committed, used_k, rented_k = solved
    capacity = np.asarray([1.0 if alike else float(offer.replicas) for offer in offers])
    units = capacity @ (used_k + rented_k)
    share = capacity[:, None] * (used_k + rented_k) / np.where(units > 0, units, 1.0)
    # the steps without replicas are in no class
    inside = classes >= 0
    at = np.where(inside, classes, 0)
    result: list[Allocation] = []
    for number, item in enumerate(offers):
        used = np.where(inside, (used_k if item.committed else rented_k)[number][at], 0.0)
        paid = np.full(len(needed), committed[number]) if item.committed else used
        result.append(_allocation(demand, item, paid, used, np.where(inside, demand.work * share[number][at], 0.0)))
    return result


def _classes(needed: Ints) -> tuple[Ints, Ints]:
    """The different sizes above 0, and which of them each step has (-1: none)."""
    sizes, classes = np.unique(needed, return_inverse=True)
    if sizes[0] == 0:
        sizes, classes = sizes[1:], classes - 1
    if len(sizes) > MOST_LEVELS:
        # size by size is kept at the bottom of the fleet no less than at the top: neighbours are merged, upwards
        last = np.unique(np.ceil(np.linspace(1, len(sizes), MOST_LEVELS)).astype(np.int64)) - 1
        merged = np.searchsorted(last, np.arange(len(sizes)))
        classes = np.where(classes >= 0, merged[np.maximum(classes, 0)], -1)
        sizes = sizes[last]
    return sizes, classes.astype(np.int64)


def _solve(
    demand: Demand, offers: Sequence[FleetOffer], needed: Ints, levels: Ints, classes: Ints, unit: int
) -> tuple[Floats, Floats, Floats] | None:
    """Committed machines per offer, and those that work (committed) or are rented, per offer and class."""
    count, size = len(offers), len(levels)
    alike = len({offer.replicas for offer in offers}) == 1
    inside = classes >= 0
    kind = classes[inside]
    step_h = demand.step_s / SECONDS_PER_HOUR
    # per used machine: its equal part of the class's work
    each = demand.work[inside] / unit / SECONDS_PER_HOUR / needed[inside]
    cost = np.zeros((1 + 2 * size, count))
    for number, offer in enumerate(offers):
        fixed, busy = (np.asarray(values)[demand.hours[inside]] for values in offer.cost.by_hour_of_day())
        working = np.bincount(kind, busy * each, minlength=size)
        cost[1 + size :, number] = np.bincount(kind, fixed, minlength=size) * step_h + working
        cost[1 : 1 + size, number] = working
        every = np.asarray(offer.cost.by_hour_of_day()[0])[demand.hours]
        cost[0, number] = float(every.sum()) * step_h

    # variables, offer by offer: b, u_1..u_K, x_1..x_K
    width = 1 + 2 * size
    upper = np.full((count, width), np.inf)
    for number, offer in enumerate(offers):
        upper[number] = np.inf if offer.most is None else offer.most
        if offer.most_share is not None and offer.most_share < 1:
            within = np.floor(offer.most_share * levels / (1 if alike else offer.replicas) + 1e-9)
            upper[number] = np.minimum(upper[number], np.concatenate((within[-1:], within, within)))
        if offer.committed:
            upper[number, 1 + size :] = 0
        else:
            upper[number, : 1 + size] = 0
    rows: list[Any] = []
    columns: list[Any] = []
    values: list[Any] = []

    def entry(row: Any, column: Any, value: Any) -> None:
        row, column, value = np.broadcast_arrays(row, column, value)
        rows.append(row.ravel())
        columns.append(column.ravel())
        values.append(value.ravel().astype(np.float64))

    k = np.arange(size)
    low: list[Floats] = [levels.astype(np.float64)]
    high: list[Floats] = [np.full(size, np.inf)]
    for number, offer in enumerate(offers):
        holds = 1 if alike else offer.replicas
        entry(k, number * width + 1 + k, holds)
        entry(k, number * width + 1 + size + k, holds)
    row = size
    for number, offer in enumerate(offers):
        if offer.committed:
            entry(row + k, number * width + 1 + k, 1)
            entry(row + k, number * width, -1)
            low.append(np.full(size, -np.inf))
            high.append(np.zeros(size))
            row += size
    whole = np.zeros((count, width), dtype=np.bool_)
    whole[:, 0] = True
    if not alike:
        whole[:] = True
    scale = float(np.abs(cost).max()) or 1.0
    found = solve(
        Program(
            cost=(cost.T / scale).reshape(-1),
            upper=upper.reshape(-1),
            whole=whole.reshape(-1),
            rows=np.concatenate(rows),
            columns=np.concatenate(columns),
            values=np.concatenate(values),
            low=np.concatenate(low),
            high=np.concatenate(high),
        ),
        time_limit_s=_TIME_LIMIT_S,
        gap=1e-9 if alike else 1e-4,
    )
    if found is None:
        return None
    answer: Floats = np.maximum(found.reshape(count, width), 0.0)
    answer = np.where(np.abs(answer - np.rint(answer)) < 1e-6, np.rint(answer), answer)
    return np.rint(answer[:, 0]), answer[:, 1 : 1 + size], answer[:, 1 + size :]
