"""A price: a rate card per machine, what APIs charge for the same tokens, and the caveats."""

from __future__ import annotations

from collections.abc import Iterator

from rackrate.economics.hourly import HourlyCost, Rig
from rackrate.metrics.summary import CAVEATS
from rackrate.report import charts
from rackrate.report.document import Between, Block, Cell, Chart, Column, Document, Fact, Note, Section, Table, notes
from rackrate.report.format import RIG_UNITS, percent, rate, shown, usd
from rackrate.report.present.apis import api_cell, api_notes
from rackrate.schemas import costs as views

SHOWN_APIS = 8
"""Sellers of the same model that a screen shows."""
DEFINITIONS = (
    (
        "new input, output",
        "the bill goes to tokens by busy time: prefill's share of it to input tokens that were not cached, the rest to "
        "output tokens; idle hours in proportion",
    ),
    (
        "break-even",
        "the tokens a month from which whole machines cost less than the API does for the same tokens; never: the API "
        "is cheaper even at full load",
    ),
    ("x busy", "how many times dearer than at full load"),
)


def document(view: views.PricingView, *, full: bool = False, sources: bool = False, all_apis: bool = False) -> Document:
    """What a run, or a stated throughput, costs."""
    serving = view.serving
    return Document(
        subject="price",
        headline=f"{view.model}: {_throughput(serving)} per machine at full load",
        lead=(Note(serving.origin, "soft"),),
        facts=tuple(facts(view)) if full else (),
        sections=(
            *((Section(blocks=(cost_chart(view),)),) if full else ()),
            *machine_sections(view, full=full, sources=sources or full, all_apis=all_apis or full),
            Section(blocks=notes(view.notes)),
        ),
        definitions=DEFINITIONS if full else (),
        records=_records(view),
    )


def cost_chart(view: views.PricingView) -> Chart:
    """USD per 1M tokens by utilisation."""
    caption = "USD per 1M tokens against utilisation; dashed lines are APIs, dots are where they break even"
    return Chart("cost", caption, charts.cost_chart, (view,))


def _throughput(serving: views.ServingView) -> str:
    if serving.stated:
        return f"{rate(serving.tok_s)} tok/s"
    half = serving.relative_half_width
    sure = f" \u00b1{half * 100:.1f} % (95 %)" if half is not None else ""
    inputs = f" with {rate(serving.input_tok_s)} input tok/s" if serving.input_tok_s else ""
    return f"{rate(serving.output_tok_s)} output tok/s{sure}{inputs}"


def _usd_h(cost: HourlyCost) -> float:
    return cost.fixed_usd_h + cost.busy_usd_h


def facts(view: views.PricingView) -> Iterator[Fact]:
    """The headline figures of a page: what every machine costs, and what one serves."""
    for machine in view.machines:
        cost, full = machine.cost, machine.full_load
        said: list[Note] = []
        if cost.source.startswith("assumption"):
            said.append(Note("nobody has stated what this machine costs", "warn", "assumption"))
        if full.blended_interval_usd:
            low, high = full.blended_interval_usd
            said.append(Note(f"{usd(low)} to {usd(high)}: 80 % interval from the throughput alone", "soft"))
        if at := machine.at_load:
            machines = f"{at.machines} machine{'' if at.machines == 1 else 's'}"
            said.append(Note(f"{usd(at.blended_usd)} at {percent(at.utilisation)} as stated ({machines})"))
        said += [Note(CAVEATS[name], "warn", name) for name in machine.warnings]
        yield Fact(
            f"{cost.name}, {cost.kind}, {usd(_usd_h(cost))}/h at full load",
            usd(full.blended_usd),
            "per 1M tokens, input and output together, at full load",
            tuple(said),
        )
    serving = view.serving
    half = serving.relative_half_width
    said = []
    if serving.prefill_share is not None:
        said.append(Note(f"prefill takes {percent(serving.prefill_share)} of the busy time", "soft"))
    if serving.lower_bound:
        said.append(Note("not saturated at the highest load measured: a lower bound", "soft"))
    sure = f"\u00b1{half * 100:.1f} % (95 %), " if half is not None else ""
    yield Fact(
        "one machine at full load",
        f"{rate(serving.output_tok_s)} output tok/s",
        f"{sure}with {rate(serving.input_tok_s)} input tok/s",
        tuple(said),
    )


def machine_sections(view: views.PricingView, *, full: bool, sources: bool, all_apis: bool) -> Iterator[Section]:
    """Everything of each machine."""
    for machine in view.machines:
        cost = machine.cost
        listed = f"listed {cost.date}: {cost.source}" if cost.date else cost.source
        blocks: list[Block] = [
            Note(f"{usd(_usd_h(cost))}/h at full load, {cost.kind}", "strong"),
            *notes([listed]),
            *(Note(CAVEATS[name], "warn", name) for name in machine.warnings),
            _cards_table(machine),
        ]
        if machine.full_load.blended_interval_usd:
            blocks += notes(["80 % intervals are from the throughput alone: prices are taken as given."])
        if machine.apis:
            blocks += _apis(machine, all_apis=all_apis)
        if machine.rig:
            blocks += _rig(machine.rig, cost)
        blocks += notes(machine.notes)
        if sources:
            blocks.append(_sources(machine, view))
        yield Section(cost.name, tuple(blocks))


def _cards_table(machine: views.PricedMachine) -> Table:
    """What a million tokens costs at every utilisation; that which was stated first."""
    stated = [machine.at_load] if machine.at_load is not None else []
    sure = machine.full_load.blended_interval_usd is not None
    cards = [*stated, *machine.by_utilisation]
    columns = (
        Column("load"),
        Column("machines", "integer"),
        Column("USD per 1M tokens", "money"),
        *((Column("80 %", "money"),) if sure else ()),
        Column("new input", "money"),
        Column("output", "money"),
        Column("USD/month", "money"),
        Column("tokens/month", "count"),
        Column("x busy", "number", digits=2),
    )
    rows = tuple(
        (
            f"{percent(card.utilisation)} {'as stated' if position < len(stated) else 'of full load'}",
            card.machines,
            Cell(card.blended_usd, "best" if card.utilisation == 1 or position < len(stated) else "plain"),
            *((_between(card),) if sure else ()),
            card.input_usd,
            card.output_usd,
            card.usd_month,
            card.tokens_month,
            card.utilisation_tax,
        )
        for position, card in enumerate(cards)
    )
    return Table(columns, rows, best=0 if stated else None)


def _between(card: views.Card) -> Between | None:
    return None if card.blended_interval_usd is None else Between(*card.blended_interval_usd)


def _apis(machine: views.PricedMachine, *, all_apis: bool) -> Iterator[Block]:
    apis, full = machine.apis, machine.full_load
    same = [api for api in apis if api.same_model]
    listed = apis if all_apis else same[:SHOWN_APIS] + [api for api in apis if not api.same_model]
    columns = (
        Column("API, same tokens"), Column("model"), Column("USD per 1M", "money"), Column("in", "money"),
        Column("out", "money"), Column("vs full load", "number"), Column("break-even tokens/month", "count"),
        Column("utilisation", "share"),
    )  # fmt: skip
    rows = tuple(
        (
            api_cell(api.api, api),
            model_cell(same=api.same_model),
            api.blended_usd_per_1m,
            api.input_usd_per_1m,
            api.output_usd_per_1m,
            _times(api.blended_usd_per_1m, full.blended_usd),
            even.tokens_per_month if even.verdict == "at" else even.verdict,
            even.utilisation if even.verdict == "at" else None,
        )
        for api in listed
        for even in (api.break_even,)
    )
    yield Table(columns, rows)
    yield from api_notes(listed)
    if len(listed) < len(apis):
        yield Note(f"and {len(apis) - len(listed)} more, which are not listed here", "soft")
    elif all_apis:
        yield Note(
            f"listed: {apis[0].source}, released {apis[0].date}; prices in USD per 1M tokens; another model is "
            "not a like for like",
            "soft",
        )


def model_cell(*, same: bool) -> Cell:
    """Whether an API sells the model that is served, or another."""
    return Cell("the same", "good") if same else Cell("another", "warn")


def _times(value: float, over: float | None) -> Cell | None:
    return Cell(value / over, shown=f"{value / over:.3g}x") if over else None


def _rig(rig: Rig, cost: HourlyCost) -> Iterator[Block]:
    yield Table(
        (Column("owned machine"), Column("value", "number")),
        tuple(
            (key, Cell(getattr(rig, key), shown=f"{getattr(rig, key):g} {unit}".rstrip()))
            for key, unit in RIG_UNITS.items()
        ),
    )
    yield Table((Column("per hour at full load"), Column("USD/h", "money")), tuple(cost.parts.items()))
    yield from notes([rig.notes])


def _sources(machine: views.PricedMachine, view: views.PricingView) -> Table:
    cost, serving = machine.cost, view.serving
    prefill = "measured: prefill alone, same concurrency" if serving.prefill_share else "not measured"
    value = Column("value", wraps=True)
    rows: list[tuple[str, Cell | str, str]] = [
        ("output token/s", rate(serving.output_tok_s), serving.origin),
        ("input token/s", rate(serving.input_tok_s), serving.origin),
        ("prefill share", shown(serving.prefill_share, Column("", "share")), prefill),
        ("machine-hour", usd(_usd_h(cost)), f"{cost.source} {cost.date}".strip()),
    ]
    rows += [
        (
            api.api,
            f"{usd(api.input_usd_per_1m)} in, {usd(api.output_usd_per_1m)} out",
            f"listed: {api.source}, {api.date}",
        )
        for api in machine.apis
    ]
    columns = (Column("figure"), value, Column("origin", wraps=True))
    return Table(columns, tuple(rows), title="Where the figures come from")


def _records(view: views.PricingView) -> Table:
    """A row per machine and utilisation, for a spreadsheet."""
    names = (
        "utilisation", "machines", "usd_h", "usd_month", "tokens_month", "blended_usd", "input_usd", "output_usd",
        "marginal_usd", "utilisation_tax",
    )  # fmt: skip
    rows = tuple(
        (view.model, machine.cost.name, *(getattr(card, name) for name in names))
        for machine in view.machines
        for card in (*([machine.at_load] if machine.at_load else []), *machine.by_utilisation)
    )
    return Table((Column("model"), Column("machine"), *map(Column, names)), rows)
