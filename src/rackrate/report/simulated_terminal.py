"""Loads of which only aggregates were kept, as a table for a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from rackrate.report.format import NONE, ms, percent, rate
from rackrate.report.tables import plain_table

Json = dict[str, Any]


def aggregate_tables(view: Json) -> RenderableType:
    """A row per load, and how long it took."""
    table = plain_table(
        "load", "output tok/s", "TTFT p50", "p95", "p99 ms", "TPOT p50", "p95", "p99 ms",
    )  # fmt: skip
    lines: list[RenderableType] = [table, Text("")]
    for level in view["levels"]:
        mark: list[str] = []
        if level["slo_met"] is not None:
            mark.append(f"{percent(level['attainment'])} within the SLO" + ("" if level["slo_met"] else ", missed"))
        if level["overloaded"]:
            mark.append("overloaded")
        table.add_row(
            f"{rate(level['rate'])}/s",
            rate(level["output_tok_s"]),
            *_three(level["ttft"]),
            *_three(level["tpot"]),
        )
        lost = f"; {level['preemptions']:,} preemptions" if level["preemptions"] else ""
        lines.append(
            Text(
                f"{rate(level['rate'])}/s: {rate(level['mean_in_flight'])} in flight on average, replicas "
                f"{percent(level['busy_share'])} busy" + "".join(f"; {item}" for item in mark),
                style="" if level["slo_met"] in {None, True} and not level["overloaded"] else "yellow",
            )
        )
        lines.append(
            Text(
                f"  {level['arrivals']}: {level['requests']:,} requests "
                f"in {level['took_s']:.1f} s ({level['requests'] / max(level['took_s'], 1e-9):,.0f}/s, "
                f"drawing them included){lost}",
                style="dim",
            )
        )
    return Group(*lines)


def _three(quantiles: Json | None) -> tuple[str, str, str]:
    if not quantiles:
        return NONE, NONE, NONE
    return ms(quantiles["p50"]), ms(quantiles["p95"]), ms(quantiles["p99"])
