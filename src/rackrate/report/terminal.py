"""Views as tables for a terminal."""

from __future__ import annotations

from typing import Any

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rackrate.metrics.summary import CAVEATS
from rackrate.report.format import NONE, RIG_UNITS, count, load_label, ms, percent, rate, usd, workload_text
from rackrate.report.tables import plain_table

Json = dict[str, Any]


def run_tables(view: Json) -> RenderableType:
    """A run: what ran where, and a row per level."""
    facts = view["provenance"]
    engine, model, work = facts["engine"], facts["model"], facts["workload"]
    lines: list[RenderableType] = []
    weights = f", {model['weight_format']}" if model["weight_format"] else ""
    head = Text.assemble((f"{model['requested']}{weights}", "bold"), f" on {engine['name']}")
    if engine["version"]:
        head.append(f" ({engine['version']})")
    lines.append(head)
    forced = (
        f"length forced by {work['length_forced']}"
        if work["length_forced"]
        else "length not forced: answers may end early"
    )
    if facts["imported"]:
        forced = f"by {facts['imported']['tool']} {facts['imported']['version'] or ''}".rstrip()
    lines.append(
        Text(
            f"{facts['machine']['description']} | {workload_text(work)}, "
            f"{work['endpoint'] + ', ' if work['endpoint'] else ''}{forced} | {facts['origin']} {facts['created']}",
            style="dim",
        )
    )
    best = view["saturation"]
    closed = all(level["kind"] != "open" for level in view["levels"])
    rows: list[tuple[str | Text, ...]] = []
    for level in view["levels"]:
        if level["kind"] == "prefill":
            continue
        mark: list[str] = []
        if best is not None and level["index"] == best["level"]:
            mark.append(
                f"[bold green]<- {'saturated' if closed else 'capacity'}[/]"
                if not best["lower_bound"]
                else "[bold yellow]<- most, not saturated[/]"
            )
        if level["slo_met"] is not None:
            within = f"{percent(level['attainment'])} within the SLO"
            mark.append(within if level["slo_met"] else f"[yellow]{within}, missed[/]")
        mark += [f"[yellow]{name}[/]" for name in level["caveats"]]
        half = level["output_tok_s_half_width"]
        rows.append(
            (
                load_label(level),
                rate(level["output_tok_s"]),
                f"{half:.1f}" if half is not None else NONE,
                rate(level["input_tok_s"]),
                rate(level["request_s"]),
                *_pair(level["ttft"]),
                *_pair(level["tpot"]),
                str(level["requests"]),
                str(sum(level["failed"].values())),
                Text.from_markup(" ".join(mark)),
            )
        )
    lines += [Text(""), _Levels("in flight" if closed else "load", rows)]
    lines += [Text.from_markup(text) for text in _run_notes(view)]
    return Group(*lines)


class _Levels:
    """A run's loads: a line each where the terminal is wide enough for all figures, else two."""

    def __init__(self, load: str, rows: list[tuple[str | Text, ...]]) -> None:
        self.load = load
        self.rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = plain_table(
            self.load, "output tok/s", "+-95 %", "input tok/s", "request/s", "TTFT p50", "p95 ms", "TPOT p50", "p95 ms",
            "requests", "failed", "", left=[""],
        )  # fmt: skip
        for row in self.rows:
            wide.add_row(*row)
        if console.measure(wide, options=options.update(max_width=1000)).maximum <= options.max_width:
            yield wide
            return
        narrow = plain_table(
            self.load, "output\ninput tok/s", "+-95 %\nrequest/s", "TTFT p50\np95 ms", "TPOT p50\np95 ms",
            "requests\nfailed", "", left=[""],
        )  # fmt: skip
        for load, output, half, inputs, requests_s, *latencies, number, failed, mark in self.rows:
            pairs = ((output, inputs), (half, requests_s), latencies[:2], latencies[2:], (number, failed))
            narrow.add_row(load, *(f"{above}\n{below}" for above, below in pairs), mark)
        yield narrow


def _pair(quantiles: Json | None) -> tuple[str, str]:
    return (ms(quantiles["p50"]), ms(quantiles["p95"])) if quantiles else (NONE, NONE)


def _run_notes(view: Json) -> list[str]:
    notes: list[str] = [""]
    best = view["saturation"]
    for level in view["levels"]:
        if level["kind"] == "prefill" and level["input_tok_s"]:
            fresh = level["input_tok_s"] - (level["cached_tok_s"] or 0)
            notes.append(
                f"Prefill alone at {level['concurrency']} in flight: {rate(fresh)} new input tok/s"
                + (
                    f", so prefill takes {percent(best['prefill_share'])} of the busy time."
                    if best and best["prefill_share"]
                    else "."
                )
            )
    slo = view["provenance"]["workload"]["slo"]
    if slo:
        notes += filter(None, [_capacity_note(view, slo)])
    notes += [
        _server_note(level) for level in view["levels"] if best and level["index"] == best["level"] and level["server"]
    ]
    if not view["provenance"]["imported"]:  # there nobody said how long prompts should be
        notes += [_length_note(level) for level in view["levels"] if best and level["index"] == best["level"]]
    if best and best["lower_bound"]:
        notes.append(
            "[yellow]The machine was not saturated at the highest load measured: the figure is a lower bound.[/]"
        )
    names = {name for level in view["levels"] if level["kind"] != "prefill" for name in level["caveats"]}
    notes += [f"[yellow]{name}[/]: {CAVEATS[name]}." for name in CAVEATS if name in names]
    unknown = [name for name in CAVEATS if any(name in level["unknown"] for level in view["levels"])]
    if unknown:
        notes.append(f"Not known, since the imported file does not tell: {', '.join(unknown)}.")
    if view["provenance"]["imported"]:
        notes += [escape(note) for note in view["provenance"]["imported"]["notes"]]
    for name, number in view["requests"]["failed"].items():
        notes.append(f"[red]{number} x {name}[/]: {view['faults'].get(name, '')}.")
    if view["state"] != "complete":
        why = f" ({escape(view['stopped_because'])})" if view["stopped_because"] else ""
        state = "goes on, or was killed" if view["state"] == "running" else f"is {view['state']}"
        more = "; `rackrate measure --resume` goes on with it" if view["provenance"]["origin"] == "measured" else ""
        notes.append(f"[yellow]The run {state}{why}: what was measured until then is shown{more}.[/]")
    if view["requests"]["torn_journal_lines"]:
        notes.append(f"[yellow]{view['requests']['torn_journal_lines']} journal lines were cut short and left out.[/]")
    return notes


def _length_note(level: Json) -> str:
    """How far lengths are from those asked for, at the level that is priced."""
    error = level["length_error"]
    if error is None:
        return "[yellow]The server does not count tokens: prompts may be longer or shorter than asked for.[/]"
    text = (
        f"Prompts: {error['input_share']:+.1%} off by the server's count, 95 % within {error['input_p95']:.0f} tokens"
    )
    if error["output_share"] is not None and abs(error["output_share"]) >= 5e-4:
        text += f"; answers {error['output_share']:+.1%}"
    return f"[yellow]{text}.[/]" if abs(error["input_share"]) > 0.01 else f"{text}."


_BEYOND = {"overloaded", "errors"}
"""Names of levels that were not sustained, whatever those requests met that were answered."""


def _capacity_note(view: Json, slo: str) -> str:
    """The largest rate that was sustained within the SLO, and the smallest that was not."""
    cut_short = {None, "interrupted", "engine-died"}
    opened = [level for level in view["levels"] if level["kind"] == "open" and level["ended_because"] not in cut_short]
    if not opened:
        if view["state"] == "complete":  # a closed loop, whose rows say how far they met it
            return ""
        return f"[yellow]It was ended before any rate was known to be sustained within {slo} or not.[/]"
    failed = [level["rate"] for level in opened if not level["slo_met"] or _BEYOND.intersection(level["caveats"])]
    least = min(failed, default=None)
    held = [
        level["rate"] for level in opened if level["rate"] not in failed and (least is None or level["rate"] < least)
    ]
    if not held:
        return f"[yellow]No rate that was tried is sustained within {slo}.[/]"
    above = f"; {rate(least)}/s is not" if least is not None else ", the highest that was tried"
    what = "conversations" if any(level["conversations"] for level in opened) else "requests"
    return f"[bold]Capacity[/]: {rate(max(held))} {what}/s are sustained within {slo}{above}."


def _server_note(level: Json) -> str:
    """What the server said of itself at the level that is priced."""
    server = level["server"]
    words: list[str] = []
    if server["running_mean"] is not None:
        words.append(f"{server['running_mean']:.1f} running")
    if server["waiting_mean"] is not None:
        words.append(f"{server['waiting_mean']:.1f} waiting on average")
    if server["kv_use_max"] is not None:
        words.append(f"KV cache {percent(server['kv_use_max'])} full at most")
    if server["preemptions"]:
        words.append(f"{server['preemptions']:.0f} preemptions")
    if level["miscount"] is not None:
        agrees = abs(level["miscount"]) < 5e-4
        words.append(
            f"its count of output tokens {'agrees' if agrees else 'differs by ' + format(-level['miscount'], '+.2%')}"
        )
    return f"The server's own /metrics at that load: {', '.join(words)}." if words else ""


def pricing_tables(view: Json, *, sources: bool = False, api_rows: int | None = 8) -> RenderableType:
    """A rate card per machine, its API comparison, and what stands against it."""
    lines: list[RenderableType] = []
    serving = view["serving"]
    half = serving["relative_half_width"]
    sure = f" +-{half * 100:.1f} % (95 %)" if half is not None else ""
    rates = f"{rate(serving['output_tok_s'])} output tok/s{sure}"
    if serving["stated"]:
        rates = f"{rate(serving['tok_s'])} tok/s"
    elif serving["input_tok_s"]:
        rates += f" with {rate(serving['input_tok_s'])} input tok/s"
    lines.append(Text.assemble((view["model"], "bold"), f": {rates} per machine at full load"))
    lines.append(Text(serving["origin"], style="dim"))
    for priced in view["machines"]:
        lines += [Text(""), *_priced_tables(priced, view, sources=sources, api_rows=api_rows)]
    if view["notes"]:
        lines.append(Text(""))
        lines += [Text(note, style="dim") for note in view["notes"]]
    return Group(*lines)


def _priced_tables(priced: Json, view: Json, *, sources: bool, api_rows: int | None) -> list[RenderableType]:
    cost = priced["cost"]
    full = priced["full_load"]
    lines: list[RenderableType] = []
    busy = cost["fixed_usd_h"] + cost["busy_usd_h"]
    head = Text.assemble((cost["name"], "bold cyan"), f"  {usd(busy)}/h at full load, {cost['kind']}")
    lines.append(head)
    if cost["date"]:
        lines.append(Text(f"listed {cost['date']}: {cost['source']}", style="dim"))
    elif cost["source"]:
        lines.append(Text(cost["source"], style="dim"))
    lines += [Text.from_markup(f"[bold yellow]{name}[/]: {CAVEATS[name]}") for name in priced["warnings"]]

    low_high = full["blended_interval_usd"]
    table = plain_table(
        "load",
        "machines",
        "USD per 1M tokens",
        *(["80 %"] if low_high else []),
        "new input",
        "output",
        "USD/month",
        "tokens/month",
        "x busy",
        left=["load"],
    )
    cards = [*priced["by_utilisation"]]
    if priced["at_load"] is not None:
        cards.insert(0, priced["at_load"])
    for position, card in enumerate(cards):
        stated = priced["at_load"] is not None and position == 0
        label = f"{percent(card['utilisation'])} {'as stated' if stated else 'of full load'}"
        table.add_row(
            Text(label, style="bold" if stated else ""),
            str(card["machines"]),
            Text(usd(card["blended_usd"]), style="bold green" if card["utilisation"] == 1 or stated else ""),
            *([" to ".join(usd(end) for end in card["blended_interval_usd"])] if low_high else []),
            usd(card["input_usd"]),
            usd(card["output_usd"]),
            usd(card["usd_month"]),
            count(card["tokens_month"]),
            f"{card['utilisation_tax']:.2f}",
        )
    lines += [table]
    if low_high:
        lines.append(Text("80 % intervals are from the throughput alone: prices are taken as given.", style="dim"))
    rows = priced["apis"]
    if rows:
        shown = rows if api_rows is None else _some_of_each(rows, api_rows)
        apis = plain_table(
            "API, same tokens", "model", "USD per 1M", "in", "out", "vs full load", "break-even tokens/month",
            "utilisation",
            left=["API, same tokens", "model"],
        )  # fmt: skip
        for entry in shown:
            crossing = entry["break_even"]
            apis.add_row(
                entry["api"],
                Text("the same", style="green") if entry["same_model"] else Text("another", style="yellow"),
                usd(entry["blended_usd_per_1m"]),
                usd(entry["input_usd_per_1m"]),
                usd(entry["output_usd_per_1m"]),
                f"{entry['blended_usd_per_1m'] / full['blended_usd']:.3g}x" if full["blended_usd"] else NONE,
                count(crossing["tokens_per_month"]) if crossing["verdict"] == "at" else crossing["verdict"],
                percent(crossing["utilisation"]) if crossing["verdict"] == "at" else NONE,
            )
        lines += [Text(""), apis]
        if len(shown) < len(rows):
            lines.append(Text(f"and {len(rows) - len(shown)} more (--all-apis)", style="dim"))
    rig = priced["rig"]
    if rig is not None:
        lines += [Text(""), *_rig_lines(rig, cost)]
    lines += [Text(note, style="dim") for note in priced["notes"]]
    if sources:
        lines += [Text(""), _source_table(priced, view)]
    return lines


def _some_of_each(rows: list[Json], most: int) -> list[Json]:
    same = [row for row in rows if row["same_model"]][:most]
    return same + [row for row in rows if not row["same_model"]]


def _rig_lines(rig: Json, cost: Json) -> list[RenderableType]:
    table = plain_table("owned machine", "value", left=["owned machine"])
    for key, unit in RIG_UNITS.items():
        table.add_row(key, f"{rig[key]:g} {unit}".rstrip())
    parts = plain_table("per hour at full load", "USD/h", left=["per hour at full load"])
    for name, value in cost["parts"].items():
        parts.add_row(name, usd(value))
    side = Columns([table, parts], padding=(0, 4))  # below one another where the terminal is too narrow
    notes: list[RenderableType] = [Text(rig["notes"], style="dim")] if rig["notes"] else []
    return [side, *notes]


def _source_table(priced: Json, view: Json) -> Table:
    table = plain_table(
        "figure", "value", "origin", left=["figure", "value", "origin"], title="Where the figures come from"
    )
    cost, serving = priced["cost"], view["serving"]
    table.add_row("output token/s", rate(serving["output_tok_s"]), serving["origin"])
    table.add_row("input token/s", rate(serving["input_tok_s"]), serving["origin"])
    table.add_row(
        "prefill share",
        percent(serving["prefill_share"]),
        "measured: prefill alone, same concurrency" if serving["prefill_share"] else "not measured",
    )
    table.add_row(
        "machine-hour", usd(cost["fixed_usd_h"] + cost["busy_usd_h"]), f"{cost['source']} {cost['date']}".strip()
    )
    for api in priced["apis"]:
        table.add_row(
            f"{api['api']}",
            f"{usd(api['input_usd_per_1m'])} in, {usd(api['output_usd_per_1m'])} out",
            f"listed: {api['source']}, {api['date']}",
        )
    return table
