"""One level of load: a closed loop (so many requests in flight at all times) or an open one (each sent when due).

Answers are taken in and the next requests written from the sockets' own callbacks, without a task each; what can wait
(decoding an answer, writing its record, making the requests to come) is done between, while no socket has anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from rackrate.measure.connection import Exchange
from rackrate.measure.host import CpuAccount
from rackrate.measure.http import Client
from rackrate.measure.loose_json import as_object, error_text, parse
from rackrate.measure.pacing import Alarm
from rackrate.measure.plan import LevelLimits
from rackrate.measure.probe import PATHS, Probe
from rackrate.measure.sse import Answer, chunks_so_far, decode_parts
from rackrate.metrics import meets
from rackrate.records import OK, Level, RequestRecord
from rackrate.workload.schedule import Schedule
from rackrate.workload.slo import Slo
from rackrate.workload.synthetic import SyntheticWorkload, prompt

_LAG_SAMPLE_S = 0.01
_BACK_OFF_S = 0.2
_MOST_BACK_OFF_S = 5.0
_SPARES = 8
"""Idle connections that an open loop begins with. More would take the threads of servers that have one for each."""
_HEAD_START_S = 0.05
"""From the start of an open level to the first moment of its schedule."""
_FEW_PARTS = 4
"""An answer of fewer pieces may be an error told as a stream: it is decoded before its worker goes on."""
_PREPARED = 64
"""Requests of an open loop that are made ahead."""


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


@dataclass(frozen=True, slots=True)
class Planned:
    """A request that is ready to be written."""

    index: int
    input_tokens: int
    output_tokens: int
    request: bytes
    due_s: float | None = None
    """On `time.perf_counter`; None in a closed loop, where it is due when it is sent."""
    stagger: bool = False


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
        self.client = client
        self.workload = workload
        self.origin_s = time.perf_counter()
        self._probe = probe
        self._add = add
        self._cpu = cpu
        self._slo = slo
        self._next = 0
        self._words = probe.length.words_for(workload.input_tokens)
        self._stop = asyncio.Event()
        self._stop_reason: str | None = None
        self._failure: BaseException | None = None

    def now(self) -> float:
        """Seconds since the run's start."""
        return time.perf_counter() - self.origin_s

    def interrupt(self, reason: str) -> None:
        """Ends the level at once: requests under way are recorded as `stopped`."""
        self._stop_reason = reason
        self._stop.set()
        self.client.abort()

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt` was called."""
        return self._stop_reason in {"interrupted", "engine-died"}

    @property
    def stopping(self) -> bool:
        """Whether no further request is to be sent."""
        return self._stop.is_set()

    async def warm_up(self, requests: int) -> None:
        """A few requests, one after the other and then all at once, that are not recorded."""
        texts = [self._body(-1 - index, self._words, self.workload.output_tokens) for index in range(requests)]
        for batch in (texts[:1], texts[1:]):
            tasks = [asyncio.create_task(self.client.exchange(text)) for text in batch]
            stopping = asyncio.create_task(self._stop.wait())
            while not all(task.done() for task in tasks):
                if self._stop.is_set():
                    self.client.abort()  # again and again: a task may not have begun yet
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
        loop = _OpenLoop(self, live, schedule) if schedule is not None else _ClosedLoop(self, live)
        await loop.prepare()
        gc.collect()
        gc.freeze()  # what lives now outlives the level: no collection need look at it while answers are timed
        before, began_s = self._cpu.read(), time.perf_counter()
        lags: list[float] = []
        lag_task = asyncio.create_task(_sample_lag(lags))
        level.started_s = self.now()
        try:
            loop.begin()
            await self._until_over(level, live, loop, progress)
            if level.stopped_s is None:
                level.stopped_s = self.now()
            after, wall_s = self._cpu.read(), time.perf_counter() - began_s
            level.client_cpu_share, level.other_cpu_share = CpuAccount.shares(before, after, wall_s)
            await loop.all_in()
        finally:
            lag_task.cancel()
            loop.close()
            gc.unfreeze()
            with contextlib.suppress(asyncio.CancelledError):
                await lag_task
        if self._failure is not None:
            raise self._failure
        level.ended_s = self.now()
        if lags:
            level.client_lag_p99_s = sorted(lags)[int(0.99 * (len(lags) - 1))]
        progress(live)

    async def _until_over(
        self, level: Level, live: LiveLevel, loop: _Loop, progress: Callable[[LiveLevel], None]
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
                if loop.over:
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

    def plan(self, words: int, input_tokens: int, output_tokens: int, due_s: float | None = None) -> Planned:
        """The next request, made."""
        index, self._next = self._next, self._next + 1
        return Planned(index, input_tokens, output_tokens, self._body(index, words, output_tokens), due_s)

    def take_back(self, unsent: int) -> None:
        """The requests made last were not sent: their numbers go to others."""
        self._next -= unsent

    def words_for(self, input_tokens: int) -> int:
        """Of how many words a prompt of so many tokens is."""
        return self._probe.length.words_for(input_tokens)

    def stop(self, reason: str) -> None:
        """Sends no more; what is under way is waited for, unless the level is hopeless."""
        if not self._stop.is_set():
            self._stop_reason = reason
            self._stop.set()
            if reason == "hopeless":
                self.client.abort()

    def fail(self, error: BaseException) -> None:
        """The measurement itself cannot go on (the run cannot be written, say): raised once the level has ended."""
        self._failure = self._failure or error
        self.stop("errors")

    def record(self, live: LiveLevel, planned: Planned, exchange: Exchange) -> RequestRecord:
        """Decodes an answer, records and counts it."""
        record = self._record(live.level, planned, exchange)
        self._add(record)
        if self._slo is not None and live.level.kind == "open" and record.status != "stopped":
            for number, objective in enumerate(self._slo.objectives):
                live.missed[number] = live.missed.get(number, 0) + (not meets(objective, record))
                if live.missed[number] > (1 - objective.share) * live.limits.requests:
                    self.stop("hopeless")
        if record.ok:
            live.done += 1
            live.input_tokens += record.input_tokens or 0
            live.output_tokens += record.output_tokens or len(record.chunk_s)
        else:
            live.failed += 1
            if live.failed > 50 and live.failed > 10 * live.done:
                self.stop("errors")
        return record

    def _body(self, index: int, words: int, output_tokens: int) -> bytes:
        text = prompt(words, self.workload.seed, index)
        body = self._probe.dialect.body(self.workload.endpoint, self._probe.model, text, output_tokens)
        return self.client.request("POST", PATHS[self.workload.endpoint], body)

    def _record(self, level: Level, planned: Planned, exchange: Exchange) -> RequestRecord:
        origin = self.origin_s
        answer = _judge(exchange)
        chunk_s = tuple([time_s - origin for time_s in answer.chunk_s])
        sent_s = (exchange.sent_s if exchange.sent_s is not None else exchange.started_s) - origin
        return RequestRecord(
            index=planned.index,
            level=level.index,
            due_s=sent_s if planned.due_s is None else planned.due_s - origin,
            sent_s=sent_s,
            first_byte_s=exchange.first_byte_s - origin if exchange.first_byte_s is not None else None,
            first_token_s=chunk_s[0] if chunk_s else None,
            done_s=(exchange.done_s if exchange.done_s is not None else time.perf_counter()) - origin,
            status=answer.status,
            http_status=exchange.http_status,
            detail=answer.detail,
            asked_input_tokens=planned.input_tokens,
            asked_output_tokens=planned.output_tokens,
            input_tokens=answer.input_tokens,
            cached_tokens=answer.cached_tokens,
            output_tokens=answer.output_tokens,
            finish_reason=answer.finish_reason,
            stagger=planned.stagger,
            chunk_s=chunk_s,
        )


class _Loop:
    """What a closed and an open loop have in common: answers wait to be decoded until there is time."""

    def __init__(self, generator: LoadGenerator, live: LiveLevel) -> None:
        self.generator = generator
        self.live = live
        self.prepared: deque[Planned] = deque()
        self._answers: deque[tuple[Planned, Exchange]] = deque()
        self._events = asyncio.get_running_loop()
        self._busy = False
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def prepare(self) -> None:
        """What is done before the level's clock runs."""

    def begin(self) -> None:
        """Sends the first requests."""
        raise NotImplementedError

    @property
    def over(self) -> bool:
        """Whether every request of the level was sent, answered and recorded."""
        raise NotImplementedError

    def close(self) -> None:
        """Asks for no more calls."""
        self.generator.take_back(len(self.prepared))
        self.prepared.clear()

    def wants_preparing(self) -> bool:
        """Whether a request should be made ahead."""
        raise NotImplementedError

    def prepare_one(self) -> None:
        """Makes one ahead."""
        raise NotImplementedError

    def send(self, planned: Planned) -> None:
        """Writes a request; `ended` hears of its answer."""
        self.live.in_flight += 1
        self._quiet.clear()
        self.generator.client.post(planned.request, partial(self._ended, planned))

    def _ended(self, planned: Planned, exchange: Exchange) -> None:
        self.live.in_flight -= 1
        self._answers.append((planned, exchange))
        self.wake()
        try:
            self.ended(planned, exchange)
        except Exception as error:  # noqa: BLE001 - it must not be lost in the event loop
            self.generator.fail(error)

    def ended(self, planned: Planned, exchange: Exchange) -> None:
        """An answer is in; what is to be sent at once is sent here."""

    def wake(self) -> None:
        """Has the work that can wait done, a little in each turn of the event loop."""
        if not self._busy:
            self._busy = True
            self._events.call_soon(self._work)

    def _work(self) -> None:
        try:
            for _ in range(1 + len(self._answers) // 16):
                if self._answers:
                    self.record_one()
            if self.wants_preparing():
                self.prepare_one()
        except Exception as error:  # noqa: BLE001 - it must not be lost in the event loop
            self.generator.fail(error)
        if self._answers or self.wants_preparing():
            self._events.call_soon(self._work)
        else:
            self._busy = False
            if not self.live.in_flight:
                self._quiet.set()

    def record_one(self) -> RequestRecord:
        """Records the answer that has waited longest."""
        return self.generator.record(self.live, *self._answers.popleft())

    def record_latest(self) -> RequestRecord:
        """Records the answer that has just come in."""
        return self.generator.record(self.live, *self._answers.pop())

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and every answer is recorded."""
        return not self.live.in_flight and not self._answers

    async def all_in(self) -> None:
        """Waits for every answer under way and for its record."""
        while not self.idle:
            self.wake()
            await self._quiet.wait()
            self._quiet.clear()


class _ClosedLoop(_Loop):
    """So many workers, each sending its next request as soon as its last one is answered."""

    def __init__(self, generator: LoadGenerator, live: LiveLevel) -> None:
        super().__init__(generator, live)
        level, limits = live.level, live.limits
        self._workers = level.concurrency or 1
        self._left = limits.requests if limits.exact else None
        self._asked = 1 if level.kind == "prefill" else generator.workload.output_tokens
        self._words = generator.words_for(generator.workload.input_tokens)
        # not where the user asked for so many requests: those are all of the length asked for
        self._staggers = level.kind == "closed" and self._workers > 1 and not limits.exact
        self._failures = 0
        self._resting = 0
        self._first: list[Planned] = []

    async def prepare(self) -> None:
        number = self._workers if self._left is None else min(self._workers, self._left)
        await self.generator.client.open_spares(number)
        self._first = [self._plan(rank) for rank in range(number)]
        for _ in range(min(number, 16)):
            self.prepare_one()

    def _plan(self, rank: int | None = None) -> Planned:
        generator, asked = self.generator, self._asked
        if rank is None or not self._staggers:
            return generator.plan(self._words, generator.workload.input_tokens, asked)
        # as long as what a request under way has left, so that workers never march in step
        seed = f"{generator.workload.seed}/{self.live.level.index}/{rank}"
        asked = random.Random(seed).randint(1, asked)
        planned = generator.plan(self._words, generator.workload.input_tokens, asked)
        return Planned(planned.index, planned.input_tokens, asked, planned.request, stagger=True)

    def wants_preparing(self) -> bool:
        return not self.generator.stopping and len(self.prepared) < min(self._workers, self._left or self._workers)

    def prepare_one(self) -> None:
        self.prepared.append(self._plan())

    def begin(self) -> None:
        """Sends the first requests, one in each turn of the event loop: a server reads them one by one too."""
        if self._first and not self.generator.stopping:
            self._send(self._first.pop(0))
            self._events.call_soon(self.begin)

    def _send(self, planned: Planned | None = None) -> None:
        if self.generator.stopping or self._left == 0:
            return
        if self._left is not None:
            self._left -= 1
        self.send(planned or (self.prepared.popleft() if self.prepared else self._plan()))

    @property
    def over(self) -> bool:
        return self._left == 0 and self._resting == 0 and self.idle

    def ended(self, planned: Planned, exchange: Exchange) -> None:
        level = self.live.level
        if self._left is not None:
            level.stopped_s = max(level.stopped_s or 0.0, (exchange.sent_s or 0.0) - self.generator.origin_s)
        fine = exchange.status == OK and (exchange.http_status or 0) < 300
        if not fine or len(exchange.parts) < _FEW_PARTS:
            fine = self.record_latest().ok
        if fine:
            self._failures = 0
            self._send()
            return
        self._failures += 1
        self._resting += 1
        turns = self._failures / self._workers
        self._events.call_later(min(_BACK_OFF_S * 2 ** min(turns, 5), _MOST_BACK_OFF_S), self._rested)

    def _rested(self) -> None:
        self._resting -= 1
        self._send()


class _OpenLoop(_Loop):
    """Sends each request of a schedule when it is due."""

    def __init__(self, generator: LoadGenerator, live: LiveLevel, schedule: Schedule) -> None:
        super().__init__(generator, live)
        self._schedule = schedule
        self._words = {int(length): generator.words_for(int(length)) for length in set(schedule.input_tokens)}
        self._made = 0
        self._sent = 0
        self._begin_s = 0.0
        self._alarm: Alarm | None = None

    async def prepare(self) -> None:
        await self.generator.client.open_spares(_SPARES)
        self._alarm = Alarm(self._send_what_is_due)
        while self.wants_preparing():
            self.prepare_one()

    def wants_preparing(self) -> bool:
        left = len(self._schedule) - self._made
        return not self.generator.stopping and len(self.prepared) < min(_PREPARED, left)

    def prepare_one(self) -> None:
        schedule, number = self._schedule, self._made
        into, out = int(schedule.input_tokens[number]), int(schedule.output_tokens[number])
        self.prepared.append(self.generator.plan(self._words[into], into, out, float(schedule.due_s[number])))
        self._made += 1

    def begin(self) -> None:
        self._begin_s = time.perf_counter() + _HEAD_START_S
        self.live.level.started_s = self._begin_s - self.generator.origin_s
        self._set()

    def _set(self) -> None:
        if self._alarm is not None:
            self._alarm.set(self._begin_s + float(self._schedule.due_s[self._sent]))

    def _send_what_is_due(self) -> None:
        try:
            schedule, end = self._schedule, len(self._schedule)
            while self._sent < end and not self.generator.stopping:
                due_s = self._begin_s + float(schedule.due_s[self._sent])
                if due_s > time.perf_counter():
                    self._set()
                    break
                if not self.prepared:
                    self.prepare_one()
                planned = self.prepared.popleft()
                self._sent += 1
                if self._sent == end:
                    self.live.level.stopped_s = self.generator.now()
                self.send(Planned(planned.index, planned.input_tokens, planned.output_tokens, planned.request, due_s))
            self.wake()
        except Exception as error:  # noqa: BLE001 - it must not be lost in the event loop
            self.generator.fail(error)

    @property
    def over(self) -> bool:
        return self._sent == len(self._schedule) and self.idle

    def close(self) -> None:
        super().close()
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None


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
        return decode_parts(exchange.times, exchange.parts)
    return Answer(status, detail, chunks_so_far(exchange.times, exchange.parts), None, None, None, None)


def _reason(exchange: Exchange) -> str:
    return (error_text(as_object(parse(exchange.body))) or "")[:200]


async def _sample_lag(lags: list[float]) -> None:
    """How late the loop wakes from short sleeps: what any timestamp may be off by."""
    while True:
        due = time.perf_counter() + _LAG_SAMPLE_S
        await asyncio.sleep(_LAG_SAMPLE_S)
        lags.append(max(0.0, time.perf_counter() - due))
