"""A fleet over one day: the mean of all days, and the busiest one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rackrate.economics.fleet_types import FleetPricing, FleetShape
from rackrate.workload.traffic import DAY_S

Floats = npt.NDArray[np.float64]

MOST_POINTS = 144
"""A day in steps of ten minutes, or as fine as the traffic is."""


@dataclass(frozen=True)
class DayPoint:
    """One stretch of a day."""

    hour: float
    """Where it begins, 0 to 24."""
    load: float
    """Replicas at full load."""
    ready: float
    """Replicas that serve."""
    held: float
    """Replicas that are paid for."""
    by_offer: tuple[float, ...]
    """The same, by offer."""


def mean_day(pricing: FleetPricing, shape: FleetShape) -> list[DayPoint]:
    """The mean over all days; only stretches of the day in which a step of the traffic begins."""
    return _day(pricing, shape, np.ones(len(pricing.traffic), dtype=np.bool_))


def busiest_day(pricing: FleetPricing, shape: FleetShape) -> list[DayPoint] | None:
    """The whole day with most work; None where there is no whole day."""
    traffic = pricing.traffic
    day = np.floor((traffic.start_s + np.arange(len(traffic)) * traffic.step_s) / DAY_S).astype(np.int64)
    day -= day[0]
    steps = np.bincount(day)
    whole = steps >= round(DAY_S / traffic.step_s)
    if not whole.any():
        return None
    work = np.where(whole, np.bincount(day, pricing.load), -1.0)
    return _day(pricing, shape, day == int(np.argmax(work)))


def _day(pricing: FleetPricing, shape: FleetShape, chosen: npt.NDArray[np.bool_]) -> list[DayPoint]:
    traffic = pricing.traffic
    stretch_s = max(DAY_S / MOST_POINTS, traffic.step_s)
    points = max(1, int(DAY_S / stretch_s))
    begin = (traffic.start_s + np.arange(len(traffic)) * traffic.step_s) % DAY_S
    at = np.minimum((begin / DAY_S * points + 1e-9).astype(np.int64), points - 1)[chosen]
    number = np.bincount(at, minlength=points)

    def mean(values: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> Floats:
        return np.bincount(at, values[chosen], minlength=points) / np.maximum(number, 1)

    load, ready, held = mean(pricing.load), mean(shape.fleet.ready), mean(shape.fleet.held)
    offers = [mean(allocation.paid * allocation.offer.replicas) for allocation in shape.allocations]
    return [
        DayPoint(
            hour=i * 24 / points,
            load=float(load[i]),
            ready=float(ready[i]),
            held=float(held[i]),
            by_offer=tuple(float(offer[i]) for offer in offers),
        )
        for i in range(points)
        if number[i]
    ]
