"""rackrate calibrate: coefficients of the step-time model, from published rows or from a run of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.app.calibrating import CalibrateRequest, FitCoefficientsRequest

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
            "--other", help="With fit: a folder of other authors' rows, held out: not fitted.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where to write.", show_default="RUN/calibration.json, or coefficients.json"),
    ] = None,
    iterations: Annotated[int, typer.Option("--iterations", help="With fit: Newton steps at most.", min=1)] = 8,
    report: given.Page = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="With fit: begin at the priors, not at the shipped coefficients.")
    ] = False,
    tensor_parallel: Annotated[
        int | None, typer.Option("--tp", help="Accelerators of a replica.", show_default="all of the machine", min=1)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Use levels that must not be priced, too.")] = False,
    as_json: given.AsJson = False,
) -> None:
    """Fit the step-time model to a run of your own endpoint, so that other loads of the same machine can be predicted.

    Measure six to ten loads first, such as `rackrate measure --url ... -c 1,2,4,8,16,32,64`. With `fit`, the shared
    coefficients are fitted to a folder of published rows instead; that is how the shipped ones were made. --report
    writes what is printed of a run, and with `fit` how far predictions are off.
    """
    from rackrate.app.calibrating import CalibrateRequest, FitCoefficientsRequest

    if what == FIT:
        asked = FitCoefficientsRequest(
            tuple(data or ()), other, iterations, from_scratch=from_scratch, validated=report is not None
        )
        _fit(asked, out, report, as_json=as_json)
    else:
        _run(CalibrateRequest(Path(what), tensor_parallel, force), out, report, as_json=as_json)


def _run(request: CalibrateRequest, out: Path | None, report: Path | None, *, as_json: bool) -> None:
    from rackrate.app.calibrating import calibrate as calibration_of
    from rackrate.calibration.document import FILE
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver, refuse_unwritable, say, write_text

    target = out or request.run / FILE
    refuse_unwritable(target)
    document = calibration_of(request, shell_context())
    write_text(target, document.model_dump_json(indent=1, by_alias=True) + "\n")
    deliver(document, as_json=as_json, out=report)
    say(f"written to {target}; `rackrate verify RUN2 --calibration {target}` compares it with another run")


def _fit(request: FitCoefficientsRequest, out: Path | None, report: Path | None, *, as_json: bool) -> None:
    from rackrate.app.calibrating import fit_coefficients
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver, refuse_unwritable, say, write_result, write_text
    from rackrate.report.render import format_of, render
    from rackrate.steptime.coefficient_file import FILE, dump

    target = out or Path(FILE)
    refuse_unwritable(target)
    fitted = fit_coefficients(request, shell_context())
    write_text(target, dump(fitted.file))
    if report is not None and fitted.validation is not None:
        write_result(report, render(fitted.validation, format_of(report)))
    deliver(fitted, as_json=as_json)
    say(f"written to {target}")
