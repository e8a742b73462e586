"""The charts of studies and comparisons, as Vega-Lite specifications. Data in, specification out."""

from __future__ import annotations

from typing import Any

from rackrate.report.charts import API, INK, MACHINES, finish
from rackrate.schemas import predictions as views

Json = dict[str, Any]

OTHER = "#9aa5b1"
_KINDS = {"machines": MACHINES[0], "API, same model": API, "API, another model": OTHER, "API": API}


def ranking_chart(question: views.QuestionView) -> Json:
    """USD per 1M tokens of every row with its 80 % interval, the cheapest first."""

    import altair as alt

    rows = [
        {
            "name": row.name,
            "usd": row.usd_per_1m.value,
            "low": row.usd_per_1m.low,
            "high": row.usd_per_1m.high,
            "usd a month": row.usd_month.value,
            "kind": _kind(row),
            "price": row.price,
        }
        for row in question.rows
        if row.usd_per_1m.value
    ]
    kinds = [kind for kind in _KINDS if any(row["kind"] == kind for row in rows)]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("name:N", title=None, sort=[str(row["name"]) for row in rows], axis=alt.Axis(labelLimit=260)),
        color=alt.Color("kind:N", title=None, scale=alt.Scale(domain=kinds, range=[_KINDS[kind] for kind in kinds])),
    )
    axis = alt.X(
        "usd:Q",
        title="USD per 1M tokens (log scale), with 80 % interval",
        scale=alt.Scale(type="log", nice=False, padding=24),
        axis=alt.Axis(format="$,.3~r", tickCount=6, labelOverlap="greedy", labelSeparation=6),
    )
    money = [
        alt.Tooltip("usd:Q", title="USD per 1M", format="$,.4~r"),
        alt.Tooltip("low:Q", title="80 % from", format="$,.4~r"),
        alt.Tooltip("high:Q", title="to", format="$,.4~r"),
        alt.Tooltip("usd a month:Q", format="$,.2f"),
    ]
    span = base.mark_rule(strokeWidth=3, opacity=0.45).encode(x=alt.X("low:Q", title=None), x2="high:Q")
    dot = base.mark_point(size=110, filled=True, opacity=1).encode(
        x=axis, tooltip=["name:N", "kind:N", *money, "price:N"]
    )
    return finish(span + dot, height=max(90, 34 * len(rows)))


def _kind(row: views.RankedRow) -> str:
    if not row.is_api:
        return "machines"
    return {True: "API, same model", False: "API, another model", None: "API"}[row.same_model]


def tornado_chart(chart: views.TornadoView, most: int = 12) -> Json:
    """What moves the difference between the cheapest machines and the cheapest API, in USD a month."""

    import altair as alt

    bars = [
        {
            "name": bar.name,
            "at low": bar.at_low,
            "at high": bar.at_high,
            "low": bar.low_input,
            "high": bar.high_input,
            "unit": bar.unit or "",
            "basis": bar.basis,
        }
        for bar in chart.bars[:most]
    ]
    y = alt.Y("name:N", title=None, sort=[str(bar["name"]) for bar in bars], axis=alt.Axis(labelLimit=300))
    x = alt.X(
        "at low:Q",
        title="machines less API, USD a month (below 0: machines are cheaper)",
        axis=alt.Axis(format="$,.3~s", labelOverlap="greedy", labelSeparation=6),
    )
    drawn = (
        alt.Chart(alt.Data(values=bars))
        .mark_bar(height=14, cornerRadius=2)
        .encode(
            y=y,
            x=x,
            x2="at high:Q",
            color=alt.Color(
                "basis:N",
                title=None,
                scale=alt.Scale(domain=["80 % interval", "+-20 %"], range=[MACHINES[2], OTHER]),
            ),
            tooltip=[
                "name:N", "basis:N", alt.Tooltip("low:Q", format=",.4~g"), alt.Tooltip("high:Q", format=",.4~g"),
                "unit:N", alt.Tooltip("at low:Q", format="$,.2f"), alt.Tooltip("at high:Q", format="$,.2f"),
            ],
        )
    )  # fmt: skip
    middle = alt.Chart(alt.Data(values=[{"x": chart.outcome}])).mark_rule(color=INK).encode(x="x:Q")
    zero = alt.Chart(alt.Data(values=[{"x": 0}])).mark_rule(color=API, strokeDash=[4, 3]).encode(x="x:Q")
    return finish(drawn + zero + middle, height=max(90, 24 * len(bars)))
