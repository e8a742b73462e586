"""Metadata of a GGUF file under its architecture's prefix, checked."""

from __future__ import annotations

from rackrate.errors import UserError
from rackrate.models.gguf_header import GgufHeader, Value

MOST = 10**9
"""No count of a model comes near."""


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
        return self._counted(key, value)

    def _counted(self, key: str, value: Value) -> int:
        if isinstance(value, bool | str) or value is None or not 0 <= value <= MOST or value != int(value):
            raise UserError(f"{self.header.path}: {key} should be a whole number up to {MOST:,}, not {value!r}")
        return int(value)

    def each(self, name: str) -> tuple[int, ...] | None:
        """A number for each layer; None where there is no list."""
        key = f"{self.architecture}.{name}"
        values = self.header.arrays.get(key)
        return (
            None
            if values is None
            else tuple(self._counted(key, int(v) if v is True or v is False else v) for v in values)
        )

    def layered(self, name: str, layers: int) -> tuple[int, ...] | None:
        """The same list; raises UserError where it has not a number for each of the layers."""
        values = self.each(name)
        if values is not None and len(values) < layers:
            raise UserError(
                f"{self.header.path}: {self.architecture}.{name} should have a number for each of the {layers} layers, "
                f"not {len(values)}"
            )
        return values
