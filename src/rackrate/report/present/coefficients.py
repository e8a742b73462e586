"""Coefficients that were fitted to published rows; departures of single machines are left out."""

from __future__ import annotations

import math

from rackrate.report.document import Between, Column, Document, Note, Section, Table
from rackrate.schemas import checks as views

WIDTH_80 = 1.2816
"""Standard deviations to each end of an 80 % interval."""


def document(view: views.CoefficientsView, *, full: bool = False) -> Document:
    """A row per coefficient, with its 80 % interval."""
    rows = tuple(
        (name, math.exp(log), Between(math.exp(log - wide), math.exp(log + wide)))
        for name, log in view.values.items()
        if ":" not in name
        for wide in (WIDTH_80 * view.spreads.get(name, 0.0),)
    )
    columns = (Column("coefficient"), Column("value", "number"), Column("80 % interval", "number"))
    about = f"fitted {view.written} to {view.rows_fitted:,} rows, {view.figures_fitted:,} figures"
    sections = (Section(blocks=(Table(columns, rows),)),)
    return Document("calibrate fit", "Coefficients", (Note(about, "soft"),), sections=sections)
