"""A plan: deployments and APIs ranked, a mixed fleet where it wins, and why the others lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rackrate.economics.breakeven import BreakEven
from rackrate.planner.explain import Step
from rackrate.report import plan_charts
from rackrate.report.document import Between, Block, Cell, Chart, Column, Document, Fact, Note, Section, Table, notes
from rackrate.report.format import count, percent, rate, split, usd
from rackrate.report.present.apis import api_cell, api_notes
from rackrate.report.present.run import pair
from rackrate.schemas import predictions as views
from rackrate.units import share_off

SHOWN_APIS = 6
"""Sellers of the same model that a screen shows."""
DISTANCES = {"measured": "card", "same family": "same family", "extrapolated": "others"}
"""How near the published rows are that a prediction leans on: of the card itself, of its family, of others."""
COVERED_LEAST = 0.65
"""Of the figures of a card that an 80 % interval must have had, not to be marked."""


def document(view: views.PlanView, *, full: bool = False, explanation: Sequence[Step] = ()) -> Document:
    """The ranking; `explained` of the view is one row from FLOPs to dollars, and so is `explanation`, of a page."""
    demand, rows = view.demand, view.rows
    sections: list[Section] = []
    if rows:
        best = rows[0]
        if full:
            sections.append(Section(blocks=tuple(_pareto(view))))
            if view.curve:
                sections.append(Section(f"One replica of {best.cost_name}, by load", tuple(_curve(view))))
        table = _ranking(view, full=full)
        sections.append(Section("Deployments and APIs" if full else "", (table, *api_notes(view.apis))))
        sections.append(Section(blocks=notes(_remarks(view))))
    else:
        fits = set(view.reasons) != {"does not fit"}
        said: list[Block] = [Note("No offer meets the SLO." if fits else "The model fits no offer.", "warn")]
        if view.closest:
            said.append(Note(f"Nearest is {view.closest}."))
        sections.append(Section(blocks=tuple(said)))
    sections.append(Section(blocks=tuple(_lost(view, full=full))))
    explained = view.explained
    steps = explained.steps if explained else list(explanation) if full else []
    if steps:
        name = explained.offer if explained else rows[0].cost_name
        sections.append(Section(f"{name}, from FLOPs to dollars", (_explanation(steps),)))
    lead = _traffic(demand, full=full), view.origin, view.corrected
    return Document(
        subject="plan",
        headline=f"What serving {view.model} would cost" if full else f"{view.model}: {_asked(demand)}",
        lead=(*((Note(_asked(demand)),) if full else ()), *notes(lead)),
        facts=tuple(_facts(view)) if full and rows else (),
        sections=tuple(sections),
        records=_records(view),
    )


def _asked(demand: views.DemandView) -> str:
    peak = demand.peak_request_s
    at_peak = f" ({rate(peak)}/s at the peak)" if peak > demand.request_s * 1.0001 else ""
    return (
        f"{rate(demand.request_s)} requests/s{at_peak}, {demand.mean_input_tokens:,.0f} tokens in and "
        f"{demand.mean_output_tokens:,.0f} out on average, {count(demand.tokens_month)} tokens a month; "
        f"{demand.slo}"
    )


def _traffic(demand: views.DemandView, *, full: bool) -> str:
    """Where the traffic is from and what must be known of it; on a screen, nothing of a rate that was stated."""
    words = [] if demand.origin.startswith("stated") and not full else [f"traffic: {demand.origin}"]
    return "; ".join([*words, *demand.notes])


def _facts(view: views.PlanView) -> Iterator[Fact]:
    best = view.rows[0]
    spares = f" + {best.spares} spare" if best.spares else ""
    interval = best.usd_per_1m_interval
    sure = f", 80 %: {usd(interval[0])} to {usd(interval[1])}" if interval else ""
    yield Fact(
        f"{best.cost_name}, {best.weights} {split(best)}",
        usd(best.usd_month),
        f"USD a month, {best.machines}{spares} machines",
    )
    yield Fact("input and output together", usd(best.usd_per_1m), f"USD per 1M tokens{sure}")
    yield Fact("load at the peak", percent(best.utilisation), "of what its replicas sustain within the SLO")


def _pareto(view: views.PlanView) -> Iterator[Chart]:
    for metric, caption in (
        ("tpot", "Cost against p95 TPOT; the dashed line joins what nothing beats in both"),
        ("ttft", "Cost against p95 TTFT"),
    ):
        yield Chart(f"pareto-{metric}", caption, plan_charts.pareto_chart, (view, metric))


def _curve(view: views.PlanView) -> Iterator[Chart]:
    capacity = rate(view.rows[0].capacity_request_s)
    yield Chart(
        "load-ttft", f"TTFT; the SLO is met up to {capacity} requests/s", plan_charts.load_chart, (view, "ttft")
    )
    yield Chart("load-tpot", "TPOT", plan_charts.load_chart, (view, "tpot"))
    yield Chart("load-cost", "What 1M tokens cost at that load", plan_charts.cost_chart, (view,))


def _ranking(view: views.PlanView, *, full: bool) -> Table:
    first = view.rows[0]
    several = full or len({row.engine for row in view.rows}) > 1
    same = [api for api in view.apis if api.same_model]
    apis = view.apis if full else same[:SHOWN_APIS] + [api for api in view.apis if not api.same_model]
    columns = (
        Column("offer"), Column("deployment"), Column("machines"), Column("load", "share"),
        *(Column(f"{name} {point}", "duration") for name in ("TTFT", "TPOT") for point in ("p50", "p95")),
        Column("USD/month", "money"), Column("USD/1M", "money"), Column("80 %", "money"), Column("P(+1)", "share"),
        Column("data"), *((Column("price from", wraps=True),) if full else ()),
    )  # fmt: skip

    def cells(row: views.DeploymentRow | views.PlanApi) -> tuple[Any, ...]:
        if isinstance(row, views.PlanApi):
            kind = Cell("same model" if row.same_model else "another model", "warn")
            name = api_cell(f"API {row.api}", row)
            price = (row.usd_month, row.usd_per_1m, None, None, "listed")
            return (name, kind, None, None, None, None, None, None, *price, *_source(row.source, row.date, full=full))
        interval = row.usd_per_1m_interval
        return (
            Cell(row.cost_name, "best" if row is first else "plain"),
            f"{row.weights} {split(row)}{' ' + row.engine if several else ''}",
            _machines(row),
            row.utilisation,
            *pair(row.ttft),
            *pair(row.tpot),
            row.usd_month,
            row.usd_per_1m,
            Between(*interval) if interval else None,
            _more(row.p_more_machines),
            _data(row),
            *_source(row.price_source, row.price_date, full=full),
        )

    ranked = _ranked(view.rows, apis)
    return Table(columns, tuple(map(cells, ranked)), best=ranked.index(first))


def _data(row: views.DeploymentRow) -> Cell:
    """What the prediction leans on, and how far predictions of that very card were off without its own rows."""
    word, errors = DISTANCES.get(row.distance, str(row.distance)), row.card_errors
    if errors is None:
        return Cell(word)
    off = percent(share_off(errors.median))
    return Cell(f"{word} {off}") if errors.covered >= COVERED_LEAST else Cell(f"weak {off}", "warn")


def _more(probability: float | None) -> Cell | None:
    """Below 1 % only that: no tail of a distribution of errors is known so far out."""
    return (
        None
        if probability is None
        else Cell(probability, shown=percent(probability) if probability >= 0.01 else "<1 %")
    )


def _ranked(
    rows: Sequence[views.DeploymentRow], apis: Sequence[views.PlanApi]
) -> list[views.DeploymentRow | views.PlanApi]:
    return sorted([*rows, *apis], key=lambda row: row.usd_month)


def _source(source: str, date: str, *, full: bool) -> tuple[str, ...]:
    return (f"{source}, {date}",) if full else ()


def _machines(row: views.DeploymentRow) -> str:
    spares = f"+{row.spares}" if row.spares else ""
    return f"{row.machines}{spares} x {row.accelerators} {row.accelerator}"


def _remarks(view: views.PlanView) -> Iterator[str]:
    best, mixed = view.rows[0], view.mixed
    if mixed:
        parts = " + ".join(f"{machine.machines} x {machine.name}" for machine in mixed.machines)
        yield (
            f"A mixed fleet is cheaper: {parts} at {usd(mixed.usd_month)} a month, {usd(mixed.usd_per_1m)} per "
            "1M tokens (the router gives each its share)."
        )
    crossings = [
        f"{name} from {count(even.tokens_per_month)} tokens a month ({percent(even.utilisation)} of what "
        f"{_machines_in_words(even, view.demand)})"
        if even.verdict == "at"
        else f"{name}: {even.verdict}"
        for name, even in list(best.break_even.items())[:4]
    ]
    if crossings:
        yield f"{best.cost_name} breaks even with {'; '.join(crossings)}."
    if best.p_more_machines is not None:
        yield (
            "P(+1): how probable it is that more machines are needed, by the errors of predicted throughput. Whole "
            "machines are counted, so that an 80 % interval may have no width."
        )
    known = {row.accelerator: row.card_errors for row in view.rows if row.card_errors is not None}
    if known:
        weak = [f"{name} {percent(one.covered)}" for name, one in known.items() if one.covered < COVERED_LEAST]
        said = f"; weak where 80 % intervals had far fewer than 80 % of them ({', '.join(weak)})" if weak else ""
        yield (
            "data: card where there are published rows of the very accelerator, with how far its figures were off in "
            f"the median when these rows were left out{said}."
        )
    if best.usd_per_1m_interval is None:
        yield "80 %: -, since no errors on machines never seen are on file for this class of figure."
    yield f"Price of {best.cost_name}: {best.price_source}, {best.price_date}."


def _machines_in_words(even: BreakEven, demand: views.DemandView) -> str:
    """How many machines serve the volume of a break-even, and with what peak."""
    number = even.machines
    words = "one machine serves" if number == 1 else f"{number} machines serve"
    if demand.peak_request_s > demand.request_s * 1.0001:
        words += f" with a peak of {demand.peak_request_s / demand.request_s:.3g} times the mean"
    return words


def _lost(view: views.PlanView, *, full: bool) -> Iterator[Note]:
    reasons: Counter[str] = Counter(view.reasons)
    words = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())
    month = f" A month has {view.demand.hours_per_month:g} hours." if full else ""
    yield Note(
        f"{view.candidates:,} candidates, {view.deployments} deployments, {view.simulations} simulations. "
        f"Not shown: {words or 'none'}.{month}"
    )
    for reason in ("does not fit", "misses the SLO"):
        details = Counter(rejection.detail for rejection in view.lost if rejection.reason == reason)
        for detail, number in details.most_common(2):
            yield Note(f"{reason} ({number}): {detail}", "soft")


def _explanation(steps: Sequence[Step]) -> Table:
    def written(value: float | None) -> str | None:
        return None if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

    rows = tuple((step.what, Cell(step.value, shown=written(step.value)), step.unit, step.how) for step in steps)
    return Table((Column("what"), Column("value", "number"), Column("unit"), Column("how", wraps=True)), rows)


def _records(view: views.PlanView) -> Table:
    """A row per deployment and API, for a spreadsheet."""
    plain = (
        "accelerator", "accelerators", "engine", "weights", "tensor_parallel", "pipeline_parallel", "machines",
        "spares", "replicas", "capacity_request_s", "utilisation", "attainment",
    )  # fmt: skip
    points = [(metric, point) for metric in ("ttft", "tpot", "e2e") for point in ("p50", "p95", "p99")]

    def cells(row: views.DeploymentRow | views.PlanApi) -> tuple[Any, ...]:
        if isinstance(row, views.PlanApi):
            kind = "api" if row.same_model else "api, another model"
            nothing = [None] * (len(plain) + len(points))
            return (api_cell(row.api, row), kind, *nothing, row.usd_month, row.usd_per_1m, None, None, None, row.source)
        times = [getattr(getattr(row, metric), point, None) for metric, point in points]
        interval = row.usd_per_1m_interval or (None, None)
        prices = (row.usd_month, row.usd_per_1m, *interval, row.p_more_machines, row.price_source)
        return (row.cost_name, "machines", *(getattr(row, name) for name in plain), *times, *prices)

    ranked = _ranked(view.rows, view.apis)
    times = [f"{metric}_{point}_s" for metric, point in points]
    names = (
        "offer", "kind", *plain, *times, "usd_month", "usd_per_1m", "usd_per_1m_low", "usd_per_1m_high",
        "p_more_machines", "source",
    )  # fmt: skip
    return Table(tuple(map(Column, names)), tuple(map(cells, ranked)))
