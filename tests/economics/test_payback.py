"""Payback against a ledger kept month by month, the hybrid split against every number of machines."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rackrate.economics.breakeven import MAX_MONTHS, break_even, hybrid_split, payback_months, whole_machines

MONEY = st.floats(1, 1e6)


def ledger(upfront: float, running: float, api: float, rate: float, decline: float, most: int) -> float:
    """The month, by adding up; a straight line within it. Infinite where it does not come in `most` months."""
    owed = upfront
    for month in range(1, most + 1):
        worth = (1 + rate) ** (-month / 12)
        saved = (api * (1 - decline) ** ((month - 1) / 12) - running) * worth
        if saved >= owed > 0:
            return month - 1 + owed / saved
        owed -= saved
    return math.inf


@settings(deadline=None, max_examples=200)
@given(
    upfront=MONEY,
    running=st.just(0.0) | MONEY,
    margin=st.floats(0.5, 4),
    rate=st.just(0.0) | st.floats(0.001, 0.4),
    decline=st.just(0.0) | st.floats(0.001, 0.8) | st.floats(-0.3, -0.001),
)
def test_the_month_is_that_of_the_ledger(
    upfront: float, running: float, margin: float, rate: float, decline: float
) -> None:
    api = max(running, 1.0) * margin
    expected = ledger(upfront, running, api, rate, decline, MAX_MONTHS)
    got = float(payback_months(upfront, running, api, rate, decline))
    # a ledger that comes within a rounding error of zero may go either way
    slack = payback_months(np.array([upfront * (1 - 1e-7), upfront * (1 + 1e-7)]), running, api, rate, decline)
    assume(bool(np.isfinite(slack[0]) == np.isfinite(slack[1])))
    assume(not np.isfinite(slack).all() or slack[1] - slack[0] < 0.01)
    assert got == pytest.approx(expected, rel=1e-5, abs=1e-3)


def test_the_articles_66_months() -> None:
    months = float(payback_months(3800, 100, 157.0752))
    assert months == pytest.approx(3800 / 57.0752)
    assert math.ceil(months) == 67


@pytest.mark.parametrize(
    ("upfront", "running", "api", "decline", "months"),
    [
        (3800, 157.0752, 157.0752, 0.0, math.inf),  # saves nothing
        (3800, 200, 157.0752, 0.0, math.inf),  # costs more each month
        (3800, 100, 157.0752, 0.3, math.inf),  # the API falls below before it is paid back
        (0, 100, 157.0752, 0.0, 0.0),  # nothing to pay back
        (0, 200, 157.0752, 0.0, math.inf),  # bought for nothing, dearer every month
    ],
)
def test_never_and_at_once(upfront: float, running: float, api: float, decline: float, months: float) -> None:
    assert float(payback_months(upfront, running, api, 0.0, decline)) == months


@settings(deadline=None)
@given(upfront=MONEY, running=MONEY, saved=MONEY, rate=st.floats(0.001, 0.3), decline=st.floats(0.001, 0.5))
def test_interest_and_falling_prices_never_hasten_it(
    upfront: float, running: float, saved: float, rate: float, decline: float
) -> None:
    plain = float(payback_months(upfront, running, running + saved))
    assert float(payback_months(upfront, running, running + saved, rate)) >= plain * (1 - 1e-6)
    assert float(payback_months(upfront, running, running + saved, 0.0, decline)) >= plain * (1 - 1e-6)


def test_many_at_once_are_each_alone() -> None:
    upfront, api = np.array([1000.0, 2000.0, 3000.0]), np.array([300.0, 90.0, 150.0])
    together = payback_months(upfront, 100.0, api, 0.05, 0.1)
    alone = [float(payback_months(c, 100.0, b, 0.05, 0.1)) for c, b in zip(upfront, api, strict=True)]
    assert together.tolist() == alone


@settings(deadline=None, max_examples=150)
@given(fixed=st.floats(1, 1e5), capacity=st.floats(1e6, 1e12), share=st.floats(0.01, 0.99), marginal=st.floats(0, 1e-4))
def test_at_the_break_even_volume_the_fleet_costs_what_the_api_does(
    fixed: float, capacity: float, share: float, marginal: float
) -> None:
    api = marginal + fixed / capacity / share
    answer = break_even(fixed, marginal, capacity, api)
    assert answer.verdict == "at"
    assert answer.tokens_per_month is not None
    assert answer.last_crossing_tokens_per_month is not None
    for volume in (answer.tokens_per_month, answer.last_crossing_tokens_per_month):
        bill = float(whole_machines(volume / capacity)) * fixed + marginal * volume
        assert bill == pytest.approx(api * volume, rel=1e-9)


DEMAND = st.lists(st.floats(0, 1e6), min_size=1, max_size=24)


@settings(deadline=None, max_examples=200)
@given(
    demand=DEMAND,
    capacity=st.floats(1e4, 1e6),
    fixed=st.floats(0, 2),
    marginal=st.floats(0, 1e-6),
    api=st.floats(0, 4e-6),
)
def test_no_other_number_of_machines_is_cheaper(
    demand: list[float], capacity: float, fixed: float, marginal: float, api: float
) -> None:
    split = hybrid_split(demand, capacity, fixed, marginal, api)

    def bill(machines: int) -> float:
        own = sum(min(slot, machines * capacity) for slot in demand)
        return machines * fixed * len(demand) + own * marginal + (sum(demand) - own) * api

    most = math.ceil(max(demand) / capacity) + 1
    best = min(bill(machines) for machines in range(most + 1))
    assert split.usd == pytest.approx(best, rel=1e-9, abs=1e-9)
    assert split.usd == pytest.approx(bill(split.machines), rel=1e-9, abs=1e-12)
    assert split.usd <= split.all_api_usd * (1 + 1e-9) + 1e-12
    assert split.usd <= split.all_self_hosted_usd * (1 + 1e-9) + 1e-12
    assert 0 <= split.self_hosted_share <= 1 + 1e-12


def test_a_base_load_with_a_peak_is_split() -> None:
    """Worked by hand: 1 M/h always and 5 M/h in two hours; a machine of 1 USD/h does 1 M/h; the API is 2 USD/1M.

    The first machine serves 24 M a day for 24 USD (48 at the API); the second would serve 2 M for 24 USD (4).
    """
    split = hybrid_split([1e6] * 22 + [5e6] * 2, 1e6, 1.0, 0.0, 2e-6)
    assert (split.verdict, split.machines) == ("hybrid", 1)
    assert split.usd == pytest.approx(24 + 8e6 * 2e-6)
    assert split.self_hosted_share == pytest.approx(24 / 32)


def test_all_and_nothing_are_answers() -> None:
    assert hybrid_split([1e6] * 24, 1e6, 1.0, 0.0, 2e-6).verdict == "self-hosted"
    assert hybrid_split([1e6] * 24, 1e6, 1.0, 0.0, 0.9e-6).verdict == "api"
    assert hybrid_split([0.0] * 24, 1e6, 1.0, 0.0, 2e-6).usd == 0
