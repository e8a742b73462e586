"""Distributions against what theory says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from rackrate.errors import WorkloadError
from rackrate.workload.distributions import parse_distribution

COUNT = 200_000


def drawn(text: str, *, whole: bool = False, least: float = 0.0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return parse_distribution(text, "x", whole=whole, least=least).draw(np.random.default_rng(1), COUNT)


def test_a_lognormal_of_mean_and_cv_has_them() -> None:
    values = drawn("lognormal:mean=512,cv=0.8,max=1e9")
    assert values.mean() == pytest.approx(512, rel=0.01)
    assert values.std() / values.mean() == pytest.approx(0.8, rel=0.02)
    sigma = np.sqrt(np.log(1 + 0.8**2))
    assert scipy.stats.kstest(values[:5000], "lognorm", args=(sigma, 0, 512 / np.sqrt(1.64))).pvalue > 0.001


def test_a_lognormal_of_median_and_p95_has_them() -> None:
    values = drawn("lognormal:p50=400,p95=2000,max=1e9")
    assert np.percentile(values, [50, 95]) == pytest.approx([400, 2000], rel=0.02)
    given = parse_distribution("lognormal:p50=400,p95=2000,max=1e9", "x", whole=False, least=0.0)
    assert values.mean() == pytest.approx(given.mean, rel=0.02)


def test_the_tail_ends_at_the_percentile_that_is_said() -> None:
    without_end = drawn("lognormal:mean=512,cv=0.8,max=1e9")
    end = parse_distribution("lognormal:mean=512,cv=0.8", "x").most
    assert (without_end > end).mean() == pytest.approx(0.001, rel=0.2)
    geometric = parse_distribution("geometric:mean=4", "x").most
    assert scipy.stats.geom(0.25).sf(geometric) < 0.001 <= scipy.stats.geom(0.25).sf(geometric - 2)
    exponential = parse_distribution("exponential:mean=5", "x", whole=False, least=0.0).most
    assert scipy.stats.expon(scale=5).sf(exponential) == pytest.approx(0.001)


def test_exponential_and_geometric_have_their_means_and_variation() -> None:
    waits = drawn("exponential:mean=5,max=1e9")
    assert (waits.mean(), waits.std()) == pytest.approx((5, 5), rel=0.02)
    turns = drawn("geometric:mean=4,max=1000", whole=True, least=1)
    assert (turns.mean(), turns.std()) == pytest.approx((4, np.sqrt(12)), rel=0.02)
    assert turns.min() == 1
    assert set(drawn("geometric:mean=1", whole=True, least=1)) == {1.0}


def test_bounds_hold_and_lengths_are_whole() -> None:
    values = drawn("lognormal:mean=100,cv=2,min=20,max=300", whole=True, least=1)
    assert (values.min(), values.max()) == (20, 300)
    assert (values == np.rint(values)).all()


def test_a_fixed_value_draws_nothing_from_the_generator() -> None:
    generator = np.random.default_rng(3)
    assert set(parse_distribution("12", "x").draw(generator, 5)) == {12.0}
    assert generator.random() == np.random.default_rng(3).random()


def test_values_of_a_file_come_as_often_as_they_stand_there(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("10\n\n20\n20\n20\n", encoding="utf-8")
    values = drawn(f"file:{tmp_path}/plain.txt", whole=True, least=1)
    assert set(values) == {10.0, 20.0}
    assert (values == 20).mean() == pytest.approx(0.75, abs=0.01)
    (tmp_path / "table.csv").write_text("id,tokens\n7,0\n8,30\n", encoding="utf-8")
    given = parse_distribution(f"file:{tmp_path}/table.csv,column=tokens", "x")
    assert (given.least, given.most, given.mean) == (1, 30, 15.5)  # an answer of no token cannot be asked for
    (tmp_path / "named.csv").write_text("tokens\n5\n", encoding="utf-8")
    assert parse_distribution(f"file:{tmp_path}/named.csv", "x").mean == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "a whole number of at least 1, got 0"),
        ("12.5", "a whole number of at least 1, got 12.5"),
        ("1e12", "a whole number of at least 1"),
        ("many", "'many' is not a number"),
        ("nan", "'nan' is not a number"),
        ("zipf:a=2", "no distribution is called 'zipf'"),
        ("lognormal:512", "'512' is no parameter of lognormal; it takes mean, cv"),
        ("lognormal:mean=x,cv=1", "mean='x' is not a number"),
        ("lognormal:mean=5", "lognormal takes mean and cv, or p50 and p95"),
        ("lognormal:mean=5,p95=7", "lognormal takes mean and cv, or p50 and p95"),
        ("lognormal:mean=5,cv=0", "cv must be above 0, got 0"),
        ("lognormal:mean=1e308,cv=1", "mean is from 1e-06 to 2147483647, got 1e+308"),
        ("lognormal:mean=5,cv=1e308", "cv is from 1e-06 to 2147483647, got 1e+308"),
        ("lognormal:p50=1e-300,p95=1e300", "p50 is from 1e-06 to 2147483647, got 1e-300"),
        ("exponential:mean=1e308", "mean is from 1e-06 to 2147483647, got 1e+308"),
        ("lognormal:mean=5,mean=6,cv=1", "mean is given twice"),
        ("lognormal:p50=9,p95=9", "p95 must be above p50"),
        ("lognormal:mean=5,cv=1,min=9,max=3", "max=3 is below the least, 9"),
        ("exponential:max=3", "exponential needs mean="),
        ("geometric:mean=0.5", "the mean of geometric numbers is at least 1"),
        ("file:/nowhere/at.all", "no such file"),
    ],
)
def test_what_is_no_distribution_is_said_with_its_flag(text: str, said: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        parse_distribution(text, "input_tokens")
    assert str(caught.value).startswith("input_tokens")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "column", "said"),
    [
        ("", "", "has no values"),
        ("a,b\n1,2\n", "", ":1: 2 columns; say which"),
        ("a,b\n1,2\n", ",column=c", ":1: no column c (there are: a, b)"),
        ("5\nsix\n", "", ":2: 'six' is not a number from 0"),
        ("a,b\n1\n", ",column=b", ":2: '' is not a number"),
        ("-5\n", "", ":1: '-5' is not a number from 0"),
    ],
)
def test_what_is_wrong_with_a_file_of_values_is_said_with_its_line(
    tmp_path: Path, content: str, column: str, said: str
) -> None:
    path = tmp_path / "values.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(WorkloadError) as caught:
        parse_distribution(f"file:{path}{column}", "output_tokens")
    assert said in str(caught.value)
