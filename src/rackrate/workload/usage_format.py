"""What an export of API usage is: its columns, or the keys of a usage API's answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass
class Bucket:
    """What was asked for between two moments. Token numbers are sums."""

    begin: datetime
    end: datetime | None
    requests: float | None
    input: float
    """All input tokens, cached and written ones included."""
    cached: float | None
    """Of them: read from the cache."""
    output: float
    line: int | None = None
    """Of the file."""
    written: float = 0.0
    """Of the input: written to the cache, for some minutes."""
    written_1h: float = 0.0
    """Of the input: written to the cache for an hour."""
    batch: bool = False
    """Requests that may wait."""
    longer_than: float | None = None
    """Where the file says so: each request's input is longer than so many tokens."""


@dataclass(frozen=True)
class UsageLayout:
    """The columns of an API's usage export, by what they hold."""

    name: str
    begin: str
    end: str | None
    requests: tuple[str, ...]
    input_all: tuple[str, ...]
    """Columns that sum to all input tokens, cached and written ones included."""
    cached: tuple[str, ...]
    output: tuple[str, ...]
    model: tuple[str, ...]
    """The first of them that the file has."""
    written: tuple[str, ...] = ()
    """Input tokens written to the cache, for some minutes."""
    written_1h: tuple[str, ...] = ()
    """Input tokens written to the cache for an hour."""
    batch: tuple[str, ...] = ()
    """The first of them that the file has says whether a row's requests may wait."""
    context: tuple[str, ...] = ()
    """The first of them that the file has says how long a row's requests are."""
    empty: tuple[str, ...] = ()
    """Columns of an export of a time without any usage, where it then has no others."""

    def fits(self, columns: Sequence[str]) -> bool:
        """Whether a file with these columns is such an export."""
        return {self.begin, *self.output} <= set(columns) or bool(self.empty and self.empty == tuple(columns))


@dataclass(frozen=True)
class UsagePages:
    """How a usage API answers: `data` of entries, one or several pages."""

    name: str
    begin: str
    """The key by which its entries are told from others'."""
    shape: str
    """What an entry looks like, for refusals."""
    rows: Callable[[Mapping[str, Any]], Iterator[tuple[str, Bucket]]]
    """Model and usage of each row of an entry; raises KeyError, TypeError or ValueError for what is no such entry."""
    has_requests: bool
    cached_key: str
    input_key: str


def utc_moment(text: object) -> datetime:
    """A date, or a date and time, on the clock of UTC: that of the file where it names no zone.

    Raises ValueError where it is neither.

    >>> utc_moment("2026-10-01T09:00:00+08:00").isoformat()
    '2026-10-01T01:00:00+00:00'
    """
    found = datetime.fromisoformat(str(text))
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def is_batch(value: object) -> bool:
    """Whether a cell or a value says that requests may wait: OpenAI's true, Anthropic's batch.

    >>> is_batch("True"), is_batch("batch"), is_batch("standard"), is_batch(None)
    (True, True, False, False)
    """
    return str(value).strip().lower() in {"true", "1", "batch", "batches", "batch_api"}


def longer_than(value: object) -> float | None:
    """From how many tokens on a context window begins, as exports write it; None: from 0, or not said.

    >>> longer_than("≤ 200k"), longer_than("> 200k"), longer_than("200k-1M"), longer_than("0-200k"), longer_than(None)
    (None, 200000.0, 200000.0, None, None)
    """
    text = str(value or "").strip().lower().replace(" ", "")
    if not text or text[0] in "≤<0":
        return None
    digits = text.lstrip(">≥").split("-", 1)[0].split("_", 1)[0]
    scale = {"k": 1e3, "m": 1e6}.get(digits[-1:], 1.0)
    try:
        return float(digits.rstrip("km")) * scale or None
    except ValueError:
        return None


def number(row: Mapping[str, Any], *keys: str) -> float:
    """A number of an answer, 0 where it is not there."""
    value: Any = row
    for key in keys:
        value = value.get(key) if value else None
    return float(value or 0)
