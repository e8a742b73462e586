"""A run and its pricing as Markdown, for a pull request or a wiki."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rackrate.metrics.summary import CAVEATS
from rackrate.report.format import NONE, RIG_UNITS, count, load_label, ms, percent, rate, usd

Json = dict[str, Any]


def markdown_report(run: Json, pricing: Json) -> str:
    """The same facts as the HTML page, without the charts."""
    facts = run["provenance"]
    lines = [f"# {_cell(pricing['model'])}: what a million tokens costs", ""]
    for machine in pricing["machines"]:
        full = machine["full_load"]
        lines.append(f"- **{usd(full['blended_usd'])} per 1M tokens** at full load on {_cell(machine['cost']['name'])}")
    lines += ["", f"{_cell(pricing['serving']['origin'])}.", "", "## Load", ""]
    rows = [
        [
            load_label(level),
            rate(level["output_tok_s"]),
            rate(level["output_tok_s_half_width"]),
            rate(level["input_tok_s"]),
            ms(level["ttft"]["p50"]) if level["ttft"] else NONE,
            ms(level["ttft"]["p95"]) if level["ttft"] else NONE,
            ms(level["tpot"]["p50"]) if level["tpot"] else NONE,
            level["requests"],
            sum(level["failed"].values()),
            ", ".join(level["caveats"]),
        ]
        for level in run["levels"]
    ]
    lines += _table(
        [
            "in flight",
            "output tok/s",
            "+-95 %",
            "input tok/s",
            "TTFT p50 ms",
            "TTFT p95 ms",
            "TPOT p50 ms",
            "requests",
            "failed",
            "notes",
        ],
        rows,
    )
    for machine in pricing["machines"]:
        cost = machine["cost"]
        lines += [
            "",
            f"## {_cell(cost['name'])}",
            "",
            f"{usd(cost['fixed_usd_h'] + cost['busy_usd_h'])}/h at full load, {cost['kind']}; "
            f"{_cell(cost['source'])} {cost['date']}".rstrip(),
            "",
        ]
        lines += [f"> **{name}**: {CAVEATS[name]}" for name in machine["warnings"]] + (
            [""] if machine["warnings"] else []
        )
        cards = ([machine["at_load"]] if machine["at_load"] else []) + machine["by_utilisation"]
        lines += _table(
            ["load", "machines", "USD per 1M", "80 %", "new input", "output", "USD/month", "tokens/month"],
            [
                [
                    percent(c["utilisation"]),
                    c["machines"],
                    usd(c["blended_usd"]),
                    " to ".join(usd(end) for end in c["blended_interval_usd"]) if c["blended_interval_usd"] else NONE,
                    usd(c["input_usd"]),
                    usd(c["output_usd"]),
                    usd(c["usd_month"]),
                    count(c["tokens_month"]),
                ]
                for c in cards
            ],
        )
        lines += [""]
        lines += _table(
            ["API", "model", "USD per 1M, same tokens", "break-even tokens/month", "utilisation"],
            [
                [
                    api["api"],
                    "the same" if api["same_model"] else "another",
                    usd(api["blended_usd_per_1m"]),
                    count(api["break_even"]["tokens_per_month"])
                    if api["break_even"]["verdict"] == "at"
                    else api["break_even"]["verdict"],
                    percent(api["break_even"]["utilisation"]) if api["break_even"]["verdict"] == "at" else NONE,
                ]
                for api in machine["apis"]
            ],
        )
        if machine["rig"]:
            rows = [[key, f"{machine['rig'][key]:g} {unit}".rstrip()] for key, unit in RIG_UNITS.items()]
            lines += ["", *_table(["owned machine", "value"], rows)]
        lines += ["", *(f"- {_cell(note)}" for note in machine["notes"])]
    lines += ["", "## Notes", "", *(f"- {_cell(note)}" for note in pricing["notes"])]
    lines += [
        "",
        "## Definitions",
        "",
        *(f"- **{_cell(name)}**: {_cell(text)}" for name, text in run["definitions"].items()),
    ]
    lines += ["", "## Provenance", ""]
    engine, model, machine = facts["engine"], facts["model"], facts["machine"]
    pairs = [
        ("command", f"`{facts['command']}`"),
        ("created", facts["created"]),
        ("rackrate", facts["rackrate"]),
        ("engine", f"{engine['name']} {engine['version'] or ''} at {engine['url'] or 'a URL not stated'}"),
        (
            "model",
            f"{model['requested']} {model['weight_format'] or ''}"
            + (f" SHA-256 {model['weights_sha256']}" if model["weights_sha256"] else ""),
        ),
        ("machine", f"{machine['description']}; {machine['system'] or ''}"),
    ]
    lines += [f"- {name}: {_cell(str(value)).strip()}" for name, value in pairs]
    return "\n".join(lines).rstrip() + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(" --- " for _ in head) + "|"]
    lines += ["| " + " | ".join(_cell(str(value)) for value in row) + " |" for row in rows]
    return lines


def _cell(text: str) -> str:
    """Text that cannot break a table or become HTML."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
