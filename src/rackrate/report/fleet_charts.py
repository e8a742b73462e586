"""The charts of a fleet, as Vega-Lite specifications: replicas and load over the day, and what months cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rackrate.economics.fleet_day import DayPoint
from rackrate.report.charts import INK, MACHINES, finish
from rackrate.schemas import costs as views

Json = dict[str, Any]


def day_chart(points: Sequence[DayPoint], uses: Sequence[views.OfferUseView], step_s: float) -> Json:
    """Replicas that are paid for, by offer, stacked, the committed at the bottom; those that serve; and the load."""

    import altair as alt

    order = sorted(range(len(uses)), key=lambda number: not uses[number].committed)
    offers = [uses[number].name for number in order]
    width = max(24 / 144, step_s / 3600)
    bases: list[Json] = []
    for point in points:
        below = 0.0
        for number in order:
            name, value = uses[number].name, point.by_offer[number]
            bases.append(
                {"hour": point.hour, "until": point.hour + width, "from": below, "to": below + value,
                 "replicas": value, "offer": name}
            )  # fmt: skip
            below += value
    lines = [
        {"hour": point.hour + width / 2, "replicas": getattr(point, key), "what": what}
        for point in points
        for key, what in (("load", "load"), ("ready", "serving"))
    ]
    x = alt.X(
        "hour:Q",
        title="hour of the day",
        scale=alt.Scale(domain=[0, 24], nice=False),
        axis=alt.Axis(values=list(range(0, 25, 3)), format="02d"),
    )
    held = (
        alt.Chart(alt.Data(values=bases))
        .mark_rect(opacity=0.55)
        .encode(
            x=x,
            x2="until:Q",
            y=alt.Y("from:Q", title="replicas"),
            y2="to:Q",
            color=alt.Color(
                "offer:N",
                title=None,
                scale=alt.Scale(domain=offers, range=[MACHINES[i % len(MACHINES)] for i in range(len(offers))]),
            ),
            tooltip=["offer:N", alt.Tooltip("hour:Q", format=".2f"), alt.Tooltip("replicas:Q", format=".2f")],
        )
    )
    over = (
        alt.Chart(alt.Data(values=lines))
        .mark_line(strokeWidth=2, color=INK)
        .encode(
            x=x,
            y=alt.Y("replicas:Q"),
            strokeDash=alt.StrokeDash(
                "what:N", title=None, scale=alt.Scale(domain=["load", "serving"], range=[[1, 0], [4, 4]])
            ),
            tooltip=["what:N", alt.Tooltip("hour:Q", format=".2f"), alt.Tooltip("replicas:Q", format=".2f")],
        )
    )
    return finish(held + over, height=300)


def month_chart(view: views.FleetView) -> Json:
    """What each whole month costs, by shape."""

    import altair as alt

    whole = int(view.traffic.duration_s / 3600 / view.plan.hours_per_month + 1e-9)
    rows = [
        {"month": number + 1, "amount": usd / view.currency.usd_per_unit, "shape": shape.name}
        for shape in view.shapes
        for number, usd in enumerate(shape.by_month_usd[: max(1, whole)])
    ]
    names = [shape.name for shape in view.shapes]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(point=True, strokeWidth=2)
        .encode(
            x=alt.X("month:O", title=f"month ({view.plan.hours_per_month:g} h each)", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("amount:Q", title=f"{view.currency.code} a month", axis=alt.Axis(format=",.3~s")),
            color=alt.Color(
                "shape:N",
                title=None,
                scale=alt.Scale(domain=names, range=[MACHINES[i % len(MACHINES)] for i in range(len(names))]),
            ),
            tooltip=["shape:N", "month:O", alt.Tooltip("amount:Q", format=",.2f")],
        )
    )
    return finish(chart)
