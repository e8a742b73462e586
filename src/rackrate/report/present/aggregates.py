"""Simulated loads of which only aggregates were kept."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from rackrate.report.document import Column, Document, Note, Section, Table
from rackrate.report.format import percent, rate
from rackrate.schemas import predictions as views

_POINTS = ("p50", "p95", "p99")


def document(view: views.AggregatesView, *, full: bool = False) -> Document:
    """A row per load, and how long it took."""
    columns = (
        Column("load", "rate"), Column("output tok/s", "rate"),
        *(Column(f"{name} {point}", "duration") for name in ("TTFT", "TPOT") for point in _POINTS),
    )  # fmt: skip
    rows = tuple(
        (
            f"{rate(level.rate)}/s",
            level.output_tok_s,
            *chain.from_iterable(_three(getattr(level, name)) for name in ("ttft", "tpot")),
        )
        for level in view.levels
    )
    said = tuple(note for level in view.levels for note in _notes(level))
    return Document("simulate", "", sections=(Section(blocks=(Table(columns, rows),)), Section(blocks=said)))


def _three(quantiles: views.SimulatedTimes | None) -> tuple[float | None, ...]:
    return tuple(getattr(quantiles, point) if quantiles else None for point in _POINTS)


def _notes(level: views.AggregateLevel) -> Iterator[Note]:
    words = [
        f"{rate(level.rate)}/s: {rate(level.mean_in_flight)} in flight on average, replicas "
        f"{percent(level.busy_share)} busy"
    ]
    if level.slo_met is not None:
        words.append(f"{percent(level.attainment)} within the SLO{'' if level.slo_met else ', missed'}")
    if level.overloaded:
        words.append("overloaded")
    yield Note("; ".join(words), "warn" if level.slo_met is False or level.overloaded else "plain")
    lost = f"; {level.preemptions:,} preemptions" if level.preemptions else ""
    yield Note(
        f"{level.arrivals}: {level.requests:,} requests in {level.took_s:.1f} s "
        f"({level.requests / max(level.took_s, 1e-9):,.0f}/s, drawing them included){lost}",
        "soft",
    )
