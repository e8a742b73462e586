"""A sweep against a server of known timing: what is recorded, how it ends, and what is left when it is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
import uvloop
from rackrate.errors import WorkloadError
from rackrate.measure.host import CpuAccount
from rackrate.measure.http import Client, Timeouts, parse_url
from rackrate.measure.load import LevelLimits, LiveLevel, LoadGenerator
from rackrate.measure.probe import Probe, probe
from rackrate.measure.sweep import Outcome, SweepPlan, gains_ended, sweep
from rackrate.metrics import LevelSummary, saturation, summarise
from rackrate.records import (
    Engine,
    Level,
    Machine,
    RequestRecord,
    Run,
    RunHeader,
    ServedModel,
    WorkloadFacts,
)
from rackrate.run_store import JOURNAL, TABLE, RunWriter, read_run
from rackrate.workload.synthetic import SyntheticWorkload
from scripted_server import ScriptedServer

T = TypeVar("T")

TTFT_S = 0.020
ITL_S = 0.005
TOKENS = 16
REQUEST_S = TTFT_S + (TOKENS - 1) * ITL_S
WORKLOAD = SyntheticWorkload(input_tokens=32, output_tokens=TOKENS)
PROBES = 2
"""Requests that a probe sends to a server that takes the first dialect."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs it on the loop that measurements use."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@dataclass
class Watching:
    """A Watcher that remembers."""

    started: list[Level] = field(default_factory=list[Level])
    ended: list[LevelSummary] = field(default_factory=list[LevelSummary])
    notes: list[str] = field(default_factory=list[str])
    shares: list[float] = field(default_factory=list[float])

    def level_started(self, level: Level, position: int, of_at_most: int) -> None:
        """Keeps the level."""
        assert 1 <= position <= of_at_most
        self.started.append(level)

    def level_progress(self, live: LiveLevel) -> None:
        """Keeps how far it is."""
        self.shares.append(live.share)

    def level_ended(self, summary: LevelSummary) -> None:
        """Keeps the summary."""
        self.ended.append(summary)

    def note(self, text: str) -> None:
        """Keeps the text."""
        self.notes.append(text)


@dataclass(frozen=True)
class Swept:
    """What came of a sweep."""

    outcome: Outcome
    run: Run
    watcher: Watching

    def of_level(self, index: int) -> list[RequestRecord]:
        """The requests of one level."""
        return [request for request in self.run.requests if request.level == index]


def header(found: Probe, url: str) -> RunHeader:
    """A header for a run of the scripted server."""
    return RunHeader(
        created="2026-01-01T00:00:00+00:00",
        command="test",
        rackrate_version="0",
        python_version="3",
        state="running",
        model=ServedModel(requested=found.model),
        engine=Engine(name="scripted", url=url),
        machine=Machine(origin="unknown"),
        workload=WorkloadFacts(input_tokens=32, output_tokens=TOKENS, endpoint="chat", seed=0),
    )


def measure(
    server: ScriptedServer,
    directory: Path,
    plan: SweepPlan,
    *,
    workload: SyntheticWorkload = WORKLOAD,
    timeouts: Timeouts | None = None,
    engine_alive: Callable[[], bool] = lambda: True,
) -> Swept:
    """Sweeps a server into a directory, and reads back what was written."""
    watcher = Watching()

    async def go() -> Outcome:
        async with Client(parse_url(server.url), None, timeouts) as client:
            found = await probe(client, workload, None)
            with RunWriter(directory, header(found, server.url)) as writer:
                outcome = await sweep(
                    client, found, workload, plan, writer, CpuAccount(None), watcher, engine_alive
                )
                writer.finish()
        return outcome

    return Swept(run(go()), read_run(directory), watcher)


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Swept, ScriptedServer]]:
    """One short sweep at 1 and 4 in flight, and the server that knows the truth of it."""
    plan = SweepPlan(levels=(1, 4), least_s=1.2, warmup_requests=3)
    with ScriptedServer(ttft_s=TTFT_S, itl_s=ITL_S) as server:
        yield measure(server, tmp_path_factory.mktemp("timed") / "run", plan), server


def test_throughput_is_what_the_script_allows(timed: tuple[Swept, ScriptedServer]) -> None:
    swept, server = timed
    for summary in summarise(swept.run)[:2]:
        own_s = [r.token_s[-1] - r.received_s for r in server.log if r.asked_tokens == TOKENS]
        # a closed loop: each in flight asks again as soon as it is answered
        allowed = summary.concurrency * TOKENS / REQUEST_S
        assert min(own_s) > REQUEST_S * 0.98
        assert summary.output_tok_s == pytest.approx(allowed, rel=0.10)
        assert summary.request_s == pytest.approx(allowed / TOKENS, rel=0.15)
        assert summary.input_tok_s == pytest.approx(allowed / TOKENS * 32, rel=0.15)


def test_latencies_are_the_scripts(timed: tuple[Swept, ScriptedServer]) -> None:
    for summary in summarise(timed[0].run)[:2]:
        assert summary.ttft is not None
        assert summary.tpot is not None
        assert summary.itl is not None
        assert summary.e2e is not None
        assert summary.ttft.p50 == pytest.approx(TTFT_S, abs=0.004)
        assert summary.tpot.p50 == pytest.approx(ITL_S, abs=0.0005)
        assert summary.itl.p50 == pytest.approx(ITL_S, abs=0.0015)
        assert summary.e2e.p50 == pytest.approx(REQUEST_S, abs=0.006)
        assert summary.tokens_per_chunk == 1.0


def test_the_run_is_whole(timed: tuple[Swept, ScriptedServer]) -> None:
    swept, _ = timed
    found = swept.run
    assert swept.outcome == "complete"
    assert [(level.kind, level.concurrency) for level in found.header.levels] == [
        ("closed", 1),
        ("closed", 4),
        ("prefill", 4),
    ]
    assert sorted(request.index for request in found.requests) == list(range(len(found.requests)))
    assert found.torn_lines == 0
    previous_s = 0.0
    for level in found.header.levels:
        assert level.ended_because == "requests"
        assert level.warmed_up
        assert level.stopped_s is not None
        assert level.ended_s is not None
        assert previous_s <= level.started_s < level.stopped_s <= level.ended_s
        previous_s = level.ended_s
        assert level.client_cpu_share is not None
        assert level.client_lag_p99_s is not None
        assert all(level.started_s <= r.sent_s <= level.stopped_s for r in swept.of_level(level.index))
        assert len(swept.of_level(level.index)) >= 11 * level.concurrency
    assert [summary.index for summary in swept.watcher.ended] == [0, 1, 2]
    assert swept.watcher.ended == summarise(found)
    assert max(swept.watcher.shares) == 1.0
    best = saturation(summarise(found))
    assert best is not None
    assert (best.level.concurrency, best.lower_bound) == (4, True)


def test_each_record_is_what_the_server_did(timed: tuple[Swept, ScriptedServer]) -> None:
    swept, server = timed
    log = server.log[PROBES + 3 :]
    assert len(log) == len(swept.run.requests)  # the warm-up is not recorded, all else is
    assert {request.prompt_tokens for request in log} == {32}
    for record in swept.run.requests:
        assert record.ok
        assert (record.input_tokens, record.output_tokens) == (32, record.asked_output_tokens)
        assert record.asked_input_tokens == 32
        assert len(record.chunk_s) == record.output_tokens
        assert record.http_status == 200
        assert record.finish_reason == "length"
        assert record.first_byte_s is not None
        times = [record.due_s, record.sent_s, record.first_byte_s, *record.chunk_s, record.done_s]
        assert times == sorted(times)
        assert record.first_token_s == record.chunk_s[0]
    assert sorted(r.asked_output_tokens for r in swept.run.requests) == sorted(r.asked_tokens for r in log)
    texts = [request.body["messages"][0]["content"] for request in server.log]
    assert len(set(texts)) == len(texts)  # no prefix cache may help


def test_first_requests_are_staggered_and_count_for_no_latency(timed: tuple[Swept, ScriptedServer]) -> None:
    swept, _ = timed
    alone, four, prefill = (swept.of_level(index) for index in range(3))
    assert not any(request.stagger for request in alone + prefill)
    first = sorted(four, key=lambda request: request.sent_s)[:4]
    assert {request.index for request in four if request.stagger} == {request.index for request in first}
    assert len({request.asked_output_tokens for request in first}) > 1
    assert all(request.asked_output_tokens == (TOKENS if not request.stagger else request.output_tokens) for request in four)
    assert {request.asked_output_tokens for request in prefill} == {1}
    level = swept.run.header.levels[1]
    summary = summarise(swept.run)[1]
    assert summary.e2e is not None
    assert summary.e2e.count <= sum(not request.stagger for request in four)
    slow = [replace(r, first_token_s=r.sent_s + 9, done_s=r.sent_s + 9) if r.stagger else r for r in four]
    again = summarise(Run(swept.run.header, slow))[level.index]
    assert (again.ttft, again.tpot, again.e2e) == (summary.ttft, summary.tpot, summary.e2e)


def test_a_number_of_requests_is_kept_exactly(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(1, 3, 8), requests=5, warmup_requests=2, prefill=False)
    with ScriptedServer(ttft_s=0.005, itl_s=0.001) as server:
        swept = measure(server, tmp_path / "run", plan)
        assert len(server.log) == PROBES + 2 + 3 * 5
    assert swept.outcome == "complete"
    for level in swept.run.header.levels:
        sent = swept.of_level(level.index)
        assert [request.ok for request in sent] == [True] * 5
        assert level.ended_because == "requests"
        assert level.stopped_s == max(request.sent_s for request in sent)
    assert swept.watcher.notes == ["warming up with 2 requests"]


def test_without_a_warm_up_the_first_level_is_cold(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(1, 2), requests=2, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.0, itl_s=0.0) as server:
        swept = measure(server, tmp_path / "run", plan)
        assert len(server.log) == PROBES + 4
    assert [level.warmed_up for level in swept.run.header.levels] == [False, True]
    assert ["cold" in summary.validity for summary in summarise(swept.run)] == [True, False]


def test_levels_double_until_gains_end(tmp_path: Path) -> None:
    plan = SweepPlan(max_concurrency=6, least_s=0.05, most_s=0.3, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.01, itl_s=0.001) as server:
        swept = measure(server, tmp_path / "run", plan)
    # this server's answers take as long at any load, so that gains never end
    assert [level.concurrency for level in swept.run.header.levels] == [1, 2, 4, 6]


def test_faults_are_counted_by_kind_and_keep_their_tokens(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(4,), requests=24, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.005, itl_s=0.001, oddities=["reset"], spared=PROBES, every=3) as server:
        swept = measure(server, tmp_path / "run", plan)
        broken = [len(request.token_s) for request in server.log if request.oddities]
    (summary,) = summarise(swept.run)
    assert swept.outcome == "complete"
    assert (summary.requests, summary.failed) == (16, {"reset": 8})
    assert "errors" in summary.validity
    failed = [request for request in swept.run.requests if not request.ok]
    assert sorted(len(request.chunk_s) for request in failed) == sorted(broken)
    assert all(request.output_tokens is None and request.detail for request in failed)


def test_faults_of_several_kinds_are_counted_apart(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(12,), requests=12, warmup_requests=0, prefill=False)
    kinds = {"status-500": "http-5xx", "status-429": "http-429", "error-event": "error-event", "stall": "timeout-gap"}
    total: dict[str, int] = {}
    for oddity, kind in kinds.items():
        with ScriptedServer(ttft_s=0.0, itl_s=0.0, models=[f"{oddity}", "plain"]) as server:
            server.spared = 0
            swept = measure_model(server, oddity, tmp_path / kind, plan)
        (summary,) = summarise(swept.run)
        total |= summary.failed
    assert total == dict.fromkeys(kinds.values(), 12)
