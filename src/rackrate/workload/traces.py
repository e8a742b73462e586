"""Recorded requests, as arrays: read out of core from the files of others or of one's own, and written back.

The reading is DuckDB's, a slice of rows at a time, so that a file of 10 million requests takes some hundred megabytes.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from rackrate.errors import WorkloadError
from rackrate.workload.trace_files import MOST_TOKENS, Field, Layout, detect_layout, first_fault

if TYPE_CHECKING:
    import duckdb

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Blocks = npt.NDArray[np.int32] | npt.NDArray[np.int64]

_SLICE = 1 << 20
_MEMORY = "256MB"
"""DuckDB's share; what does not fit is spilled to a temporary directory."""
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
    block_ids: Blocks | None = None
    """Mooncake's hashes of all requests, one after the other: the same id is the same text, and the same before it."""
    block_start: npt.NDArray[np.int64] | None = None
    """Where each request's ids begin in `block_ids`; one more than there are requests."""

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
        """The hashes of a request's prompt, each for 512 tokens but the last; None where none were recorded."""
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

        return Trace(
            self.name,
            times - times[0],
            self.input_tokens[kept],
            self.output_tokens[kept],
            cached_tokens=cut(self.cached_tokens),
            session=cut(self.session),
            prefix=cut(self.prefix),
            prefix_tokens=cut(self.prefix_tokens),
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

        return Trace(
            self.name,
            self.arrival_s[:count],
            self.input_tokens[:count],
            self.output_tokens[:count],
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
    import duckdb

    path = Path(path)
    layout = detect_layout(path)
    with tempfile.TemporaryDirectory(prefix="rackrate-") as spill, duckdb.connect() as database:
        database.execute(f"SET memory_limit = '{_MEMORY}'")
        database.execute("SET threads = 2")
        database.execute("SET temp_directory = ?", [spill])
        try:
            _load(database, path, layout)
            trace = _collect(database, path, layout)
        except (duckdb.Error, _RefusedError) as error:
            reason = " ".join(str(error).split())[:200]
            raise WorkloadError(first_fault(path, layout) or f"{path}: cannot be read ({reason})") from None
    return trace


class _RefusedError(Exception):
    """Something is wrong with the file; `first_fault` says what and where."""


_TYPES: dict[Field, str] = {"session": "VARCHAR", "prefix": "VARCHAR", "blocks": "BIGINT[]"}


def _load(database: duckdb.DuckDBPyConnection, path: Path, layout: Layout) -> None:
    """The file as the table `rows`. Lengths come as doubles, so that 3.5 tokens are seen and not rounded."""
    by_column: dict[str, Field] = {column: field for field, column in layout.fields.items()}

    def kind(column: str) -> str:
        field = by_column.get(column)
        if field is None:
            return "VARCHAR"
        return "TIMESTAMP_NS" if field == "time" and layout.moments else _TYPES.get(field, "DOUBLE")

    listed = ", ".join(f"{_quoted(column)}: '{kind(column)}'" for column in layout.columns)
    select = ", ".join(f'{_name(column)} AS "{field}"' for field, column in layout.fields.items())
    if layout.kind == "mooncake":
        source = f"read_json($1, format = 'newline_delimited', columns = {{{listed}}})"
    else:
        source = (
            f"read_csv($1, header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', "
            f"columns = {{{listed}}})"
        )
    # DuckDB would take [, ? and * for patterns
    literally = re.sub(r"([\[?*])", r"[\1]", str(path))
    database.execute(f"CREATE TEMP TABLE rows AS SELECT {select} FROM {source}", [literally])  # noqa: S608


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _collect(database: duckdb.DuckDBPyConnection, path: Path, layout: Layout) -> Trace:
    count = cast("tuple[int]", database.execute("SELECT count(*) FROM rows").fetchone())[0]
    if not count:
        raise _RefusedError("no rows")
    arrival_s = np.empty(count, dtype=np.float64)
    first: Any = None
    for at, column in _slices(database, "epoch_ns(time)" if layout.moments else "time", count):
        # differences of nanoseconds are exact, where seconds since 1970 have lost them
        numbers = column if layout.moments else np.asarray(column, dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise _RefusedError("a time is no number")
        first = numbers[0] if first is None else first
        arrival_s[at : at + len(numbers)] = (numbers - first) * (1e-9 if layout.moments else 1.0)
    if layout.time_unit_s != 1.0:
        arrival_s /= round(1 / layout.time_unit_s)
    if (np.diff(arrival_s) < 0).any():
        raise _RefusedError("times are not sorted")

    def tokens(field: Field) -> Ints:
        found = np.empty(count, dtype=np.int32)
        missing = {"cached": -1, "prefix_tokens": 0}.get(field)
        value = f'"{field}"' if missing is None else f'coalesce("{field}", {missing})'
        for at, column in _slices(database, value, count):
            part = np.asarray(column, dtype=np.float64)
            least = 0 if missing is None else missing
            if not ((part >= least) & (part <= MOST_TOKENS) & (part == np.floor(part))).all():
                raise _RefusedError(f"{field} out of range")
            found[at : at + len(part)] = part
        if missing == -1 and cast("tuple[int]", _one(database, "count(*) FILTER (cached < 0)"))[0]:
            raise _RefusedError("cached is negative")
        return found

    lengths = tokens("input"), tokens("output")
    has = layout.fields
    cached = tokens("cached") if "cached" in has else None
    shared = tokens("prefix_tokens") if "prefix" in has else None
    prefix = _codes(database, "prefix", count) if "prefix" in has else None
    if prefix is not None and shared is not None:
        unnamed = cast("tuple[int]", _one(database, "count(*) FILTER (prefix <> '' AND prefix_tokens IS NULL)"))[0]
        if unnamed or (shared > lengths[0]).any():
            raise _RefusedError("a prefix without its length, or longer than the input")
        shared[prefix < 0] = 0
    if cached is not None and (cached > lengths[0]).any():
        raise _RefusedError("more cached than there are")
    block_ids, block_start = _blocks(database, count) if "blocks" in has else (None, None)
    session = _codes(database, "session", count) if "session" in has else None
    return Trace(path.name, arrival_s, *lengths, cached, session, prefix, shared, block_ids, block_start)


def _one(database: duckdb.DuckDBPyConnection, value: str) -> tuple[Any, ...]:
    return cast("tuple[Any, ...]", database.execute(f"SELECT {value} FROM rows").fetchone())  # noqa: S608


def _slices(database: duckdb.DuckDBPyConnection, value: str, count: int) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """An expression over all rows in order: where a slice begins, and its values. A missing one is refused."""
    for at in range(0, count, _SLICE):
        rows = f"rowid >= {at} AND rowid < {at + _SLICE}"
        yield at, _column(database, f"SELECT {value} AS value FROM rows WHERE {rows}")  # noqa: S608


def _column(database: duckdb.DuckDBPyConnection, query: str) -> npt.NDArray[Any]:
    """The column `value` of a query. A missing value is refused."""
    fetched = cast("dict[str, Any]", cast("Any", database.execute(query)).fetchnumpy())["value"]
    if isinstance(fetched, np.ma.MaskedArray) and bool(np.any(cast("Any", np.ma.getmaskarray(cast("Any", fetched))))):
        raise _RefusedError("a value is missing")
    return np.asarray(cast("Any", fetched))


def _codes(database: duckdb.DuckDBPyConnection, field: Field, count: int) -> Ints:
    """Names as numbers from 0 in the order of appearance; -1 where there is none."""
    kind = f"{field}_names"
    database.execute(f"CREATE TYPE {kind} AS ENUM (SELECT DISTINCT {field} FROM rows WHERE {field} <> '')")  # noqa: S608
    codes = np.empty(count, dtype=np.int32)
    value = f"coalesce(enum_code(nullif({field}, '')::{kind})::INTEGER, -1)"
    for at, column in _slices(database, value, count):
        codes[at : at + len(column)] = column
    names, first = np.unique(codes, return_index=True)
    names, first = names[names >= 0], first[names >= 0]
    order = np.empty(len(names) + 1, dtype=np.int32)
    order[-1] = -1  # reached by the code -1
    order[names[np.argsort(first)]] = np.arange(len(names), dtype=np.int32)
    return order[codes]


def _blocks(database: duckdb.DuckDBPyConnection, count: int) -> tuple[Blocks, npt.NDArray[np.int64]]:
    """All hashes in order, and where each request's begin."""
    start = np.zeros(count + 1, dtype=np.int64)
    for at, column in _slices(database, "len(blocks)", count):
        start[at + 1 : at + 1 + len(column)] = column
    np.cumsum(start, out=start)
    least, most = _one(database, "min(list_min(blocks)), max(list_max(blocks))")
    small = least is None or (least >= 0 and most < 2**31)
    total = int(start[-1])
    ids = _room_for(total, np.dtype(np.int32 if small else np.int64))
    done = 0
    step = max(1, int(_SLICE * count / max(total, count)))
    for at in range(0, count, step):
        rows = f"rowid >= {at} AND rowid < {at + step}"
        found = _column(database, f"SELECT unnest(blocks) AS value FROM rows WHERE {rows}")  # noqa: S608
        ids[done : done + len(found)] = found
        done += len(found)
    return ids, start


def _room_for(count: int, kind: np.dtype[Any]) -> Blocks:
    """An array; a large one lies in a temporary file, which goes when the array does."""
    if count <= _IN_MEMORY_BLOCKS:
        return np.empty(count, dtype=kind)
    with tempfile.TemporaryFile() as file:
        return np.memmap(cast("Any", file), dtype=kind, mode="w+", shape=(count,))


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
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for at in range(0, len(trace), _SLICE >> 4):
                file.writelines((_json_lines if as_json else _csv_lines)(trace, at, at + (_SLICE >> 4)))
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
    for row in range(begin, min(end, len(trace))):
        milliseconds = float(trace.arrival_s[row]) * 1000
        time = round(milliseconds) if abs(milliseconds - round(milliseconds)) < 1e-6 else milliseconds
        blocks = trace.blocks(row)
        hashes = f', "hash_ids": {blocks.tolist()}' if blocks is not None else ""
        yield (
            f'{{"timestamp": {time}, "input_length": {trace.input_tokens[row]}, '
            f'"output_length": {trace.output_tokens[row]}{hashes}}}\n'
        )
