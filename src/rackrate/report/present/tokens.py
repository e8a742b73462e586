"""A server's token counts against those of tokenizers."""

from __future__ import annotations

from rackrate.report.document import Column, Document, Note, Section, Table
from rackrate.schemas import checks as views

_COLUMNS = (
    Column("tokenizer"), Column("input (text)", "integer"), Column("output", "integer"),
    Column("template per request", "number", digits=1), Column("server per input", "change", digits=2),
    Column("server per output", "change", digits=2),
)  # fmt: skip


def document(view: views.TokensView, *, full: bool = False) -> Document:
    """Whether they agree, and by how much they do not."""
    rows = tuple(
        (
            counts.tokenizer, counts.input_tokens, counts.output_tokens, counts.template_tokens,
            counts.input_disagreement, counts.output_disagreement,
        )
        for counts in view.tokenizers
    )  # fmt: skip
    verdict = (
        Note("The server's counts are the model's tokens, within 1 %.", "good")
        if view.agrees
        else Note(
            "The server's counts differ from the model's tokens by more than 1 %: is it the right tokenizer?", "bad"
        )
    )
    return Document(
        subject="tokens",
        headline=f"{view.model} at {view.url}: {view.server_input_tokens} input and "
        f"{view.server_output_tokens} output tokens by its own usage, {view.requests} requests",
        sections=(Section(blocks=(Table(_COLUMNS, rows),)), Section(blocks=(verdict,))),
    )
