"""Quantiles of the normal and the gamma distribution, for whole arrays.

SciPy has both; it is 148 MB, which a base install cannot spare beside numba (docs/decisions/0018).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_CLOSE = 1e-15
"""A change by less than this share of a value is rounding."""
_TINY = 1e-300
"""Stands for 0 in a continued fraction, which divides by what it finds."""


def normal_quantile(probability: npt.ArrayLike) -> Floats:
    """The standard normal distribution's value that is exceeded with probability 1 - p; -inf at 0, inf at 1, else nan.

    By the standard library, value by value: algorithm AS 241 [1]_, 16 digits.

    >>> normal_quantile([0.5, 0.9]).tolist()
    [0.0, 1.2815515655446008]

    .. [1] M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics 37
       (1988).
    """
    of = np.asarray(probability, dtype=np.float64)
    inverse = NormalDist().inv_cdf
    ends = {0.0: -math.inf, 1.0: math.inf}
    values = [inverse(p) if 0 < p < 1 else ends.get(p, math.nan) for p in of.ravel().tolist()]
    return np.array(values, dtype=np.float64).reshape(of.shape)


def gamma_quantile(shape: float, probability: npt.ArrayLike) -> Floats:
    """The value below which a gamma variable of that shape and of scale 1 is with probability p (0 <= p < 1).

    Halley's method on log x, from Wilson and Hilferty's guess [1]_. Values below 1e-300 are 0.

    >>> gamma_quantile(1.0, [0.0, 0.5]).round(12).tolist()    # an exponential variable: -log(1 - p)
    [0.0, 0.69314718056]

    .. [1] W. H. Press et al., "Numerical Recipes", 3rd edition (2007), 6.2.1.
    """
    of = np.asarray(probability, dtype=np.float64)
    result = np.zeros(of.shape)
    with np.errstate(divide="ignore"):
        # near 0 the distribution is x^k / Gamma(k + 1)
        lowest = (np.log(of) + math.lgamma(shape + 1)) / shape
    there = lowest > math.log(_TINY)
    p = of[there]
    cubed = 1 - 1 / (9 * shape) + normal_quantile(p) / (3 * math.sqrt(shape))
    guess = shape * np.maximum(cubed, 0) ** 3
    small = guess < 0.2 * shape if shape > 1 else guess < 0.5
    y = np.where(small, lowest[there], np.log(np.where(small, 1.0, guess)))
    active = np.arange(len(p))
    for _ in range(30):
        x = np.exp(y[active])
        lower, upper = _regularised(shape, x)
        target = p[active]
        # the smaller of the two sides has all its digits
        excess = np.where(target < 0.5, lower - target, (1 - target) - upper)
        log_density = shape * y[active] - x - math.lgamma(shape)  # of log x
        step = excess / np.exp(np.maximum(log_density, math.log(_TINY)))
        step = step / (1 - 0.5 * np.clip(step * (shape - x), -1, 1))
        y[active] -= np.clip(step, -1, 1)
        active = active[np.abs(step) > 1e-7]  # each step leaves the cube of its error, in essence
        if not len(active):
            break
    result[there] = np.exp(y)
    return result


def _regularised(shape: float, x: Floats) -> tuple[Floats, Floats]:
    """The distribution function P(shape, x) and its complement Q, the smaller of them with all its digits.

    By a series where x is below shape + 1, by a continued fraction above.
    """
    lower, upper = np.zeros(len(x)), np.zeros(len(x))
    below = x < shape + 1
    front = np.exp(shape * np.log(x) - x - math.lgamma(shape))
    lower[below] = front[below] * _series(shape, x[below])
    upper[below] = 1 - lower[below]
    upper[~below] = front[~below] * _fraction(shape, x[~below])
    lower[~below] = 1 - upper[~below]
    return lower, upper


def _series(shape: float, x: Floats) -> Floats:
    """Sum over n of x^n / (shape (shape + 1) ... (shape + n))."""
    term = np.full(len(x), 1 / shape)
    total = term.copy()
    n = shape
    while np.any(term > total * (_CLOSE / 10)):
        n += 1
        term = term * (x / n)
        total += term
    return total


def _fraction(shape: float, x: Floats) -> Floats:
    """Q without its factor x^shape exp(-x) / Gamma(shape): Lentz's continued fraction."""
    b = x + 1 - shape
    c = np.full(len(x), 1 / _TINY)
    d = 1 / np.where(b == 0, _TINY, b)
    h = d.copy()
    for i in range(1, 10_000):
        a = -i * (i - shape)
        b = b + 2
        d = a * d + b
        c = b + a / c
        d = 1 / np.where(np.abs(d) < _TINY, _TINY, d)
        c = np.where(np.abs(c) < _TINY, _TINY, c)
        factor = d * c
        h *= factor
        if np.all(np.abs(factor - 1) < _CLOSE):
            break
    return h
