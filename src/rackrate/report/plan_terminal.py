"""A plan as tables for a terminal."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from rackrate.report.format import NONE, count, ms, percent, rate, usd
from rackrate.report.plan_rows import split
from rackrate.report.tables import plain_table

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
        *_traffic(demand),
        Text(view["origin"], style="dim"),
        *([Text(view["corrected"], style="dim")] if view.get("corrected") else []),
        Text(""),
    ]
    if view["rows"]:
        lines.append(_Rows(view, api_rows))
        lines.append(Text(""))
        lines += [Text(note, style="dim") for note in _notes(view)]
    else:
        fits = set(view["reasons"]) != {"does not fit"}
        lines.append(Text("No offer meets the SLO." if fits else "The model fits no offer.", style="bold yellow"))
        if view["closest"]:
            lines.append(Text(f"Nearest is {view['closest']}."))
    lines += [Text(""), *_lost(view)]
    return Group(*lines)


def _traffic(demand: Json) -> list[RenderableType]:
    """Where the traffic is from and what must be known of it; nothing of a rate that was stated."""
    words = [] if demand["origin"].startswith("stated") else [f"traffic: {demand['origin']}"]
    return [Text("; ".join([*words, *demand["notes"]]), style="dim")] if words or demand["notes"] else []


class _Rows:
    """The ranked table: a line a row where the terminal is wide enough for all of it, else two."""

    def __init__(self, view: Json, api_rows: int) -> None:
        apis = list(view["apis"])
        shown = [api for api in apis if api["same_model"]][:api_rows] + [api for api in apis if not api["same_model"]]
        entries: list[tuple[float, Json, bool]] = [(row["usd_month"], row, False) for row in view["rows"]]
        entries += [(entry["usd_month"], entry, True) for entry in shown]
        self.entries = sorted(entries, key=lambda entry: entry[0])
        self.first = view["rows"][0]
        self.several = len({row["engine"] for row in view["rows"]}) > 1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = self._wide()
        needed = console.measure(wide, options=options.update(max_width=1000)).maximum
        yield wide if needed <= options.max_width else self._narrow()

    def _wide(self) -> Table:
        table = plain_table(
            "offer", "deployment", "machines", "load", "TTFT p50", "p95 ms", "TPOT p50", "p95 ms", "USD/month",
            "USD/1M", "80 %", "data", left=["offer"],
        )  # fmt: skip
        for usd_month, row, is_api in self.entries:
            if is_api:
                table.add_row(
                    self._name(row, is_api), self._kind(row), *[NONE] * 6, usd(usd_month), usd(row["usd_per_1m"]), NONE,
                    "listed",
                )  # fmt: skip
                continue
            low_high = row["usd_per_1m_interval"]
            table.add_row(
                self._name(row, is_api),
                self._deployment(row),
                _machines(row),
                percent(row["utilisation"]),
                *_pair(row["ttft"]),
                *_pair(row["tpot"]),
                usd(usd_month),
                usd(row["usd_per_1m"]),
                f"{usd(low_high[0])} - {usd(low_high[1])}" if low_high else NONE,
                _distance(row),
            )
        return table

    def _narrow(self) -> Table:
        table = plain_table(
            "offer\n  deployment", "load\ndata", "TTFT\np50\np95 ms", "TPOT\np50\np95 ms", "USD/\nmonth",
            "USD/1M\n80 %", left=["offer\n  deployment"],
        )  # fmt: skip
        table.columns[0].no_wrap = False
        for usd_month, row, is_api in self.entries:
            name = self._name(row, is_api)
            if is_api:
                what = Text.assemble(name, "\n  ", self._kind(row))
                table.add_row(what, "-\nlisted", NONE, NONE, _round_usd(usd_month), usd(row["usd_per_1m"]))
                continue
            low_high = row["usd_per_1m_interval"]
            table.add_row(
                Text.assemble(name, f"\n  {_machines(row)}, {self._deployment(row)}"),
                f"{percent(row['utilisation'])}\n{_distance(row)}",
                "\n".join(_pair(row["ttft"])),
                "\n".join(_pair(row["tpot"])),
                _round_usd(usd_month),
                f"{usd(row['usd_per_1m'])}\n{_interval(low_high)}",
            )
        return table

    def _name(self, row: Json, is_api: bool) -> Text:
        if is_api:
            return Text(f"API {_short(row['api'])}")
        return Text(row["cost_name"], style="bold green" if row is self.first else "")

    def _kind(self, row: Json) -> Text:
        return Text("same model" if row["same_model"] else "another model", style="yellow")

    def _deployment(self, row: Json) -> str:
        return f"{row['weights']} {split(row)}" + (f" {row['engine']}" if self.several else "")


def _machines(row: Json) -> str:
    spares = f"+{row['spares']}" if row["spares"] else ""
    return f"{row['machines']}{spares} x {row['accelerators']} {row['accelerator']}"


def _distance(row: Json) -> str:
    return {"measured": "card", "same family": "same family", "extrapolated": "others"}.get(
        row["distance"], str(row["distance"])
    )


def _round_usd(value: float) -> str:
    """Dollars without cents where there are thousands of them.

    >>> _round_usd(18404.87), _round_usd(684.4)
    ('$18,405', '$684.40')
    """
    return f"${value:,.0f}" if value >= 1000 else usd(value)


def _interval(low_high: list[float] | None) -> str:
    return f"{usd(low_high[0])}-{usd(low_high[1]).removeprefix('$')}" if low_high else NONE


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
        parts = " + ".join(f"{machine['machines']} x {machine['name']}" for machine in view["mixed"]["machines"])
        notes.append(
            f"A mixed fleet is cheaper: {parts} at {usd(view['mixed']['usd_month'])} a month, "
            f"{usd(view['mixed']['usd_per_1m'])} per 1M tokens (the router gives each its share)."
        )
    crossings = [
        f"{name} from {count(even['tokens_per_month'])} tokens a month ({percent(even['utilisation'])} of what "
        f"{_machines_in_words(even, view['demand'])})"
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


def _machines_in_words(even: Json, demand: Json) -> str:
    """How many machines serve the volume of a break-even, and with what peak."""
    item = even["machines"]
    words = "one machine serves" if item == 1 else f"{item} machines serve"
    if demand["peak_request_s"] > demand["request_s"] * 1.0001:
        words += f" with a peak of {demand['peak_request_s'] / demand['request_s']:.3g} times the mean"
    return words


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
        details = Counter(rejection["detail"] for rejection in view["lost"] if rejection["reason"] == reason)
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
