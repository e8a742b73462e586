"""What is paid over years, as one figure: present values, and the equal sum a month that is worth as much.

Payments come at the end of each month. A purchase is spread over the machine's life; over a longer horizon it is bought
again at the same price, and over a shorter one the machine is worth what is left to pay of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rackrate.economics.breakeven import geometric_sum, payback_months
from rackrate.units import MONTHS_PER_YEAR, plain, where

if TYPE_CHECKING:
    from rackrate.units import Numbers


def months_worth(months: Numbers, discount_rate: Numbers = 0.0, decline: Numbers = 0.0) -> Numbers:
    """What 1 USD at the end of each month is worth today, the sum falling by a share a year. [month]

    Sum over k = 1..n of w^k D^(k-1), with w = (1 + r)^(-1/12), D = (1 - d)^(1/12). Any n; all may be arrays.

    >>> round(months_worth(48), 6), round(months_worth(48, 0.08), 2), round(months_worth(48, 0.08, 0.3), 2)
    (48.0, 41.18, 23.06)
    """
    import numpy as np

    log_w = -np.log1p(np.asarray(discount_rate, dtype=float)) / MONTHS_PER_YEAR
    log_each = log_w + np.log1p(-np.asarray(decline, dtype=float)) / MONTHS_PER_YEAR
    return plain(np.exp(log_w) * geometric_sum(log_each, np.asarray(months, dtype=float)))


def falling_share(months: Numbers, discount_rate: Numbers, decline: Numbers) -> Numbers:
    """The equal price over a horizon that is worth as much as one that falls, over today's price. 0 to 1.

    >>> round(falling_share(months=48, discount_rate=0.08, decline=0.3), 3)
    0.56
    >>> falling_share(months=1, discount_rate=0.08, decline=0.3)
    1.0
    """
    return months_worth(months, discount_rate, decline) / months_worth(months, discount_rate)


def purchase_usd_month(
    capex_usd: Numbers, resale_usd: Numbers, discount_rate: Numbers, life_months: Numbers
) -> Numbers:
    """The equal sum a month over the life that is worth the purchase less the resale. [USD/month]

    (C - S w^n) / sum of w^k for k = 1..n. As `annuity_usd_per_year`, but paid at the end of each month.

    >>> purchase_usd_month(3800, 200, 0.0, 60)
    60.0
    >>> round(purchase_usd_month(3800, 200, 0.08, 60), 2)
    73.8
    """
    import numpy as np

    last = np.exp(-np.log1p(discount_rate) * life_months / MONTHS_PER_YEAR)
    return plain((capex_usd - resale_usd * last) / months_worth(life_months, discount_rate))


def payback_within(
    capex_usd: Numbers,
    running_usd_month: Numbers,
    api_usd_month: Numbers,
    *,
    discount_rate: Numbers,
    api_decline: Numbers,
    saves_usd_month: Numbers,
    life_months: Numbers,
    horizon_months: Numbers,
) -> Numbers:
    """The month of the horizon at which a purchase has paid for itself, for good; infinite where it does not. [month]

    As `payback_months`, but told by the whole horizon: what has paid back and is lost again by falling API prices has
    not, and where the resale (or what the machine is still worth) turns it, the last month is given. So it is finite
    just where the present value over the horizon is below the API's.

    Args:
        capex_usd: the purchase. [USD]
        running_usd_month: energy, hosting, labour. [USD/month]
        api_usd_month: the API's bill of the first month. [USD/month]
        discount_rate: a year.
        api_decline: the share that the API's price loses a year.
        saves_usd_month: the API's equal sum a month over the horizon less that of owning. [USD/month]
        life_months: of the machine.
        horizon_months: over which both are compared.

    3,800 USD, 100 a month against 157.08 a month, over 100 months and over 60:

    >>> kept = {"discount_rate": 0.0, "api_decline": 0.0, "life_months": 100}
    >>> round(payback_within(3800, 100, 157.0752, saves_usd_month=19.08, horizon_months=100, **kept), 2)
    66.58
    >>> payback_within(3800, 100, 157.0752, saves_usd_month=-6.26, horizon_months=60, **kept)
    inf
    """
    import numpy as np

    first = payback_months(capex_usd, running_usd_month, api_usd_month, discount_rate, api_decline)
    in_time = first <= np.minimum(life_months, horizon_months)
    return where(saves_usd_month > 0, where(in_time, first, horizon_months), np.inf)
