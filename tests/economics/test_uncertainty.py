"""Distributions against SciPy's, intervals against closed forms, draws against their own promises."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rackrate.economics.quantities import as_share, quantity_of
from rackrate.economics.uncertainty import (
    Z90,
    Discrete,
    Fixed,
    Interval80,
    LogNormal,
    Normal,
    Quantity,
    QuantityError,
    ShareInterval80,
    Triangular,
    Uniform,
    central,
    draw,
    draw_all,
    ends80,
    estimate,
    interval80,
)

DRAWS = 100_000
PROBABILITIES = (0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999)
LOG_SD = math.log(500 / 300) / (2 * Z90)
AGAINST: list[tuple[Quantity, Any]] = [
    (Interval80(300, 500), stats.lognorm(s=LOG_SD, scale=math.sqrt(300 * 500))),
    (Interval80(-1, 3), stats.norm(loc=1, scale=2 / Z90)),
    (Normal(10, 2), stats.norm(loc=10, scale=2)),
    (LogNormal(3, 5), stats.lognorm(s=math.log(5 / 3) / Z90, scale=3)),
    (Uniform(2, 7), stats.uniform(loc=2, scale=5)),
    (Triangular(1, 2, 6), stats.triang(c=0.2, loc=1, scale=5)),
]


@pytest.mark.parametrize(("quantity", "known"), AGAINST, ids=lambda item: type(item).__name__)
def test_quantiles_are_those_of_scipy(quantity: Quantity, known: Any) -> None:
    for p in PROBABILITIES:
        assert float(quantity.at(p)) == pytest.approx(float(known.ppf(p)), rel=1e-9), p
    many = np.asarray(quantity.at(np.array(PROBABILITIES)))
    assert many == pytest.approx(known.ppf(PROBABILITIES), rel=1e-9)


@pytest.mark.parametrize(("quantity", "known"), AGAINST, ids=lambda item: type(item).__name__)
def test_draws_have_the_distribution(quantity: Quantity, known: Any) -> None:
    drawn = draw("speed", quantity, 20_000, seed=3)
    assert stats.kstest(drawn, known.cdf).statistic < 0.002  # strips leave less than one in 20,000


def test_a_range_is_what_one_in_ten_is_below_and_one_in_ten_above() -> None:
    for quantity in (Interval80(300, 500), Interval80(-5, 10), ShareInterval80(0.2, 0.7)):
        drawn = draw("x", quantity, DRAWS, seed=1)
        assert np.mean(drawn < quantity.low) == pytest.approx(0.1, abs=1e-4)
        assert np.mean(drawn > quantity.high) == pytest.approx(0.1, abs=1e-4)
        assert ends80(quantity) == pytest.approx((quantity.low, quantity.high))


def test_a_share_stays_a_share() -> None:
    drawn = draw("share", as_share(Interval80(0.3, 0.95)), DRAWS, seed=1)
    assert drawn.min() > 0
    assert drawn.max() < 1
    assert draw("no share", Interval80(0.3, 0.95), DRAWS, seed=1).max() > 1  # which is why
    assert as_share(Interval80(0.3, 1.2)) == Interval80(0.3, 1.2)


def test_the_interval_of_a_product_and_a_ratio_is_the_closed_form() -> None:
    """Lognormals multiply to a lognormal: price / (speed * hours share)."""
    drawn = draw_all({"a": Interval80(2, 8), "b": Interval80(100, 300), "c": Fixed(3.0)}, DRAWS, seed=7)
    outcome = drawn["a"] * drawn["c"] / drawn["b"]
    middle = math.log(4 * 3 / math.sqrt(100 * 300))
    sd = math.hypot(math.log(4), math.log(3)) / (2 * Z90)
    low, high = interval80(outcome)
    assert low == pytest.approx(math.exp(middle - Z90 * sd), rel=0.01)
    assert high == pytest.approx(math.exp(middle + Z90 * sd), rel=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_a_nominal_80_percent_interval_contains_80_percent_of_fresh_outcomes(seed: int) -> None:
    """Outcomes drawn by another generator, plainly: 75 to 85 % of them lie within."""
    quantities = {"a": Interval80(2, 8), "b": Triangular(1, 2, 4), "c": Uniform(0.5, 1)}
    drawn = draw_all(quantities, 10_000, seed)
    low, high = interval80(drawn["a"] * drawn["b"] / drawn["c"])
    fresh = np.random.default_rng(1000 + seed)
    a = np.exp(fresh.normal(math.log(4), math.log(4) / (2 * Z90), 4000))
    b = fresh.triangular(1, 2, 4, 4000)
    c = fresh.uniform(0.5, 1, 4000)
    within = np.mean((a * b / c >= low) & (a * b / c <= high))
    assert 0.75 < within < 0.85


def test_draws_repeat_by_seed_and_name_alone() -> None:
    speed = Interval80(300, 500)
    alone = draw_all({"speed": speed}, 1000, seed=1)["speed"]
    beside = draw_all({"price": Uniform(1, 2), "speed": speed}, 1000, seed=1)["speed"]
    assert np.array_equal(np.asarray(alone), np.asarray(beside))
    assert not np.array_equal(np.asarray(alone), draw("speed", speed, 1000, seed=2))
    other = draw("price", speed, 1000, seed=1)
    assert abs(float(np.corrcoef(np.asarray(alone), other)[0, 1])) < 0.1  # names are streams of their own


def test_strips_make_the_mean_of_few_draws_steady() -> None:
    means = [float(draw("x", Uniform(0, 1), 100, seed).mean()) for seed in range(30)]
    plain = 1 / math.sqrt(12 * 100)
    assert float(np.std(means)) < plain / 10


def test_discrete_values_come_by_weight() -> None:
    quantity = Discrete((3.0, 1.0, 2.0), (1, 2, 1))
    drawn = draw("n", quantity, 10_000, seed=1)
    shares = [np.count_nonzero(drawn == value) / len(drawn) for value in (1, 2, 3)]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=1e-3)
    assert central(quantity) == 1.0


@settings(deadline=None, max_examples=100)
@given(
    low=st.floats(-1e6, 1e6),
    width=st.floats(0, 1e6),
    p=st.floats(0.01, 0.98),
    more=st.floats(0.001, 0.01),
)
def test_quantiles_rise(low: float, width: float, p: float, more: float) -> None:
    for quantity in (Interval80(low, low + width), Uniform(low, low + width), Normal(low, width)):
        assert float(quantity.at(p)) <= float(quantity.at(p + more)) + 1e-9 * (abs(low) + width)


def test_what_never_comes_has_no_end() -> None:
    months = np.array([10.0] * 50 + [20.0] * 35 + [np.inf] * 15)
    result = estimate(math.inf, months)
    assert (result.value, result.low, result.high, result.finite_share) == (None, 10.0, None, 0.85)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (3, Fixed(3.0)),
        ("1e9", Fixed(1e9)),
        ([1, "1e3"], Interval80(1, 1000)),
        ({"uniform": [1, 2]}, Uniform(1, 2)),
        ({"triangular": [1, 2, 4]}, Triangular(1, 2, 4)),
        ({"normal": {"mean": 1, "sd": 2}}, Normal(1, 2)),
        ({"lognormal": {"median": 3, "p90": 5}}, LogNormal(3, 5)),
        ({"discrete": [[0.5, 2], [0.8, 1]]}, Discrete((0.5, 0.8), (2, 1))),
    ],
)
def test_documents_write_them_so(raw: Any, kind: Quantity) -> None:
    if isinstance(raw, str):
        raw = [raw, raw]
        kind = Interval80(1e9, 1e9)
    assert quantity_of(raw) == kind


@pytest.mark.parametrize(
    "raw",
    [
        None, True, "fast", [], [1], [1, 2, 3], [2, 1], [1, "x"], [1, None], {}, {"uniform": [1]}, {"uniform": [2, 1]},
        {"normal": [1, 2]}, {"normal": {"mean": 1}}, {"normal": {"mean": 1, "sd": -1}}, {"triangular": [1, 5, 4]},
        {"lognormal": {"median": 0, "p90": 1}}, {"discrete": [[1, -1]]}, {"discrete": [[1, 0]]}, {"discrete": "x"},
        {"gamma": [1, 2]}, {"uniform": [1, 2], "normal": [1, 2]}, float("nan"), float("inf"), [1, float("inf")],
    ],
)  # fmt: skip
def test_nonsense_is_refused(raw: Any) -> None:
    with pytest.raises(QuantityError):
        quantity_of(raw)
