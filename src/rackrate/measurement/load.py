"""Load on a server, a level at a time, by this process: what a level does is in `loops`.

Several processes share a level (see `pool`): each is a part of it, with requests and a clock that all agree on.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Sequence

from rackrate.measurement.answers import Answer
from rackrate.measurement.exchange import Exchange
from rackrate.measurement.host import CpuAccount
from rackrate.measurement.http import Client
from rackrate.measurement.live import Judgement, LiveLevel, Reason, Tally
from rackrate.measurement.loops import HEAD_START_S, WHOLE, Loop, Planned, WorkerShare, classify_exchange, loop_for
from rackrate.measurement.plan import LevelLimits
from rackrate.measurement.probe import PATHS, Probe
from rackrate.runs.records import Level, RequestRecord
from rackrate.workload.prompts import Ask, prompt_text
from rackrate.workload.rows import Rows
from rackrate.workload.schedule import Schedule
from rackrate.workload.slo import Slo
from rackrate.workload.synthetic import SyntheticWorkload

_LAG_SAMPLE_S = 0.01
_LAG_SAMPLES = 100_000
"""So many are kept at most: those of 17 minutes."""
_GC_OBJECTS = 50_000
"""New objects between two collections during a level; at Python's own 700 they took 7 % of the client's time."""
_WARM_UP_LEVEL = 2**32 - 1
"""Its lengths are drawn as those of a level that no run reaches."""


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
        part: WorkerShare = WHOLE,
        origin_s: float | None = None,
        first_number: int = 0,
        *,
        keep_answers: bool = False,
    ) -> None:
        """With an SLO, an open level ends once it can no longer meet it.

        A run that is resumed has its requests numbered from `first_number` on: their prompts are made by number,
        and the server may still have those of before in its cache.
        """
        self.client = client
        self.workload = workload
        self.part = part
        self.origin_s = time.perf_counter() if origin_s is None else origin_s
        self.length = probe.length
        self._probe = probe
        self._add = add
        self._cpu = cpu
        self._slo = slo
        self._first_number = first_number
        self._keep_answers = keep_answers
        self._next = 0
        self.stop_event = asyncio.Event()
        self._stop_reason: Reason | None = None
        self._failure: BaseException | None = None

    def now(self) -> float:
        """Seconds since the run's start."""
        return time.perf_counter() - self.origin_s

    def interrupt(self, reason: Reason) -> None:
        """Ends the level at once: requests under way are recorded as `stopped`."""
        self._stop_reason = reason
        self.stop_event.set()
        self.client.abort()

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt` was called."""
        return self._stop_reason in {"interrupted", "engine-died"}

    @property
    def stopping(self) -> bool:
        """Whether no further request is to be sent."""
        return self.stop_event.is_set()

    async def warm_up(self, requests: int) -> None:
        """A few requests, one after the other and then all at once, that are not recorded."""
        rows = Rows(self.workload, _WARM_UP_LEVEL)
        texts = [self.request(-1 - index, rows.ask(index)) for index in range(requests)]
        for batch in (texts[:1], texts[1:]):
            tasks = [asyncio.create_task(self.client.exchange(text)) for text in batch]
            stopping = asyncio.create_task(self.stop_event.wait())
            while not all(task.done() for task in tasks):
                if self.stop_event.is_set():
                    self.client.abort()  # again and again: a task may not have begun yet
                    await asyncio.sleep(0.02)
                else:
                    await asyncio.wait(
                        [stopping, *(task for task in tasks if not task.done())], return_when="FIRST_COMPLETED"
                    )
            stopping.cancel()
            if self.stop_event.is_set():
                return

    async def run(
        self,
        level: Level,
        limits: LevelLimits,
        progress: Callable[[LiveLevel], None],
        schedule: Schedule | None = None,
        begin_s: float | None = None,
    ) -> None:
        """Holds the level until its limits, waits for what is under way, and fills in the level's figures.

        With a schedule the loop is open: each request is sent when it is due. Without one it is closed. It begins at
        `begin_s` on `time.perf_counter`, or at once.
        """
        live = LiveLevel(level, limits)
        if not self.interrupted:
            self.stop_event.clear()
            self._stop_reason = None
        self._tally, self._judgement = Tally(live, self._slo), Judgement(live)
        loop = loop_for(self, live, schedule)
        await loop.prepare()
        gc.collect()
        gc.freeze()  # what lives now outlives the level: no collection need look at it while answers are timed
        thresholds = gc.get_threshold()
        gc.set_threshold(_GC_OBJECTS, *thresholds[1:])
        before, began_s = self._cpu.read(), time.perf_counter()
        lags: list[float] = []
        lag_task = asyncio.create_task(_sample_lag(lags))
        try:
            if begin_s is not None:
                await asyncio.sleep(max(0.0, begin_s - time.perf_counter() - HEAD_START_S))
            level.started_s = self.now()
            loop.begin(begin_s)
            await self._until_over(level, live, loop, progress)
            if level.stopped_s is None:
                level.stopped_s = self.now()
            after, wall_s = self._cpu.read(), time.perf_counter() - began_s
            level.client_cpu_share, level.other_cpu_share = CpuAccount.shares(before, after, wall_s)
            await loop.all_in()
        finally:
            lag_task.cancel()
            loop.close()
            gc.set_threshold(*thresholds)
            gc.unfreeze()
            with contextlib.suppress(asyncio.CancelledError):
                await lag_task
        if self._failure is not None:
            raise self._failure
        level.ended_s = self.now()
        live.elapsed_s = level.ended_s - level.started_s  # the last answers took time, too
        if lags:
            level.client_lag_p99_s = sorted(lags)[int(0.99 * (len(lags) - 1))]
        progress(live)

    async def _until_over(
        self, level: Level, live: LiveLevel, loop: Loop, progress: Callable[[LiveLevel], None]
    ) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await self.stop_event.wait()
            live.elapsed_s = self.now() - level.started_s
            progress(live)
            if self.stop_event.is_set():
                level.ended_because = self._stop_reason
                return
            if loop.over:
                level.ended_because = "requests"
                return
            reason = self._judgement.reason(live.elapsed_s)
            if reason is not None:
                level.ended_because = reason
                self.stop_event.set()
                return

    def number(self) -> int:
        """The number of the next request; no two processes give the same."""
        number = self._first_number + self.part.number + self.part.of * self._next
        self._next += 1
        return number

    def take_back(self, unsent: int) -> None:
        """The requests made last were not sent: their numbers go to others."""
        self._next -= unsent

    def request(self, index: int, ask: Ask, texts: Sequence[str] | None = None) -> bytes:
        """The bytes of a request; `texts` are those of a conversation."""
        text = texts or prompt_text(ask, self.workload.seed, index, self._probe.length)
        body = self._probe.dialect.body(self.workload.endpoint, self._probe.model, text, ask.output_tokens)
        return self.client.request("POST", PATHS[self.workload.endpoint], body)

    def stop(self, reason: Reason) -> None:
        """Sends no more; what is under way is waited for, unless the level is hopeless."""
        if not self.stop_event.is_set():
            self._stop_reason = reason
            self.stop_event.set()
            if reason == "hopeless":
                self.client.abort()

    def fail(self, error: BaseException) -> None:
        """The measurement itself cannot go on (the run cannot be written, say): raised once the level has ended."""
        self._failure = self._failure or error
        self.stop("errors")

    def record(self, level: Level, planned: Planned, exchange: Exchange, answer: Answer | None = None) -> RequestRecord:
        """Decodes an answer (unless that was done), records and counts it."""
        record = self._record(level, planned, exchange, answer or classify_exchange(exchange))
        self._add(record)
        self._judgement.add(record)
        reason = self._tally.count(record)
        if reason is not None:
            self.stop(reason)
        return record

    def _record(self, level: Level, planned: Planned, exchange: Exchange, answer: Answer) -> RequestRecord:
        origin = self.origin_s
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
            asked_input_tokens=planned.ask.input_tokens,
            asked_output_tokens=planned.ask.output_tokens,
            input_tokens=answer.input_tokens,
            cached_tokens=answer.cached_tokens,
            output_tokens=answer.output_tokens,
            finish_reason=answer.finish_reason,
            stagger=planned.stagger,
            chunk_s=chunk_s,
            session=planned.session,
            turn=planned.turn,
            text=answer.text or None if self._keep_answers else None,
        )


async def _sample_lag(lags: list[float]) -> None:
    """How late the loop wakes from short sleeps: what any timestamp may be off by.

    Of a long level every second sample is kept, then every fourth, and so on.
    """
    every = number = 1
    while True:
        due = time.perf_counter() + _LAG_SAMPLE_S
        await asyncio.sleep(_LAG_SAMPLE_S)
        if number % every == 0:
            lags.append(max(0.0, time.perf_counter() - due))
        number += 1
        if len(lags) >= _LAG_SAMPLES:
            del lags[::2]
            every *= 2
