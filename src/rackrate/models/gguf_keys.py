"""Metadata of a GGUF file under its architecture's prefix, checked."""

from __future__ import annotations

from rackrate.errors import UserError
from rackrate.models.gguf_header import GgufHeader


class GgufKeys:
    """Metadata under the architecture's prefix, checked."""

    def __init__(self, header: GgufHeader) -> None:
        self.header = header
        self.architecture = str(header.metadata["general.architecture"])

    def whole(self, name: str, default: int | None = None) -> int:
        """A number; of a list with one for each layer, the largest."""
        key = f"{self.architecture}.{name}"
        value = self.header.metadata.get(key)
        if self.header.arrays.get(key):
            value = max(self.header.arrays[key])
        if value is None:
            if default is None:
                raise UserError(f"{self.header.path}: the key {key} is missing")
            return default
        if isinstance(value, str | bool) or value != int(value) or not 0 <= value <= 10**9:
            raise UserError(f"{self.header.path}: {key} should be a whole number up to 1,000,000,000, not {value!r}")
        return int(value)

    def each(self, name: str) -> tuple[int, ...] | None:
        """A number for each layer; None where there is no list."""
        values = self.header.arrays.get(f"{self.architecture}.{name}")
        return None if values is None else tuple(int(value) for value in values)

    def layered(self, name: str, layers: int) -> tuple[int, ...] | None:
        """The same list; raises UserError where it has not a number for each of the layers."""
        values = self.each(name)
        if values is not None and len(values) < layers:
            raise UserError(
                f"{self.header.path}: {self.architecture}.{name} should have a number for each of the {layers} layers, "
                f"not {len(values)}"
            )
        return values
