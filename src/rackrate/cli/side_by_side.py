"""rackrate side-by-side: several runs side by side, in one table and one chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.cli.pricing import PricingOptions
    from rackrate.runs.records import Run

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
    from rackrate.cli.output import print_json, show, write_text
    from rackrate.cli.pricing import PricingOptions
    from rackrate.errors import UserError
    from rackrate.report.comparison_outputs import comparison_html, comparison_markdown, comparison_tables

    options = PricingOptions(offers=offer or (), rigs=own or (), usd_per_hour=usd_per_hour, as_if=as_if, force=True)
    view = compared(runs, options)
    if out is not None:
        if out.suffix not in {".html", ".md"}:
            raise UserError(f"{out}: a comparison is written as .html or .md")
        write_text(out, comparison_html(view) if out.suffix == ".html" else comparison_markdown(view))
    if as_json:
        print_json(view)
    else:
        show(comparison_tables(view))


def compared(
    directories: Sequence[Path],
    options: PricingOptions,
    failures: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """The view of a comparison of run directories, labelled by what tells them apart."""
    from rackrate.cli.pricing import price_run
    from rackrate.errors import UserError
    from rackrate.metrics.summary import saturation, summarise
    from rackrate.report.comparison import Compared, comparison_view
    from rackrate.report.view import pricing_view, run_view
    from rackrate.runs.store import read_run

    read = [(directory, read_run(directory)) for directory in directories]
    labels = _labels([run for _, run in read], directories)
    rows: list[Compared] = []
    for (directory, run), label in zip(read, labels, strict=True):
        levels = summarise(run)
        pricing, failure = None, None
        try:
            pricing = pricing_view(price_run(directory, options).pricing)
        except UserError as error:
            failure = f"not priced: {error}"
        view = run_view(run, levels, saturation(levels))
        rows.append(Compared(label, str(directory), view, pricing, _quality(directory), failure))
    return comparison_view(rows, failures)


def _quality(directory: Path) -> dict[str, Any] | None:
    """What `rackrate quality --run` kept with a run: the row of the model that is not the reference."""
    import json

    from rackrate.cli.quality import FILE

    path = directory / FILE
    if not path.exists():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    return next((model for model in kept["models"] if model["model"] != kept["reference"]), None)


def _labels(runs: Sequence[Run], directories: Sequence[Path]) -> list[str]:
    """By engine; where that is not enough, with the weights; where that is not, with the directory."""
    namings: tuple[Callable[[int], str], ...] = (
        lambda n: runs[n].header.engine.name,
        lambda n: f"{runs[n].header.engine.name} {runs[n].header.model.weight_format or ''}".strip(),
        lambda n: f"{runs[n].header.engine.name} ({directories[n].name})",
    )
    labels: list[str] = []
    for naming in namings:
        labels = [naming(n) for n in range(len(runs))]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{label} {n + 1}" for n, label in enumerate(labels)]


def compare_engines(
    engines: Sequence[str], measure_one: Callable[[str, Path], object], directory: Path
) -> dict[str, Any]:
    """Measures one engine after the other into `directory`, and compares what could be measured.

    An engine that cannot be measured is named, and the others go on. Ctrl-C compares what there is.
    """
    from rackrate.cli.output import say, to_json, write_text
    from rackrate.cli.pricing import PricingOptions
    from rackrate.errors import EngineError, UserError
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
    view = compared(done, PricingOptions(force=True), failures)
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
