"""Reads the header of a GGUF file: metadata and tensor table, never the tensors. The file is not trusted.

Layout: github.com/ggml-org/ggml, docs/gguf.md. Every length is checked against the file's size and a bound before
anything is read, so a wrong or hostile file costs a sentence, not memory.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from rackrate.errors import UserError
from rackrate.files import open_bytes
from rackrate.models.formats import GGML_BLOCKS

Value = int | float | bool | str | None
"""A metadata value; None stands for an array, which is skipped but counted."""

TENSOR_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K",
    12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
}  # fmt: skip
"""ggml's numbers of tensor types (ggml/include/ggml.h); the missing ones were withdrawn."""
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
MOST_ENTRIES = 100_000
"""Metadata entries and tensors: the largest published models have under 3,000."""
LONGEST_TEXT = 2**24
"""Bytes of one string: chat templates reach tens of thousands."""
LARGEST_HEADER = 2**30


@dataclass(frozen=True)
class Tensor:
    """A row of the tensor table."""

    name: str
    shape: tuple[int, ...]
    """As ggml orders it: the contiguous dimension first."""
    type: str

    @property
    def values(self) -> int:
        """How many weights."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes; rows are whole blocks."""
        weights, per_block = GGML_BLOCKS[self.type]
        return self.values // weights * per_block


@dataclass(frozen=True)
class GgufHeader:
    """What stands before the tensors."""

    path: Path
    version: int
    metadata: Mapping[str, Value]
    array_lengths: Mapping[str, int]
    """Of metadata that are arrays (the vocabulary, for one)."""
    arrays: Mapping[str, tuple[int | float | bool, ...]]
    """Short arrays of numbers (a value for each layer)."""
    tensors: tuple[Tensor, ...]
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Arrays of strings, those that were asked for."""

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors, without padding."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def parameters(self) -> int:
        """Weights of all tensors."""
        return sum(tensor.values for tensor in self.tensors)


class _Reader:
    """Reads little-endian values and keeps count of what is left of the file."""

    def __init__(self, file: BinaryIO, path: Path, size: int) -> None:
        self._file = file
        self._path = path
        self._limit = min(size, LARGEST_HEADER)
        self._at = 0

    def wrong(self, what: str) -> UserError:
        return UserError(f"{self._path}: not a sound GGUF header: {what} (at byte {self._at:,})")

    def take(self, count: int) -> bytes:
        if count < 0 or self._at + count > self._limit:
            raise self.wrong(f"{count:,} bytes are announced where {max(0, self._limit - self._at):,} are left")
        data = self._file.read(count)
        if len(data) != count:
            raise self.wrong("the file ends early")
        self._at += count
        return data

    def skip(self, count: int) -> None:
        if count < 0 or self._at + count > self._limit:
            raise self.wrong(f"{count:,} bytes are announced where {max(0, self._limit - self._at):,} are left")
        self._file.seek(count, 1)
        self._at += count

    def number(self, code: str) -> int | float | bool:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def count(self, code: str, most: int, what: str) -> int:
        value = int(self.number(code))
        if value > most:
            raise self.wrong(f"{value:,} {what} are more than any model has")
        return value

    def text(self) -> str:
        length = self.count("Q", LONGEST_TEXT, "bytes of a string")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise self.wrong("a string is not UTF-8") from None

    def texts(self) -> tuple[str, ...]:
        """An array of strings, whole."""
        kind = int(self.number("I"))
        length = self.count("Q", self._limit // 8, "strings")
        if kind != _STRING:
            raise self.wrong("an array of strings holds something else")
        return tuple(self.text() for _ in range(length))

    def array(self, depth: int = 0) -> tuple[int, tuple[int | float | bool, ...] | None]:
        """Length, and the values where they are few numbers."""
        kind = int(self.number("I"))
        length = self.count("Q", 2**31, "values of an array")
        if kind == _STRING:
            if length > self._limit:
                raise self.wrong(f"{length:,} strings are announced")
            for _ in range(length):
                self.skip(self.count("Q", LONGEST_TEXT, "bytes of a string"))
            return length, None
        if kind == _ARRAY:
            if depth >= 4 or length > MOST_ENTRIES:
                raise self.wrong("arrays are nested too deeply")
            for _ in range(length):
                self.array(depth + 1)
            return length, None
        if kind not in _SCALARS:
            raise self.wrong(f"a value has the type {kind}, which is not known")
        if length > 4096:
            self.skip(length * struct.calcsize(f"<{_SCALARS[kind]}"))
            return length, None
        return length, tuple(self.number(_SCALARS[kind]) for _ in range(length))


def read_gguf_header(path: Path, texts: Collection[str] = ()) -> GgufHeader:
    """The header of a GGUF file. Raises UserError with the byte at which it is not one.

    `texts` names the arrays of strings to keep (the vocabulary, for one).
    """
    try:
        size = path.stat().st_size
        with open_bytes(path) as file:
            return _read(_Reader(file, path, size), path, size, texts)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def _read(reader: _Reader, path: Path, size: int, wanted: Collection[str]) -> GgufHeader:
    if size < 24:
        raise UserError(f"{path} is not a GGUF file: {size} bytes are no header")
    if (magic := reader.take(4)) != b"GGUF":
        raise UserError(f"{path} is not a GGUF file (it begins with {magic!r})")
    version = int(reader.number("I"))
    if version not in {2, 3}:
        raise reader.wrong(f"version {version}; 2 and 3 are known")
    tensor_count = reader.count("Q", MOST_ENTRIES, "tensors")
    entries = reader.count("Q", MOST_ENTRIES, "metadata entries")
    metadata: dict[str, Value] = {}
    lengths: dict[str, int] = {}
    arrays: dict[str, tuple[int | float | bool, ...]] = {}
    texts: dict[str, tuple[str, ...]] = {}
    for _ in range(entries):
        key = reader.text()
        kind = int(reader.number("I"))
        if kind == _STRING:
            metadata[key] = reader.text()
        elif kind == _ARRAY and key in wanted:
            metadata[key] = None
            texts[key] = reader.texts()
            lengths[key] = len(texts[key])
        elif kind == _ARRAY:
            metadata[key] = None
            lengths[key], values = reader.array()
            if values is not None:
                arrays[key] = values
        elif kind in _SCALARS:
            metadata[key] = reader.number(_SCALARS[kind])
        else:
            raise reader.wrong(f"{key} has the type {kind}, which is not known")
    tensors: list[Tensor] = []
    for _ in range(tensor_count):
        name = reader.text()
        dimensions = reader.count("I", 8, "dimensions of a tensor")
        shape = tuple(reader.count("Q", 2**48, "values in a row") for _ in range(dimensions))
        number = int(reader.number("I"))
        reader.number("Q")  # offset
        if number not in TENSOR_TYPES:
            raise reader.wrong(f"the tensor {name} has the type {number}, which is not known")
        tensor = Tensor(name, shape, TENSOR_TYPES[number])
        if tensor.values > 2**48:
            raise reader.wrong(f"the tensor {name} has {tensor.values:,} values")
        tensors.append(tensor)
    return GgufHeader(path, version, metadata, lengths, arrays, tuple(tensors), texts)
