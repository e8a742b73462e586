"""Run directories: run.json, and the requests as a journal, or as Parquet where that would be large.

run.json is replaced whole, so a reader never sees half of it; requests.jsonl is appended to, a line a request, without
a buffer, so a kill loses nothing that had ended; `finish` packs a large one into requests.parquet where
the extra `parquet` is installed. Either can be read.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast, overload

import orjson
from pydantic import ValidationError

from rackrate.bounds import shown
from rackrate.errors import RunError
from rackrate.files import is_directory, is_there, read_bytes, refuse_other_than_file
from rackrate.files.bounded import open_lines
from rackrate.files.locks import DirectoryLock
from rackrate.files.writing import PRIVATE_FILE, open_within, whole_file, write_whole
from rackrate.runs.columns import LevelColumns
from rackrate.runs.directories import lock_run
from rackrate.runs.lines import KEYS, NEEDED, fault_of
from rackrate.runs.records import FORMAT_VERSION, READABLE_FORMATS, RequestRecord, Run, RunHeader
from rackrate.runs.table import can_pack, fill_from_table, number_in_table, read_table
from rackrate.runs.table import pack as pack_table

HEADER = "run.json"
JOURNAL = "requests.jsonl"
TABLE = "requests.parquet"

_FILES = frozenset({HEADER, JOURNAL, TABLE, "power.csv", "quality.json", "request.json", "engine.log"})
"""What a run directory holds that no other command's result may take the place of (docs/run-format.md)."""

PACK_BYTES = 32 * 2**20
"""A journal larger than this (some 20,000 requests of 64 tokens) is packed: a quarter of the size, read by columns.
Packing needs DuckDB, which would be most of the memory that measuring a small run takes."""


_MANY = 20_000
"""More requests than so many of a table stay in it."""
_MOST_HEADER = 256 << 20
"""Bytes of a header; a level takes some 1,000."""


def is_of_a_run(path: Path) -> bool:
    """Whether a file of this name belongs to the run in its directory, if there is one."""
    return path.name in _FILES and is_there(path.parent / HEADER)


class RunWriter:
    """Writes a run directory as it is measured. Use it as a context; leaving it closes the journal."""

    def __init__(
        self, directory: Path, header: RunHeader, before: Run | None = None, lock: DirectoryLock | None = None
    ) -> None:
        """Makes the directory, or resumes the run `before` that it holds.

        Args:
            directory: of the run. What is written there only the user can read.
            header: of the run.
            before: what is resumed.
            lock: on the directory, where the caller has it; it is released at the end.

        Raises:
            RunError: it holds another run already, another process writes to it, or it cannot be made.
        """
        self.directory = directory
        self.header = header
        self._lock = lock or lock_run(directory)
        try:
            self._open(before)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, before: Run | None) -> None:
        directory = self.directory
        if before is None and (directory / HEADER).exists():
            raise RunError(
                f"{directory} already holds a run; give {{out}} another directory, or remove it", field="out"
            )
        if before is not None and _read_header(directory).resumed != before.header.resumed:
            raise RunError(f"{directory}: another process resumed the run meanwhile; do that again")
        with self._as_run_error(""):
            if before is not None:
                self._restore(before)
            # unbuffered: what was written survives a kill at once, for a few microseconds a request
            self._journal = open_within(directory / JOURNAL, append=before is not None)
        self.save_header()

    def _restore(self, before: Run) -> None:
        """The journal of a run that is resumed: without a torn line, and unpacked if it was packed."""
        if not (self.directory / TABLE).exists() and not before.torn_lines:
            return
        with whole_file(self.directory / JOURNAL, private=True) as file:
            for record in before.requests:
                file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
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
        with self._as_run_error():
            write_whole(self.directory / HEADER, self.header.model_dump_json(indent=2) + "\n", private=True)

    def finish(self, *, pack: bool | None = None) -> None:
        """Closes the run; packs its journal into Parquet if that is large and DuckDB is installed (or as told).

        The header should have its final state by now.
        """
        self._close_journal()
        try:
            self.save_header()
            journal = self.directory / JOURNAL
            with self._as_run_error():
                large = journal.stat().st_size > PACK_BYTES
            if large and can_pack() if pack is None else pack:
                self._pack(journal)
        finally:
            self._lock.release()

    def _pack(self, journal: Path) -> None:
        import duckdb

        with self._as_run_error(), tempfile.TemporaryDirectory(prefix=".rackrate-", dir=self.directory) as own:
            temporary = Path(own) / TABLE
            try:
                pack_table(journal, temporary)
            except duckdb.Error as error:
                reason = " ".join(str(error).split())
                raise RunError(
                    f"{self.directory}: the run cannot be written further ({reason}); the journal is kept"
                ) from None
            temporary.chmod(PRIVATE_FILE)
            temporary.replace(self.directory / TABLE)
            journal.unlink()

    def close(self) -> None:
        """Closes the journal. Raises RunError where the system says only now that it could not be written."""
        try:
            self._close_journal()
        finally:
            self._lock.release()

    def _close_journal(self) -> None:
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
    path = table if os.path.lexists(table) else journal  # what links lead to is not asked
    if not os.path.lexists(path):
        raise RunError(f"{directory}: the run has a header but neither {TABLE} nor {JOURNAL}; its requests are lost")
    stored = Stored(path)
    try:
        refuse_other_than_file(path, links=False)
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
            with open_lines(self._path, links=False) as file:
                for line in file:
                    whole = line.startswith(b'{"index":') and line.endswith(b"}\n") and line.count(b'"index":') == 1
                    if whole or _values_in(line) is not None:
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
        for values in _requests(self._path):
            columns = by_level.get(values["level"])
            if columns is None:
                continue
            if before is not None and columns is not before:
                before.settle()  # levels follow one another: one of them is held at a time
            before = columns
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
    if not is_there(directory):
        raise RunError(f"{directory}: no such run directory")
    if not is_directory(directory):
        raise RunError(f"{directory}: is a file; a run is a directory with a {HEADER} in it")
    try:
        values = cast("dict[str, Any]", orjson.loads(read_bytes(path, _MOST_HEADER, links=False)))
    except FileNotFoundError:
        raise RunError(f"{directory}: not a run directory (it has no {HEADER})") from None
    except orjson.JSONDecodeError as error:
        raise RunError(f"{path}:{error.lineno}:{error.colno}: not valid JSON; the run is damaged") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None
    written = values.get("format") if isinstance(values, dict) else None  # pyright: ignore[reportUnnecessaryIsInstance]
    if written is not None and written not in READABLE_FORMATS:
        age = "a newer" if isinstance(written, int) and written > FORMAT_VERSION else "another"
        raise RunError(f"{path}: written by {age} rackrate (format {shown(written)}; this one reads {FORMAT_VERSION})")
    try:
        return RunHeader.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RunError(f"{path}: {place}: {first['msg']}; the run is damaged or not rackrate's") from None


def _requests(path: Path) -> Iterator[dict[str, Any]]:
    """The values of the requests in a journal, checked; lines that were cut short are left out."""
    try:
        with open_lines(path, links=False) as file:
            for number, line in enumerate(file, start=1):
                values = _values_in(line)
                if values is None:
                    continue
                fault = fault_of(values)
                if fault is not None:
                    raise RunError(f"{path}:{number}: {fault}; the run is damaged")
                yield values
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None


def _read_journal(path: Path) -> Iterator[RequestRecord]:
    for values in _requests(path):
        values["chunk_s"] = tuple(values["chunk_s"])
        yield RequestRecord(**values)


def _values_in(line: bytes) -> dict[str, Any] | None:
    """What a line of a journal says of a request; None where it was cut short, or says something else."""
    try:
        values: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(values, dict) or not NEEDED <= values.keys() <= KEYS:
        return None
    return cast("dict[str, Any]", values)
