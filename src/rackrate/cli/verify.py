"""rackrate verify: a calibration's predictions beside another measured run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rackrate.cli import options as given


def verify(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A measured run of other loads.")],
    calibrated: Annotated[
        Path, typer.Option("--calibration", help="The calibration, or the run that has one.", show_default=False)
    ],
    as_json: given.AsJson = False,
) -> None:
    """Show what a calibration predicts beside what a run measured, load by load.

    The run is of the same model, engine and machine, at lengths and loads that the calibration did not see.
    """
    from rackrate.calibration import calibrate as calibration
    from rackrate.cli.calibrate import FIGURES, figure
    from rackrate.cli.output import print_json, say, show
    from rackrate.errors import CalibrationError
    from rackrate.metrics.summary import summarise
    from rackrate.report.tables import plain_table
    from rackrate.runs.store import read_run

    known = calibration.read_calibration(calibrated)
    found = read_run(run)
    if found.header.mode == "simulated":
        say(f"note: {run} was simulated: what stands as measured is that")
    checks = calibration.verify(known, found, summarise(found))
    if not checks:
        raise CalibrationError(f"{run}: no level of the run was served, so that there is nothing to compare")
    summary = calibration.verification_view(known, run.resolve().name, checks)
    if as_json:
        print_json(summary)
        return
    table = plain_table("", "predicted", "80 % interval", "measured", "difference", " ", left=["", " "])
    last = ""
    for check in checks:
        if check.load != last:
            last = check.load
            table.add_row(" ".join((check.load, *check.caveats)))
        table.add_row(
            f"  {FIGURES[check.figure]}",
            figure(check.figure, check.predicted),
            f"{figure(check.figure, check.low)} to {figure(check.figure, check.high)}",
            figure(check.figure, check.measured),
            f"{(check.predicted / check.measured - 1) * 100:+.1f} %",
            "" if check.covered else "outside",
        )
    table.columns[0].no_wrap = False
    show(table)
    say(f"predicted with the calibration of {known.run} ({known.run_created}); measured {found.header.created}")
    for name, errors in summary["errors"].items():
        say(
            f"{FIGURES[name]}: off by {errors['median'] * 100:.1f} % in the median, "
            f"{errors['largest'] * 100:.1f} % at most; "
            f"{errors['covered']} of {errors['count']} within the 80 % interval"
        )
