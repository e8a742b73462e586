"""A load that the step-time model replays, and what was observed of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LoadKind = Literal["static", "burst", "closed", "poisson"]


@dataclass(frozen=True)
class Load:
    """What was asked of the server."""

    kind: LoadKind
    """`static`: one batch, all at once, equal lengths; `burst`: many requests at once; `closed`: a fixed number in
    flight; `poisson`: arrivals at a mean rate."""
    value: float
    """Batch, requests, streams, or requests per second."""
    requests: int
    prompt_tokens: float
    output_tokens: float
    output_cap: float | None = None
    """Where outputs end by themselves: the most tokens asked for. Lengths are then spread up to it."""
    prompt_cv: float = 0.0
    """Coefficient of variation of prompt lengths."""
    whole: bool = True
    """Whether throughput is that of the whole finite run (its tail included) or of the steady middle."""
    staggered: bool = False
    """Whether the first request of each stream of a closed loop is cut short, so that streams do not move in
    lockstep."""

    @property
    def streamed(self) -> bool:
        """Whether clients read tokens as they come; batches and bursts are offline runs."""
        return self.kind in {"closed", "poisson"}


@dataclass(frozen=True)
class Observed:
    """What the row states. None: not published."""

    output_tok_s: float | None = None
    tpot_s: float | None = None
    ttft_s: float | None = None
