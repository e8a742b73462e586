"""rackrate energy: joules per token of a run, and the energy part of its price."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rackrate.cli import options as given

SCHEMA = "rackrate.energy/1"


def energy(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)],
    watts: Annotated[
        float | None,
        typer.Option("--watts", help="What the machine draws under load, where it has no sensor.", show_default=False),
    ] = None,
    usd_per_kwh: Annotated[float, typer.Option("--usd-per-kwh", help="Price of energy.")] = 0.146,
    pue: Annotated[float, typer.Option("--pue", help="Power of the whole site over that of its machines.")] = 1.0,
    as_json: given.AsJson = False,
) -> None:
    """Show the energy of a run: watts over each steady window, joules per token, and USD per 1M tokens.

    Watts come from the sensors that were read while it ran (NVML, RAPL), or from --watts where there was none. The
    default price is the US commercial average (14.6 cents per kWh, EIA as quoted 2026-04-26).
    """
    from rackrate.cli.output import print_json, show
    from rackrate.errors import PriceError
    from rackrate.measure.energy import energy_usd_per_1m, joules, read_power
    from rackrate.metrics.summary import summarise
    from rackrate.runs.store import read_run

    for name, value, least in (
        ("--usd-per-kwh", usd_per_kwh, 0.0),
        ("--pue", pue, 1.0),
        ("--watts", watts or 1.0, 0.0),
    ):
        if not least <= value < float("inf"):
            raise PriceError(f"{name} must be at least {least:g}, got {value:g}")
    readings, source = read_power(run)
    if watts is not None:
        source = f"stated: {watts:g} W"
    if source is None:
        raise PriceError(f"{run} has no power readings (the machine had no sensor): state the watts with --watts")
    rows: list[dict[str, Any]] = []
    for level in summarise(read_run(run)):
        length, start, end = level.window_s, level.window_start_s, level.window_end_s
        used = None
        if start is not None and end is not None and length:
            used = watts * length if watts is not None else joules(readings, start, end)
        rate = (level.output_tok_s or 0.0) + (level.input_tok_s or 0.0)
        per_token = used / (rate * length) if used is not None and rate and length else None
        output = level.output_tok_s
        rows.append(
            {
                "level": level.index,
                "kind": level.kind,
                "concurrency": level.concurrency,
                "window_s": length,
                "joules": used,
                "watts": used / length if used is not None and length else None,
                "joules_per_token": per_token,
                "joules_per_output_token": used / (output * length) if used is not None and output and length else None,
                "usd_per_1m": energy_usd_per_1m(per_token, usd_per_kwh, pue) if per_token is not None else None,
            }
        )
    view = {"schema": SCHEMA, "run": str(run), "source": source, "usd_per_kwh": usd_per_kwh, "pue": pue, "levels": rows}
    if as_json:
        print_json(view)
    else:
        show(_table(view))


def _table(view: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.text import Text

    from rackrate.report.format import NONE, rate, usd
    from rackrate.report.tables import plain_table

    table = plain_table("in flight", "W", "window s", "J/token", "J/output token", "energy, USD/1M", left=[])
    for row in view["levels"]:
        table.add_row(
            f"{row['concurrency'] or NONE}{' prefill' if row['kind'] == 'prefill' else ''}",
            rate(row["watts"]),
            rate(row["window_s"]),
            rate(row["joules_per_token"]),
            rate(row["joules_per_output_token"]),
            usd(row["usd_per_1m"]),
        )
    words = (
        f"Watts: {view['source']}. J/token: energy of the steady window over its input and output tokens. Energy at "
        f"{view['usd_per_kwh']:g} USD/kWh, PUE {view['pue']:g}: a part of the price, not the whole."
    )
    return Group(table, Text(words, style="dim"))
