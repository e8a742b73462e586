"""One level of a closed loop: so many requests in flight at all times, each replaced as it ends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rackrate.measure.host import CpuAccount
from rackrate.measure.http import Client, Exchange
from rackrate.measure.loose_json import as_object, error_text, parse
from rackrate.measure.probe import PATHS, Probe
from rackrate.measure.sse import Answer, chunks_so_far, decode
from rackrate.records import OK, Level, RequestRecord
from rackrate.workload.synthetic import SyntheticWorkload, prompt

_LAG_SAMPLE_S = 0.01
_BACK_OFF_S = 0.2


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
    ) -> None:
        self._client = client
        self._probe = probe
        self._workload = workload
        self._add = add
        self._cpu = cpu
        self._indices = itertools.count()
        self._words = probe.length.words_for(workload.input_tokens)
        self._stop: asyncio.Event = asyncio.Event()
        self._stop_reason: str | None = None
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

    async def warm_up(self, requests: int) -> None:
        """A few requests, one after the other and then all at once, that are not recorded."""
        path = PATHS[self._workload.endpoint]
        texts = [
            self._client.request("POST", path, self._body(-1 - index, self._workload.output_tokens))
            for index in range(requests)
        ]
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

    async def run(self, level: Level, limits: LevelLimits, progress: Callable[[LiveLevel], None]) -> None:
        """Holds the level until its limits, waits for what is under way, and fills in the level's figures."""
        live = LiveLevel(level, limits)
        if not self.interrupted:
            self._stop.clear()
            self._stop_reason = None
        budget = itertools.count() if not limits.exact else iter(range(limits.requests))
        before, began_s = self._cpu.read(), time.perf_counter()
        lags: list[float] = []
        lag_task = asyncio.create_task(_sample_lag(lags))
        level.started_s = self.now()
        workers = [asyncio.create_task(self._worker(level, live, budget, rank)) for rank in range(level.concurrency)]
        try:
            await self._until_over(level, live, workers, progress)
            if level.stopped_s is None:
                level.stopped_s = self.now()
            after, wall_s = self._cpu.read(), time.perf_counter() - began_s
            level.client_cpu_share, level.other_cpu_share = CpuAccount.shares(before, after, wall_s)
            while self.interrupted and not all(worker.done() for worker in workers):
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

    async def _worker(self, level: Level, live: LiveLevel, budget: Iterator[int], rank: int) -> None:
        asked = 1 if level.kind == "prefill" else self._workload.output_tokens
        stagger = level.kind == "closed" and level.concurrency > 1
        failures = 0
        for _ in budget:
            if self._stop.is_set():
                return
            index = next(self._indices)
            output_tokens = asked
            if stagger:
                # as long as what a request under way has left, so that workers never march in step
                output_tokens = random.Random(f"{self._workload.seed}/{level.index}/{rank}").randint(1, asked)
            record = await self._ask(level, index, output_tokens, stagger)
            if live.limits.exact:
                level.stopped_s = max(level.stopped_s or 0.0, record.sent_s)
            stagger = False
            self._add(record)
            if record.ok:
                failures = 0
                live.done += 1
                live.input_tokens += record.input_tokens or 0
                live.output_tokens += record.output_tokens or len(record.chunk_s)
            else:
                live.failed += 1
                failures += 1
                if live.failed > 50 and live.failed > 10 * live.done and not self._stop.is_set():
                    self._stop_reason = "errors"
                    self._stop.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(_BACK_OFF_S * 2 ** min(failures - 1, 5), 5.0)):
                        await self._stop.wait()

    def _body(self, index: int, output_tokens: int) -> bytes:
        text = prompt(self._words, self._workload.seed, index)
        return self._probe.dialect.body(self._workload.endpoint, self._probe.model, text, output_tokens)

    async def _ask(self, level: Level, index: int, output_tokens: int, stagger: bool) -> RequestRecord:
        path = PATHS[self._workload.endpoint]
        exchange = await self._client.exchange(self._client.request("POST", path, self._body(index, output_tokens)))
        return self._record(level, index, output_tokens, stagger, exchange)

    def _record(self, level: Level, index: int, output_tokens: int, stagger: bool, exchange: Exchange) -> RequestRecord:
        origin = self.origin_s
        answer = _judge(exchange)
        chunk_s = tuple(time_s - origin for time_s in answer.chunk_s)
        sent_s = (exchange.sent_s if exchange.sent_s is not None else exchange.started_s) - origin
        return RequestRecord(
            index=index,
            level=level.index,
            due_s=sent_s,  # a closed loop has no schedule: a request is due when it is sent
            sent_s=sent_s,
            first_byte_s=exchange.first_byte_s - origin if exchange.first_byte_s is not None else None,
            first_token_s=chunk_s[0] if chunk_s else None,
            done_s=(exchange.done_s if exchange.done_s is not None else time.perf_counter()) - origin,
            status=answer.status,
            http_status=exchange.http_status,
            detail=answer.detail,
            asked_input_tokens=self._workload.input_tokens,
            asked_output_tokens=output_tokens,
            input_tokens=answer.input_tokens,
            cached_tokens=answer.cached_tokens,
            output_tokens=answer.output_tokens,
            finish_reason=answer.finish_reason,
            stagger=stagger,
            chunk_s=chunk_s,
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
