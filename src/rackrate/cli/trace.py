"""rackrate trace: what a file of recorded requests is like."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.workload.trace_summary import Lengths, TraceSummary

SCHEMA = "rackrate.trace-summary/1"


def trace(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Azure's CSV, Mooncake's JSON lines, or a CSV of your own.")
    ],
    as_json: given.AsJson = False,
) -> None:
    """Show what recorded requests are like: rate, burstiness, lengths, how much of the prompts is shared.

    `rackrate measure --trace FILE` sends them. docs/load.md describes the files.
    """
    from rackrate.cli.output import print_json, say, show
    from rackrate.workload.trace_files import detect_layout
    from rackrate.workload.trace_summary import summarise_trace
    from rackrate.workload.traces import read_trace

    kind = detect_layout(file).kind
    if file.stat().st_size > 100e6:  # two seconds and more
        say(f"reading {file} ({file.stat().st_size / 1e6:.0f} MB)")
    summary = summarise_trace(read_trace(file))
    if as_json:
        print_json({"schema": SCHEMA, "origin": "recorded", "file": str(file), "layout": kind, **asdict(summary)})
        return
    show(_tables(file, kind, summary))


def _tables(file: Path, kind: str, summary: TraceSummary) -> Any:
    from rich.console import Group

    from rackrate.report.format import clock, percent
    from rackrate.report.tables import plain_table

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
    return Group(f"{file} (recorded; {kind})", facts, "", lengths)


def _cells(lengths: Lengths) -> list[str]:
    whole = (lengths.p50, lengths.p90, lengths.p95, lengths.p99)
    return [
        f"{lengths.mean:,.1f}",
        f"{lengths.cv:.2f}",
        f"{lengths.least:,}",
        *(f"{item:,.0f}" for item in whole),
        f"{lengths.most:,}",
    ]
