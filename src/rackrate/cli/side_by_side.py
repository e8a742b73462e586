"""rackrate side-by-side: several runs side by side, in one table and one chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rackrate.cli import options as given

HTML, JSON = "comparison.html", "comparison.json"
COMMAND = "command.json"
"""What a comparison of engines was begun with, to go on with it."""


def side_by_side(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories.", show_default=False)],
    offer: given.Offers = None,
    own: given.Own = None,
    usd_per_hour: given.UsdPerHour = None,
    as_if: given.AsIf = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Also write a page (.html) or Markdown (.md).", show_default=False),
    ] = None,
    as_json: given.AsJson = False,
) -> None:
    """Set runs side by side: throughput, latency, USD per 1M tokens, and the ratio to a baseline.

    The baseline is the naive loop where it is among them, otherwise the slowest. Each run is priced at the load at
    which it served most; what stands against a figure is named beside it.
    """
    from rackrate.app.side_by_side import SideBySideRequest
    from rackrate.app.side_by_side import side_by_side as beside
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver, refuse_unknown_ending

    refuse_unknown_ending(out)
    request = SideBySideRequest(tuple(runs), tuple(offer or ()), tuple(own or ()), usd_per_hour, as_if)
    deliver(beside(request, shell_context()), as_json=as_json, out=out)


def compare_engines(
    engines: Sequence[str], measure_one: Callable[[str, Path], object], directory: Path
) -> dict[str, Any]:
    """Measures one engine after the other into `directory`, and compares what could be measured.

    An engine that cannot be measured is named, and the others go on. Ctrl-C compares what there is.
    """
    from rackrate.app.side_by_side import SideBySideRequest
    from rackrate.app.side_by_side import side_by_side as beside
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import say, to_json, write_text
    from rackrate.errors import EngineError, UserError
    from rackrate.report.comparison import side_by_side_view
    from rackrate.report.comparison_outputs import comparison_html
    from rackrate.runs.store import HEADER

    done: list[Path] = []
    failures: list[tuple[str, str]] = []
    for number, engine in enumerate(engines, start=1):
        say(f"\n{engine} ({number} of {len(engines)})")
        place = directory / engine
        try:
            measure_one(engine, place)
        except typer.Abort:
            break
        except UserError as error:
            failures.append((engine, str(error).splitlines()[0]))
            say(f"{engine}: {error}")
        if (place / HEADER).exists():
            done.append(place)
            if _interrupted(place):
                break
    if not done:
        raise EngineError(f"no engine could be measured: {'; '.join(why for _, why in failures) or 'stopped'}")
    view = side_by_side_view(beside(SideBySideRequest(tuple(done)), shell_context(), failures))
    write_text(directory / JSON, to_json(view) + "\n")
    write_text(directory / HTML, comparison_html(view))
    return view


def is_complete(directory: Path) -> bool:
    """Whether the run in a directory was measured to its end."""
    from rackrate.runs.store import HEADER, read_run

    return (directory / HEADER).exists() and read_run(directory).header.state == "complete"


def _interrupted(directory: Path) -> bool:
    from rackrate.runs.store import read_run

    return read_run(directory).header.state == "interrupted"
