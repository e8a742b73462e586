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
    out: given.Out = None,
    as_json: given.AsJson = False,
) -> None:
    """Show what a calibration predicts beside what a run measured, load by load.

    The run is of the same model, engine and machine, at lengths and loads that the calibration did not see.
    """
    from rackrate.app.calibrating import VerifyRequest
    from rackrate.app.calibrating import verify as verification_of
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver

    deliver(verification_of(VerifyRequest(run, calibrated), shell_context()), as_json=as_json, out=out)
