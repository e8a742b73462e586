"""A document as lines of a terminal. A table that is too wide for it becomes a list of each row's names and values."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.text import Text

from rackrate.report.document import Cell, Column, Document, Note, Section, Table, Tone, Value
from rackrate.report.format import heading, is_number, shown
from rackrate.report.tables import typed_table

FULL = False
SUFFIXES = ()
_STYLES: dict[Tone, str] = {
    "plain": "", "strong": "bold", "good": "green", "best": "bold green", "soft": "dim", "warn": "yellow",
    "bad": "bold red",
}  # fmt: skip
_MOVES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of characters that do something to a terminal instead of standing in it."""


def render(document: Document, width: int = 120) -> str:
    """What a terminal of that many characters a line shows, without colours."""
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=False, highlight=False, markup=False, emoji=False).print(
        renderable(document)
    )
    return file.getvalue()


def renderable(document: Document) -> RenderableType:
    """The lines, for a console that knows its width."""
    lines: list[RenderableType] = [Text(printable(document.headline), style="bold")] if document.headline else []
    lines += [_sentence(note) for note in document.lead]
    lines += [Text(printable(f"{fact.label}: {fact.figure} {fact.what}")) for fact in document.facts]
    for section in document.sections:
        if lines:
            lines.append(Text(""))
        lines += _section(section)
    return Group(*lines)


def _section(section: Section) -> Iterator[RenderableType]:
    if section.title:
        yield Text(printable(section.title), style="bold cyan")
    begun = bool(section.title)
    for block in section.blocks:
        if isinstance(block, Note):
            yield _sentence(block)
        elif isinstance(block, Table):
            if begun:
                yield Text("")
            yield _table(block)
        begun = True


def _sentence(note: Note) -> Text:
    style = _STYLES[note.tone]
    if note.head:
        return Text.assemble((printable(note.head), style or "bold"), f": {printable(note.text)}")
    return Text(printable(note.text), style=style)


def _table(table: Table) -> RenderableType:
    drawn = typed_table(
        [(printable(heading(column)), is_number(column)) for column in table.columns],
        title=printable(table.title) or None,
    )
    for row in table.rows:
        drawn.add_row(*(_cell(cell, column) for cell, column in zip(row, table.columns, strict=True)))
    return drawn


def _cell(cell: Value | Cell, column: Column) -> Text:
    tone = cell.tone if isinstance(cell, Cell) else "warn" if column.kind == "tags" else "plain"
    return Text(printable(shown(cell, column)), style=_STYLES[tone])


def printable(text: str) -> str:
    r"""Text on one line, without what would move a cursor, colour a screen or turn the direction of writing.

    >>> printable("gpu\x1b[2J\n\u202egnp.exe\u2069")
    'gpu?[2J ?gnp.exe?'
    """
    marks = (" " if item in "\n\r\t" else item for item in text)
    return "".join("?" if unicodedata.category(item) in _MOVES else item for item in marks)
