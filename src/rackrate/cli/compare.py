"""rackrate compare: machines and APIs for the same requests, ranked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rackrate.cli import options as given


def compare(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)] = None,
    tokens_per_second: Annotated[
        str | None,
        typer.Option(
            "--tokens-per-second",
            help="Instead of a run: what one machine serves, input and output; 400, or 300..500 (80 %).",
            show_default=False,
        ),
    ] = None,
    mix: Annotated[str, typer.Option("--mix", help="With --tokens-per-second: input to output tokens.")] = "1:1",
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="With --tokens-per-second: the model.", show_default=False),
    ] = None,
    offer: given.Offers = None,
    own: given.Own = None,
    usd_per_hour: given.UsdPerHour = None,
    price_kind: given.PriceKindName = "on-demand",
    as_if: given.AsIf = False,
    utilisation: given.Utilisation = None,
    tokens_per_month: Annotated[
        str | None,
        typer.Option(
            "--tokens-per-month",
            help="Or the tokens a month that you expect; 2e9, or 1e9..4e9 (80 %).",
            show_default=False,
        ),
    ] = None,
    requests_per_day: given.RequestsPerDay = None,
    peak_to_mean: Annotated[
        float, typer.Option("--peak-to-mean", help="Machines are for a peak of so many times the mean rate.")
    ] = 1.0,
    api: given.Apis = None,
    all_apis: Annotated[
        bool, typer.Option("--all-apis", help="Every API that sells the same model, not the eight cheapest.")
    ] = False,
    batch: Annotated[bool, typer.Option("--batch", help="The requests may wait: batch prices, where listed.")] = False,
    discount: Annotated[
        list[str] | None,
        typer.Option("--discount", help="Negotiated, PROVIDER=SHARE or PROVIDER/MODEL=SHARE.", show_default=False),
    ] = None,
    tokenizer_ratio: Annotated[
        list[str] | None,
        typer.Option(
            "--tokenizer-ratio",
            help="PROVIDER/MODEL=RATIO: its tokens for each of your model's, same text.",
            show_default=False,
        ),
    ] = None,
    api_price_decline: Annotated[
        str | None,
        typer.Option(
            "--api-price-decline", help="Share that API prices lose a year; 0.3, or 0.1..0.5 (80 %).", show_default="0"
        ),
    ] = None,
    horizon_years: Annotated[
        float | None,
        typer.Option(
            "--horizon-years", help="Compare over so long, by present value.", show_default="life of what is bought"
        ),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help="List prices of this date, YYYY-MM-DD.", show_default="today"),
    ] = None,
    hours_per_month: given.HoursPerMonth = 730.0,
    at_concurrency: given.AtConcurrency = None,
    force: given.Force = False,
    out: given.Out = None,
    as_json: given.AsJson = False,
) -> None:
    """Rank self-hosting offers and APIs by what the same requests cost, with 80 % intervals.

    The requests are those of the RUN (its mix of new input, cached input and output tokens), or of --mix. Without a
    volume, one machine is busy all month, which nobody's is: say --utilisation, --tokens-per-month or
    --requests-per-day.
    """
    from rackrate.app.comparing import CompareRequest
    from rackrate.app.comparing import compare as compare_alternatives
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver

    compared = compare_alternatives(
        CompareRequest(
            run=run,
            tokens_per_second=tokens_per_second,
            mix=mix,
            model=model,
            offers=tuple(offer or ()),
            rigs=tuple(own or ()),
            usd_per_hour=usd_per_hour,
            price_kind=price_kind,
            as_if=as_if,
            utilisation=utilisation,
            tokens_per_month=tokens_per_month,
            requests_per_day=requests_per_day,
            peak_to_mean=peak_to_mean,
            apis=tuple(api or ()),
            all_apis=all_apis,
            batch=batch,
            discounts=tuple(discount or ()),
            tokenizer_ratios=tuple(tokenizer_ratio or ()),
            api_price_decline=api_price_decline,
            horizon_years=horizon_years,
            as_of=as_of,
            hours_per_month=hours_per_month,
            at_concurrency=at_concurrency,
            force=force,
        ),
        shell_context(),
    )
    deliver(compared, as_json=as_json, out=out)
