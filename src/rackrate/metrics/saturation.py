"""Which level of a run is its best: what the machine sustains within an SLO, or else what it served most at.

One rule decides, and tables, sentences and prices show what it decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rackrate.metrics.summary import LevelSummary

GAIN_LIMIT = 0.05
"""A sweep ends when doubling the load gains less than this share of throughput."""
BEYOND = ("overloaded", "errors")
"""Caveats of a level that was not sustained, whatever those requests met that were answered."""

Reached = Literal["capacity", "saturated", "most"]


@dataclass(frozen=True)
class Capacity:
    """What open loops say of the largest rate within an SLO."""

    level: LevelSummary | None
    """The largest rate that was sustained; None: none that was tried was."""
    above: LevelSummary | None
    """The lowest rate that was not; None: the highest that was tried was sustained."""


def sustained(level: LevelSummary) -> bool:
    """Whether a level of an open loop met the SLO with a stationary queue."""
    return bool(level.slo_met) and not set(BEYOND).intersection(level.caveats)


def capacity(levels: Sequence[LevelSummary]) -> Capacity | None:
    """The capacity [request/s] that open loops were judged to have; None where none was judged by an SLO.

    A rate that failed rules out those above it, whatever luck they had.
    """
    judged = [level for level in levels if level.kind == "open" and level.slo_met is not None]
    if not judged:
        return None
    above = min((level for level in judged if not sustained(level)), key=_rate, default=None)
    held = [level for level in judged if sustained(level) and (above is None or _rate(level) < _rate(above))]
    return Capacity(max(held, key=_rate, default=None), above)


def _rate(level: LevelSummary) -> float:
    return level.rate or 0.0


@dataclass(frozen=True)
class Saturation:
    """The level of a run at which it served most output tokens, and what prefill alone can do."""

    level: LevelSummary
    prefill: LevelSummary | None
    lower_bound: bool
    """Whether throughput was still growing by 5 % or more when the sweep ended."""
    caveats: tuple[str, ...]
    levels: tuple[LevelSummary, ...] = field(repr=False)

    @property
    def reached(self) -> Reached:
        """Whether that is the capacity within the SLO, saturation (closed loops), or merely the most that was seen."""
        if self.lower_bound:
            return "most"
        found = capacity(self.levels)
        if found is not None and found.level is self.level:
            return "capacity"
        return "saturated" if self.level.kind == "closed" else "most"

    @property
    def within_slo(self) -> bool | None:
        """Whether the level met the SLO in a steady state; None where there is no SLO, or it could not be judged."""
        if self.level.slo_met is None:
            return None
        return sustained(self.level) if self.level.kind == "open" else self.level.slo_met

    @property
    def prefill_share(self) -> float | None:
        """Share of the machine's busy time that prefill takes at this level, 0 to 1; None where not measured.

        Prefill alone processes P new input tokens a second, so a second of serving with r new input tokens keeps the
        machine busy with them for r / P of it; decoding takes the rest.
        """
        if self.prefill is None or self.prefill.input_tok_s is None or self.level.input_tok_s is None:
            return None
        fresh = self.level.input_tok_s - (self.level.cached_tok_s or 0.0)
        prefill_fresh = self.prefill.input_tok_s - (self.prefill.cached_tok_s or 0.0)
        if prefill_fresh <= 0:
            return None
        share = fresh / prefill_fresh
        # more than the machine can do: one of the two was disturbed, and output would be free
        return share if share < 1 else None


def saturation(levels: Sequence[LevelSummary], at_concurrency: int | None = None) -> Saturation | None:
    """The level that is priced; None where none served any.

    The one asked for; else the capacity within the SLO; else that which served most output tokens a second.
    """
    served = [level for level in levels if level.kind != "prefill" and level.output_tok_s]
    closed = [level for level in served if level.kind == "closed"]
    found = capacity(served)
    if at_concurrency is None and found is not None and found.level is not None:
        best = found.level
    else:
        # an overloaded open loop is beyond what the machine sustains
        kept = [level for level in served if "overloaded" not in level.caveats and level.slo_met is not False] or served
        wanted = [level for level in kept if at_concurrency in (None, level.concurrency)]
        if not wanted:
            return None
        best = max(wanted, key=lambda level: level.output_tok_s or 0.0)
    prefill = next((level for level in reversed(levels) if level.kind == "prefill" and level.input_tok_s), None)
    ordered = sorted(closed, key=lambda level: level.concurrency or 0)
    growing = False
    if best.kind == "open":
        growing = not any("overloaded" in level.caveats or level.slo_met is False for level in served)
        if found is not None:
            growing = found.above is None
    elif at_concurrency is None and ordered[-1] is best:
        before = [level.output_tok_s or 0.0 for level in ordered[:-1]]
        growing = not before or (best.output_tok_s or 0.0) >= max(before) * (1 + GAIN_LIMIT)
    return Saturation(best, prefill, growing, best.caveats, tuple(levels))
