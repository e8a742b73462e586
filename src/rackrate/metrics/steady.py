"""The steady part of a level, and how sure its figures are: functions of times and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rackrate.runs.records import Level
from rackrate.runs.streams import nth_values

Array = npt.NDArray[np.float64]

_STUDENT_T_975 = {
    3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228, 11: 2.201, 12: 2.179, 13: 2.160,
    14: 2.145, 15: 2.131, 16: 2.120, 17: 2.110, 18: 2.101, 19: 2.093,
}  # fmt: skip
"""Two-sided 95 % quantiles of Student's t by degrees of freedom; NIST/SEMATECH e-Handbook, table 1.3.6.7.2."""


Blocks = Callable[[], Iterator[tuple[Array, Array]]]
"""Pairs, such as times and weights, some at a time; asked for as often as they are to be gone through."""


class Ordered(Protocol):
    """So many values in some order, some at a time."""

    number: int

    def blocks(self) -> Iterator[Array]: ...


_LEAST_DEFICIT = 0.01
"""Share of the requests that must have piled up before a server is said to fall behind."""
_LEAST_DEVIATIONS = 3.0
"""And so many standard deviations of the number in flight where requests do not wait for each other (Poisson: the root
of its mean)."""


def steady_window(times: Array, weights: Array, start_s: float, end_s: float) -> tuple[float, float] | None:
    """As `window_of_blocks`, of one block."""
    return window_of_blocks(lambda: iter([(times, weights)]), start_s, end_s)


def window_of_blocks(blocks: Blocks, start_s: float, end_s: float) -> tuple[float, float] | None:
    """The part of a level that is priced: what MSER-5 leaves of it. None where nothing arrived.

    MSER-5 [1]_: group observations (token/s in 200 equal stretches) by five, then drop the first d groups that
    minimise the squared standard error of the rest; d is at most half, and leaves a rate of at least half the whole's.

    .. [1] K. P. White, M. J. Cobb, S. C. Spratt, "A comparison of five steady-state truncation heuristics for
       simulation", Winter Simulation Conference 2000.
    """
    if end_s <= start_s:
        return None
    groups, size = 40, 5
    counts = np.zeros(groups * size)
    for times, weights in blocks():
        counts += np.histogram(times, bins=groups * size, range=(start_s, end_s), weights=weights)[0]
    if not counts.any():
        return None
    means = counts.reshape(groups, size).mean(axis=1)
    # of a few requests, or before a pause, what nothing came in varies least; that is no steady state
    least = means.mean() / 2
    scores = [means[d:].var() / (groups - d) if means[d:].mean() >= least else np.inf for d in range(groups // 2 + 1)]
    return start_s + int(np.argmin(scores)) / groups * (end_s - start_s), end_s


def batch_means(
    times: Array, weights: Array, start_s: float, end_s: float, typical_s: float
) -> tuple[float, float | None, float | None]:
    """As `batch_means_of_blocks`, of one block."""
    return batch_means_of_blocks(lambda: iter([(times, weights)]), start_s, end_s, typical_s)


def batch_means_of_blocks(
    blocks: Blocks, start_s: float, end_s: float, typical_s: float
) -> tuple[float, float | None, float | None]:
    """Throughput over a window, half its 95 % interval, and its trend.

    Returns:
        tokens per second; half-width of the interval in the same unit (None where the window is shorter than five
        typical requests); the significant change over the window as a share of the mean (0 where not significant).
    """
    span = end_s - start_s
    batches = int(min(20, span / typical_s)) if typical_s > 0 else 20
    edge_s = _edge(span, typical_s)
    total = 0.0
    sums = np.zeros(max(batches, 1))
    for times, weights in blocks():
        inside = (times >= start_s) & (times < end_s)
        within, weight = times[inside], weights[inside]
        total += _softened(within, weight, start_s, end_s, edge_s)
        sums += np.histogram(within, bins=len(sums), range=(start_s, end_s), weights=weight)[0]
    rate = total / (span - edge_s)
    if batches < 5 or rate == 0:
        return rate, None, None
    means = sums / (span / batches)
    t = _STUDENT_T_975[batches - 1]
    half_width = float(t * means.std(ddof=1) / np.sqrt(batches))
    return rate, half_width, _significant_change(means) / rate


def soft_rate(times: Array, weights: Array, start_s: float, end_s: float, edge_s: float) -> float:
    """Mean rate over a window, whose edges rise and fall over `edge_s` instead of at once. [weight/s]

    Requests of one length that march in step make a pattern that repeats every request: a window with hard edges then
    counts up to one request of each worker too many or too few, by where it happens to begin. Averaged over windows
    that begin anywhere within one such period, which is what a trapezoid is, the pattern cancels. A window shorter than
    three edges is counted plainly.

    >>> times = np.repeat(np.arange(8.0), 10)    # ten tokens at once, every second
    >>> float(soft_rate(times, np.ones(80), 0.0, 5.5, 1.0)), float(soft_rate(times, np.ones(80), 0.0, 5.5, 9.0))
    (10.0, 10.909090909090908)
    """
    edge_s = _edge(end_s - start_s, edge_s)
    inside = (times >= start_s) & (times < end_s)
    return _softened(times[inside], weights[inside], start_s, end_s, edge_s) / (end_s - start_s - edge_s)


def _edge(span_s: float, typical_s: float) -> float:
    """Over how long the edges of a window rise and fall; 0 where it is shorter than three of them."""
    return typical_s if 0 < 3 * typical_s <= span_s else 0.0


def _softened(times: Array, weights: Array, start_s: float, end_s: float, edge_s: float) -> float:
    """The weights within a window, those near its edges in part."""
    if edge_s <= 0:
        return float(weights.sum())
    rise = np.clip((times - start_s) / edge_s, 0.0, 1.0)
    fall = np.clip((end_s - times) / edge_s, 0.0, 1.0)
    return float((weights * rise * fall).sum())


def _significant_change(values: Array) -> float:
    """How much a straight line through equally spaced values rises over them; 0 where no slope shows at 95 %."""
    number = len(values)
    centred = (np.arange(number) + 0.5) / number - 0.5
    slope = float((centred * values).sum() / (centred**2).sum())
    residual = values - values.mean() - slope * centred
    error = float(np.sqrt((residual**2).sum() / (number - 2) / (centred**2).sum()))
    return slope if abs(slope) > _STUDENT_T_975[number - 2] * error else 0.0


def stationary(level: Level, *, conversations: bool) -> bool:
    """Whether as many requests come at any time; more of them in flight then means that the server falls behind."""
    steady = (level.arrivals or "poisson").partition(":")[0] in {"poisson", "constant", "gamma"}
    return steady and not conversations  # whose further turns come later


def wait_trend(waits: Ordered) -> float | None:
    """How much the wait for the first token grew, as a share of its mean; waits in the order of being due.

    For loads that vary by themselves: there a server that falls behind shows by ever longer waits, not by the number
    in flight. Means of up to 20 groups of as many requests each; None below 25 requests. One that never had a token
    waited until it was given up.
    """
    if waits.number < 25:
        return None
    groups = min(20, waits.number // 5)
    sizes = np.full(groups, waits.number // groups) + (np.arange(groups) < waits.number % groups)
    ends = np.cumsum(sizes)
    sums, before = np.zeros(groups), 0
    for values in waits.blocks():
        group = np.searchsorted(ends, np.arange(before, before + len(values)), side="right")
        sums += np.bincount(group, weights=values, minlength=groups)
        before += len(values)
    means = sums / sizes
    return _significant_change(means) / float(means.mean())


def quantile_half_width(values: Array, share: float = 0.95) -> float | None:
    """As `quantile_half_width_of`, of one block.

    >>> quantile_half_width(np.arange(20.0)) is None
    True
    """
    return quantile_half_width_of(len(values), lambda: iter([values]), share)


def quantile_half_width_of(number: int, blocks: Callable[[], Iterator[Array]], share: float = 0.95) -> float | None:
    """Half of the 95 % interval of a quantile of values given in order of time; None where they are too few.

    Between order statistics: the rank of the quantile is binomial. Neighbours in a queue wait alike, so that n of them
    tell as much as n (1 - r) / (1 + r) independent ones, with r their first autocorrelation [1]_.

    .. [1] G. W. Oehlert, "A first course in design and analysis of experiments", 2000, on correlated errors; for the
       rank interval, W. J. Conover, "Practical nonparametric statistics", 3rd ed., 3.2.
    """
    if number < 20:
        return None
    mean = sum(float(values.sum()) for values in blocks()) / number
    spread = neighbours = 0.0
    last = np.empty(0)
    for values in blocks():
        centred = values - mean
        spread += float((centred**2).sum())
        row = np.concatenate([last, centred])
        neighbours += float((row[1:] * row[:-1]).sum())
        last = row[-1:]
    correlation = min(max(neighbours / spread if spread > 0 else 0.0, 0.0), 0.99)
    independent = number * (1 - correlation) / (1 + correlation)
    reach = 1.96 * float(np.sqrt(share * (1 - share) / independent)) * number
    low, high = int(np.floor(share * number - reach)), int(np.ceil(share * number + reach))
    if low < 0 or high >= number:
        return None
    at = nth_values(blocks, (low, high))
    return (at[high] - at[low]) / 2


def in_flight_trend(blocks: Blocks, start_s: float, end_s: float) -> tuple[float, float | None]:
    """Mean number of requests in flight over a window, and how much it grew, as a share of the mean.

    Of each request, when it was due and when it was done. The number is taken at 20 moments. Growth is None where
    fewer than one request was in flight on average. It is 0 where what piled up is less than 1 % of what came
    meanwhile, or less than three times the root of the mean: the server then kept up, and the number in flight
    wandered, as it does at any load (neighbouring moments are alike, so that a slope shows more often than by chance;
    a few in flight are now none and now five).
    """
    moments = start_s + (np.arange(20) + 0.5) / 20 * (end_s - start_s)
    numbers, came = np.zeros(len(moments)), 0
    for due_s, done_s in blocks():
        numbers += np.searchsorted(np.sort(due_s), moments, side="right")
        numbers -= np.searchsorted(np.sort(done_s), moments, side="right")
        came += int(((due_s >= start_s) & (due_s < end_s)).sum())
    mean = float(numbers.mean())
    if mean < 1:
        return mean, None
    piled_up = _significant_change(numbers)
    least = max(_LEAST_DEFICIT * came, _LEAST_DEVIATIONS * mean**0.5)
    return mean, piled_up / mean if abs(piled_up) > least else 0.0
