"""rackrate fleet: machines over time for real traffic, and what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rackrate.cli import options as given
from rackrate.cli import traffic_options as about


def fleet(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="A run directory: what one replica can do.", show_default=False),
    ] = None,
    capacity: Annotated[
        str | None,
        typer.Option(
            "--capacity",
            help="Instead of a run: what one replica can do, 2.5/s or input=8000,output=1500 token/s.",
            show_default=False,
        ),
    ] = None,
    traffic: Annotated[
        str | None,
        typer.Option(
            "--traffic", "-t", metavar="SPEC", help="What is asked for, as for `rackrate traffic`.", show_default=False
        ),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(
            "--models",
            metavar="FILE",
            help="Instead: several models that share machines, as YAML (name, capacity or run, traffic, slots).",
            show_default=False,
        ),
    ] = None,
    offer: Annotated[
        list[str] | None,
        typer.Option(
            "--offer",
            help="A rented machine, ID[:spot|reserved-1y|reserved-3y][,share=0.3][,most=8][,replicas=4]; several are "
            "mixed.",
            show_default="of a run: its machine's cheapest offer",
        ),
    ] = None,
    own: given.Own = None,
    contract: Annotated[
        list[Path] | None,
        typer.Option("--contract", help="A rented machine at your own terms, as a YAML file.", show_default=False),
    ] = None,
    usd_per_hour: given.UsdPerHour = None,
    replicas_per_machine: Annotated[
        int, typer.Option("--replicas-per-machine", help="Replicas (or slots, with --models) of a machine.")
    ] = 1,
    shape: Annotated[
        list[str] | None,
        typer.Option("--shape", help="Only fixed, autoscaled or mix; may be repeated.", show_default="all"),
    ] = None,
    profile: about.ProfileText = None,
    weekdays: about.Weekdays = None,
    mean_rate: about.MeanRate = None,
    lengths: about.Lengths = None,
    cached_share: about.CachedShare = None,
    growth: about.Growth = 0.0,
    over: about.Over = None,
    step: about.FleetStep = None,
    usage_model: about.UsageModel = None,
    utc_offset: about.UtcOffset = 0.0,
    headroom: Annotated[
        str, typer.Option("--headroom", help="Replicas kept per replica of load; auto: as many as being in time takes.")
    ] = "auto",
    floor: Annotated[int, typer.Option("--floor", help="Never fewer replicas; 0 scales to zero.")] = 1,
    spares: Annotated[int, typer.Option("--spares", help="Machines beyond those that the load needs; N+1 is 1.")] = 0,
    cold_start: Annotated[
        str, typer.Option("--cold-start", help="From asking for a replica until it serves; paid.")
    ] = "3min",
    scale_down: Annotated[
        str, typer.Option("--scale-down", help="How long a replica stays after it was last wanted.")
    ] = "5min",
    resize: Annotated[
        str | None,
        typer.Option(
            "--resize", help="A fixed fleet is sized anew so often, such as 1month.", show_default="once, for all"
        ),
    ] = None,
    max_wait: Annotated[
        str, typer.Option("--max-wait", help="Requests that wait longer for a replica are late.")
    ] = "1s",
    late_limit: Annotated[
        float, typer.Option("--late-limit", help="Share of requests that may be late for a shape to be chosen.")
    ] = 0.01,
    labour_usd_per_month: Annotated[
        float, typer.Option("--labour-usd-per-month", help="People, whatever the number of machines.")
    ] = 0.0,
    spot_interruptions: Annotated[
        float | None,
        typer.Option(
            "--spot-interruptions", help="Interruptions of a spot machine a month.", show_default="0.2 to 1, assumed"
        ),
    ] = None,
    api: Annotated[
        list[str] | None,
        typer.Option(
            "--api",
            help="Show this API's bill for the same tokens, such as openai/gpt-6-luna; may be repeated.",
            show_default="of a run: the three cheapest that sell its model",
        ),
    ] = None,
    currency: Annotated[
        str, typer.Option("--currency", help="Show money in this currency at a rate you state: EUR=1.08 (USD a unit).")
    ] = "USD",
    hours_per_month: given.HoursPerMonth = 730.0,
    at_concurrency: given.AtConcurrency = None,
    as_if: given.AsIf = False,
    force: given.Force = False,
    out: given.Out = None,
    sources: Annotated[bool, typer.Option("--sources", help="Say where every price comes from.")] = False,
    as_json: given.AsJson = False,
) -> None:
    """Price a fleet over real traffic: fixed, following the load, or mixed from several offers; the cheapest in time.

    The capacity of one replica is measured (a run) or stated. Requests that a fleet could not serve in time are
    counted.
    """
    from rackrate.app.fleets import FleetRequest, price
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver

    request = FleetRequest(
        run=run, capacity=capacity, models=models, traffic=traffic, profile=profile, weekdays=weekdays,
        mean_rate=mean_rate, lengths=lengths, cached_share=cached_share, growth=growth, over=over, step=step,
        usage_model=usage_model, utc_offset=utc_offset, offers=tuple(offer or ()), rigs=tuple(own or ()),
        contracts=tuple(contract or ()), usd_per_hour=usd_per_hour, replicas_per_machine=replicas_per_machine,
        shapes=tuple(shape or ()), headroom=headroom, floor=floor, spares=spares, cold_start=cold_start,
        scale_down=scale_down, resize=resize, max_wait=max_wait, late_limit=late_limit,
        labour_usd_per_month=labour_usd_per_month, spot_interruptions=spot_interruptions, apis=tuple(api or ()),
        currency=currency, hours_per_month=hours_per_month, at_concurrency=at_concurrency, as_if=as_if, force=force,
    )  # fmt: skip
    deliver(price(request, shell_context()), as_json=as_json, out=out, sources=sources)
