"""What another date's prices change in a study, flipped verdicts first."""

from __future__ import annotations

from collections.abc import Iterator

from rackrate.report.document import Block, Cell, Column, Document, Note, Section, Table
from rackrate.report.format import figure, usd
from rackrate.schemas import predictions as views
from rackrate.studies.diff import Change


def document(view: views.StudyDiffView, *, full: bool = False) -> Document:
    """Every claim and question that has another verdict or other figures."""
    before, after = view.before.prices_as_of, view.after.prices_as_of
    changed = [change for change in view.changes if change.flipped or change.figures]
    sections = [Section(blocks=tuple(_change(change))) for change in changed]
    if same := len(view.changes) - len(changed):
        sections.append(Section(blocks=(Note(f"{same} unchanged", "soft"),)))
    return Document(
        subject="study diff",
        headline=f"{view.title}: prices of {before} against {after}",
        lead=(Note(f"{view.flipped} of {len(view.changes)} verdicts flipped", "strong"),),
        sections=tuple(sections),
        records=_records(view),
    )


def _change(change: Change) -> Iterator[Block]:
    mark = "flipped" if change.flipped else "same verdict, other figures"
    yield Note(f"{change.kind} {change.id}: {mark}", "bad" if change.flipped else "soft")
    yield Note(change.says, "soft")
    if change.flipped:
        yield Note(str(change.before), head="before")
        yield Note(str(change.after), head="after")
    for name, was, now in change.figures:
        question = change.kind == "question"
        ratio = f" (x{now / was:.3g})" if was and now else ""
        shown = (usd(was), usd(now)) if question else (figure(was, None), figure(now, None))
        yield Note(f"{name}: {shown[0]} -> {shown[1]}{' per 1M tokens' if question else ''}{ratio}")


def _records(view: views.StudyDiffView) -> Table:
    rows = tuple(
        (change.kind, change.id, change.flipped, change.before, change.after, name, Cell(was), Cell(now))
        for change in view.changes
        for name, was, now in (change.figures or [(None, None, None)])
    )
    names = ("kind", "id", "flipped", "verdict_before", "verdict_after", "figure", "before", "after")
    return Table(tuple(map(Column, names)), rows)
