"""Quantiles for arrays, against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from rackrate.workload.quantiles import gamma_quantile, normal_quantile

STRATA = (np.arange(2000) + np.random.default_rng(5).random(2000)) / 2000


def test_normal_quantiles_are_scipys() -> None:
    tails = np.array([1e-300, 1e-20, 1e-8, 1 - 1e-9])
    for p in (STRATA, tails):
        assert normal_quantile(p) == pytest.approx(special.ndtri(p), rel=2e-15)


def test_the_ends_of_the_normal_distribution_are_infinite_and_beyond_there_is_nothing() -> None:
    np.testing.assert_array_equal(normal_quantile([0.0, 1.0, -0.1, 1.1]), [-np.inf, np.inf, np.nan, np.nan])
    assert normal_quantile(0.5) == 0
    assert normal_quantile([[0.5, 0.5]]).shape == (1, 2)


@pytest.mark.parametrize("cv", [0.01, 0.1, 0.5, 0.9, 1, 1.3, 2, 3, 5, 10])
def test_gamma_quantiles_are_scipys(cv: float) -> None:
    shape = 1 / cv**2
    found, known = gamma_quantile(shape, STRATA), special.gammaincinv(shape, STRATA)
    normal = known > 1e-290
    assert found[normal] == pytest.approx(known[normal], rel=1e-12)
    assert np.all(found[~normal] < 1e-289)
    assert np.all(np.diff(found) >= 0)


@pytest.mark.parametrize("p", [1e-12, 1e-6, 1 - 1e-6, 1 - 1e-12])
@pytest.mark.parametrize("shape", [0.1, 1.0, 30.0])
def test_gamma_quantiles_far_out_are_scipys(shape: float, p: float) -> None:
    assert float(gamma_quantile(shape, [p])[0]) == pytest.approx(float(special.gammaincinv(shape, p)), rel=1e-11)


def test_the_lowest_gamma_value_is_0() -> None:
    assert gamma_quantile(4.0, [0.0]).tolist() == [0.0]
