"""When owning or renting costs what an API does: the volume, and the utilisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class BreakEven:
    """Where self-hosting and an API cost the same."""

    verdict: Literal["at", "never", "always"]
    """at: above the volume; never: the API is cheaper even at full load; always: from the first token."""
    utilisation: float | None
    """Share of one machine's capacity at which its tokens cost what the API's do."""
    tokens_per_month: float | None
    """First crossing: above it self-hosting is cheaper, until another machine must be added."""
    last_crossing_tokens_per_month: float | None
    """From here on self-hosting is cheaper at any volume; equal to the first where no machine added undoes it."""


def break_even(
    fixed_usd_month: float, marginal_usd_per_token: float, capacity_tokens_month: float, api_usd_per_token: float
) -> BreakEven:
    """The crossings of the whole-machine staircase with an API's straight line.

    n machines cost n F + m v for v tokens, with v <= n K; the API costs p v. The first crossing is F / (p - m). A
    step from n to n + 1 machines makes self-hosting dearer again while (n + 1) F / (p - m) > n K; the last crossing
    is that of the largest such n + 1, or the first where no step does.

    Args:
        fixed_usd_month: F, what a machine costs whether busy or not. [USD/month]
        marginal_usd_per_token: m, what each token adds (energy above idle). [USD/token]
        capacity_tokens_month: K, tokens that a machine serves at full load. [token/month]
        api_usd_per_token: p, blended over the same tokens. [USD/token]

    A machine of 730 USD a month that serves 1,000M tokens, against 1 USD/1M:

    >>> break_even(730, 0, 1e9, 1e-6)
    BreakEven(verdict='at', utilisation=0.73, tokens_per_month=730000000.0, last_crossing_tokens_per_month=2190000000.0)
    >>> break_even(730, 0, 1e9, 0.5e-6).verdict
    'never'
    """
    margin = api_usd_per_token - marginal_usd_per_token
    if margin <= 0:
        return BreakEven("never", None, None, None)
    if fixed_usd_month == 0:
        return BreakEven("always", 0.0, 0.0, 0.0)
    first = fixed_usd_month / margin
    share = first / capacity_tokens_month
    if share > 1:
        return BreakEven("never", None, None, None)
    # n machines are undone at their first token where n * share > n - 1, that is n < 1 / (1 - share)
    last = math.inf if share == 1 else max(1, math.ceil(1 / (1 - share) - 1e-9) - 1) * first
    return BreakEven("at", share, first, last)
