"""rackrate report: a run and its pricing as one file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rackrate.cli import options as given


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="The file to write; -: standard output.",
            show_default="report.html for HTML, else standard output",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", "-f", help="html, md, json or csv.", show_default="by the ending of --out, else html"),
    ] = None,
    offer: given.Offers = None,
    own: given.Own = None,
    usd_per_hour: given.UsdPerHour = None,
    price_kind: given.PriceKindName = "on-demand",
    as_if: given.AsIf = False,
    utilisation: given.Utilisation = None,
    requests_per_second: given.RequestsPerSecond = None,
    requests_per_day: given.RequestsPerDay = None,
    api: given.Apis = None,
    hours_per_month: given.HoursPerMonth = 730.0,
    at_concurrency: given.AtConcurrency = None,
    force: given.Force = False,
) -> None:
    """Write a run and its pricing as one file: an HTML page that needs no network, Markdown, JSON or CSV.

    Machines and APIs are chosen as by `rackrate price`.
    """
    from rackrate.app.pricing import PriceRequest, price_run
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import print_text, refuse_unwritable, write_result
    from rackrate.cli.streams import json_for
    from rackrate.report.render import format_named, format_of, render

    printed = out == Path("-")
    named = None if printed else out
    kind = format_named(format) if format else format_of(named) if named is not None else "html"
    if named is not None:
        refuse_unwritable(named)
    request = PriceRequest(
        run=run,
        offers=tuple(offer or ()),
        rigs=tuple(own or ()),
        usd_per_hour=usd_per_hour,
        price_kind=price_kind,
        as_if=as_if,
        utilisation=utilisation,
        requests_per_second=requests_per_second,
        requests_per_day=requests_per_day,
        apis=tuple(api or ()),
        hours_per_month=hours_per_month,
        at_concurrency=at_concurrency,
        force=force,
    )
    text = render(price_run(request, shell_context()), kind)
    if printed or (named is None and kind != "html"):
        print_text(json_for(text, sys.stdout.encoding) if kind == "json" else text)
    else:
        write_result(named or Path("report.html"), text)
