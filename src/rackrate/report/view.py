"""What every output shows, as plain JSON-able values: SI units, USD, None for no data. docs/json.md describes it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rackrate.app.measuring.measurement import Measured
from rackrate.app.pricing import PricedRun
from rackrate.app.runs import LoadedRun, summarised
from rackrate.economics.hardware import describe
from rackrate.economics.pricing import Comparison, Priced, Pricing
from rackrate.economics.ratecard import RateCard, Serving
from rackrate.metrics.summary import CAVEATS, DEFINITIONS, LevelSummary, Saturation
from rackrate.runs.records import Run
from rackrate.runs.statuses import FAULTS

SCHEMA_RUN = "rackrate.run-summary/2"
SCHEMA_PRICING = "rackrate.pricing/2"

SCHEMA_REPORT = "rackrate.report/1"

Json = dict[str, Any]


def run_view(run: Run, levels: list[LevelSummary], best: Saturation | None) -> Json:
    """A run's provenance and the metrics of its levels."""
    header = run.header
    return {
        "schema": SCHEMA_RUN,
        "state": header.state,
        "stopped_because": header.stopped_because,
        "provenance": {
            "origin": header.mode,
            "created": header.created,
            "command": header.command,
            "rackrate": header.rackrate_version,
            "python": header.python_version,
            "model": header.model.model_dump(),
            "engine": header.engine.model_dump(),
            "machine": {**header.machine.model_dump(), "description": describe(header.machine)},
            "workload": header.workload.model_dump(),
            "imported": header.imported.model_dump() if header.imported is not None else None,
        },
        "requests": {
            "finished": sum(level.requests for level in levels),
            "failed": _sum_failed(levels),
            "torn_journal_lines": run.torn_lines,
        },
        "levels": [level_view(level) for level in levels],
        "saturation": None
        if best is None
        else {
            "level": best.level.index,
            "concurrency": best.level.concurrency,
            "output_tok_s": best.level.output_tok_s,
            "lower_bound": best.lower_bound,
            "prefill_share": best.prefill_share,
            "caveats": list(best.caveats),
        },
        "definitions": {
            **DEFINITIONS,
            **{name: CAVEATS[name] for level in levels for name in (*level.caveats, *level.unknown)},
        },
        "faults": {name: FAULTS.get(name, "") for level in levels for name in level.failed},
    }


def loaded_view(answer: LoadedRun) -> Json:
    """A run that was read back."""
    return run_view(answer.run, answer.levels, answer.best)


def measured_view(answer: Measured) -> Json:
    """A run as it was kept."""
    return loaded_view(summarised(answer.run))


def priced_run_view(answer: PricedRun) -> Json:
    """A run and its price."""
    run = run_view(answer.run, answer.levels, answer.best)
    return {"schema": SCHEMA_REPORT, "run": run, "pricing": pricing_view(answer.pricing)}


def level_view(level: LevelSummary) -> Json:
    """The metrics of one level."""
    values = asdict(level)
    values["caveats"], values["unknown"] = list(level.caveats), list(level.unknown)
    values["server"] = level.server.model_dump() if level.server is not None else None
    values["window_s"] = level.window_s
    return values


def _sum_failed(levels: list[LevelSummary]) -> dict[str, int]:
    total: dict[str, int] = {}
    for level in levels:
        for name, number in level.failed.items():
            total[name] = total.get(name, 0) + number
    return total


def pricing_view(pricing: Pricing) -> Json:
    """What is served, and a rate card, break-evens and provenance per machine."""
    return {
        "schema": SCHEMA_PRICING,
        "model": pricing.model,
        "serving": serving_view(pricing.serving),
        "load": asdict(pricing.load),
        "machines": [_priced_view(priced) for priced in pricing.machines],
        "notes": list(pricing.notes),
    }


def serving_view(serving: Serving) -> Json:
    """What one machine serves at full load."""
    return {**asdict(serving), "caveats": list(serving.caveats), "tok_s": serving.tok_s}


def _priced_view(priced: Priced) -> Json:
    return {
        "cost": {**asdict(priced.cost), "parts": dict(priced.cost.parts)},
        "rig": priced.rig.model_dump() if priced.rig else None,
        "full_load": _card_view(priced.full),
        "at_load": _card_view(priced.at_load) if priced.at_load else None,
        "by_utilisation": [_card_view(card) for card in priced.by_utilisation],
        "apis": [_comparison_view(comparison) for comparison in priced.comparisons],
        "warnings": list(priced.warnings),
        "notes": list(priced.notes),
    }


def _card_view(card: RateCard) -> Json:
    values = asdict(card)
    del values["cost"]
    return {**values, "utilisation_tax": card.utilisation_tax}


def _comparison_view(comparison: Comparison) -> Json:
    return {
        "api": comparison.api.ref,
        "name": comparison.api.name,
        "same_model": comparison.same_model,
        "input_usd_per_1m": comparison.api.input_usd_per_1m,
        "output_usd_per_1m": comparison.api.output_usd_per_1m,
        "cached_input_usd_per_1m": comparison.api.cached_input_usd_per_1m,
        "blended_usd_per_1m": comparison.blended_usd,
        "break_even": asdict(comparison.break_even),
        "source": comparison.api.source,
        "date": comparison.api.date,
        "note": comparison.api.note,
    }
