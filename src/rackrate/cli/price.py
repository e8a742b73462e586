"""rackrate price: what a million tokens costs on a machine, and against APIs."""

from __future__ import annotations

from pathlib import Path

import typer


def price(
    run: Path = typer.Argument(None, metavar="[RUN]", help="A run directory.", show_default=False),  # noqa: B008
    tokens_per_second: float = typer.Option(None, "--tokens-per-second", help="Instead of a run: a throughput that you state.", show_default=False),
    mix: str = typer.Option("1:1", "--mix", help="With --tokens-per-second: input to output tokens of the API's bill."),
    offer: list[str] = typer.Option(None, "--offer", help="A rented machine, such as aws/g4dn.12xlarge; may be repeated.", show_default="the nearest to the run's machine"),  # noqa: B008
    own: list[Path] = typer.Option(None, "--own", help="A machine that you own, as a YAML file; may be repeated.", show_default="an assumption, printed in full"),  # noqa: B008
    usd_per_hour: float = typer.Option(None, "--usd-per-hour", help="A machine at a price that you state.", show_default=False),
    price_kind: str = typer.Option("on-demand", "--price-kind", help="on-demand, spot, reserved-1y or reserved-3y."),
    as_if: bool = typer.Option(False, "--as-if", help="Price by a machine other than the one the run ran on, and say so."),
    utilisation: float = typer.Option(None, "--utilisation", "-u", help="Share of full load that you expect, 0 to 1.", show_default=False),
    requests_per_second: float = typer.Option(None, "--requests-per-second", help="Or the request rate that you expect.", show_default=False),
    requests_per_day: float = typer.Option(None, "--requests-per-day", help="Or the same per day.", show_default=False),
    api: list[str] = typer.Option(None, "--api", help="Compare with this API, such as openai/gpt-4o-mini; may be repeated.", show_default="gpt-3.5-turbo and gpt-6-luna"),  # noqa: B008
    all_apis: bool = typer.Option(False, "--all-apis", help="Show every API that sells the same model, not the eight cheapest."),
    hours_per_month: float = typer.Option(730.0, "--hours-per-month", help="Hours of a month; some articles take 720."),
    at_concurrency: int = typer.Option(None, "--at-concurrency", help="Price this level of the run.", show_default="the one that served most"),
    force: bool = typer.Option(False, "--force", help="Price figures that are not the machine's capacity, and say so."),
    sources: bool = typer.Option(False, "--sources", help="Say where every figure comes from."),
    save_rig: Path = typer.Option(None, "--save-rig", metavar="FILE", help="Write the assumed owned machine as YAML to edit, and stop.", show_default=False),  # noqa: B008
    as_json: bool = typer.Option(False, "--json", help="Print JSON (docs/json.md describes it)."),
) -> None:
    """Price a run (or a stated throughput): USD per 1M tokens, per month, against APIs, and where they break even."""
    from rackrate.cli.output import print_json, show
    from rackrate.cli.pricing import PricingOptions, price_run, price_stated
    from rackrate.cli.pricing import save_rig as write_rig
    from rackrate.errors import PriceError
    from rackrate.report.terminal import pricing_tables
    from rackrate.report.view import pricing_view

    if (run is None) == (tokens_per_second is None):
        raise PriceError("say what to price: either a RUN directory, or --tokens-per-second")
    if save_rig is not None:
        if run is None:
            raise PriceError("--save-rig needs a RUN: it writes the assumption for the run's machine")
        write_rig(run, save_rig)
        show(f"wrote {save_rig}; edit it, then: rackrate price {run} --own {save_rig}")
        return
    options = PricingOptions(
        offers=offer or (), rigs=own or (), usd_per_hour=usd_per_hour, price_kind=price_kind, as_if=as_if,
        utilisation=utilisation, requests_per_second=requests_per_second, requests_per_day=requests_per_day,
        apis=api or (), hours_per_month=hours_per_month, at_concurrency=at_concurrency, force=force,
    )  # fmt: skip
    pricing = price_run(run, options).pricing if run is not None else price_stated(tokens_per_second, mix, options)
    view = pricing_view(pricing)
    if as_json:
        print_json(view)
    else:
        show(pricing_tables(view, sources=sources, api_rows=None if all_apis else 8))
