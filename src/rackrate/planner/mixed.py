"""Fleets of several kinds of machines: whole machines whose capacities add up to the load, at the least cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rackrate.economics.integer_program import Program, solve


@dataclass(frozen=True)
class MixShare:
    """A machine that can be had any number of times."""

    name: str
    capacity: float
    """Requests per second of one machine within the SLO."""
    usd_h: float


@dataclass(frozen=True)
class Mixed:
    """Machines of several kinds; the router gives each what it sustains."""

    machines: tuple[tuple[str, int], ...]
    usd_h: float
    capacity: float
    """Of all. [request/s]"""


def cheapest_mix(rate: float, parts: Sequence[MixShare]) -> Mixed | None:
    """Whole numbers of machines whose capacities reach a rate at least cost; None where there is none.

    An integer program: minimise c n, a n >= rate, n whole.

    >>> mix = cheapest_mix(11.0, [MixShare("large", 10.0, 8.0), MixShare("small", 1.5, 1.9)])
    >>> mix.machines, mix.usd_h
    ((('large', 1), ('small', 1)), 9.9)
    """
    if not parts or not rate > 0:
        return None
    prices = np.array([part.usd_h for part in parts])
    capacities = np.array([part.capacity for part in parts])
    most = np.ceil(rate / capacities)
    numbers = solve(
        Program(
            cost=prices,
            upper=most,
            whole=np.ones(len(parts), dtype=np.bool_),
            rows=np.zeros(len(parts), dtype=np.int64),
            columns=np.arange(len(parts)),
            values=capacities,
            low=np.array([rate]),
            high=np.array([np.inf]),
        ),
        time_limit_s=2.0,
    )
    if numbers is None:
        return None
    numbers = np.rint(numbers)
    if float(numbers @ capacities) < rate * (1 - 1e-9):
        return None
    chosen = tuple((part.name, int(n)) for part, n in zip(parts, numbers, strict=True) if n)
    return Mixed(chosen, round(float(numbers @ prices), 10), float(numbers @ capacities))
