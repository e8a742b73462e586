"""rackrate traffic: what is asked for over time."""

from __future__ import annotations

from typing import Annotated

import typer

from rackrate.cli import options as given
from rackrate.cli import traffic_options as about


def traffic(
    traffic: Annotated[
        str,
        typer.Argument(
            metavar="SPEC",
            help="A rate (2/s, 100000/day), or a file: a trace, rates over time, rates by hour, an API's usage export.",
        ),
    ],
    profile: about.ProfileText = None,
    weekdays: about.Weekdays = None,
    mean_rate: about.MeanRate = None,
    lengths: about.Lengths = None,
    cached_share: about.CachedShare = None,
    growth: about.Growth = 0.0,
    over: about.Over = None,
    step: about.Step = None,
    usage_model: about.UsageModel = None,
    utc_offset: about.UtcOffset = 0.0,
    out: given.Out = None,
    as_json: given.AsJson = False,
) -> None:
    """Show what traffic is like: rates, peaks, lengths, the mean day. `rackrate fleet` prices it."""
    from rackrate.app.traffic import TrafficRequest, summarise
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver

    request = TrafficRequest(
        traffic=traffic, profile=profile, weekdays=weekdays, mean_rate=mean_rate, lengths=lengths,
        cached_share=cached_share, growth=growth, over=over, step=step, usage_model=usage_model, utc_offset=utc_offset,
    )  # fmt: skip
    deliver(summarise(request, shell_context()), as_json=as_json, out=out)
