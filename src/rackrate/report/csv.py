"""A run as CSV: one row per load and machine, SI units and USD, the unit in the column's name."""

from __future__ import annotations

import csv
import io
from typing import Any

from rackrate.units import usd_per_million

Json = dict[str, Any]

_PLAIN = (
    "concurrency", "requests", "window_s", "output_tok_s", "output_tok_s_half_width", "input_tok_s", "cached_tok_s",
    "request_s",
)  # fmt: skip


def csv_report(run: Json, pricing: Json) -> str:
    """Rows of a run's levels with what a million tokens costs at each on every machine that was priced."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    quantiles = [f"{metric}_{point}_s" for metric in ("ttft", "tpot", "e2e") for point in ("p50", "p95", "p99")]
    writer.writerow(
        ["model", "kind", *_PLAIN, "failed", *quantiles, "caveats", "machine", "usd_h", "usd_per_1m_tokens"]
    )
    for level in run["levels"]:
        for machine in pricing["machines"]:
            cost = machine["cost"]
            usd_h = cost["fixed_usd_h"] + cost["busy_usd_h"]
            tok_s = (level["output_tok_s"] or 0.0) + (level["input_tok_s"] or 0.0)
            row: list[Any] = [
                pricing["model"],
                level["kind"],
                *(level[name] for name in _PLAIN),
                sum(level["failed"].values()),
            ]
            for metric in ("ttft", "tpot", "e2e"):
                row += [level[metric][point] if level[metric] else None for point in ("p50", "p95", "p99")]
            row += [
                " ".join(level["caveats"]),
                cost["name"],
                usd_h,
                usd_per_million(usd_h, tok_s) if tok_s else None,
            ]
            writer.writerow(row)
    return text.getvalue()
