"""Who waits, second by second, against the same trace counted by the second from the start."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.economics.fleet import served
from rackrate.economics.fleet_price import price_fleet
from rackrate.economics.fleet_types import FleetPlan
from rackrate.economics.hourly import HourlyCost
from rackrate.economics.lateness import SAMPLE_DAYS, bursts_of, lateness
from rackrate.economics.mix import FleetOffer
from rackrate.economics.replica import busy_time, parse_capacity
from rackrate.workload.traces import Trace
from rackrate.workload.traffic import Profile, of_trace, tiled, with_mean_rate


def bursty(seed: int, seconds: int, rate: float) -> Trace:
    """Requests in clumps: every second has many or none."""
    generator = np.random.default_rng(seed)
    number = generator.poisson(rate * 5, seconds) * (generator.random(seconds) < 0.2)
    arrival = np.repeat(np.arange(seconds, dtype=np.float64), number) + 0.5
    lengths = generator.integers(1, 3000, len(arrival)).astype(np.int32)
    return Trace("clumps", np.concatenate(([0.0], arrival, [seconds])), np.concatenate(([1], lengths, [1])).astype(
        np.int32), np.concatenate(([1], lengths // 4, [1])).astype(np.int32))  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 99),
    minutes=st.integers(2, 12),
    capacity=st.sampled_from(["4/s", "input=20000,output=5000"]),
    extra=st.floats(0.2, 4),
    max_wait_s=st.sampled_from([0.0, 1.0, 5.0]),
)
def test_bursts_within_a_step_are_seen(seed: int, minutes: int, capacity: str, extra: float, max_wait_s: float) -> None:
    trace, replica = bursty(seed, minutes * 60, 3.0), parse_capacity(capacity)
    coarse, fine = of_trace(trace, 60.0, detail_s=1.0), of_trace(trace, 1.0)
    load = busy_time(coarse, replica).total / 60
    ready = np.ceil(load * extra).astype(np.int64) + 1
    found = lateness(coarse, load, ready, max_wait_s, bursts_of(coarse, replica))
    expected = served(busy_time(fine, replica).total, np.repeat(ready, 60), 1.0, max_wait_s)
    requests = fine.requests
    assert requests is not None
    assert found.late_share == pytest.approx(float(requests @ expected.late_share) / float(requests.sum()), abs=1e-9)
    assert found.longest_wait_s == pytest.approx(expected.longest_wait_s, abs=1e-6)


def test_without_detail_a_step_is_even() -> None:
    trace, replica = bursty(1, 600, 3.0), parse_capacity("4/s")
    plain = of_trace(trace, 60.0)
    assert bursts_of(plain, replica) is None
    load = busy_time(plain, replica).total / 60
    ready = np.full(len(load), 2)
    even = lateness(plain, load, ready, 1.0, None)
    real = lateness(plain, load, ready, 1.0, bursts_of(of_trace(trace, 60.0, detail_s=1.0), replica))
    assert even.late_share == 0
    assert real.late_share > 0.2


def test_of_a_year_two_of_each_weekday_are_looked_at() -> None:
    hour = of_trace(bursty(2, 3600, 3.0), 60.0, detail_s=1.0)
    year = tiled(hour, 8760 * 3600, Profile.of([1.0] * 12 + [2.0] * 12))
    bursts = bursts_of(year, parse_capacity("4/s"))
    assert bursts is not None
    assert bursts.sampled
    assert len(bursts.blocks) == SAMPLE_DAYS
    days = [block.start // 1440 for block in bursts.blocks]
    assert sorted(day % 7 for day in days) == sorted(list(range(7)) * 2)
    assert (days[0], days[-1] > 330, days == sorted(days)) == (0, True, True)
    week = tiled(hour, 7 * 86_400)
    whole = bursts_of(week, parse_capacity("4/s"))
    assert whole is not None
    assert (whole.sampled, whole.blocks) == (False, (slice(0, 7 * 1440),))


def test_scaling_keeps_the_bursts_and_other_steps_lose_them() -> None:
    hour = of_trace(bursty(3, 3600, 3.0), 60.0, detail_s=1.0)
    replica = parse_capacity("4/s")
    item, other = bursts_of(hour, replica), bursts_of(with_mean_rate(hour, 50.0), replica)
    assert item is not None
    assert other is not None
    assert np.allclose(item.load, other.load)
    assert np.allclose(item.load.mean(axis=1), 1)
    assert np.allclose(item.requests.sum(axis=1), 1)


def test_a_fleet_is_given_headroom_for_bursts() -> None:
    hour = tiled(of_trace(bursty(4, 3600, 30.0), 60.0, detail_s=1.0), 86_400)
    offers = [FleetOffer(HourlyCost("box", "rented", 1.0, 0.0, {"rent": 1.0}))]
    pricing = price_fleet(hour, parse_capacity("4/s"), offers, FleetPlan(raise_headroom=True, late_limit=0.05))
    for shape in pricing.shapes:
        assert shape.headroom > 2  # a fifth of the seconds have all the requests
        assert shape.late_share <= 0.05
    assert any("recorded bursts" in note for note in pricing.notes)
