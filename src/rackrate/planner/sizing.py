"""How many machines a load takes within an SLO: the fewest whose replicas, each given its share, sustain it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from rackrate.planner.bounds import least_busy_s
from rackrate.planner.candidates import Replica
from rackrate.simulation.capacity import Capacity, Draw, Point, find_capacity, load_point
from rackrate.workload.slo import Slo

MOST_MACHINES = 4096


@dataclass(frozen=True)
class Sized:
    """The fewest machines, and the load of one of their replicas."""

    machines: int
    replicas: int
    point: Point


def fewest_machines(rate: float, replicas: int, busy_s: float) -> int:
    """Machines that no schedule can do without: rate x least busy seconds over replicas of a machine, rounded up.

    >>> fewest_machines(rate=10.0, replicas=2, busy_s=0.46)
    3
    """
    return max(1, math.ceil(rate * busy_s / replicas - 1e-9))


class Sizer:
    """Simulates replicas of many kinds under shares of one load, each share once."""

    def __init__(self, draw: Draw, rate: float, slo: Slo, stop: Callable[[], bool] = lambda: False) -> None:
        """For a load [request/s] and objectives; `stop` may end a search early."""
        self.draw, self.rate, self.slo, self.stop = draw, rate, slo, stop
        self.simulations = 0
        self._points: dict[tuple[object, int], Point] = {}
        self._busy: dict[object, float] = {}
        self._capacities: dict[object, Capacity] = {}

    def busy_s(self, replica: Replica) -> float:
        """The bound of `least_busy_s`, once per kind."""
        if replica.kind not in self._busy:
            self._busy[replica.kind] = least_busy_s(self.draw, replica.step, replica.limits)
        return self._busy[replica.kind]

    def point(self, replica: Replica, replicas: int) -> Point:
        """One of so many replicas under its share of the load."""
        key = (replica.kind, replicas)
        if key not in self._points:
            self.simulations += 1
            share = self.rate / replicas
            self._points[key] = load_point(self.draw, share, self.slo, replica.step, replica.limits, give_up=True)
        return self._points[key]

    def size(self, replica: Replica, on_machine: int, most: int = MOST_MACHINES) -> Sized | None:
        """The fewest machines, at most `most`; None where those do not do.

        From the bound upward by factors, then bisected: fewer requests a replica never serve it worse.
        """
        low = fewest_machines(self.rate, on_machine, self.busy_s(replica)) - 1
        high = low + 1
        jump = 1
        while True:
            if high > most:
                if low >= most:
                    return None
                high = most
            if self.point(replica, high * on_machine).sustained:
                break
            if high >= most:
                return None
            low, high, jump = high, high + jump, jump * 2
        while high - low > 1:
            middle = (low + high) // 2
            if self.point(replica, middle * on_machine).sustained:
                high = middle
            else:
                low = middle
        return Sized(high, high * on_machine, self.point(replica, high * on_machine))

    def capacity(self, replica: Replica, sized: Sized) -> Capacity:
        """What one replica sustains at most. [request/s]"""
        if replica.kind not in self._capacities:
            share = self.rate / sized.replicas
            most = 1 / self.busy_s(replica)
            found = find_capacity(self.draw, self.slo, replica.step, replica.limits, guess=share, most=max(most, share))
            self.simulations += found.simulations
            self._capacities[replica.kind] = found
        return self._capacities[replica.kind]
