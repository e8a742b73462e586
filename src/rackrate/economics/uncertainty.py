"""Numbers that are not known exactly: distributions, seeded draws, 80 % intervals.

A distribution is known here by its quantile function alone. That gives its central case (the median), the two ends of
its 80 % interval (what a tornado chart moves it between) and its draws (the function of evenly spread probabilities).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rackrate.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rackrate.units import Numbers

Z90 = 1.2815515655446004
"""The 90 % quantile of the standard normal distribution: half of a central 80 % interval, in standard deviations."""


Z975 = 1.959963984540054
"""The 97.5 % quantile: half of a central 95 % interval."""


WIDE = 0.15
"""A standard deviation over the mean above which a normal distribution comes too near to 0."""


def half80(half95: float) -> float:
    """Half of the 80 % interval of something normal, of half of its 95 % interval.

    >>> round(half80(0.05), 4)
    0.0327
    """
    return half95 * Z90 / Z975


class QuantityError(UserError):
    """A distribution that cannot be (its ends swapped, weights that sum to nothing, ...)."""


@dataclass(frozen=True)
class Fixed:
    """A value that is taken as exact."""

    value: float

    def at(self, probability: Numbers) -> Numbers:
        """The value, whatever the probability."""
        return self.value + 0.0 * probability

    def __str__(self) -> str:
        return f"{self.value:g}"


@dataclass(frozen=True)
class Interval80:
    """What `[low, high]` means: one in ten below, one in ten above.

    Lognormal where both ends are positive (rates, prices: a factor up is as likely as the same factor down, and nothing
    is ever negative), else normal.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check(self.low <= self.high, f"the low end {self.low:g} is above the high end {self.high:g}")

    def at(self, probability: Numbers) -> Numbers:
        """The quantile.

        >>> Interval80(50, 200).at(0.5), round(Interval80(50, 200).at(0.9), 9)
        (100.0, 200.0)
        """
        if self.low > 0:
            return _round_trip(_exp(_normal_quantile(math.log(self.low), math.log(self.high), probability)))
        return _normal_quantile(self.low, self.high, probability)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g} (80 %)"


@dataclass(frozen=True)
class ShareInterval80:
    """What `[low, high]` means of a share: the logit is normal, so that no draw is below 0 or above 1."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check(0 < self.low <= self.high < 1, "the range of a share is [low, high] with 0 < low <= high < 1")

    def at(self, probability: Numbers) -> Numbers:
        """The quantile.

        >>> round(ShareInterval80(0.2, 0.8).at(0.5), 9), round(ShareInterval80(0.2, 0.8).at(0.9), 9)
        (0.5, 0.8)
        """
        low, high = (math.log(end / (1 - end)) for end in (self.low, self.high))
        return 1 / (1 + _exp(-1 * _normal_quantile(low, high, probability)))

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g} (80 %)"


@dataclass(frozen=True)
class Normal:
    """The normal distribution."""

    mean: float
    sd: float

    def __post_init__(self) -> None:
        _check(self.sd >= 0, f"the standard deviation must not be negative, got {self.sd:g}")

    def at(self, probability: Numbers) -> Numbers:
        """The quantile."""
        return self.mean + self.sd * _ndtri(probability)

    def __str__(self) -> str:
        return f"normal, mean {self.mean:g}, sd {self.sd:g}"


@dataclass(frozen=True)
class LogNormal:
    """The lognormal distribution, by its median and its 90 % quantile."""

    median: float
    p90: float

    def __post_init__(self) -> None:
        _check(0 < self.median <= self.p90, "a lognormal needs 0 < median <= p90")

    def at(self, probability: Numbers) -> Numbers:
        """The quantile."""
        return self.median * _exp(math.log(self.p90 / self.median) / Z90 * _ndtri(probability))

    def __str__(self) -> str:
        return f"lognormal, median {self.median:g}, 90 % below {self.p90:g}"


@dataclass(frozen=True)
class Uniform:
    """Anything between a least and a greatest value, all as likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check(self.low <= self.high, f"the low end {self.low:g} is above the high end {self.high:g}")

    def at(self, probability: Numbers) -> Numbers:
        """The quantile."""
        return self.low + (self.high - self.low) * probability

    def __str__(self) -> str:
        return f"between {self.low:g} and {self.high:g}"


@dataclass(frozen=True)
class Triangular:
    """A least, a most likely and a greatest value."""

    low: float
    mode: float
    high: float

    def __post_init__(self) -> None:
        _check(self.low <= self.mode <= self.high and self.low < self.high, "a triangle needs low <= mode <= high")

    def at(self, probability: Numbers) -> Numbers:
        """The quantile.

        >>> round(float(Triangular(0, 1, 2).at(0.5)), 9)
        1.0
        """
        import numpy as np

        width = self.high - self.low
        turn = (self.mode - self.low) / width
        p = np.asarray(probability, dtype=float)
        rising = self.low + np.sqrt(p * width * (self.mode - self.low))
        falling = self.high - np.sqrt((1 - p) * width * (self.high - self.mode))
        return np.where(p < turn, rising, falling)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}, most likely {self.mode:g}"


@dataclass(frozen=True)
class Discrete:
    """One of a few values, each with its weight."""

    values: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        _check(len(self.values) == len(self.weights) > 0, "a discrete distribution needs a weight for each value")
        _check(all(w >= 0 for w in self.weights) and sum(self.weights) > 0, "weights must not be negative, nor all 0")

    def at(self, probability: Numbers) -> Numbers:
        """The quantile: values in rising order."""
        import numpy as np

        order = np.argsort(self.values, kind="stable")
        steps = np.cumsum(np.asarray(self.weights, dtype=float)[order])
        # a probability exactly on a step belongs to the value below it
        index = np.searchsorted(steps / steps[-1], np.asarray(probability, dtype=float) * (1 - 1e-12), side="left")
        return np.asarray(self.values, dtype=float)[order][np.minimum(index, len(self.values) - 1)]

    def __str__(self) -> str:
        total = sum(self.weights)
        return ", ".join(f"{v:g} ({w / total:.0%})" for v, w in zip(self.values, self.weights, strict=True))


Quantity = Fixed | Interval80 | ShareInterval80 | Normal | LogNormal | Uniform | Triangular | Discrete


@dataclass(frozen=True)
class Estimate:
    """A figure with its central case (all inputs at their medians) and its 80 % interval (of the draws).

    None: there is no such figure (a break-even that never comes). `finite_share` is the share of draws that have one.
    """

    value: float | None
    low: float | None
    high: float | None
    finite_share: float = 1.0


def central(quantity: Quantity) -> float:
    """The median."""
    return float(quantity.at(0.5))


def ends80(quantity: Quantity) -> tuple[float, float]:
    """The 10 % and the 90 % quantile."""
    return float(quantity.at(0.1)), float(quantity.at(0.9))


def draw(name: str, quantity: Quantity, count: int, seed: int) -> NDArray[np.float64]:
    """Seeded draws of one quantity.

    Probabilities are spread evenly (one in each of `count` equal strips, shuffled: Latin hypercube sampling, McKay,
    Beckman, Conover, Technometrics 1979), which makes means and quantiles of few draws steadier. The stream depends on
    the seed and the name alone, so that adding a quantity leaves the others' draws as they were.
    """
    import numpy as np

    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    strips = (generator.permutation(count) + generator.random(count)) / count
    drawn = np.asarray(quantity.at(strips), dtype=float)
    return drawn if drawn.shape == (count,) else np.full(count, float(drawn))


def draw_all(quantities: Mapping[str, Quantity], count: int, seed: int) -> dict[str, Numbers]:
    """Draws of every quantity by its name; what is fixed stays one number."""
    return {
        name: quantity.value if isinstance(quantity, Fixed) else draw(name, quantity, count, seed)
        for name, quantity in quantities.items()
    }


def interval80(draws: Numbers) -> tuple[float, float]:
    """The 10 % and 90 % quantiles; infinite draws (never) count as larger than all others.

    >>> import numpy as np
    >>> interval80(np.arange(1.0, 101.0))
    (10.0, 90.0)
    """
    import numpy as np

    values = np.atleast_1d(np.asarray(draws, dtype=float))
    low, high = np.quantile(values, [0.1, 0.9], method="inverted_cdf")
    return float(low), float(high)


def estimate(value: float | None, draws: Numbers) -> Estimate:
    """The central case with the 80 % interval of the draws; what is infinite becomes None."""
    import numpy as np

    low, high = interval80(draws)
    finite = float(np.mean(np.isfinite(draws)))
    return Estimate(_finite(value), _finite(low), _finite(high), finite)


def probability(condition: Any, count: int) -> float:
    """The share of draws in which something holds."""
    import numpy as np

    return float(np.mean(np.broadcast_to(np.asarray(condition), (count,))))


def with_prediction_error(relative_half_width: float | None, error80: float) -> float:
    """Half of the 95 % interval of a simulated throughput, over the throughput: chance and the error of predictions.

    Both are independent, so variances add; for what is small a logarithm is a share.

    Args:
        relative_half_width: of chance alone, 95 %; None: not known.
        error80: half of the 80 % interval of ln(predicted/observed).

    >>> round(with_prediction_error(0.02, 0.25), 3), round(with_prediction_error(None, 0.25), 3)
    (0.383, 0.382)
    """
    return math.hypot(relative_half_width or 0.0, error80 * Z975 / Z90)


def measured(mean: float, relative_half_width: float | None) -> Quantity:
    """A throughput by its 95 % interval; None or 0 is taken as exact. A wide one is lognormal: it stays above 0.

    >>> measured(100.0, 0.0), measured(100.0, 0.196).sd > 9.99
    (Fixed(value=100.0), True)
    """
    share = (relative_half_width or 0.0) / Z975
    if share > WIDE:
        return LogNormal(mean, mean * math.exp(Z90 * share))
    return Normal(mean, mean * share) if share else Fixed(mean)


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise QuantityError(otherwise)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _normal_quantile(low: float, high: float, probability: Numbers) -> Numbers:
    """Of the normal distribution whose central 80 % are from low to high."""
    return (low + high) / 2 + (high - low) / (2 * Z90) * _ndtri(probability)


def _ndtri(probability: Numbers) -> Numbers:
    """The standard normal quantile: of one number or of many."""
    if isinstance(probability, float | int):
        from statistics import NormalDist

        return NormalDist().inv_cdf(probability)
    from rackrate.workload.quantiles import normal_quantile

    return normal_quantile(probability)


def _exp(value: Numbers) -> Numbers:
    if isinstance(value, float):
        return math.exp(value)
    import numpy as np

    return np.exp(value)


def _round_trip(value: Numbers) -> Numbers:
    """A single number without the last digit's noise of exp(log(x)): 100, not 99.99999999999999."""
    return float(f"{value:.14g}") if isinstance(value, float) else value
