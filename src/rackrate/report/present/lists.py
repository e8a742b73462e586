"""What a machine has, what engines there are, and what can be set on them: lists with a state."""

from __future__ import annotations

from collections.abc import Sequence

from rackrate.report.document import Cell, Column, Document, Row, Section, Table, Tone
from rackrate.schemas import lists as views

_TONES: dict[str, Tone] = {
    "ok": "good", "missing": "warn", "none": "soft", "ready": "good", "not installed": "warn", "by URL": "soft",
}  # fmt: skip


def document(view: views.DoctorView | views.EnginesView | views.SettingsView, *, full: bool = False) -> Document:
    """What was looked for, whether it is there, and what to do."""
    if isinstance(view, views.DoctorView):
        rows = [(item.what, _state(item.state), item.found, item.do) for item in view.findings]
        return _listed("doctor", "What this machine has", ("", "state", "found", "what to do"), rows, full=full)
    if isinstance(view, views.EnginesView):
        rows = [(item.name, _state(item.state), item.engine, item.needs, item.how) for item in view.engines]
        return _listed("engines", "Engines", ("name", "state", "engine", "needs", "how"), rows, full=full)
    rows = [(item.name, ", ".join(item.words) or item.kind, item.meaning) for item in view.settings]
    headline = f"Settings of {view.engine}"
    return _listed("settings", headline, ("setting", "is", "what it sets"), rows, full=full)


def _state(state: str) -> Cell:
    return Cell(state, _TONES[state])


def _listed(subject: str, headline: str, names: Sequence[str], rows: Sequence[Row], *, full: bool) -> Document:
    table = Table(tuple(map(Column, names)), tuple(rows))
    return Document(subject=subject, headline=headline if full else "", sections=(Section(blocks=(table,)),))
