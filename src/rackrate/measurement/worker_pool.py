"""Several load processes as one: where one core cannot keep up with the server, or one machine cannot.

Every worker does its part of a level (of the streams of a closed loop, of the requests of a schedule), all by one
clock; the pool merges their records as they come, counts, and decides when the level ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

from rackrate.errors import RunError
from rackrate.measurement.host import CpuAccount
from rackrate.measurement.live import Judgement, LiveLevel, Reason, Tally
from rackrate.measurement.loops import WorkerShare
from rackrate.measurement.plan import LevelLimits
from rackrate.measurement.probe import Probe
from rackrate.measurement.target import Target, Timeouts
from rackrate.measurement.worker import Report, RunLevel, Setup, Stop, WarmUp, message_bytes, read_message
from rackrate.runs.records import Level, RequestRecord
from rackrate.workload.schedule import Schedule
from rackrate.workload.slo import Slo
from rackrate.workload.synthetic import SyntheticWorkload

_PREPARE_S = 0.5
_PREPARE_REQUEST_S = 1e-6
"""From the order to hold a level to its beginning, and more for each request of a schedule: every worker draws it."""
_MANY = 10**15
_SOURCE = str(Path(__file__).resolve().parents[2])
"""Where this package is, for workers."""
_TICK_S = 0.05


class WorkerChannel(Protocol):
    """A way to a worker, wherever it is."""

    @property
    def pid(self) -> int | None:
        """Of a process of this machine."""
        ...

    @property
    def offset_s(self) -> float:
        """What its clock shows when ours shows 0."""
        ...

    def send(self, message: Any) -> None:
        """Gives it a message."""
        ...

    async def receive(self) -> Any:
        """Its next message; None once it is gone."""
        ...

    async def close(self) -> None:
        """Has it end."""
        ...


@dataclass
class ProcessChannel:
    """A worker in a process of this machine."""

    process: asyncio.subprocess.Process
    offset_s: float = 0.0
    patience_s: float | None = 5.0
    """How long it may take to end by itself; None: as long as it needs."""

    @classmethod
    async def start(cls) -> Self:
        """Starts one. It ends by itself when this process does."""
        path = os.pathsep.join(filter(None, (_SOURCE, os.environ.get("PYTHONPATH"))))
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                "from rackrate.measurement.worker import main; main()",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
                limit=2**26,
            )
        )

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self.process.pid

    def send(self, message: Any) -> None:
        """Gives it a message."""
        assert self.process.stdin is not None  # noqa: S101 - started with a pipe
        with contextlib.suppress(ConnectionError, RuntimeError):  # `receive` tells of its end
            self.process.stdin.write(message_bytes(message))

    async def receive(self) -> Any:
        """Its next message; None once it is gone."""
        assert self.process.stdout is not None  # noqa: S101 - started with a pipe
        return await read_message(self.process.stdout)

    async def close(self) -> None:
        """Has it end: by the end of its input, or at last by force."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            async with asyncio.timeout(self.patience_s):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@dataclass
class _Worker:
    channel: WorkerChannel
    part: WorkerShare
    reports: asyncio.Queue[Report | None] = field(default_factory=asyncio.Queue["Report | None"])
    in_flight: int = 0
    over: Level | None = None


class WorkerPool:
    """Does what a LoadGenerator does, with several workers. Use it as an async context."""

    def __init__(
        self,
        channels: Sequence[WorkerChannel],
        target: Target,
        api_key: str | None,
        timeouts: Timeouts,
        probe: Probe,
        workload: SyntheticWorkload,
        cpu: CpuAccount,
        slo: Slo | None = None,
        elapsed_s: float = 0.0,
        first_number: int = 0,
        *,
        keep_answers: bool = False,
    ) -> None:
        """A run that is resumed has its clock at `elapsed_s`, and its requests numbered from `first_number` on."""
        self.origin_s = time.perf_counter() - elapsed_s
        self._cpu = cpu
        self._slo = slo
        self._add: Callable[[RequestRecord], None] = lambda _: None
        self._workers = [
            _Worker(channel, WorkerShare(number, len(channels))) for number, channel in enumerate(channels)
        ]
        self._readers: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._reason: Reason | None = None
        for worker in self._workers:
            origin_s = self.origin_s + worker.channel.offset_s
            part = worker.part
            worker.channel.send(
                Setup(target, api_key, timeouts, probe, workload, part, origin_s, first_number, keep_answers)
            )
            if worker.channel.pid is not None:
                cpu.add_client(worker.channel.pid)

    async def __aenter__(self) -> Self:
        self._readers = [asyncio.create_task(self._read(worker)) for worker in self._workers]
        try:
            for worker in self._workers:
                await self._report(worker)  # it is ready
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(worker.channel.close() for worker in self._workers))
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    @staticmethod
    async def _read(worker: _Worker) -> None:
        while (report := await worker.channel.receive()) is not None:
            worker.reports.put_nowait(report)
        worker.reports.put_nowait(None)

    def recording(self, add: Callable[[RequestRecord], None]) -> Self:
        """Has records given to `add`."""
        self._add = add
        return self

    def now(self) -> float:
        """Seconds since the run's start."""
        return time.perf_counter() - self.origin_s

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt` was called."""
        return self._reason in {"interrupted", "engine-died"}

    def interrupt(self, reason: Reason) -> None:
        """Ends the level at once: requests under way are recorded as `stopped`."""
        self._end(reason, at_once=True)

    def _end(self, reason: Reason, *, at_once: bool = False) -> None:
        if self._reason is None or at_once:
            self._reason = reason
            self._stop.set()
            for worker in self._workers:
                worker.channel.send(Stop(reason, at_once))

    async def warm_up(self, requests: int) -> None:
        """A few requests, shared among the workers, that are not recorded."""
        busy = [worker for worker in self._workers if worker.part.share(requests)]
        for worker in busy:
            worker.channel.send(WarmUp(worker.part.share(requests)))
        for worker in busy:
            await self._report(worker)

    async def _report(self, worker: _Worker) -> Report:
        report = await worker.reports.get()
        if report is None:
            raise RunError(f"load process {worker.part.number} of {worker.part.of} ended before the measurement did")
        if report.failure is not None:
            raise RunError(f"load process {worker.part.number} of {worker.part.of} failed: {report.failure}")
        return report

    async def run(
        self,
        level: Level,
        limits: LevelLimits,
        progress: Callable[[LiveLevel], None],
        schedule: Schedule | None = None,
    ) -> None:
        """As LoadGenerator.run."""
        live = LiveLevel(level, limits)
        if not self.interrupted:
            self._stop.clear()
            self._reason = None
        tally, judgement = Tally(live, self._slo), Judgement(live)
        begin_s = time.perf_counter() + _PREPARE_S + _PREPARE_REQUEST_S * (len(schedule) if schedule else 0)
        level.started_s = begin_s - self.origin_s
        busy = self._give_out(level, limits, schedule, begin_s)
        before, began_s = self._cpu.read(), time.perf_counter()
        takers = [asyncio.create_task(self._take(worker, live, tally, judgement)) for worker in busy]
        after, wall_s = before, 1e-9
        try:
            while not all(taker.done() for taker in takers):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_TICK_S):
                        await asyncio.wait(takers)
                for taker in takers:
                    if taker.done():
                        taker.result()
                live.in_flight = sum(worker.in_flight for worker in busy)
                live.elapsed_s = max(0.0, self.now() - level.started_s)
                progress(live)
                if not self._stop.is_set():
                    after, wall_s = self._cpu.read(), time.perf_counter() - began_s
                    reason = judgement.reason(live.elapsed_s)
                    if reason is not None:
                        self._end(reason)
        finally:
            for taker in takers:
                taker.cancel()
        self._merge(level, [worker.over for worker in busy if worker.over is not None])
        _, level.other_cpu_share = CpuAccount.shares(before, after, wall_s)
        level.ended_because = self._reason or "requests"
        progress(live)

    def _give_out(self, level: Level, limits: LevelLimits, schedule: Schedule | None, begin_s: float) -> list[_Worker]:
        """Orders every worker that has a part in the level to do it."""
        busy: list[_Worker] = []
        for worker in self._workers:
            number = worker.part.share(limits.requests) if limits.exact else _MANY
            if schedule is None and not worker.part.share(level.concurrency or 1):
                continue
            if number == 0:
                continue
            worker.over = None
            worker.channel.send(
                RunLevel(
                    level.model_copy(),
                    replace(limits, requests=number, least_s=limits.most_s, most_s=limits.most_s + 60.0),
                    _pattern(level.arrivals) if schedule is not None else None,
                    len(schedule) if schedule is not None else 0,
                    begin_s + worker.channel.offset_s,
                )
            )
            busy.append(worker)
        return busy

    async def _take(self, worker: _Worker, live: LiveLevel, tally: Tally, judgement: Judgement) -> None:
        """Takes a worker's records until its part is over."""
        while worker.over is None:
            report = await self._report(worker)
            for record in report.records:
                self._add(record)
                judgement.add(record)
                reason = tally.count(record)
                if reason is not None and not self._stop.is_set():
                    self._end(reason, at_once=reason == "hopeless")
            worker.in_flight, worker.over = report.in_flight, report.over

    @staticmethod
    def _merge(level: Level, parts: Sequence[Level]) -> None:
        """A level's figures from those of its parts: the span of all, the worst of each client figure."""
        if not parts:
            return
        level.started_s = min(part.started_s for part in parts)
        level.stopped_s = max(part.stopped_s or 0.0 for part in parts)
        level.ended_s = max(part.ended_s or 0.0 for part in parts)
        level.client_cpu_share = max(part.client_cpu_share or 0.0 for part in parts)
        level.client_lag_p99_s = max(part.client_lag_p99_s or 0.0 for part in parts)


def _pattern(arrivals: str | None) -> str:
    """The pattern to draw from the name under which a level records it: a trace's file is the workload's."""
    name = arrivals or "poisson"
    return "trace" if name.startswith("trace:") else name
