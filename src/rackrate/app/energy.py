"""What a run drew: watts over each steady window, joules per token, and the energy part of the price."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rackrate import bounds
from rackrate.app.request_json import Request
from rackrate.errors import PriceError

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.measurement.energy import Reading
    from rackrate.metrics.summary import LevelSummary


@dataclass(frozen=True)
class EnergyRequest(Request):
    """The energy of which run, at what price."""

    NAME: ClassVar[str] = "energy"

    run: Path
    watts: bounds.Watts | None = None
    """What the machine draws under load, where it has no sensor. [W]"""
    usd_per_kwh: bounds.UsdPerKwh = 0.146
    pue: bounds.Pue = 1.0
    """Power of the whole site over that of its machines."""


@dataclass(frozen=True)
class LevelEnergy:
    """One load of the run; None: not known."""

    level: int
    kind: str
    concurrency: int | None
    window_s: float | None
    joules: float | None
    watts: float | None
    joules_per_token: float | None
    """Over input and output tokens."""
    joules_per_output_token: float | None
    usd_per_1m: float | None


@dataclass(frozen=True)
class RunEnergy:
    """The energy of a run."""

    run: str
    source: str
    """Where the watts come from."""
    usd_per_kwh: float
    pue: float
    levels: tuple[LevelEnergy, ...]


def energy(request: EnergyRequest, context: Context) -> RunEnergy:
    """Watts, joules per token and USD per 1M tokens of each load of a run.

    Raises:
        PriceError: nobody read the machine's power and no watts are stated.
        RunError: the run cannot be read.
    """
    from rackrate.measurement.energy import read_power
    from rackrate.metrics.summary import summarise
    from rackrate.runs.store import read_run

    del context
    watts = request.watts
    run = read_run(request.run)  # first: what is no run has no sensors either
    readings, source = read_power(request.run)
    if watts is not None:
        source = f"stated: {watts:g} W"
    if source is None:
        raise PriceError(
            f"{request.run} has no power readings (the machine had no sensor): state the watts with {{watts}}",
            field="watts",
        )
    levels = tuple(_of_level(level, readings, request) for level in summarise(run))
    return RunEnergy(str(request.run), source, request.usd_per_kwh, request.pue, levels)


def _of_level(level: LevelSummary, readings: list[Reading], request: EnergyRequest) -> LevelEnergy:
    from rackrate.measurement.energy import energy_usd_per_1m, joules

    length, start, end = level.window_s, level.window_start_s, level.window_end_s
    used = None
    if start is not None and end is not None and length:
        used = request.watts * length if request.watts is not None else joules(readings, start, end)
    output = level.output_tok_s
    rate = (output or 0.0) + (level.input_tok_s or 0.0)
    per_token = used / (rate * length) if used is not None and rate and length else None
    return LevelEnergy(
        level=level.index,
        kind=level.kind,
        concurrency=level.concurrency,
        window_s=length,
        joules=used,
        watts=used / length if used is not None and length else None,
        joules_per_token=per_token,
        joules_per_output_token=used / (output * length) if used is not None and output and length else None,
        usd_per_1m=energy_usd_per_1m(per_token, request.usd_per_kwh, request.pue) if per_token is not None else None,
    )
