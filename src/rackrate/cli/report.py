"""rackrate report: a run and its pricing as one file."""

from __future__ import annotations

from pathlib import Path

import typer

_FORMATS = ("html", "md", "json", "csv")


def report(
    run: Path = typer.Argument(..., metavar="RUN", help="A run directory."),  # noqa: B008
    out: Path = typer.Option(None, "-o", "--out", help="The file to write.", show_default="standard output; report.html for HTML"),  # noqa: B008
    format: str = typer.Option(None, "--format", "-f", help="html, md, json or csv.", show_default="by the ending of --out, else html"),
    offer: list[str] = typer.Option(None, "--offer", help="A rented machine; may be repeated.", show_default="the nearest to the run's machine"),  # noqa: B008
    own: list[Path] = typer.Option(None, "--own", help="A machine that you own, as a YAML file; may be repeated.", show_default="an assumption, printed in full"),  # noqa: B008
    usd_per_hour: float = typer.Option(None, "--usd-per-hour", help="A machine at a price that you state.", show_default=False),
    price_kind: str = typer.Option("on-demand", "--price-kind", help="on-demand, spot, reserved-1y or reserved-3y."),
    as_if: bool = typer.Option(False, "--as-if", help="Price by a machine other than the one the run ran on, and say so."),
    utilisation: float = typer.Option(None, "--utilisation", "-u", help="Share of full load that you expect, 0 to 1.", show_default=False),
    requests_per_second: float = typer.Option(None, "--requests-per-second", help="Or the request rate that you expect.", show_default=False),
    requests_per_day: float = typer.Option(None, "--requests-per-day", help="Or the same per day.", show_default=False),
    api: list[str] = typer.Option(None, "--api", help="Compare with this API; may be repeated.", show_default="gpt-3.5-turbo and gpt-6-luna"),  # noqa: B008
    hours_per_month: float = typer.Option(730.0, "--hours-per-month", help="Hours of a month."),
    at_concurrency: int = typer.Option(None, "--at-concurrency", help="Price this level of the run.", show_default="the one that served most"),
    force: bool = typer.Option(False, "--force", help="Price figures that are not the machine's capacity, and say so."),
) -> None:
    """Write a run and its pricing as one file: an HTML page that needs no network, Markdown, JSON or CSV."""
    from rackrate.cli.output import say, to_json, write_text
    from rackrate.cli.pricing import PricingOptions, price_run
    from rackrate.errors import UserError, did_you_mean
    from rackrate.report.view import pricing_view, run_view

    ending = out.suffix.lstrip(".").lower() if out is not None else ""
    kind = (format or {"markdown": "md", "htm": "html"}.get(ending, ending) or "html").lower()
    if kind not in _FORMATS:
        raise UserError(f"--format is one of {', '.join(_FORMATS)}, not {kind!r}{did_you_mean(kind, _FORMATS)}")
    options = PricingOptions(
        offers=offer or (), rigs=own or (), usd_per_hour=usd_per_hour, price_kind=price_kind, as_if=as_if,
        utilisation=utilisation, requests_per_second=requests_per_second, requests_per_day=requests_per_day,
        apis=api or (), hours_per_month=hours_per_month, at_concurrency=at_concurrency, force=force,
    )  # fmt: skip
    priced = price_run(run, options)
    view = run_view(priced.run, priced.levels, priced.best)
    prices = pricing_view(priced.pricing)
    match kind:
        case "json":
            text = to_json({"run": view, "pricing": prices}) + "\n"
        case "csv":
            from rackrate.report.csv import csv_report

            text = csv_report(view, prices)
        case "md":
            from rackrate.report.markdown import markdown_report

            text = markdown_report(view, prices)
        case _:
            from rackrate.report.html import html_report

            text = html_report(view, prices)
            out = out or Path("report.html")
    if out is None:
        print(text, end="")
    else:
        write_text(out, text)
        say(f"wrote {out} ({len(text.encode()) / 1e6:.1f} MB)" if kind == "html" else f"wrote {out}")
