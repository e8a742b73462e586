"""rackrate validate: predicts every row of a file of published measurements, and says how far off it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.validation.view import Json


def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV files of published rows, or folders.")],
    cv: Annotated[
        bool,
        typer.Option(
            "--cv",
            help="Also predict each accelerator, source, family and configuration with its rows left out (minutes).",
        ),
    ] = False,
    other: Annotated[
        Path | None,
        typer.Option(
            "--other", help="A folder of rows of other authors, shown apart: no fit has seen them.", show_default=False
        ),
    ] = None,
    anchor: Annotated[
        bool, typer.Option("--anchor", help="Also predict the rest of each box from one of its rows.")
    ] = False,
    coefficients: Annotated[
        Path | None,
        typer.Option("--coefficients", help="Of `calibrate fit`.", show_default="the shipped ones"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write the page (Markdown).", show_default=False)
    ] = None,
    as_json: given.AsJson = False,
) -> None:
    """Predict every row of files in the published format and print the errors, by class of prediction.

    Rows are predicted as an unknown machine: without what their own box taught. A row that cannot be predicted is
    counted with its reason.
    """
    from rackrate.cli.output import print_json, say, write_text
    from rackrate.steptime import coefficient_file as known_files
    from rackrate.validation import view as validation_view

    known = known_files.read_coefficients(coefficients) if coefficients else known_files.shipped()
    paths = validation_view.csv_files(files)
    view = validation_view.validate(paths, known, cv=cv, anchor=anchor, say=say, other=other)
    if out is not None:
        write_text(out, validation_view.page(view))
        say(f"written to {out}")
    if as_json:
        print_json(view)
    elif out is None:
        _show(view)


def _show(view: Json) -> None:
    from rackrate.cli.output import say, show
    from rackrate.validation.cross_validation import OTHER

    for file in view["files"]:
        say(f"{file['name']}: {file['predicted']} of {file['rows']} rows predicted")
        for reason in file["left_out"]:
            say(f"  {reason['count']} left out: {reason['reason']}")
    say(
        "median and p90 of |ln(predicted/observed)|; bias: the median of ln(predicted/observed); cells are file, "
        "accelerator and engine, of cells: the median of their medians; covers: how many the 80 % interval has"
    )
    show(_table(view["classes"], "class"))
    for title, key in (("by accelerator", "by_accelerator"), ("by engine", "by_engine"), ("by source", "by_source")):
        say(f"throughput and time per token, {title}:")
        show(_table(view[key], title.removeprefix("by ")))
    for way in view["left_out_groups"]:
        other_rows = way["way"] == OTHER
        say("rows that no fit has seen:" if other_rows else f"every {way['way']} predicted without its own rows:")
        show(_table(way["classes"], "class"))
    if view["anchored"]:
        say("the other rows of a box, with one of its rows as anchor:")
        show(_table(view["anchored"], "class"))


def _table(rows: list[dict[str, Any]], first: str) -> Any:
    from rackrate.report.tables import plain_table

    heads = (first, "figures", "median", "p90", "bias", "cells", "of cells", "covers")
    table = plain_table(*heads, left=[first])
    table.columns[0].no_wrap = False
    for row in rows:
        table.add_row(*row_texts(row))
    return table


def row_texts(row: dict[str, Any]) -> list[str]:
    """The cells of one row of errors."""
    from rackrate.validation.view import row_texts as texts

    return texts(row)
