"""Several load processes: together they do what one does, by one clock."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop

from rackrate.errors import RunError
from rackrate.measurement.host import CpuAccount
from rackrate.measurement.http import Client
from rackrate.measurement.live import LiveLevel
from rackrate.measurement.plan import LevelLimits, SweepPlan
from rackrate.measurement.probe import probe
from rackrate.measurement.sweep import sweep
from rackrate.measurement.target import Timeouts, parse_url
from rackrate.measurement.worker_pool import ProcessChannel, WorkerPool
from rackrate.metrics.summary import LevelSummary, summarise
from rackrate.runs.records import Engine, Level, Machine, RequestRecord, Run, RunHeader, ServedModel, WorkloadFacts
from rackrate.runs.store import RunWriter, read_run
from rackrate.workload.schedule import draw
from rackrate.workload.synthetic import SyntheticWorkload
from scripted_server import ScriptedServer

WORKLOAD = SyntheticWorkload(32, 8, seed=5)


class Silent:
    """A watcher that shows nothing."""

    def level_started(self, level: Level, position: int, of_at_most: int) -> None: ...
    def level_progress(self, live: LiveLevel) -> None: ...
    def level_ended(self, summary: LevelSummary) -> None: ...
    def note(self, text: str) -> None: ...


def measure(server: ScriptedServer, directory: Path, plan: SweepPlan, processes: int) -> Run:
    async def go() -> None:
        target = parse_url(server.url)
        async with Client(target) as client:
            found = await probe(client, WORKLOAD, None)
            header = RunHeader(
                created="2026-01-01T00:00:00+00:00", command="rackrate measure", rackrate_version="0",
                python_version="3", state="running", model=ServedModel(requested="m"),
                engine=Engine(name="scripted", url=server.url), machine=Machine(origin="unknown"),
                workload=WorkloadFacts(input_tokens=32, output_tokens=8, endpoint="chat", seed=5),
            )  # fmt: skip
            account = CpuAccount(None)
            channels = [await ProcessChannel.start() for _ in range(processes)]
            crew = WorkerPool(channels, target, None, Timeouts(), found, WORKLOAD, account, plan.slo)
            async with crew:
                with RunWriter(directory, header) as writer:
                    outcome = await sweep(client, found, WORKLOAD, plan, writer, account, Silent(), pool=crew)
                    header.state = "complete"
                    writer.finish()
            assert outcome == "complete"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(go())
    return read_run(directory)


@pytest.mark.timed
def test_processes_share_a_closed_level_and_count_every_request_once(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(5,), requests=60, warmup_requests=2, prefill=False)
    with ScriptedServer(ttft_s=0.02, itl_s=0.005) as server:
        run = measure(server, tmp_path / "run", plan, processes=2)
        truth = server.log[-60:]
    assert len(run.requests) == len(truth) == 60
    assert len({request.index for request in run.requests}) == 60
    assert all(request.ok for request in run.requests)
    (level,) = run.header.levels
    assert level.ended_because == "requests"
    # one clock: at no moment are more in flight than were asked for
    moments = np.linspace(level.started_s, level.stopped_s or 0.0, 200)
    in_flight = [sum(request.sent_s <= moment < request.done_s for request in run.requests) for moment in moments]
    assert max(in_flight) == 5
    (summary,) = summarise(run)
    assert summary.ttft is not None
    assert summary.ttft.p50 == pytest.approx(0.02, abs=0.01)


@pytest.mark.timed
def test_processes_send_the_schedule_that_one_would_send(tmp_path: Path) -> None:
    plan = SweepPlan(rates=(60.0,), requests=90, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.005, itl_s=0.001) as server:
        run = measure(server, tmp_path / "run", plan, processes=3)
    due_s = np.sort([request.due_s for request in run.requests])
    wanted = draw("poisson", 60.0, 90, WORKLOAD, level=0).due_s
    assert due_s - due_s[0] == pytest.approx(wanted - wanted[0], abs=1e-6)
    late_s = [request.sent_s - request.due_s for request in run.requests]
    assert np.median(late_s) < 0.005


def test_the_death_of_a_load_process_ends_the_measurement_with_a_sentence() -> None:
    async def go(server: ScriptedServer) -> None:
        target = parse_url(server.url)
        async with Client(target) as client:
            found = await probe(client, WORKLOAD, None)
            channels = [await ProcessChannel.start() for _ in range(2)]
            records: list[RequestRecord] = []
            async with WorkerPool(channels, target, None, Timeouts(), found, WORKLOAD, CpuAccount(None)) as crew:
                crew.recording(records.append)
                level = Level(index=0, kind="closed", concurrency=4, warmed_up=True, started_s=0.0)

                def kill(live: Any) -> None:
                    if live.done > 5 and channels[1].pid is not None and channels[1].process.returncode is None:
                        os.kill(channels[1].pid, signal.SIGKILL)

                await crew.run(level, LevelLimits(10_000, 30.0, 30.0), kill)

    with (
        ScriptedServer(ttft_s=0.01, itl_s=0.002) as server,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        pytest.raises(RunError, match="load process 1 of 2 ended before the measurement did"),
    ):
        runner.run(go(server))


def test_workers_end_with_their_crew() -> None:
    async def go() -> list[int | None]:
        channels = [await ProcessChannel.start() for _ in range(2)]
        for channel in channels:
            channel.patience_s = None  # a busy machine may need long to start them
        await asyncio.gather(*(channel.close() for channel in channels))
        return [channel.process.returncode for channel in channels]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(go()) == [0, 0]
