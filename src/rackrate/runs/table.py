"""The requests of a run as a Parquet file: written from its journal, read as records or as columns, with DuckDB.

DuckDB's memory is bounded; what it needs beyond that it keeps beside the file, or in the directory for temporary files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from rackrate.errors import RunError
from rackrate.runs.columns import LevelColumns
from rackrate.runs.records import RequestRecord
from rackrate.runs.statuses import OK

if TYPE_CHECKING:
    import duckdb

_ROWS = 2048
"""Rows of a table that are made into records at once."""
_MEMORY = "256MB"
"""What DuckDB may hold."""
_GROUP_ROWS = 30_720
"""Rows of a table that are written, and can be read, by themselves; a multiple of DuckDB's vectors of 2048."""

_COLUMNS = {
    "index": "BIGINT",
    "level": "INTEGER",
    "due_s": "DOUBLE",
    "sent_s": "DOUBLE",
    "first_byte_s": "DOUBLE",
    "first_token_s": "DOUBLE",
    "done_s": "DOUBLE",
    "status": "VARCHAR",
    "http_status": "INTEGER",
    "detail": "VARCHAR",
    "asked_input_tokens": "INTEGER",
    "asked_output_tokens": "INTEGER",
    "input_tokens": "INTEGER",
    "cached_tokens": "INTEGER",
    "output_tokens": "INTEGER",
    "finish_reason": "VARCHAR",
    "stagger": "BOOLEAN",
    "chunk_s": "DOUBLE[]",
    "session": "INTEGER",
    "turn": "INTEGER",
    "text": "VARCHAR",
}

_WHERE_UNKNOWN = {
    "output_tokens": -1,
    "input_tokens": -1,
    "cached_tokens": -1,
    "asked_output_tokens": 0,
    "asked_input_tokens": 0,
}
"""What columns have where a value is unknown."""


def pack(journal: Path, table: Path) -> None:
    """Writes the requests of a journal into a Parquet file; lines that were cut short are left out.

    Raises:
        duckdb.Error: it cannot be written.
    """
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in _COLUMNS.items())
    target = str(table).replace("'", "''")
    with _database(table.parent) as database:
        database.execute(
            f"COPY (SELECT * FROM read_json(?, format = 'newline_delimited', columns = {{{columns}}})) "  # noqa: S608
            f"TO '{target}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_GROUP_ROWS})",
            [literally(journal)],
        )


def can_pack() -> bool:
    """Whether DuckDB, of the extra `parquet`, is installed."""
    return find_spec("duckdb") is not None


def _duckdb(path: Path) -> ModuleType:
    try:
        import duckdb
    except ImportError:
        raise RunError(
            f"{path}: Parquet is read with DuckDB, which is not here: pip install 'rackrate[parquet]'"
        ) from None
    return duckdb


@contextmanager
def _database(directory: Path) -> Generator[duckdb.DuckDBPyConnection]:
    """DuckDB, in bounded memory. One thread: each would hold row groups of its own."""
    duckdb = _duckdb(directory)
    with duckdb.connect() as database:
        database.execute(f"SET memory_limit = '{_MEMORY}'")
        database.execute("SET threads = 1")
        database.execute("SET temp_directory = ?", [str(directory / ".duckdb.tmp")])
        yield database


@contextmanager
def _reading(path: Path) -> Generator[duckdb.DuckDBPyConnection]:
    """DuckDB, whose complaints become one sentence."""
    duckdb = _duckdb(path)
    try:
        with _database(path.parent) as database:
            yield database
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"{path}: cannot be read ({reason}); the run is damaged") from None


def number_in_table(path: Path) -> int:
    """How many requests a table has, by its footer."""
    with _reading(path) as database:
        row = database.execute("SELECT count(*) FROM read_parquet(?)", [literally(path)]).fetchone()
        return int(row[0]) if row is not None else 0


def read_table(path: Path) -> Iterator[RequestRecord]:
    """The requests of a table, one after the other."""
    with _reading(path) as database:
        table = database.execute("SELECT * FROM read_parquet(?)", [literally(path)])
        there = [column[0] for column in table.description or ()]
        # columns that a later version added have a default, and are not in older files
        _check(path, there)
        known = [(there.index(field.name), field.name) for field in fields(RequestRecord) if field.name in there]
        while rows := table.fetchmany(_ROWS):
            for row in rows:
                values = {name: row[at] for at, name in known}
                values["chunk_s"] = tuple(values["chunk_s"] or ())
                yield RequestRecord(**values)


def _check(path: Path, there: list[str]) -> None:
    missing = [field.name for field in fields(RequestRecord) if field.name not in there and field.default is MISSING]
    if missing:
        raise RunError(f"{path}: cannot be read (no column {missing[0]}); the run is damaged")


def fill_from_table(path: Path, by_level: Mapping[int, LevelColumns]) -> None:
    """Gives every level its requests as columns, a row group at a time."""
    import numpy as np

    file = literally(path)
    with _reading(path) as database:
        there = [row[0] for row in database.execute("DESCRIBE SELECT * FROM read_parquet(?)", [file]).fetchall()]
        _check(path, there)
        faults: dict[int, Counter[str]] = {}
        for level, status, count in database.execute(
            "SELECT level, status, count(*) FROM read_parquet(?) WHERE status <> ? GROUP BY ALL", [file, OK]
        ).fetchall():
            faults.setdefault(level, Counter())[status] = count
        groups = database.execute(
            "SELECT DISTINCT row_group_id, row_group_num_rows FROM parquet_metadata(?) ORDER BY 1", [file]
        ).fetchall()
        counts = ", ".join(f"coalesce({name}, {unknown}) AS {name}" for name, unknown in _WHERE_UNKNOWN.items())
        session = "coalesce(session, -1)" if "session" in there else "-1"
        wanted = "FROM read_parquet(?, file_row_number = true) WHERE file_row_number BETWEEN ? AND ?"
        first, before = 0, None
        for _, rows in groups:
            place = [file, first, first + rows - 1]
            first += rows
            found = _arrays(
                database,
                f"SELECT level, due_s, sent_s, coalesce(first_token_s, 'nan'::DOUBLE) AS first_s, done_s, {counts}, "
                f"coalesce(len(chunk_s), 0)::INTEGER AS pieces, status = '{OK}' AS ok, stagger, {session} AS session "
                + wanted,
                place,
            )
            times = _arrays(database, f"SELECT unnest(chunk_s) AS t {wanted}", place)["t"]
            levels = np.asarray(found["level"])
            owners = np.repeat(levels, found["pieces"])
            for level in np.unique(levels).tolist():
                columns = by_level.get(level)
                if columns is None:
                    continue
                if before is not None and columns is not before:
                    before.settle()  # levels follow one another: one of them is held at a time
                before = columns
                own = levels == level
                sessions = np.unique(np.asarray(found["session"])[own])
                columns.add_arrays(
                    {name: np.asarray(values)[own] for name, values in found.items()},
                    times[owners == level],
                    faults.pop(level, Counter()),
                    sessions[sessions >= 0].tolist(),
                )


def _arrays(database: duckdb.DuckDBPyConnection, query: str, values: list[Any]) -> dict[str, Any]:
    """What a query finds, as numpy arrays by the names of columns."""
    return cast("dict[str, Any]", database.execute(query, values).fetchnumpy())  # pyright: ignore[reportUnknownMemberType]


def literally(path: Path) -> str:
    """A path for DuckDB, which would take [, ? and * for patterns."""
    return re.sub(r"([\[?*])", r"[\1]", str(path))
