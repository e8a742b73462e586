"""What strangers wrote, in every output: nothing moves a cursor, turns the direction, is a formula or ends markup."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from html.parser import HTMLParser
from typing import Any

import pytest

from rackrate.cli.output import say, to_json
from rackrate.report.document import Cell, Chart, Column, Document, Fact, Note, Section, Table
from rackrate.report.render import render
from rackrate.text import plain, plain_lines

EVIL = (
    "\x1b]0;window title\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\u2069\u200b\ufeff\x00\x7f\u2028\ud800"
    "</script></title><script>alert(1)</script>|`*[x](javascript:1)&amp;\r\n# heading"
)
FORMULAS = ("=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u200b=1", "\uff1d1", "\uff201")
DOES = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _drawn(text: str) -> dict[str, Any]:
    return {"title": text, "data": {"values": [{text: text}]}}


def document(text: str) -> Document:
    """A document that has the text in every place that can hold one."""
    note = Note(text, head=text)
    table = Table(
        (Column(text), Column("tags", "tags"), Column("usd", "money", unit=text)),
        ((Cell(text, below=text), (text,), Cell(1.0, shown=text)), (text, (), text)),
        title=text,
    )
    chart = Chart("one", text, _drawn, (text,))
    return Document(
        subject=text, headline=text, lead=(note,), facts=(Fact(text, text, text, (note,)),),
        sections=(Section(text, (note, table, chart)),), definitions=((text, text),), provenance=((text, text),),
    )  # fmt: skip


def doing(text: str, but: str = "\n") -> set[str]:
    """The characters of a text that do something."""
    return {item for item in text if item not in but and unicodedata.category(item) in DOES}


@pytest.mark.parametrize("to", ["terminal", "html", "markdown", "csv"])
def test_no_output_has_a_character_that_does_something(to: str) -> None:
    text = render(document(EVIL), to)
    assert "window title" in text
    assert doing(text) == set()
    text.encode()


def test_json_keeps_every_character_by_its_number() -> None:
    values = {EVIL.replace("\ud800", ""): EVIL.replace("\ud800", "")}
    text = to_json(values)
    assert doing(text) == set()
    assert json.loads(text) == values


def test_html_shows_it_and_obeys_none_of_it() -> None:
    class Elements(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []
            self.links: list[str | None] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.names.append(tag)
            self.links += [value for name, value in attrs if name in {"href", "src"} or name.startswith("on")]

    def elements(text: str) -> Elements:
        found = Elements()
        found.feed(render(document(text), "html"))
        return found

    assert elements(EVIL).names == elements("harmless").names
    assert elements(EVIL).links == elements("harmless").links == ["data:,"]


def test_markdown_has_no_markup_of_it() -> None:
    lines = render(document(EVIL), "markdown").splitlines()
    assert not [line for line in lines if re.match(r"\s*# heading", line)]
    assert not re.search(r"(?<!\\)\[x\]|<script", "\n".join(lines))
    assert len(lines) == len(render(document("harmless"), "markdown").splitlines())


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_of_a_csv_file_is_a_formula(formula: str) -> None:
    rows = list(csv.reader(io.StringIO(render(document(formula), "csv"), newline="")))
    cells = [cell for row in rows for cell in row if cell]
    assert cells
    assert not [cell for cell in cells if cell.lstrip()[0] in "=+-@\t\r\uff1d\uff0b\uff0d\uff20"]


def test_numbers_of_a_csv_file_stay_numbers() -> None:
    table = Table((Column("usd", "money"),), ((-1.5,), (None,), (0.0,)))
    text = render(Document("a", "a", sections=(Section("", (table,)),)), "csv")
    assert text.splitlines() == ["usd", "-1.5", '""', "0.0"]


def test_a_sentence_on_standard_error_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    say("an engine's log:\n  \x1b[31mred\x1b[0m \x1b[2J\u202e\n  and more")
    assert capsys.readouterr().err == "an engine's log:\n  red ?[2J?\n  and more\n"


def test_what_is_plain_already_is_left_alone() -> None:
    text = "Größe 5 €, 日本語, עברית, emoji 🙂, a\N{COMBINING ACUTE ACCENT}"
    assert plain(text) == plain_lines(text) == text
