"""rackrate validate: predicts every row of a file of published measurements, and says how far off it was."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rackrate.cli import options as given


def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV files of published rows, or folders.")],
    cv: Annotated[
        bool,
        typer.Option(
            "--cv",
            help="Also predict each accelerator, source, family and configuration with its rows left out (minutes).",
        ),
    ] = False,
    other: Annotated[
        Path | None,
        typer.Option(
            "--other", help="A folder of rows of other authors, shown apart: no fit has seen them.", show_default=False
        ),
    ] = None,
    anchor: Annotated[
        bool, typer.Option("--anchor", help="Also predict the rest of each machine from one of its rows.")
    ] = False,
    coefficients: Annotated[
        Path | None,
        typer.Option("--coefficients", help="Of `calibrate fit`.", show_default="the shipped ones"),
    ] = None,
    out: given.Out = None,
    as_json: given.AsJson = False,
) -> None:
    """Predict every row of files in the published format and print the errors, by class of prediction.

    Rows are predicted as an unknown machine: without what their own machine taught. A row that cannot be predicted is
    counted with its reason.
    """
    from rackrate.app.validating import ValidateRequest
    from rackrate.app.validating import validate as validation_of
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver

    found = validation_of(ValidateRequest(tuple(files), cv, other, anchor, coefficients), shell_context())
    deliver(found, as_json=as_json, out=out)
