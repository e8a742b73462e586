"""Tables on terminals of any width: columns or lists, and never a figure that is cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from rackrate.report.tables import plain_table

ROWS = [
    ("100 % of full load", "$0.00177", "$0.00174 to $0.00181", "8.34 G", "as measured on this machine"),
    ("25 % of full load", "$1,234.56", "$1,200.00 to $1,300.00", "16", "assumed"),
    ("huggingface_novita/Meta-Llama-3-8B-Instruct", "$98.7\n$65.4", "-", "834 M", ""),
]


def prices() -> Table:
    table = plain_table("load", "USD per 1M\nUSD a month", "80 %", "tokens/month", "note", left=["load", "note"])
    for row in ROWS:
        table.add_row(*row)
    return table


def printed(width: int, table: Table | None = None) -> str:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=False, highlight=False, markup=False).print(table or prices())
    return file.getvalue()


@pytest.mark.parametrize("width", [200, 120, 100, 90, 80, 70, 60, 50, 44, 30])
def test_no_figure_is_cut_at_any_width(width: int) -> None:
    text = printed(width)
    words = text.split()
    for row in ROWS:
        for cell in row[1:4]:
            for word in cell.replace("-", "").split():  # no figure needs no place in a list
                assert word in words
    assert all(len(line) <= width for line in text.splitlines())


def test_a_wide_terminal_has_columns_and_a_narrow_one_names_every_value() -> None:
    wide, narrow = printed(200).splitlines(), printed(50).splitlines()
    assert wide[0].split() == ["USD", "per", "1M"]
    assert len(wide) == 2 + 3 + 1  # names of two lines, and a row of two
    assert "100 % of full load" in narrow
    assert any(line.startswith("  USD per 1M USD a month $0.00177") for line in narrow)
    assert any("USD a month $65.4" in line for line in narrow)


def test_a_bare_number_says_what_it_is() -> None:
    table = plain_table("in flight", "output tok/s of this machine", "requests per second of it")
    table.add_row("16", "1,055", "131")
    file = io.StringIO()
    Console(file=file, width=40, force_terminal=False, highlight=False).print(table)
    assert file.getvalue().splitlines()[0].rstrip() == "in flight 16"


@pytest.mark.parametrize("width", range(58, 68))
def test_words_are_folded_between_words_never_within_one(width: int) -> None:
    table = plain_table("offer", "deployment", "machines", "USD", left=("offer", "deployment", "machines"))
    table.add_row("verda/1RTX6000ADA.10V", "another model", "2 x 1 rtx-6000-ada", "$1,206.25")
    words = printed(width, table).split()
    assert {"another", "model", "rtx-6000-ada", "$1,206.25"} <= set(words)
