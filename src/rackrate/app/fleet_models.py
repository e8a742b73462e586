"""The file of several models that share machines: each with its capacity, its traffic and its slots."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from rackrate.app.traffic import TrafficFields
from rackrate.catalog.documents import read_document
from rackrate.catalog.types import Document
from rackrate.errors import UserError


class ModelEntry(Document):
    """One model of a fleet; the keys are the fields of a `FleetRequest`, paths count from the working directory."""

    name: str = Field(min_length=1)
    run: Path | None = None
    """A run directory of one replica."""
    capacity: str | None = None
    slots: int = Field(default=1, ge=1)
    """Of a machine's slots (GPUs) that one replica takes."""
    traffic: str
    profile: str | None = None
    weekdays: str | None = None
    mean_rate: str | None = None
    lengths: str | None = None
    cached_share: str | None = None
    growth: float = 0.0
    usage_model: str | None = None
    utc_offset: float = 0.0

    @model_validator(mode="after")
    def _one_capacity(self) -> Self:
        if (self.run is None) == (self.capacity is None):
            raise ValueError("a model needs either run or capacity")
        return self

    def traffic_fields(self, over: str | None, step: str | None) -> TrafficFields:
        """Its traffic, over a time and in steps that all models share."""
        return TrafficFields(**self.model_dump(exclude={"name", "run", "capacity", "slots"}), over=over, step=step)


def read_models(path: Path) -> list[ModelEntry]:
    """The models of a file, a YAML list of entries.

    Raises:
        UserError: with file, line and key.
    """
    entries = read_document(path, list[ModelEntry])
    names = [entry.name for entry in entries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if not entries or twice is not None:
        raise UserError(f"{path}: {'is an empty list' if not entries else f'the model {twice!r} is there twice'}")
    return entries
