"""A question of a study, or a comparison: machines and APIs ranked for the same requests, and when that turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rackrate.economics.uncertainty import Estimate
from rackrate.report.document import Between, Block, Cell, Chart, Column, Note, Section, Table, Tone
from rackrate.report.format import between, count, figure, percent, usd
from rackrate.report.present.apis import api_cell
from rackrate.schemas import predictions as views
from rackrate.studies.results import Crossing, HorizonResult

TONES: dict[str, Tone] = {
    "reproduced": "good",
    "does not follow": "bad",
    "cannot be checked": "warn",
    "self-hosting": "best",
    "api": "strong",
    "too close to call": "warn",
    "not compared": "soft",
}
"""How verdicts are said."""
BARS_SHOWN = 8
"""Figures that a question hangs on, on a screen."""
BAR_CELLS = 20


def question_section(question: views.QuestionView, *, full: bool, number: int = 0, title: str = "") -> Section:
    """The ranking, the verdict, and what it hangs on."""
    blocks: list[Block] = [Note(f"{_volume(question)}; list prices of {question.prices_as_of}", "soft")]
    verdict = _verdict(question)
    if full:
        from rackrate.report.study_charts import ranking_chart

        blocks += verdict
        caption = "USD per 1M tokens for the same requests" + (", in the first month" if question.horizon else "")
        blocks.append(Chart(f"ranking-{number}", caption, ranking_chart, (question,)))
    blocks.append(_ranking(question))
    if not full:
        blocks += verdict
    rows = question.rows
    blocks += [Note(sentence) for row in rows if (sentence := crossing_sentence(row, question))]
    blocks += [Note(sentence, "soft") for row in rows if (sentence := against_each(row))]
    blocks += [
        Note(f"{row.name}: {note}", "warn" if note.startswith("over") else "soft") for row in rows for note in row.notes
    ]
    blocks += [Note(note, "soft") for note in question.notes]
    if question.tornado:
        blocks += _tornado(question, question.tornado.bars, full=full, number=number)
    if full:
        sources = tuple(
            (row.name, ", ".join(part for part in (row.source or "stated in the study", row.date) if part))
            for row in rows
        )
        blocks.append(
            Table((Column("alternative"), Column("where price and throughput come from", wraps=True)), sources)
        )
    return Section(title, tuple(blocks))


def _volume(question: views.QuestionView) -> str:
    tokens = question.tokens_month
    volume = f"{count(tokens.value)} tokens a month"
    if between(tokens, None):
        volume += f" ({count(tokens.low)} to {count(tokens.high)})"
    volume += f", {percent(question.input_share)} of them input"
    if question.cached_share:
        volume += f" ({percent(question.cached_share)} of that cached)"
    if question.peak_to_mean > 1:
        volume += f", peak {question.peak_to_mean:.3g} x mean"
    return volume


def _verdict(question: views.QuestionView) -> list[Block]:
    if question.p_self_cheaper is None:
        return []
    own, api = question.compared or ("", "")
    cheapest = "" if question.against else ", the cheapest API here,"
    text = f"{own} costs less than {api}{cheapest} in {percent(question.p_self_cheaper)} of the draws"
    horizon = question.horizon
    if horizon is None:
        return [Note(f"verdict: {question.verdict} ({text})", TONES[question.verdict])]
    text += f" over {_long(horizon)}; in the first month alone in {percent(horizon.p_self_cheaper_first_month)}"
    return [Note(f"verdict: {question.verdict} ({text})", TONES[question.verdict]), Note(_means(horizon), "soft")]


def _long(horizon: HorizonResult) -> str:
    """How long the horizon is, and why."""
    return f"{horizon.months:.3g} months" + (f", the life of {horizon.life_of}" if horizon.life_of else "")


def _means(horizon: HorizonResult) -> str:
    """What present value means here, in words."""
    rate, fall = horizon.discount_rate.value, horizon.api_price_decline.value or 0.0
    ends = interval(horizon.api_price_decline, None)
    spread = f" (80 %: {percent(ends.low)} to {percent(ends.high)})" if ends is not None and fall > 0 else ""
    falls = f"falling by {percent(fall)} a year{spread}" if fall > 0 else f"rising by {percent(-fall)} a year"
    return (
        f"Over {horizon.months:.3g} months is by present value: discounted at {percent(rate)} a year, API prices "
        f"{falls if fall else 'as they are today'}, resale counted; as the equal sum a month that is worth as much. "
        "USD/month and USD per 1M are of the first month. Break-evens, splits and what it hangs on go by the equal sum."
    )


def interval(estimate: Estimate | None, unit: str | None) -> Between | None:
    """The ends of an estimate; None where both are its value."""
    return Between(estimate.low, estimate.high) if estimate is not None and between(estimate, unit) else None


def _ranking(question: views.QuestionView) -> Table:
    rows = question.rows
    horizon = question.horizon
    money = ("usd_month", *(("levelised_usd_month",) if horizon else ()), "usd_per_1m")
    sure = any(interval(getattr(row, key), "USD") for row in rows for key in money)
    spread = (Column("80 %", "figure", "USD"),) if sure else ()
    level = (Column(f"over {horizon.months:.3g} months", "money"), *spread) if horizon else ()
    columns = (
        Column("alternative", wraps=True), Column("kind"), Column("USD/month", "money"), *spread, *level,
        Column("USD per 1M", "money"), *spread, Column("machines", "integer"), Column("busy", "share"),
        Column("cheapest in", "share"), Column("price", wraps=True),
    )  # fmt: skip

    def cells(row: views.RankedRow) -> Iterator[Any]:
        other = row.is_api and row.same_model is False
        yield api_cell(row.name, row, "soft" if other else "plain" if row.is_api else "strong")
        yield "another model" if other else row.kind
        for key in money:
            yield getattr(row, key).value
            if sure:
                yield interval(getattr(row, key), "USD") or ""
        yield row.machines.value if row.machines else None
        yield row.utilisation.value if row.utilisation else None
        yield row.p_cheapest
        yield row.price

    return Table(columns, tuple(tuple(cells(row)) for row in rows))


def crossing_sentence(row: views.RankedRow, question: views.QuestionView) -> str:
    """When a machine costs what the API does, in words."""
    crossing = row.crossing
    if crossing is None:
        return ""
    against = crossing.against
    if crossing.verdict == "never":
        share = crossing.tokens_per_month.finite_share
        text = f"{row.name}: never breaks even with {against}, however full it is"
        text += f" (it does in {percent(share)} of draws)" if share >= 0.001 else ""
    elif crossing.verdict == "limited":
        text = f"{row.name}: {_limited(crossing, question)}"
    elif crossing.verdict == "always":
        text = f"{row.name}: always cheaper than {against}"
    else:
        at = crossing.tokens_per_month
        high = "never" if at.high is None else count(at.high)
        spread = f" (80 %: {count(at.low)} to {high})" if interval(at, None) else ""
        text = (
            f"{row.name}: costs what {against} does at {count(at.value)} tokens a month{spread}, "
            f"{percent(crossing.utilisation.value)} busy"
        )
        last = crossing.last_tokens_per_month
        if last and at.value and last > at.value * 1.001:
            text += f", for good from {count(last)}"
    return text + _payback(crossing, question.horizon) + _split(crossing) + "."


def _limited(crossing: Crossing, question: views.QuestionView) -> str:
    """Which limit forbids a machine to be as busy as would pay, in words."""
    peak, most = question.peak_to_mean, crossing.most_utilisation
    load = f"max_load ({percent(most * peak)} of full load)" if most * peak < 1 - 1e-9 else ""
    limits = " and ".join(word for word in (f"the peak ({peak:.3g} x mean)" if peak > 1 else "", load) if word)
    allow = "allow" if " and " in limits else "allows"
    share = crossing.tokens_per_month.finite_share
    return (
        f"would cost what {crossing.against} does if each machine were {percent(crossing.unlimited_utilisation)} "
        f"busy all month ({count(crossing.unlimited_tokens_per_month)} tokens a month), but {limits} {allow} "
        f"{percent(most)}: no break-even with this traffic"
        + (f" (there is one in {percent(share)} of draws)" if share >= 0.001 else "")
    )


def _payback(crossing: Crossing, horizon: HorizonResult | None) -> str:
    if crossing.payback_months is None:
        return ""
    months, life = crossing.payback_months, crossing.life_months
    late = life and months.value and months.value > life
    text = f"; payback at today's prices {_months(months)}" + (
        f" (after its life of {life:.0f} months)" if late else ""
    )
    kept = crossing.payback_discounted_months
    if kept is None or horizon is None:
        return text
    within = f"within {horizon.months:.3g} months"
    when = f"{_months(kept)}, {within}" if kept.value is not None else f"not {within}{_months(kept)[len('never') :]}"
    often = f", in {percent(kept.finite_share)} of the draws" if 0.001 <= kept.finite_share <= 0.999 else ""
    return f"{text}, by present value {when}{often}"


def _split(crossing: Crossing) -> str:
    """How much of the volume is best served by oneself, where an API takes the rest."""
    hybrid = crossing.hybrid
    if not hybrid:
        return ""
    if hybrid.verdict == "self-hosted":
        return "; best split: nothing at the API"
    if hybrid.verdict == "api":
        return "; best split at this volume: all at the API" if crossing.verdict == "at" else ""
    if hybrid.verdict != "hybrid":
        return ""
    text = (
        f"; best split: {hybrid.machines} machine{'s' if hybrid.machines > 1 else ''} for "
        f"{percent(hybrid.self_hosted_share)} of the tokens, the API above: {usd(hybrid.usd)} a month"
    )
    spread = between(crossing.hybrid_usd_month, "USD")
    return f"{text} (80 %: {spread})" if spread else text


def against_each(row: views.RankedRow) -> str:
    """A machine's break-even with every other API, in words."""
    others = [item for item in row.against if row.crossing is None or item.api != row.crossing.against]
    said = [
        f"{other.api} {_from(other.tokens_per_month)} ({percent(other.p_cheaper)})"
        for other in others
        if other.tokens_per_month is not None or other.p_cheaper >= 0.001
    ]
    if not said:
        return ""
    return (
        f"{row.name} costs less than {', '.join(said)}: from how many tokens a month one machine does, with all "
        "figures at their medians (in how many draws it does at this volume)."
    )


def _from(tokens: float | None) -> str:
    return "at no volume" if tokens is None else f"from {count(tokens)}"


def _months(estimate: Estimate) -> str:
    if estimate.value is None:
        return "never" + (f" (80 %: {estimate.low:.0f} months to never)" if estimate.low is not None else "")
    if between(estimate, None):
        high = "never" if estimate.high is None else f"{estimate.high:.1f}"
        return f"in {estimate.value:.1f} months (80 %: {estimate.low:.1f} to {high})"
    return f"in {estimate.value:.1f} months"


def _tornado(
    question: views.QuestionView, bars: Sequence[views.BarView], *, full: bool, number: int
) -> Iterator[Block]:
    own, api = question.compared or ("", "")
    yield Note(f"{own} less {api}: {_difference(question.difference_usd_month)}")
    if full and bars:
        from rackrate.report.study_charts import tornado_chart

        caption = f"What it hangs on: {own} less {api}, each figure moved alone"
        yield Chart(f"tornado-{number}", caption, tornado_chart, (question.tornado,))
    widest = max((bar.swing for bar in bars), default=0.0)

    def cells(bar: views.BarView) -> Iterator[Any]:
        yield bar.name + ("" if bar.basis.startswith("80") else " (\u00b120 %)")
        yield from (
            Cell(getattr(bar, key), shown=_input(getattr(bar, key), bar.unit)) for key in ("low_input", "high_input")
        )
        yield f"{_signed(bar.at_low)} .. {_signed(bar.at_high)}"
        if not full:
            yield Cell("\u2588" * (max(1, round(BAR_CELLS * bar.swing / widest)) if widest else 0), "strong")

    columns = (
        Column("what it hangs on"), Column("from", "figure"), Column("to", "figure"),
        Column("USD/month at each end", "figure"), *(() if full else (Column(""),)),
    )  # fmt: skip
    yield Table(columns, tuple(tuple(cells(bar)) for bar in (bars if full else bars[:BARS_SHOWN])))


def _difference(apart: Estimate | None) -> str:
    """What the two that are compared are apart."""
    if apart is None or apart.value is None or apart.low is None or apart.high is None:
        return "not known"
    low, high, value = apart.low, apart.high, apart.value
    text = f"{_signed(value)} a month with all figures at their medians"
    if abs(high - low) > 1e-9 * max(abs(value), 1e-300):
        text += f" (80 %: {_signed(low)} to {_signed(high)})"
    return text


def _input(value: float, unit: str | None) -> str:
    """A figure, large ones short: 260 M token/month."""
    return f"{count(value)} {unit or ''}".rstrip() if abs(value) >= 1e7 else figure(value, unit)


def _signed(value: float) -> str:
    return ("-" if value < 0 else "+") + usd(abs(value))


def records(questions: Sequence[views.QuestionView]) -> Table:
    """A row per question and alternative, for a spreadsheet."""
    estimates = ("usd_month", "levelised_usd_month", "usd_per_1m", "machines", "utilisation")
    rows = tuple(
        (
            question.asks, row.name, row.kind, row.same_model,
            *(getattr(getattr(row, key), end, None) for key in estimates for end in ("value", "low", "high")),
            row.p_cheapest, row.price, row.source,
        )
        for question in questions
        for row in question.rows
    )  # fmt: skip
    names = [f"{key}{end}" for key in estimates for end in ("", "_low", "_high")]
    columns = ("question", "alternative", "kind", "same_model", *names, "p_cheapest", "price", "source")
    return Table(tuple(map(Column, columns)), rows)
