"""Which requests wait too long for a replica, second by second where the traffic's source was recorded so finely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rackrate.economics.fleet import served
from rackrate.economics.replica import Replica, busy_time
from rackrate.workload.traffic import DAY_S, Traffic

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SAMPLE_DAYS = 14
"""Of longer times so many whole days are looked at second by second, spread evenly, each weekday twice."""


@dataclass(frozen=True, eq=False)
class Bursts:
    """How load and requests are spread within steps."""

    parts: int
    """Of a step."""
    load: Floats
    """Load of each part over that of its step, by step of the source."""
    requests: Floats
    """Share of a step's requests in each part."""
    source: Ints
    """The source's step that each step repeats."""
    blocks: tuple[slice, ...]
    """The stretches of time that are looked at."""
    sampled: bool


def bursts_of(traffic: Traffic, replica: Replica) -> Bursts | None:
    """What the source says of the inside of its steps; None where it says nothing."""
    detail, source = traffic.detail, traffic.source
    if detail is None or source is None:
        return None
    parts = round(traffic.step_s / detail.step_s)

    def spread(values: Floats) -> Floats:
        rows = values.reshape(-1, parts)
        sums = rows.sum(axis=1, keepdims=True)
        return np.where(sums > 0, rows / np.where(sums > 0, sums, 1.0), 1.0 / parts)

    load = spread(busy_time(detail, replica).total) * parts
    blocks, sampled = _blocks(traffic, parts)
    return Bursts(parts, load, spread(detail.demand), source, blocks, sampled)


def _blocks(traffic: Traffic, parts: int) -> tuple[tuple[slice, ...], bool]:
    day = round(DAY_S / traffic.step_s)
    days = len(traffic) // day if day else 0
    if days <= SAMPLE_DAYS or len(traffic) * parts <= SAMPLE_DAYS * DAY_S:
        return (slice(0, len(traffic)),), False
    chosen: list[int] = []
    for number in range(SAMPLE_DAYS):
        begin = number * days // SAMPLE_DAYS
        # the weekday whose turn it is, within the next seven days
        begin += (number - begin) % 7
        chosen.append(min(begin, days - 1))
    return tuple(slice(fromkey * day, (fromkey + 1) * day) for fromkey in dict.fromkeys(chosen)), True


@dataclass(frozen=True)
class Lateness:
    """Who waited too long for a replica."""

    late_share: float
    """Of the requests (of the work, where there are no requests)."""
    longest_wait_s: float


def lateness(
    traffic: Traffic, load: Floats, ready: Ints, max_wait_s: float, bursts: Bursts | None, *, longest: bool = True
) -> Lateness:
    """The share of requests that waited longer than allowed, and the longest wait.

    Args:
        traffic: whose requests are counted.
        load: replicas at full load, in each step.
        ready: replicas that serve in each step.
        max_wait_s: longer waits are late.
        bursts: the inside of the steps; None: load is even within them.
        longest: whether the longest wait is wanted.
    """
    by = traffic.demand
    if bursts is None:
        service = served(load, ready, traffic.step_s, max_wait_s, longest=longest)
        total = float(by.sum())
        return Lateness(float(by @ service.late_share) / total if total else 0.0, service.longest_wait_s)
    fine_s = traffic.step_s / bursts.parts
    most = bursts.load.max(axis=1)
    late, total, wait = 0.0, 0.0, 0.0
    for block in bursts.blocks:
        source = bursts.source[block]
        total += float(by[block].sum())
        if (load[block] * most[source] <= ready[block]).all():
            continue
        fine = (load[block][:, None] * bursts.load[source]).reshape(-1)
        service = served(fine, np.repeat(ready[block], bursts.parts), fine_s, max_wait_s, longest=longest)
        share = (service.late_share.reshape(-1, bursts.parts) * bursts.requests[source]).sum(axis=1)
        late += float(by[block] @ share)
        wait = max(wait, service.longest_wait_s)
    return Lateness(late / total if total else 0.0, wait)
