"""Files of recorded requests: which layout one has, and, where one cannot be read, exactly what is wrong with it.

Layouts are told apart by the first line: Azure's CSV, OpenRouter's, JSON lines with Mooncake's keys, and a CSV of one's
own. docs/load.md describes them.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from rackrate.errors import WorkloadError
from rackrate.files.bounded import open_text_lines
from rackrate.workload.csv_rows import csv_fault, delimiter_of, not_utf8, with_point
from rackrate.workload.trace_units import NOTHING_STATED, StatedUnits, per_second_since_1970, stated_units

Field = Literal["time", "input", "output", "cached", "session", "prefix", "prefix_tokens", "blocks"]

MOST_TIME = 4.2e18
"""No time is a larger number: nanoseconds since 1970 reach it in 2103."""
MOST_TOKENS = 2**31 - 1
"""Lengths are kept as 32-bit integers."""

COLUMNS: dict[str, Field] = {
    # a CSV of one's own
    "time_s": "time", "time": "time", "input_tokens": "input", "input": "input", "output_tokens": "output",
    "output": "output", "cached_tokens": "cached", "cached": "cached", "session": "session", "prefix": "prefix",
    "prefix_tokens": "prefix_tokens",
    # Azure/AzurePublicDataset, LLM inference traces of 2023 and 2024
    "timestamp": "time", "contexttokens": "input", "generatedtokens": "output",
    # HPMLL/BurstGPT
    "request tokens": "input", "response tokens": "output", "session id": "session",
    # OpenRouter's export of single generations
    "created_at": "time", "tokens_prompt": "input", "tokens_completion": "output", "tokens_cached": "cached",
}  # fmt: skip
"""Names of CSV columns, in lower case, and what they hold; other columns are left out."""
MOONCAKE: dict[str, Field] = {
    "timestamp": "time",
    "input_length": "input",
    "output_length": "output",
    "hash_ids": "blocks",
}
_TOKENS: tuple[Field, ...] = ("input", "output", "cached", "prefix_tokens")
_KNOWN_LAYOUTS = (
    "known are CSV with the columns time_s, input_tokens, output_tokens (or Azure's TIMESTAMP, ContextTokens, "
    "GeneratedTokens, or OpenRouter's export of generations) and JSON lines with timestamp, input_length, "
    "output_length (Mooncake)"
)
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII)


Kind = Literal["azure", "csv", "mooncake", "openrouter", "qwen-bailian"]
_CSV_KINDS: dict[str, Kind] = {"contexttokens": "azure", "tokens_prompt": "openrouter"}


@dataclass(frozen=True)
class Layout:
    """Where a file has what."""

    kind: Kind
    columns: tuple[str, ...]
    """All columns of the file, in order."""
    fields: dict[Field, str]
    """What is read, and the column that holds it."""
    moments: bool
    """Whether times are dates and times of day; else they are numbers."""
    delimiter: str = ","
    since_1970: int | None = None
    """Where numbers count from 1970: so many make a second."""
    stated: StatedUnits = NOTHING_STATED
    """What JSON lines say of their units."""

    @property
    def is_json(self) -> bool:
        """Whether it is lines of JSON."""
        return self.kind in {"mooncake", "qwen-bailian"}

    @property
    def dated(self) -> bool:
        """Whether the file says on which days its requests came."""
        return self.moments or self.since_1970 is not None

    @property
    def in_order(self) -> bool:
        """Whether the file must have its requests in order of time. OpenRouter's exports have the newest first."""
        return self.kind != "openrouter"


def detect_layout(path: Path) -> Layout:
    """The layout of a file, from its first lines.

    Raises:
        WorkloadError: no such file, nothing in it, or none of the layouts; the sentence says which column is missing.
    """
    try:
        with open_text_lines(path) as file:
            lines = [line for line in (file.readline(1 << 20) for _ in range(3)) if line.strip()]
    except FileNotFoundError:
        raise WorkloadError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise WorkloadError(f"{path}: is a directory; a trace is a file") from None
    except UnicodeDecodeError:
        raise WorkloadError(not_utf8(path)) from None
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be read as text ({error.strerror or error})") from None
    if not lines:
        raise WorkloadError(f"{path}: is empty; {_KNOWN_LAYOUTS}")
    if lines[0].lstrip().startswith("{"):
        return _json_layout(path, lines[0])
    return _csv_layout(path, lines)


def _json_layout(path: Path, first: str) -> Layout:
    import orjson

    try:
        values = cast("dict[str, Any]", orjson.loads(first))
    except orjson.JSONDecodeError as error:
        raise WorkloadError(f"{path}:1:{error.colno}: not a JSON object on one line ({error.msg})") from None
    fields: dict[Field, str] = {field: name for name, field in MOONCAKE.items() if name in values}
    for name, field in MOONCAKE.items():
        if field not in fields and field != "blocks":
            raise WorkloadError(f"{path}:1: the key {name} is missing; {_KNOWN_LAYOUTS}")
    stated, time = stated_units(path, values), values[fields["time"]]
    since_1970 = None
    if stated.per_second is None and isinstance(time, int | float) and not isinstance(time, bool):
        since_1970 = per_second_since_1970(time)
    return Layout(
        "qwen-bailian" if stated.bailian else "mooncake", tuple(fields.values()), fields,
        moments=isinstance(time, str) and _MOMENT.fullmatch(time) is not None, since_1970=since_1970, stated=stated,
    )  # fmt: skip


def _csv_layout(path: Path, lines: list[str]) -> Layout:
    delimiter = delimiter_of(lines[0])
    header, row = _cells(path, lines, 0, delimiter), _cells(path, lines, 1, delimiter)
    columns = tuple(name.strip() for name in header)
    fields: dict[Field, str] = {}
    for name in columns:
        field = COLUMNS.get(name.lower())
        if field is None:
            continue
        if field in fields:
            raise WorkloadError(f"{path}:1: the columns {fields[field]} and {name} hold the same thing; keep one")
        fields[field] = name
    if len({name.lower() for name in columns}) < len(columns):
        raise WorkloadError(f"{path}:1: two columns have one name")
    for field, name in (("time", "time_s"), ("input", "input_tokens"), ("output", "output_tokens")):
        if field not in fields:
            raise WorkloadError(f"{path}:1: no column {name} (there are: {', '.join(columns)[:100]}); {_KNOWN_LAYOUTS}")
    if ("prefix" in fields) != ("prefix_tokens" in fields):
        raise WorkloadError(f"{path}:1: the columns prefix and prefix_tokens belong together; one is missing")
    kind = _CSV_KINDS.get(fields["input"].lower(), "csv")
    position = columns.index(fields["time"])
    time = row[position].strip() if position < len(row) else ""
    moments = _MOMENT.fullmatch(time) is not None
    number = None if moments else _number(time)
    return Layout(kind, columns, fields, moments, delimiter, None if number is None else per_second_since_1970(number))


def _cells(path: Path, lines: list[str], at: int, delimiter: str) -> list[str]:
    """Of one of the first lines; none where it is not there."""
    try:
        return next(csv.reader(lines[at : at + 1], delimiter=delimiter), list[str]())
    except csv.Error as error:
        raise WorkloadError(f"{path}:{at + 1}: {csv_fault(error)}") from None


def first_fault(path: Path, layout: Layout) -> str | None:
    """What is wrong with a file, at the first place where something is: file, line, column and value.

    Reads line by line, exactly and slowly (some microseconds a row): it is asked only once a file has been refused.
    """
    before: float | None = None
    zoned: bool | None = None
    unsorted: str | None = None
    tokens = 0.0
    rows = _json_rows(path) if layout.is_json else _csv_rows(path, layout)
    seen, last, rose = 0, 1, False
    try:
        for line, values in rows:
            last = line
            fault = values if isinstance(values, str) else _row_fault(values, layout)
            if fault is not None:
                return unsorted if unsorted and rose else f"{path}:{line}: {fault}"
            assert not isinstance(values, str)  # noqa: S101 - that is a fault
            seen += 1
            tokens += sum(float(values[layout.fields[field]]) for field in ("input", "output"))
            column = layout.fields["time"]
            shown = values[column]
            if layout.moments and zoned not in {None, has_zone(shown)}:
                return f"{path}:{line}: column {column}: {_shown(shown)}: {MIXED_ZONES}"
            zoned = has_zone(shown) if layout.moments else None
            time = _seconds(shown, layout)
            if before is not None and time != before and layout.in_order:
                if time > before:
                    rose = True
                elif unsorted is None:
                    unsorted = (
                        f"{path}:{line}: column {column}: {shown} is earlier than the row before; "
                        "requests must be in the order of time (sort the file)"
                    )
                if unsorted is not None and (rose or not layout.dated):
                    return unsorted
            before = time
    except UnicodeDecodeError:
        return not_utf8(path)
    except csv.Error as error:
        return f"{path}:{last + 1}: {csv_fault(error)}"
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror or error})"
    if unsorted is not None and seen < FEWEST_NEWEST_FIRST:
        return unsorted
    if not seen:
        return f"{path}: has no rows; a trace needs at least one request"
    return None if tokens else f"{path}: asks for nothing: all its requests have 0 tokens, in and out"


FEWEST_NEWEST_FIRST = 3
"""Of two requests in the wrong order nobody can say that the file has the newest first."""
MIXED_ZONES = "some times have a UTC offset (or Z) and some have none; give all of them alike"


def has_zone(text: object) -> bool:
    """Whether a date and time says its offset from UTC.

    >>> has_zone("2026-11-01T10:00:00Z"), has_zone("2026-11-01 10:00:00+02:00"), has_zone("2026-11-01 10:00:00")
    (True, True, False)
    """
    match = _MOMENT.fullmatch(str(text).strip())
    return match is not None and match[3] is not None


def _row_fault(values: dict[str, Any], layout: Layout) -> str | None:
    for field, name in layout.fields.items():
        value = values.get(name)
        if field == "time":
            number = None if layout.moments else _number(value)
            if number is not None and MOST_TIME < abs(number) < math.inf:
                return f"column {name}: {_shown(value)} is no time that can be meant"
            if _seconds(value, layout) is None or value == "":
                wanted = "a date and time such as 2023-11-16 18:17:03.97" if layout.moments else "a number"
                return f"column {name}: {_shown(value)} is not {wanted}"
        elif field in _TOKENS:
            fault = _tokens_fault(value, optional=field in {"cached", "prefix_tokens"})
            if fault is not None:
                return f"column {name}: {fault}"
        elif field == "blocks":
            listed = cast("list[Any]", value) if isinstance(value, list) else [value]
            for entry in listed:
                if not isinstance(entry, int) or isinstance(entry, bool) or not -(2**63) <= entry < 2**63:
                    return f"column {name}: {_shown(entry)} is not a list of whole numbers"
    if "cached" in layout.fields:
        cached = values[layout.fields["cached"]]
        if cached not in {"", None} and float(cached) > float(values[layout.fields["input"]]):
            return f"column {layout.fields['cached']}: {cached} cached tokens are more than the input's"
    if "prefix" in layout.fields:
        shared = values[layout.fields["prefix_tokens"]]
        if values[layout.fields["prefix"]] and shared in {"", None}:
            return f"column {layout.fields['prefix_tokens']}: a prefix needs its length"
        if shared and float(shared) > float(values[layout.fields["input"]]):
            return f"column {layout.fields['prefix_tokens']}: {shared} shared tokens are more than the input's"
    return None


def _tokens_fault(value: Any, *, optional: bool) -> str | None:
    if optional and value in {"", None}:
        return None
    number = _number(value)
    if number is None or not math.isfinite(number):
        return f"{_shown(value)} is not a number"
    if number < 0:
        return f"{_shown(value)} is negative; tokens are counted from 0"
    if number != math.floor(number):
        return f"{_shown(value)} is not a whole number of tokens"
    return f"{_shown(value)} is more than {MOST_TOKENS}" if number > MOST_TOKENS else None


def _seconds(value: Any, layout: Layout) -> float | Any:
    """A time of the file as a number to compare; None where it is none."""
    if not layout.moments:
        number = _number(value)
        return number if number is not None and abs(number) <= MOST_TIME else None
    return nanoseconds(value)


def nanoseconds(value: Any) -> int | None:
    """A date and time of day as nanoseconds since 1970; UTC where it names no zone. None where it is none."""
    match = _MOMENT.fullmatch(str(value).strip())
    if match is None:
        return None
    whole, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(whole + (zone or ""))
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _shown(value: Any) -> str:
    text = "nothing" if value in {"", None} else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) < 60 else text[:57] + "..."


def _csv_rows(path: Path, layout: Layout) -> Iterator[tuple[int, dict[str, Any] | str]]:
    with open_text_lines(path) as file:
        reader = csv.reader(file, strict=True, delimiter=layout.delimiter)
        next(reader)
        for row in reader:
            if not row:
                continue
            if len(row) != len(layout.columns):
                yield reader.line_num, f"{len(row)} columns, where the header has {len(layout.columns)}"
                return
            cells = [with_point(cell) for cell in row] if layout.delimiter == ";" else row
            yield reader.line_num, dict(zip(layout.columns, cells, strict=True))


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    import orjson

    with open_text_lines(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                values: Any = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                yield number, f"column {error.colno}: not a JSON object on one line ({error.msg})"
                return
            yield number, cast("dict[str, Any]", values) if isinstance(values, dict) else "not a JSON object"
