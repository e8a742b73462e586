"""Break-even against a staircase that is walked machine by machine in exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from rackrate.economics.breakeven import BreakEven, break_even, crossing_tokens
from rackrate.economics.hourly import HourlyCost
from rackrate.economics.ratecard import Serving, rate_card


def fleet_usd(tokens: Fraction, fixed: Fraction, marginal: Fraction, capacity: Fraction) -> Fraction:
    """What the fewest machines that can serve so many tokens cost."""
    return math.ceil(tokens / capacity) * fixed + marginal * tokens


def crossings(fixed: Fraction, marginal: Fraction, capacity: Fraction, api: Fraction, most: int) -> list[Fraction]:
    """Every volume from which on, coming from below, the fleet costs no more than the API.

    Machine by machine: within ((n-1) K, n K] the fleet costs n F + m v. It is dearer just above (n-1) K and no
    longer at n F / (p - m), if that is within.
    """
    found: list[Fraction] = []
    for machines in range(1, most + 1):
        start, end = (machines - 1) * capacity, machines * capacity
        dearer_at_start = machines * fixed + marginal * start > api * start
        cheap_at_end = machines * fixed + marginal * end <= api * end
        if dearer_at_start and cheap_at_end:
            low, high = start, end  # the difference is a straight line: two points give its zero
            gap_low = machines * fixed + (marginal - api) * low
            gap_high = machines * fixed + (marginal - api) * high
            found.append(low + (high - low) * gap_low / (gap_low - gap_high))
    return found


# a share of the capacity at which the first machine breaks even, as a fraction with at most 40 parts: the staircase
# then has at most 40 steps that matter
SHARES = st.builds(Fraction, st.integers(1, 39), st.just(40)) | st.fractions(
    Fraction(1, 40), Fraction(39, 40), max_denominator=40
)
PRICES = st.fractions(Fraction(1, 100), Fraction(100), max_denominator=1000)
CAPACITIES = st.integers(1, 10**9).map(Fraction)


@settings(deadline=None, max_examples=150)
@given(share=SHARES, margin=PRICES, marginal=st.just(Fraction(0)) | PRICES, capacity=CAPACITIES)
def test_first_and_last_crossing_are_those_of_the_staircase(
    share: Fraction, margin: Fraction, marginal: Fraction, capacity: Fraction
) -> None:
    api = marginal + margin
    fixed = share * margin * capacity
    found = crossings(fixed, marginal, capacity, api, most=60)
    answer = break_even(float(fixed), float(marginal), float(capacity), float(api))
    assert answer.verdict == "at"
    assert answer.tokens_per_month == pytest.approx(float(min(found)), rel=1e-6)
    assert answer.last_crossing_tokens_per_month == pytest.approx(float(max(found)), rel=1e-6)
    assert answer.utilisation == pytest.approx(float(share), rel=1e-6)


@settings(deadline=None, max_examples=100)
@given(share=SHARES, capacity=CAPACITIES, spares=st.integers(1, 4))
def test_spares_are_paid_at_every_volume(share: Fraction, capacity: Fraction, spares: int) -> None:
    fixed = share * capacity
    most = 250  # machines beyond which nothing turns: (1 + 4 x 39/40) / (1 - 39/40) is 196
    found = [
        (machines, (machines + spares) * fixed)
        for machines in range(1, most)
        if (machines - 1) * capacity < (machines + spares) * fixed <= machines * capacity
    ]
    answer = break_even(float(fixed), 0.0, float(capacity), 1.0, spares)
    assert answer.machines == found[0][0]
    assert answer.tokens_per_month == pytest.approx(float(found[0][1]), rel=1e-6)
    assert answer.last_crossing_tokens_per_month == pytest.approx(float(found[-1][1]), rel=1e-6)
    assert answer.utilisation == pytest.approx(float(found[0][1] / found[0][0] / capacity), rel=1e-6)


@settings(deadline=None)
@given(share=SHARES, capacity=CAPACITIES, beyond=st.fractions(Fraction(1, 1000), Fraction(5), max_denominator=1000))
def test_beyond_the_last_crossing_self_hosting_stays_cheaper(
    share: Fraction, capacity: Fraction, beyond: Fraction
) -> None:
    fixed, none = share * capacity, Fraction(0)
    answer = break_even(float(fixed), 0.0, float(capacity), 1.0)
    assert answer.last_crossing_tokens_per_month is not None
    assert answer.tokens_per_month is not None
    above = Fraction(answer.last_crossing_tokens_per_month) * (1 + Fraction(1, 10**6)) + beyond * capacity
    assert fleet_usd(above, fixed, none, capacity) <= above
    below = Fraction(answer.tokens_per_month) * (1 - Fraction(1, 10**6)) / (1 + beyond)
    assert fleet_usd(below, fixed, none, capacity) > below


FLOATS = st.floats(1e-3, 1e6)


@settings(deadline=None)
@given(fixed=FLOATS, marginal=st.just(0.0) | FLOATS, capacity=st.floats(1, 1e9), api=FLOATS)
def test_never_where_and_only_where_full_load_is_dearer(
    fixed: float, marginal: float, capacity: float, api: float
) -> None:
    full_load = fixed + marginal * capacity
    assume(abs(full_load - api * capacity) > 1e-6 * full_load)  # equal but for rounding: either answer is right
    answer = break_even(fixed, marginal, capacity, api)
    assert (answer.verdict == "never") == (full_load > api * capacity)
    if answer.verdict == "never":
        assert answer == BreakEven("never", None, None, None)
        return
    assert answer.utilisation is not None
    assert answer.tokens_per_month is not None
    assert answer.last_crossing_tokens_per_month is not None
    assert 0 < answer.utilisation <= 1
    assert answer.tokens_per_month <= capacity * (1 + 1e-9)
    assert answer.last_crossing_tokens_per_month >= answer.tokens_per_month


@pytest.mark.parametrize("share", [0.5, 0.999, 1.001, 1.1, 2.0])
@pytest.mark.parametrize("marginal", [0.0, 0.4])
def test_near_full_load_the_verdict_turns(share: float, marginal: float) -> None:
    verdict = break_even(share * 1000.0, marginal, 1000.0, 1.0 + marginal).verdict
    assert verdict == ("at" if share <= 1 else "never")


@settings(deadline=None)
@given(fixed=FLOATS, margin=FLOATS, capacity=st.floats(1, 1e9))
def test_at_both_crossings_the_fleet_costs_what_the_api_does(fixed: float, margin: float, capacity: float) -> None:
    answer = break_even(fixed, 0.0, capacity, margin)
    assume(answer.verdict == "at" and answer.utilisation is not None and answer.utilisation < 0.999)
    assert answer.tokens_per_month is not None
    assert answer.last_crossing_tokens_per_month is not None
    assert fixed == pytest.approx(margin * answer.tokens_per_month)
    last = answer.last_crossing_tokens_per_month
    machines = round(margin * last / fixed)
    assert machines * fixed == pytest.approx(margin * last)
    assert (machines - 1) * capacity < last * (1 + 1e-9)
    assert last <= machines * capacity * (1 + 1e-9)


@settings(deadline=None)
@given(
    fixed=st.floats(0.01, 100),
    busy=st.just(0.0) | st.floats(0.01, 10),
    tok_s=st.floats(0.1, 1e5),
    dearer=st.floats(1.001, 50),
)
def test_at_the_break_even_utilisation_the_rate_card_is_the_apis_price(
    fixed: float, busy: float, tok_s: float, dearer: float
) -> None:
    serving = Serving(tok_s / 2, tok_s / 2, 0.0, None, None, None, "made up")
    cost = HourlyCost("box", "owned", fixed, busy)
    full = rate_card(serving, cost)
    api = full.blended_usd * dearer
    answer = break_even(fixed * 730, busy * 730 / full.tokens_month, full.tokens_month, api / 1e6)
    assert answer.utilisation is not None
    assert rate_card(serving, cost, answer.utilisation).blended_usd == pytest.approx(api)
    assert rate_card(serving, cost, answer.utilisation).tokens_month == pytest.approx(answer.tokens_per_month)


def test_a_machine_that_breaks_even_only_when_full_never_does_so_for_good() -> None:
    answer = break_even(730.0, 0.0, 1e9, 730e-9)
    assert (answer.verdict, answer.utilisation) == ("at", 1.0)
    assert answer.last_crossing_tokens_per_month == math.inf


@pytest.mark.parametrize(("share", "machines"), [(0.3, 1), (0.5, 1), (0.51, 2), (0.73, 3), (0.75, 3), (0.76, 4)])
def test_how_many_machines_are_undone(share: float, machines: int) -> None:
    """Worked by hand: the n-th machine is undone where n x share > n - 1."""
    answer = break_even(share, 0.0, 1.0, 1.0)
    assert answer.last_crossing_tokens_per_month == pytest.approx(machines * share)


def test_what_is_free_is_always_cheaper() -> None:
    assert break_even(0.0, 0.0, 1e9, 1e-6).verdict == "always"
    assert break_even(0.0, 1e-6, 1e9, 2e-6).verdict == "always"


def test_an_api_below_the_energy_is_never_beaten() -> None:
    assert break_even(0.0, 2e-6, 1e9, 1e-6).verdict == "never"
    assert break_even(100.0, 2e-6, 1e9, 1e-6).verdict == "never"


@settings(deadline=None)
@given(fixed=FLOATS, capacity=st.floats(1, 1e9), api=FLOATS, factor=st.floats(1.01, 10))
def test_a_dearer_api_is_beaten_sooner(fixed: float, capacity: float, api: float, factor: float) -> None:
    before, after = break_even(fixed, 0.0, capacity, api), break_even(fixed, 0.0, capacity, api * factor)
    assume(before.verdict == "at")
    assert after.verdict == "at"
    assert after.tokens_per_month is not None
    assert before.tokens_per_month is not None
    assert after.tokens_per_month < before.tokens_per_month


@settings(deadline=None)
@example(fixed=1.0, marginal=0.0, api=[5e-324])
@given(fixed=st.floats(0, 1e5), marginal=st.floats(0, 1e-3), api=st.lists(st.floats(0, 1e-3), min_size=1, max_size=5))
def test_crossings_of_many_draws_are_each_alone(fixed: float, marginal: float, api: list[float]) -> None:
    together = crossing_tokens(fixed, marginal, np.array(api))
    assert np.asarray(together).tolist() == [crossing_tokens(fixed, marginal, price) for price in api]
