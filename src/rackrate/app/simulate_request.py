"""What a simulation is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rackrate import bounds
from rackrate.app.request_json import Request


@dataclass(frozen=True)
class SimulateRequest(Request):
    """What serves, where, and under which loads."""

    NAME: ClassVar[str] = "simulate"

    model: str
    """A catalogue name or hub id, or the path of a model's files."""
    on: str | None = None
    """`t4x4`, or an offer; None: the machine of the calibration."""
    calibration: Path | None = None
    engine: str | None = None
    """None: llamacpp for GGUF, else vllm."""
    weights: str | None = None
    """A number format; None: as published."""
    tp: bounds.Ranks | None = None
    """Accelerators of one replica; None: as few as hold the model."""
    replicas: bounds.Replicas | None = None
    """None: as many as the machine holds."""
    router: str = "round-robin"
    autoscale: str | None = None
    """`LEAST:MOST:IN_FLIGHT`."""
    cold_start: bounds.Seconds = 60.0
    """Until a new replica serves. [s]"""
    rates: tuple[bounds.RequestsPerSecond, ...] = ()
    """Of open loops. [request/s]"""
    levels: tuple[bounds.Concurrency, ...] = ()
    """In flight, of closed loops. Without rates, levels, an SLO or a trace: 1, 2, 4, ... until gains end."""
    slo: str | None = None
    """Without loads, the capacity within it is searched for."""
    input_tokens: str | None = None
    output_tokens: str | None = None
    arrivals: str | None = None
    trace: Path | None = None
    longest: bounds.Tokens | None = None
    """Leave out recorded requests of more tokens, in and out."""
    cached_share: bounds.ShareBelow1 = 0.0
    """Of each prompt, what the prefix cache has, 0 to 1."""
    prefix_cache: bool = True
    """Follow the prefix blocks that a trace records."""
    requests: bounds.Requests | None = None
    """Of a level; None: 1,000, or 12 for each in flight; 10,000 in a search; 1,000,000 of aggregates."""
    max_num_seqs: bounds.Concurrency | None = None
    max_num_batched_tokens: bounds.Tokens | None = None
    seed: bounds.Seed = 0
