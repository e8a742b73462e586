"""What number formats lost against a reference."""

from __future__ import annotations

from rackrate.report.document import Between, Column, Document, Note, Section, Table
from rackrate.schemas import checks as views

_COLUMNS = (
    Column("model"), Column("perplexity", "number", digits=2), Column("x reference", "number", digits=4),
    Column("95 %", "number", digits=4), Column("same token", "share"), Column("same answers"),
)  # fmt: skip


def document(view: views.QualityView, *, full: bool = False) -> Document:
    """Perplexity and agreement, model by model."""
    rows = tuple(
        (
            model.model, model.perplexity, model.ratio or "reference",
            Between(*model.ratio_interval) if model.ratio_interval else None, model.agreement,
            f"{model.same_answers} of {model.answers}" if model.answers else None,
        )
        for model in view.models
    )  # fmt: skip
    words = (
        f"Perplexity on {view.models[0].tokens} tokens of public-domain prose (lower is better). Same token: of "
        "the reference's greedy answers to 50 prompts, the share of tokens that the other would have chosen after the "
        "same words. Weights dequantised, computed in float32: an engine's own arithmetic comes on top."
    )
    blocks = (Table(_COLUMNS, rows), Note(words, "soft"))
    return Document(subject="quality", headline=f"Quality against {view.reference}", sections=(Section(blocks=blocks),))
