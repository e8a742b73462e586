"""Traffic and fleets as tables for a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from rackrate.metrics.summary import CAVEATS
from rackrate.report.format import NONE, count, percent, rate, usd
from rackrate.report.tables import plain_table

Json = dict[str, Any]

_BARS = " ▁▂▃▄▅▆▇█"


def money(value: float | None, currency: Json, *, code: bool = False) -> str:
    """USD in the currency that is shown.

    >>> money(10.8, {"code": "EUR", "usd_per_unit": 1.08})
    '10.00 EUR'
    >>> money(10.8, {"code": "USD", "usd_per_unit": 1.0})
    '$10.80'
    """
    if value is None:
        return NONE
    if currency["code"] == "USD" and currency["usd_per_unit"] == 1:
        return usd(value) + (" USD" if code else "")
    return f"{usd(value / currency['usd_per_unit']).replace('$', '')} {currency['code']}"


def span(seconds: float | None) -> str:
    """A length of time.

    >>> span(90), span(7200), span(31536000), span(2.5), span(None)
    ('1.5 min', '2 h', '365 days', '2.5 s', '-')
    """
    if seconds is None:
        return NONE
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size * (2 if size == 86_400 else 1):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def bars(values: list[float | None]) -> str:
    """A line of bars from 0 to the largest value; a dot where there is none.

    >>> bars([0.0, 1.0, 2.0, None])
    ' ▄█.'
    """
    most = max((value for value in values if value is not None), default=0.0)
    return "".join("." if value is None else _BARS[round(value / most * 8)] if most else _BARS[0] for value in values)


def traffic_lines(view: Json) -> list[RenderableType]:
    """A summary of traffic, without its heading."""
    table = plain_table("traffic", "value", left=["traffic"])

    def row(name: str, text: str) -> None:
        if text != NONE:
            table.add_row(name, text)

    row("lasts", f"{span(view['duration_s'])} in steps of {span(view['step_s'])}")
    row("requests", count(view["requests"]))
    if view["mean_request_s"] is not None:
        row("mean rate", f"{rate(view['mean_request_s'])}/s ({count(view['requests_per_month'])} a month)")
        row("busiest step", f"{rate(view['peak_request_s'])}/s")
    if view["peak_over_mean"] is not None:
        row("peak over mean", f"{view['peak_over_mean']:.2f} by step")
        row("99 % of the time", f"below {view['p99_over_mean']:.2f} x the mean")
    if view["hour_peak_over_mean"] is not None:
        row("busiest hour", f"{view['hour_peak_over_mean']:.2f} x the mean")
    if view["idle_share"]:
        row("steps without any", percent(view["idle_share"]))
    for name, key in (("input", "input"), ("output", "output")):
        if view[f"mean_{key}_tokens"] is not None:
            lengths = view[f"{key}_lengths"]
            spread = (
                f" (p50 {lengths['p50']:.0f}, p90 {lengths['p90']:.0f}, p99 {lengths['p99']:.0f})" if lengths else ""
            )
            row(f"{name} tokens a request", f"{view[f'mean_{key}_tokens']:.0f}{spread}")
    row("input tokens", count(view["input_tokens"]))
    if view["cached_share"] is not None:
        row("of them cached", percent(view["cached_share"]))
    row("output tokens", count(view["output_tokens"]))
    hours = view["by_hour_of_day"]
    if sum(1 for value in hours if value is not None) > 1:
        row(f"{view['demand_is']} by hour, 0 to 23", bars(hours))
    return [table]


def traffic_tables(view: Json) -> RenderableType:
    """What traffic is like."""
    lines: list[RenderableType] = [Text(view["origin"], style="bold"), *traffic_lines(view)]
    if not view["start_known"]:
        lines.append(Text("The source does not say at what hour it begins: it is taken as Monday 00:00.", style="dim"))
    lines += [Text(note + ".", style="dim") for note in view["notes"]]
    return Group(*lines)


def fleet_tables(view: Json, *, sources: bool = False) -> RenderableType:
    """The shapes of a fleet, the best one's machines and rate card, and what stands against it."""
    money_in = view["currency"]
    traffic, several = view["traffic"], len(view["models"]) > 1
    head = Text.assemble(
        (f"{view['mean_load_replicas']:.2f} {'slots' if several else 'replicas'}", "bold"),
        f" busy on average, {view['peak_load_replicas']:.2f} at the peak: "
        + (f"{rate(traffic['mean_request_s'])} requests/s" if traffic["mean_request_s"] is not None else "tokens")
        + f" on average over {span(traffic['duration_s'])}",
    )
    lines: list[RenderableType] = [head]
    lines.append(Text(f"traffic: {traffic['origin']}", style="dim"))
    for model in view["models"]:
        replica = model["replica"]
        whose = f" of {model['name']}, {model['slots']} slot{'s' if model['slots'] > 1 else ''}" if several else ""
        lines.append(Text(f"one replica{whose}: {_capacity(replica)} ({replica['origin']})", style="dim"))
        lines += [Text.from_markup(f"[bold yellow]{name}[/]: {CAVEATS[name]}") for name in replica["caveats"]]

    lines += [Text(""), _shapes_table(view), Text("")]
    best = view["shapes"][0]
    lines += [_uses_table(best, money_in), Text(""), _card_table(best, view)]
    if several:
        lines += [Text(""), _models_table(best, view)]
    if view["apis"]:
        lines += [Text(""), _apis_table(view)]
    days = [point["load"] for point in view["mean_day"]]
    if len(days) > 1:
        every = max(1, len(days) // 48)
        lines += [
            Text(""),
            Text.assemble(("load, mean day  ", "dim"), bars(days[::every])),
            Text.assemble(("replicas held   ", "dim"), bars([point["held"] for point in view["mean_day"]][::every])),
        ]
    lines += [Text(""), *[Text(note, style="dim") for note in _policy_notes(view)]]
    lines += [Text(note if note.endswith(".") else note + ".", style="dim") for note in view["notes"]]
    if sources:
        table = plain_table("offer", "USD/h", "origin", left=["offer", "origin"], title="Where the prices come from")
        seen: set[str] = set()
        for use in (use for shape in view["shapes"] for use in shape["uses"]):
            if use["name"] not in seen:
                seen.add(use["name"])
                table.add_row(
                    use["name"], usd(use["fixed_usd_h"] + use["busy_usd_h"]), f"{use['source']} {use['date']}".strip()
                )
        lines += [Text(""), table]
    return Group(*lines)


def _shapes_table(view: Json) -> RenderableType:
    money_in = view["currency"]
    sure = any(shape["usd_month_interval"] for shape in view["shapes"])
    tokens = view["shapes"][0]["card"]["blended_usd_per_1m"] is not None
    price = "per 1M tokens" if tokens else "per 1k requests"
    table = plain_table(
        "shape", "a month", *(["80 %"] if sure else []), price, "busy", "machines mean", "peak", "headroom",
        "late", "longest wait", "", left=["shape", ""],
    )  # fmt: skip
    for position, shape in enumerate(view["shapes"]):
        card, interval, bold = shape["card"], shape["usd_month_interval"], "bold" if position == 0 else ""
        mark = "<- cheapest in time" if position == 0 and shape["within_limit"] else ""
        if not shape["within_limit"]:
            mark = "too many late"
        between = f"{money(interval[0], money_in)} to {money(interval[1], money_in)}" if interval else NONE
        whole = shape["kind"] == "mix" and len(shape["uses"]) > 1
        table.add_row(
            Text("mix of all" if whole else shape["name"], style=bold),
            Text(money(shape["usd_month"], money_in), style="bold green" if position == 0 else ""),
            *([between] if sure else []),
            money(card["blended_usd_per_1m"] if tokens else card["usd_per_1k_requests"], money_in),
            percent(shape["utilisation"]),
            f"{sum(use['mean_machines'] for use in shape['uses']):.2f}",
            f"{shape['peak_machines']:.0f}",
            f"{shape['headroom']:.3g}",
            percent(shape["late_share"]),
            span(shape["longest_wait_s"]) if shape["longest_wait_s"] is not None else "never served",
            Text(mark, style="green" if mark.startswith("<-") else "yellow"),
        )
    return table


def _capacity(replica: Json) -> str:
    words: list[str] = []
    if replica["request_s"] is not None:
        words.append(f"{rate(replica['request_s'])} requests/s")
    if replica["input_tok_s"] is not None and replica["output_tok_s"] is not None:
        words.append(f"{rate(replica['input_tok_s'])} new input tok/s or {rate(replica['output_tok_s'])} output tok/s")
    if replica["relative_half_width"] is not None:
        words.append(f"+-{replica['relative_half_width'] * 100:.1f} % (95 %)")
    return ", ".join(words)


def _uses_table(shape: Json, money_in: Json) -> RenderableType:
    table = plain_table(
        "machines of the best shape", "", "per hour", "mean", "peak", "machine-hours", "busy", "over all",
        left=["machines of the best shape", ""],
    )  # fmt: skip
    for use in shape["uses"]:
        kind = "always there" if use["committed"] or shape["kind"] == "fixed" else "as needed"
        table.add_row(
            use["name"],
            kind,
            money(use["fixed_usd_h"] + use["busy_usd_h"], money_in),
            f"{use['mean_machines']:.2f}",
            f"{use['peak_machines']:.0f}",
            f"{use['machine_hours']:,.0f}",
            percent(use["busy_machine_hours"] / use["machine_hours"]) if use["machine_hours"] else NONE,
            money(use["usd"], money_in),
        )
    return table


def _card_table(shape: Json, view: Json) -> RenderableType:
    card, money_in = shape["card"], view["currency"]
    months = view["traffic"]["duration_s"] / 3600 / view["plan"]["hours_per_month"]
    table = plain_table("rate card", "per 1M tokens", "busy only", "tokens", "a month", left=["rate card"])
    tokens = card["tokens"]
    table.add_row(
        Text("blended", style="bold"), Text(money(card["blended_usd_per_1m"], money_in), style="bold green"),
        money(card["marginal_usd_per_1m"], money_in), count(tokens["all"]), money(shape["usd_month"], money_in),
    )  # fmt: skip
    for name, key, number in (
        ("new input", "input", tokens["new_input"]),
        ("cached input", "cached", tokens["cached"]),
        ("output", "output", tokens["output"]),
    ):
        part = card[key]
        if part is not None:
            table.add_row(
                name, money(part["usd_per_1m"], money_in), money(part["marginal_usd_per_1m"], money_in), count(number),
                money(float(part["usd"]) / months, money_in),
            )  # fmt: skip
    for name, key in (("of it busy", "busy_usd"), ("idle: the utilisation tax", "idle_usd"), ("labour", "labour_usd")):
        if float(card[key]) or key != "labour_usd":
            table.add_row(Text(name, style="dim"), "", "", "", money(float(card[key]) / months, money_in))
    return table


def _apis_table(view: Json) -> RenderableType:
    money_in = view["currency"]
    table = plain_table(
        "API, same tokens", "model", "a month", "per 1M tokens", "x the best shape", left=["API, same tokens", "model"]
    )
    for api in view["apis"]:
        table.add_row(
            api["api"],
            Text("the same", style="green") if api["same_model"] else Text("another", style="yellow"),
            money(api["usd_month"], money_in),
            money(api["usd_per_1m"], money_in),
            f"{api['over_best']:.3g}" if api["over_best"] is not None else NONE,
        )
    return table


def _models_table(shape: Json, view: Json) -> RenderableType:
    money_in = view["currency"]
    months = view["traffic"]["duration_s"] / 3600 / view["plan"]["hours_per_month"]
    table = plain_table(
        "model", "slots", "replicas mean", "peak", "a month", "per 1M tokens", "per 1k requests", "late", left=["model"]
    )
    for model in shape["models"]:
        table.add_row(
            model["name"], str(model["slots"]), f"{model['mean_replicas']:.2f}", str(model["peak_replicas"]),
            money(float(model["usd"]) / months, money_in), money(model["usd_per_1m"], money_in),
            money(model["usd_per_1k_requests"], money_in), percent(model["late_share"]),
        )  # fmt: skip
    return table


def _policy_notes(view: Json) -> list[str]:
    policy, shape = view["policy"], view["shapes"][0]
    notes = [
        f"Fixed: sized for the peak x {policy['headroom']:g}. Following the load: a replica serves "
        f"{span(policy['cold_start_s'])} after it is asked for, goes {span(policy['scale_down_s'])} after it was last "
        f"wanted; at least {policy['floor']}, {policy['spares']} spare{'' if policy['spares'] == 1 else 's'}; headroom "
        f"{shape['headroom']:.3g}.",
        f"Late: waited more than {span(policy['max_wait_s'])} for a replica to be free; a shape may have "
        f"{percent(view['plan']['late_limit'])} of them. Waiting within a replica is in its capacity.",
    ]
    if view["currency"]["code"] != "USD":
        notes.append(f"Shown in {view['currency']['code']} at the stated {view['currency']['usd_per_unit']:g} USD.")
    if not view["shapes"][0]["within_limit"]:
        notes.append(
            "No shape serves in time"
            + (", with whatever headroom up to 4: allow more waiting (--max-wait, --late-limit)."
               if view["plan"]["raise_headroom"]
               else ": raise --headroom (or --headroom auto), or allow more waiting (--max-wait, --late-limit).")
        )  # fmt: skip
    if shape["unserved_share"] > 0:
        notes.append(f"{percent(shape['unserved_share'])} of the work was still waiting at the end.")
    return notes
