"""A comparison: machines and APIs for the same requests."""

from __future__ import annotations

from rackrate.report.document import Document, Note, Section, notes
from rackrate.report.present.question import question_section, records
from rackrate.report.present.study import definitions
from rackrate.schemas import predictions as views


def document(view: views.CompareView, *, full: bool = False) -> Document:
    """One question, and how it was drawn."""
    drawn = f"80 % intervals of {view.draws:,} draws, seed {view.seed}; prices of APIs in USD per 1M tokens"
    return Document(
        subject=f"compare {view.rackrate}",
        headline=f"What {view.model} costs" if full else view.asks,
        sections=(
            question_section(view, full=full, title=view.asks if full else ""),
            Section(blocks=(*notes(view.remarks), Note(drawn, "soft"))),
        ),
        definitions=definitions(view) if full else (),
        records=records([view]),
    )
