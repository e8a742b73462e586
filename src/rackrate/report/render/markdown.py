"""A document as Markdown, for a pull request or a wiki: everything but the charts."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rackrate.report.document import Chart, Document, Note, Section, Table
from rackrate.report.format import heading, is_number, shown
from rackrate.text import plain

FULL = True
SUFFIXES = (".md", ".markdown")


def render(document: Document) -> str:
    """The document. Everything that comes from outside is escaped."""
    lines = [f"# {escaped(document.headline)}", ""]
    for note in document.lead:
        lines += [_sentence(note), ""]
    for fact in document.facts:
        rest = "".join(f"; {_sentence(note)}" for note in fact.notes)
        lines.append(f"- **{escaped(fact.figure)}** {escaped(fact.what)}: {escaped(fact.label)}{rest}")
    for section in document.sections:
        lines += ["", *_section(section)]
    lines += _pairs("Definitions", document.definitions) + _pairs("Provenance", document.provenance)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _section(section: Section) -> Iterable[str]:
    if section.title:
        yield from (f"{'#' * section.level} {escaped(section.title)}", "")
    for block in section.blocks:
        if isinstance(block, Note):
            yield from (_sentence(block), "")
        elif not isinstance(block, Chart):
            yield from _table(block)


def _sentence(note: Note) -> str:
    text = escaped(note.text, begins=not note.head)
    return f"**{escaped(note.head)}**: {text}" if note.head else text


def _table(table: Table) -> Iterable[str]:
    if table.title:
        yield from (f"**{escaped(table.title)}**", "")
    yield _line(heading(column) for column in table.columns)
    yield "|" + "|".join(" ---: " if is_number(column) else " --- " for column in table.columns) + "|"
    for row in table.rows:
        below = (getattr(cell, "below", "") for cell in row)
        texts = (shown(cell, column) for cell, column in zip(row, table.columns, strict=True))
        yield _line(f"{text} ({more})" if more else text for text, more in zip(texts, below, strict=True))
    yield ""


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(escaped(cell, begins=False) for cell in cells) + " |"


def _pairs(title: str, pairs: Iterable[tuple[str, str]]) -> list[str]:
    lines = [f"- **{escaped(name)}**: {escaped(text, begins=False)}" for name, text in pairs]
    return ["", f"## {title}", "", *lines] if lines else []


def escaped(text: str, *, begins: bool = True) -> str:
    """Text that is plain, and cannot break a table, become markup or HTML.

    `begins` where it may stand at the beginning of a line.

    >>> print(escaped("a|b <img> [x](javascript:1) *no*"))
    a\\|b &lt;img> \\[x\\](javascript:1) \\*no\\*
    >>> print(escaped("# no heading"), escaped("-", begins=False), escaped("snake_case"))
    \\# no heading - snake_case
    """
    text = plain(" ".join(text.split()))
    text = re.sub(r"([\\`*\[\]|]|\b_|_\b)", r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"^([#>+-]|\d+(?=[.)] ))", r"\\\1", text) if begins else text
