"""How good predictions of published rows are, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rackrate.report.tables import plain_table
from rackrate.validation.cross_validation import OTHER
from rackrate.validation.view import Json, row_texts

if TYPE_CHECKING:
    from rich.table import Table


def validation_notes(view: Json) -> list[str]:
    """What was predicted and what was not, and how the tables are read."""
    notes: list[str] = []
    for file in view["files"]:
        notes.append(f"{file['name']}: {file['predicted']} of {file['rows']} rows predicted")
        notes += [f"  {reason['count']} left out: {reason['reason']}" for reason in file["left_out"]]
    notes.append(
        "median and p90 of |ln(predicted/observed)|; bias: the median of ln(predicted/observed); cells are file, "
        "accelerator and engine, of cells: the median of their medians; covers: how many the 80 % interval has"
    )
    return notes


def validation_tables(view: Json) -> Iterator[tuple[str, Table]]:
    """Tables of errors, each with a line that says of what."""
    yield "", _table(view["classes"], "class")
    for title, key in (("accelerator", "by_accelerator"), ("engine", "by_engine"), ("source", "by_source")):
        yield f"throughput and time per token, by {title}:", _table(view[key], title)
    for group in view["left_out_groups"]:
        unseen = group["way"] == OTHER
        title = "rows that no fit has seen:" if unseen else f"every {group['way']} predicted without its own rows:"
        yield title, _table(group["classes"], "class")
    if view["anchored"]:
        yield "the other rows of a box, with one of its rows as anchor:", _table(view["anchored"], "class")


def _table(rows: list[dict[str, Any]], first: str) -> Table:
    heads = (first, "figures", "median", "p90", "bias", "cells", "of cells", "covers")
    table = plain_table(*heads, left=[first])
    table.columns[0].no_wrap = False
    for row in rows:
        table.add_row(*row_texts(row))
    return table
