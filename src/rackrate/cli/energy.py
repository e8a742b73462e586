"""rackrate energy: joules per token of a run, and the energy part of its price."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rackrate.cli import options as given


def energy(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)],
    watts: Annotated[
        float | None,
        typer.Option("--watts", help="What the machine draws under load, where it has no sensor.", show_default=False),
    ] = None,
    usd_per_kwh: Annotated[float, typer.Option("--usd-per-kwh", help="Price of energy.")] = 0.146,
    pue: Annotated[float, typer.Option("--pue", help="Power of the whole site over that of its machines.")] = 1.0,
    out: given.Out = None,
    as_json: given.AsJson = False,
) -> None:
    """Show the energy of a run: watts over each steady window, joules per token, and USD per 1M tokens.

    Watts come from the sensors that were read while it ran (NVML, RAPL), or from --watts where there was none. The
    default price is the US commercial average (14.6 cents per kWh, EIA as quoted 2026-04-26).
    """
    from rackrate.app.energy import EnergyRequest
    from rackrate.app.energy import energy as energy_of
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver

    request = EnergyRequest(run=run, watts=watts, usd_per_kwh=usd_per_kwh, pue=pue)
    deliver(energy_of(request, shell_context()), as_json=as_json, out=out)
