"""What is to be measured: which levels, how long each. Light to import: a server is asked before all else is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rackrate.errors import WorkloadError
from rackrate.workload.slo import Slo

GUESS_CONCURRENCY = 4
MOST_TELLING = 100
"""Requests that a level of a search has at least: fewer say nothing of a 95th percentile."""


@dataclass(frozen=True)
class LevelLimits:
    """When a level ends: after `requests` and `least_s`, and at `most_s` whatever happened."""

    requests: int
    least_s: float
    most_s: float
    exact: bool = False
    """Send exactly `requests`, then stop."""
    precision: float | None = None
    """Go on after that until throughput and p95 TTFT are known to this share of themselves (95 % half-width)."""


@dataclass(frozen=True)
class Step:
    """One load to hold: so many requests in flight, or so many arrivals a second."""

    kind: Literal["closed", "prefill", "open"]
    concurrency: int | None = None
    rate: float | None = None


@dataclass(frozen=True)
class SweepPlan:
    """Which levels to hold, and for how long."""

    levels: tuple[int, ...] = ()
    """Concurrencies to measure; empty doubles from 1 until gains end."""
    max_concurrency: int = 64
    rates: tuple[float, ...] = ()
    """Arrivals per second of open loops, one level each; instead of closed ones."""
    arrivals: str = "poisson"
    slo: Slo | None = None
    """Search for the largest rate that is sustained within it, from a guess."""
    requests: int | None = None
    """Requests a level, exactly; None goes by time and by 10 x in flight."""
    least_s: float = 15.0
    most_s: float = 120.0
    warmup_requests: int = 4
    prefill: bool = True
    precision: float | None = None
    """A level of no stated number of requests goes on until its figures are known to this share, or to `most_s`."""
    keep_answers: bool = False
    """Whether texts are kept in the records."""

    def __post_init__(self) -> None:
        for name, value in (("levels", min(self.levels, default=1)), ("max_concurrency", self.max_concurrency)):
            if value < 1:
                raise WorkloadError(f"{{{name}}} must be at least 1, got {value}", field=name)
        if self.rates and self.levels:
            raise WorkloadError(
                "give {rates} (open loop) or {levels} (closed loop), not both", fields=("rates", "levels")
            )
        if self.arrivals != "poisson":
            from rackrate.workload.patterns import parse_pattern

            parse_pattern(self.arrivals)  # says what is wrong with it
        for rate in self.rates:
            if not 0 < rate < float("inf"):
                raise WorkloadError(f"{{rates}} must be above 0, got {rate:g}", field="rates")
        if self.requests is not None and self.requests < 1:
            raise WorkloadError(f"{{requests}} must be at least 1, got {self.requests}", field="requests")
        if not 0 < self.least_s <= self.most_s:
            raise WorkloadError(
                f"{{seconds}} must be above 0 and {{max_seconds}} not below it, got {self.least_s:g} and "
                f"{self.most_s:g}",
                fields=("seconds", "max_seconds"),
            )
        if self.precision is not None and not 0 < self.precision < 1:
            raise WorkloadError(f"{{precision}} is a share such as 5%, got {self.precision:.3g}", field="precision")
        if self.warmup_requests < 0:
            raise WorkloadError(f"{{warmup}} must not be negative, got {self.warmup_requests}", field="warmup")

    @property
    def searches(self) -> bool:
        """Whether the rate is searched for: an SLO without stated loads."""
        return self.slo is not None and not self.rates and not self.levels

    @property
    def most_levels(self) -> int:
        """Levels that may be held, prefill alone among them; of a search, those that are known from the start."""
        return len(self.steps()) + self.prefill

    @property
    def concurrencies(self) -> tuple[int, ...]:
        """The levels that may be held, in order."""
        if self.levels:
            return self.levels
        doubled: list[int] = []
        level = 1
        while level < self.max_concurrency:
            doubled.append(level)
            level *= 2
        return (*doubled, self.max_concurrency)

    def steps(self) -> list[Step]:
        """What is known from the start to be held, in order; a search and prefill alone go on from there."""
        if self.searches:
            return [Step("closed", concurrency=GUESS_CONCURRENCY)]
        if self.rates:
            return [Step("open", rate=rate) for rate in self.rates]
        return [Step("closed", concurrency=level) for level in self.concurrencies]

    def limits(self, step: Step) -> LevelLimits:
        """When a level ends.

        A closed loop: after 10 requests for each in flight, besides the first ones, and at least `least_s`; an open
        one: after its schedule, which is `requests` or `least_s` long. Where a precision is asked for and no number of
        requests: once that is reached, or at `most_s`.
        """
        by_precision = self.precision is not None and self.requests is None and self.slo is None
        # a part of a trace would not have the mean rate of the whole
        if step.rate is not None and by_precision and self.arrivals.strip().lower() != "trace":
            return LevelLimits(
                max(1, round(step.rate * self.least_s)), self.least_s, self.most_s, precision=self.precision
            )
        if step.rate is not None:
            number = self.requests or max(MOST_TELLING if self.slo else 1, round(step.rate * self.least_s))
            return LevelLimits(number, number / step.rate, number / step.rate + self.most_s, exact=True)
        from rackrate.runs.records import BURST_FACTOR

        concurrency = step.concurrency or 1
        if step.kind == "prefill":
            return LevelLimits((BURST_FACTOR + 1) * concurrency, min(self.least_s, 8.0), self.most_s)
        if self.requests is not None:
            return LevelLimits(self.requests, self.least_s, max(self.most_s, 3600.0), exact=True)
        return LevelLimits((BURST_FACTOR + 1) * concurrency, self.least_s, self.most_s, precision=self.precision)
