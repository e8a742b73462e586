"""Backoff of a closed loop's worker after a failure: longer after each, and as long as the server asks."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_FIRST_S, _MOST_S = 0.2, 5.0
_MOST_RETRY_AFTER_S = 30.0
"""A server that asks for more is asked again after so long: an hour's rest would be no measurement."""


def backoff_s(failures: float, retry_after_s: float | None = None) -> float:
    """After so many failures in a row of each worker, on average, where the server asks for a wait or not. [s]

    >>> backoff_s(1), backoff_s(2), backoff_s(9)
    (0.2, 0.4, 5.0)
    >>> backoff_s(1, retry_after_s=2.0), backoff_s(9, retry_after_s=2.0), backoff_s(1, retry_after_s=3600.0)
    (2.0, 5.0, 30.0)
    """
    own_s = min(_FIRST_S * 2 ** min(max(failures - 1, 0.0), 5.0), _MOST_S)
    return max(own_s, min(retry_after_s or 0.0, _MOST_RETRY_AFTER_S))


def retry_after_s(retry_after: str | None, now: datetime | None = None) -> float | None:
    """What a header Retry-After asks for, seconds or a date (RFC 9110, 10.2.3); None where it asks for nothing. [s]

    >>> retry_after_s("2"), retry_after_s("1.5"), retry_after_s("soon"), retry_after_s(None)
    (2.0, 1.5, None, None)
    >>> retry_after_s("Fri, 31 Dec 1999 23:59:59 GMT", datetime(1999, 12, 31, 23, 59, 49, tzinfo=UTC))
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
