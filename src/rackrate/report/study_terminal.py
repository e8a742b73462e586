"""Studies and comparisons as tables for a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from rackrate.report.format import NONE, between, count, figure, percent, usd
from rackrate.report.tables import plain_table

Json = dict[str, Any]

STYLES = {
    "reproduced": "green",
    "does not follow": "bold red",
    "cannot be checked": "yellow",
    "self-hosting": "bold green",
    "api": "bold cyan",
    "too close to call": "bold yellow",
    "not compared": "dim",
}
BAR_CELLS = 20


def study_tables(view: Json, *, inputs: bool = False) -> RenderableType:
    """A study: every claim with its verdict, then every question with its ranking."""
    lines: list[RenderableType] = [Text(view["title"], style="bold")]
    if view["source"]:
        lines.append(Text(view["source"], style="dim"))
    lines += [Text(f"warning: {warning}", style="yellow") for warning in view["warnings"]]
    if inputs and view["assumptions"]:
        lines += [Text(""), _inputs(view)]
    if view["claims"]:
        counts = view["claim_counts"]
        lines += [Text(""), _claims(view)]
        lines.append(Text(verdict_counts(counts), style="bold"))
    for question in view["questions"]:
        lines += [Text(""), *question_tables(question)]
    if view["questions"]:
        lines.append(
            Text(
                f"\n80 % intervals of {view['draws']:,} draws, seed {view['seed']}; prices in USD without "
                "taxes, of APIs per 1M tokens; "
                f"a month is {view['hours_per_month']:g} hours",
                style="dim",
            )
        )
    return Group(*lines)


def verdict_counts(counts: Json) -> str:
    """How many claims have which verdict.

    >>> verdict_counts({"reproduced": 1, "does not follow": 2, "cannot be checked": 0})
    '3 claims: 1 reproduced, 2 do not follow'
    """
    total = sum(counts.values())
    words = {"does not follow": "do not follow"}
    said = ", ".join(
        f"{number} {words.get(verdict, verdict) if number > 1 else verdict}"
        for verdict, number in counts.items()
        if number
    )
    return f"{total} claim{'s' if total != 1 else ''}: {said}"


def _inputs(view: Json) -> RenderableType:
    table = plain_table("input", "value", "80 %", "as written", "source", left=["input", "as written", "source"])
    for assumption in view["assumptions"]:
        value = figure(assumption["value"]["value"], assumption["unit"]) if assumption["value"] else "not known"
        shared = assumption["source"] is not None and assumption["source"] == view["source"]
        source = "as above" if shared else " ".join(part for part in (assumption["source"], assumption["date"]) if part)
        table.add_row(
            assumption["name"],
            value,
            between(assumption["value"], assumption["unit"]),
            assumption["text"],
            assumption["missing"] or source,
        )
    return table


def _claims(view: Json) -> RenderableType:
    table = plain_table("claim", "published", "computed", "verdict", "", left=["claim", "verdict", ""])
    for claim in view["claims"]:
        computed = claim["computed"]
        right = figure(computed["value"], claim["unit"]) if computed else NONE
        interval = between(computed, claim["unit"])
        remark = "; ".join(
            [*([interval] if interval else []), *claim["missing"], *([claim["why"]] if claim["why"] else [])]
        )
        table.add_row(
            claim["id"],
            published(claim),
            right,
            Text(claim["verdict"], style=STYLES[claim["verdict"]]),
            Text(f"\u201c{claim['says']}\u201d {remark}".rstrip(), style="dim"),
        )
    return table


def published(claim: Json) -> str:
    """The number as the sentence gives it."""
    mark = {"equal": "", "below": "<", "above": ">"}[claim["relation"]]
    value = claim["published"]
    if not isinstance(value, bool) and claim["unit"] != "yes/no":
        near = "~" if claim["relation"] == "equal" and claim["within"] >= 0.01 * abs(value) else ""
        return f"{mark}{near}{figure(float(value), claim['unit'])}"
    return f"{mark}{figure(bool(value), 'yes/no')}"


def question_tables(question: Json) -> list[RenderableType]:
    """A question: its verdict, the ranking, when it turns, and what it hangs on."""
    lines: list[RenderableType] = [Text(question["asks"], style="bold")]
    traffic = question["tokens_month"]
    volume = f"{count(traffic['value'])} tokens a month"
    if between(traffic, None):
        volume += f" ({count(traffic['low'])} to {count(traffic['high'])})"
    volume += f", {percent(question['input_share'])} of them input"
    if question["cached_share"]:
        volume += f" ({percent(question['cached_share'])} of that cached)"
    if question["peak_to_mean"] > 1:
        volume += f", peak {question['peak_to_mean']:.3g} x mean"
    lines.append(Text(f"{volume}; prices of {question['prices_as_of']}", style="dim"))
    uncertain = any(between(row[key], "USD") for row in question["rows"] for key in ("usd_month", "usd_per_1m"))
    spread = ["80 %"] if uncertain else []
    table = plain_table(
        "", "kind", "USD/month", *spread, "USD per 1M", *spread, "machines", "busy", "cheapest in",
        "price",
        left=["", "kind", "price"],
    )  # fmt: skip
    for row in question["rows"]:
        other = row["is_api"] and row["same_model"] is False
        month, per_1m = row["usd_month"], row["usd_per_1m"]
        table.add_row(
            Text(row["name"], style="dim" if other else "" if row["is_api"] else "bold"),
            "another model" if other else row["kind"],
            usd(month["value"]),
            *([between(month, "USD")] if uncertain else []),
            usd(per_1m["value"]),
            *([between(per_1m, "USD")] if uncertain else []),
            f"{row['machines']['value']:.0f}" if row["machines"] else NONE,
            percent(row["utilisation"]["value"]) if row["utilisation"] else NONE,
            percent(row["p_cheapest"]),
            row["price"],
        )
    lines.append(table)
    if question["p_self_cheaper"] is not None:
        own, api = question["compared"]
        verdict = question["verdict"]
        lines.append(
            Text.assemble(
                ("verdict: ", ""),
                (verdict, STYLES[verdict]),
                f" ({own} costs less than {'' if question['against'] else 'the cheapest API here, '}{api}, in "
                f"{percent(question['p_self_cheaper'])} of draws)",
            )
        )
    lines += [Text(sentence) for row in question["rows"] if (sentence := crossing_sentence(row))]
    lines += [Text(sentence, style="dim") for row in question["rows"] if (sentence := against_each(row))]
    lines += [
        Text(f"{row['name']}: {note}", style="yellow" if note.startswith("over") else "dim")
        for row in question["rows"]
        for note in row["notes"]
    ]
    lines += [Text(note, style="dim") for note in question["notes"]]
    if question["tornado"]:
        lines += _tornado(question)
    return lines


def crossing_sentence(row: Json) -> str:
    """When a machine costs what the API does, in words."""
    crossing = row["crossing"]
    if crossing is None:
        return ""
    against = crossing["against"]
    if crossing["verdict"] == "never":
        share = crossing["tokens_per_month"]["finite_share"]
        text = f"{row['name']}: never breaks even with {against}, however full it is"
        text += f" (it does in {percent(share)} of draws)" if share >= 0.001 else ""
    elif crossing["verdict"] == "always":
        text = f"{row['name']}: always cheaper than {against}"
    else:
        at = crossing["tokens_per_month"]
        high = "never" if at["high"] is None else count(at["high"])
        text = (
            f"{row['name']}: costs what {against} does at {count(at['value'])} tokens a month "
            f"(80 %: {count(at['low'])} to {high}), {percent(crossing['utilisation']['value'])} busy"
        )
        last = crossing["last_tokens_per_month"]
        if last and at["value"] and last > at["value"] * 1.001:
            text += f", for good from {count(last)}"
    if crossing["payback_months"] is not None:
        text += f"; payback {_months(crossing['payback_months'])}"
        discounted = crossing["payback_discounted_months"]
        if discounted != crossing["payback_months"]:
            text += f", discounted and with falling API prices {_months(discounted)}"
        life, months = crossing["life_months"], crossing["payback_months"]["value"]
        if life and months and months > life:
            text += f" (after its life of {life:.0f} months)"
    hybrid = crossing["hybrid"]
    if hybrid and hybrid["verdict"] == "self-hosted":
        text += "; best split: nothing at the API"
    if hybrid and hybrid["verdict"] == "api" and crossing["verdict"] == "at":
        text += "; best split at this volume: all at the API"
    if hybrid and hybrid["verdict"] == "hybrid":
        text += (
            f"; best split: {hybrid['machines']} machine{'s' if hybrid['machines'] > 1 else ''} for "
            f"{percent(hybrid['self_hosted_share'])} of the tokens, the API above: {usd(hybrid['usd'])} a month"
        )
        if (spread := between(crossing["hybrid_usd_month"], "USD")) != "":
            text += f" (80 %: {spread})"
    return text + "."


def against_each(row: Json) -> str:
    """A machine's break-even with every other API, in words."""
    others = [item for item in row["against"] if row["crossing"] is None or item["api"] != row["crossing"]["against"]]
    said = [
        f"{other['api']} {_from(other['tokens_per_month'])} ({percent(other['p_cheaper'])})"
        for other in others
        if other["tokens_per_month"] is not None or other["p_cheaper"] >= 0.001
    ]
    if not said:
        return ""
    return (
        f"{row['name']} costs less than {', '.join(said)}: from how many tokens a month one machine does, with all "
        "figures at their medians (in how many draws it does at this volume)."
    )


def _from(tokens: float | None) -> str:
    return "at no volume" if tokens is None else f"from {count(tokens)}"


def _months(estimate: Json) -> str:
    if estimate["value"] is None:
        return "never" + (f" (80 %: {estimate['low']:.0f} months to never)" if estimate["low"] is not None else "")
    spread = between({**estimate}, None)
    if spread:
        high = "never" if estimate["high"] is None else f"{estimate['high']:.1f}"
        return f"in {estimate['value']:.1f} months (80 %: {estimate['low']:.1f} to {high})"
    return f"in {estimate['value']:.1f} months"


def _tornado(question: Json) -> list[RenderableType]:
    own, api = question["compared"]
    chart = question["tornado"]
    widest = max((bar["swing"] for bar in chart["bars"]), default=0.0)
    table = plain_table("what it hangs on", "from", "to", "USD/month at each end", "", left=["what it hangs on", ""])
    for bar in chart["bars"][:8]:
        unit = bar["unit"]
        cells = max(1, round(BAR_CELLS * bar["swing"] / widest)) if widest else 0
        table.add_row(
            bar["name"] + ("" if bar["basis"].startswith("80") else " (+-20 %)"),
            _input(bar["low_input"], unit),
            _input(bar["high_input"], unit),
            f"{_signed(bar['at_low'])} .. {_signed(bar['at_high'])}",
            Text("\u2588" * cells, style="cyan"),
        )
    head = f"{own} less {api}: {difference(question)}"
    return [Text(head), table]


def difference(question: Json) -> str:
    """What the two that are compared are apart."""
    apart = question["difference_usd_month"]
    low, high, value = apart["low"], apart["high"], apart["value"]
    text = f"{_signed(value)} a month with all figures at their medians"
    if abs(high - low) > 1e-9 * max(abs(value), 1e-300):
        text += f" (80 %: {_signed(low)} to {_signed(high)})"
    return text


def _input(value: float, unit: str | None) -> str:
    """A figure, large ones short: 260 M token/month."""
    return f"{count(value)} {unit or ''}".rstrip() if abs(value) >= 1e7 else figure(value, unit)


def _signed(value: float) -> str:
    return ("-" if value < 0 else "+") + usd(abs(value))


def diff_tables(view: Json) -> RenderableType:
    """What another date changes, flipped verdicts first."""
    before, after = view["before"]["prices_as_of"], view["after"]["prices_as_of"]
    lines: list[RenderableType] = [
        Text(f"{view['title']}: prices of {before} against {after}", style="bold"),
        Text(f"{view['flipped']} of {len(view['changes'])} verdicts flipped", style="bold"),
    ]
    for change in view["changes"]:
        if not change["flipped"] and not change["figures"]:
            continue
        style = "bold red" if change["flipped"] else "dim"
        mark = "flipped" if change["flipped"] else "same verdict, other figures"
        lines.append(Text(f"\n{change['kind']} {change['id']}: {mark}", style=style))
        lines.append(Text(f"  {change['says']}", style="dim"))
        if change["flipped"]:
            lines += [Text(f"  before: {change['before']}"), Text(f"  after:  {change['after']}")]
        for name, was, now in change["figures"]:
            what = " per 1M tokens" if change["kind"] == "question" else ""
            ratio = f" (x{now / was:.3g})" if was and now else ""
            shown = (usd(was), usd(now)) if change["kind"] == "question" else (figure(was, None), figure(now, None))
            lines.append(Text(f"  {name}: {shown[0]} -> {shown[1]}{what}{ratio}"))
    same = sum(not change["flipped"] and not change["figures"] for change in view["changes"])
    if same:
        lines.append(Text(f"\n{same} unchanged", style="dim"))
    return Group(*lines)


def compare_tables(view: Json) -> RenderableType:
    """Machines and APIs for the same requests."""
    lines = question_tables(view)
    lines += [Text(remark, style="dim") for remark in view["remarks"]]
    lines.append(
        Text(
            f"80 % intervals of {view['draws']:,} draws, seed {view['seed']}; prices of APIs in USD per 1M tokens",
            style="dim",
        )
    )
    return Group(*lines)
