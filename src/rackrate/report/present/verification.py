"""A calibration's predictions beside another measured run."""

from __future__ import annotations

from rackrate.report.document import Cell, Column, Document, Note, Section, Table, notes
from rackrate.report.present.calibration import FIGURES, figure_cell
from rackrate.schemas import checks as views


def document(view: views.VerifyView, *, full: bool = False) -> Document:
    """Each measured figure beside its prediction, load by load, and how far off they are."""
    known = view.calibration
    columns = (
        Column("load"), Column("figure"), Column("predicted", "rate"), Column("80 % interval", "rate"),
        Column("measured", "rate"), Column("difference", "change"), Column("", "tags"),
    )  # fmt: skip
    rows = tuple(
        (
            check.load,
            FIGURES[check.figure],
            figure_cell(check.figure, check.predicted),
            _ends(check),
            figure_cell(check.figure, check.measured),
            check.predicted / check.measured - 1,
            (*(() if check.covered else ("outside",)), *check.caveats),
        )
        for check in view.checks
    )
    said = [
        f"{FIGURES[name]}: {errors.median_off * 100:.1f} % off in the median, {errors.largest_off * 100:.1f} % at "
        f"most; {errors.covered} of {errors.count} within the 80 % interval"
        for name, errors in view.errors.items()
    ]
    lead = [Note(f"{known.model} on {known.machine}; measured {view.run_created}: {view.run}", "soft")]
    if view.same_run:
        text = "This is the run that the calibration was fitted to, which proves nothing: take one of other loads."
        lead.append(Note(text, "warn"))
    return Document(
        subject="verify",
        headline=f"Predicted with the calibration of {known.run} ({known.created})",
        lead=tuple(lead),
        sections=(Section(blocks=(Table(columns, rows),)), Section(blocks=notes(said, "plain"))),
        records=_records(view),
    )


def _ends(check: views.CheckView) -> Cell:
    ends = [figure_cell(check.figure, getattr(check, end)) for end in ("low", "high")]
    low, high = (end.shown if isinstance(end, Cell) else "-" for end in ends)
    return Cell(f"{low} to {high}")


def _records(view: views.VerifyView) -> Table:
    names = ("load", "figure", "predicted", "low", "high", "measured", "covered")
    rows = tuple((*(getattr(check, name) for name in names), tuple(check.caveats)) for check in view.checks)
    return Table(tuple(map(Column, (*names, "caveats"))), rows)
