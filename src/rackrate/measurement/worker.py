"""One of several load processes: does its part of each level, and hands over its records every 50 ms.

Run by `pool`, with messages as pickles over its standard input and output: both ends are this program's own. The clock
is the machine's monotonic one, which all its processes share.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import struct
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from rackrate.measurement.host import CpuAccount
from rackrate.measurement.http import Client
from rackrate.measurement.live import LiveLevel, Reason
from rackrate.measurement.load import LoadGenerator
from rackrate.measurement.loops import WorkerShare
from rackrate.measurement.plan import LevelLimits
from rackrate.measurement.probe import Probe
from rackrate.measurement.target import Target, Timeouts
from rackrate.runs.records import Level, RequestRecord
from rackrate.workload.schedule import draw
from rackrate.workload.synthetic import SyntheticWorkload

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True)
class Setup:
    """What a worker needs to know once."""

    target: Target
    api_key: str | None = field(repr=False)
    timeouts: Timeouts
    probe: Probe
    workload: SyntheticWorkload
    part: WorkerShare
    origin_s: float
    """The run's start on the worker's own clock."""
    first_number: int = 0
    """Of the pool's requests."""
    keep_answers: bool = False


@dataclass(frozen=True)
class WarmUp:
    """So many requests that are not recorded."""

    requests: int


@dataclass(frozen=True)
class RunLevel:
    """A level, of which the worker does its part."""

    level: Level
    limits: LevelLimits
    """The worker's own."""
    arrivals: str | None
    """Of an open loop: every worker draws the same schedule by the seed, and sends its part."""
    schedule_requests: int
    begin_s: float
    """On the worker's own clock."""


@dataclass(frozen=True)
class Stop:
    """Ends the level under way."""

    reason: Reason
    at_once: bool
    """Whether requests under way are cut off."""


@dataclass(frozen=True)
class Report:
    """What a worker has to say: records since the last report, and, once a level is over, its figures."""

    records: list[RequestRecord]
    in_flight: int
    over: Level | None = None
    failure: str | None = None


Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], None]


async def work(setup: Setup, receive: Receive, send: Send) -> None:
    """Does what it is told until there are no more messages (None)."""
    records: list[RequestRecord] = []

    def progress(live: LiveLevel) -> None:
        ready = records.copy()
        records.clear()
        send(Report(ready, live.in_flight))

    async with Client(setup.target, setup.api_key, setup.timeouts) as client:
        generator = LoadGenerator(
            client,
            setup.probe,
            setup.workload,
            records.append,
            CpuAccount(None),
            part=setup.part,
            origin_s=setup.origin_s,
            first_number=setup.first_number,
            keep_answers=setup.keep_answers,
        )

        async def hold(task: RunLevel) -> None:
            level, schedule = task.level, None
            try:
                if task.arrivals is not None:
                    schedule = draw(
                        task.arrivals, level.rate or 0.0, task.schedule_requests, setup.workload, level.index
                    )
                await generator.run(level, task.limits, progress, schedule, task.begin_s)
            except Exception as error:  # noqa: BLE001 - told to the pool, which ends the measurement with it
                send(Report([], 0, level, f"{type(error).__name__}: {error}"))
            else:
                send(Report(records, 0, level))
                records.clear()

        send(Report([], 0))  # ready
        running: asyncio.Task[None] | None = None
        while (message := await receive()) is not None:
            match message:
                case RunLevel():
                    running = asyncio.create_task(hold(message))
                case WarmUp():
                    await generator.warm_up(message.requests)
                    send(Report([], 0))
                case Stop(reason=reason, at_once=True):
                    generator.interrupt(reason)
                case Stop(reason=reason):
                    generator.stop(reason)
                case _:
                    raise AssertionError(message)
        if running is not None and not running.done():
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def read_message(reader: asyncio.StreamReader) -> Any:
    """The next message of a stream; None at its end."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return pickle.loads(await reader.readexactly(length))  # noqa: S301 - from our own process, over a pipe
    except asyncio.IncompleteReadError:
        return None


def message_bytes(message: Any) -> bytes:
    """A message as it is written to a stream."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


async def _main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    out = os.dup(sys.stdout.fileno())  # whatever prints by mistake does not get among the messages
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(message: Any) -> None:
        data = memoryview(message_bytes(message))
        while data:
            data = data[os.write(out, data) :]

    setup = await read_message(reader)
    if setup is not None:
        with contextlib.suppress(BrokenPipeError):  # the measurement is gone
            await work(setup, lambda: read_message(reader), send)


def main() -> None:
    """A worker's whole life."""
    import uvloop

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pool's to hear
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main())
