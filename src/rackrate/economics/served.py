"""What a run serves: its best level as one machine's throughput, refused where that must not be taken as capacity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate.errors import PriceError, RunError

if TYPE_CHECKING:
    from rackrate.economics.ratecard import Serving
    from rackrate.metrics.saturation import Saturation
    from rackrate.metrics.summary import LevelSummary
    from rackrate.runs.records import Run


PREDICTION_ERROR = "throughput_error_80"
"""Setting of a simulated run: half of the 80 % interval of ln(predicted/observed) of its throughput."""


@dataclass(frozen=True)
class Served:
    """A run, its summaries, and what one machine serves at its best level."""

    run: Run
    levels: list[LevelSummary]
    best: Saturation
    serving: Serving


def served_by(
    directory: Path, *, at_concurrency: int | None = None, force: bool = False, name: str | None = None
) -> Served:
    """Reads a run and takes its best level (or the stated one) as what one machine serves.

    Args:
        directory: of the run.
        at_concurrency: the level to take; None: the one that served most.
        force: take a level that is not the machine's capacity; its caveats stay with the figures.
        name: how the run is called in the origin; None: by its directory.

    Raises:
        RunError: unreadable, or nothing was served.
        PriceError: the level is not the machine's capacity, and `force` is not given.
    """
    from rackrate.economics.ratecard import serving_of
    from rackrate.economics.uncertainty import with_prediction_error
    from rackrate.metrics.saturation import saturation
    from rackrate.metrics.summary import CAVEATS, summarise
    from rackrate.runs.store import read_run

    run = read_run(directory)
    levels = summarise(run)
    best = saturation(levels, at_concurrency)
    if best is None:
        known = ", ".join(str(level.concurrency) for level in levels if level.kind == "closed" and level.output_tok_s)
        if at_concurrency is not None and known:
            raise RunError(f"{directory} has no level of {at_concurrency} in flight; it has {known}")
        if any(level.requests for level in levels if level.kind != "prefill"):
            raise RunError(
                f"{directory}: too few requests to know a throughput; measure longer, there is nothing to price"
            )
        raise RunError(f"{directory}: no request was answered, so there is nothing to price")
    if best.level.concurrency:
        load_text = f"{best.level.concurrency} {'users' if best.level.conversations else 'in flight'}"
    else:
        load_text = f"{best.level.rate:.4g} {'conversations' if best.level.conversations else 'requests'}/s"
    if best.caveats and not force:
        reasons = "; ".join(f"{name} ({CAVEATS[name]})" for name in best.caveats)
        raise PriceError(
            f"the best level of {directory} ({load_text}) is not the machine's capacity: "
            f"{reasons}; measure again, or price it all the same with {{force}}",
            field="force",
        )
    imported = run.header.imported
    how = f"{run.header.mode} {run.header.created[:10]} by rackrate {run.header.rackrate_version}"
    if imported is not None:
        how = f"measured {run.header.created[:10]} by {imported.tool} {imported.version or ''}".rstrip() + ", imported"
    origin = f"{how}: {name or directory}, {load_text}, {best.level.requests} requests"
    serving = serving_of(best, origin)
    error = run.header.engine.settings.get(PREDICTION_ERROR) if run.header.mode == "simulated" else None
    if isinstance(error, float):
        half = with_prediction_error(serving.relative_half_width, error)
        serving = replace(serving, relative_half_width=half, origin=f"{origin}; \u00b1 counts the error of predictions")
    return Served(run, levels, best, serving)
