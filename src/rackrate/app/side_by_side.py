"""Set finished runs side by side: what each served, what it costs, and what tells them apart."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rackrate import bounds
from rackrate.app.quality import FILE as QUALITY_FILE
from rackrate.app.request_json import Request
from rackrate.app.runs import LoadedRun, summarised
from rackrate.files import read_bytes

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.economics.pricing import Pricing
    from rackrate.engines.quality import Quality
    from rackrate.runs.records import Run

_MOST_QUALITY = 16 << 20
"""Bytes of a comparison of qualities."""


@dataclass(frozen=True)
class SideBySideRequest(Request):
    """Which runs, and the machines to price them by (as `PriceRequest` has them)."""

    NAME: ClassVar[str] = "side-by-side"

    runs: bounds.Paths
    offers: bounds.Names = ()
    rigs: bounds.Paths = ()
    usd_per_hour: bounds.UsdPerHour | None = None
    as_if: bool = False


@dataclass(frozen=True)
class ComparedRun:
    """A run beside others."""

    label: str
    """What tells it from the others."""
    directory: Path
    loaded: LoadedRun
    pricing: Pricing | None
    quality: Quality | None
    """The row of its weights in what `quality` kept with it."""
    failure: str | None
    """Why it has no price."""


@dataclass(frozen=True)
class SideBySide:
    """Runs in the order given, and what could not be measured (a name and a reason each)."""

    runs: tuple[ComparedRun, ...]
    failures: tuple[tuple[str, str], ...] = ()


def side_by_side(request: SideBySideRequest, context: Context, failures: Sequence[tuple[str, str]] = ()) -> SideBySide:
    """Reads, labels and prices runs. A run that cannot be priced says why; the others go on.

    Raises:
        RunError: a run cannot be read.
    """
    from rackrate.app.pricing import PriceRequest, price_run
    from rackrate.errors import CatalogError, UserError
    from rackrate.runs.store import read_run

    read = [(directory, read_run(directory)) for directory in request.runs]
    labels = _labels([run for _, run in read], request.runs)
    compared: list[ComparedRun] = []
    for (directory, run), label in zip(read, labels, strict=True):
        pricing, failure = None, None
        asked = PriceRequest(
            run=directory, offers=request.offers, rigs=request.rigs, usd_per_hour=request.usd_per_hour,
            as_if=request.as_if, force=True,
        )  # fmt: skip
        try:
            pricing = price_run(asked, context).pricing
        except CatalogError:
            raise  # an offer that there is not is nobody's
        except UserError as error:
            failure = f"not priced: {error.named(context.name_field)}"
        compared.append(ComparedRun(label, directory, summarised(run), pricing, _quality(directory), failure))
    return SideBySide(tuple(compared), tuple(failures))


def _quality(directory: Path) -> Quality | None:
    """The row of the model that is not the reference. Raises RunError where the file is damaged."""
    import json

    from rackrate.engines.quality import Quality
    from rackrate.errors import RunError

    path = directory / QUALITY_FILE
    if not os.path.lexists(path):
        return None
    try:
        kept = json.loads(read_bytes(path, _MOST_QUALITY, links=False))
        found = next((model for model in kept["models"] if model["model"] != kept["reference"]), None)
        return None if found is None else Quality(**found)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError, StopIteration, RecursionError) as error:
        raise RunError(f"{path}: is no comparison of qualities ({type(error).__name__})") from None


def _labels(runs: Sequence[Run], directories: Sequence[Path]) -> list[str]:
    """By engine; where that is not enough, with the weights; where that is not, with the directory."""
    namings: tuple[Callable[[int], str], ...] = (
        lambda n: runs[n].header.engine.name,
        lambda n: f"{runs[n].header.engine.name} {runs[n].header.model.weight_format or ''}".strip(),
        lambda n: f"{runs[n].header.engine.name} ({directories[n].name})",
    )
    labels: list[str] = []
    for naming in namings:
        labels = [naming(n) for n in range(len(runs))]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{label} {n + 1}" for n, label in enumerate(labels)]
