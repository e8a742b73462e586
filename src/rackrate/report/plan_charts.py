"""The charts of a plan, as Vega-Lite specifications: cost against latency with the Pareto frontier, and the load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rackrate.report.charts import API, MACHINES, finish
from rackrate.report.format import split
from rackrate.schemas import predictions as views

if TYPE_CHECKING:
    import altair as alt

Json = dict[str, Any]


def frontier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both figures, by the first.

    >>> frontier([(1.0, 9.0), (2.0, 5.0), (3.0, 6.0), (4.0, 2.0)])
    [(1.0, 9.0), (2.0, 5.0), (4.0, 2.0)]
    """
    best: list[tuple[float, float]] = []
    for point in sorted(points):
        if not best or point[1] < best[-1][1]:
            best.append(point)
    return best


def pareto_chart(view: views.PlanView, metric: str) -> Json:
    """USD per 1M tokens against the 95th percentile of TTFT or TPOT; the line joins what nothing beats in both."""

    import altair as alt

    rows: list[Json] = [
        {
            "ms": getattr(row, metric).p95 * 1000, "USD per 1M tokens": row.usd_per_1m, "offer": row.cost_name,
            "accelerator": row.accelerator, "machines": row.machines,
            "deployment": f"{row.weights} {split(row)}",
        }
        for row in view.rows
        if getattr(row, metric)
    ]  # fmt: skip
    x = alt.X("ms:Q", title=f"p95 {metric.upper()}, ms", scale=alt.Scale(zero=False))
    y = alt.Y("USD per 1M tokens:Q", title="USD per 1M tokens", axis=alt.Axis(format="$,.3~g"))
    best = frontier([(float(row["ms"]), float(row["USD per 1M tokens"])) for row in rows])
    line = (
        alt.Chart(alt.Data(values=[{"ms": a, "USD per 1M tokens": b} for a, b in best]))
        .mark_line(color=API, strokeDash=[5, 4], interpolate="step-after")
        .encode(x=x, y=y)
    )
    dots = (
        alt.Chart(alt.Data(values=rows))
        .mark_point(filled=True, size=90, opacity=1, color=MACHINES[0])
        .encode(
            x=x,
            y=y,
            tooltip=[
                "offer:N", "deployment:N", "machines:Q", alt.Tooltip("ms:Q", format=".1f"),
                alt.Tooltip("USD per 1M tokens:Q", format="$,.4~g"),
            ],
        )
    )  # fmt: skip
    names = (
        alt.Chart(alt.Data(values=_named(rows)))
        .mark_text(align="left", dx=8, fontSize=11)
        .encode(x=x, y=y, text="accelerator:N")
    )
    return finish(alt.layer(line, dots, names), height=300)


NEAR = 0.06
"""Of the range of an axis: points nearer than that in both figures share a name."""


def _named(rows: list[Json]) -> list[Json]:
    """The points that get a name: one where several lie on each other, the cheapest."""
    named: list[Json] = []
    spans = {key: max((row[key] for row in rows), default=0.0) or 1.0 for key in ("ms", "USD per 1M tokens")}
    for row in sorted(rows, key=lambda row: row["USD per 1M tokens"]):
        if all(any(abs(row[key] - item[key]) > NEAR * span for key, span in spans.items()) for item in named):
            named.append(row)
    return named


def load_chart(view: views.PlanView, metric: str) -> Json:
    """Median and 95th percentile of TTFT or TPOT against the load of a replica."""

    import altair as alt

    rows = [
        {"requests per second": point.request_s, "percentile": name, "ms": getattr(getattr(point, metric), name) * 1000}
        for point in view.curve
        if getattr(point, metric)
        for name in ("p50", "p95")
    ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(point=alt.OverlayMarkDef(size=60, filled=True))
        .encode(
            x=_load(),
            y=alt.Y("ms:Q", title=f"{metric.upper()}, ms", scale=alt.Scale(zero=True)),
            color=alt.Color(
                "percentile:N", title=None, scale=alt.Scale(domain=["p50", "p95"], range=["#1d4ed8", "#9aa5b1"])
            ),
            tooltip=[
                alt.Tooltip("requests per second:Q", format=".3~g"),
                "percentile:N",
                alt.Tooltip("ms:Q", format=".1f"),
            ],
        )
    )
    return finish(chart)


def cost_chart(view: views.PlanView) -> Json:
    """USD per 1M tokens against the load of a replica, up to its capacity."""

    import altair as alt

    rows = [
        {"requests per second": point.request_s, "USD per 1M tokens": point.usd_per_1m}
        for point in view.curve
        if point.share_of_capacity is not None and point.share_of_capacity <= 1
    ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(point=alt.OverlayMarkDef(size=60, filled=True), color=MACHINES[0])
        .encode(
            x=_load(),
            y=alt.Y("USD per 1M tokens:Q", axis=alt.Axis(format="$,.3~g"), scale=alt.Scale(zero=True)),
            tooltip=[
                alt.Tooltip("requests per second:Q", format=".3~g"),
                alt.Tooltip("USD per 1M tokens:Q", format="$,.4~g"),
            ],
        )
    )
    return finish(chart)


def _load() -> alt.X:
    import altair as alt

    return alt.X("requests per second:Q", title="requests per second of one replica")
