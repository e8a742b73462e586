"""What a plan is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rackrate import bounds
from rackrate.app.request_json import Request

DEFAULT_SLO = "p95 ttft < 2s, p95 tpot < 100ms"


@dataclass(frozen=True)
class PlanRequest(Request):
    """A model, its traffic and SLO, and which machines, formats and engines to choose from."""

    NAME: ClassVar[str] = "plan"

    model: str
    """A catalogue name or hub id, or the path of a model's files."""
    traffic: str
    """`20/s`, `2M/day`, or a file: a trace, rates over time, a usage export."""
    slo: str = DEFAULT_SLO
    """Objectives that each replica must meet."""
    input_tokens: str | None = None
    output_tokens: str | None = None
    arrivals: str | None = None
    """`poisson` where None, `constant`, `gamma:CV`, or `trace` for the recorded pattern; at the rate of the traffic."""
    trace: Path | None = None
    """Lengths from recorded requests."""
    longest: bounds.Tokens | None = None
    """Leave out recorded requests of more tokens, in and out."""
    cached_share: str | None = None
    """Of each prompt, what the prefix cache has: a share, or `trace`. None: 0, or what the file records."""
    peak: bounds.FactorFrom1 | None = None
    """Peak over mean rate; None: 1, or the file's."""
    offers: bounds.Names = ()
    """Only these; none: all of the catalogue."""
    price_kinds: bounds.Names = ("on-demand",)
    engines: bounds.Names = ()
    """None: llamacpp for GGUF, else vllm."""
    weights: bounds.Names = ()
    """Number formats; none: as published, fp8 and awq."""
    spares: bounds.Machines = 0
    """Machines beyond those that the load needs."""
    apis: bounds.Names = ()
    """Compared with besides who sells the same model; none: two well-known ones."""
    anchor: str | None = None
    """`ACCELERATOR[xN]:IN:OUT:CONCURRENCY:TOK_S[:WEIGHTS]`: one measured point of a machine, of the first engine."""
    calibration: Path | None = None
    """Or all that was measured on a machine."""
    rows: bounds.Count = 12
    """Offers to price exactly."""
    explain: str | None = None
    """An offer whose row is wanted from FLOPs to dollars."""
    requests: bounds.Requests = 10_000
    """Of a simulation."""
    hours_per_month: bounds.HoursPerMonth = 730.0
    seed: bounds.Seed = 0
    prune: bool = True
    """Rule candidates out by bounds; the winner is the same without."""
