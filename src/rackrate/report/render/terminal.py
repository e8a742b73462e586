"""A document as lines of a terminal. A table that is too wide for it becomes a list of each row's names and values."""

from __future__ import annotations

import io
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.text import Text

from rackrate.report.document import Cell, Column, Document, Note, Section, Table, Tone, Value
from rackrate.report.format import heading, is_number, shown
from rackrate.report.tables import typed_table
from rackrate.text import plain

FULL = False
SUFFIXES = ()
_STYLES: dict[Tone, str] = {
    "plain": "", "strong": "bold", "good": "green", "best": "bold green", "soft": "dim", "warn": "yellow",
    "bad": "bold red",
}  # fmt: skip


def render(document: Document, width: int = 120) -> str:
    """What a terminal of that many characters a line shows, without colours."""
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=False, highlight=False, markup=False, emoji=False).print(
        renderable(document)
    )
    return file.getvalue()


def renderable(document: Document) -> RenderableType:
    """The lines, for a console that knows its width."""
    lines: list[RenderableType] = [Text(plain(document.headline), style="bold")] if document.headline else []
    lines += [_sentence(note) for note in document.lead]
    lines += [Text(plain(f"{fact.label}: {fact.figure} {fact.what}")) for fact in document.facts]
    for section in document.sections:
        if lines:
            lines.append(Text(""))
        lines += _section(section)
    return Group(*lines)


def _section(section: Section) -> Iterator[RenderableType]:
    if section.title:
        yield Text(plain(section.title), style="bold cyan")
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
        return Text.assemble((plain(note.head), style or "bold"), f": {plain(note.text)}")
    return Text(plain(note.text), style=style)


def _table(table: Table) -> RenderableType:
    drawn = typed_table(
        [(plain(heading(column)), is_number(column)) for column in table.columns],
        title=plain(table.title) or None,
    )
    for row in table.rows:
        drawn.add_row(*(_cell(cell, column) for cell, column in zip(row, table.columns, strict=True)))
    return drawn


def _cell(cell: Value | Cell, column: Column) -> Text:
    tone = cell.tone if isinstance(cell, Cell) else "warn" if column.kind == "tags" else "plain"
    return Text(plain(shown(cell, column)), style=_STYLES[tone])
