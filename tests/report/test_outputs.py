"""Every output of a document: a new one is a module and a line, and nothing from outside does harm in any."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import pytest

from rackrate.errors import UserError
from rackrate.report.document import Between, Cell, Column, Document, Note, Section, Table
from rackrate.report.render import FORMATS, format_named, format_of, render

EVIL = "=cmd|' /C calc'!A0 <script>alert(1)</script> | \x1b[2J\u202egnp"


def document() -> Document:
    columns = (Column("name"), Column("TTFT p95", "duration"), Column("80 %", "money"), Column("gain", "number"))
    rows = ((EVIL, 0.0213, Between(1.0, 2.5), -0.5), (Cell("@sum", "warn"), None, Between(3.0, None), "never"))
    return Document("test", EVIL, (Note(EVIL, "warn"),), sections=(Section(EVIL, (Table(columns, rows),)),))


def test_a_new_output_is_one_file_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "headlines.py").write_text(
        "FULL = False\nSUFFIXES = ('.headline',)\n\n\ndef render(document):\n    return document.headline.upper()\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setitem(FORMATS, "headlines", "headlines")
    try:
        assert render(Document("test", "a million tokens"), "headlines") == "A MILLION TOKENS"
        assert format_of(Path("x.headline")) == format_named("headline") == "headlines"
    finally:
        sys.modules.pop("headlines", None)


def test_a_file_is_written_by_its_ending() -> None:
    assert [format_of(Path(name)) for name in ("a.HTM", "a.md", "a.csv", "a.json")] == [
        "html", "markdown", "csv", "json",
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"ends in \.html, \.md, \.json or \.csv"):
        format_of(Path("a.pdf"))


def test_numbers_are_written_by_the_kind_of_their_column() -> None:
    for output in ("terminal", "markdown", "html"):
        text = render(document(), output)
        assert "TTFT p95 ms" in text
        assert "21.3" in text
        assert "$1.00 to $2.50" in text
        assert "$3.00 to never" in text


def test_no_control_character_reaches_a_terminal() -> None:
    text = render(document(), "terminal")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "?[2J" in text


def test_markup_from_outside_is_text_in_a_page_and_in_markdown() -> None:
    assert "<script>alert" not in render(document(), "html")
    assert "&lt;script&gt;alert" in render(document(), "html")
    assert "<script>" not in render(document(), "markdown")


def test_text_is_no_formula_in_a_spreadsheet_and_numbers_stay_numbers() -> None:
    names, first, second = csv.reader(io.StringIO(render(document(), "csv")))
    assert names == ["name", "TTFT p95 s", "80 % low", "80 % high", "gain"]
    assert first[0].startswith("'=cmd")
    assert [float(cell) for cell in first[1:]] == [0.0213, 1.0, 2.5, -0.5]
    assert second == ["'@sum", "", "3.0", "", "never"]
