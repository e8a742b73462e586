"""A calibration's predictions beside what another run measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rackrate.calibration.calibrate import apply
from rackrate.calibration.document import CalibrationFile
from rackrate.calibration.host import host_of
from rackrate.calibration.points import HARMLESS, label, points_of
from rackrate.catalog.load import Catalog
from rackrate.metrics.summary import LevelSummary
from rackrate.runs.records import Run


@dataclass(frozen=True)
class Check:
    """One measured figure beside its prediction."""

    load: str
    figure: str
    measured: float
    predicted: float
    low: float | None
    high: float | None
    caveats: tuple[str, ...]

    @property
    def covered(self) -> bool | None:
        """Whether the interval has the measurement."""
        return None if self.low is None or self.high is None else self.low <= self.measured <= self.high


def verify(known: CalibrationFile, run: Run, levels: Sequence[LevelSummary], catalog: Catalog) -> list[Check]:
    """Every figure of a run beside what the calibration predicts. Levels with faults are compared and named."""
    host = host_of(run, catalog, known.tensor_parallel)
    calibrated = apply(known, host)
    checks: list[Check] = []
    for level, load, observed in points_of(levels, run, force=True):
        predicted = calibrated.predict(load, host.replay)
        for name in ("output_tok_s", "tpot_s", "ttft_s"):
            measured = getattr(observed, name)
            if measured is None or name not in predicted:
                continue
            item = predicted[name]
            faults = tuple(fault for fault in level.caveats if fault not in HARMLESS)
            checks.append(Check(label(level), name, float(measured), item.value, item.low, item.high, faults))
    return checks


@dataclass(frozen=True)
class FigureErrors:
    """How far off one kind of figure is."""

    count: int
    median: float
    """Of |ln(predicted/measured)|."""
    largest: float
    """Of the same."""
    median_off: float
    """Of |predicted/measured - 1|."""
    largest_off: float
    """Of the same."""
    covered: int
    """How many the 80 % interval has."""


def errors_by_figure(checks: Sequence[Check]) -> dict[str, FigureErrors]:
    """Of the figures that are there."""
    errors: dict[str, FigureErrors] = {}
    for name in ("output_tok_s", "tpot_s", "ttft_s"):
        chosen = [check for check in checks if check.figure == name]
        if chosen:
            logs = [abs(math.log(check.predicted / check.measured)) for check in chosen]
            off = [abs(check.predicted / check.measured - 1) for check in chosen]
            covered = sum(bool(check.covered) for check in chosen)
            errors[name] = FigureErrors(len(chosen), median(logs), max(logs), median(off), max(off), covered)
    return errors
