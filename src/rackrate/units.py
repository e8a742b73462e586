"""Units: SI inside, converted at the edges only.

GB is 10**9 bytes (vendors' bandwidth), GiB is 2**30 bytes (drivers' memory). Rates of money are USD.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = float | NDArray[np.float64]
    """A figure: one number, or one for each draw of a study. A formula that takes them is written once for both."""

GB = 10**9
GIB = 2**30
SECONDS_PER_HOUR = 3600
HOURS_PER_MONTH = 730.0
"""A year of 8,760 hours by twelve. The 720 of some articles (30 days) is a parameter wherever this is used."""
MONTHS_PER_YEAR = 12
PER_MILLION = 1_000_000


def plain(values: Numbers) -> Numbers:
    """An array as it is; a single number, whatever NumPy made of it, as a Python float."""
    import numpy as np

    return values if np.ndim(values) else float(values)


def where(condition: Any, value: Numbers, otherwise: Numbers) -> Numbers:
    """The one where a condition holds, the other where it does not.

    >>> where(1 > 2, 3, 4.0)
    4.0
    """
    import numpy as np

    return plain(np.where(condition, value, otherwise))


def share_off(log_ratio: float) -> float:
    """How far a figure is off another, as a share of it, from ln of their ratio: exp(x) - 1.

    Of ln(predicted/observed) it has a sign. Of |ln(predicted/observed)| it is by how much the larger of the two is
    above the smaller: errors are counted so, since half as much is as wrong as twice as much.

    >>> round(share_off(0.568), 3), round(share_off(-0.219), 3), round(share_off(1.67), 2)
    (0.765, -0.197, 4.31)
    """
    return math.expm1(log_ratio)


def usd_per_million(usd_per_hour: float, tokens_per_second: float) -> float:
    """What a million tokens costs at a steady rate. [USD/1M token]

    An hour's cost over an hour's tokens. The article that this project starts from (lytix, June 2024) timed 6.5
    token/s on a machine of 3.912 USD/h:

    >>> round(usd_per_million(usd_per_hour=3.912, tokens_per_second=6.5), 2)
    167.18
    """
    return usd_per_hour / (tokens_per_second * SECONDS_PER_HOUR) * PER_MILLION


def tokens_per_month(tokens_per_second: Numbers, hours_per_month: float = HOURS_PER_MONTH) -> Numbers:
    """Tokens of a month at a steady rate. [token]

    >>> round(tokens_per_month(60.6, hours_per_month=720))
    157075200
    """
    return tokens_per_second * SECONDS_PER_HOUR * hours_per_month
