"""The energy of a run."""

from __future__ import annotations

from rackrate.report.document import Column, Document, Note, Section, Table
from rackrate.schemas import costs as views

_COLUMNS = (
    Column("in flight"), Column("W", "rate"), Column("window s", "rate"), Column("J/token", "rate"),
    Column("J/output token", "rate"), Column("energy, USD/1M", "money"),
)  # fmt: skip


def document(view: views.EnergyView, *, full: bool = False) -> Document:
    """Joules per token, load by load."""
    rows = tuple(
        (
            f"{level.concurrency or '-'}{' prefill' if level.kind == 'prefill' else ''}",
            level.watts, level.window_s, level.joules_per_token, level.joules_per_output_token,
            level.usd_per_1m,
        )
        for level in view.levels
    )  # fmt: skip
    words = (
        f"{view.source}. J/token: energy of the steady window over its input and output tokens. Energy at "
        f"{view.usd_per_kwh:g} USD/kWh, PUE {view.pue:g}: a part of the price, not the whole."
    )
    blocks = (Table(_COLUMNS, rows), Note(words, "soft", head="Watts"))
    return Document(subject="energy", headline=f"Energy of {view.run}", sections=(Section(blocks=blocks),))
