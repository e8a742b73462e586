"""A comparison as tables for a terminal, as a chart, as Markdown, and as one offline page."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from rackrate.metrics.summary import CAVEATS
from rackrate.report.format import NONE, ms, percent, rate, usd
from rackrate.report.tables import plain_table

Json = dict[str, Any]

LETTERS = "abcdefghij"
DOUBT = " *"
"""After a figure that something stands against."""
"""Stand for machines in the narrow table of a terminal."""
COLORS = ["#0b6e4f", "#1d4ed8", "#b45309", "#7b2d8b", "#be123c", "#52606d", "#0e7490", "#65a30d"]


def comparison_tables(view: Json) -> RenderableType:
    """A row per engine, then its throughput at each load."""
    lines: list[RenderableType] = []
    work = view["workload"]
    if work:
        said = f"{work['input_tokens']} tokens in, {work['output_tokens']} out, {work['endpoint']}"
        origins = " and ".join(sorted({row.get("origin") or "measured" for row in view["rows"]}))
        lines.append(Text(f"{view['machine']} | {said} | {origins or 'measured'}", style="dim"))
    names, priced = _machines(view), bool(_machines(view))
    table = plain_table(
        "", "output tok/s", "+-95 %", "in flight", "ratio", *[f"USD/1M {letter}" for letter in LETTERS[: len(names)]],
        *_quality_head(view), left=[""],
    )  # fmt: skip
    latency = plain_table("", "weights", "TTFT p50", "p95 ms", "TPOT p50", "p95 ms", left=["", "weights"])
    for row in view["rows"]:
        half = row["output_tok_s_half_width"]
        table.add_row(
            Text(row["label"], style="bold"),
            rate(row["output_tok_s"]),
            f"{half:.1f}" if half is not None else NONE,
            str(row["concurrency"] or NONE),
            f"{row['ratio']:.1f}" if row["ratio"] else NONE,
            *[_price(row, name) for name in names],
            *(_quality_cells(row) if _quality_head(view) else ()),
        )
        latency.add_row(row["label"], row["weight_format"] or NONE, *_pair(row["ttft"]), *_pair(row["tpot"]))
    lines += [Text(""), table]
    for row in view["rows"]:
        words = [*row["caveats"], *([row["failure"]] if row["failure"] else [])]
        words += ["still growing"] if row["lower_bound"] else []
        if words:
            lines.append(Text(f"{row['label']}: {', '.join(words)}", style="yellow"))
    lines += [Text(""), latency, Text("")]
    loads = _loads(view)
    by_load = plain_table("output tok/s, in flight:", *[str(load) for load in loads], left=["output tok/s, in flight:"])
    for row in view["rows"]:
        by_load.add_row(row["label"], *[_at(row, load) for load in loads])
    lines += [by_load, Text("")]
    if view["baseline"]:
        lines.append(Text(f"ratio: output tok/s over that of {view['baseline']}", style="dim"))
    if priced:
        lines.append(
            Text(f"USD/1M: input and output tokens together, at full load all month, on {_legend(view)}", style="dim")
        )
    lines += [Text(note) for note in _notes(view)]
    return Group(*lines)


def _notes(view: Json) -> list[str]:
    notes = list(view["notes"])
    disturbed = [row for row in view["rows"] if (row["other_cpu_share"] or 0) > 0.05]
    notes += [
        f"{row['label']}: other processes took up to {percent(row['other_cpu_share'])} of the CPUs while it ran; "
        "its figures are too low by at least as much."
        for row in disturbed
    ]
    names = {name for row in view["rows"] for name in row["caveats"]}
    notes += [f"{name}: {CAVEATS[name]}." for name in CAVEATS if name in names]
    if any(_doubtful(level) for row in view["rows"] for level in row["levels"]):
        notes.append(f"{DOUBT.strip()}, or a hollow point: a load whose figure must not be taken for the engine's own.")
    notes += [f"{failure['engine']} was not measured: {failure['why']}" for failure in view["failures"]]
    return notes


def _machines(view: Json) -> list[str]:
    return list(dict.fromkeys(price["machine"] for row in view["rows"] for price in row["prices"]))


def _legend(view: Json) -> str:
    """Which machine each letter stands for, and what it costs."""
    costs = {price["machine"]: price for row in view["rows"] for price in row["prices"]}
    return "; ".join(
        f"{letter}: {name} at {usd(costs[name]['usd_h'])}/h ({costs[name]['source'].split(';')[0]})"
        for letter, name in zip(LETTERS, _machines(view), strict=False)
    )


def _doubtful(level: Json) -> bool:
    """Whether something stands against a level's throughput; one request at a time is slow and right."""
    return any(name != "batch-1" for name in level["caveats"])


def _at(row: Json, load: int) -> str:
    """Output tok/s of a row at a load, with a star where something stands against it."""
    level = next((level for level in row["levels"] if level["concurrency"] == load), None)
    if level is None or level["output_tok_s"] is None:
        return NONE
    return rate(level["output_tok_s"]) + (DOUBT if _doubtful(level) else "")


def _loads(view: Json) -> list[int]:
    return sorted({level["concurrency"] for row in view["rows"] for level in row["levels"]})


def _price(row: Json, machine: str) -> str:
    found = next((price for price in row["prices"] if price["machine"] == machine), None)
    return usd(found["blended_usd"]) if found else NONE


def _quality_head(view: Json) -> list[str]:
    return ["perplexity x", "same token"] if any(row["quality"] for row in view["rows"]) else []


def _quality_cells(row: Json) -> tuple[str, str]:
    """What the number format lost, beside the price."""
    known = row["quality"]
    if not known:
        return NONE, NONE
    return f"{known['ratio']:.3f}", percent(known["agreement"])


def _pair(quantiles: Json | None) -> tuple[str, str]:
    return (ms(quantiles["p50"]), ms(quantiles["p95"])) if quantiles else (NONE, NONE)


def comparison_chart(view: Json) -> Json:
    """Output tokens per second against requests in flight, a line per engine, with 95 % intervals."""
    import altair as alt

    from rackrate.report.charts import finish, in_flight

    rows = [
        {
            "in flight": level["concurrency"],
            "output": level["output_tok_s"],
            "low": level["output_tok_s"] - (level["output_tok_s_half_width"] or 0.0),
            "high": level["output_tok_s"] + (level["output_tok_s_half_width"] or 0.0),
            "engine": row["label"],
            "notes": ", ".join(level["caveats"]) or "none",
            "doubtful": _doubtful(level),
        }
        for row in view["rows"]
        for level in row["levels"]
        if level["output_tok_s"]
    ]
    labels = [row["label"] for row in view["rows"]]
    scale = alt.Scale(domain=labels, range=COLORS[: max(1, len(labels))])
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


def comparison_markdown(view: Json) -> str:
    """The same tables in Markdown."""
    names = _machines(view)
    head = ["", "weights", "output tok/s", "in flight", f"x {view['baseline']}", "TTFT p50, ms", "TPOT p50, ms"]
    head += [f"USD/1M, {name}" for name in names] + _quality_head(view)
    lines = ["| " + " | ".join(head) + " |", "| --- | --- |" + " ---: |" * (len(head) - 2)]
    for row in view["rows"]:
        half = row["output_tok_s_half_width"]
        cells = [
            row["label"],
            row["weight_format"] or NONE,
            rate(row["output_tok_s"]) + (f" +-{half:.1f}" if half is not None else ""),
            str(row["concurrency"] or NONE),
            f"{row['ratio']:.1f}" if row["ratio"] else NONE,
            _pair(row["ttft"])[0],
            _pair(row["tpot"])[0],
            *[_price(row, name) for name in names],
            *(_quality_cells(row) if _quality_head(view) else ()),
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    loads = _loads(view)
    lines += ["", "| output tok/s at | " + " | ".join(f"{load} in flight" for load in loads) + " |"]
    lines.append("| --- |" + " ---: |" * len(loads))
    for row in view["rows"]:
        lines.append("| " + " | ".join([row["label"], *[_at(row, load) for load in loads]]) + " |")
    return "\n".join([*lines, "", *_notes(view), ""])


def comparison_html(view: Json) -> str:
    """One offline page: the chart, the tables, the notes."""
    from rackrate.report.html import comparison_page

    return comparison_page(
        view,
        comparison_chart(view),
        machines=_machines(view),
        loads=_loads(view),
        notes=_notes(view),
        at=_at,
        price=_price,
        quality_head=_quality_head(view),
        quality_cells=_quality_cells,
    )
