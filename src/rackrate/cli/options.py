"""Options that several commands share, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelSource = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A catalogue name or hub id, a config.json, a directory with one, a safetensors index beside one, or a "
        "GGUF file.",
    ),
]
AllowPlainHttp = Annotated[
    bool,
    typer.Option("--allow-plain-http", help="Send the API key to another machine by http, where others can read it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON (docs/json.md describes it).")]


def _written_later(option: typer.CallbackParam, path: Path | None) -> Path | None:
    """A file that a result is to be written to. Raises UserError where it cannot be, before any work is done."""
    if path is not None:
        from rackrate.cli.output import refuse_unknown_ending

        refuse_unknown_ending(path, str(option.name))
    return path


def new_directory(option: typer.CallbackParam, path: Path | None) -> Path | None:
    """A directory that is to be made. Raises UserError where its name is `-`."""
    if path is not None:
        from rackrate.cli.output import refuse_dash

        refuse_dash(path, str(option.name))
    return path


RunDirectory = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Run directory.", show_default="runs/MODEL-TIME", callback=new_directory),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o", "--out", help="Also write a file: .html, .md, .csv or .json.", show_default=False, callback=_written_later
    ),
]
Page = Annotated[
    Path | None,
    typer.Option(
        "--report", help="Also write a page: .html, .md, .csv or .json.", show_default=False, callback=_written_later
    ),
]
"""Of a command whose --out is something else."""
Offers = Annotated[
    list[str] | None,
    typer.Option("--offer", help="A rented machine, such as aws/g4dn.12xlarge; may be repeated.", show_default=False),
]
Own = Annotated[
    list[Path] | None,
    typer.Option("--own", help="A machine that you own, as a YAML file; may be repeated.", show_default=False),
]
UsdPerHour = Annotated[
    float | None, typer.Option("--usd-per-hour", help="A machine at a price that you state.", show_default=False)
]
PriceKindName = Annotated[
    str, typer.Option("--price-kind", help="Of offers: on-demand, spot, reserved-1y or reserved-3y.")
]
Calibrated = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        help="Step times of your own machine: a calibration of `rackrate calibrate`, or the run that has one.",
        show_default=False,
    ),
]
AsIf = Annotated[
    bool, typer.Option("--as-if", help="Price by a machine other than the one the run ran on, and say so.")
]
Utilisation = Annotated[
    float | None,
    typer.Option("--utilisation", "-u", help="Share of full load that you expect, 0 to 1.", show_default=False),
]
RequestsPerSecond = Annotated[
    float | None,
    typer.Option("--requests-per-second", help="Or the request rate that you expect.", show_default=False),
]
RequestsPerDay = Annotated[
    float | None, typer.Option("--requests-per-day", help="Or the same, per day.", show_default=False)
]
Apis = Annotated[
    list[str] | None,
    typer.Option(
        "--api",
        help="Compare with this API, such as openai/gpt-6-luna; may be repeated.",
        show_default="gpt-6-luna and gemini-3.8-flash",
    ),
]
HoursPerMonth = Annotated[float, typer.Option("--hours-per-month", help="Hours of a month; some articles take 720.")]
AtConcurrency = Annotated[
    int | None,
    typer.Option("--at-concurrency", help="Price this level of the run.", show_default="the one that served most"),
]
Force = Annotated[bool, typer.Option("--force", help="Price figures that are not the machine's capacity, and say so.")]
