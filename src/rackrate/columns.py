"""The requests of a level as columns: what a summary needs of them, in some 60 bytes a request.

The times of chunks, 8 bytes each, are kept in a file once they are many, and gone through a block at a time. To sum up
a million requests took 0.28 GB of memory in all: a fixed part, and some 200 bytes a request for what is worked out.
"""

from __future__ import annotations

import tempfile
import weakref
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import IO

import numpy as np
import numpy.typing as npt

from rackrate.errors import RunError
from rackrate.records import RequestRecord

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

IN_MEMORY = 4_000_000
"""Chunk times that are kept in memory."""
BLOCK = 1_000_000
"""Chunk times that are looked at together; a request's own are never divided."""
_UNKNOWN = -1


class LevelColumns:
    """Requests in the order in which they ended. Times in seconds since the run's start."""

    def __init__(self) -> None:
        self.failed: Counter[str] = Counter()
        """Requests that failed, by fault."""
        self.sessions: set[int] = set()
        self._due, self._sent, self._first, self._done = (array("d") for _ in range(4))
        self._output, self._input, self._cached, self._asked_output, self._asked_input, self._pieces = (
            array("i") for _ in range(6)
        )
        self._ok, self._stagger = array("b"), array("b")
        self._chunks = array("d")
        self._file: IO[bytes] | None = None
        self._in_file = 0

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
        first_s, chunks = request.first_token_s, request.chunk_s
        output, given, cached = request.output_tokens, request.input_tokens, request.cached_tokens
        ok = request.ok
        self._due.append(request.due_s)
        self._sent.append(request.sent_s)
        self._first.append(np.nan if first_s is None else first_s)
        self._done.append(request.done_s)
        self._output.append(_UNKNOWN if output is None else output)
        self._input.append(_UNKNOWN if given is None else given)
        self._cached.append(_UNKNOWN if cached is None else cached)
        self._asked_output.append(request.asked_output_tokens or 0)
        self._asked_input.append(request.asked_input_tokens or 0)
        self._pieces.append(len(chunks))
        self._ok.append(ok)
        self._stagger.append(request.stagger)
        self._chunks.extend(chunks)
        if not ok:
            self.failed[request.status] += 1
        if request.session is not None:
            self.sessions.add(request.session)
        if len(self._chunks) > IN_MEMORY:
            self._spill()

    def _spill(self) -> None:
        """Moves chunk times from memory to the temporary file. Raises RunError where there is no room for it."""
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="rackrate-", buffering=0)  # noqa: SIM115 - lives on
                weakref.finalize(self, self._file.close)
            self._file.seek(self._in_file * self._chunks.itemsize)
            rest = memoryview(self._chunks).cast("B")
            while rest:  # a disk that is nearly full takes a part
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise RunError(
                f"chunk times do not fit the directory for temporary files ({error.strerror or error}): make room, or "
                "name another in TMPDIR; what was measured is in the run's journal"
            ) from None
        self._in_file += len(self._chunks)
        self._chunks = array("d")

    def __len__(self) -> int:
        return len(self._due)

    # views; no request can be added as long as one is held
    @property
    def due_s(self) -> Floats:
        return np.asarray(self._due)

    @property
    def sent_s(self) -> Floats:
        return np.asarray(self._sent)

    @property
    def first_s(self) -> Floats:
        """Of the first token; NaN where there was none."""
        return np.asarray(self._first)

    @property
    def done_s(self) -> Floats:
        return np.asarray(self._done)

    @property
    def output_tokens(self) -> Whole:
        """As the server counted them, as the next two; -1 where it did not."""
        return np.asarray(self._output)

    @property
    def input_tokens(self) -> Whole:
        return np.asarray(self._input)

    @property
    def cached_tokens(self) -> Whole:
        return np.asarray(self._cached)

    @property
    def asked_output_tokens(self) -> Whole:
        """0 where unknown, as the next."""
        return np.asarray(self._asked_output)

    @property
    def asked_input_tokens(self) -> Whole:
        return np.asarray(self._asked_input)

    @property
    def pieces(self) -> Whole:
        """How many pieces of text the answer came in."""
        return np.asarray(self._pieces)

    @property
    def ok(self) -> Flags:
        """Whether it was answered whole."""
        return np.asarray(self._ok).astype(np.bool_)

    @property
    def stagger(self) -> Flags:
        return np.asarray(self._stagger).astype(np.bool_)

    def blocks(self) -> Iterator[tuple[slice, Floats]]:
        """Requests one after the other, each time some, and when the pieces of their answers arrived."""
        ends = np.cumsum(self.pieces, dtype=np.int64)
        if self._file is not None:
            self._file.seek(0)
        start = taken = 0
        while start < len(ends):
            stop = max(start + 1, int(np.searchsorted(ends, taken + BLOCK, side="right")))
            upto = int(ends[stop - 1])
            yield slice(start, stop), self._times(taken, upto)
            start, taken = stop, upto

    def _times(self, start: int, stop: int) -> Floats:
        """Chunk times from one to another; those in the file are read where reading had ended."""
        parts: list[Floats] = []
        if self._file is not None and start < self._in_file:
            parts.append(np.fromfile(self._file, dtype=np.float64, count=min(stop, self._in_file) - start))
        if stop > self._in_file:
            parts.append(np.array(self._chunks[max(start, self._in_file) - self._in_file : stop - self._in_file]))
        return np.concatenate(parts) if parts else np.empty(0)


Blocks = Callable[[], Iterator[Floats]]
"""Values, some at a time; asked for as often as they are to be gone through."""


def nth_values(blocks: Blocks, ranks: Iterable[int]) -> dict[int, float]:
    """The values at some places of all of them in order, the least at 0, without holding them.

    Floating-point numbers are in the order of their bits (of negative ones, turned over). Four times all are gone
    through; each time, the next 16 bits of the value at each place are found by counting.

    >>> nth_values(lambda: iter([np.array([3.0, -1.0]), np.array([2.5])]), [0, 1])
    {0: -1.0, 1: 2.5}
    """
    found = {rank: (0, rank) for rank in ranks}
    for shift in (48, 32, 16, 0):
        counts = {prefix: np.zeros(1 << 16, dtype=np.int64) for prefix, _ in found.values()}
        for values in blocks():
            bits = np.ascontiguousarray(values).view(np.int64)
            keys = np.where(bits < 0, ~bits, bits ^ np.int64(-(2**63))).view(np.uint64)
            for prefix, count in counts.items():
                alike = keys if shift == 48 else keys[keys >> np.uint64(shift + 16) == np.uint64(prefix)]
                digits = (alike >> np.uint64(shift)) & np.uint64(0xFFFF)
                np.add(count, np.bincount(digits.astype(np.int64), minlength=1 << 16), out=count)
        for rank, (prefix, left) in found.items():
            upto = np.cumsum(counts[prefix])
            digit = int(np.searchsorted(upto, left, side="right"))
            found[rank] = (prefix << 16) + digit, left - (int(upto[digit - 1]) if digit else 0)
    keys = np.array([key for key, _ in found.values()], dtype=np.uint64).view(np.int64)
    bits = np.where(keys < 0, keys ^ np.int64(-(2**63)), ~keys)
    return dict(zip(found, bits.view(np.float64).tolist(), strict=True))
