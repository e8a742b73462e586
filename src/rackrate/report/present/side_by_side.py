"""Runs side by side: throughput, latency, prices, and the ratio to a baseline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rackrate.metrics.summary import CAVEATS
from rackrate.report import charts
from rackrate.report.document import Cell, Chart, Column, Document, Note, Section, Table, notes
from rackrate.report.format import percent, rate, usd
from rackrate.report.present.run import pair
from rackrate.schemas import costs as views

LETTERS = "abcdefghij"
"""Stand for machines in the headings of a screen."""
DOUBT = " *"
"""After a figure with a caveat."""


def document(view: views.ComparisonView, *, full: bool = False) -> Document:
    """A row per run at the load that it served most at, then its throughput at each load."""
    sections = [Section("At the load that each served most at" if full else "", (_best_table(view, full=full),))]
    if full:
        caption = "Output tokens per second against requests in flight, with 95 % intervals"
        sections.insert(0, Section(blocks=(Chart("throughput", caption, charts.comparison_chart, (view,)),)))
    else:
        sections += [Section(blocks=tuple(_doubts(view))), Section(blocks=(_latencies(view),))]
    sections.append(Section("Output tokens per second at every load" if full else "", (_by_load(view),)))
    legend = [f"ratio: output tok/s over that of {view.baseline}"] if view.baseline else []
    if _machines(view):
        legend.append(f"USD/1M: input and output tokens together, at full load all month, on {_legend(view)}")
    sections.append(Section(blocks=(*notes(legend), *notes(_notes(view), "plain"))))
    if full:
        rows = tuple((row.label, _settings(row)) for row in view.rows)
        sections.append(Section("Settings", (Table((Column("run"), Column("settings", wraps=True)), rows),)))
    return Document(
        subject="side-by-side",
        headline="Runs side by side" if full else "",
        lead=notes([_circumstances(view)]),
        sections=tuple(sections),
        records=_records(view),
    )


def _circumstances(view: views.ComparisonView) -> str:
    work = view.workload
    if not work:
        return ""
    origins = " and ".join(sorted({row.origin for row in view.rows})) or "measured"
    lengths = f"{work.input_tokens} tokens in, {work.output_tokens} out, {work.endpoint}"
    return f"{view.machine} | {lengths} | {origins}"


def _machines(view: views.ComparisonView) -> list[str]:
    return list(dict.fromkeys(price.machine for row in view.rows for price in row.prices))


def _legend(view: views.ComparisonView) -> str:
    """Which machine each letter stands for, and what it costs."""
    costs = {price.machine: price for row in view.rows for price in row.prices}
    return "; ".join(
        f"{letter}: {name} at {usd(costs[name].usd_h)}/h ({costs[name].source.split(';')[0]})"
        for letter, name in zip(LETTERS, _machines(view), strict=False)
    )


def _best_table(view: views.ComparisonView, *, full: bool) -> Table:
    names = _machines(view)
    shown = names if full else names[: len(LETTERS)]
    quality = any(row.quality for row in view.rows)
    columns = (
        Column("run"),
        *((Column("weights"),) if full else ()),
        Column("output tok/s", "rate"),
        Column("\u00b1 95 %", "rate") if full else Column("\u00b1 95 %", "number", digits=1),
        Column("in flight", "integer"),
        Column("ratio", "number", digits=1),
        *(Column(f"USD/1M {LETTERS[n] if not full else name}", "money") for n, name in enumerate(shown)),
        *((Column("perplexity x", "number", digits=3), Column("same token", "share")) if quality else ()),
        *(_times_columns() if full else ()),
        *((Column("notes", "tags"),) if full else ()),
    )

    def cells(row: views.ComparedRun) -> Iterator[Any]:
        yield Cell(row.label, "strong")
        if full:
            yield row.weight_format
        yield from (
            row.output_tok_s,
            row.output_tok_s_half_width,
            row.concurrency or None,
            row.ratio or None,
        )
        yield from (_price(row, name) for name in shown)
        if quality:
            known = row.quality
            yield from (known.ratio, known.agreement) if known else (None, None)
        if full:
            yield from (*pair(row.ttft), *pair(row.tpot), tuple(_words(row)))

    return Table(columns, tuple(tuple(cells(row)) for row in view.rows))


def _times_columns() -> Iterator[Column]:
    return (Column(f"{name} {point}", "duration") for name in ("TTFT", "TPOT") for point in ("p50", "p95"))


def _latencies(view: views.ComparisonView) -> Table:
    rows = tuple((row.label, row.weight_format, *pair(row.ttft), *pair(row.tpot)) for row in view.rows)
    return Table((Column("run"), Column("weights"), *_times_columns()), rows)


def _price(row: views.ComparedRun, machine: str) -> float | None:
    return next((price.blended_usd for price in row.prices if price.machine == machine), None)


def _words(row: views.ComparedRun) -> Iterator[str]:
    yield from row.caveats
    if row.failure:
        yield row.failure
    if row.lower_bound:
        yield "still growing"


def _doubts(view: views.ComparisonView) -> Iterator[Note]:
    for row in view.rows:
        if words := ", ".join(_words(row)):
            yield Note(f"{row.label}: {words}", "warn")


def _by_load(view: views.ComparisonView) -> Table:
    loads = sorted({level.concurrency for row in view.rows for level in row.levels})
    rows = tuple((row.label, *(_at(row, load) for load in loads)) for row in view.rows)
    return Table((Column("output tok/s, in flight:"), *(Column(str(load), "rate") for load in loads)), rows)


def _at(row: views.ComparedRun, load: int) -> Cell | None:
    """Output tok/s of a row at a load, with a star where it has a caveat."""
    level = next((level for level in row.levels if level.concurrency == load), None)
    if level is None or level.output_tok_s is None:
        return None
    return Cell(level.output_tok_s, shown=rate(level.output_tok_s) + (DOUBT if charts.doubtful(level) else ""))


def _notes(view: views.ComparisonView) -> Iterator[str]:
    yield from view.notes
    for row in view.rows:
        if (row.other_cpu_share or 0) > 0.05:
            yield (
                f"{row.label}: other processes took up to {percent(row.other_cpu_share)} of the CPUs while it "
                "ran; its figures are too low by at least as much."
            )
    names = {name for row in view.rows for name in row.caveats}
    yield from (f"{name}: {CAVEATS[name]}." for name in CAVEATS if name in names)
    if any(charts.doubtful(level) for row in view.rows for level in row.levels):
        yield f"{DOUBT.strip()}, or a hollow point: a load whose figure must not be taken for the engine's own."
    yield from (f"{failure.engine} was not measured: {failure.why}" for failure in view.failures)


def _settings(row: views.ComparedRun) -> str:
    settings = "".join(f", {key} {value}" for key, value in row.settings.items())
    return f"{row.engine} {row.version or ''}{settings}; run {row.run}, {row.origin} {row.created}"


def _records(view: views.ComparisonView) -> Table:
    """A row per run and load, for a spreadsheet."""
    names = ("concurrency", "output_tok_s", "output_tok_s_half_width", "ttft_p50_s", "tpot_p50_s")
    rows = tuple(
        (row.label, row.engine, row.weight_format, *(getattr(level, name) for name in names), tuple(level.caveats))
        for row in view.rows
        for level in row.levels
    )
    return Table(tuple(map(Column, ("run", "engine", "weights", *names, "caveats"))), rows)
