"""Recorded requests, as arrays: read from the files of others or of one's own, and written back.

They are read a slice of rows at a time, so that of a file of 10 million requests only the arrays are held.
"""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt

from rackrate.errors import WorkloadError
from rackrate.files.bounded import open_lines, open_text_lines
from rackrate.files.writing import whole_file
from rackrate.workload.csv_rows import with_point
from rackrate.workload.plain_rows import Moments, plain_columns
from rackrate.workload.trace_files import (
    FEWEST_NEWEST_FIRST,
    MOST_TIME,
    MOST_TOKENS,
    Field,
    Layout,
    detect_layout,
    first_fault,
    has_zone,
    nanoseconds,
)
from rackrate.workload.trace_units import MOONCAKE_BLOCK, block_size, units_in_words, units_per_second

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Blocks = npt.NDArray[np.int32] | npt.NDArray[np.int64]

_PIECE = 1 << 20
"""Bytes of plain rows that are read at once: what is made of them stays in the processor's cache."""
_ROWS = 1 << 13
"""Rows of other things that are read at once."""
_SLICE = 1 << 16
"""Rows that are written at once."""
_IN_MEMORY_BLOCKS = 32 << 20
"""More prefix blocks than this are kept in a temporary file that is mapped, not in memory."""


@dataclass(frozen=True, eq=False)
class Trace:
    """Requests in the order in which they arrived: arrays of one length."""

    name: str
    """The file's name."""
    arrival_s: Floats
    """Seconds from the first arrival; never falls."""
    input_tokens: Ints
    output_tokens: Ints
    cached_tokens: Ints | None = None
    """Input tokens that were served from a prefix cache, as recorded; -1 where the row has none."""
    session: Ints | None = None
    """Number of the conversation, counted from 0 in the order of appearance; -1 is none."""
    prefix: Ints | None = None
    """Number of the text with which the prompt begins, in the order of appearance; -1 is none."""
    prefix_tokens: Ints | None = None
    """How long that text is; 0 where there is none."""
    begins_s: float | None = None
    """When the first request came, in seconds since 1970 (UTC); None where the file has no dates."""
    block_ids: Blocks | None = None
    """Mooncake's hashes of all requests, one after the other: the same id is the same text, and the same before it."""
    block_start: npt.NDArray[np.int64] | None = None
    """Where each request's ids begin in `block_ids`; one more than there are requests."""
    units: str | None = None
    """What the file's numbers were taken to count, where its columns do not say."""
    block_tokens: int = MOONCAKE_BLOCK
    """Tokens that an id stands for; the last of a prompt for those that are left."""

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def duration_s(self) -> float:
        """From the first arrival to the last."""
        return float(self.arrival_s[-1])

    @property
    def records_sharing(self) -> bool:
        """Whether it says which prompts begin alike."""
        return self.block_ids is not None or self.session is not None or self.prefix is not None

    @property
    def mean_rate(self) -> float:
        """(requests - 1) / duration. [1/s]

        Raises:
            WorkloadError: one request, or all at one moment.
        """
        if not self.duration_s > 0:
            raise WorkloadError(f"{self.name}: all its requests come at one moment; they have no rate")
        return (len(self) - 1) / self.duration_s

    def blocks(self, row: int) -> Blocks | None:
        """The hashes of a request's prompt, each for `block_tokens` but the last; None where none were recorded."""
        if self.block_ids is None or self.block_start is None:
            return None
        return self.block_ids[self.block_start[row] : self.block_start[row + 1]]

    def no_longer_than(self, tokens: int) -> Trace:
        """The requests of at most so many tokens, in and out together; the others are as if they had not come.

        Raises:
            WorkloadError: there are none.
        """
        kept = self.input_tokens.astype(np.int64) + self.output_tokens <= tokens
        if not kept.any():
            raise WorkloadError(f"{self.name}: every request has more than {tokens} tokens, in and out")
        ids, start = self.block_ids, self.block_start
        if ids is not None and start is not None:
            number = np.diff(start)
            ids = ids[np.repeat(kept, number)]
            start = np.concatenate([[0], np.cumsum(number[kept])])
        times = self.arrival_s[kept]

        def cut(values: Ints | None) -> Ints | None:
            return None if values is None else values[kept]

        return replace(
            self,
            arrival_s=times - times[0],
            input_tokens=self.input_tokens[kept],
            output_tokens=self.output_tokens[kept],
            cached_tokens=cut(self.cached_tokens),
            session=cut(self.session),
            prefix=cut(self.prefix),
            prefix_tokens=cut(self.prefix_tokens),
            begins_s=None if self.begins_s is None else self.begins_s + float(times[0]),
            block_ids=ids,
            block_start=start,
        )

    def first(self, count: int) -> Trace:
        """The first `count` requests.

        Raises:
            WorkloadError: fewer than one.
        """
        if count < 1:
            raise WorkloadError(f"a trace needs at least one request, got {count}")
        start = None if self.block_start is None else self.block_start[: count + 1]
        ids = None if self.block_ids is None or start is None else self.block_ids[: start[-1]]

        def cut(values: Ints | None) -> Ints | None:
            return None if values is None else values[:count]

        return replace(
            self,
            arrival_s=self.arrival_s[:count],
            input_tokens=self.input_tokens[:count],
            output_tokens=self.output_tokens[:count],
            cached_tokens=cut(self.cached_tokens),
            session=cut(self.session),
            prefix=cut(self.prefix),
            prefix_tokens=cut(self.prefix_tokens),
            block_ids=ids,
            block_start=start,
        )


def read_trace(path: Path | str) -> Trace:
    """The requests that a file records: Azure's CSV, Mooncake's JSON lines, or a CSV of one's own; also gzipped.

    Raises:
        WorkloadError: not such a file, or a row that cannot be: the sentence has file, line and column.
    """
    path = Path(path)
    layout = detect_layout(path)
    try:
        return _read(path, layout)
    except (_RefusedError, ValueError, TypeError, OverflowError, OSError, EOFError, csv.Error) as error:
        reason = " ".join(str(error).split())[:200]
        raise WorkloadError(first_fault(path, layout) or f"{path}: cannot be read ({reason})") from None


class _RefusedError(Exception):
    """Something is wrong with the file; `first_fault` says what and where."""


_Column = Sequence[Any] | Floats


def _csv_slices(path: Path, layout: Layout) -> Iterator[Mapping[str, _Column | Moments]]:
    """The columns that are read, of so many rows at a time: in bulk while nothing is odd, then row by row."""
    places = {field: layout.columns.index(name) for field, name in layout.fields.items()}
    numbers: dict[str, int] = {
        field: place for field, place in places.items() if not (layout.moments and field == "time")
    }
    is_plain = layout.delimiter == "," and {"session", "prefix"}.isdisjoint(places)
    with open_lines(path) as file:
        file.readline()
        data = b""
        while is_plain and (data := file.read(_PIECE) + file.readline()):
            found = plain_columns(data, len(layout.columns), numbers, places["time"] if layout.moments else None)
            if found is None:
                break
            yield found
        rest = io.TextIOWrapper(file, encoding="utf-8", newline="")
        lines = chain(io.StringIO(data.decode(), newline=""), rest)
        reader = csv.reader(lines, strict=True, delimiter=layout.delimiter)
        while rows := list(islice(reader, _ROWS)):
            if layout.delimiter == ";":
                rows = [[with_point(cell) for cell in row] for row in rows]
            columns = list(zip(*filter(None, rows), strict=True))
            if columns and len(columns) != len(layout.columns):
                raise _RefusedError("a row has too few columns, or too many")
            if columns:
                yield {field: columns[place] for field, place in places.items()}


def _json_slices(path: Path, layout: Layout) -> Iterator[dict[Field, _Column]]:
    import orjson

    with open_text_lines(path) as file:
        while lines := list(islice(file, _ROWS)):
            rows: list[Any] = [orjson.loads(line) for line in lines if not line.isspace()]
            if set(map(type, rows)) - {dict}:
                raise _RefusedError("a line is no object")
            if rows:
                yield {field: [row.get(name) for row in rows] for field, name in layout.fields.items()}


def _numbers(column: _Column, unknown: float | None = None) -> Floats:
    """A column as numbers; those that are missing are `unknown`, where they may be."""
    if isinstance(column, np.ndarray):
        found = column
    elif bool in (kinds := set(map(type, column))) or (str in kinds and any("_" in str(value) for value in column)):
        # Python would read 1_0 as 10
        raise _RefusedError("a value is no number")
    elif unknown is None:
        found = np.fromiter(map(float, column), np.float64, len(column))
    else:
        found = np.array([unknown if value in {"", None} else float(value) for value in column], dtype=np.float64)
    if not np.isfinite(found).all():
        raise _RefusedError("a value is no number")
    return found


def _times(column: _Column | Moments) -> Floats:
    assert not isinstance(column, Moments)  # noqa: S101 - those are dates
    found = _numbers(column)
    if (np.abs(found) > MOST_TIME).any():
        raise _RefusedError("a time is out of range")
    return found


def _tokens(column: _Column, *, optional: bool) -> Ints:
    """Lengths; -1 where there is none, which only some may be."""
    found = _numbers(column, -1.0 if optional else None)
    if not ((found >= (-1 if optional else 0)) & (found <= MOST_TOKENS) & (found == np.floor(found))).all():
        raise _RefusedError("a length is out of range")
    unknown = 0 if isinstance(column, np.ndarray) else sum(value in {"", None} for value in column) if optional else 0
    if np.count_nonzero(found < 0) != unknown:
        raise _RefusedError("a length is negative")
    return found.astype(np.int32)


_PLAIN_MOMENT = re.compile(r"(?:1[7-9]|2[01])\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|\+00:00)?", re.ASCII)


def _is_zoned(column: _Column | Moments, layout: Layout) -> bool:
    """Whether its first time says its offset from UTC."""
    return column.zoned if isinstance(column, Moments) else layout.moments and has_zone(column[0])


def _nanoseconds(column: _Column | Moments, zoned: bool) -> npt.NDArray[np.int64]:
    """Dates and times of day as nanoseconds since 1970: differences of them are exact.

    All of a file have an offset from UTC, or none has: `zoned`.
    """
    if isinstance(column, Moments):
        if column.zoned != zoned:
            raise _RefusedError("a time with an offset from UTC and one without")
        return column.nanoseconds
    if all(map(_PLAIN_MOMENT.fullmatch, column)):
        without_zone = [value.removesuffix("Z").removesuffix("+00:00") for value in column]
        if sum(map(len, column)) - sum(map(len, without_zone)) and not zoned:
            raise _RefusedError("a time has an offset from UTC")
        if zoned and any(len(value) == len(bare) for value, bare in zip(column, without_zone, strict=True)):
            raise _RefusedError("a time has no offset from UTC")
        return np.array(without_zone, dtype="datetime64[ns]").astype(np.int64)
    if any(has_zone(value) != zoned for value in column):
        raise _RefusedError("a time with an offset from UTC and one without")
    moments = [moment for value in column if (moment := nanoseconds(value)) is not None]
    if len(moments) < len(column):
        raise _RefusedError("a time is no date and time of day")
    return np.array(moments, dtype=np.int64)


def _codes(column: _Column, names: dict[str, int]) -> Ints:
    """Names as numbers from 0 in the order of appearance; -1 where there is none."""
    number = names.setdefault
    return np.array([number(name, len(names)) if name else -1 for name in column], dtype=np.int32)


def _read(path: Path, layout: Layout) -> Trace:
    fields = layout.fields
    parts: dict[str, list[npt.NDArray[Any]]] = {field: [] for field in fields}
    names: dict[str, dict[str, int]] = {"session": {}, "prefix": {}}
    lengths: list[Ints] = []
    first: Any = None
    zoned = False
    with _BlockFile() as blocks:
        for columns in (_json_slices if layout.is_json else _csv_slices)(path, layout):
            for field, column in columns.items():
                if field == "time" or isinstance(column, Moments):
                    # differences of nanoseconds are exact, where seconds since 1970 have lost them
                    if first is None:
                        zoned = _is_zoned(column, layout)
                    times = _nanoseconds(column, zoned) if layout.moments else _times(column)
                    first = times[0] if first is None else first
                    parts["time"].append((times - first) * (1e-9 if layout.moments else 1.0))
                elif field == "blocks":
                    lengths.append(blocks.add(column))
                elif field in names:
                    parts[field].append(_codes(column, names[field]))
                else:
                    parts[field].append(_tokens(column, optional=field in {"cached", "prefix_tokens"}))
            if "prefix" in fields and np.any((parts["prefix"][-1] >= 0) & (parts["prefix_tokens"][-1] < 0)):
                raise _RefusedError("a prefix without its length")
        if not parts["time"]:
            raise _RefusedError("no rows")
        block_ids = blocks.all() if "blocks" in fields else None
    found = {field: np.concatenate(parts.pop(field)) for field in fields if field != "blocks"}
    arrival_s = found["time"]
    counts = np.concatenate(lengths) if block_ids is not None else None
    begins = float(first) * 1e-9 if layout.moments else float(first) / (layout.since_1970 or 1)
    if (np.diff(arrival_s) < 0).any():
        newest_first = layout.dated and len(arrival_s) >= FEWEST_NEWEST_FIRST and bool((np.diff(arrival_s) <= 0).all())
        if layout.in_order and not newest_first:
            raise _RefusedError("times are not sorted")
        # an export with the newest first: rows of one moment stand in reverse, too
        order = np.argsort(arrival_s, kind="stable") if not layout.in_order else np.arange(len(arrival_s))[::-1]
        found = {field: values[order] for field, values in found.items()}
        if block_ids is not None and counts is not None:
            block_ids, counts = _reordered(block_ids, counts, order), counts[order]
        begins += float(found["time"][0]) / (layout.since_1970 or 1)
        arrival_s = found["time"] - found["time"][0]
    block = MOONCAKE_BLOCK if counts is None else block_size(path, layout.stated, found["input"], counts)
    if layout.is_json and not layout.dated:
        proven = counts is not None and bool((counts > 1).any())
        per_second = units_per_second(path, layout.stated, arrival_s, block if proven else None)
    else:
        per_second = layout.since_1970
    if per_second not in {None, 1}:
        arrival_s /= per_second
    cached, prefix, shared = found.get("cached"), found.get("prefix"), found.get("prefix_tokens")
    for inside in (cached, shared):
        if inside is not None and (inside > found["input"]).any():
            raise _RefusedError("more tokens are cached or shared than there are")
    if prefix is not None and shared is not None:
        shared[(prefix < 0) | (shared < 0)] = 0
    if not (found["input"].any() or found["output"].any()):
        raise _RefusedError("no tokens")
    start = None if counts is None else np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
    return Trace(
        path.name, arrival_s, found["input"], found["output"], cached, found.get("session"), prefix, shared,
        begins if layout.dated else None, block_ids, start, units_in_words(layout.is_json, per_second, counts, block),
        block,
    )  # fmt: skip


def _reordered(ids: Blocks, counts: Ints, order: npt.NDArray[np.int64]) -> Blocks:
    """The hashes of all requests where these come in another order."""
    ends = np.cumsum(counts, dtype=np.int64)
    return cast("Blocks", np.concatenate([ids[ends[row] - counts[row] : ends[row]] for row in order.tolist()]))


class _BlockFile:
    """The hashes of all requests in a temporary file, which stays mapped where they are many."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the context
        self._count = 0
        self._is_small = True

    def add(self, column: _Column) -> Ints:
        """Appends each request's hashes; how many each has."""
        if set(map(type, column)) - {list} or set(map(type, chain.from_iterable(column))) - {int}:
            raise _RefusedError("hashes are no list of whole numbers")
        ids = np.fromiter(chain.from_iterable(column), dtype=np.int64)
        self._is_small &= not len(ids) or bool(ids.min() >= 0 and ids.max() < 2**31)
        self._count += len(ids)
        ids.tofile(self._file)
        return np.fromiter(map(len, column), dtype=np.int32, count=len(column))

    def all(self) -> Blocks:
        """All of them in order."""
        self._file.seek(0)
        if self._count > _IN_MEMORY_BLOCKS:
            return np.memmap(cast("Any", self._file), dtype=np.int64, mode="r+", shape=(self._count,))
        ids = np.fromfile(self._file, dtype=np.int64)
        return ids.astype(np.int32) if self._is_small else ids

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def write_trace(trace: Trace, path: Path | str) -> None:
    """Writes requests so that `read_trace` reads them back alike: JSON lines to a name that ends so, else CSV.

    Raises:
        WorkloadError: the file cannot be written, or its kind cannot hold what the trace has.
    """
    path = Path(path)
    as_json = path.suffix == ".jsonl"
    lost = [
        name
        for name in (("cached_tokens", "session", "prefix") if as_json else ("block_ids",))
        if getattr(trace, name) is not None
    ]
    if lost:
        other = "a name that ends in .csv" if as_json else "a name that ends in .jsonl"
        raise WorkloadError(f"{path}: has no place for {', '.join(lost)}; give {other}")
    try:
        with whole_file(path) as file:
            for at in range(0, len(trace), _SLICE):
                file.writelines(
                    line.encode() for line in (_json_lines if as_json else _csv_lines)(trace, at, at + _SLICE)
                )
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be written ({error.strerror or error})") from None


def _csv_lines(trace: Trace, begin: int, end: int) -> Iterator[str]:
    columns: dict[str, list[Any]] = {
        "time_s": trace.arrival_s[begin:end].tolist(),
        "input_tokens": trace.input_tokens[begin:end].tolist(),
        "output_tokens": trace.output_tokens[begin:end].tolist(),
    }
    for name in ("cached_tokens", "session", "prefix", "prefix_tokens"):
        values: Ints | None = getattr(trace, name)
        if values is not None:
            columns[name] = ["" if value < 0 else value for value in values[begin:end].tolist()]
    if begin == 0:
        yield ",".join(columns) + "\n"
    for row in zip(*columns.values(), strict=True):
        yield ",".join(map(str, row)) + "\n"


def _json_lines(trace: Trace, begin: int, end: int) -> Iterator[str]:
    # what a reader could take for seconds, or for blocks of 512, is stated in the first line
    blocks_are = "" if trace.block_ids is None else f', "block_tokens": {trace.block_tokens}'
    stated = f', "time_unit": "ms"{blocks_are}' if begin == 0 else ""
    for row in range(begin, min(end, len(trace))):
        milliseconds = float(trace.arrival_s[row]) * 1000
        time = round(milliseconds) if abs(milliseconds - round(milliseconds)) < 1e-6 else milliseconds
        blocks = trace.blocks(row)
        hashes = f', "hash_ids": {blocks.tolist()}' if blocks is not None else ""
        yield (
            f'{{"timestamp": {time}, "input_length": {trace.input_tokens[row]}, '
            f'"output_length": {trace.output_tokens[row]}{hashes}{stated}}}\n'
        )
        stated = ""
