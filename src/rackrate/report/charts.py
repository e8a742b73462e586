"""The charts of a report, as Vega-Lite specifications. Data in, specification out; nothing is computed here twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rackrate.report.present.apis import status_mark
from rackrate.schemas import costs as views

if TYPE_CHECKING:
    import altair as alt

Json = dict[str, Any]

INK = "#1f2933"
MACHINES = ["#0b6e4f", "#7b2d8b", "#1d4ed8", "#b45309"]
API = "#c2410c"
ENGINES = ["#0b6e4f", "#1d4ed8", "#b45309", "#7b2d8b", "#be123c", "#52606d", "#0e7490", "#65a30d"]
_CONFIG: Json = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "gridColor": "#e5e9ee",
        "domainColor": "#9aa5b1",
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
    },
    "legend": {
        "labelColor": INK,
        "titleColor": INK,
        "orient": "bottom",
        "labelLimit": 320,
        "labelFontSize": 12,
        "columns": 1,
    },
    "view": {"stroke": None},
}


def throughput_chart(run: views.RunSummary) -> Json:
    """Output and input tokens per second against requests in flight, with the 95 % interval of the output."""

    import altair as alt

    rows = [
        {
            "in flight": level.concurrency or level.mean_in_flight,
            "output": level.output_tok_s,
            "low": (level.output_tok_s or 0.0) - (level.output_tok_s_half_width or 0.0),
            "high": (level.output_tok_s or 0.0) + (level.output_tok_s_half_width or 0.0),
            "requests": level.requests,
            "notes": ", ".join(level.caveats) or "none",
        }
        for level in closed(run)
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(x=in_flight())
    band = base.mark_errorbar(color=MACHINES[0], thickness=2).encode(
        y=alt.Y("low:Q", title="output tokens per second", scale=alt.Scale(zero=True)), y2="high:Q"
    )
    line = base.mark_line(color=MACHINES[0], point=alt.OverlayMarkDef(size=70, filled=True, color=MACHINES[0])).encode(
        y=alt.Y("output:Q"),
        tooltip=[
            alt.Tooltip("in flight:Q"),
            alt.Tooltip("output:Q", title="output tok/s", format=".1f"),
            alt.Tooltip("low:Q", title="95 % from", format=".1f"),
            alt.Tooltip("high:Q", title="to", format=".1f"),
            alt.Tooltip("requests:Q"),
            alt.Tooltip("notes:N"),
        ],
    )
    return finish(band + line)


def latency_chart(run: views.RunSummary, metric: str) -> Json:
    """Median and 95th percentile of TTFT or TPOT, in ms, against requests in flight."""

    import altair as alt

    rows = [
        {
            "in flight": level.concurrency or level.mean_in_flight,
            "percentile": point,
            "ms": getattr(getattr(level, metric), point) * 1000,
        }
        for level in closed(run)
        if getattr(level, metric)
        for point in ("p50", "p95")
        if getattr(getattr(level, metric), point) is not None  # an imported summary may lack it
    ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(point=alt.OverlayMarkDef(size=60, filled=True))
        .encode(
            x=in_flight(),
            y=alt.Y("ms:Q", title=f"{metric.upper()}, ms", scale=alt.Scale(zero=True)),
            color=alt.Color(
                "percentile:N", title=None, scale=alt.Scale(domain=["p50", "p95"], range=["#1d4ed8", "#9aa5b1"])
            ),
            tooltip=["in flight:Q", "percentile:N", alt.Tooltip("ms:Q", format=".1f")],
        )
    )
    return finish(chart)


def _marks(api: views.ApiView) -> str:
    """What is to be seen of an API beside its name: that it is another model, or no longer sold."""
    marks = [*([] if api.same_model else ["another model"]), *filter(None, [status_mark(api.status, api.ends)])]
    return f" ({', '.join(marks)})" if marks else ""


def cost_chart(pricing: views.PricingView) -> Json:
    """USD per 1M tokens against utilisation, a curve per machine, a line per API, a mark where they break even."""

    import altair as alt

    shares = [step / 100 for step in (*range(1, 20), *range(20, 101, 2))]
    curves: list[Json] = []
    marks: list[Json] = []
    for machine in pricing.machines:
        cost, full = machine.cost, machine.full_load
        name = cost.name
        tokens_h = full.tokens_month / pricing.load.hours_per_month
        for share in shares:
            usd_1m = (cost.fixed_usd_h + share * cost.busy_usd_h) / (tokens_h * share) * 1e6
            curves.append({"utilisation": share, "USD per 1M tokens": usd_1m, "machine": name})
        for api in _apis(machine):
            crossing = api.break_even
            if crossing.verdict == "at":
                marks.append(
                    {
                        "utilisation": crossing.utilisation,
                        "USD per 1M tokens": api.blended_usd_per_1m,
                        "machine": name,
                        "api": api.api,
                        "tokens per month": crossing.tokens_per_month,
                    }
                )
    rules = [
        {
            "api": f"{api.api}{_marks(api)}",
            "USD per 1M tokens": api.blended_usd_per_1m,
            "utilisation": 1.0,
        }
        for api in _apis(pricing.machines[0])
    ]
    x = alt.X(
        "utilisation:Q",
        title="utilisation (share of full load that is asked for)",
        axis=alt.Axis(format="%"),
        scale=alt.Scale(domain=[0, 1]),
    )
    y = alt.Y(
        "USD per 1M tokens:Q",
        title="USD per 1M tokens (log scale)",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(format="$,.3~g", tickCount=6),
    )
    names = [machine.cost.name for machine in pricing.machines]
    color = alt.Color("machine:N", title=None, scale=alt.Scale(domain=names, range=MACHINES[: max(len(names), 1)]))
    usd = alt.Tooltip("USD per 1M tokens:Q", format="$,.4~g")
    lines = (
        alt.Chart(alt.Data(values=curves))
        .mark_line(strokeWidth=2.5)
        .encode(x=x, y=y, color=color, tooltip=["machine:N", alt.Tooltip("utilisation:Q", format=".0%"), usd])
    )
    layers: list[Any] = [lines]
    if rules:
        data = alt.Data(values=rules)
        layers.append(alt.Chart(data).mark_rule(color=API, strokeDash=[5, 4]).encode(y=y, tooltip=["api:N", usd]))
        layers.append(
            alt.Chart(data)
            .mark_text(align="right", baseline="bottom", dy=-3, color=API, fontSize=12)
            .encode(x=x, y=y, text="api:N")
        )
    if marks:
        layers.append(
            alt.Chart(alt.Data(values=marks))
            .mark_point(size=110, filled=True, opacity=1, stroke="white", strokeWidth=1.5)
            .encode(
                x=x,
                y=y,
                color=color,
                tooltip=[
                    "machine:N",
                    "api:N",
                    alt.Tooltip("utilisation:Q", title="breaks even at", format=".1%"),
                    alt.Tooltip("tokens per month:Q", format=",.3~s"),
                ],
            )
        )
    return finish(alt.layer(*layers), height=320)


def _apis(machine: views.PricedMachine) -> list[views.ApiView]:
    """At most three sellers of the same model and all others: more lines than that cannot be told apart."""
    same = [api for api in machine.apis if api.same_model]
    chosen = [same[0], same[len(same) // 2], same[-1]] if len(same) > 3 else same
    return chosen + [api for api in machine.apis if not api.same_model]


def closed(run: views.RunSummary) -> list[views.LevelView]:
    """Levels of which something was served, prefill alone left out."""
    return [level for level in run.levels if level.kind != "prefill" and level.output_tok_s]


def in_flight() -> alt.X:
    """Requests in flight, by powers of two."""

    import altair as alt

    return alt.X(
        "in flight:Q",
        title="requests in flight",
        scale=alt.Scale(type="log", base=2, nice=False, padding=18),
        axis=alt.Axis(format="d", tickCount=6),
    )


def finish(chart: Any, height: int = 260) -> Json:
    """The specification of a chart as wide as its place."""

    import altair as alt

    sized: Any = chart.properties(
        width="container", height=height, autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
    )
    spec: Json = sized.to_dict()
    spec["config"] = _CONFIG
    return spec


def comparison_chart(view: views.ComparisonView) -> Json:
    """Output tokens per second against requests in flight, a line per engine, with 95 % intervals."""

    import altair as alt

    rows = [
        {
            "in flight": level.concurrency,
            "output": level.output_tok_s,
            "low": (level.output_tok_s or 0.0) - (level.output_tok_s_half_width or 0.0),
            "high": (level.output_tok_s or 0.0) + (level.output_tok_s_half_width or 0.0),
            "engine": row.label,
            "notes": ", ".join(level.caveats) or "none",
            "doubtful": doubtful(level),
        }
        for row in view.rows
        for level in row.levels
        if level.output_tok_s
    ]
    labels = [row.label for row in view.rows]
    scale = alt.Scale(domain=labels, range=ENGINES[: max(1, len(labels))])
    color = alt.Color("engine:N", title=None, scale=scale)
    base = alt.Chart(alt.Data(values=rows)).encode(x=in_flight(), color=color)
    band = base.mark_errorbar(thickness=2).encode(
        y=alt.Y("low:Q", title="output tokens per second", scale=alt.Scale(zero=True)), y2="high:Q"
    )
    line = base.mark_line().encode(y=alt.Y("output:Q"))
    points = base.mark_point(size=70, opacity=1, strokeWidth=2).encode(
        y=alt.Y("output:Q"),
        fill=alt.condition("datum.doubtful", alt.value("white"), alt.Fill("engine:N", title=None, scale=scale)),
        tooltip=["engine:N", "in flight:Q", alt.Tooltip("output:Q", title="output tok/s", format=".1f"), "notes:N"],
    )
    return finish(band + line + points, height=320)


def doubtful(level: views.ComparedLevel) -> bool:
    """Whether a level's throughput has a caveat; one request at a time is slow and right."""
    return any(name != "batch-1" for name in level.caveats)
