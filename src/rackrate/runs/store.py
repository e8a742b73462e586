"""Run directories: run.json, and the requests as a journal, or as Parquet where that would be large.

run.json is replaced whole, so a reader never sees half of it; requests.jsonl is appended to, a line a request, without
a buffer, so a kill loses nothing that had ended; `finish` packs a large one into requests.parquet where
the extra `parquet` is installed. Either can be read.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast, overload

import orjson
from pydantic import ValidationError

from rackrate.errors import RunError
from rackrate.runs.columns import LevelColumns
from rackrate.runs.records import FORMAT_VERSION, READABLE_FORMATS, RequestRecord, Run, RunHeader
from rackrate.runs.table import can_pack, fill_from_table, number_in_table, read_table
from rackrate.runs.table import pack as pack_table

HEADER = "run.json"
JOURNAL = "requests.jsonl"
TABLE = "requests.parquet"

PACK_BYTES = 32 * 2**20
"""A journal larger than this (some 20,000 requests of 64 tokens) is packed: a quarter of the size, read by columns.
Packing needs DuckDB, which would be most of the memory that measuring a small run takes."""


_MANY = 20_000
"""More requests than so many of a table stay in it."""


class RunWriter:
    """Writes a run directory as it is measured. Use it as a context; leaving it closes the journal."""

    def __init__(self, directory: Path, header: RunHeader, before: Run | None = None) -> None:
        """Makes the directory, or resumes the run `before` that it holds.

        Raises:
            RunError: it holds another run already, or cannot be made.
        """
        self.directory = directory
        self.header = header
        if before is None and (directory / HEADER).exists():
            raise RunError(
                f"{directory} already holds a run; give {{out}} another directory, or remove it", field="out"
            )
        with self._as_run_error(""):
            directory.mkdir(parents=True, exist_ok=True)
            if before is not None:
                self._restore(before)
            # unbuffered: what was written survives a kill at once, for a few microseconds a request
            self._journal = (directory / JOURNAL).open("ab" if before is not None else "wb", buffering=0)
        self.save_header()

    def _restore(self, before: Run) -> None:
        """The journal of a run that is resumed: without a torn line, and unpacked if it was packed."""
        if not (self.directory / TABLE).exists() and not before.torn_lines:
            return
        temporary = self.directory / (JOURNAL + ".new")
        with temporary.open("wb") as file:
            for record in before.requests:
                file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        temporary.replace(self.directory / JOURNAL)
        (self.directory / TABLE).unlink(missing_ok=True)

    def add(self, record: RequestRecord) -> None:
        """Appends one request to the journal."""
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        with self._as_run_error():
            while line:  # a disk that is nearly full takes a part
                line = line[self._journal.write(line) :]

    @contextmanager
    def _as_run_error(self, further: str = " further") -> Generator[None]:
        """A full disk and the like become one sentence."""
        try:
            yield
        except OSError as error:
            kept = "; what was written before is kept" if further else ""
            raise RunError(
                f"{self.directory}: the run cannot be written{further} ({error.strerror or error}){kept}"
            ) from None

    def save_header(self) -> None:
        """Replaces run.json whole. Raises RunError where it cannot."""
        text = self.header.model_dump_json(indent=2) + "\n"
        temporary = self.directory / (HEADER + ".new")
        with self._as_run_error():
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.directory / HEADER)

    def finish(self, *, pack: bool | None = None) -> None:
        """Closes the run; packs its journal into Parquet if that is large and DuckDB is installed (or as told).

        The header should have its final state by now.
        """
        self.close()
        self.save_header()
        journal, table = self.directory / JOURNAL, self.directory / TABLE
        with self._as_run_error():
            large = journal.stat().st_size > PACK_BYTES
        if not (large and can_pack() if pack is None else pack):
            return
        import duckdb

        temporary = table.with_suffix(".parquet.new")
        try:
            pack_table(journal, temporary)
        except duckdb.Error as error:
            reason = " ".join(str(error).split())
            raise RunError(
                f"{self.directory}: the run cannot be written further ({reason}); the journal is kept"
            ) from None
        with self._as_run_error():
            temporary.replace(table)
            journal.unlink()

    def close(self) -> None:
        """Closes the journal. Raises RunError where the system says only now that it could not be written."""
        with self._as_run_error():
            self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            with suppress(RunError):  # what went wrong first is what must be said
                self.close()


def write_run(directory: Path, run: Run) -> None:
    """Writes a whole run. Raises RunError where it cannot be written."""
    with RunWriter(directory, run.header) as writer:
        for record in run.requests:
            writer.add(record)
        writer.finish()


def read_run(directory: Path) -> Run:
    """The run that a directory holds, finished or not. The requests of a large one stay in its file: see `Stored`.

    Raises:
        RunError: nothing there, not a run, of a newer format, or damaged; the sentence says which and where.
    """
    header = _read_header(directory)
    table, journal = directory / TABLE, directory / JOURNAL
    path = table if table.exists() else journal
    if not path.exists():
        raise RunError(f"{directory}: the run has a header but neither {TABLE} nor {JOURNAL}; its requests are lost")
    stored = Stored(path)
    try:
        large = path.stat().st_size > PACK_BYTES
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None
    if path is table and not large:
        large = len(stored) > _MANY
    records = stored if large else list(iter(stored))
    return Run(header, records, stored.torn_lines if path is journal else 0)


class Stored(Sequence[RequestRecord]):
    """The requests in a file of a run, read anew each time they are gone through, some at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._torn: int | None = None
        self._number: int | None = None

    @property
    def torn_lines(self) -> int:
        """Lines of a journal that were cut short by a kill."""
        if self._torn is None:
            self._number, self._torn = self._counted()
        return self._torn

    def __len__(self) -> int:
        if self._number is None:
            self._number, self._torn = self._counted()
        return self._number

    def _counted(self) -> tuple[int, int]:
        """Requests and torn lines; of a journal without reading lines that look whole."""
        if self._path.name != JOURNAL:
            return number_in_table(self._path), 0
        number = torn = 0
        try:
            with self._path.open("rb") as file:
                for line in file:
                    whole = line.startswith(b'{"index":') and line.endswith(b"}\n") and line.count(b'"index":') == 1
                    if whole or _read_line(line) is not None:
                        number += 1
                    else:
                        torn += 1
        except OSError as error:
            raise RunError(f"{self._path}: cannot be read ({error.strerror or error})") from None
        return number, torn

    def fill(self, by_level: Mapping[int, LevelColumns]) -> None:
        """See `columns.Columnar`."""
        if self._path.name == TABLE:
            fill_from_table(self._path, by_level)
            return
        before: LevelColumns | None = None
        for values in _lines(self._path):
            columns = by_level.get(values["level"])
            if columns is None:
                continue
            if before is not None and columns is not before:
                before.settle()  # levels follow one another: one of them is held at a time
            before = columns
            with suppress(KeyError, TypeError, OverflowError):
                columns.add_values(values)

    def __iter__(self) -> Iterator[RequestRecord]:
        return read_table(self._path) if self._path.name == TABLE else _read_journal(self._path)

    @overload
    def __getitem__(self, index: int) -> RequestRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[RequestRecord]: ...
    def __getitem__(self, index: int | slice) -> RequestRecord | list[RequestRecord]:
        if isinstance(index, slice):
            return list(self)[index]
        wanted = index + len(self) if index < 0 else index
        for number, record in enumerate(self):
            if number == wanted:
                return record
        raise IndexError(index)


def _read_header(directory: Path) -> RunHeader:
    path = directory / HEADER
    if not directory.exists():
        raise RunError(f"{directory}: no such run directory")
    if not directory.is_dir():
        raise RunError(f"{directory}: is a file; a run is a directory with a {HEADER} in it")
    try:
        values = cast("dict[str, Any]", orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        raise RunError(f"{directory}: not a run directory (it has no {HEADER})") from None
    except orjson.JSONDecodeError as error:
        raise RunError(f"{path}:{error.lineno}:{error.colno}: not valid JSON; the run is damaged") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None
    written = values.get("format") if isinstance(values, dict) else None  # pyright: ignore[reportUnnecessaryIsInstance]
    if written is not None and written not in READABLE_FORMATS:
        age = "a newer" if isinstance(written, int) and written > FORMAT_VERSION else "another"
        raise RunError(f"{path}: written by {age} rackrate (format {written}; this one reads {FORMAT_VERSION})")
    try:
        return RunHeader.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RunError(f"{path}: {place}: {first['msg']}; the run is damaged or not rackrate's") from None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal that are JSON objects."""
    try:
        with path.open("rb") as file:
            for line in file:
                with suppress(orjson.JSONDecodeError):
                    values = orjson.loads(line)
                    if isinstance(values, dict) and "level" in values:
                        yield cast("dict[str, Any]", values)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None


def _read_journal(path: Path) -> Iterator[RequestRecord]:
    try:
        with path.open("rb") as file:
            for line in file:
                record = _read_line(line)
                if record is not None:
                    yield record
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None


def _read_line(line: bytes) -> RequestRecord | None:
    """The request in a line of a journal; None where it was cut short."""
    try:
        values: dict[str, Any] = orjson.loads(line)
        values["chunk_s"] = tuple(values["chunk_s"])
        return RequestRecord(**values)
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return None
