"""A closed-loop sweep: 1, 2, 4, ... requests in flight until throughput stops growing, then prefill alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from rackrate.measurement.capacity import next_rate
from rackrate.measurement.host import CpuAccount
from rackrate.measurement.http import Client
from rackrate.measurement.live import LiveLevel
from rackrate.measurement.load import LoadGenerator
from rackrate.measurement.plan import LevelLimits, Step, SweepPlan
from rackrate.measurement.probe import Probe
from rackrate.measurement.server_side import ServerSide
from rackrate.measurement.stop import Stop
from rackrate.measurement.worker_pool import WorkerPool
from rackrate.metrics.saturation import GAIN_LIMIT, saturation, sustained
from rackrate.metrics.summary import LevelSummary, summarise_level
from rackrate.runs.columns import LevelColumns
from rackrate.runs.records import Level, RequestRecord
from rackrate.runs.store import RunWriter
from rackrate.workload.schedule import draw, named
from rackrate.workload.synthetic import SyntheticWorkload

GUESS_SHARE = 0.7
"""A search begins at this share of what a closed loop of four in flight was served."""


class Watcher(Protocol):
    """Is told what happens, to show it."""

    def level_started(self, level: Level, position: int, of_at_most: int) -> None: ...
    def level_progress(self, live: LiveLevel) -> None: ...
    def level_ended(self, summary: LevelSummary) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass(frozen=True)
class Done:
    """What a run that is resumed has already."""

    summaries: tuple[LevelSummary, ...] = ()
    """Of the levels that were measured to their end."""
    elapsed_s: float = 0.0
    """Its clock."""
    requests: int = 0
    """Numbers that were given to requests: others have other prompts."""


NOTHING = Done()

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
    pool: WorkerPool | None = None,
    done: Done = NOTHING,
    stop: Stop | None = None,
) -> Outcome:
    """Measures every level of the plan into `writer`, and says how it ended.

    A run that is resumed says in `done` what it has; a pool is to be made with the same.
    A `stop` ends the level at once and keeps all that was measured. Levels are kept in the writer's header, requests in
    its journal, as they come.
    """
    recent = LevelColumns()

    def add(record: RequestRecord) -> None:
        recent.add(record)
        writer.add(record)

    generator: LoadGenerator | WorkerPool
    if pool is not None:
        generator = pool.recording(add)
    else:
        origin_s = time.perf_counter() - done.elapsed_s
        generator = LoadGenerator(
            client, probe, workload, add, cpu, plan.slo, origin_s=origin_s, first_number=done.requests,
            keep_answers=plan.keep_answers,
        )  # fmt: skip
    loop = asyncio.get_running_loop()
    guard = asyncio.create_task(_guard(generator, engine_alive))
    stop = stop or Stop()
    stop.bind(loop, lambda: generator.interrupt("interrupted"))
    try:
        if plan.warmup_requests:
            watcher.note(f"warming up with {plan.warmup_requests} requests")
            await generator.warm_up(plan.warmup_requests)
        if generator.interrupted:
            return "interrupted" if engine_alive() else "engine-died"
        summaries = list(done.summaries)
        while (step := next_step(plan, summaries, workload.mean_turns)) is not None:
            level = Level(
                index=len(writer.header.levels),
                kind=step.kind,
                concurrency=step.concurrency,
                rate=step.rate,
                arrivals=named(plan.arrivals, workload) if step.rate is not None else None,
                warmed_up=plan.warmup_requests > 0 or len(writer.header.levels) > 0,
                started_s=generator.now(),
            )
            recent = LevelColumns()
            writer.header.levels.append(level)
            writer.save_header()
            if plan.slo is not None and plan.requests is None and step.rate is not None:
                _note_long_level(plan, step.rate, watcher)
            watcher.level_started(level, len(summaries) + 1, max(len(summaries) + 1, plan.most_levels))
            limits = plan.limits(step)
            schedule = None
            if step.rate is not None:
                number = plan.requests or round(limits.requests * workload.mean_turns)
                if not limits.exact:  # as many as may be sent until the time is up
                    number = max(number, round(step.rate * limits.most_s * workload.mean_turns))
                schedule = draw(plan.arrivals, step.rate, number, workload, level.index)
                if limits.exact:
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
        return "complete"
    finally:
        stop.release(loop)
        guard.cancel()


def _note_long_level(plan: SweepPlan, rate: float, watcher: Watcher) -> None:
    """Says where the requests that an SLO takes need longer than a level may last."""
    limits = plan.limits(Step("open", rate=rate))
    if limits.least_s > plan.most_s:
        watcher.note(
            f"{limits.requests} requests at {rate:g}/s take {limits.least_s:.0f} s, more than the {plan.most_s:g} s of "
            "a level: fewer would not tell whether the SLO is met"
        )


def next_step(plan: SweepPlan, summaries: Sequence[LevelSummary], turns: float = 1.0) -> Step | None:
    """What is to be held next, from what was measured so far; None where all is done.

    Where requests are turns, so many to a conversation, the rates of a search are of conversations.
    """
    if any(summary.kind == "prefill" for summary in summaries):
        return None
    known = plan.steps()
    step: Step | None = None
    if plan.searches and summaries:
        # the first rate from what a few requests in flight were served
        guess = (summaries[0].request_s or 1.0) / turns * GUESS_SHARE
        tried = [(summary.rate, sustained(summary)) for summary in summaries if summary.rate is not None]
        rate = next_rate(tried, guess)
        step = Step("open", rate=rate) if rate is not None else None
    elif len(summaries) < len(known):
        doubles = not plan.levels and known[0].kind == "closed"
        if not (doubles and gains_ended([summary.output_tok_s or 0.0 for summary in summaries])):
            step = known[len(summaries)]
    if step is None and plan.prefill:
        best = saturation(summaries)
        if best is not None:
            in_flight = best.level.concurrency or max(1, round(best.level.mean_in_flight or 1))
            step = Step("prefill", concurrency=in_flight)
    return step


def gains_ended(rates: Sequence[float]) -> bool:
    """Whether each of the last two doublings gained less than 5 % over the best before it.

    One is not enough: kernels for small batches differ, and throughput may dip at 2 and rise at 8. See
    docs/decisions/0003.

    >>> gains_ended([85, 79]), gains_ended([85, 79, 110]), gains_ended([100, 180, 182, 185])
    (False, False, True)
    """
    return len(rates) > 2 and all(rates[n] < max(rates[:n]) * (1 + GAIN_LIMIT) for n in (-2, -1))


async def _guard(generator: LoadGenerator | WorkerPool, engine_alive: Callable[[], bool]) -> None:
    """Looks after the engine, five times a second."""
    while engine_alive():  # noqa: ASYNC110 - a process has no event to wait for here
        await asyncio.sleep(0.2)
    generator.interrupt("engine-died")
