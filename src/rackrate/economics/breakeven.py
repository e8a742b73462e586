"""When owning or renting costs what an API does: the volume, the utilisation, the month, and the split of the two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rackrate.units import SECONDS_PER_HOUR, plain, where

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rackrate.units import Numbers


def whole_machines(needed: Numbers, least: int = 0) -> Numbers:
    """The fewest machines that are enough; a whole number of them but for rounding takes no further one.

    >>> whole_machines(2.5), whole_machines(0.3 / 0.1), whole_machines(0.0, least=1)
    (3.0, 3.0, 1.0)
    """
    import numpy as np

    return plain(np.maximum(least, np.ceil(needed * (1 - 1e-12))))


def marginal_usd_per_token(busy_usd_h: Numbers, tok_s: Numbers) -> Numbers:
    """What a token adds to a machine's bill: what a busy hour adds, over what it serves at full load. [USD/token]

    >>> marginal_usd_per_token(busy_usd_h=0.36, tok_s=100)    # a dollar for a million tokens
    1e-06
    """
    return busy_usd_h / (tok_s * SECONDS_PER_HOUR)


_LEAST_USD_PER_TOKEN = 1e-290
"""A margin below it is none: dividing by it leaves the numbers."""


def crossing_tokens(fixed_usd: Numbers, marginal_usd_per_token: Numbers, api_usd_per_token: Numbers) -> Numbers:
    """The volume at which machines cost what the API does; infinite where each token costs more than the API's.

    F + m v = p v at v = F / (p - m), for any period in which F is paid. [token]

    >>> crossing_tokens(730, 0, 1e-6), crossing_tokens(730, 2e-6, 1e-6)
    (730000000.0, inf)
    """
    margin = api_usd_per_token - marginal_usd_per_token
    worth = margin > _LEAST_USD_PER_TOKEN
    return where(worth, fixed_usd / where(worth, margin, 1.0), math.inf)


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
    machines: int | None = None
    """That serve the first crossing, spares not among them."""


def break_even(
    fixed_usd_month: float,
    marginal_usd_per_token: float,
    capacity_tokens_month: float,
    api_usd_per_token: float,
    spares: int = 0,
) -> BreakEven:
    """The crossings of the whole-machine staircase with an API's straight line.

    n machines and S spares cost (n + S) F + m v for v tokens, with v <= n K; the API costs p v. On n machines the two
    are equal at v = (n + S) f, f = F / (p - m); the first crossing is on the fewest machines that serve that, n K >=
    (n + S) f. A step from n to n + 1 machines makes self-hosting dearer again while (n + 1 + S) f > n K; the last
    crossing is that of the largest such n + 1, or the first where no step does.

    Args:
        fixed_usd_month: F, what a machine costs whether busy or not. [USD/month]
        marginal_usd_per_token: m, what each token adds (energy above idle). [USD/token]
        capacity_tokens_month: K, tokens that a machine serves at full load. [token/month]
        api_usd_per_token: p, blended over the same tokens. [USD/token]
        spares: S, machines that are paid and serve nothing.

    A machine of 730 USD a month that serves 1,000M tokens, against 1 USD/1M:

    >>> even = break_even(730, 0, 1e9, 1e-6)
    >>> even.verdict, even.utilisation, even.tokens_per_month, even.last_crossing_tokens_per_month, even.machines
    ('at', 0.73, 730000000.0, 2190000000.0, 1)
    >>> break_even(730, 0, 1e9, 0.5e-6).verdict
    'never'

    With a spare, two machines that serve do not pay (2,190 USD, 2,000M tokens); three do:

    >>> even = break_even(730, 0, 1e9, 1e-6, spares=1)
    >>> even.machines, even.tokens_per_month
    (3, 2920000000.0)
    """
    each = float(crossing_tokens(fixed_usd_month, marginal_usd_per_token, api_usd_per_token))
    if each == math.inf:
        return BreakEven("never", None, None, None)
    if each == 0:
        return BreakEven("always", 0.0, 0.0, 0.0, 1)
    share = each / capacity_tokens_month
    if share > 1 or (share == 1 and spares):
        return BreakEven("never", None, None, None)
    # n K >= (n + S) f; and n machines are undone at their first token where (n + S) f > (n - 1) K
    machines = max(1, math.ceil(spares * share / (1 - share) - 1e-9)) if spares else 1
    first = (machines + spares) * each
    last = math.inf if share == 1 else max(machines, math.ceil((1 + spares * share) / (1 - share) - 1e-9) - 1) + spares
    return BreakEven("at", first / (machines * capacity_tokens_month), first, last * each, machines)


MAX_MONTHS = 1200
"""A payback later than a hundred years is never."""


def payback_months(
    upfront_usd: Numbers,
    running_usd_month: Numbers,
    api_usd_month: Numbers,
    discount_rate: Numbers = 0.0,
    api_decline: Numbers = 0.0,
) -> NDArray[np.float64]:
    """The month at which what owning has cost equals what the API would have; infinite where that never comes. [month]

    sum over k of w^k (B D^(k-1) - M) = C, with w = (1 + r)^(-1/12), D = (1 - d)^(1/12): payments at the end of each
    month; the API's price falls by the share d a year, beginning at today's. Within a month the sum is taken as a
    straight line. All arguments may be arrays.

    Args:
        upfront_usd: C, the purchase. [USD]
        running_usd_month: M, energy, hosting, labour; not the purchase again. [USD/month]
        api_usd_month: B, the API's bill of the first month, for the same requests. [USD/month]
        discount_rate: r, a year.
        api_decline: d, the share that the API's price loses a year; negative where it rises.

    The article that this project starts from: 3,800 USD, 100 a month against 157.08 a month.

    >>> round(float(payback_months(3800, 100, 157.0752)), 2)
    66.58
    >>> round(float(payback_months(3800, 100, 157.0752, discount_rate=0.08)), 1)
    87.2
    >>> float(payback_months(3800, 100, 157.0752, api_decline=0.3))
    inf
    """
    import numpy as np

    c, m, b, r, d = np.broadcast_arrays(
        *(
            np.asarray(item, dtype=float)
            for item in (upfront_usd, running_usd_month, api_usd_month, discount_rate, api_decline)
        )
    )
    w = (1 + r) ** (-1 / 12)
    fall = (1 - d) ** (1 / 12)
    log_w, log_both = np.log(w), np.log(w * fall)

    def net(n: NDArray[np.float64]) -> NDArray[np.float64]:
        return b * w * geometric_sum(log_both, n) - m * w * geometric_sum(log_w, n) - c

    # while the API falls, each month saves less than the one before; from the month that saves nothing on it gets worse
    with np.errstate(divide="ignore", invalid="ignore"):
        last = np.where((fall < 1) & (m > 0), np.floor(1 + np.log(m / b) / np.log(fall)), MAX_MONTHS)
    last = np.clip(np.nan_to_num(last, nan=0.0, posinf=MAX_MONTHS, neginf=0.0), 0, MAX_MONTHS)
    low, high = np.zeros_like(c), last.copy()
    for _ in range(MAX_MONTHS.bit_length() + 1):
        middle = np.floor((low + high) / 2)
        reached = net(middle) >= 0
        high = np.where(reached, middle, high)
        low = np.where(reached, low, np.minimum(middle + 1, high))
    before, after = net(np.maximum(high - 1, 0)), net(high)
    with np.errstate(divide="ignore", invalid="ignore"):
        months = np.maximum(high - 1, 0) + np.where(after > before, -before / (after - before), 0.0)
    months = np.where((c <= 0) & (b >= m), 0.0, months)
    never = (net(high) < 0) & (c > 0) | (c <= 0) & (b < m)
    return np.where(never, np.inf, months)


def geometric_sum(log_ratio: NDArray[np.float64], terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 + q + ... + q^(n-1), by the logarithm of q; any n."""
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(log_ratio == 0, terms, np.expm1(terms * log_ratio) / np.expm1(log_ratio))


@dataclass(frozen=True)
class HybridSplit:
    """Machines for the base load, the API for what is above it."""

    verdict: Literal["api", "hybrid", "self-hosted"]
    """api: no machine is worth keeping; self-hosted: nothing is left over for the API."""
    machines: int
    self_hosted_share: float
    """Of the tokens."""
    usd: float
    """Of the whole profile."""
    all_api_usd: float
    all_self_hosted_usd: float
    """With machines for the highest slot."""


def hybrid_split(
    demand_tokens: Sequence[float],
    capacity_tokens: float,
    fixed_usd: float,
    marginal_usd_per_token: float,
    api_usd_per_token: float,
) -> HybridSplit:
    """The number of machines, kept through the whole profile, that makes machines and API together cheapest.

    The n-th machine serves min(max(demand - (n-1) K, 0), K) of each slot; it is worth its cost while these tokens, at
    what the API charges above the machine's marginal cost, come to more. Each machine serves no more than the one
    before, so the last that is worth it is found by bisection.

    Args:
        demand_tokens: of each slot (an hour of the day, of the week), all slots equally long.
        capacity_tokens: K, what a machine serves in a slot.
        fixed_usd: what a machine costs in a slot, busy or not.
        marginal_usd_per_token: what a token adds on a machine.
        api_usd_per_token: what the API charges.

    Two thirds of the day 1M tokens an hour, one third 3M; a machine of 1 USD/h serves 2M an hour; the API is 0.6/1M:

    >>> split = hybrid_split([1e6] * 16 + [3e6] * 8, 2e6, 1.0, 0.0, 0.6e-6)
    >>> split.verdict, split.machines, round(split.usd, 2), round(split.all_api_usd, 2)
    ('api', 0, 24.0, 24.0)
    >>> hybrid_split([1e6] * 16 + [3e6] * 8, 2e6, 1.0, 0.0, 1e-6).machines
    1
    """
    import numpy as np

    demand = np.asarray(demand_tokens, dtype=float)
    slots, total = len(demand), float(demand.sum())
    margin = api_usd_per_token - marginal_usd_per_token
    most = int(whole_machines(float(demand.max(initial=0.0)) / capacity_tokens))

    def serves(machine: int) -> float:
        return float(np.clip(demand - (machine - 1) * capacity_tokens, 0, capacity_tokens).sum())

    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if serves(middle) * margin > fixed_usd * slots:
            low = middle
        else:
            high = middle - 1
    own = float(np.minimum(demand, low * capacity_tokens).sum())
    share = own / total if total else 0.0
    return HybridSplit(
        verdict="api" if low == 0 else "self-hosted" if low == most else "hybrid",
        machines=low,
        self_hosted_share=share,
        usd=low * fixed_usd * slots + own * marginal_usd_per_token + (total - own) * api_usd_per_token,
        all_api_usd=total * api_usd_per_token,
        all_self_hosted_usd=most * fixed_usd * slots + total * marginal_usd_per_token,
    )
