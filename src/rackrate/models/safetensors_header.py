"""Exact sizes of safetensors weights, from headers or the index; the tensors themselves are not read.

Layout: github.com/huggingface/safetensors, README (8 bytes of length, then JSON). The files are not trusted.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, cast

from rackrate.errors import UserError
from rackrate.files import is_there, open_bytes, reason
from rackrate.models.config_values import read_json

LARGEST_HEADER = 100_000_000
"""The format's own limit."""
_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8,
}  # fmt: skip
_VISION = re.compile(r"vision|visual|multi_modal_projector|mm_projector|audio|image_newline|embed_vision")


@dataclass(frozen=True)
class SafetensorsSize:
    """What engines load of a checkpoint. [byte], [parameter]"""

    bytes: int
    """Without tensors that serving does not load (prediction modules, a second copy of tied embeddings)."""
    parameters: int | None
    """None where weights are packed, so that tensors do not say how many there are, or only the index is there."""
    vision_parameters: int
    files: int


def safetensors_size(directory: Path, *, layers: int, tied: bool) -> SafetensorsSize | None:
    """The weights in a directory; None where there are none. Raises UserError where a file is wrong.

    Args:
        directory: with *.safetensors, or the index alone.
        layers: of the model; tensors of later layers are prediction modules.
        tied: the output matrix is the embedding; a second copy is not loaded.
    """
    index = directory / "model.safetensors.index.json"
    if is_there(index):
        values = read_json(index, limit=LARGEST_HEADER)
        names = _files_of(index, values)
        paths = [directory / name for name in names]
        if not all(is_there(path) for path in paths):
            return _of_index(index, values)
    else:
        paths = sorted(directory.glob("*.safetensors"))
    if not paths:
        return None
    total = parameters = vision = 0
    packed = False
    for path in paths:
        for name, dtype, shape in read_safetensors_header(path):
            if _not_loaded(name, layers, tied):
                continue
            values = math.prod(shape)
            total += values * _BYTES[dtype]
            if dtype in {"U8", "I8", "I32", "U32", "I64"} and values > 10_000:
                packed = True
            parameters += values
            vision += values if _VISION.search(name) else 0
    return SafetensorsSize(total, None if packed else parameters, vision, len(paths))


def read_safetensors_header(path: Path) -> Iterable[tuple[str, str, tuple[int, ...]]]:
    """Name, type and shape of each tensor of a file. Raises UserError where the header is not one."""
    try:
        size = path.stat().st_size
        with open_bytes(path) as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= min(LARGEST_HEADER, size - 8):
                raise UserError(f"{path}: not a safetensors file: its header would have {length:,} of {size:,} bytes")
            header = json.loads(file.read(length))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: its safetensors header cannot be read ({reason(error)})") from None
    if not isinstance(header, dict):
        raise UserError(f"{path}: its safetensors header is no JSON object")
    rows: list[tuple[str, str, tuple[int, ...]]] = []
    for name, row in cast("dict[str, Any]", header).items():
        if name == "__metadata__":
            continue
        values = cast("dict[str, Any]", row) if isinstance(row, dict) else {}
        dtype, shape = values.get("dtype"), values.get("shape")
        if not isinstance(dtype, str) or dtype not in _BYTES or not _whole(shape):
            raise UserError(f"{path}: the tensor {name!r} has no known dtype and shape")
        rows.append((name, dtype, tuple(shape)))
    return rows


def _whole(values: Any) -> TypeGuard[list[int]]:
    if not isinstance(values, list):
        return False
    listed = cast("list[Any]", values)
    return len(listed) <= 8 and all(isinstance(entry, int) and 0 <= entry < 2**48 for entry in listed)


def _files_of(index: Path, values: dict[str, Any]) -> list[str]:
    listed = values.get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise UserError(f"{index}: the key weight_map is missing")
    names = {str(item) for item in cast("dict[str, Any]", listed).values()}
    if any("/" in name or "\\" in name for name in names):
        raise UserError(f"{index}: weight_map should name files beside it")
    return sorted(names)


def _of_index(index: Path, values: dict[str, Any]) -> SafetensorsSize:
    metadata = values.get("metadata")
    total = cast("dict[str, Any]", metadata).get("total_size") if isinstance(metadata, dict) else None
    if isinstance(total, float) and total.is_integer():
        total = int(total)
    if not isinstance(total, int) or not 0 < total < 2**60:
        raise UserError(f"{index}: metadata.total_size should be a number of bytes, not {total!r}")
    return SafetensorsSize(total, None, 0, 0)


def _not_loaded(name: str, layers: int, tied: bool) -> bool:
    if tied and name.endswith("lm_head.weight"):
        return True
    if name.startswith("mtp.") or ".mtp." in name:
        return True
    number = re.search(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.", name)
    return number is not None and not _VISION.search(name) and int(number[1]) >= layers
