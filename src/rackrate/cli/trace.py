"""rackrate trace: what a file of recorded requests is like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rackrate.cli import options as given


def trace(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Azure's CSV, Mooncake's JSON lines, or a CSV of your own.")
    ],
    out: given.Out = None,
    as_json: given.AsJson = False,
) -> None:
    """Show what recorded requests are like: rate, burstiness, lengths, how much of the prompts is shared.

    `rackrate measure --trace FILE` sends them. docs/load.md describes the files.
    """
    from rackrate.app.traces import TraceRequest, summarise
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver

    deliver(summarise(TraceRequest(file), shell_context()), as_json=as_json, out=out)
