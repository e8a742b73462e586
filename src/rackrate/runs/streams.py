"""Values that come in blocks, more of them than are to be held: their percentiles, and their order by a key.

Everything here gives what numpy gives for the same values in one array; what does not fit is gone through again, or is
put into temporary files.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from rackrate.errors import RunError

Floats = npt.NDArray[np.float64]
Blocks = Callable[[], Iterator[Floats]]
"""Values, some at a time; asked for as often as they are to be gone through."""
Pairs = Callable[[], Iterator[tuple[Floats, Floats]]]
"""Keys and values, or times and weights, in the same way."""

HELD_VALUES = 1_000_000
"""So many values are held in memory at once."""
_DIGITS = 16
"""Bits that are counted by in one pass."""


class Spill:
    """A temporary file that is appended to, and read anywhere. It goes with the last reference to this."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self.end = 0

    def append(self, values: Any) -> None:
        """Writes an array after what is there. Raises RunError where there is no room for it."""
        rest = memoryview(values).cast("B") if len(values) else memoryview(b"")
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="rackrate-", buffering=0)  # noqa: SIM115 - lives on
                weakref.finalize(self, self._file.close)
            while rest:  # a disk that is nearly full takes a part
                written = self._file.write(rest)
                rest, self.end = rest[written:], self.end + written
        except OSError as error:
            raise RunError(
                f"requests do not fit the directory for temporary files ({error.strerror or error}): make room, or "
                "name another in TMPDIR; what was measured is in the run's journal"
            ) from None

    def read(self, offset: int, count: int, kind: npt.DTypeLike) -> npt.NDArray[Any]:
        """So many values from a place on."""
        found = np.empty(count, dtype=kind)
        if not count or self._file is None:
            return found
        rest = memoryview(cast("Any", found)).cast("B")
        while rest:
            got = os.preadv(self._file.fileno(), [rest], offset)
            if not got:
                raise RunError("a temporary file was cut short by another program; do that again")
            rest, offset = rest[got:], offset + got
        return found


@dataclass(frozen=True)
class Sample:
    """What is known of values that were gone through."""

    count: int
    mean: float
    at: tuple[float, ...]
    """The percentiles that were asked for, interpolated between neighbours as numpy does."""


def sample(blocks: Blocks, shares: Sequence[float]) -> Sample | None:
    """Number, mean and quantiles at some shares; None where there is no value. Those that are few are held.

    >>> sample(lambda: iter([np.array([3.0, 1.0]), np.array([2.0])]), [0.5])
    Sample(count=3, mean=2.0, at=(2.0,))
    """
    look = _look(blocks)
    if not look.count:
        return None
    if look.held is not None:
        values = np.concatenate(look.held)
        return Sample(look.count, float(values.mean()), tuple(np.quantile(values, shares).tolist()))
    places = [(look.count - 1) * share for share in shares]
    ranks = {rank for place in places for rank in (int(place), min(int(place) + 1, look.count - 1))}
    at = _narrowed(blocks, look.counts, ranks)
    found: list[float] = []
    for place in places:
        low, high = at[int(place)], at[min(int(place) + 1, look.count - 1)]
        found.append(low + (high - low) * (place - int(place)))
    return Sample(look.count, look.total / look.count, tuple(found))


def nth_values(blocks: Blocks, ranks: Iterable[int]) -> dict[int, float]:
    """The values at some places of all of them in order, the least at 0.

    >>> nth_values(lambda: iter([np.array([3.0, -1.0]), np.array([2.5])]), [0, 1])
    {0: -1.0, 1: 2.5}
    """
    look = _look(blocks)
    if look.held is not None:
        values = np.sort(np.concatenate(look.held)) if look.held else np.empty(0)
        return {rank: float(values[rank]) for rank in ranks}
    return _narrowed(blocks, look.counts, ranks)


@dataclass
class _Look:
    """What a first look at values shows."""

    count: int
    total: float
    held: list[Floats] | None
    """All of them; None where they are too many."""
    counts: npt.NDArray[np.int64]
    """How many have each of the first digits, where they are."""


def _look(blocks: Blocks) -> _Look:
    look = _Look(0, 0.0, [], np.zeros(1 << _DIGITS, dtype=np.int64))
    for values in blocks():
        look.count += len(values)
        look.total += float(values.sum())
        if look.held is not None:
            look.held.append(values)
            if look.count > HELD_VALUES:
                for item in look.held:
                    look.counts += _digits(_keys(item), 64 - _DIGITS)
                look.held = None
        else:
            look.counts += _digits(_keys(values), 64 - _DIGITS)
    return look


def _keys(values: Floats) -> npt.NDArray[np.uint64]:
    """Whole numbers in the order of the values: floating-point numbers are in the order of their bits (of negative
    ones, turned over)."""
    bits = np.ascontiguousarray(values).view(np.int64)
    if len(bits) and bits.min() < 0:
        return np.where(bits < 0, ~bits, bits ^ np.int64(-(2**63))).view(np.uint64)
    return (bits ^ np.int64(-(2**63))).view(np.uint64)


def _value(key: int) -> float:
    bits = np.uint64(key).view(np.int64)
    return float((bits ^ np.int64(-(2**63)) if bits < 0 else ~bits).view(np.float64))


def _digits(keys: npt.NDArray[np.uint64], shift: int) -> npt.NDArray[np.int64]:
    digits = ((keys >> np.uint64(shift)) & np.uint64((1 << _DIGITS) - 1)).astype(np.int64)
    return np.bincount(digits, minlength=1 << _DIGITS)


def _narrowed(blocks: Blocks, counts: npt.NDArray[np.int64], ranks: Iterable[int]) -> dict[int, float]:
    """The values at some places, from how many have each of the first digits.

    Those that begin as a wanted one does are counted by their next digits, until they are few enough to be held.
    """
    found = {rank: (0, rank) for rank in ranks}
    by_prefix = {0: counts}
    shift = 64 - _DIGITS
    while True:
        alike: dict[int, int] = {}
        for rank, (prefix, left) in found.items():
            upto = np.cumsum(by_prefix[prefix])
            digit = int(np.searchsorted(upto, left, side="right"))
            longer = (prefix << _DIGITS) + digit
            found[rank] = longer, left - (int(upto[digit - 1]) if digit else 0)
            alike[longer] = int(by_prefix[prefix][digit])
        if shift == 0:
            return {rank: _value(key) for rank, (key, _) in found.items()}
        few = sum(alike.values()) <= HELD_VALUES
        by_prefix = {prefix: np.zeros(0 if few else 1 << _DIGITS, dtype=np.int64) for prefix in alike}
        held: dict[int, list[npt.NDArray[np.uint64]]] = {prefix: [] for prefix in alike}
        for values in blocks():
            keys = _keys(values)
            begins = keys >> np.uint64(shift)
            for prefix in alike:
                same = keys[begins == np.uint64(prefix)]
                if few:
                    held[prefix].append(same)
                elif len(same):
                    by_prefix[prefix] += _digits(same, shift - _DIGITS)
        if few:
            ordered = {prefix: np.sort(np.concatenate(some)) for prefix, some in held.items()}
            return {rank: _value(int(ordered[prefix][left])) for rank, (prefix, left) in found.items()}
        shift -= _DIGITS


class InOrder:
    """Values in the order of their keys, those of equal keys as they came; many are sorted in temporary files."""

    def __init__(self, pairs: Pairs) -> None:
        self.number = 0
        self._held: list[tuple[Floats, Floats]] | None = []
        for keys, values in pairs():
            self.number += len(keys)
            if self._held is not None:
                self._held.append((keys, values))
                if self.number > HELD_VALUES:
                    self._held = None
        self._ordered: Floats | None = None
        self._files: list[Spill] = []
        if self._held is None:
            self._distribute(pairs)
        else:
            self._ordered = _by_key(self._held) if self._held else np.empty(0)
        self._held = None

    def _distribute(self, pairs: Pairs) -> None:
        """A file for the pairs between each two of some keys, and one for those at each of these."""
        ranks = range(HELD_VALUES // 2, self.number, max(HELD_VALUES // 2, 1))
        found = nth_values(lambda: (keys for keys, _ in pairs()), ranks)
        edges = np.unique(np.array(list(found.values())))
        self._files = [Spill() for _ in range(2 * len(edges) + 1)]
        for keys, values in pairs():
            bucket = np.searchsorted(edges, keys, side="left") + np.searchsorted(edges, keys, side="right")
            for number in np.unique(bucket).tolist():
                wanted = bucket == number
                self._files[int(number)].append(np.stack([keys[wanted], values[wanted]], axis=1).ravel())

    def blocks(self) -> Iterator[Floats]:
        """The values; can be asked for again."""
        if self._ordered is not None:
            yield self._ordered
        for number, file in enumerate(self._files):
            if number % 2 == 0:
                pairs = file.read(0, file.end // 8, np.float64).reshape(-1, 2)
                yield _by_key([(pairs[:, 0], pairs[:, 1])])
                continue
            for start in range(0, file.end, 16 * HELD_VALUES):  # alike by their key: as they came
                count = min(2 * HELD_VALUES, (file.end - start) // 8)
                yield file.read(start, count, np.float64).reshape(-1, 2)[:, 1]


def _by_key(pairs: Sequence[tuple[Floats, Floats]]) -> Floats:
    keys = np.concatenate([keys for keys, _ in pairs])
    values = np.concatenate([values for _, values in pairs])
    return values[np.argsort(keys, kind="stable")]
