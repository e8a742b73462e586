"""Which rate to try next: the largest Poisson rate that is sustained within an SLO, by bracketing and bisection."""

from __future__ import annotations

import math
from collections.abc import Sequence

GROWTH = 1.5
"""Factor between rates while only one side of the capacity is known."""
PRECISION = 0.10
"""The search ends when the lowest rate that failed is within this share of the highest that did not."""
MOST_LEVELS = 12


def next_rate(tried: Sequence[tuple[float, bool]], guess: float) -> float | None:
    """The rate to try next, or None where the capacity is known to 10 %, or 12 rates have been tried.

    Args:
        tried: (rate, whether it was sustained), in order.
        guess: where to begin.

    From a guess of 4 with a capacity of 7, then from one of 20:

    >>> next_rate([], 4), next_rate([(4, True)], 4), next_rate([(4, True), (6, True)], 4)
    (4.0, 6.0, 9.0)
    >>> next_rate([(4, True), (6, True), (9, False)], 4), next_rate([(20, False)], 20)
    (7.35, 13.3)
    >>> next_rate([(6.7, True), (7.0, False)], 4) is None
    True
    """
    if not tried:
        return _rounded(guess)
    if len(tried) >= MOST_LEVELS:
        return None
    # a rate that failed rules out those above it, whatever luck they had
    failed = min((rate for rate, sustained in tried if not sustained), default=None)
    held = max((rate for rate, sustained in tried if sustained and (failed is None or rate < failed)), default=None)
    if failed is None:
        return _rounded((held or guess) * GROWTH)
    if held is None:
        return _rounded(failed / GROWTH)
    return None if failed / held <= 1 + PRECISION else _rounded(math.sqrt(failed * held))


def _rounded(rate: float) -> float:
    """A rate that can be read out: three figures."""
    return float(f"{rate:.3g}")
