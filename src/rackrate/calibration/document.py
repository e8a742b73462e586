"""calibration.json: the coefficients of a machine, where they are from, and how well they describe it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator

from rackrate.errors import CalibrationError
from rackrate.files import MOST_DOCUMENT, is_directory, read_text, reason
from rackrate.steptime.parameters import current_name

FILE = "calibration.json"
SCHEMA = "rackrate.calibration/2"


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Residual(_Document):
    """How a measured figure and its prediction differ after the calibration."""

    load: str
    figure: str
    measured: float
    predicted: float


class CalibrationFile(_Document):
    """calibration.json: a machine's coefficients and where they are from."""

    format: Annotated[str, Field(alias="schema")] = SCHEMA
    created: str
    command: str
    rackrate_version: str
    run: str
    run_created: str
    model: str
    accelerator: str
    machine: str
    hardware_known: bool
    """False where the catalogue has no datasheet of the hardware: rates are this machine's own, of a nominal peak."""
    engine: str
    weights: str
    tensor_parallel: int
    slots: int
    threads: int | None
    coefficients: dict[str, float]
    """Natural logarithms, by name of steptime.engine_step.Coefficients."""
    spreads: dict[str, float]
    residuals: tuple[Residual, ...]
    cores: int | None = None
    """Of a CPU that the catalogue has no datasheet of."""
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    """What the engine was started with, as far as is known."""
    caveats: Annotated[tuple[str, ...], Field(validation_alias=AliasChoices("caveats", "validity"))] = ()
    """Names of CAVEATS of levels that were used although they must not be priced."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @field_validator("coefficients", "spreads")
    @classmethod
    def _current(cls, values: dict[str, float]) -> dict[str, float]:
        return {current_name(name): value for name, value in values.items()}


def read_calibration(path: Path) -> CalibrationFile:
    """A calibration file, or the one in a run's directory. Raises CalibrationError."""
    file = path / FILE if is_directory(path) else path
    try:
        return CalibrationFile.model_validate_json(read_text(file, most=MOST_DOCUMENT, links=file == path))
    except FileNotFoundError:
        raise CalibrationError(f"{file}: no such file; calibrating a run writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{file}: cannot be read ({reason(error)})") from None
    except ValidationError as error:
        mistake = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in mistake["loc"]) or "the whole"
        raise CalibrationError(f"{file}: not a calibration: {where}: {mistake['msg']}") from None


_UNITS = {"_s": "s", "_gib": "GiB"}


def describe(known: CalibrationFile) -> list[tuple[str, str, str, str]]:
    """Name, value with unit, and the ends of the 80 % interval, of each coefficient."""
    listed: list[tuple[str, str, str, str]] = []
    for name, log in known.coefficients.items():
        wide = 1.2816 * known.spreads.get(name, 0.0)
        unit = next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")
        values = [math.exp(log), math.exp(log - wide), math.exp(log + wide)]
        texts = [f"{value * 1e6:.3g} us" if unit == "s" else f"{value:.3g}" for value in values]
        listed.append((name, texts[0], texts[1], texts[2]))
    return listed
