"""Recorded requests: how many, how bursty, how long, and how much of their prompts is shared."""

from __future__ import annotations

from collections.abc import Iterator

from rackrate.report.document import Column, Document, Section, Table
from rackrate.report.format import clock, percent
from rackrate.schemas import checks as views


def document(view: views.TraceView, *, full: bool = False) -> Document:
    """A figure a line, and the lengths."""
    number = f"{view.requests:,} over {clock(view.duration_s)}"
    facts = Table((Column("requests"), Column(number, wraps=True)), tuple(_facts(view)))
    return Document(
        subject="trace",
        headline=f"{view.file} (recorded; {view.layout})",
        sections=(Section(blocks=(facts, _lengths(view))),),
        records=_lengths(view),
    )


def _facts(view: views.TraceView) -> Iterator[tuple[str, str]]:
    if view.units is not None:
        yield "taken as", view.units
    if view.mean_rate is not None:
        yield "mean rate", f"{view.mean_rate:.4g} requests/s"
    if view.peak_rate is not None and view.peak_begin_s is not None:
        yield "busiest minute", f"{view.peak_rate:.4g} requests/s, from {clock(view.peak_begin_s)}"
    if view.gap_cv is not None:
        yield "CV of gaps", f"{view.gap_cv:.3g} (1 is Poisson, more is bursty)"
    if view.correlation is not None and view.rank_correlation is not None:
        yield "input and output", f"correlation {view.correlation:+.2f}, of ranks {view.rank_correlation:+.2f}"
    if view.shared_share is not None:
        yield "shared prefixes", f"{percent(view.shared_share)} of input tokens, were the cache unbounded"
    if view.cached_share is not None:
        yield "cached", f"{percent(view.cached_share)} of input tokens, as recorded"
    if view.sessions is not None:
        turns = f", {view.turns_per_session:.3g} turns each" if view.turns_per_session else ""
        yield "sessions", f"{view.sessions:,}{turns}"


def _lengths(view: views.TraceView) -> Table:
    points = ("least", "p50", "p90", "p95", "p99", "most")
    columns = (
        Column("tokens"), Column("mean", "number", digits=1), Column("CV", "number", digits=2),
        *(Column(point, "integer") for point in points),
    )  # fmt: skip
    rows = tuple(
        (name, found.mean, found.cv, *(getattr(found, point) for point in points))
        for name in ("input", "output")
        for found in (getattr(view, f"{name}_tokens"),)
    )
    return Table(columns, rows)
