"""What a machine has, and what engines there are: lists with a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rackrate.report.document import Cell, Column, Document, Section, Table, Tone

_TONES: dict[str, Tone] = {
    "ok": "good", "missing": "warn", "none": "soft", "ready": "good", "not installed": "warn", "by URL": "soft",
}  # fmt: skip


def document(rows: Sequence[Mapping[str, str]]) -> Document:
    """What was looked for, whether it is there, and what to do."""
    return _listed("doctor", [("", "what"), ("state", "state"), ("found", "found"), ("what to do", "do")], rows)


def engines_document(rows: Sequence[Mapping[str, str]]) -> Document:
    """The engines, whether they are installed, and what each needs."""
    return _listed("engines", [(name, name) for name in ("name", "state", "engine", "needs", "how")], rows)


def settings_document(rows: Sequence[Mapping[str, str]]) -> Document:
    """What can be set on an engine."""
    return _listed("settings", [("setting", "name"), ("is", "kind"), ("what it sets", "meaning")], rows)


def _listed(subject: str, columns: Sequence[tuple[str, str]], rows: Sequence[Mapping[str, str]]) -> Document:
    cells = tuple(tuple(Cell(row[key], _TONES.get(row[key], "plain")) for _, key in columns) for row in rows)
    table = Table(tuple(Column(heading) for heading, _ in columns), cells)
    return Document(subject=subject, headline="", sections=(Section(blocks=(table,)),))
