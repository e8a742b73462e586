"""How far predictions of an accelerator were off when its own rows were left out of the fit: docs/validation.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class AcceleratorErrors:
    """Of throughput, time per token and first token below saturation, with its own rows left out."""

    figures: int
    median: float
    """Of |ln(predicted/observed)|."""
    covered: float
    """The share that the 80 % interval has."""


@cache
def accelerator_errors() -> Mapping[str, AcceleratorErrors]:
    """By id of the accelerator; of those that were measured."""
    text = (resources.files("rackrate.steptime") / "data" / "accelerator_errors.json").read_text(encoding="utf-8")
    return {name: AcceleratorErrors(**found) for name, found in json.loads(text)["accelerators"].items()}
