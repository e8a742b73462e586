"""A run read back with its metrics, and what one machine of it serves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rackrate.app.request_json import Request

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.metrics.saturation import Saturation
    from rackrate.metrics.summary import LevelSummary
    from rackrate.runs.records import Run


@dataclass(frozen=True)
class LoadRequest(Request):
    """Which run to read."""

    NAME: ClassVar[str] = "load"

    run: Path


@dataclass(frozen=True)
class LoadedRun:
    """A run, a summary of each of its levels, and the one that served most."""

    run: Run
    levels: list[LevelSummary]
    best: Saturation | None
    """None where nothing was served."""


def load(request: LoadRequest, context: Context) -> LoadedRun:
    """Reads a run directory and computes its metrics.

    Raises:
        RunError: the run cannot be read.
    """
    del context  # a run holds all that its metrics need
    from rackrate.runs.store import read_run

    return summarised(read_run(request.run))


def summarised(run: Run) -> LoadedRun:
    """The metrics of a run at hand."""
    from rackrate.metrics.saturation import saturation
    from rackrate.metrics.summary import summarise

    levels = summarise(run)
    return LoadedRun(run, levels, saturation(levels))
