"""Replicas over time, against a fleet whose replicas start and stop one by one, and a queue run in small steps."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rackrate.economics.fleet import Policy, machines, replicas, rolling, served, wanted
from rackrate.errors import PriceError

LOADS = st.lists(st.integers(0, 80), min_size=1, max_size=40).map(lambda tenths: np.array(tenths) / 10)
POLICIES = st.builds(
    Policy,
    headroom=st.sampled_from([1.0, 1.25, 2.0]),
    floor=st.integers(0, 3),
    cold_start_s=st.sampled_from([0.0, 30.0, 60.0, 150.0, 600.0]),
    scale_down_s=st.sampled_from([0.0, 60.0, 200.0, 900.0]),
)


def one_by_one(load: list[float], step_s: float, policy: Policy) -> tuple[list[int], list[int]]:
    """A fleet as a stack of replicas, each with the time at which it began; the newest goes first."""
    wants = [int(wanted(np.array([value]), policy)[0]) for value in load]
    began: list[int] = []
    held: list[int] = []
    ready: list[int] = []
    remembered = [(-math.inf, wants[0])]
    for step in range(len(load)):
        if step:
            remembered.append((step, wants[step - 1]))
        # the scaler keeps the most that it wanted within the past that it looks at
        past = math.ceil(policy.scale_down_s / step_s)
        target = max(number for at, number in remembered if at >= step - past or (at == -math.inf and step <= past))
        while len(began) < target:
            began.append(step or -(10**9))  # those of the beginning are warm
        while len(began) > target:
            began.pop()
        held.append(len(began))
        ready.append(sum(1 for at in began if step - at >= math.ceil(policy.cold_start_s / step_s)))
    return held, ready


@settings(deadline=None, max_examples=300)
@given(load=LOADS, policy=POLICIES)
def test_a_fleet_is_that_of_replicas_started_and_stopped_one_by_one(load: np.ndarray, policy: Policy) -> None:
    held, ready = one_by_one(load.tolist(), 60.0, policy)
    fleet = replicas(load, 60.0, policy)
    assert fleet.held.tolist() == held
    assert fleet.ready.tolist() == ready


@settings(deadline=None)
@given(
    values=st.lists(st.integers(-50, 50), min_size=1, max_size=30),
    past=st.integers(0, 40),
    of=st.sampled_from([np.maximum, np.minimum]),
)
def test_rolling_is_the_extreme_of_each_window(values: list[int], past: int, of: np.ufunc) -> None:
    padded = [values[0]] * past + values
    extreme = max if of is np.maximum else min
    expected = [extreme(padded[i : i + past + 1]) for i in range(len(values))]
    assert rolling(np.array(values), past, of).tolist() == expected


@settings(deadline=None)
@given(load=LOADS, more=LOADS, policy=POLICIES)
def test_more_load_never_needs_fewer_replicas(load: np.ndarray, more: np.ndarray, policy: Policy) -> None:
    size = min(len(load), len(more))
    low, high = load[:size], load[:size] + more[:size]
    for kind in ("fixed", "autoscaled"):
        item, other = (replicas(values, 60.0, replace(policy, kind=kind)) for values in (low, high))
        assert (item.held <= other.held).all()
        assert (item.ready <= other.ready).all()
        assert (other.ready <= other.held).all()


def test_a_fixed_fleet_is_sized_for_its_peak_or_for_that_of_each_period() -> None:
    load = np.array([1.0, 3.0, 2.0, 6.0, 1.0])
    policy = Policy(kind="fixed", headroom=1.0)
    assert replicas(load, 3600, policy).held.tolist() == [6] * 5
    monthly = replace(policy, resize_s=7200)
    assert replicas(load, 3600, monthly).held.tolist() == [3, 3, 6, 6, 1]


def test_no_load_scales_to_zero_and_then_somebody_waits_for_the_start() -> None:
    load = np.array([0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0])
    policy = Policy(headroom=1.0, floor=0, cold_start_s=60, scale_down_s=60)
    fleet = replicas(load, 60, policy)
    assert fleet.held.tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 0]
    assert fleet.ready.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0]
    service = served(load, fleet.ready, 60, max_wait_s=1)
    assert service.longest_wait_s == pytest.approx(120)  # the first came two minutes before anybody served
    assert service.late_share[2:4].tolist() == [1.0, 1.0]
    assert service.backlog[-1] == 0


@pytest.mark.parametrize(
    "change",
    [{"headroom": 0.9}, {"floor": -1}, {"spares": -1}, {"cold_start_s": -1}, {"max_wait_s": math.nan}, {"resize_s": 0}],
)
def test_a_policy_that_cannot_be_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(PriceError):
        Policy(**change)  # pyright: ignore[reportArgumentType]


# --- waiting ---


PARTS = 60
"""Small steps of a step; a test's times are in them."""


def in_small_steps(load: list[int], ready: list[int]) -> tuple[list[int], list[float]]:
    """Work in hand before each small step and after the last, and how many of them each small step's parcel waits.

    A parcel of each small step's work, first come first served, in whole units. A queue is served to its end by the
    replicas that are there last.
    """
    arrive, serve = np.repeat(load, PARTS).tolist(), np.repeat(ready, PARTS).tolist()
    queue: deque[list[int]] = deque()
    waits = [math.inf] * len(arrive)
    hand = [0]
    now = 0
    while now < len(arrive) or (queue and ready[-1]):
        if now < len(arrive):
            queue.append([now, arrive[now]])
        room = serve[now] if now < len(arrive) else ready[-1]
        while queue and room >= queue[0][1]:
            came, size = queue.popleft()
            room -= size
            waits[came] = now - came
        if queue:
            queue[0][1] -= room
        if now < len(arrive):
            hand.append(sum(size for _, size in queue))
        now += 1
    return hand, waits


@settings(deadline=None, max_examples=50)
@given(
    load=st.lists(st.integers(0, 8), min_size=2, max_size=10),
    ready=st.lists(st.integers(0, 5), min_size=10, max_size=10),
    max_wait=st.sampled_from([0, 1, 7, 60, 100, 150, 1000]),
)
@example(load=[6, 1], ready=[5, 4, 1, 1, 1, 1, 1, 1, 1, 1], max_wait=0)
@example(load=[8, 0, 8], ready=[0, 4, 1, 1, 1, 1, 1, 1, 1, 1], max_wait=60)
def test_waiting_is_that_of_a_queue_run_in_small_steps(load: list[int], ready: list[int], max_wait: int) -> None:
    """Parcels bound what the fluid that they stand for waits, as neither load nor replicas change within a small step.

    Work in hand at the ends of small steps is the same. The last drop of a parcel that waits n small steps comes at the
    end of its own and is done within the n-th after that: it waits more than n - 1 and at most n. Every drop of it
    comes at most one small step earlier, and is done no later: it waits at most n + 1. And it comes after the last drop
    of the parcel before, which waits m, and at most one small step later: it waits more than m - 2. Where nothing is in
    hand before a small step and after it, nobody waits.
    """
    ready = ready[: len(load)]
    hand, waits = in_small_steps(load, ready)
    service = served(np.array(load, dtype=float), np.array(ready), PARTS, max_wait)
    assert service.backlog.tolist() == pytest.approx(hand[PARTS::PARTS])
    assert max(waits) - 1 <= service.longest_wait_s + 1e-6
    if any(hand):
        assert service.longest_wait_s <= max(waits) + 1 + 1e-6
    else:
        assert service.longest_wait_s == 0
    before = [0, *waits[:-1]]
    certainly = [m - 2 >= max_wait for m in before]
    perhaps = [n + 1 > max_wait and (had > 0 or has > 0) for n, had, has in zip(waits, hand, hand[1:], strict=False)]
    for step, share in enumerate(service.late_share.tolist()):
        small = slice(step * PARTS, (step + 1) * PARTS)
        if load[step]:
            assert sum(certainly[small]) / PARTS - 1e-9 <= share <= sum(perhaps[small]) / PARTS + 1e-9


@settings(deadline=None)
@given(load=LOADS, extra=st.integers(0, 3), max_wait_s=st.sampled_from([0.0, 1.0, 90.0]))
def test_more_replicas_never_make_anybody_later(load: np.ndarray, extra: int, max_wait_s: float) -> None:
    few = np.full(len(load), 3)
    item, other = served(load, few, 60, max_wait_s), served(load, few + extra, 60, max_wait_s)
    assert (other.backlog <= item.backlog + 1e-6).all()
    assert float(load @ other.late_share) <= float(load @ item.late_share) + 1e-6
    assert other.longest_wait_s <= item.longest_wait_s + 1e-6


def test_with_enough_replicas_nobody_waits() -> None:
    load = np.array([0.5, 2.0, 1.5])
    service = served(load, np.array([1, 2, 2]), 60, 0.0)
    assert service.backlog.tolist() == [0, 0, 0]
    assert service.late_share.tolist() == [0, 0, 0]
    assert service.longest_wait_s == 0


def test_work_that_nobody_ever_does_waits_for_ever() -> None:
    service = served(np.array([1.0, 1.0]), np.array([0, 0]), 60, 10)
    assert service.longest_wait_s == math.inf
    assert service.backlog.tolist() == [60, 120]
    assert service.late_share.tolist() == [1, 1]


# --- machines shared by models ---


@settings(deadline=None)
@given(counts=st.tuples(*[st.integers(0, 9)] * 4), slots=st.sampled_from([8, 16]))
def test_replicas_that_divide_one_another_fill_machines_without_gaps(counts: tuple[int, ...], slots: int) -> None:
    """First fit, largest first, on real machines."""
    sizes = (1, 2, 4, 8)
    free: list[int] = []
    for size, count in sorted(zip(sizes, counts, strict=True), reverse=True):
        for _ in range(count):
            place = next((i for i, room in enumerate(free) if room >= size), None)
            if place is None:
                free.append(slots)
                place = len(free) - 1
            free[place] -= size
    held = [(np.array([count]), size) for size, count in zip(sizes, counts, strict=True)]
    assert machines(held, slots).tolist() == [len(free)]


@pytest.mark.parametrize(("sizes", "slots"), [((3, 2), 8), ((3,), 8), ((16,), 8), ((0,), 8)])
def test_replicas_that_leave_gaps_are_refused(sizes: tuple[int, ...], slots: int) -> None:
    with pytest.raises(PriceError, match="slots"):
        machines([(np.array([1]), size) for size in sizes], slots)
