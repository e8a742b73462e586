"""How far a level is: for its end, and for whoever watches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rackrate.measure.plan import LevelLimits
from rackrate.metrics import meets
from rackrate.records import Level, RequestRecord
from rackrate.workload.slo import Slo

Reason = Literal["requests", "time", "precision", "hopeless", "interrupted", "engine-died", "errors"]
"""Why a level ended; see records.Level.ended_because."""


@dataclass
class LiveLevel:
    """How far a level is, for the progress display."""

    level: Level
    limits: LevelLimits
    done: int = 0
    failed: int = 0
    in_flight: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    elapsed_s: float = 0.0
    missed: dict[int, int] = field(default_factory=dict[int, int])
    """Requests that missed an objective, by its number."""

    @property
    def share(self) -> float:
        """How much of the level is over, 0 to 1."""
        by_count = self.done / max(self.limits.requests, 1)
        if not self.limits.exact:
            by_count = min(by_count, self.elapsed_s / self.limits.least_s if self.limits.least_s > 0 else 1.0)
        return min(1.0, max(by_count, self.elapsed_s / self.limits.most_s))


class Tally:
    """Counts what a level has come to, and says when that is reason to end it."""

    def __init__(self, live: LiveLevel, slo: Slo | None) -> None:
        self._live = live
        self._slo = slo if live.level.kind == "open" else None

    def count(self, record: RequestRecord) -> Reason | None:
        """Counts a request; the reason to end the level now, if there is one."""
        live, reason = self._live, None
        if self._slo is not None and record.status != "stopped":
            for number, objective in enumerate(self._slo.objectives):
                live.missed[number] = live.missed.get(number, 0) + (not meets(objective, record))
                if live.missed[number] > (1 - objective.share) * live.limits.requests:
                    reason = "hopeless"
        if record.ok:
            live.done += 1
            live.input_tokens += record.input_tokens or 0
            live.output_tokens += record.output_tokens or len(record.chunk_s)
            return reason
        live.failed += 1
        return "errors" if live.failed > 50 and live.failed > 10 * live.done else reason
