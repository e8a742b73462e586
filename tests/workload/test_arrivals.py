"""Arrival processes against what theory says of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.errors import WorkloadError
from rackrate.workload import arrivals
from rackrate.workload.schedule import draw
from rackrate.workload.slo import Objective, parse_slo
from rackrate.workload.synthetic import SyntheticWorkload

WORKLOAD = SyntheticWorkload(64, 32, seed=7)


def cv(times: arrivals.Times) -> float:
    gaps = np.diff(times)
    return float(gaps.std() / gaps.mean())


@given(rate=st.floats(0.01, 1000), seed=st.integers(0, 2**32 - 1), count=st.integers(2, 500))
def test_times_are_sorted_not_negative_and_as_many_as_asked(rate: float, seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    for times in (
        arrivals.constant(rate, count),
        arrivals.poisson(rate, count, generator),
        arrivals.gamma(rate, 2.0, count, generator),
    ):
        assert len(times) == count
        assert times[0] >= 0
        assert (np.diff(times) >= 0).all()


def test_poisson_gaps_vary_as_they_should_and_the_rate_is_the_one_asked_for() -> None:
    times = arrivals.poisson(200, 20_000, np.random.default_rng(1))
    assert cv(times) == pytest.approx(1.0, abs=0.03)
    assert len(times) / times[-1] == pytest.approx(200, rel=1e-3)
    # an exponential gap is below t with probability 1 - exp(-rate t)
    assert (np.diff(times) < 0.0002).mean() == pytest.approx(1 - np.exp(-0.04), abs=0.005)


@pytest.mark.parametrize("wanted", [0.3, 1.0, 3.0])
def test_gamma_gaps_have_the_stated_variation(wanted: float) -> None:
    times = arrivals.gamma(50, wanted, 100_000, np.random.default_rng(2))
    assert cv(times) == pytest.approx(wanted, rel=0.03)
    assert len(times) / times[-1] == pytest.approx(50, rel=1e-3)


@pytest.mark.parametrize("wanted", [0.3, 1.0, 3.0])
def test_a_few_gamma_arrivals_have_the_rate_asked_for(wanted: float) -> None:
    drawn = [arrivals.gamma(20, wanted, 400, np.random.default_rng(seed)) for seed in range(40)]
    ends = np.array([times[-1] for times in drawn])
    assert (ends <= 20.0).all()
    # 400 free gaps of cv 3 would end 15 % off
    assert np.median(np.abs(ends / 20 - 1)) < 0.01
    assert np.mean([cv(times) for times in drawn]) == pytest.approx(wanted, rel=0.05)
    # what comes in a tenth of the time varies as free gaps let it: by cv^2 (1 - 1/10) of its mean
    tenths = np.concatenate([np.histogram(times, bins=10, range=(0, 20))[0] for times in drawn])
    assert tenths.var() == pytest.approx(wanted**2 * 40 * 0.9, rel=0.3)


def test_gamma_gaps_that_are_all_0_are_refused() -> None:
    with pytest.raises(WorkloadError, match="are all 0"):
        arrivals.gamma(20, 1000.0, 2, np.random.default_rng(0))


def test_constant_arrivals_are_constant() -> None:
    assert cv(arrivals.constant(20, 100)) == pytest.approx(0.0, abs=1e-9)


def test_steps_and_ramps_have_the_rates_they_say() -> None:
    generator = np.random.default_rng(3)
    steps = arrivals.stepped([(100, 50), (0, 10), (400, 50)], generator)
    assert ((steps < 50).sum()) == pytest.approx(5000, rel=0.06)
    assert not ((steps >= 50) & (steps < 60)).any()
    assert (steps >= 60).sum() == pytest.approx(20_000, rel=0.04)
    ramp = arrivals.ramped(0, 200, 100, generator)
    assert len(ramp) == pytest.approx(10_000, rel=0.05)
    # the first half of a ramp from nothing has a quarter of the arrivals
    assert (ramp < 50).mean() == pytest.approx(0.25, abs=0.02)
    flat = arrivals.ramped(10, 10, 100, generator)
    assert len(flat) == pytest.approx(1000, rel=0.15)


def test_recorded_times_keep_their_pattern_when_scaled() -> None:
    recorded = np.array([5.0, 6.0, 9.0])
    assert arrivals.scaled(recorded, 4.0).tolist() == pytest.approx([0.0, 0.125, 0.5])


def test_a_seed_reproduces_a_schedule_and_levels_differ() -> None:
    item = draw("poisson", 10, 100, WORKLOAD, level=0)
    again = draw("poisson", 10, 100, WORKLOAD, level=0)
    other = draw("poisson", 10, 100, WORKLOAD, level=1)
    assert (item.due_s == again.due_s).all()
    assert not (item.due_s == other.due_s).all()
    assert set(item.input_tokens) == {64}
    assert set(item.output_tokens) == {32}


@pytest.mark.parametrize(
    ("pattern", "rate", "count", "said"),
    [
        ("uniform", 1.0, 1, "arrivals is poisson, constant, gamma:CV"),
        ("poisson:2", 1.0, 1, "arrivals is poisson, constant, gamma:CV"),
        ("gamma:much", 1.0, 1, "such as gamma:2"),
        ("gamma", 1.0, 1, "such as gamma:2"),
        ("gamma:0", 1.0, 1, "above 0"),
        ("gamma:1e-300", 1.0, 1, "from 0.001 to 1000, got 1e-300"),
        ("gamma:1e300", 1.0, 1, "from 0.001 to 1000, got 1e"),
        ("poisson", 0.0, 1, "above 0"),
        ("constant", float("nan"), 1, "above 0"),
        ("poisson", 1.0, 0, "at least one request"),
    ],
)
def test_what_cannot_be_drawn_is_said(pattern: str, rate: float, count: int, said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        draw(pattern, rate, count, WORKLOAD)


def test_impossible_processes_are_refused() -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(WorkloadError, match="must not be negative"):
        arrivals.stepped([(-1, 5)], generator)
    with pytest.raises(WorkloadError, match="one of them above"):
        arrivals.ramped(0, 0, 5, generator)
    with pytest.raises(WorkloadError, match="no rate to scale"):
        arrivals.scaled(np.array([1.0]), 2)


def test_objectives_are_read() -> None:
    assert parse_slo("p99.5 e2e <= 2s, tpot < 50ms").objectives == (
        Objective("e2e", 99.5, 2.0),
        Objective("tpot", 95.0, 0.05),
    )


@pytest.mark.parametrize(
    "text", ["", "ttft", "p95 ttft > 1s", "p95 latency < 1s", "p0 ttft < 1s", "p95 ttft < 0ms", "p95 ttft < 500",
    "p95 ttft < 1s, p95 ttft < 2s", "ttft < 1s, p95 ttft < 1s", "p95 ttft < 9999999999s"],
)  # fmt: skip
def test_what_is_no_objective_is_said(text: str) -> None:
    with pytest.raises(WorkloadError, match="slo"):
        parse_slo(text)
