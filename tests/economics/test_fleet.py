"""Replicas over time, against a fleet whose replicas start and stop one by one, and a queue run in small steps."""

from __future__ import annotations

import math
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
    spares=st.integers(0, 2),
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
        one, other = (replicas(values, 60.0, replace(policy, kind=kind)) for values in (low, high))
        assert (one.held <= other.held).all()
        assert (one.ready <= other.ready).all()
        assert (other.ready <= other.held).all()


def test_a_fixed_fleet_is_sized_for_its_peak_or_for_that_of_each_period() -> None:
    load = np.array([1.0, 3.0, 2.0, 6.0, 1.0])
    policy = Policy(kind="fixed", headroom=1.0, spares=1)
    assert replicas(load, 3600, policy).held.tolist() == [7] * 5
    monthly = replace(policy, resize_s=7200)
    assert replicas(load, 3600, monthly).held.tolist() == [4, 4, 7, 7, 2]


def test_no_load_scales_to_zero_and_then_somebody_waits_for_the_start() -> None:
    load = np.array([0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0])
    policy = Policy(headroom=1.0, floor=0, spares=1, cold_start_s=60, scale_down_s=60)
    fleet = replicas(load, 60, policy)
    assert fleet.held.tolist() == [0, 0, 0, 2, 2, 2, 2, 2, 0]
    assert fleet.ready.tolist() == [0, 0, 0, 0, 2, 2, 2, 2, 0]
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


def in_small_steps(
    load: np.ndarray, ready: np.ndarray, step_s: float, max_wait_s: float, parts: int
) -> tuple[list[float], list[float], list[float], float]:
    """Parcels of work, first come first served, each a small piece of a step; who waits how long is looked up."""
    small = step_s / parts
    arrive = np.repeat(load * small, parts)
    can = np.repeat(ready * small, parts).astype(float)
    queue: list[list[float]] = []
    waits = np.full(len(arrive), np.inf)
    waits[arrive == 0] = 0
    backlog: list[float] = []
    extra = [float(ready[-1]) * small] * (50 * parts)
    for now, room in enumerate([*can.tolist(), *extra]):
        if now < len(arrive) and arrive[now] > 0:
            queue.append([now, arrive[now]])
        left = room
        while queue and left > 1e-12:
            take = min(left, queue[0][1])
            queue[0][1] -= take
            left -= take
            if queue[0][1] <= 1e-9:
                waits[int(queue[0][0])] = (now - queue[0][0]) * small
                queue.pop(0)
        if now < len(arrive) and (now + 1) % parts == 0:
            backlog.append(sum(size for _, size in queue))
    # a wait is known to a piece: those late for certain, and those that may be
    late = (waits.reshape(-1, parts) > max_wait_s + small).mean(axis=1)
    perhaps = (waits.reshape(-1, parts) > max(max_wait_s - small, 0.0)).mean(axis=1)
    return backlog, late.tolist(), perhaps.tolist(), float(waits.max())


@settings(deadline=None, max_examples=50, derandomize=True)
@given(
    load=st.lists(st.integers(0, 8), min_size=2, max_size=10),
    ready=st.lists(st.integers(1, 5), min_size=10, max_size=10),
    max_wait_s=st.sampled_from([0.0, 1.0, 60.0, 100.0]),
)
@example(load=[6, 1], ready=[5, 4, 1, 1, 1, 1, 1, 1, 1, 1], max_wait_s=0.0)
def test_waiting_is_that_of_a_queue_run_in_small_steps(load: list[int], ready: list[int], max_wait_s: float) -> None:
    work, serving = np.array(load, dtype=float), np.array(ready[: len(load)])
    parts = 60
    backlog, late, perhaps, longest = in_small_steps(work, serving, 60.0, max_wait_s, parts)
    service = served(work, serving, 60.0, max_wait_s)
    assert service.backlog.tolist() == pytest.approx(backlog, abs=1e-6)
    assert service.longest_wait_s == pytest.approx(longest, abs=3.0)
    # within a step the straight line may err where the number that serves changes; and where a queue runs empty within
    # a step, it reaches to the step's end
    emptied = (service.backlog <= 0) & (np.concatenate([[0.0], service.backlog[:-1]]) > 0)
    near = 0.12 * float(work.sum()) + 0.1
    assert float(work @ np.array(late)) - near <= float(work @ service.late_share)
    assert float(work @ service.late_share) <= float(work @ np.maximum(perhaps, emptied)) + near


@settings(deadline=None)
@given(load=LOADS, extra=st.integers(0, 3), max_wait_s=st.sampled_from([0.0, 1.0, 90.0]))
def test_more_replicas_never_make_anybody_later(load: np.ndarray, extra: int, max_wait_s: float) -> None:
    few = np.full(len(load), 3)
    one, other = served(load, few, 60, max_wait_s), served(load, few + extra, 60, max_wait_s)
    assert (other.backlog <= one.backlog + 1e-6).all()
    assert float(load @ other.late_share) <= float(load @ one.late_share) + 1e-6
    assert other.longest_wait_s <= one.longest_wait_s + 1e-6


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
