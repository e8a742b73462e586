"""How long a closed loop's worker rests after a failure: longer after each, and as long as the server asks."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_FIRST_S, _MOST_S = 0.2, 5.0
_MOST_TOLD_S = 30.0
"""A server that asks for more is asked again after so long: an hour's rest would be no measurement."""


def rest_s(failures: float, told_s: float | None = None) -> float:
    """After so many failures in a row of each worker, on average, where the server asks for a wait or not. [s]

    >>> rest_s(1), rest_s(2), rest_s(9), rest_s(1, told_s=2.0), rest_s(9, told_s=2.0), rest_s(1, told_s=3600.0)
    (0.2, 0.4, 5.0, 2.0, 5.0, 30.0)
    """
    own_s = min(_FIRST_S * 2 ** min(max(failures - 1, 0.0), 5.0), _MOST_S)
    return max(own_s, min(told_s or 0.0, _MOST_TOLD_S))


def told_s(retry_after: str | None, now: datetime | None = None) -> float | None:
    """What a header Retry-After asks for, seconds or a date (RFC 9110, 10.2.3); None where it asks for nothing. [s]

    >>> told_s("2"), told_s("1.5"), told_s("soon"), told_s(None)
    (2.0, 1.5, None, None)
    >>> told_s("Fri, 31 Dec 1999 23:59:59 GMT", datetime(1999, 12, 31, 23, 59, 49, tzinfo=UTC))
    10.0
    """
    text = (retry_after or "").strip()
    try:
        if text.replace(".", "", 1).isdecimal() and text.isascii():
            return float(text)  # some servers give fractions
        date = parsedate_to_datetime(text)
        date = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
        return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, OverflowError):
        return None
