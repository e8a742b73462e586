"""Calibration: the one arrow back. A measured run of one's own endpoint refits the coefficients of its step time.

A run's levels become the loads that the step-time model replays (`points`); the coefficients that agree with them
best are written beside the run, and price or verify any other load of the same machine
(steptime/own_machine.py has the arithmetic).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rackrate.calibration.document import CalibrationFile, Residual
from rackrate.calibration.host import CalibratedHost, cores_of
from rackrate.calibration.points import HARMLESS, Point, label
from rackrate.errors import CalibrationError
from rackrate.runs.records import Run
from rackrate.steptime.own_machine import Calibrated, calibrate_host, known_coefficients, with_logs


def calibrate(host: CalibratedHost, points: Sequence[Point]) -> Calibrated:
    """The host's own coefficients."""
    return calibrate_host(
        host.deployment,
        [(load, observed) for _, load, observed in points],
        unknown_hardware=not host.hardware_known,
        replay=host.replay,
    )


def to_file(
    run: Run,
    directory: Path,
    host: CalibratedHost,
    calibrated: Calibrated,
    points: Sequence[Point],
    *,
    created: str,
    command: str,
    version: str,
) -> CalibrationFile:
    """The document to write beside the run."""
    threads = run.header.engine.settings.get("threads")
    residuals: list[Residual] = []
    for index, figure, error in calibrated.residuals:
        level, _, observed = points[index]
        measured = float(getattr(observed, figure))
        residuals.append(
            Residual(load=label(level), figure=figure, measured=measured, predicted=measured * math.exp(error))
        )
    deployment = host.deployment
    return CalibrationFile(
        created=created,
        command=command,
        rackrate_version=version,
        run=directory.name,
        run_created=run.header.created,
        model=deployment.model.name,
        accelerator=deployment.accelerator.id,
        machine=host.machine,
        hardware_known=host.hardware_known,
        engine=deployment.release.id,
        weights=deployment.weights,
        tensor_parallel=deployment.parallel.tensor,
        slots=deployment.scheduler.slots,
        threads=threads if isinstance(threads, int) else None,
        coefficients={name: round(value, 6) for name, value in calibrated.logs.items()},
        spreads={name: round(value, 4) for name, value in calibrated.spreads.items()},
        residuals=tuple(residuals),
        cores=cores_of(run.header),
        settings=run.header.engine.settings,
        caveats=tuple(
            sorted(
                {name for level, _, _ in points for name in level.caveats if name not in HARMLESS}
                | ({"simulated"} if run.header.mode == "simulated" else set())
            )
        ),
    )


def apply(known: CalibrationFile, host: CalibratedHost) -> Calibrated:
    """The host of another run with the coefficients of a calibration. Raises CalibrationError where that is
    another."""
    deployment = host.deployment
    for what, theirs, ours in (
        ("model", known.model, deployment.model.name),
        ("accelerator", known.accelerator, deployment.accelerator.id),
        ("engine", known.engine, deployment.release.id),
        ("weight format", known.weights, deployment.weights),
        ("machine", known.machine, host.machine),
    ):
        if theirs != ours:
            raise CalibrationError(f"the calibration is of another {what}: {theirs}, and the run is of {ours}")
    unknown = set(known.coefficients) - set(vars(known_coefficients(deployment)))
    if unknown:
        raise CalibrationError(
            f"the calibration has coefficients that this version does not: {', '.join(sorted(unknown))}"
        )
    residuals = tuple(
        (index, residual.figure, math.log(residual.predicted / residual.measured))
        for index, residual in enumerate(known.residuals)
    )
    return Calibrated(
        with_logs(deployment, dict(known.coefficients)), dict(known.coefficients), dict(known.spreads), residuals
    )
