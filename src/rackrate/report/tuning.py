"""What a search for settings found: as plain values, and as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from rackrate.report.format import NONE, rate, usd
from rackrate.report.tables import plain_table
from rackrate.tuning.search import Tuned

SCHEMA = "rackrate.tune/1"
SHOWN = 12
"""Trials that are listed; all are in the JSON."""

Json = dict[str, Any]


def tuning_view(tuned: Tuned, facts: Mapping[str, Any], prices: Mapping[str, Any] | None) -> Json:
    """Everything that a search found.

    Args:
        tuned: the search's result.
        facts: engine, model, machine, workload, directory: what it was about.
        prices: USD per 1M tokens of the defaults and of the winner on a machine; None where it has no price.
    """
    return {
        "schema": SCHEMA,
        **facts,
        "verdict": tuned.verdict,
        "default": tuned.default,
        "best": tuned.best,
        "changed": {name: value for name, value in tuned.best.items() if value != tuned.default[name]},
        "default_tok_s": list(tuned.default_tok_s),
        "best_tok_s": list(tuned.best_tok_s),
        "gain": tuned.gain,
        "gain_interval_80": tuned.gain_interval,
        "worth": [asdict(effect) for effect in tuned.worth],
        "alone": [asdict(trial) for trial in tuned.alone],
        "prices": prices,
        "ended": tuned.ended,
        "trials": [asdict(trial) for trial in tuned.trials],
    }


def tuning_tables(view: Json) -> RenderableType:
    """The verdict, what each setting was worth, and the best trials."""
    lines: list[RenderableType] = [Text(f"{view['engine']}, {view['model']} | {view['machine']}", style="dim")]
    lines.append(Text(sentence(view), style="bold"))
    if view["prices"]:
        price = view["prices"]
        before, after = usd(price["default_usd_per_1m"]), usd(price["best_usd_per_1m"])
        where = f"{price['machine']} at {price['usd_h']} USD/h"
        these = f", {after} with these" if view["changed"] else ""
        lines.append(Text(f"USD per 1M tokens at full load on {where}: {before} with the defaults{these}."))
    if view["worth"]:
        table = plain_table("setting", "best", "default", "without it, tok/s", "worth", left=["setting"])
        for effect in view["worth"]:
            gain = effect["gain"]
            table.add_row(
                effect["name"], str(effect["value"]), str(effect["default"]), rate(effect["without_tok_s"]),
                f"{gain:+.1%}" if gain is not None else NONE,
            )  # fmt: skip
        lines += [Text(""), table]
        lines.append(Text("worth: the winner against itself with that setting at its default, one measurement each "
                          "unless it is the only one; they need not add up.", style="dim"))  # fmt: skip
    elif view["alone"]:
        lines += [Text(""), *_alone(view)]
    trials = sorted(view["trials"], key=lambda trial: -(trial["result"]["output_tok_s"] or 0.0))
    table = plain_table(
        "trial", "output tok/s", "in flight", "kind", "changes", "note", left=["kind", "changes", "note"]
    )
    for trial in trials[:SHOWN]:
        changes = [f"{k}={v}" for k, v in trial["configuration"].items() if v != view["default"][k]]
        result = trial["result"]
        table.add_row(
            str(trial["number"]), rate(result["output_tok_s"]), str(result["concurrency"] or NONE), trial["kind"],
            " ".join(changes) or "the defaults", result["note"] or "",
        )  # fmt: skip
    lines += [Text(""), table]
    if len(trials) > SHOWN:
        lines.append(Text(f"{len(trials) - SHOWN} more are in {view['directory']}", style="dim"))
    disturbed = sum(trial["result"]["disturbed"] for trial in trials)
    if disturbed:
        words = f"{disturbed} trials were disturbed by other processes and do not count"
        lines.append(Text(f"{words}: leave the machine alone while it is tuned.", style="yellow"))
    failed = [trial for trial in trials if trial["result"]["output_tok_s"] is None]
    if failed:
        lines.append(
            Text(f"{len(failed)} trials gave no figure, such as: {failed[0]['result']['note']}", style="yellow")
        )
    return Group(*lines)


def _alone(view: Json) -> list[RenderableType]:
    """Changes of one setting against the defaults, where the defaults were best."""
    defaults: list[float] = view["default_tok_s"]
    table = plain_table("setting", "default", "changed to", "output tok/s", "effect", left=["setting"])
    for trial in view["alone"]:
        table.add_row(
            trial["name"], str(view["default"][trial["name"]]), str(trial["value"]),
            ", ".join(rate(figure) for figure in trial["output_tok_s"]), f"{trial['gain']:+.1%}",
        )  # fmt: skip
    figures = ", ".join(rate(figure) for figure in defaults)
    words = f"effect: that setting changed alone, against the mean of the defaults ({figures} tok/s)"
    if len(defaults) > 1:
        spread = max(defaults) / min(defaults) - 1
        words += f", whose own measurements are {spread:.0%} apart: smaller effects are none"
    return [table, Text(f"{words}.", style="dim")]


def sentence(view: Json) -> str:
    """Whether the defaults were beaten, and by how much."""
    gain, interval = view["gain"], view["gain_interval_80"]
    sure = f" (80 % interval {interval[0]:+.1%} to {interval[1]:+.1%})" if interval else ""
    changed = ", ".join(f"{name} {value}" for name, value in view["changed"].items())
    if not view["default_tok_s"]:
        return "Nothing can be said: other processes disturbed every measurement of the defaults."
    match view["verdict"]:
        case "better":
            return f"The defaults were beaten by {gain:.1%}{sure}: {changed}."
        case "not better":
            return f"The defaults were not beaten: what looked best was {gain:+.1%}{sure} when measured again in turn."
        case "unsure" if gain is not None:
            return (
                f"Whether the defaults were beaten is not sure: {gain:+.1%}{sure} with {changed}; give it more minutes."
            )
        case "unsure":
            return f"{changed} looked best, but there was no time to measure it against the defaults in turn."
        case _ if any(
            trial["kind"] == "final" and trial["configuration"] != view["default"] for trial in view["trials"]
        ):
            return "The defaults were not beaten: what had looked best fell behind them when both were measured again."
        case _:
            return "The defaults were not beaten: nothing that was tried served more."
