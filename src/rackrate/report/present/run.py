"""A run: what ran where, a row per load, and the caveats of its figures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from rackrate.economics.served import PREDICTION_ERROR
from rackrate.metrics.saturation import capacity
from rackrate.metrics.summary import CAVEATS, LevelSummary, Quantiles
from rackrate.report import charts
from rackrate.report.document import Cell, Chart, Column, Document, Note, Section, Table, Value, notes
from rackrate.report.format import load_label, percent, rate, workload_text
from rackrate.schemas import costs as views
from rackrate.schemas.predictions import Times

_LONGEST_WORDS = 160
"""Characters of what a server said of a fault."""


def document(view: views.RunSummary, *, full: bool = False) -> Document:
    """A run by itself."""
    sections = [Section("Every load" if full else "", (levels_table(view, full=full),))]
    if full:
        sections.insert(0, Section(blocks=run_charts(view)))
    return Document(
        subject="run",
        headline=_headline(view),
        lead=(Note(_circumstances(view), "soft"),),
        sections=(*sections, Section(blocks=tuple(_notes(view)))),
        definitions=tuple(view.definitions.items()) if full else (),
        provenance=provenance(view) if full else (),
        records=records(view),
    )


def run_charts(view: views.RunSummary) -> tuple[Chart, ...]:
    """Throughput and latency by load; none of a run of which nothing was answered."""
    if not charts.closed(view):
        return ()
    drawn = [
        Chart("throughput", "Throughput against concurrency, with 95 % intervals", charts.throughput_chart, (view,))
    ]
    for metric, name in (("ttft", "Time to first token"), ("tpot", "Time per output token")):
        drawn.append(Chart(metric, f"{name} against concurrency", charts.latency_chart, (view, metric)))
    return tuple(drawn)


def _headline(view: views.RunSummary) -> str:
    model, engine = view.provenance.model, view.provenance.engine
    weights = f", {model.weight_format}" if model.weight_format else ""
    version = f" ({engine.version})" if engine.version else ""
    return f"{model.requested}{weights} on {engine.name}{version}"


def _circumstances(view: views.RunSummary) -> str:
    facts = view.provenance
    work, imported = facts.workload, facts.imported
    forced = "length not forced: answers may end early"
    if work.length_forced:
        forced = f"length forced by {work.length_forced}"
    if imported:
        forced = f"by {imported.tool} {imported.version or ''}".rstrip()
    endpoint = f"{work.endpoint}, " if work.endpoint else ""
    return f"{facts.machine.description} | {workload_text(work)}, {endpoint}{forced} | {facts.origin} {facts.created}"


def levels_table(view: views.RunSummary, *, full: bool) -> Table:
    """A row per load; on a page also prefill alone and end-to-end times."""
    best = view.saturation
    shown = [level for level in view.levels if full or level.kind != "prefill"]
    closed = all(level.kind != "open" for level in view.levels)
    metrics = ("ttft", "tpot", "e2e") if full else ("ttft", "tpot")
    columns = (
        Column("in flight" if closed else "load", "rate"),
        Column("output tok/s", "rate"),
        Column("\u00b1 95 %", "rate") if full else Column("\u00b1 95 %", "number", digits=1),
        Column("input tok/s", "rate"),
        Column("request/s", "rate"),
        *(Column(f"{name.upper()} {point}", "duration") for name in metrics for point in ("p50", "p95")),
        Column("requests", "integer"),
        Column("failed", "integer"),
        Column("notes" if full else "", "tags"),
    )
    rows = tuple(
        (
            load_label(level),
            level.output_tok_s,
            level.output_tok_s_half_width,
            level.input_tok_s,
            level.request_s,
            *chain.from_iterable(pair(getattr(level, name)) for name in metrics),
            level.requests,
            sum(level.failed.values()),
            tuple(_marks(level, best)),
        )
        for level in shown
    )
    position = next((n for n, level in enumerate(shown) if best is not None and level.index == best.level), None)
    return Table(columns, rows, best=position)


def pair(quantiles: Quantiles | Times | None) -> tuple[Value | Cell, Value | Cell]:
    """The median and the 95th percentile."""
    return (quantiles.p50, quantiles.p95) if quantiles else (None, None)


def _marks(level: views.LevelView, best: views.SaturationView | None) -> Iterator[str]:
    if best is not None and level.index == best.level:
        yield "<- most, not saturated" if best.lower_bound else f"<- {best.reached}"
    if level.slo_met is not None:
        yield f"{percent(level.attainment)} within the SLO{'' if level.slo_met else ', missed'}"
    if level.kind != "prefill":
        yield from level.caveats


def _notes(view: views.RunSummary) -> Iterator[Note]:
    best, imported = view.saturation, view.provenance.imported
    for level in view.levels:
        if level.kind == "prefill" and level.input_tok_s:
            fresh = level.input_tok_s - (level.cached_tok_s or 0)
            share = (
                f", so prefill takes {percent(best.prefill_share)} of the busy time"
                if best and best.prefill_share
                else ""
            )
            yield Note(f"Prefill alone at {level.concurrency} in flight: {rate(fresh)} new input tok/s{share}.")
    if view.provenance.origin == "simulated":
        counted = "; a price counts that, too" if PREDICTION_ERROR in view.provenance.engine.settings else ""
        yield Note(
            f"The run was simulated: \u00b1 is of chance alone, and predictions are off by more{counted}.", "soft"
        )
    slo = view.provenance.workload.slo
    if slo:
        yield from _capacity_note(view, slo)
    for level in view.levels:
        if best and level.index == best.level:
            yield from _server_note(level)
            if not imported:  # there nobody said how long prompts should be
                yield _length_note(level)
    if best and best.lower_bound:
        yield Note("The machine was not saturated at the highest load measured: the figure is a lower bound.", "warn")
    names = {name for level in view.levels if level.kind != "prefill" for name in level.caveats}
    yield from (Note(f"{CAVEATS[name]}.", "warn", name) for name in CAVEATS if name in names)
    unknown = [name for name in CAVEATS if any(name in level.unknown for level in view.levels)]
    if unknown:
        yield Note(f"Not known, since the imported file does not tell: {', '.join(unknown)}.")
    if imported:
        yield from notes(imported.notes, "plain")
    for name, number in view.requests.failed.items():
        said = next((level.said[name] for level in view.levels if name in level.said), None)
        words = f" ({said[:_LONGEST_WORDS]})" if said else ""
        yield Note(f"{view.faults.get(name, '')}{words}.", "bad", f"{number} x {name}")
    if view.state != "complete":
        why = f" ({view.stopped_because})" if view.stopped_because else ""
        state = "goes on, or was killed" if view.state == "running" else f"is {view.state}"
        more = "; it can be resumed" if view.provenance.origin == "measured" else ""
        yield Note(f"The run {state}{why}: what was measured until then is shown{more}.", "warn")
    if view.requests.torn_journal_lines:
        yield Note(f"{view.requests.torn_journal_lines} journal lines were cut short and left out.", "warn")


def _length_note(level: views.LevelView) -> Note:
    """How far lengths are from those asked for, at the level that is priced."""
    error = level.length_error
    if error is None:
        return Note("The server does not count tokens: prompts may be longer or shorter than asked for.", "warn")
    text = f"Prompts: {error.input_share:+.1%} off by the server's count, 95 % within {error.input_p95:.0f} tokens"
    if error.output_share is not None and abs(error.output_share) >= 5e-4:
        text += f"; answers {error.output_share:+.1%}"
    return Note(f"{text}.", "warn" if abs(error.input_share) > 0.01 else "plain")


def _capacity_note(view: views.RunSummary, slo: str) -> Iterator[Note]:
    """The largest rate that was sustained within the SLO, and the smallest that was not."""
    found = capacity(view.levels)
    if found is None:
        if view.state != "complete":  # else a closed loop, whose rows say how far they met it
            yield Note(f"It was ended before any rate was known to be sustained within {slo} or not.", "warn")
        return
    above = ", the highest that was tried"
    if found.above is not None:
        above = f"; {rate(found.above.rate or 0.0)}/s is not ({_why_not(found.above)})"
    if found.level is None:
        yield Note(f"No rate that was tried is sustained within {slo}{above.removeprefix(',')}.", "warn")
        return
    what = "conversations" if any(level.conversations for level in view.levels) else "requests"
    yield Note(f"{rate(found.level.rate or 0.0)} {what}/s are sustained within {slo}{above}.", head="Capacity")


def _why_not(level: LevelSummary) -> str:
    """Why a rate is not sustained."""
    if "overloaded" in level.caveats:
        return "overloaded: requests piled up"
    if "errors" in level.caveats:
        return "more than 1 % of its requests failed"
    return f"{percent(level.attainment)} of its requests met it"


def _server_note(level: views.LevelView) -> Iterator[Note]:
    """What the server said of itself at the level that is priced."""
    server = level.server
    if not server:
        return
    words: list[str] = []
    if server.running_mean is not None:
        words.append(f"{server.running_mean:.1f} running")
    if server.waiting_mean is not None:
        words.append(f"{server.waiting_mean:.1f} waiting on average")
    if server.kv_use_max is not None:
        words.append(f"KV cache {percent(server.kv_use_max)} full at most")
    if server.preemptions:
        words.append(f"{server.preemptions:.0f} preemptions")
    if level.miscount is not None:
        agrees = abs(level.miscount) < 5e-4
        words.append(
            f"its count of output tokens {'agrees' if agrees else 'differs by ' + format(-level.miscount, '+.2%')}"
        )
    if words:
        yield Note(f"The server's own /metrics at that load: {', '.join(words)}.")


def provenance(view: views.RunSummary) -> tuple[tuple[str, str], ...]:
    """What a reader needs to measure it again."""
    facts = view.provenance
    engine, model, machine = facts.engine, facts.model, facts.machine
    work, imported = facts.workload, facts.imported
    settings = "".join(f", {key} {value}" for key, value in engine.settings.items())
    weights = [model.requested, model.weight_format, model.weights_file]
    if model.weights_sha256:
        weights.append(f"SHA-256 {model.weights_sha256}")
    if imported:
        by = f"measured by {imported.tool} {imported.version or ''}, read by rackrate {facts.rackrate}"
        counted = f"as {imported.tool} counted them"
    else:
        by = f"with rackrate {facts.rackrate}, Python {facts.python}"
        forced = f"forced by {work.length_forced}" if work.length_forced else "not forced"
        counted = f"the server's own usage counts; {work.endpoint} endpoint; output length {forced}; seed {work.seed}"
    system = f", {machine.system}" if machine.system else ""
    virtual = ", virtual" if machine.virtual else ""
    return (
        ("throughput and latency", f"{facts.origin} {facts.created} {by}"),
        ("command", facts.command),
        ("engine", f"{engine.name} {engine.version or ''}{settings} at {engine.url or 'a URL not stated'}"),
        ("model", ", ".join(word for word in weights if word)),
        ("machine", f"{machine.description} ({machine.origin}){system}{virtual}"),
        ("tokens", counted),
    )


_PLAIN = (
    "concurrency", "requests", "window_s", "output_tok_s", "output_tok_s_half_width", "input_tok_s", "cached_tok_s",
    "request_s",
)  # fmt: skip


def records(view: views.RunSummary) -> Table:
    """A row per load, SI units, for a spreadsheet."""
    return Table(tuple(map(Column, record_names())), tuple(record(level) for level in view.levels))


def record_names() -> list[str]:
    """Of the columns of a level's record."""
    quantiles = [f"{metric}_{point}_s" for metric in ("ttft", "tpot", "e2e") for point in ("p50", "p95", "p99")]
    return ["kind", *_PLAIN, "failed", *quantiles, "caveats"]


def record(level: views.LevelView) -> tuple[Value, ...]:
    """A level's record."""
    times = [
        getattr(getattr(level, metric), point, None)
        for metric in ("ttft", "tpot", "e2e")
        for point in ("p50", "p95", "p99")
    ]
    failed = sum(level.failed.values())
    return (level.kind, *(getattr(level, name) for name in _PLAIN), failed, *times, tuple(level.caveats))
