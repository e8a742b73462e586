"""Rewrites a GGUF file with its 4-bit matrices in another number format.

Some formats are slow to serve: llama.cpp repacks Q4_0 for wide vector units and not Q4_1, so that the same model serves
more in the one than in the other. What the first quantisation lost stays lost, and the second loses a little more:
measure it (`rackrate quality`). Layouts: ggml, docs/gguf.md and src/ggml-common.h.
"""

from __future__ import annotations

import math
import mmap
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rackrate.errors import EngineError
from rackrate.files import open_bytes

BLOCK = 32
"""Weights that share a scale, in each of these formats."""
TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 8}
"""ggml's numbers of the formats that are read here."""
BLOCK_BYTES = {"Q4_0": 18, "Q4_1": 20, "Q8_0": 34}
FILE_TYPES = {"Q4_0": 2, "Q8_0": 7}
"""What general.file_type says of a file that is mostly of that format; those that can be written."""

_NAMES = {number: name for name, number in TYPES.items()}
_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_FILE_TYPE_KEY, _ALIGNMENT_KEY = "general.file_type", "general.alignment"
_ROWS_AT_ONCE = 1 << 15
"""Blocks that are converted together: about 20 MB of floats."""

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    type: int
    offset: int


def dequantise(data: Bytes, format_name: str) -> Floats:
    """The weights of whole blocks, one row a block of 32.

    Q4_0: d * (q - 8). Q4_1: d * q + m. Q8_0: d * q. Low halves of the bytes hold the first 16 weights.
    """
    blocks = data.reshape(-1, BLOCK_BYTES[format_name])
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    if format_name == "Q8_0":
        return scale * blocks[:, 2:].view(np.int8).astype(np.float32)
    first = 4 if format_name == "Q4_1" else 2
    packed = blocks[:, first:]
    nibbles = np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32)
    if format_name == "Q4_1":
        return scale * nibbles + blocks[:, 2:4].copy().view(np.float16).astype(np.float32)
    return scale * (nibbles - 8)


def quantise(weights: Floats, format_name: str) -> Bytes:
    """Blocks of 32 weights, in a format.

    Q8_0: the largest weight becomes 127. Q4_0: of seven scales around the one that makes the largest weight -8, the one
    with the least squared error is taken for each block; the largest weight alone is ggml's own choice.

    >>> import numpy as np
    >>> ramp = np.linspace(-1, 1, 32, dtype=np.float32)[None]
    >>> round(float(np.abs(dequantise(quantise(ramp, "Q8_0"), "Q8_0") - ramp).max()), 3)
    0.004
    >>> bool(np.abs(dequantise(quantise(ramp, "Q4_0"), "Q4_0") - ramp).max() < 0.13)
    True
    """
    rows = weights.reshape(-1, BLOCK)
    if format_name == "Q8_0":
        scale = (np.abs(rows).max(axis=1) / 127).astype(np.float16)
        codes = np.rint(rows * _inverse(scale)[:, None]).clip(-127, 127).astype(np.int8)
        return np.concatenate([scale[:, None].view(np.uint8), codes.view(np.uint8)], axis=1)
    extreme = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)[:, 0]
    best_error = np.full(len(rows), np.inf, dtype=np.float32)
    best_scale = np.zeros(len(rows), dtype=np.float16)
    best_codes = np.zeros(rows.shape, dtype=np.uint8)
    for levels in (-8.0, -7.0, -7.3, -7.6, -8.3, -8.6, -9.0):
        scale = (extreme / np.float32(levels)).astype(np.float16)
        codes = np.floor(rows * _inverse(scale)[:, None] + 8.5).clip(0, 15)
        error = ((scale.astype(np.float32)[:, None] * (codes - 8) - rows) ** 2).sum(axis=1)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best_scale = np.where(better, scale, best_scale)
        best_codes = np.where(better[:, None], codes.astype(np.uint8), best_codes)
    packed: Bytes = (best_codes[:, :16] | (best_codes[:, 16:] << 4)).astype(np.uint8)
    return np.concatenate([best_scale.astype(np.float16)[:, None].view(np.uint8), packed], axis=1)


def _inverse(scale: NDArray[np.float16]) -> Floats:
    """1 / scale, and 0 where it is 0."""
    wide = scale.astype(np.float32)
    return np.divide(1.0, wide, out=np.zeros_like(wide), where=wide != 0)


def requantise(
    source: Path, target: Path, format_name: str, on_progress: Callable[[float], None] = lambda _: None
) -> None:
    """Writes `source` to `target` with its Q4 and Q8_0 matrices in `format_name`; the rest is copied.

    Embeddings that are kept finer than the other matrices stay as they are.

    Args:
        source: a GGUF file whose matrices are Q4_0, Q4_1 or Q8_0.
        target: written whole or not at all.
        format_name: Q4_0 or Q8_0.
        on_progress: takes the share that is done, 0 to 1.

    Raises:
        EngineError: not such a file, or the target cannot be written.
    """
    if format_name not in FILE_TYPES:
        raise EngineError(f"weights can be written as {' or '.join(FILE_TYPES)}, not {format_name}")
    try:
        with open_bytes(source) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            _rewrite(source, whole, target, format_name, on_progress)
    except OSError as error:
        raise EngineError(f"{error.filename or source}: {error.strerror}") from None
    except (struct.error, IndexError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise EngineError(f"{source} cannot be rewritten: its header is damaged ({error})") from None


def _rewrite(
    source: Path, whole: mmap.mmap, target: Path, format_name: str, on_progress: Callable[[float], None]
) -> None:
    magic, version, tensor_count, entry_count = struct.unpack_from("<4sIQQ", whole, 0)
    if magic != b"GGUF" or version not in {2, 3}:
        raise EngineError(f"{source} is not a GGUF file of version 2 or 3")
    head, position, alignment = _metadata(whole, entry_count, FILE_TYPES[format_name])
    tensors, position = _table(whole, position, tensor_count)
    start = _aligned(position, alignment)
    common = max(set(_matrix_types(tensors)), key=_matrix_types(tensors).count, default=None)
    if common is None or _NAMES.get(common) not in BLOCK_BYTES:
        found = sorted({_NAMES.get(tensor.type, f"type {tensor.type}") for tensor in tensors})
        raise EngineError(
            f"{source} has no matrices in {', '.join(BLOCK_BYTES)} ({', '.join(found)}): it cannot be rewritten"
        )
    # what is coarser or as coarse as most matrices is rewritten; what was kept finer (embeddings) stays
    changed = {tensor.name for tensor in tensors if tensor.type == common}
    table, offset = b"", 0
    sizes: list[int] = []
    for tensor in tensors:
        kind = TYPES[format_name] if tensor.name in changed else tensor.type
        size = _size(tensor, kind)
        name = tensor.name.encode()
        table += struct.pack("<Q", len(name)) + name + struct.pack("<I", len(tensor.shape))
        table += struct.pack(f"<{len(tensor.shape)}QIQ", *tensor.shape, kind, offset)
        sizes.append(size)
        offset = _aligned(offset + size, alignment)
    head = struct.pack("<4sIQQ", magic, version, tensor_count, entry_count) + head + table
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}-", delete=False) as out:
        temporary = Path(out.name)
        try:
            out.write(head.ljust(_aligned(len(head), alignment), b"\0"))
            for number, (tensor, size) in enumerate(zip(tensors, sizes, strict=True)):
                raw = np.frombuffer(whole, np.uint8, _size(tensor, tensor.type), start + tensor.offset)
                if tensor.name in changed:
                    _convert(raw, _NAMES[tensor.type], format_name, out.write)
                else:
                    out.write(raw.tobytes())
                del raw  # the map cannot be closed while an array looks at it
                out.write(b"\0" * (_aligned(size, alignment) - size))
                on_progress((number + 1) / len(tensors))
            out.close()
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def _convert(raw: Bytes, old: str, new: str, write: Callable[[bytes], object]) -> None:
    step = _ROWS_AT_ONCE * BLOCK_BYTES[old]
    for begin in range(0, len(raw), step):
        write(quantise(dequantise(raw[begin : begin + step], old), new).tobytes())


def _matrix_types(tensors: list[_Tensor]) -> list[int]:
    return [tensor.type for tensor in tensors if len(tensor.shape) > 1]


def _size(tensor: _Tensor, kind: int) -> int:
    """Bytes of a tensor in a format."""
    values = math.prod(tensor.shape)
    name = _NAMES.get(kind)
    if name is None:
        raise EngineError(f"{tensor.name} has a number format that is not read here (ggml's type {kind})")
    if name in BLOCK_BYTES:
        if tensor.shape[0] % BLOCK:
            raise EngineError(f"{tensor.name} has rows of {tensor.shape[0]} weights, not a multiple of {BLOCK}")
        return values // BLOCK * BLOCK_BYTES[name]
    return values * (4 if name == "F32" else 2)


def _aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


def _metadata(whole: mmap.mmap, entries: int, file_type: int) -> tuple[bytes, int, int]:
    """The metadata as they are, but for the file's type; where they end; the alignment of tensors."""
    position, alignment, head = 24, 32, b""
    for _ in range(entries):
        begin = position
        key, position = _text(whole, position)
        (kind,) = struct.unpack_from("<I", whole, position)
        position += 4
        value_at = position
        position = _skip(whole, position, kind)
        entry = whole[begin:position]
        if key == _ALIGNMENT_KEY:
            (alignment,) = struct.unpack_from("<I", whole, value_at)
        if key == _FILE_TYPE_KEY and kind in {4, 5}:
            entry = entry[:-4] + struct.pack("<I", file_type)
        head += entry
    if not 0 < alignment <= 1 << 20:
        raise ValueError(f"alignment {alignment}")
    return head, position, alignment


def _text(whole: mmap.mmap, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", whole, position)
    if length > len(whole) - position:
        raise ValueError("a text reaches beyond the file")
    return whole[position + 8 : position + 8 + length].decode(), position + 8 + length


def _skip(whole: mmap.mmap, position: int, kind: int) -> int:
    """Where a value of metadata ends."""
    if kind in _SCALARS:
        return position + _SCALARS[kind]
    if kind == _STRING:
        return position + 8 + struct.unpack_from("<Q", whole, position)[0]
    if kind == _ARRAY:
        inner, length = struct.unpack_from("<IQ", whole, position)
        position += 12
        if inner in _SCALARS:
            return position + _SCALARS[inner] * length
        if length > len(whole):
            raise ValueError("an array reaches beyond the file")
        for _ in range(length):
            position = _skip(whole, position, inner)
        return position
    raise ValueError(f"metadata of type {kind}")


def _table(whole: mmap.mmap, position: int, count: int) -> tuple[list[_Tensor], int]:
    tensors: list[_Tensor] = []
    for _ in range(count):
        name, position = _text(whole, position)
        (dimensions,) = struct.unpack_from("<I", whole, position)
        if not 0 < dimensions <= 8:
            raise ValueError(f"{name} has {dimensions} dimensions")
        *shape, kind, offset = struct.unpack_from(f"<{dimensions}QIQ", whole, position + 4)
        position += 4 + 8 * dimensions + 12
        tensors.append(_Tensor(name, tuple(shape), kind, offset))
    return tensors, position
