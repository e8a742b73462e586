"""What a search for settings found, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rackrate.report.present.tuning import sentence
from rackrate.report.study_terminal import tables
from rackrate.tuning.search import Tuned

SCHEMA = "rackrate.tune/1"

Json = dict[str, Any]

tuning_tables = tables

__all__ = ["SCHEMA", "sentence", "tuning_tables", "tuning_view"]


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
