"""What was measured on a machine, and what it says of the deployments of a plan: one point, or a calibration."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rackrate.catalog.load import Catalog
    from rackrate.models.read_model import ReadModel
    from rackrate.steptime.deployment import Deployment

FARTHEST = 1.5
"""A point that the corrected prediction misses by more than this factor is of another machine or load than it says."""


@dataclass(frozen=True)
class Correction:
    """A correction of predicted deployments."""

    correct: Callable[[Deployment], Deployment]
    """Gives other deployments back as they are."""
    sentence: str
    """What was measured, and which deployments it corrects."""


def by_anchor(text: str, catalog: Catalog, read: ReadModel, engine: str) -> Correction:
    """What one measured point of a machine says of the deployments on its accelerator and engine, and a sentence on it.

    The coefficients are corrected of the deployment that was measured; others of the machine then follow from these.

    Raises:
        UserError: not such a point, a deployment that cannot be, or a throughput that no correction explains.
    """
    from rackrate.catalog.places import place_of
    from rackrate.errors import UserError
    from rackrate.memory.fit import runnable_format
    from rackrate.models.formats import weight_format
    from rackrate.planner.candidates import kind_of, replica_of
    from rackrate.steptime.load import Load, Observed
    from rackrate.steptime.own_machine import anchored, with_logs

    parts = text.split(":")
    try:
        inputs, outputs, concurrency = (int(part) for part in parts[1:4])
        tok_s = float(parts[4])
        if len(parts) > 6 or min(inputs, outputs, concurrency) < 1 or not 0 < tok_s < math.inf:
            raise ValueError
    except (ValueError, IndexError):
        raise UserError(
            "{anchor} is ACCELERATOR[xN]:IN:OUT:CONCURRENCY:TOK_S[:WEIGHTS], whole numbers and a throughput above 0, "
            f"such as l4:512:256:32:410 or l4x2:512:256:32:700:awq, not {text!r}",
            field="anchor",
        ) from None
    place = place_of(parts[0], catalog)
    accelerator, count = place.accelerator, place.count
    form = weight_format(parts[5]).name if len(parts) == 6 else runnable_format(read.architecture, accelerator).name
    measured = replica_of(
        kind_of(accelerator, count, form, engine), read, accelerator, inputs + outputs, inputs + outputs / 2
    )
    if isinstance(measured, str):
        raise UserError(
            f"{{anchor}} {text}: cannot have been measured so, for {measured}; say xN and WEIGHTS as they were",
            field="anchor",
        )
    load = Load("closed", concurrency, max(concurrency * 8, 64), inputs, outputs)
    found = anchored(measured.deployment, [(load, Observed(output_tok_s=tok_s))])
    before, after = measured.deployment.replay(load).output_tok_s, found.deployment.replay(load).output_tok_s
    if not 1 / FARTHEST < after / tok_s < FARTHEST:
        raise UserError(
            f"{{anchor}} {text}: {before:,.0f} output tok/s are predicted there, and no correction of {form} on "
            f"{count} x {accelerator.id} explains {tok_s:,.6g}; was it this model, format, engine and load?",
            field="anchor",
        )

    def correct(deployment: Deployment) -> Deployment:
        if deployment.accelerator.id != accelerator.id or deployment.release.id != measured.deployment.release.id:
            return deployment
        return with_logs(deployment, found.logs)

    return Correction(
        correct,
        f"deployments on {accelerator.id} with {measured.deployment.release.id} corrected by one measured point: "
        f"{tok_s:,.4g} output tok/s of {form} on {count} with {concurrency} in flight ({inputs} in, {outputs} out), "
        f"where {before:,.4g} were predicted and {after:,.4g} are now",
    )


def by_calibration(path: Path, catalog: Catalog) -> Correction:
    """What a calibrated machine says of every deployment on its accelerator and engine, and that in a sentence."""
    from rackrate.calibration.document import read_calibration
    from rackrate.calibration.host import host_again
    from rackrate.errors import UserError
    from rackrate.steptime.own_machine import with_logs

    known = read_calibration(path)
    if not known.hardware_known:
        raise UserError(
            f"{path}: was made on {known.machine}, which is no accelerator of the catalogue's offers; "
            f"a simulation of {known.model} with it as {{calibration}} predicts that machine",
            field="calibration",
        )
    host_again(known, catalog)  # says now if it is of another version

    def correct(deployment: Deployment) -> Deployment:
        if deployment.accelerator.id != known.accelerator or deployment.release.id != known.engine:
            return deployment
        return with_logs(deployment, dict(known.coefficients))

    faults = f"; with levels that must not be priced: {', '.join(known.caveats)}" if known.caveats else ""
    return Correction(
        correct,
        f"deployments on {known.accelerator} with {known.engine} corrected by the calibration of {known.run} "
        f"(measured {known.run_created}{faults})",
    )
