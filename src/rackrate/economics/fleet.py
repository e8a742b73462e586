"""Replicas over time: how many a policy keeps, which of them serve, and which requests wait too long for one.

All of it is arithmetic on whole arrays: a year by minute takes milliseconds. Load is in replicas at full load (busy
seconds over seconds), as a fluid: the queueing of single requests within a replica is in its capacity, and what chance
adds on top is what headroom is for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from rackrate.errors import PriceError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_REPLICAS = 1_000_000
"""Of a fleet; more is a slip of the pen."""
_ROUNDING = 1e-9
"""0.3 / 0.1 is three replicas, not four."""


@dataclass(frozen=True)
class Policy:
    """How a fleet follows its load."""

    kind: Literal["fixed", "autoscaled"] = "autoscaled"
    headroom: float = 1.25
    """Replicas kept per replica of load: 1.25 aims at 80 % utilisation."""
    floor: int = 1
    """Never fewer; 0 scales to zero."""
    spares: int = 0
    """Machines kept beyond those that the load needs, while there are any, so that one may fail: N+1 is one."""
    cold_start_s: float = 180.0
    """From the decision to serving: machine, weights, warm-up. Paid, not serving."""
    scale_down_s: float = 300.0
    """The fleet is as large as was wanted at any moment of so long a past; Kubernetes' autoscaler takes 300 s."""
    resize_s: float | None = None
    """A fixed fleet is sized anew, for the peak to come, so often; None: once, for the peak of all."""
    max_wait_s: float = 1.0
    """Requests that wait longer for a replica to be free are counted as late."""

    def __post_init__(self) -> None:
        if not 1 <= self.headroom <= 100:
            raise PriceError(f"headroom is replicas per replica of load, 1 to 100, got {self.headroom:g}")
        if not (0 <= self.floor <= MOST_REPLICAS and 0 <= self.spares <= MOST_REPLICAS):
            raise PriceError(f"floor and spares are 0 to {MOST_REPLICAS:,}, got {self.floor} and {self.spares}")
        for name in ("cold_start_s", "scale_down_s", "max_wait_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise PriceError(f"{name} must be at least 0, got {getattr(self, name):g}")
        if self.resize_s is not None and not self.resize_s > 0:
            raise PriceError(f"resize_s must be above 0, got {self.resize_s:g}")


@dataclass(frozen=True, eq=False)
class Replicas:
    """Numbers of replicas in each step."""

    held: Ints
    """Paid for: serving or starting."""
    ready: Ints
    """Serving."""


def wanted(load: Floats, policy: Policy) -> Ints:
    """Replicas that a load needs: max(floor, ceil(load x headroom)). Spare machines are beside them.

    >>> wanted(np.array([0.0, 0.8, 2.1]), Policy(headroom=1.25, floor=0)).tolist()
    [0, 1, 3]
    """
    needed = np.ceil(load * policy.headroom * (1 - _ROUNDING)).astype(np.int64)
    return np.maximum(needed, policy.floor)


def replicas(load: Floats, step_s: float, policy: Policy) -> Replicas:
    """How many replicas a policy holds, and how many of them serve.

    Fixed: those of the peak, all the time (or of each period between two sizings). Autoscaled: the scaler sees the
    load of the last step, keeps the most that was wanted during `scale_down_s`, and a new replica serves `cold_start_s`
    after it was asked for, both rounded up to whole steps. The newest replica goes first, so n serve where at least n
    have been held for a cold start: the rolling minimum.

    Args:
        load: replicas at full load, in each step.
        step_s: length of a step.
        policy: how the fleet follows.

    A load that doubles; the scaler sees it a step later, and the second replica starts for another two:

    >>> up = np.array([1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0])
    >>> fleet = replicas(up, 60, Policy(headroom=1.0, cold_start_s=120, scale_down_s=60))
    >>> fleet.held.tolist(), fleet.ready.tolist()
    ([1, 1, 1, 2, 2, 2, 2, 2], [1, 1, 1, 1, 1, 2, 2, 2])
    """
    now = wanted(load, policy)
    if policy.kind == "fixed":
        if policy.resize_s is None:
            held = np.full(len(load), now.max(), dtype=np.int64)
        else:
            period = max(1, round(policy.resize_s / step_s))
            starts = np.arange(0, len(load), period)
            sizes = np.maximum.reduceat(now, starts)
            held = np.repeat(sizes, np.diff(np.append(starts, len(load))))
        return Replicas(held, held)
    seen = np.concatenate((now[:1], now[:-1]))
    held = rolling(seen, math.ceil(policy.scale_down_s / step_s - _ROUNDING), np.maximum)
    return Replicas(held, rolling(held, math.ceil(policy.cold_start_s / step_s - _ROUNDING), np.minimum))


def rolling(values: Ints, past: int, of: np.ufunc) -> Ints:
    """The maximum (or minimum) of each value and so many before it; before the first, all were like it.

    By doubling windows: log2(past) passes over the array.

    >>> rolling(np.array([1, 5, 2, 2, 2]), 2, np.maximum).tolist()
    [1, 5, 5, 5, 2]
    """
    size = min(past + 1, len(values))
    result, width = values.copy(), 1
    while width < size:
        step = min(width, size - width)
        longer = result.copy()
        of(result[step:], result[:-step], out=longer[step:])
        # the first values stand for all before them
        of(result[:step], values[0], out=longer[:step])
        result, width = longer, width + step
    return result


def machines(held: Sequence[tuple[Ints, int]], slots: int) -> Ints:
    """Whole machines for replicas of one or several models that share them.

    Args:
        held: for each model, its replicas over time and how many slots (GPUs) one takes.
        slots: of a machine.

    Sizes must divide one another (1, 2, 4, 8 GPUs do): then filling large replicas first leaves no gap, and
    ceil(all slots / slots of a machine) is not only the least but enough.

    >>> machines([(np.array([3]), 4), (np.array([5]), 1)], slots=8).tolist()
    [3]

    Raises:
        PriceError: a replica that does not fit, or sizes that do not divide one another.
    """
    sizes = sorted({size for _, size in held} | {slots})
    if slots < 1 or sizes[0] < 1 or sizes[-1] > slots:
        raise PriceError(f"a replica takes 1 to {slots} slots of a machine, got {sizes[0]} to {sizes[-1]}")
    for small, large in pairwise(sizes):
        if large % small:
            raise PriceError(
                f"replicas of {small} and {large} slots leave gaps on a machine of {slots}: "
                "sizes must divide one another"
            )
    total = sum((number * size for number, size in held), start=np.zeros(len(held[0][0]), dtype=np.int64))
    return -(-total // slots)


@dataclass(frozen=True, eq=False)
class Service:
    """How a fleet's replicas kept up with the load."""

    backlog: Floats
    """Replica-seconds of work waiting at the end of each step."""
    late_share: Floats
    """Share of each step's requests that waited longer than allowed for a replica."""
    longest_wait_s: float
    """The longest wait for a replica; infinite where the last of the backlog was never served."""


def served(load: Floats, ready: Ints, step_s: float, max_wait_s: float, *, longest: bool = True) -> Service:
    """Who waits, first come first served, when the load is more than the replicas that serve.

    Work in hand is B(t) = S(t) - min over s <= t of min(0, S(s)), with S the cumulated load less the cumulated
    capacity C (Reich's formula for a reflected process, 1958). Work that arrives at t is done when C has grown by B(t),
    so it is late where B(t) > C(t + max wait) - C(t). Load and capacity are taken as constant within a step; of such a
    fluid all that is given is exact.

    Args:
        load: replicas at full load, in each step.
        ready: replicas that serve in each step.
        step_s: length of a step.
        max_wait_s: longer waits are late.
        longest: whether the longest wait is wanted, which takes as long as all else; without, it is not a number.

    Three replicas of work come in the second minute, for which one serves: the last of it waits two minutes, and
    what came in the first half of that minute less than one.

    >>> service = served(np.array([0.0, 3.0, 0.0, 0.0]), np.array([1, 1, 1, 1]), 60.0, max_wait_s=60.0)
    >>> service.backlog.tolist(), service.late_share.tolist(), service.longest_wait_s
    ([0.0, 120.0, 60.0, 0.0], [0.0, 0.5, 1.0, 0.0], 120.0)
    """
    if (load <= ready).all():
        nobody = np.zeros(len(load))
        return Service(nobody, nobody, 0.0)
    capacity = np.concatenate(([0.0], np.cumsum(ready * step_s)))
    surplus = np.concatenate(([0.0], np.cumsum((load - ready) * step_s)))
    in_hand = surplus - np.minimum.accumulate(np.minimum(surplus, 0.0))
    # differences of large sums are only so exact
    noise = 1e-12 * max(float(capacity[-1]), float(np.abs(surplus).max()), 1.0) + 1e-9 * step_s
    in_hand[in_hand < noise] = 0.0

    late = _late_share(load, ready, in_hand, capacity, step_s, max_wait_s, noise)
    wait_s = math.nan
    if longest:
        edges = np.arange(len(load) + 1, dtype=np.float64) * step_s
        wait_s = _longest_wait(load, in_hand, capacity, edges, step_s, float(ready[-1]))
    return Service(in_hand[1:], late, wait_s)


def _late_share(
    load: Floats, ready: Ints, in_hand: Floats, capacity: Floats, step_s: float, max_wait_s: float, noise: float
) -> Floats:
    """Share of each step in which what arrives is late.

    u seconds into step i, with a the load and B and C at the step's begin, what arrives is late where

        f(u) = B + a u - (C(begin + u + max wait) - C) > 0.

    Until the queue runs empty B + a u is work in hand plus the capacity that has gone by. Afterwards it is less than
    that capacity, so f is below 0 and nobody is late: no case of its own. C(begin + u + max wait) is a straight line
    but where it passes from one step to the next, `rest` before the end, where max wait = whole steps + rest. So f is
    two straight lines, and each is above 0 for max(0, first) + max(0, last) over |first| + |last| of its length.
    """
    late = np.zeros(len(load))
    at = np.flatnonzero((in_hand[:-1] > 0) | (load > ready))
    # 30 million years are for ever, and a whole number of steps
    steps, rest = divmod(min(max_wait_s, 1e15), step_s)
    # after the end the fleet stays as it was last
    inside, last = np.minimum(at + int(steps), len(load)), int(ready[-1])
    beyond = np.maximum(at + int(steps) + 1 - len(load), 0)
    until = capacity[np.minimum(inside + 1, len(load))] + beyond * (last * step_s)
    ahead, come = in_hand[at] + capacity[at] - until, load[at]
    serve, serve_next = (np.append(ready, (last, last))[np.minimum(inside + i, len(load))] for i in (0, 1))

    begin, turn = ahead + serve * (step_s - rest), ahead + come * (step_s - rest)
    late[at] = _above_zero(begin, turn, noise)
    if rest > 0:
        end = ahead + come * step_s - serve_next * rest
        late[at] += (_above_zero(turn, end, noise) - late[at]) * (rest / step_s)
    return late


def _above_zero(first: Floats, last: Floats, noise: float) -> Floats:
    """Share of a straight line that is above zero; a line within the noise is not.

    >>> _above_zero(np.array([3.0, 1.0, -1.0, 1e-10]), np.array([-1.0, 2.0, -2.0, 0.0]), 1e-9).tolist()
    [0.75, 1.0, 0.0, 0.0]
    """
    span = np.abs(first) + np.abs(last)
    above = np.maximum(first, 0.0) + np.maximum(last, 0.0)
    return np.divide(above, span, out=np.zeros(len(span)), where=span > noise)


def _longest_wait(load: Floats, in_hand: Floats, capacity: Floats, edges: Floats, step_s: float, last: float) -> float:
    """Over what arrives at the end of each step and at its very beginning, and over what is next at each end.

    Between those moments neither the rate of arrival nor that of service changes, so no wait has its peak there.
    """
    ends = np.flatnonzero(in_hand)
    begins = np.flatnonzero(load)
    longest = 0.0
    sides: tuple[tuple[npt.NDArray[np.intp], Literal["left", "right"]], ...] = ((ends, "left"), (begins, "right"))
    for at, side in sides:
        target = capacity[at] + in_hand[at]
        within = target <= capacity[-1] if side == "left" else target < capacity[-1]
        # on the right: of the moments at which the capacity is the target's, the last, after which it grows
        done = np.searchsorted(capacity, target[within], side=side)
        rate = (capacity[done] - capacity[done - 1]) / step_s
        waits = edges[done - 1] + (target[within] - capacity[done - 1]) / rate - edges[at[within]]
        longest = max(longest, float(waits.max(initial=0.0)))
        if within.all():
            continue
        if last == 0:
            return math.inf
        after = edges[-1] + (target[~within] - capacity[-1]) / last - edges[at[~within]]
        longest = max(longest, float(after.max()))
    if len(ends):
        arrived = np.concatenate(([0.0], np.cumsum(load * step_s)))
        level = np.minimum(arrived[ends] - in_hand[ends], arrived[-1])
        came = np.minimum(np.searchsorted(arrived, level, side="right"), ends)
        rate = np.maximum((arrived[came] - arrived[came - 1]) / step_s, 1e-300)
        since = np.clip(edges[came - 1] + (level - arrived[came - 1]) / rate, edges[came - 1], edges[came])
        longest = max(longest, float((edges[ends] - since).max()))
    return longest
