"""A fleet for traffic over time: its shapes, the best one's machines and rate card, and the caveats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rackrate.economics.currency import Currency
from rackrate.economics.replica import Replica
from rackrate.metrics.summary import CAVEATS
from rackrate.report import fleet_charts
from rackrate.report.document import Between, Block, Cell, Chart, Column, Document, Fact, Note, Section, Table
from rackrate.report.format import count, money, percent, rate, span
from rackrate.report.present.apis import api_cell, api_notes
from rackrate.report.present.price import model_cell
from rackrate.report.present.traffic import bars
from rackrate.schemas import costs as views

DAY_BARS = 48
"""Steps of a day that a line of bars has."""


class _Money:
    """Amounts in the currency that is shown."""

    def __init__(self, currency: Currency) -> None:
        self.per_unit = currency.usd_per_unit
        self.code = "" if currency.code == "USD" and self.per_unit == 1 else currency.code

    def column(self, name: str) -> Column:
        return Column(name, "money", self.code)

    def of(self, usd: float | str | None) -> float | None:
        return None if usd is None else float(usd) / self.per_unit

    def text(self, usd: float | str | None) -> str:
        return money(self.of(usd), self.code)


def document(view: views.FleetView, *, full: bool = False, sources: bool = False) -> Document:
    """All shapes, best first, and everything of the best."""
    amounts, best = _Money(view.currency), view.shapes[0]
    several = len(view.models) > 1
    blocks: list[Block] = [_uses(best, amounts, full=full), _card(best, view, amounts)]
    if several:
        blocks.append(_models(best, view, amounts))
    if view.apis:
        blocks += [_apis(view, amounts, full=full), *api_notes(view.apis)]
    if not full and len(view.mean_day) > 1:
        every = max(1, len(view.mean_day) // DAY_BARS)
        for name, key in (("load, mean day ", "load"), ("replicas held  ", "held")):
            blocks.append(Note(bars([getattr(point, key) for point in view.mean_day][::every]), head=name))
    said = [*_policy(view, full=full), *(note if note.endswith(".") else f"{note}." for note in view.notes)]
    sections = [
        *([Section(blocks=tuple(_charts(view)))] if full else []),
        Section("Every shape" if full else "", (_shapes(view, amounts, full=full),)),
        Section("The best shape" if full else "", tuple(blocks)),
        Section(blocks=tuple(Note(text, "soft") for text in said)),
    ]
    if sources and not full:
        sections.append(Section(blocks=(_sources(view),)))
    return Document(
        subject="fleet",
        headline="What serving this traffic costs" if full else _load(view),
        lead=tuple(_lead(view, full=full)),
        facts=tuple(_facts(view, amounts)) if full else (),
        sections=tuple(sections),
    )


def _load(view: views.FleetView) -> str:
    traffic = view.traffic
    what = "slots" if len(view.models) > 1 else "replicas"
    asked = f"{rate(traffic.mean_request_s)} requests/s" if traffic.mean_request_s is not None else "tokens"
    return (
        f"{view.mean_load_replicas:.2f} {what} busy on average, {view.peak_load_replicas:.2f} at the peak: "
        f"{asked} on average over {span(traffic.duration_s)}"
    )


def _lead(view: views.FleetView, *, full: bool) -> Iterator[Note]:
    traffic, several = view.traffic, len(view.models) > 1
    steps = f"; {span(traffic.duration_s)} in steps of {span(traffic.step_s)}" if full else ""
    if full:
        yield Note(_load(view))
        if traffic.peak_request_s is not None:
            steps += f", {rate(traffic.peak_request_s)}/s in the busiest step"
    yield Note(f"traffic: {traffic.origin}{steps}", "soft")
    for model in view.models:
        replica = model.replica
        whose = f" of {model.name}, {model.slots} slot{'s' if model.slots > 1 else ''}" if several else ""
        yield Note(f"one replica{whose}: {_capacity(replica)} ({replica.origin})", "soft")
        yield from (Note(CAVEATS[name], "warn", name) for name in replica.caveats)


def _capacity(replica: Replica) -> str:
    words: list[str] = []
    if replica.request_s is not None:
        words.append(f"{rate(replica.request_s)} requests/s")
    if replica.input_tok_s is not None and replica.output_tok_s is not None:
        words.append(f"{rate(replica.input_tok_s)} new input tok/s or {rate(replica.output_tok_s)} output tok/s")
    if replica.relative_half_width is not None:
        words.append(f"\u00b1{replica.relative_half_width * 100:.1f} % (95 %)")
    return ", ".join(words)


def _months(view: views.FleetView) -> float:
    return view.traffic.duration_s / 3600 / view.plan.hours_per_month


def _facts(view: views.FleetView, amounts: _Money) -> Iterator[Fact]:
    best, wait = view.shapes[0], span(view.policy.max_wait_s)
    card, interval = best.card, best.usd_month_interval
    sure = ""
    if interval:
        sure = f", {amounts.text(interval[0])} to {amounts.text(interval[1])} (80 %, from the throughput alone)"
    yield Fact(best.name, amounts.text(best.usd_month), f"a month{sure}")
    if card.blended_usd_per_1m is not None:
        while_busy = f"per 1M tokens; {amounts.text(card.marginal_usd_per_1m)} while busy"
        yield Fact("input and output together", amounts.text(card.blended_usd_per_1m), while_busy)
    yield Fact(
        "the utilisation tax",
        amounts.text(float(card.idle_usd) / _months(view)),
        f"a month for replicas that were paid and idle; {percent(best.utilisation)} were busy",
    )
    late = f"{count(best.late_requests)} requests of {count(view.traffic.requests)}; "
    longest = span(best.longest_wait_s) if best.longest_wait_s is not None else "without end"
    yield Fact(
        f"late: more than {wait} for a replica",
        percent(best.late_share),
        f"{late if best.late_requests is not None else ''}longest wait {longest}",
    )


def _charts(view: views.FleetView) -> Iterator[Chart]:
    uses, step_s = view.shapes[0].uses, view.traffic.step_s
    caption = "Replicas and load, mean day: areas are paid for, the line is the load, dashes are serving"
    yield Chart("mean-day", caption, fleet_charts.day_chart, (view.mean_day, uses, step_s))
    if view.busiest_day and view.traffic.duration_s > 86_400:
        yield Chart("busiest-day", "The busiest day", fleet_charts.day_chart, (view.busiest_day, uses, step_s))
    if len(view.shapes[0].by_month_usd) > 2:
        yield Chart("months", "Month by month", fleet_charts.month_chart, (view,))


def _shapes(view: views.FleetView, amounts: _Money, *, full: bool) -> Table:
    sure = any(shape.usd_month_interval for shape in view.shapes)
    tokens = view.shapes[0].card.blended_usd_per_1m is not None
    columns = (
        Column("shape", wraps=full), amounts.column("a month"), *((amounts.column("80 %"),) if sure else ()),
        amounts.column("per 1M tokens" if tokens else "per 1k requests"),
        *((amounts.column("busy only"), Column("replicas mean", "number", digits=2), Column("replicas peak", "integer"))
          if full else ()),
        Column("busy", "share"), Column("machines mean", "number", digits=2), Column("peak", "integer"),
        Column("headroom", "number"), Column("late", "share"), Column("longest wait", "span"), Column(""),
    )  # fmt: skip

    def cells(shape: views.ShapeView, best: bool) -> Iterator[Any]:
        card, interval = shape.card, shape.usd_month_interval
        whole = shape.kind == "mix" and len(shape.uses) > 1 and not full
        yield Cell("mix of all" if whole else shape.name, "strong" if best else "plain")
        yield Cell(amounts.of(shape.usd_month), "best" if best else "plain")
        if sure:
            yield Between(*(amounts.of(end) for end in interval)) if interval else None
        yield amounts.of(card.blended_usd_per_1m if tokens else card.usd_per_1k_requests)
        if full:
            yield from (amounts.of(card.marginal_usd_per_1m), shape.mean_replicas, shape.peak_replicas)
        yield shape.utilisation
        yield sum(use.mean_machines for use in shape.uses)
        yield from (shape.peak_machines, shape.headroom, shape.late_share)
        yield shape.longest_wait_s if shape.longest_wait_s is not None else "never served"
        yield _mark(shape, best)

    shapes = enumerate(view.shapes)
    return Table(columns, tuple(tuple(cells(shape, number == 0)) for number, shape in shapes), best=0)


def _mark(shape: views.ShapeView, best: bool) -> Cell:
    if not shape.within_limit:
        return Cell("too many late", "warn")
    return Cell("<- cheapest in time" if best else "", "good")


def _uses(shape: views.ShapeView, amounts: _Money, *, full: bool) -> Table:
    columns = (
        Column("machines of the best shape"), Column(""), amounts.column("per hour"),
        Column("mean", "number", digits=2),
        Column("peak", "integer"), Column("machine-hours", "integer"), Column("busy", "share"),
        amounts.column("over all"), *((Column("price from", wraps=True),) if full else ()),
    )  # fmt: skip
    rows = tuple(
        (
            use.name,
            "always there" if use.committed or shape.kind == "fixed" else "as needed",
            amounts.of(use.fixed_usd_h + use.busy_usd_h),
            use.mean_machines,
            use.peak_machines,
            use.machine_hours,
            use.busy_machine_hours / use.machine_hours if use.machine_hours else None,
            amounts.of(use.usd),
            *((", ".join(part for part in (use.source, use.date) if part),) if full else ()),
        )
        for use in shape.uses
    )
    return Table(columns, rows)


def _card(shape: views.ShapeView, view: views.FleetView, amounts: _Money) -> Table:
    card, tokens, months = shape.card, shape.card.tokens, _months(view)
    rows: list[tuple[Any, ...]] = [
        (
            Cell("blended", "strong"),
            Cell(amounts.of(card.blended_usd_per_1m), "best"),
            amounts.of(card.marginal_usd_per_1m),
            tokens.all,
            amounts.of(shape.usd_month),
        )
    ]
    for name, key, number in (
        ("new input", "input", tokens.new_input),
        ("cached input", "cached", tokens.cached),
        ("output", "output", tokens.output),
    ):
        if (part := getattr(card, key)) is not None:
            prices = (amounts.of(part.usd_per_1m), amounts.of(part.marginal_usd_per_1m))
            rows.append((name, *prices, number, amounts.of(float(part.usd) / months)))
    for name, key in (("of it busy", "busy_usd"), ("idle: the utilisation tax", "idle_usd"), ("labour", "labour_usd")):
        if float(getattr(card, key)) or key != "labour_usd":
            rows.append((Cell(name, "soft"), "", "", "", amounts.of(float(getattr(card, key)) / months)))
    columns = (
        Column("rate card"), amounts.column("per 1M tokens"), amounts.column("busy only"), Column("tokens", "count"),
        amounts.column("a month"),
    )  # fmt: skip
    return Table(columns, tuple(rows), best=0)


def _apis(view: views.FleetView, amounts: _Money, *, full: bool) -> Table:
    columns = (
        Column("API, same tokens"), Column("model"), amounts.column("a month"), amounts.column("per 1M tokens"),
        Column("x the best shape", "number"), *((Column("price from", wraps=True),) if full else ()),
    )  # fmt: skip
    rows = tuple(
        (
            api_cell(api.api, api),
            model_cell(same=api.same_model),
            amounts.of(api.usd_month),
            amounts.of(api.usd_per_1m),
            api.over_best,
            *((f"{api.source}, {api.date}",) if full else ()),
        )
        for api in view.apis
    )
    return Table(columns, rows)


def _models(shape: views.ShapeView, view: views.FleetView, amounts: _Money) -> Table:
    columns = (
        Column("model"), Column("slots", "integer"), Column("replicas mean", "number", digits=2),
        Column("peak", "integer"), amounts.column("a month"), amounts.column("per 1M tokens"),
        amounts.column("per 1k requests"), Column("late", "share"),
    )  # fmt: skip
    rows = tuple(
        (
            model.name,
            model.slots,
            model.mean_replicas,
            model.peak_replicas,
            amounts.of(float(model.usd) / _months(view)),
            amounts.of(model.usd_per_1m),
            amounts.of(model.usd_per_1k_requests),
            model.late_share,
        )
        for model in shape.models
    )
    return Table(columns, rows)


def _policy(view: views.FleetView, *, full: bool) -> Iterator[str]:
    policy, shape, plan = view.policy, view.shapes[0], view.plan
    fixed = _headroom(view, [one for one in view.shapes if one.kind == "fixed"])
    following = _headroom(view, [one for one in view.shapes if one.kind != "fixed"])
    yield (
        f"{f'Fixed: sized for the peak x {fixed}. ' if fixed else ''}Following the load: a replica serves "
        f"{span(policy.cold_start_s)} after it is asked for, goes {span(policy.scale_down_s)} after it was last "
        f"wanted; at least {policy.floor}, {policy.spares} spare machine{'' if policy.spares == 1 else 's'}"
        f"{f'; headroom {following}' if following else ''}."
    )
    yield (
        f"Late: waited more than {span(policy.max_wait_s)} for a replica to be free; a shape may have "
        f"{percent(plan.late_limit)} of them. Waiting within a replica is in its capacity."
    )
    if view.currency.code != "USD":
        yield f"Shown in {view.currency.code} at the stated {view.currency.usd_per_unit:g} USD."
    if not shape.within_limit:
        yield "No shape serves in time" + (
            ", with whatever headroom up to 4: allow a longer wait, or more late requests."
            if plan.raise_headroom
            else ": raise the headroom (or let it be chosen: auto), or allow a longer wait, or more late requests."
        )
    if shape.unserved_share > 0:
        yield f"{percent(shape.unserved_share)} of the work was still waiting at the end."
    if full:
        yield (
            "The bill goes to tokens by the busy time that each kind takes; idle time and labour follow in proportion, "
            f"so that the parts are the bill. A month has {plan.hours_per_month:g} hours."
        )


def _headroom(view: views.FleetView, shapes: Sequence[views.ShapeView]) -> str:
    """What shapes of a kind take, and whether that is more than was asked for; empty where there are none."""
    taken = sorted({float(f"{shape.headroom:.3g}") for shape in shapes})
    said = " or ".join(f"{headroom:g}" for headroom in taken)
    asked = f"{view.policy.headroom:g}"
    return f"{said} (raised from {asked} to be in time)" if taken and taken[-1] > float(asked) * 1.001 else said


def _sources(view: views.FleetView) -> Table:
    uses: dict[str, views.OfferUseView] = {}
    for use in (use for shape in view.shapes for use in shape.uses):
        uses.setdefault(use.name, use)
    rows = tuple(
        (name, use.fixed_usd_h + use.busy_usd_h, f"{use.source} {use.date}".strip()) for name, use in uses.items()
    )
    columns = (Column("offer"), Column("USD/h", "money"), Column("origin", wraps=True))
    return Table(columns, rows, title="Where the prices come from")
