"""rackrate side-by-side: several runs side by side, in one table and one chart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rackrate.cli import options as given


def side_by_side(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories.", show_default=False)],
    offer: given.Offers = None,
    own: given.Own = None,
    usd_per_hour: given.UsdPerHour = None,
    as_if: given.AsIf = False,
    out: given.Out = None,
    as_json: given.AsJson = False,
) -> None:
    """Set runs side by side: throughput, latency, USD per 1M tokens, and the ratio to a baseline.

    The baseline is the naive loop where it is among them, otherwise the slowest. Each run is priced at the load at
    which it served most; caveats are named beside the figures.
    """
    from rackrate.app.side_by_side import SideBySideRequest
    from rackrate.app.side_by_side import side_by_side as beside
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver

    request = SideBySideRequest(tuple(runs), tuple(offer or ()), tuple(own or ()), usd_per_hour, as_if)
    deliver(beside(request, shell_context()), as_json=as_json, out=out)
