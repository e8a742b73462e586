"""The options that say what traffic there is: shared by `traffic` and `fleet`."""

from __future__ import annotations

from typing import Annotated

import typer

ProfileText = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="How demand changes over the day or week: a CSV file, or 24 (168) factors with commas between.",
        show_default=False,
    ),
]
Weekdays = Annotated[
    str | None,
    typer.Option(
        "--weekdays", help="Seven factors for the days from Monday on, with commas between.", show_default=False
    ),
]
MeanRate = Annotated[
    str | None,
    typer.Option("--mean-rate", help="Scale the traffic to this mean rate, such as 5/s.", show_default=False),
]
Lengths = Annotated[
    str | None,
    typer.Option(
        "--lengths",
        help="Mean tokens of a request, INPUT:OUTPUT or INPUT:OUTPUT:CACHED, where the traffic has none.",
        show_default=False,
    ),
]
CachedShare = Annotated[
    str | None,
    typer.Option(
        "--cached-share",
        help="Share of the input that a prefix cache has, 0 to 1; trace: what an unlimited one would have of a trace "
        "with block hashes or prefixes.",
        show_default=False,
    ),
]
Growth = Annotated[float, typer.Option("--growth", help="Growth per month: 0.05 is 5 %.")]
Over = Annotated[
    str | None,
    typer.Option(
        "--over",
        help="How long: the traffic is repeated (7d, 1month, 1y).",
        show_default="its own; a year with growth; a week with a profile; a month of a rate",
    ),
]
Step = Annotated[
    str | None,
    typer.Option(
        "--step", help="Steps in which it is seen, such as 1min or 1h.", show_default="1min of a trace, else its own"
    ),
]
FleetStep = Annotated[
    str | None,
    typer.Option(
        "--step", help="Steps in which it is seen, such as 30s or 1h.", show_default="1min, or its own if finer"
    ),
]
UsageModel = Annotated[
    str | None,
    typer.Option(
        "--usage-model", help="Of an API's usage export: only models whose name has this.", show_default=False
    ),
]
UtcOffset = Annotated[
    float, typer.Option("--utc-offset", help="Hours from the source's clock (UTC in usage exports) to yours.")
]
