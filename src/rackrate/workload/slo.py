"""Service-level objectives: "p95 ttft < 1s, p95 tpot < 50ms"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from rackrate.bounds import SECONDS, shown
from rackrate.errors import WorkloadError

Metric = Literal["ttft", "tpot", "e2e"]

_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_PART = re.compile(
    r"(?:p(?P<percentile>\d{1,2}(?:\.\d+)?)\s+)?(?P<metric>ttft|tpot|e2e)\s*<=?\s*(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>s|ms|us)?"
)


@dataclass(frozen=True)
class Objective:
    """A share of requests must have a metric below a limit."""

    metric: Metric
    percentile: float
    limit_s: float

    @property
    def share(self) -> float:
        """The share of requests that must meet it, 0 to 1."""
        return self.percentile / 100


@dataclass(frozen=True)
class Slo:
    """Objectives that must all be met."""

    objectives: tuple[Objective, ...]

    def __str__(self) -> str:
        return ", ".join(
            f"p{objective.percentile:g} {objective.metric} < {objective.limit_s * 1000:.10g}ms"
            for objective in self.objectives
        )


def parse_slo(text: str) -> Slo:
    """Objectives from text; a percentile left out is 95.

    >>> str(parse_slo("p95 ttft < 1s, p99 tpot < 50ms"))
    'p95 ttft < 1000ms, p99 tpot < 50ms'

    Raises:
        WorkloadError: a part that is not an objective, that has no unit, that no request could miss or meet, or that
            repeats another.
    """
    objectives: list[Objective] = []
    for part in text.split(","):
        match = _PART.fullmatch(part.strip().lower())
        if match is None:
            raise WorkloadError(
                f"{{slo}}: {shown(part.strip())} is not an objective such as 'p95 ttft < 1s' (ttft, tpot or e2e)",
                field="slo",
            )
        if match["unit"] is None:
            raise WorkloadError(
                f"{{slo}}: {part.strip()!r} has no unit: write {match['value']}ms or {match['value']}s", field="slo"
            )
        percentile = float(match["percentile"] or 95)
        limit = float(match["value"]) * _UNITS[match["unit"]]
        if not 0 < percentile < 100 or limit <= 0 or not SECONDS.holds(limit):
            raise WorkloadError(
                f"{{slo}}: {part.strip()!r} has a percentile outside 0 to 100, or a limit that is none", field="slo"
            )
        metric: Metric = match["metric"]  # pyright: ignore[reportAssignmentType]
        if any((other.metric, other.percentile) == (metric, percentile) for other in objectives):
            raise WorkloadError(f"{{slo}}: p{percentile:g} {metric} has two limits: give one", field="slo")
        objectives.append(Objective(metric, percentile, limit))
    return Slo(tuple(objectives))
