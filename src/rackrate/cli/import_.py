"""rackrate import: results of another load generator, as a run directory."""

from __future__ import annotations

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
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run directory.", show_default="runs/MODEL-TIME")
    ] = None,
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
    import platform
    import shlex
    import sys
    from contextlib import nullcontext
    from datetime import UTC, datetime

    from rackrate import __version__
    from rackrate.catalog.load import load_catalog
    from rackrate.cli.measure import fresh_directory
    from rackrate.cli.output import print_json, say, show
    from rackrate.cli.progress import waiting
    from rackrate.importers.build import Stated, build
    from rackrate.importers.detect import read_results
    from rackrate.measure.host import stated_machine
    from rackrate.metrics.summary import saturation, summarise
    from rackrate.report.terminal import run_tables
    from rackrate.report.view import run_view
    from rackrate.runs.records import Machine
    from rackrate.runs.store import RunWriter, read_run

    catalog = load_catalog()
    machine = stated_machine(catalog.offer(on)) if on else Machine(origin="unknown")
    megabytes = sum(path.stat().st_size for path in files if path.is_file()) / 1e6
    # some 20 MB take two seconds
    with waiting(f"reading {megabytes:.0f} MB") if megabytes > 20 else nullcontext():
        results = [result for path in files for result in read_results(path)]
    name = model or results[0].model
    known = catalog.known_model(name) if name else None
    run = build(
        results,
        Stated(
            machine=machine,
            model=model,
            catalogue_id=known.id if known else None,
            engine=engine,
            command=shlex.join(["rackrate", *sys.argv[1:]]),
            rackrate_version=__version__,
            python_version=platform.python_version(),
            now=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    )
    directory = out or fresh_directory(run.header.model.requested)
    with RunWriter(directory, run.header) as writer:
        for record in run.requests:
            writer.add(record)
        run.header.state = "complete"
        writer.finish()
    kept = read_run(directory)
    levels = summarise(kept)
    view = run_view(kept, levels, saturation(levels))
    if as_json:
        print_json(view)
    else:
        show(run_tables(view))
    machine_hint = "" if on else " --offer NAME --as-if (or import with --on)"
    say(f"\nThe run is in {directory}. Next: rackrate price {directory}{machine_hint}")
