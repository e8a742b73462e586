"""rackrate import: results of another load generator, as a run directory."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from rackrate.cli import options as given


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Results of one tool and model; several become the levels of one run.",
            show_default=False,
        ),
    ],
    out: given.RunDirectory = None,
    on: Annotated[
        str | None,
        typer.Option("--on", help="The machine it ran on, as an offer's id: aws/g5.xlarge.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The model, if the file names it otherwise.", show_default=False),
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="The engine, such as vLLM; files do not say.", show_default=False)
    ] = None,
    as_json: given.AsJson = False,
) -> None:
    """Read results of vLLM bench serve, guidellm, aiperf or genai-perf into a run, to show and price it.

    What a tool measures otherwise than rackrate, and what its file does not tell, is said here and kept with the run.
    """
    from rackrate.app.importing import ImportRequest, import_results
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver, say

    found = import_results(ImportRequest(tuple(files), out, on, model, engine), shell_context())
    deliver(found.kept, as_json=as_json)
    machine_hint = "" if on else " --offer NAME --as-if (or import with --on)"
    say(f"\nThe run is in {found.directory}. Next: rackrate price {shlex.quote(str(found.directory))}{machine_hint}")
