"""One level of load: a closed loop (so many requests in flight at all times) or an open one (each sent when due)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from rackrate.measure.host import CpuAccount
from rackrate.measure.http import Client, Exchange
from rackrate.measure.loose_json import as_object, error_text, parse
from rackrate.measure.pacing import Alarm
from rackrate.measure.probe import PATHS, Probe
from rackrate.measure.sessions import Talk, Turn
from rackrate.measure.sse import Answer, chunks_so_far, decode
from rackrate.metrics import meets
from rackrate.records import OK, Level, RequestRecord
from rackrate.workload.prompts import Ask, prompt_text
from rackrate.workload.rows import Rows
from rackrate.workload.schedule import Schedule
from rackrate.workload.slo import Slo
from rackrate.workload.synthetic import SyntheticWorkload

_LAG_SAMPLE_S = 0.01
_BACK_OFF_S = 0.2
_SPARES = 8
"""Idle connections that an open loop begins with. More would take the threads of servers that have one for each."""
_WARM_UP_LEVEL = 2**32 - 1
"""Its lengths are drawn as those of a level that no run reaches."""
_HEAD_START_S = 0.05
"""From the start of an open level to the first moment of its schedule."""


@dataclass(frozen=True)
class LevelLimits:
    """When a level ends: after `requests` and `least_s`, and at `most_s` whatever happened."""

    requests: int
    least_s: float
    most_s: float
    exact: bool = False
    """Send exactly `requests`, then stop."""


@dataclass
class LiveLevel:
    """How far a level is, for the progress display."""

    level: Level
    limits: LevelLimits
    done: int = 0
    failed: int = 0
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


class LoadGenerator:
    """Runs levels on one client. Times of records count from `origin_s` on `time.perf_counter`."""

    def __init__(
        self,
        client: Client,
        probe: Probe,
        workload: SyntheticWorkload,
        add: Callable[[RequestRecord], None],
        cpu: CpuAccount,
        slo: Slo | None = None,
    ) -> None:
        """With an SLO, an open level ends once it can no longer meet it."""
        self._client = client
        self._probe = probe
        self._workload = workload
        self._add = add
        self._cpu = cpu
        self._indices = itertools.count()
        self._stop: asyncio.Event = asyncio.Event()
        self._stop_reason: str | None = None
        self._slo = slo
        self.origin_s = time.perf_counter()

    def now(self) -> float:
        """Seconds since the run's start."""
        return time.perf_counter() - self.origin_s

    def interrupt(self, reason: str) -> None:
        """Ends the level at once: requests under way are recorded as `stopped`."""
        self._stop_reason = reason
        self._stop.set()
        self._client.abort()

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt` was called."""
        return self._stop_reason in {"interrupted", "engine-died"}

    @property
    def _aborting(self) -> bool:
        """Whether what is under way is not waited for."""
        return self.interrupted or self._stop_reason == "hopeless"

    async def warm_up(self, requests: int) -> None:
        """A few requests, one after the other and then all at once, that are not recorded."""
        rows = Rows(self._workload, _WARM_UP_LEVEL)
        texts = [self._request(-1 - index, rows.ask(index)) for index in range(requests)]
        for batch in (texts[:1], texts[1:]):
            tasks = [asyncio.create_task(self._client.exchange(text)) for text in batch]
            stopping = asyncio.create_task(self._stop.wait())
            while not all(task.done() for task in tasks):
                if self._stop.is_set():
                    self._client.abort()  # again and again: a task may just have been connecting
                    await asyncio.sleep(0.02)
                else:
                    await asyncio.wait(
                        [stopping, *(task for task in tasks if not task.done())], return_when="FIRST_COMPLETED"
                    )
            stopping.cancel()
            if self._stop.is_set():
                return

    async def run(
        self,
        level: Level,
        limits: LevelLimits,
        progress: Callable[[LiveLevel], None],
        schedule: Schedule | None = None,
    ) -> None:
        """Holds the level until its limits, waits for what is under way, and fills in the level's figures.

        With a schedule the loop is open: each request is sent when it is due. Without one it is closed.
        """
        live = LiveLevel(level, limits)
        if not self.interrupted:
            self._stop.clear()
            self._stop_reason = None
        budget = itertools.count() if not limits.exact else iter(range(limits.requests))
        before, began_s = self._cpu.read(), time.perf_counter()
        lags: list[float] = []
        lag_task = asyncio.create_task(_sample_lag(lags))
        level.started_s = self.now()
        if self._workload.conversations is not None:
            workers = [asyncio.create_task(self._converse(level, live, budget, schedule))]
        elif schedule is not None:
            workers = [asyncio.create_task(self._follow(level, live, schedule))]
        else:
            ranks = range(level.concurrency or 1)
            rows = Rows(self._workload, level.index)
            workers = [asyncio.create_task(self._worker(level, live, budget, rows, rank)) for rank in ranks]
        try:
            await self._until_over(level, live, workers, progress)
            if level.stopped_s is None:
                level.stopped_s = self.now()
            after, wall_s = self._cpu.read(), time.perf_counter() - began_s
            level.client_cpu_share, level.other_cpu_share = CpuAccount.shares(before, after, wall_s)
            while self._aborting and not all(worker.done() for worker in workers):
                self._client.abort()  # again and again: a worker may just have been connecting
                await asyncio.sleep(0.02)
            await asyncio.gather(*workers)
        finally:
            lag_task.cancel()
            for worker in workers:
                worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await lag_task
        level.ended_s = self.now()
        if lags:
            level.client_lag_p99_s = sorted(lags)[int(0.99 * (len(lags) - 1))]
        progress(live)

    async def _until_over(
        self, level: Level, live: LiveLevel, workers: list[asyncio.Task[None]], progress: Callable[[LiveLevel], None]
    ) -> None:
        limits = live.limits
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await self._stop.wait()
            live.elapsed_s = self.now() - level.started_s
            progress(live)
            if self._stop.is_set():
                level.ended_because = self._stop_reason  # pyright: ignore[reportAttributeAccessIssue]
                return
            if limits.exact:
                if all(worker.done() for worker in workers):
                    level.ended_because = "requests"
                    return
            elif live.done >= limits.requests and live.elapsed_s >= limits.least_s:
                level.ended_because = "requests"
                self._stop.set()
                return
            if live.elapsed_s >= limits.most_s:
                level.ended_because = "time"
                self._stop.set()
                return
            for worker in workers:
                if worker.done() and worker.exception():
                    worker.result()

    async def _worker(self, level: Level, live: LiveLevel, budget: Iterator[int], rows: Rows, rank: int) -> None:
        # not where the user asked for so many requests: those are all of the length asked for
        stagger = level.kind == "closed" and (level.concurrency or 1) > 1 and not live.limits.exact
        failures = 0
        for position in budget:
            if self._stop.is_set():
                return
            index, ask = next(self._indices), rows.ask(position)
            if level.kind == "prefill":
                ask = replace(ask, output_tokens=1)
            if stagger:
                # as long as what a request under way has left, so that workers never march in step
                left = random.Random(f"{self._workload.seed}/{level.index}/{rank}").randint(1, ask.output_tokens)
                ask = replace(ask, output_tokens=left)
            exchange = await self._client.exchange(self._request(index, ask))
            record = self._record(level, index, ask, exchange, stagger=stagger)
            if live.limits.exact:
                level.stopped_s = max(level.stopped_s or 0.0, record.sent_s)
            stagger = False
            self._count(live, record)
            if record.ok:
                failures = 0
            else:
                failures += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(_BACK_OFF_S * 2 ** min(failures - 1, 5), 5.0)):
                        await self._stop.wait()

    async def _follow(self, level: Level, live: LiveLevel, schedule: Schedule) -> None:
        """Sends each request of a schedule when it is due, and waits for all the answers."""
        await self._client.open_spares(_SPARES)
        begin_s = time.perf_counter() + _HEAD_START_S
        level.started_s = begin_s - self.origin_s
        answers: set[asyncio.Task[None]] = set()
        failures: list[BaseException] = []

        def over(task: asyncio.Task[None]) -> None:
            answers.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None:  # the run cannot be written, say
                failures.append(error)
                self._stop.set()

        all_sent = asyncio.Event()
        position = 0

        def prepare() -> tuple[int, Ask, bytes]:
            index, ask = next(self._indices), schedule.ask(position)
            return index, ask, self._request(index, ask)

        index, ask, request = prepare()

        def send_what_is_due() -> None:
            nonlocal position, index, ask, request
            while not self._stop.is_set() and begin_s + schedule.due_s[position] <= time.perf_counter():
                exchange = self._client.start(request)
                due_s = begin_s + float(schedule.due_s[position]) - self.origin_s
                task = asyncio.create_task(self._answer(level, live, index, ask, due_s, exchange))
                answers.add(task)
                task.add_done_callback(over)
                position += 1
                if position == len(schedule):
                    all_sent.set()
                    return
                index, ask, request = prepare()
            if self._stop.is_set():
                all_sent.set()
            else:
                alarm.set(begin_s + float(schedule.due_s[position]))

        with Alarm(send_what_is_due) as alarm:
            alarm.set(begin_s + float(schedule.due_s[0]))
            stopping = asyncio.create_task(self._stop.wait())
            sent = asyncio.create_task(all_sent.wait())
            await asyncio.wait([stopping, sent], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            sent.cancel()
        level.stopped_s = self.now()
        while answers:
            await asyncio.wait(set(answers))
        if failures:
            raise failures[0]

    async def _answer(
        self,
        level: Level,
        live: LiveLevel,
        index: int,
        ask: Ask,
        due_s: float,
        exchange: Coroutine[Any, Any, Exchange],
    ) -> None:
        """Waits for one answer of an open loop and records it."""
        self._count(live, self._record(level, index, ask, await exchange, due_s=due_s))

    async def _converse(self, level: Level, live: LiveLevel, budget: Iterator[int], schedule: Schedule | None) -> None:
        """Holds conversations: so many users' at all times, or each from when it is due."""
        only_prefill = level.kind == "prefill"

        async def take_turn(turn: Turn) -> tuple[RequestRecord, str] | None:
            if next(budget, None) is None:
                return None
            ask = replace(turn.ask, output_tokens=1) if only_prefill else turn.ask
            body = self._probe.dialect.body(self._workload.endpoint, self._probe.model, turn.history, ask.output_tokens)
            request = self._client.request("POST", PATHS[self._workload.endpoint], body)
            exchange = await self._client.start(request)
            answer = _judge(exchange)
            due_s = turn.due_s - self.origin_s
            record = self._record(level, turn.index, ask, exchange, answer=answer, due_s=due_s, turn=turn)
            if live.limits.exact:
                level.stopped_s = max(level.stopped_s or 0.0, record.sent_s)
            self._count(live, record)
            return record, answer.text

        talk = Talk(
            Rows(self._workload, level.index), self._workload, self._probe.length, self._indices, take_turn, self._stop
        )
        if schedule is None:
            await talk.users(level.concurrency or 1)
            return
        await self._client.open_spares(_SPARES)
        begin_s = time.perf_counter() + _HEAD_START_S
        level.started_s = begin_s - self.origin_s
        await talk.arrivals(begin_s, schedule)

    def _count(self, live: LiveLevel, record: RequestRecord) -> None:
        self._add(record)
        if self._slo is not None and live.level.kind == "open" and record.status != "stopped":
            for number, objective in enumerate(self._slo.objectives):
                live.missed[number] = live.missed.get(number, 0) + (not meets(objective, record))
                if live.missed[number] > (1 - objective.share) * live.limits.requests and not self._stop.is_set():
                    self._stop_reason = "hopeless"
                    self._stop.set()
                    self._client.abort()
        if record.ok:
            live.done += 1
            live.input_tokens += record.input_tokens or 0
            live.output_tokens += record.output_tokens or len(record.chunk_s)
            return
        live.failed += 1
        if live.failed > 50 and live.failed > 10 * live.done and not self._stop.is_set():
            self._stop_reason = "errors"
            self._stop.set()

    def _request(self, index: int, ask: Ask) -> bytes:
        text = prompt_text(ask, self._workload.seed, index, self._probe.length)
        body = self._probe.dialect.body(self._workload.endpoint, self._probe.model, text, ask.output_tokens)
        return self._client.request("POST", PATHS[self._workload.endpoint], body)

    def _record(
        self,
        level: Level,
        index: int,
        ask: Ask,
        exchange: Exchange,
        *,
        answer: Answer | None = None,
        stagger: bool = False,
        due_s: float | None = None,
        turn: Turn | None = None,
    ) -> RequestRecord:
        origin = self.origin_s
        answer = answer or _judge(exchange)
        chunk_s = tuple(time_s - origin for time_s in answer.chunk_s)
        sent_s = (exchange.sent_s if exchange.sent_s is not None else exchange.started_s) - origin
        return RequestRecord(
            index=index,
            level=level.index,
            due_s=sent_s if due_s is None else due_s,  # in a closed loop a request is due when it is sent
            sent_s=sent_s,
            first_byte_s=exchange.first_byte_s - origin if exchange.first_byte_s is not None else None,
            first_token_s=chunk_s[0] if chunk_s else None,
            done_s=(exchange.done_s if exchange.done_s is not None else time.perf_counter()) - origin,
            status=answer.status,
            http_status=exchange.http_status,
            detail=answer.detail,
            asked_input_tokens=ask.input_tokens,
            asked_output_tokens=ask.output_tokens,
            input_tokens=answer.input_tokens,
            cached_tokens=answer.cached_tokens,
            output_tokens=answer.output_tokens,
            finish_reason=answer.finish_reason,
            stagger=stagger,
            chunk_s=chunk_s,
            session=turn.session if turn is not None else None,
            turn=turn.number if turn is not None else None,
        )


def _judge(exchange: Exchange) -> Answer:
    """The answer, or the fault that the exchange met."""
    status, detail = exchange.status, exchange.detail
    code = exchange.http_status or 0
    if status == OK and code >= 300:
        status = "http-429" if code == 429 else f"http-{code // 100}xx" if code >= 400 else "http-4xx"
        detail = f"{code} {_reason(exchange)}"
    elif status == OK and exchange.content_type == "application/json":
        status, detail = "not-streaming", "the answer came in one piece"
    if status == OK:
        return decode(exchange.pieces)
    return Answer(status, detail, chunks_so_far(exchange.pieces), None, None, None, None, "")


def _reason(exchange: Exchange) -> str:
    return (error_text(as_object(parse(exchange.body))) or "")[:200]


async def _sample_lag(lags: list[float]) -> None:
    """How late the loop wakes from short sleeps: what any timestamp may be off by."""
    while True:
        due = time.perf_counter() + _LAG_SAMPLE_S
        await asyncio.sleep(_LAG_SAMPLE_S)
        lags.append(max(0.0, time.perf_counter() - due))
