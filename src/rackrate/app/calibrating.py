"""Fit the step-time model: to a run of one's own, or to published rows; and hold a calibration against another run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from rackrate import bounds
from rackrate.app.request_json import Request

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.calibration.document import CalibrationFile
    from rackrate.calibration.verification import Check
    from rackrate.runs.records import RunHeader
    from rackrate.steptime.coefficient_file import CoefficientFile
    from rackrate.validation.results import Validation


@dataclass(frozen=True)
class CalibrateRequest(Request):
    """Which run to calibrate with."""

    NAME: ClassVar[str] = "calibrate"

    run: Path
    tp: bounds.Ranks | None = None
    """Accelerators of a replica; None: all of the machine."""
    force: bool = False
    """Use levels that must not be priced, too."""


def calibrate(request: CalibrateRequest, context: Context) -> CalibrationFile:
    """The coefficients of the machine that a run was measured on, as a document to be written beside the run.

    Raises:
        RunError: the run cannot be read.
        CalibrationError: it cannot be calibrated with, or its model or machine is not known.
    """
    from rackrate.calibration import calibrate as calibration
    from rackrate.calibration.host import host_of
    from rackrate.calibration.points import points_of, refusal
    from rackrate.errors import CalibrationError
    from rackrate.metrics.summary import summarise
    from rackrate.runs.store import read_run

    directory, force = request.run, request.force
    run = read_run(directory)
    if run.header.mode == "simulated" and not force:
        raise CalibrationError(
            f"{directory}: was simulated: a calibration with it gives back what was predicted; measure the machine, or "
            "{force} it",
            field="force",
        )
    levels = summarise(run)
    if not force and (why := refusal(levels)) is not None:
        raise CalibrationError(f"{directory}: cannot be calibrated with: {why}", fields=("force", "levels"))
    points = points_of(levels, run, force=force)
    if not points:
        raise CalibrationError(f"{directory}: no level of the run was served")
    host = host_of(run, context.catalog, request.tp)
    found = calibration.calibrate(host, points)
    return calibration.to_file(
        run, directory.resolve(), host, found, points, created=context.now(),
        command=_command(context), version=context.provenance.version,
    )  # fmt: skip


def _command(context: Context) -> str:
    """The command without directories: a file of coefficients is handed on, and is of no one's machine."""
    import shlex

    words = shlex.split(context.provenance.command)
    return " ".join(Path(word).name if "/" in word else word for word in words)


@dataclass(frozen=True)
class FitCoefficientsRequest(Request):
    """Which published rows to fit the shared coefficients to."""

    NAME: ClassVar[str] = "fit-coefficients"

    data: bounds.Paths
    """Folders of CSV files of published rows."""
    other: Path | None = None
    """A folder of other authors' rows, held out: not fitted."""
    iterations: Annotated[int, bounds.Bounds("a whole number", 1, 1000)] = 8
    """Newton steps at most."""
    from_scratch: bool = False
    """Begin at the priors, not at the shipped coefficients."""
    validated: bool = False
    """Also predict every row with the coefficients."""


@dataclass(frozen=True)
class FittedCoefficients:
    """The coefficients, and how well they predict where this was asked for."""

    file: CoefficientFile
    validation: Validation | None


def fit_coefficients(request: FitCoefficientsRequest, context: Context) -> FittedCoefficients:
    """The coefficients that published rows make most probable; that is how the shipped ones were made.

    Raises:
        UserError: no folder, a file that is not of the format, too few figures to fit.
    """
    from rackrate.errors import CalibrationError
    from rackrate.steptime import coefficient_file
    from rackrate.validation import fit_file
    from rackrate.validation.names import PublishedNames
    from rackrate.validation.results import validation_of

    if not request.data:
        raise CalibrationError(
            "fitting needs {data} FOLDER, with CSV files of published rows (docs/predict.md)", field="data"
        )
    say = context.notify.note
    start = None if request.from_scratch else coefficient_file.shipped().values
    document, fitted, left_out = fit_file.run(
        request.data, PublishedNames(context.catalog), iterations=request.iterations, start=start,
        written=context.today(), command=_command(context), version=context.provenance.version, say=say,
        other=request.other,
    )  # fmt: skip
    validation = None
    if request.validated:
        validation = validation_of(fitted.published, document, left_out, anchor=True, say=say)
    return FittedCoefficients(document, validation)


@dataclass(frozen=True)
class VerifyRequest(Request):
    """Which run to compare with which calibration."""

    NAME: ClassVar[str] = "verify"

    run: Path
    """A measured run of other loads, of the same model, engine and machine."""
    calibration: Path
    """The calibration, or the run that has one."""


@dataclass(frozen=True)
class Verification:
    """What a calibration predicts beside what a run measured."""

    known: CalibrationFile
    header: RunHeader
    name: str
    """Of the run's directory."""
    checks: tuple[Check, ...]


def verify(request: VerifyRequest, context: Context) -> Verification:
    """Every figure of every served level beside its prediction.

    Raises:
        RunError: the run cannot be read.
        CalibrationError: the calibration is of another machine, or no level of the run was served.
    """
    from rackrate.calibration import verification
    from rackrate.calibration.document import read_calibration
    from rackrate.errors import CalibrationError
    from rackrate.metrics.summary import summarise
    from rackrate.runs.store import read_run

    known = read_calibration(request.calibration)
    run = read_run(request.run)
    if run.header.mode == "simulated":
        context.notify.note(f"note: {request.run} was simulated: what stands as measured is that")
    checks = verification.verify(known, run, summarise(run), context.catalog)
    if not checks:
        raise CalibrationError(f"{request.run}: no level of the run was served, so that there is nothing to compare")
    return Verification(known, run.header, request.run.resolve().name, tuple(checks))
