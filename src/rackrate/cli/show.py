"""rackrate show: a run directory, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rackrate.cli import options as given


def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    out: given.Out = None,
    as_json: given.AsJson = False,
) -> None:
    """Show what a run measured: a row per load, with the caveats of its figures."""
    from rackrate.app.runs import LoadRequest, load
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver

    deliver(load(LoadRequest(run), shell_context()), as_json=as_json, out=out)
