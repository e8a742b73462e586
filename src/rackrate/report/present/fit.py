"""Whether a model fits machines: the memory of each accelerator, what is left for requests, and what would fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rackrate.report.document import Block, Cell, Column, Document, Note, Row, Section, Table, notes
from rackrate.report.format import count, percent
from rackrate.schemas import checks as views
from rackrate.units import GIB

BARELY = 0.05
"""Share of a card: where less of it is left for the KV cache, what is predicted may be wrong by as much."""


def document(view: views.FitView, *, full: bool = False) -> Document:
    """A block per machine, or a row per GPU of the catalogue."""
    found = view.fits
    if view.everywhere:
        sections = (Section(blocks=tuple(_everywhere(view))),)
        last = (
            f"the fewest of each card that hold it with {view.engine}; GiB is of one card; longest: tokens of one "
            f"request; then how many of {found[0].context_tokens:,} tokens at a time"
        )
    else:
        sections = tuple(Section(blocks=tuple(_machine(fit))) for fit in found)
        last = "predicted from the model's shape and the engine's defaults; docs/fit.md says how near that is"
    return Document(
        subject="fit",
        headline=_headline(view),
        sections=(*sections, Section(blocks=notes([*(f"note: {note}" for note in view.model.notes), last]))),
        records=_records(found),
    )


def _headline(view: views.FitView) -> str:
    model, first = view.model, view.fits[0]
    active = "" if model.experts is None else f" ({count(model.active_parameters)} active)"
    return (
        f"{model.name}: {count(model.parameters)} parameters{active}, {model.layers} layers; "
        f"{first.total_weights_bytes / 1e9:,.1f} GB of weights in {first.weights_format} "
        f"({view.bits_per_weight:.2f} bits each); from {model.origin}"
    )


def _split(fit: views.FitAnswer) -> str:
    parts = [f"{word} {getattr(fit, word)}" for word in ("tp", "pp") if getattr(fit, word) > 1]
    return f" ({', '.join(parts)})" if parts else ""


def _machine(fit: views.FitAnswer) -> Iterator[Block]:
    several = f"{fit.accelerators} x " if fit.accelerators > 1 else ""
    barely = fit.kv_bytes < BARELY * fit.memory_bytes
    word = ("barely fits" if barely else "fits") if fit.fits else "does not fit"
    yield Note(f"{word} {several}{fit.accelerator}{_split(fit)}, {fit.engine}", "best" if fit.fits else "bad")
    yield from (Note(f"- {reason}") for reason in fit.reasons)
    yield _memory(fit)
    if fit.largest_context:
        limit = f", {fit.engine_requests:,} in one step" if fit.engine_requests else ""
        yield Note(
            f"{fit.requests:,} requests of {fit.context_tokens:,} tokens at a time by memory ({fit.kv_tokens:,} tokens)"
            f"{limit}; one alone of at most {fit.largest_context:,} tokens"
        )
    yield from notes(f"note: {note}" for note in fit.notes)
    if fit.remedies:
        yield Note("what would fit:")
    for way in fit.remedies:
        yield Note(f"- {way.text}: {way.requests:,} requests of {way.context_tokens:,} tokens")


def _until_windows_are_full(fit: views.FitAnswer) -> str:
    """What a further token takes is less than the first ones, where layers keep a window only."""
    short = fit.request_bytes < 0.9 * fit.kv_bytes_per_token * fit.context_tokens
    return ", until windows are full" if short else ""


def _memory(fit: views.FitAnswer) -> Table:
    inside = fit.usable_bytes - fit.weights_bytes - fit.overhead_bytes - fit.kv_bytes > 1.0
    share = percent(fit.usable_bytes / fit.memory_bytes)
    rows: tuple[tuple[str, str, str], ...] = (
        ("memory for programs", "memory_bytes", "what the driver leaves"),
        ("usable", "usable_bytes", f"{share} that {fit.engine} takes by default"),
        ("weights", "weights_bytes", f"in {fit.weights_format}"),
        ("working memory", "activation_bytes", "of a full step" + ("" if inside else ", outside usable")),
        ("engine", "overhead_bytes", "libraries, communication"),
        (
            "left for the KV cache", "kv_bytes",
            f"{fit.kv_bytes_per_token:,.0f} bytes a token in {fit.kv_format}{_until_windows_are_full(fit)}",
        ),
        ("one request", "request_bytes", f"of {fit.context_tokens:,} tokens"),
    )  # fmt: skip
    columns = Column("of each accelerator"), Column("GiB", "number", digits=2), Column("")
    return Table(columns, tuple((name, getattr(fit, key) / GIB, what) for name, key, what in rows))


def _everywhere(view: views.FitView) -> Iterator[Block]:
    context = view.fits[0].context_tokens
    columns = (
        Column("accelerator"), Column("GiB", "number", digits=1), Column("fits on"),
        Column("KV GiB", "number", digits=2), Column("longest", "integer"), Column(f"of {context:,} tokens", "integer"),
    )  # fmt: skip
    rows: list[Row] = []
    said: dict[str, list[str]] = {}
    for fit in view.fits:
        name, gib = fit.accelerator, fit.memory_bytes / GIB
        for text in fit.notes[:1] if fit.fits else fit.reasons[:1]:
            said.setdefault(text.replace(f"one {name}", "one").replace(name, "it"), []).append(name)
        if fit.fits:
            where = f"{fit.accelerators}{_split(fit)}"
            rows.append((name, gib, where, fit.kv_bytes / GIB, fit.largest_context, fit.requests))
        else:
            rows.append((name, gib, Cell("no", "bad"), None, None, None))
    yield Table(columns, tuple(rows))
    yield from notes(f"{', '.join(cards)}: {text}" for text, cards in said.items())


def _records(found: Sequence[views.FitAnswer]) -> Table:
    names = [
        "accelerator", "accelerators", "tp", "pp", "engine", "fits", "weights_format", "kv_format", "memory_bytes",
        "usable_bytes", "weights_bytes", "kv_bytes", "context_tokens", "requests", "largest_context", "kv_tokens",
    ]  # fmt: skip
    return Table(tuple(map(Column, names)), tuple(tuple(getattr(fit, name) for name in names) for fit in found))
