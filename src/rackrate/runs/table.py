"""The requests of a run as a Parquet file: written from its journal, read as records or as columns, with DuckDB.

DuckDB's memory is bounded; what it needs beyond that it keeps beside the file, or in the directory for temporary files.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from rackrate.errors import RunError
from rackrate.files import refuse_other_than_file
from rackrate.runs.columns import LevelColumns
from rackrate.runs.lines import MOST_SECONDS, fault_of
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
        database.execute("SET autoinstall_known_extensions = false")  # nothing is fetched for a stranger's file
        database.execute("SET autoload_known_extensions = false")
        database.execute("SET temp_directory = ?", [str(directory / "duckdb")])
        yield database


@contextmanager
def _reading(path: Path) -> Generator[duckdb.DuckDBPyConnection]:
    """DuckDB, whose complaints become one sentence. It writes nothing beside the file, which may be a stranger's."""
    duckdb = _duckdb(path)
    try:
        refuse_other_than_file(path, links=False)
        with tempfile.TemporaryDirectory(prefix="rackrate-") as spare, _database(Path(spare)) as database:
            yield database
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None
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
        there = _checked_columns(path, database)
        table = database.execute("SELECT * FROM read_parquet(?)", [literally(path)])
        known = [(there.index(field.name), field.name) for field in fields(RequestRecord) if field.name in there]
        while rows := table.fetchmany(_ROWS):
            for row in rows:
                values = {name: row[at] for at, name in known}
                values["chunk_s"] = tuple(values["chunk_s"] or ())
                fault = fault_of(values)
                if fault is not None:
                    raise RunError(f"{path}: {fault}; the run is damaged")
                yield RequestRecord(**values)


def _checked_columns(path: Path, database: duckdb.DuckDBPyConnection) -> list[str]:
    """The names of a table's columns. Raises RunError where one is missing or holds something else.

    Columns that a later version added have a default, and are not in older files.
    """
    described = database.execute("DESCRIBE SELECT * FROM read_parquet(?)", [literally(path)]).fetchall()
    kinds: dict[str, str] = {row[0]: row[1] for row in described}
    missing = [field.name for field in fields(RequestRecord) if field.name not in kinds and field.default is MISSING]
    if missing:
        raise RunError(f"{path}: cannot be read (no column {missing[0]}); the run is damaged")
    for name, kind in kinds.items():
        if name in _COLUMNS and kind != _COLUMNS[name]:
            raise RunError(f"{path}: cannot be read (column {name} holds {kind}, not {_COLUMNS[name]}); it is damaged")
    return list(kinds)


def fill_from_table(path: Path, by_level: Mapping[int, LevelColumns]) -> None:
    """Gives every level its requests as columns, a row group at a time."""
    import numpy as np

    file = literally(path)
    with _reading(path) as database:
        there = _checked_columns(path, database)
        faults: dict[int, Counter[str]] = {}
        for level, status, count in database.execute(
            "SELECT level, status, count(*) FROM read_parquet(?) WHERE status <> ? GROUP BY ALL", [file, OK]
        ).fetchall():
            faults.setdefault(level, Counter())[status] = count
        said: dict[int, dict[str, str]] = {}
        for level, status, detail in database.execute(
            "SELECT level, status, first(detail ORDER BY done_s) FROM read_parquet(?) "
            "WHERE status <> ? AND detail <> '' GROUP BY level, status",
            [file, OK],
        ).fetchall():
            said.setdefault(level, {})[status] = detail
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
            _check_values(path, {**found, "chunk_s": times})
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
                    said.pop(level, {}),
                )


def _check_values(path: Path, found: Mapping[str, Any]) -> None:
    """Raises RunError where a value is missing that no request lacks, or a time or a count cannot be one."""
    import numpy as np

    for name, values in found.items():
        plain = np.ma.getdata(values)
        at_most = MOST_SECONDS if plain.dtype.kind == "f" else 2**63 - 1
        wrong = np.ma.getmaskarray(values) | (plain > at_most) | (plain < -at_most)
        if name != "first_s" and plain.dtype.kind == "f":
            wrong |= np.isnan(plain)
        if wrong.any():
            raise RunError(f"{path}: cannot be read ({name} of a request is {plain[wrong.argmax()]}); it is damaged")


def _arrays(database: duckdb.DuckDBPyConnection, query: str, values: list[Any]) -> dict[str, Any]:
    """What a query finds, as numpy arrays by the names of columns."""
    return cast("dict[str, Any]", database.execute(query, values).fetchnumpy())  # pyright: ignore[reportUnknownMemberType]


def literally(path: Path) -> str:
    """A path for DuckDB, which would take [, ? and * for patterns."""
    return re.sub(r"([\[?*])", r"[\1]", str(path))
