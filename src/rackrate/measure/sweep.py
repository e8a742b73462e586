"""A closed-loop sweep: 1, 2, 4, ... requests in flight until throughput stops growing, then prefill alone."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from rackrate.errors import WorkloadError
from rackrate.measure.capacity import next_rate, sustained
from rackrate.measure.host import CpuAccount
from rackrate.measure.http import Client
from rackrate.measure.load import LevelLimits, LiveLevel, LoadGenerator
from rackrate.measure.probe import Probe
from rackrate.measure.server_side import ServerSide
from rackrate.metrics import BURST_FACTOR, GAIN_LIMIT, LevelSummary, saturation, summarise_level
from rackrate.records import Level, RequestRecord
from rackrate.run_store import RunWriter
from rackrate.workload.schedule import draw, named, parse_pattern
from rackrate.workload.slo import Slo
from rackrate.workload.synthetic import SyntheticWorkload

GUESS_CONCURRENCY = 4
GUESS_SHARE = 0.7
"""A search begins at this share of what a closed loop of four in flight was served."""
MOST_TELLING = 100
"""Requests that a level of a search has at least: fewer say nothing of a 95th percentile."""


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

    def __post_init__(self) -> None:
        for name, value in (
            ("--concurrency", min(self.levels, default=1)),
            ("--max-concurrency", self.max_concurrency),
        ):
            if value < 1:
                raise WorkloadError(f"{name} must be at least 1, got {value}")
        if self.rates and self.levels:
            raise WorkloadError("give --rate (open loop) or --concurrency (closed loop), not both")
        parse_pattern(self.arrivals)  # says what is wrong with it
        for rate in self.rates:
            if not 0 < rate < float("inf"):
                raise WorkloadError(f"--rate must be above 0, got {rate:g}")
        if self.requests is not None and self.requests < 1:
            raise WorkloadError(f"--requests must be at least 1, got {self.requests}")
        if not 0 < self.least_s <= self.most_s:
            raise WorkloadError(
                f"--seconds must be above 0 and --max-seconds not below it, got {self.least_s:g} and {self.most_s:g}"
            )
        if self.warmup_requests < 0:
            raise WorkloadError(f"--warmup must not be negative, got {self.warmup_requests}")

    @property
    def searches(self) -> bool:
        """Whether the rate is searched for: an SLO without stated loads."""
        return self.slo is not None and not self.rates and not self.levels

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

        A closed loop: after 10 requests for each in flight, besides the first ones, and at least `least_s`. An open
        one: after its schedule, which is `requests` or `least_s` long.
        """
        if step.rate is not None:
            number = self.requests or max(MOST_TELLING if self.slo else 1, round(step.rate * self.least_s))
            return LevelLimits(number, number / step.rate, number / step.rate + self.most_s, exact=True)
        concurrency = step.concurrency or 1
        if step.kind == "prefill":
            return LevelLimits((BURST_FACTOR + 1) * concurrency, min(self.least_s, 8.0), self.most_s)
        if self.requests is not None:
            return LevelLimits(self.requests, self.least_s, max(self.most_s, 3600.0), exact=True)
        return LevelLimits((BURST_FACTOR + 1) * concurrency, self.least_s, self.most_s)


class Watcher(Protocol):
    """Is told what happens, to show it."""

    def level_started(self, level: Level, position: int, of_at_most: int) -> None: ...
    def level_progress(self, live: LiveLevel) -> None: ...
    def level_ended(self, summary: LevelSummary) -> None: ...
    def note(self, text: str) -> None: ...


Outcome = Literal["complete", "interrupted", "engine-died", "errors"]


async def sweep(
    client: Client,
    probe: Probe,
    workload: SyntheticWorkload,
    plan: SweepPlan,
    writer: RunWriter,
    cpu: CpuAccount,
    watcher: Watcher,
    engine_alive: Callable[[], bool] = lambda: True,
    server_side: ServerSide | None = None,
) -> Outcome:
    """Measures every level of the plan into `writer`, and says how it ended.

    Ctrl-C ends the level at once and keeps all that was measured. Levels are kept in the writer's header, requests in
    its journal, as they come.
    """
    recent: list[RequestRecord] = []

    def add(record: RequestRecord) -> None:
        recent.append(record)
        writer.add(record)

    generator = LoadGenerator(client, probe, workload, add, cpu, plan.slo)
    loop = asyncio.get_running_loop()
    guard = asyncio.create_task(_guard(generator, engine_alive))
    loop.add_signal_handler(signal.SIGINT, generator.interrupt, "interrupted")
    loop.add_signal_handler(signal.SIGTERM, generator.interrupt, "interrupted")
    try:
        if plan.warmup_requests:
            watcher.note(f"warming up with {plan.warmup_requests} requests")
            await generator.warm_up(plan.warmup_requests)
        if generator.interrupted:
            return "interrupted" if engine_alive() else "engine-died"
        summaries: list[LevelSummary] = []
        queue = plan.steps()
        while queue:
            step = queue.pop(0)
            level = Level(
                index=len(writer.header.levels),
                kind=step.kind,
                concurrency=step.concurrency,
                rate=step.rate,
                arrivals=named(plan.arrivals, workload) if step.rate is not None else None,
                warmed_up=plan.warmup_requests > 0 or len(writer.header.levels) > 0,
                started_s=generator.now(),
            )
            recent.clear()
            writer.header.levels.append(level)
            writer.save_header()
            watcher.level_started(
                level, level.index + 1, level.index + 1 + len(queue) + (step.kind != "prefill" and plan.prefill)
            )
            limits = plan.limits(step)
            schedule = None
            if step.rate is not None:
                schedule = draw(plan.arrivals, step.rate, limits.requests, workload, level.index)
                span_s = schedule.last_due_s + schedule.longest_thought_s
                limits = LevelLimits(len(schedule), span_s, span_s + plan.most_s, exact=True)
            if server_side is not None:
                await server_side.begin()
            await generator.run(level, limits, watcher.level_progress, schedule)
            if server_side is not None:
                level.server = await server_side.end()
            summary = summarise_level(level, recent, plan.slo)
            summaries.append(summary)
            writer.header.engine.peak_memory_bytes = cpu.peak_engine_bytes or None
            writer.save_header()
            watcher.level_ended(summary)
            if generator.interrupted or not engine_alive():
                # it may also have died while the last answers were waited for
                level.ended_because = "interrupted" if generator.interrupted and engine_alive() else "engine-died"
            elif summary.failed and not summary.requests:
                level.ended_because = "errors"
            writer.save_header()
            if level.ended_because in {"interrupted", "engine-died", "errors"}:
                return level.ended_because  # pyright: ignore[reportReturnType]
            if step.kind == "closed" and not plan.levels and gains_ended([s.output_tok_s or 0.0 for s in summaries]):
                queue.clear()
            if plan.searches and not queue and step.kind != "prefill":
                queue += _search(summaries)
            if step.kind != "prefill" and not queue and plan.prefill:
                best = saturation(summaries)
                if best is not None:
                    in_flight = best.level.concurrency or max(1, round(best.level.mean_in_flight or 1))
                    queue.append(Step("prefill", concurrency=in_flight))
        return "complete"
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)
        guard.cancel()


def _search(summaries: Sequence[LevelSummary]) -> list[Step]:
    """The next rate of a search for the capacity, from what a few requests in flight were served."""
    guess = (summaries[0].request_s or 1.0) * GUESS_SHARE
    tried = [(summary.rate, sustained(summary)) for summary in summaries if summary.rate is not None]
    rate = next_rate(tried, guess)
    return [Step("open", rate=rate)] if rate is not None else []


def gains_ended(rates: Sequence[float]) -> bool:
    """Whether each of the last two doublings gained less than 5 % over the best before it.

    One is not enough: kernels for small batches differ, and throughput may dip at 2 and rise at 8. See
    docs/decisions/0003.

    >>> gains_ended([85, 79]), gains_ended([85, 79, 110]), gains_ended([100, 180, 182, 185])
    (False, False, True)
    """
    return len(rates) > 2 and all(rates[n] < max(rates[:n]) * (1 + GAIN_LIMIT) for n in (-2, -1))


async def _guard(generator: LoadGenerator, engine_alive: Callable[[], bool]) -> None:
    """Looks after the engine, five times a second."""
    while engine_alive():  # noqa: ASYNC110 - a process has no event to wait for here
        await asyncio.sleep(0.2)
    generator.interrupt("engine-died")
