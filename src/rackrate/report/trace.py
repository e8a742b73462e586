"""What recorded requests are like, as plain values and as tables."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group

from rackrate.report.format import clock, percent
from rackrate.report.tables import plain_table

if TYPE_CHECKING:
    from pathlib import Path

    from rackrate.workload.trace_summary import Lengths, TraceSummary

SCHEMA = "rackrate.trace-summary/1"

Json = dict[str, Any]


def trace_view(file: Path, layout: str, summary: TraceSummary) -> Json:
    """What `--json` prints; docs/json.md describes it."""
    return {"schema": SCHEMA, "origin": "recorded", "file": str(file), "layout": layout, **asdict(summary)}


def trace_tables(file: Path, layout: str, summary: TraceSummary) -> Group:
    """What recorded requests are like, a figure a line, and their lengths."""
    facts = plain_table("", "", left=["", ""])
    facts.show_header = False
    facts.add_row("requests", f"{summary.requests:,} over {clock(summary.duration_s)}")
    if summary.mean_rate is not None:
        facts.add_row("mean rate", f"{summary.mean_rate:.4g} requests/s")
    if summary.peak_rate is not None and summary.peak_begin_s is not None:
        facts.add_row("busiest minute", f"{summary.peak_rate:.4g} requests/s, from {clock(summary.peak_begin_s)}")
    if summary.gap_cv is not None:
        facts.add_row("CV of gaps", f"{summary.gap_cv:.3g} (1 is Poisson, more is bursty)")
    if summary.correlation is not None and summary.rank_correlation is not None:
        facts.add_row(
            "input and output", f"correlation {summary.correlation:+.2f}, of ranks {summary.rank_correlation:+.2f}"
        )
    if summary.shared_share is not None:
        facts.add_row("shared prefixes", f"{percent(summary.shared_share)} of input tokens, were the cache unbounded")
    if summary.cached_share is not None:
        facts.add_row("cached", f"{percent(summary.cached_share)} of input tokens, as recorded")
    if summary.sessions is not None:
        turns = f", {summary.turns_per_session:.3g} turns each" if summary.turns_per_session else ""
        facts.add_row("sessions", f"{summary.sessions:,}{turns}")
    lengths = plain_table("tokens", "mean", "CV", "least", "p50", "p90", "p95", "p99", "most", left=["tokens"])
    lengths.add_row("input", *_cells(summary.input_tokens))
    lengths.add_row("output", *_cells(summary.output_tokens))
    return Group(f"{file} (recorded; {layout})", facts, "", lengths)


def _cells(lengths: Lengths) -> list[str]:
    whole = (lengths.p50, lengths.p90, lengths.p95, lengths.p99)
    return [
        f"{lengths.mean:,.1f}",
        f"{lengths.cv:.2f}",
        f"{lengths.least:,}",
        *(f"{item:,.0f}" for item in whole),
        f"{lengths.most:,}",
    ]
