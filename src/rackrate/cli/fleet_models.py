"""Several models that share machines, from a YAML file: each with its capacity, its traffic and its slots."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from rackrate.app.traffic import TrafficRequest, traffic_of
from rackrate.catalog.documents import read_document
from rackrate.catalog.types import Document
from rackrate.economics.fleet_types import FleetModel
from rackrate.economics.replica import parse_capacity, replica_of
from rackrate.errors import UserError


class ModelEntry(Document):
    """One model of a fleet; the keys are the options of `fleet`, the paths count from where the command runs."""

    name: str = Field(min_length=1)
    run: Path | None = None
    """A run directory of one replica."""
    capacity: str | None = None
    traffic: str
    slots: int = Field(default=1, ge=1)
    """Of a machine's slots (GPUs) that one replica takes."""
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


def read_models(path: Path, *, over: str | None, step: str | None, force: bool) -> list[FleetModel]:
    """The models of a file.

    Args:
        path: a YAML list of entries.
        over: how long, for all of them.
        step: in which steps, for all of them.
        force: take runs that are not capacity.

    Raises:
        UserError: with file, line and key.
    """
    from rackrate.economics.served import served_by

    entries = read_document(path, list[ModelEntry])
    names = [entry.name for entry in entries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if not entries or twice is not None:
        raise UserError(f"{path}: {'is an empty list' if not entries else f'the model {twice!r} is there twice'}")
    result: list[FleetModel] = []
    for entry in entries:
        if entry.capacity is not None:
            replica = parse_capacity(entry.capacity)
        else:
            assert entry.run is not None  # noqa: S101 - one of the two is given
            replica = replica_of(served_by(entry.run, force=force).serving)
        traffic = traffic_of(
            TrafficRequest(
                traffic=entry.traffic,
                profile=entry.profile,
                weekdays=entry.weekdays,
                mean_rate=entry.mean_rate,
                lengths=entry.lengths,
                cached_share=entry.cached_share,
                growth=entry.growth,
                over=over,
                step=step,
                usage_model=entry.usage_model,
                utc_offset=entry.utc_offset,
            ),
            60.0,
        )
        result.append(FleetModel(entry.name, traffic, replica, entry.slots))
    return result
