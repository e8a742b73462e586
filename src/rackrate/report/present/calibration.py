"""A calibration: the coefficients of a machine, and what was measured beside what they predict."""

from __future__ import annotations

from rackrate.calibration.document import CalibrationFile, describe
from rackrate.report.document import Cell, Column, Document, Note, Section, Table, Value
from rackrate.report.format import ms, rate
from rackrate.schemas import checks as views

FIGURES = {"output_tok_s": "output token/s", "tpot_s": "TPOT p50, ms", "ttft_s": "TTFT p50, ms"}
"""What is predicted, as it is called beside its figure."""


def document(view: views.CalibrationView, *, full: bool = False) -> Document:
    """The coefficients, then every measured figure."""
    about = [
        Note(
            f"{view.model} ({view.weights}) on {view.machine}, {view.engine}; measured {view.run_created}",
            "soft",
        )
    ]
    if not view.hardware_known:
        text = (
            "the catalogue has no datasheet of this hardware: "
            "shares are of nominal rates, and only this machine is described"
        )
        about.append(Note(text, "soft"))
    residuals = Table(
        (Column("load"), Column("figure"), Column("measured", "rate"), Column("after calibration", "rate"),
         Column("difference", "change")),
        tuple(
            (
                residual.load,
                FIGURES[residual.figure],
                figure_cell(residual.figure, residual.measured),
                figure_cell(residual.figure, residual.predicted),
                residual.predicted / residual.measured - 1,
            )
            for residual in view.residuals
        ),
    )  # fmt: skip
    return Document(
        subject="calibrate",
        headline=f"Calibration with {view.run}",
        lead=tuple(about),
        sections=(Section(blocks=(_coefficients(view),)), Section(blocks=(residuals,))),
    )


def _coefficients(view: views.CalibrationView) -> Table:
    listed = describe(CalibrationFile.model_validate(view))
    rows = tuple((name, value, f"{low} to {high}") for name, value, low, high in listed)
    return Table((Column("coefficient"), Column("value", "figure"), Column("80 % interval", "figure")), rows)


def figure_cell(name: str, value: float | None) -> Value | Cell:
    """A throughput, or a duration in milliseconds: columns have both."""
    return None if value is None else Cell(value, shown=rate(value) if name == "output_tok_s" else ms(value))
