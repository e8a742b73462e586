"""rackrate calibrate: coefficients of the step-time model, from published rows or from a run of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.calibration.calibrate import CalibrationFile
    from rackrate.steptime.coefficient_file import CoefficientFile

FIT = "fit"


def calibrate(
    what: Annotated[str, typer.Argument(metavar="RUN|fit", help="A measured run; or fit, for published rows.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data", help="With fit: a folder of CSV files of published rows; may be repeated.", show_default=False
        ),
    ] = None,
    other: Annotated[
        Path | None,
        typer.Option(
            "--other", help="With fit: a folder of other authors' rows, not fitted: they judge.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where to write.", show_default="RUN/calibration.json, or coefficients.json"),
    ] = None,
    iterations: Annotated[int, typer.Option("--iterations", help="With fit: Newton steps at most.", min=1)] = 8,
    report: Annotated[
        Path | None, typer.Option("--report", help="With fit: also write the page of errors.", show_default=False)
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="With fit: begin at the priors, not at the shipped coefficients.")
    ] = False,
    tensor_parallel: Annotated[
        int | None, typer.Option("--tp", help="Accelerators of a replica.", show_default="all of the machine", min=1)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Use levels that must not be priced, too.")] = False,
    as_json: given.AsJson = False,
) -> None:
    """Fit the step-time model to a run of your own endpoint, so that other loads of the same box can be predicted.

    Measure six to ten loads first, such as `rackrate measure --url ... -c 1,2,4,8,16,32,64`. With `fit`, the shared
    coefficients are fitted to a folder of published rows instead; that is how the shipped ones were made.
    """
    if what == FIT:
        _fit(data, other, out, report, iterations, from_scratch=from_scratch, as_json=as_json)
    else:
        _run(Path(what), out, tensor_parallel, force=force, as_json=as_json)


def _run(directory: Path, out: Path | None, tensor_parallel: int | None, *, force: bool, as_json: bool) -> None:
    from datetime import UTC, datetime

    from rackrate import __version__
    from rackrate.calibration import calibrate as calibration
    from rackrate.cli.output import print_json, say, write_text
    from rackrate.errors import CalibrationError
    from rackrate.metrics.summary import summarise
    from rackrate.runs.store import read_run

    run = read_run(directory)
    if run.header.mode == "simulated" and not force:
        raise CalibrationError(
            f"{directory}: was simulated: a calibration with it gives back what was predicted; measure the box, or "
            "--force it"
        )
    levels = summarise(run)
    if not force and (why := calibration.refusal(levels)) is not None:
        raise CalibrationError(f"{directory}: cannot be calibrated with: {why}")
    points = calibration.points_of(levels, run, force=force)
    if not points:
        raise CalibrationError(f"{directory}: no level of the run was served")
    box = calibration.host_of(run, tensor_parallel)
    found = calibration.calibrate(box, points)
    document = calibration.to_file(
        run, directory.resolve(), box, found, points,
        created=datetime.now(UTC).isoformat(timespec="seconds"), command=_command(), version=__version__,
    )  # fmt: skip
    target = out or directory / calibration.FILE
    write_text(target, document.model_dump_json(indent=1, by_alias=True) + "\n")
    if as_json:
        print_json(document.model_dump(mode="json", by_alias=True))
    else:
        _show(document)
    say(f"written to {target}; `rackrate verify RUN2 --calibration {target}` compares it with another run")


def _show(document: CalibrationFile) -> None:
    from rackrate.cli.output import say, show
    from rackrate.report.tables import plain_table

    table = plain_table("coefficient", "value", "80 % interval", left=["coefficient"])
    from rackrate.calibration.calibrate import describe

    for name, value, low, high in describe(document):
        table.add_row(name, value, f"{low} to {high}")
    show(table)
    say(
        f"{document.model} ({document.weights}) on {document.machine}, {document.engine}; "
        f"measured {document.run_created}"
    )
    if not document.hardware_known:
        say(
            "the catalogue has no datasheet of this hardware: shares are of nominal rates, "
            "and only this box is described"
        )
    residuals = plain_table("", "measured", "after calibration", "difference", left=[""])
    last = ""
    for residual in document.residuals:
        if residual.load != last:
            last = residual.load
            residuals.add_row(residual.load)
        residuals.add_row(
            f"  {FIGURES[residual.figure]}",
            figure(residual.figure, residual.measured),
            figure(residual.figure, residual.predicted),
            f"{(residual.predicted / residual.measured - 1) * 100:+.1f} %",
        )
    show(residuals)


FIGURES = {"output_tok_s": "output token/s", "tpot_s": "TPOT p50, ms", "ttft_s": "TTFT p50, ms"}


def figure(name: str, value: float | None) -> str:
    """A figure with its unit."""
    from rackrate.report.format import ms, rate

    return rate(value) if name == "output_tok_s" else ms(value)


def _command() -> str:
    import sys

    return " ".join(["rackrate", *(Path(arg).name if "/" in arg else arg for arg in sys.argv[1:])])


def _fit(
    data: list[Path] | None,
    other: Path | None,
    out: Path | None,
    report: Path | None,
    iterations: int,
    *,
    from_scratch: bool,
    as_json: bool,
) -> None:
    from datetime import UTC, datetime

    from rackrate import __version__
    from rackrate.cli.output import print_json, say, write_text
    from rackrate.errors import CalibrationError
    from rackrate.steptime import coefficient_file as coefficients
    from rackrate.validation import fit_file
    from rackrate.validation import view as validation_view

    if not data:
        raise CalibrationError("calibrate fit needs --data FOLDER, with CSV files of published rows (docs/predict.md)")
    start = None if from_scratch else coefficients.shipped().values
    document, fitted, left_out = fit_file.run(
        data, iterations=iterations, start=start, written=datetime.now(UTC).date().isoformat(), command=_command(),
        version=__version__, say=say, other=other,
    )  # fmt: skip
    target = out or Path(coefficients.FILE)
    write_text(target, coefficients.dump(document))
    if report is not None:
        view = validation_view.build(fitted.published, document, left_out, anchor=True, say=say)
        write_text(report, validation_view.page(view))
    if as_json:
        print_json(_fit_view(document))
    else:
        _show_fit(document)
    say(f"written to {target}")


def _fit_view(document: CoefficientFile) -> dict[str, Any]:
    return document.model_dump(mode="json", by_alias=True, exclude={"covariance", "covariance_names"})


def _show_fit(document: CoefficientFile) -> None:
    import math

    from rackrate.cli.output import show
    from rackrate.report.tables import plain_table

    table = plain_table("coefficient", "value", "80 % interval", left=["coefficient"])
    for name, value in document.values.items():
        if ":" in name:
            continue
        wide = 1.2816 * document.spreads.get(name, 0.0)
        low, high = math.exp(value - wide), math.exp(value + wide)
        table.add_row(name, f"{math.exp(value):.3g}", f"{low:.3g} to {high:.3g}")
    show(table)
