"""A document's records as CSV: SI units and USD, the unit in the column's name, nothing where there is no data."""

from __future__ import annotations

import csv
import io

from rackrate.report.document import Between, Cell, Column, Document, Table, Value
from rackrate.text import plain

FULL = True
SUFFIXES = (".csv",)
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes a cell for a formula by, and the same in full width (owasp.org, CSV injection); its tabs and
line ends are spaces by then."""


def render(document: Document) -> str:
    """The records, or else the first table. An interval is two columns."""
    tables = document.tables()
    table = document.records or (tables[0] if tables else Table((Column(document.headline),), ()))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    wide = [any(isinstance(_bare(row[number]), Between) for row in table.rows) for number in range(len(table.columns))]
    writer.writerow([name for column, two in zip(table.columns, wide, strict=True) for name in _names(column, two=two)])
    for row in table.rows:
        writer.writerow([item for cell, two in zip(row, wide, strict=True) for item in _cells(_bare(cell), two=two)])
    return text.getvalue()


def _names(column: Column, *, two: bool) -> list[str]:
    name = text_cell(f"{column.name} s" if column.kind in {"duration", "span"} else column.name)
    return [f"{name} low", f"{name} high"] if two else [name]


def _bare(cell: Value | Cell) -> Value:
    return cell.value if isinstance(cell, Cell) else cell


def _cells(value: Value, *, two: bool) -> list[object]:
    if isinstance(value, Between):
        return [value.low, value.high]
    if isinstance(value, tuple):
        value = " ".join(value)
    return [text_cell(value) if isinstance(value, str) else value, *([None] if two else [])]


def text_cell(text: str) -> str:
    """Text that is plain, and that no spreadsheet takes for a formula.

    >>> text_cell("=cmd|' /C calc'!A0"), text_cell("g4dn"), text_cell("-")
    ("'=cmd|' /C calc'!A0", 'g4dn', "'-")
    """
    text = plain(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
