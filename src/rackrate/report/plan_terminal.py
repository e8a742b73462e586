"""A plan as tables for a terminal."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from rackrate.report.format import NONE, count, ms, percent, rate, usd
from rackrate.report.terminal import plain_table

Json = dict[str, Any]


def plan_tables(view: Json, *, api_rows: int = 6) -> RenderableType:
    """The ranked deployments and APIs, a mixed fleet where it wins, and why the others lost."""
    demand = view["demand"]
    peak = demand["peak_request_s"]
    lines: list[RenderableType] = [
        Text.assemble(
            (view["model"], "bold"),
            f": {rate(demand['request_s'])} requests/s"
            + (f" ({rate(peak)}/s at the peak)" if peak > demand["request_s"] * 1.0001 else "")
            + f", {demand['mean_input_tokens']:,.0f} tokens in and {demand['mean_output_tokens']:,.0f} out on average, "
            f"{count(demand['tokens_month'])} tokens a month; {demand['slo']}",
        ),
        Text(view["origin"], style="dim"),
        Text(""),
    ]
    if view["rows"]:
        lines.append(_rows(view, api_rows))
        lines.append(Text(""))
        lines += [Text(note, style="dim") for note in _notes(view)]
    else:
        lines.append(Text("No offer meets the SLO.", style="bold yellow"))
        if view["closest"]:
            lines.append(Text(f"Nearest is {view['closest']}."))
    lines += [Text(""), *_lost(view)]
    return Group(*lines)


def _rows(view: Json, api_rows: int) -> RenderableType:
    table = plain_table(
        "offer", "deployment", "machines", "load", "TTFT p50", "p95 ms", "TPOT p50", "p95 ms", "USD/month", "USD/1M",
        "80 %", "data", left=["offer"],
    )  # fmt: skip
    apis = list(view["apis"])
    shown = [one for one in apis if one["same_model"]][:api_rows] + [one for one in apis if not one["same_model"]]
    entries: list[tuple[float, Json, bool]] = [(row["usd_month"], row, False) for row in view["rows"]]
    entries += [(one["usd_month"], one, True) for one in shown]
    entries.sort(key=lambda entry: entry[0])
    first = view["rows"][0]
    several = len({row["engine"] for row in view["rows"]}) > 1
    for usd_month, row, is_api in entries:
        if is_api:
            kind = Text("same model" if row["same_model"] else "another model", style="yellow")
            name = f"API {_short(row['api'])}"
            table.add_row(name, kind, *[NONE] * 6, usd(usd_month), usd(row["usd_per_1m"]), NONE, "listed")
            continue
        low_high = row["usd_per_1m_interval"]
        spares = f"+{row['spares']}" if row["spares"] else ""
        table.add_row(
            Text(row["cost_name"], style="bold green" if row is first else ""),
            f"{row['weights']} tp{row['tensor_parallel']}" + (f" {row['engine']}" if several else ""),
            f"{row['machines']}{spares} x {row['accelerators']} {row['accelerator']}",
            percent(row["utilisation"]),
            *_pair(row["ttft"]),
            *_pair(row["tpot"]),
            usd(usd_month),
            usd(row["usd_per_1m"]),
            f"{usd(low_high[0])} - {usd(low_high[1])}" if low_high else NONE,
            {"seen": "card", "family": "family", "new": "others"}.get(row["distance"], row["distance"]),
        )
    return table


def _short(reference: str) -> str:
    """Provider and model, without what a hub puts between them.

    >>> _short("novita/meta-llama/llama-3-8b-instruct"), _short("openai/gpt-4o")
    ('novita/llama-3-8b-instruct', 'openai/gpt-4o')
    """
    parts = reference.split("/")
    return f"{parts[0]}/{parts[-1]}"


def _pair(quantiles: Json | None) -> tuple[str, str]:
    return (ms(quantiles["p50"]), ms(quantiles["p95"])) if quantiles else (NONE, NONE)


def _notes(view: Json) -> list[str]:
    notes: list[str] = []
    best = view["rows"][0]
    if view["mixed"]:
        parts = " + ".join(f"{one['machines']} x {one['name']}" for one in view["mixed"]["machines"])
        notes.append(
            f"A mixed fleet is cheaper: {parts} at {usd(view['mixed']['usd_month'])} a month, "
            f"{usd(view['mixed']['usd_per_1m'])} per 1M tokens (the router gives each its share)."
        )
    crossings = [
        f"{name} from {count(even['tokens_per_month'])} tokens a month ({percent(even['utilisation'])} of one machine)"
        if even["verdict"] == "at"
        else f"{name}: {even['verdict']}"
        for name, even in list(best["break_even"].items())[:4]
    ]
    if crossings:
        notes.append(f"{best['cost_name']} breaks even with {'; '.join(crossings)}.")
    if best["usd_per_1m_interval"] is None:
        notes.append("80 %: -, since no errors on machines never seen are on file for this class of figure.")
    notes.append(f"Price of {best['cost_name']}: {best['price_source']}, {best['price_date']}.")
    return notes


def _lost(view: Json) -> list[RenderableType]:
    reasons: Counter[str] = Counter(view["reasons"])
    words = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())
    lines: list[RenderableType] = [
        Text(
            f"{view['candidates']:,} candidates, {view['deployments']} deployments, {view['simulations']} simulations. "
            f"Not shown: {words or 'none'}."
        )
    ]
    for reason in ("does not fit", "misses the SLO"):
        details = Counter(one["detail"] for one in view["lost"] if one["reason"] == reason)
        for detail, number in details.most_common(2):
            lines.append(Text(f"{reason} ({number}): {detail}", style="dim"))
    return lines


def explanation_table(name: str, steps: list[Json]) -> RenderableType:
    """One row from FLOPs to dollars."""
    table = plain_table("", "value", "unit", "how", left=["", "unit", "how"], title=name)
    for step in steps:
        value = step["value"]
        text = NONE if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        table.add_row(step["what"], text, step["unit"], step["how"])
    return table
