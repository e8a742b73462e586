"""Calibrations and what they predict beside a run, for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rackrate.calibration.document import CalibrationFile, describe
from rackrate.calibration.verification import Check
from rackrate.report.format import ms, rate
from rackrate.report.tables import plain_table
from rackrate.steptime.coefficient_file import CoefficientFile

if TYPE_CHECKING:
    from rich.table import Table

FIGURES = {"output_tok_s": "output token/s", "tpot_s": "TPOT p50, ms", "ttft_s": "TTFT p50, ms"}


def _figure(name: str, value: float | None) -> str:
    """A figure with its unit."""
    return rate(value) if name == "output_tok_s" else ms(value)


def calibration_tables(document: CalibrationFile) -> tuple[Table, Table]:
    """The coefficients, and what was measured beside what they predict."""
    table = plain_table("coefficient", "value", "80 % interval", left=["coefficient"])
    for name, value, low, high in describe(document):
        table.add_row(name, value, f"{low} to {high}")
    residuals = plain_table("", "measured", "after calibration", "difference", left=[""])
    last = ""
    for residual in document.residuals:
        if residual.load != last:
            last = residual.load
            residuals.add_row(residual.load)
        residuals.add_row(
            f"  {FIGURES[residual.figure]}",
            _figure(residual.figure, residual.measured),
            _figure(residual.figure, residual.predicted),
            f"{(residual.predicted / residual.measured - 1) * 100:+.1f} %",
        )
    return table, residuals


def calibration_notes(document: CalibrationFile) -> list[str]:
    """What was calibrated, in sentences."""
    notes = [
        f"{document.model} ({document.weights}) on {document.machine}, {document.engine}; "
        f"measured {document.run_created}"
    ]
    if not document.hardware_known:
        notes.append(
            "the catalogue has no datasheet of this hardware: shares are of nominal rates, "
            "and only this box is described"
        )
    return notes


def coefficient_table(document: CoefficientFile) -> Table:
    """The coefficients that were fitted to published rows; departures of single machines are left out."""
    table = plain_table("coefficient", "value", "80 % interval", left=["coefficient"])
    for name, value in document.values.items():
        if ":" in name:
            continue
        wide = 1.2816 * document.spreads.get(name, 0.0)
        low, high = math.exp(value - wide), math.exp(value + wide)
        table.add_row(name, f"{math.exp(value):.3g}", f"{low:.3g} to {high:.3g}")
    return table


def verification_table(checks: tuple[Check, ...]) -> Table:
    """Each measured figure beside its prediction, load by load."""
    table = plain_table("", "predicted", "80 % interval", "measured", "difference", " ", left=["", " "])
    last = ""
    for check in checks:
        if check.load != last:
            last = check.load
            table.add_row(" ".join((check.load, *check.caveats)))
        table.add_row(
            f"  {FIGURES[check.figure]}",
            _figure(check.figure, check.predicted),
            f"{_figure(check.figure, check.low)} to {_figure(check.figure, check.high)}",
            _figure(check.figure, check.measured),
            f"{(check.predicted / check.measured - 1) * 100:+.1f} %",
            "" if check.covered else "outside",
        )
    table.columns[0].no_wrap = False
    return table


def verification_notes(view: dict[str, Any], run_created: str) -> list[str]:
    """Whose predictions they are and how far off, in sentences."""
    known = view["calibration"]
    notes = [f"predicted with the calibration of {known['run']} ({known['created']}); measured {run_created}"]
    for name, errors in view["errors"].items():
        notes.append(
            f"{FIGURES[name]}: off by {errors['median'] * 100:.1f} % in the median, "
            f"{errors['largest'] * 100:.1f} % at most; "
            f"{errors['covered']} of {errors['count']} within the 80 % interval"
        )
    return notes
