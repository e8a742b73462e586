"""The requests of a level as columns: what a summary needs of them, in memory that does not grow with their number.

Some 65,000 requests and a million times of chunks are held; those before are in a temporary file (58 bytes a request
and 8 a chunk), and are gone through a part at a time, reading only the columns that are asked for.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from rackrate.runs.records import RequestRecord
from rackrate.runs.statuses import OK
from rackrate.runs.streams import Floats, Spill

Whole = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

HELD_REQUESTS = 65_536
"""Requests that are held in memory, and looked at together."""
HELD_TIMES = 1_000_000
"""Chunk times that are; a request's own are never divided."""
_UNKNOWN = -1
_SESSIONS_A_PAGE = 1024

_TIMES = ("due_s", "sent_s", "first_s", "done_s")
_COUNTS = ("output_tokens", "input_tokens", "cached_tokens", "asked_output_tokens", "asked_input_tokens", "pieces")
_FLAGS = ("ok", "stagger")
_TYPES: dict[str, npt.DTypeLike] = {
    **dict.fromkeys(_TIMES, np.float64),
    **dict.fromkeys(_COUNTS, np.int32),
    **dict.fromkeys(_FLAGS, np.bool_),
}


class Block:
    """Some requests, one after the other in the order in which they ended. Times in seconds since the run's start."""

    def __len__(self) -> int:
        raise NotImplementedError

    def column(self, name: str) -> npt.NDArray[Any]:
        """One of the columns by its name."""
        raise NotImplementedError

    @property
    def times(self) -> Floats:
        """When the pieces of their answers arrived, one request after the other."""
        raise NotImplementedError

    @cached_property
    def due_s(self) -> Floats:
        return self.column("due_s")

    @cached_property
    def sent_s(self) -> Floats:
        return self.column("sent_s")

    @cached_property
    def first_s(self) -> Floats:
        """Of the first token; NaN where there was none."""
        return self.column("first_s")

    @cached_property
    def done_s(self) -> Floats:
        return self.column("done_s")

    @cached_property
    def output_tokens(self) -> Whole:
        """As the server counted them, as the next two; -1 where it did not."""
        return self.column("output_tokens")

    @cached_property
    def input_tokens(self) -> Whole:
        return self.column("input_tokens")

    @cached_property
    def cached_tokens(self) -> Whole:
        return self.column("cached_tokens")

    @cached_property
    def asked_output_tokens(self) -> Whole:
        """0 where unknown, as the next."""
        return self.column("asked_output_tokens")

    @cached_property
    def asked_input_tokens(self) -> Whole:
        return self.column("asked_input_tokens")

    @cached_property
    def pieces(self) -> Whole:
        """How many pieces of text the answer came in."""
        return self.column("pieces")

    @cached_property
    def ok(self) -> Flags:
        """Whether it was answered whole."""
        return self.column("ok")

    @cached_property
    def stagger(self) -> Flags:
        return self.column("stagger")

    # what is worked out of them
    @property
    def has_first(self) -> Flags:
        return ~np.isnan(self.first_s)

    @property
    def e2e_s(self) -> Floats:
        """From due to done."""
        return self.done_s - self.due_s

    @property
    def ttft_s(self) -> Floats:
        """From due to the first token."""
        return self.first_s - self.due_s


class _Held(Block):
    """Requests that are still in memory. Views: no request can be added as long as one of their columns is held."""

    def __init__(self, values: Mapping[str, array[Any]], times: array[float]) -> None:
        self._values, self._times = values, times

    def __len__(self) -> int:
        return len(self._values["due_s"])

    def column(self, name: str) -> npt.NDArray[Any]:
        found = np.asarray(self._values[name])
        return found.astype(np.bool_) if name in _FLAGS else found

    @property
    def times(self) -> Floats:
        return np.asarray(self._times)


@dataclass(frozen=True)
class _Place:
    """Where a part stands in the temporary file."""

    offset: int
    requests: int
    times: int


class _Filed(Block):
    """Requests in the temporary file."""

    def __init__(self, file: Spill, place: _Place) -> None:
        self._file, self._place = file, place

    def __len__(self) -> int:
        return self._place.requests

    def column(self, name: str) -> npt.NDArray[Any]:
        before = 0
        for item, kind in _TYPES.items():
            if item == name:
                return self._file.read(self._place.offset + before * self._place.requests, self._place.requests, kind)
            before += np.dtype(kind).itemsize
        raise KeyError(name)

    @property
    def times(self) -> Floats:
        width = sum(np.dtype(kind).itemsize for kind in _TYPES.values())
        return self._file.read(self._place.offset + width * self._place.requests, self._place.times, np.float64)


class LevelColumns:
    """Requests in the order in which they ended."""

    def __init__(self) -> None:
        self.failed: Counter[str] = Counter()
        """Requests that failed, by fault."""
        self.said: dict[str, str] = {}
        """What was said of the first request of each fault, in the server's own words where it had any."""
        self._sessions: dict[int, int] = {}
        self._file = Spill()
        self._places: list[_Place] = []
        self._filed = 0
        self._clear()

    def _clear(self) -> None:
        self._held: dict[str, array[Any]] = {
            name: array("d" if name in _TIMES else "i" if name in _COUNTS else "b") for name in _TYPES
        }
        self._columns = tuple(self._held.values())
        self._chunks = array("d")

    @classmethod
    def of(cls, requests: Iterable[RequestRecord] | LevelColumns) -> LevelColumns:
        """The columns of some requests."""
        if isinstance(requests, LevelColumns):
            return requests
        columns = cls()
        for request in requests:
            columns.add(request)
        return columns

    def add(self, request: RequestRecord) -> None:
        """Takes a request."""
        times = request.due_s, request.sent_s, request.first_token_s, request.done_s
        counts = (
            request.output_tokens, request.input_tokens, request.cached_tokens,
            request.asked_output_tokens, request.asked_input_tokens,
        )  # fmt: skip
        self._take(times, counts, request.chunk_s, request.status, stagger=request.stagger, session=request.session)
        if request.detail:
            self.said.setdefault(request.status, request.detail)

    def add_values(self, values: Mapping[str, Any]) -> None:
        """Takes a request as its line in a journal has it.

        Raises KeyError, TypeError or OverflowError, and takes nothing, where it is none.
        """
        times = values["due_s"], values["sent_s"], values["first_token_s"], values["done_s"]
        counts = (
            values["output_tokens"], values["input_tokens"], values["cached_tokens"],
            values["asked_output_tokens"], values["asked_input_tokens"],
        )  # fmt: skip
        stagger, session = values["stagger"], values.get("session")
        self._take(times, counts, values["chunk_s"], values["status"], stagger=stagger, session=session)
        if isinstance(detail := values.get("detail"), str) and detail:
            self.said.setdefault(values["status"], detail)

    def _take(
        self,
        times: tuple[float, float, float | None, float],
        counts: tuple[int | None, int | None, int | None, int | None, int | None],
        chunk_s: Sequence[float],
        status: str,
        *,
        stagger: bool,
        session: int | None,
    ) -> None:
        due_s, sent_s, first_s, done_s = times
        output, given, cached, asked_output, asked_input = counts
        row = (
            due_s,
            sent_s,
            np.nan if first_s is None else first_s,
            done_s,
            _UNKNOWN if output is None else output,
            _UNKNOWN if given is None else given,
            _UNKNOWN if cached is None else cached,
            asked_output or 0,
            asked_input or 0,
            len(chunk_s),
            status == OK,
            stagger,
        )
        held, pieces = len(self._columns[0]), len(self._chunks)
        try:
            for column, value in zip(self._columns, row, strict=True):
                column.append(value)
            self._chunks.extend(chunk_s)
        except (TypeError, OverflowError):
            for column in self._columns:
                del column[held:]
            del self._chunks[pieces:]
            raise
        if status != OK:
            self.failed[status] += 1
        if session is not None:
            self._meet(session)
        if held + 1 >= HELD_REQUESTS or len(self._chunks) >= HELD_TIMES:
            self.settle()

    def add_arrays(
        self,
        columns: Mapping[str, npt.NDArray[Any]],
        chunk_s: Floats,
        failed: Mapping[str, int],
        sessions: Iterable[int],
        said: Mapping[str, str] | None = None,
    ) -> None:
        """Takes many requests at once: columns named and written as those of a part, and their chunk times."""
        for name, kind in _TYPES.items():
            self._held[name].frombytes(np.ascontiguousarray(columns[name], dtype=kind).tobytes())
        self._chunks.frombytes(np.ascontiguousarray(chunk_s, dtype=np.float64).tobytes())
        self.failed.update(failed)
        self.said = {**(said or {}), **self.said}
        for session in sessions:
            self._meet(session)
        if len(self._columns[0]) >= HELD_REQUESTS or len(self._chunks) >= HELD_TIMES:
            self.settle()

    def _meet(self, session: int) -> None:
        """Notes a conversation, in an eighth of a byte where they are numbered one after the other."""
        page, at = divmod(session, _SESSIONS_A_PAGE)
        self._sessions[page] = self._sessions.get(page, 0) | 1 << at

    @property
    def sessions(self) -> int:
        """How many conversations requests were turns of."""
        return sum(page.bit_count() for page in self._sessions.values())

    def settle(self) -> None:
        """Moves what is held to the temporary file. Raises RunError where there is no room for it."""
        requests = len(self._columns[0])
        if not requests:
            return
        offset = self._file.end
        for column in (*self._columns, self._chunks):
            self._file.append(column)
        self._places.append(_Place(offset, requests, len(self._chunks)))
        self._filed += requests
        self._clear()

    def __len__(self) -> int:
        return self._filed + len(self._columns[0])

    def parts(self) -> Iterator[Block]:
        """All requests, some at a time; can be asked for again and again, and within each other."""
        for place in self._places:
            yield _Filed(self._file, place)
        if self._columns[0]:
            yield _Held(self._held, self._chunks)


@runtime_checkable
class Columnar(Protocol):
    """Requests that can give their columns without being made into objects."""

    def fill(self, by_level: Mapping[int, LevelColumns]) -> None:
        """Gives every level its requests; those of other levels are left out."""
        ...
