"""What a reader makes of a tool's file, and how values are taken out of JSON that may be of any shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Literal, cast

from rackrate.runs.records import RequestRecord, StatedFigures
from rackrate.runs.statuses import OK

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ForeignRequest:
    """One request as another tool recorded it. Seconds, all on one clock of that tool's."""

    due_s: float
    sent_s: float
    done_s: float
    first_token_s: float | None
    chunk_s: tuple[float, ...] = ()
    status: str = OK
    detail: str | None = None
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    finish_reason: str | None = None

    def __post_init__(self) -> None:
        moments = (self.due_s, self.sent_s, *self.chunk_s[:1], *self.chunk_s[-1:], self.done_s)
        if any(later < earlier for earlier, later in pairwise(moments)):
            raise LayoutError("a request ends before it begins")
        if self.first_token_s is not None and not self.sent_s <= self.first_token_s <= self.done_s:
            raise LayoutError("a request's first token is not between its start and its end")

    def record(self, index: int, level: int, shift_s: float, asked: tuple[int | None, int | None]) -> RequestRecord:
        """As a record of a run, with every time moved by shift_s."""
        return RequestRecord(
            index=index,
            level=level,
            due_s=self.due_s + shift_s,
            sent_s=self.sent_s + shift_s,
            first_byte_s=None,
            first_token_s=self.first_token_s + shift_s if self.first_token_s is not None else None,
            done_s=self.done_s + shift_s,
            status=self.status,
            http_status=None,
            detail=self.detail,
            asked_input_tokens=asked[0],
            asked_output_tokens=asked[1],
            input_tokens=self.input_tokens,
            cached_tokens=self.cached_tokens,
            output_tokens=self.output_tokens,
            finish_reason=self.finish_reason,
            stagger=False,
            chunk_s=tuple(moment + shift_s for moment in self.chunk_s),
        )


@dataclass(frozen=True)
class ForeignLevel:
    """One load of another tool: its requests, or else its figures."""

    concurrency: int | None
    """Of a closed loop; None: open."""
    rate: float | None = None
    arrivals: str | None = None
    requests: Sequence[ForeignRequest] = ()
    stated: StatedFigures | None = None
    warmed_up: bool | None = None
    tokens_by: Literal["usage", "tool", "unstated"] = "unstated"
    unknown: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.concurrency is not None and self.concurrency < 1:
            raise LayoutError(f"{self.concurrency} requests in flight are no load")
        if self.rate is not None and not self.rate > 0:
            raise LayoutError(f"{self.rate:g} requests a second are no load")


@dataclass(frozen=True)
class ImportedRun:
    """What a file of another tool says."""

    tool: str
    layout: str
    levels: Sequence[ForeignLevel]
    version: str | None = None
    created: str | None = None
    """UTC, ISO 8601; None where the file does not say."""
    model: str | None = None
    url: str | None = None
    engine: str | None = None
    """Where the file says it; None where it does not."""
    endpoint: Literal["chat", "completions"] | None = None
    input_tokens: int | None = None
    """Asked for, as are output_tokens."""
    output_tokens: int | None = None
    notes: tuple[str, ...] = ()
    server: tuple[tuple[str, str], ...] = ()
    """Settings of the server that the file names, sorted by name."""
    file: str = field(default="", compare=False)


class LayoutError(Exception):
    """A file of a known tool in which something is missing or of the wrong kind. The reader of files adds where."""


def number(values: Object, key: str) -> float | None:
    """A finite number, else None.

    >>> number({"a": 1, "b": "inf", "c": True}, "a"), number({"b": "inf"}, "b"), number({"c": True}, "c")
    (1.0, None, None)
    """
    found = values.get(key)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return None
    return float(found)


def whole(values: Object, key: str) -> int | None:
    """A whole number that is not negative and below 2**31, else None.

    >>> whole({"n": 3.0}, "n"), whole({"n": -1}, "n"), whole({"n": 2.5}, "n")
    (3, None, None)
    """
    found = number(values, key)
    return int(found) if found is not None and 0 <= found < 2**31 and found == int(found) else None


def text(values: Object, key: str) -> str | None:
    """A string that is not empty, else None."""
    found = values.get(key)
    return found if isinstance(found, str) and found else None


def within(values: Any, *keys: str) -> Object:
    """The object under nested keys, or an empty one.

    >>> within({"a": {"b": {"c": 1}}}, "a", "b"), within({"a": 3}, "a", "b")
    ({'c': 1}, {})
    """
    for key in keys:
        values = cast("Object", values).get(key) if isinstance(values, dict) else None
    return cast("Object", values) if isinstance(values, dict) else {}


def utc(seconds: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601; None where that is no time.

    >>> utc(1795416678.75), utc(1e30), utc(None)
    ('2026-11-23T06:51:18+00:00', None, None)
    """
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds is not None else None
    except (OverflowError, ValueError, OSError):
        return None


def objects(values: Any) -> list[Object]:
    """The objects of a list; what else is in it is left out."""
    listed = cast("list[Any]", values) if isinstance(values, list) else []
    return [cast("Object", entry) for entry in listed if isinstance(entry, dict)]


def numbers(values: Any) -> list[float]:
    """A list of finite numbers. Raises LayoutError where it holds anything else."""
    if not isinstance(values, list):
        raise LayoutError("a list of numbers is missing")
    found: list[float] = []
    for value in cast("list[Any]", values):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise LayoutError(f"a list of numbers has {value!r} in it")
        found.append(float(value))
    return found


def most_at_once(requests: Sequence[ForeignRequest]) -> int:
    """The largest number of requests in flight at any moment; at least 1.

    >>> most_at_once([ForeignRequest(0, 0, 2, 1), ForeignRequest(1, 1, 3, 2), ForeignRequest(2, 2, 4, 3)])
    2
    """
    # of an end and a start at the same moment, the end comes first
    moments = sorted([(request.sent_s, 1) for request in requests] + [(request.done_s, -1) for request in requests])
    most = now = 0
    for _, step in moments:
        now += step
        most = max(most, now)
    return max(most, 1)
