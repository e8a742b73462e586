"""Several runs of the same workload side by side: throughput, latency, price, and the ratio to a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rackrate.app.side_by_side import SideBySide
from rackrate.report.view import pricing_view, run_view

SCHEMA = "rackrate.comparison/2"
BASELINE = "naive transformers"
"""The engine that others are set against where it is among them; otherwise the slowest is."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Compared:
    """One run, by what its outputs already say of it."""

    label: str
    directory: str
    run: Json
    """A run view."""
    pricing: Json | None
    """A pricing view; None where it cannot be priced."""
    quality: Json | None = None
    """What its number format lost (a row of `rackrate quality`); None where nobody measured it."""
    failure: str | None = None
    """Why there is no figure, or why there are fewer than asked for."""


def comparison_view(compared: Sequence[Compared], failures: Sequence[tuple[str, str]] = ()) -> Json:
    """Rows and ratios.

    Args:
        compared: runs of the same workload.
        failures: engines that could not be measured at all, and why.
    """
    rows = [_row(comparison) for comparison in compared]
    served = [row for row in rows if row["output_tok_s"]]
    baseline = next((row for row in served if row["engine"] == BASELINE), None)
    if baseline is None and served:
        baseline = min(served, key=lambda row: row["output_tok_s"])
    for row in rows:
        row["ratio"] = row["output_tok_s"] / baseline["output_tok_s"] if baseline and row["output_tok_s"] else None
    return {
        "schema": SCHEMA,
        "workload": compared[0].run["provenance"]["workload"] if compared else None,
        "machine": compared[0].run["provenance"]["machine"]["description"] if compared else None,
        "baseline": baseline["label"] if baseline else None,
        "rows": rows,
        "failures": [{"engine": engine, "why": why} for engine, why in failures],
        "notes": _notes(compared, rows),
    }


def _row(compared: Compared) -> Json:
    facts, best = compared.run["provenance"], compared.run["saturation"]
    level = next((level for level in compared.run["levels"] if best and level["index"] == best["level"]), None)
    machines: list[Json] = compared.pricing["machines"] if compared.pricing else []
    return {
        "label": compared.label,
        "run": compared.directory,
        "created": facts["created"],
        "origin": facts["origin"],
        "engine": facts["engine"]["name"],
        "version": facts["engine"]["version"],
        "settings": facts["engine"]["settings"],
        "weight_format": facts["model"]["weight_format"],
        "concurrency": level["concurrency"] if level else None,
        "output_tok_s": level["output_tok_s"] if level else None,
        "output_tok_s_half_width": level["output_tok_s_half_width"] if level else None,
        "lower_bound": best["lower_bound"] if best else None,
        "ttft": level["ttft"] if level else None,
        "tpot": level["tpot"] if level else None,
        "caveats": level["caveats"] if level else [],
        "other_cpu_share": _other(compared.run),
        "peak_memory_bytes": facts["engine"]["peak_memory_bytes"],
        "prices": [
            {
                "machine": machine["cost"]["name"],
                "kind": machine["cost"]["kind"],
                "source": machine["cost"]["source"],
                "usd_h": machine["full_load"]["usd_h"],
                "blended_usd": machine["full_load"]["blended_usd"],
                "output_usd": machine["full_load"]["output_usd"],
            }
            for machine in machines
        ],
        "levels": [
            {
                "concurrency": level["concurrency"],
                "output_tok_s": level["output_tok_s"],
                "output_tok_s_half_width": level["output_tok_s_half_width"],
                "ttft_p50_s": level["ttft"]["p50"] if level["ttft"] else None,
                "tpot_p50_s": level["tpot"]["p50"] if level["tpot"] else None,
                "caveats": level["caveats"],
            }
            for level in compared.run["levels"]
            if level["kind"] == "closed"
        ],
        "quality": compared.quality,
        "failure": compared.failure,
    }


def _other(run: Json) -> float | None:
    """The largest share of the CPUs that other processes took at any level."""
    shares = [level["other_cpu_share"] for level in run["levels"] if level.get("other_cpu_share") is not None]
    return max(shares, default=None)


def _notes(compared: Sequence[Compared], rows: Sequence[Json]) -> list[str]:
    notes: list[str] = []
    works = {
        (w["input_tokens"], w["output_tokens"], w["endpoint"])
        for w in (c.run["provenance"]["workload"] for c in compared)
    }
    if len(works) > 1:
        notes.append(f"The runs had different workloads, so their ratios mean little: {sorted(works)}.")
    machines = {comparison.run["provenance"]["machine"]["description"] for comparison in compared}
    if len(machines) > 1:
        notes.append(f"The runs were on different machines: {'; '.join(sorted(machines))}.")
    formats = {row["weight_format"] for row in rows if row["weight_format"]}
    if len(formats) > 1:
        notes.append("Number formats differ by row: a cheaper format may answer worse, which `quality` measures.")
    models = {comparison.run["provenance"]["model"]["catalogue_id"] for comparison in compared}
    if len(models) > 1:
        notes.append("The rows are different models.")
    return notes


def side_by_side_view(answer: SideBySide) -> Json:
    """The view of runs that were set side by side."""
    rows = [
        Compared(
            run.label,
            str(run.directory),
            run_view(run.loaded.run, run.loaded.levels, run.loaded.best),
            pricing_view(run.pricing) if run.pricing is not None else None,
            run.quality,
            run.failure,
        )
        for run in answer.runs
    ]
    return comparison_view(rows, answer.failures)
