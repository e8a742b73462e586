"""A sweep against a server of known timing: what is recorded, how it ends, and what is left when it is killed."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from rackrate.errors import WorkloadError
from rackrate.measurement.host import CpuAccount
from rackrate.measurement.http import Client
from rackrate.measurement.live import LiveLevel
from rackrate.measurement.load import LoadGenerator
from rackrate.measurement.plan import LevelLimits
from rackrate.measurement.probe import Dialect, Probe, probe
from rackrate.measurement.sweep import Outcome, SweepPlan, gains_ended, sweep
from rackrate.measurement.target import Timeouts, parse_url
from rackrate.metrics.saturation import saturation
from rackrate.metrics.summary import LevelSummary, summarise
from rackrate.runs.records import (
    Engine,
    Level,
    Machine,
    RequestRecord,
    Run,
    RunHeader,
    ServedModel,
    WorkloadFacts,
)
from rackrate.runs.statuses import OK
from rackrate.runs.store import JOURNAL, TABLE, RunWriter, read_run
from rackrate.workload.prompts import PromptLength
from rackrate.workload.synthetic import SyntheticWorkload
from scripted_answers import Oddity, Served
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
                outcome = await sweep(client, found, workload, plan, writer, CpuAccount(None), watcher, engine_alive)
                writer.finish()
        return outcome

    return Swept(run(go()), read_run(directory), watcher)


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Swept, ScriptedServer]:
    """One short sweep at 1 and 4 in flight, the calmest of three at most, and the server that knows the truth of it."""
    plan = SweepPlan(levels=(1, 4), least_s=1.2, warmup_requests=3)
    tried: list[tuple[float, Swept, ScriptedServer]] = []
    while len(tried) < 3 and not (tried and tried[-1][0] < 0.002):
        with ScriptedServer(ttft_s=TTFT_S, itl_s=ITL_S) as server:
            swept = measure(server, tmp_path_factory.mktemp("timed") / "run", plan)
        lag_s = max(level.client_lag_p99_s or 0.0 for level in swept.run.header.levels)
        tried.append((lag_s, swept, server))
    return min(tried, key=lambda item: item[0])[1:]


def truth(timed: tuple[Swept, ScriptedServer], index: int) -> list[Served]:
    """What the server did with the whole answers of a level."""
    swept, server = timed
    first = PROBES + 3 + sum(len(swept.of_level(level)) for level in range(index))
    of_level = server.log[first : first + len(swept.of_level(index))]
    return [served for served in of_level if served.asked_tokens == TOKENS]


@pytest.mark.parametrize("index", [0, 1])
def test_throughput_is_what_the_script_allows(timed: tuple[Swept, ScriptedServer], index: int) -> None:
    summary = summarise(timed[0].run)[index]
    in_flight = summary.concurrency or 0
    own_s = [served.token_s[-1] - served.received_s for served in truth(timed, index)]
    assert min(own_s) > REQUEST_S * 0.98
    # a closed loop: each in flight asks again as soon as it is answered; a busy machine takes longer than the script
    allowed, possible = (in_flight * TOKENS / each_s for each_s in (REQUEST_S, statistics.mean(own_s)))
    assert summary.output_tok_s is not None
    assert summary.request_s is not None
    assert summary.input_tok_s is not None
    assert possible * 0.9 < summary.output_tok_s < allowed * 1.05
    assert possible * 0.85 < summary.request_s * TOKENS < allowed * 1.15
    assert possible * 0.85 < summary.input_tok_s / 32 * TOKENS < allowed * 1.15


@pytest.mark.parametrize("index", [0, 1])
def test_latencies_are_the_scripts(timed: tuple[Swept, ScriptedServer], index: int) -> None:
    summary = summarise(timed[0].run)[index]
    served = truth(timed, index)
    ttft_s = statistics.median(item.ttft_s for item in served)
    e2e_s = statistics.median(item.token_s[-1] - item.received_s for item in served)
    assert ttft_s > TTFT_S * 0.98
    assert summary.ttft is not None
    assert summary.tpot is not None
    assert summary.itl is not None
    assert summary.e2e is not None
    assert summary.ttft.p50 == pytest.approx(ttft_s, abs=0.004)
    assert summary.e2e.p50 == pytest.approx(e2e_s, abs=0.006)
    assert summary.tpot.p50 == pytest.approx((e2e_s - ttft_s) / (TOKENS - 1), abs=0.0005)
    assert summary.itl.p50 == pytest.approx(ITL_S, abs=0.0015)
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
        assert len(swept.of_level(level.index)) >= 11 * (level.concurrency or 0) > 0
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
    assert sorted(r.asked_output_tokens or 0 for r in swept.run.requests) == sorted(r.asked_tokens for r in log)
    texts = [request.body["messages"][0]["content"] for request in server.log]
    assert len(set(texts)) == len(texts)  # no prefix cache may help


def test_first_requests_are_staggered_and_count_for_no_latency(timed: tuple[Swept, ScriptedServer]) -> None:
    swept, _ = timed
    alone, four, prefill = (swept.of_level(index) for index in range(3))
    assert not any(request.stagger for request in alone + prefill)
    first = sorted(four, key=lambda request: request.sent_s)[:4]
    assert {request.index for request in four if request.stagger} == {request.index for request in first}
    # evenly spread, so that requests of one length do not end together ever after
    shares = [max(1, round((place + 0.5) / 4 * TOKENS)) for place in range(4)]
    assert sorted(request.asked_output_tokens or 0 for request in first) == shares
    assert all(
        request.asked_output_tokens == (TOKENS if not request.stagger else request.output_tokens) for request in four
    )
    assert {request.asked_output_tokens for request in prefill} == {1}
    level = swept.run.header.levels[1]
    summary = summarise(swept.run)[1]
    assert summary.e2e is not None
    assert (summary.e2e.count or 0) <= sum(not request.stagger for request in four)
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
    assert ["cold" in summary.caveats for summary in summarise(swept.run)] == [True, False]


def test_levels_double_until_gains_end(tmp_path: Path) -> None:
    plan = SweepPlan(max_concurrency=6, least_s=0.05, most_s=0.3, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.01, itl_s=0.001) as server:
        swept = measure(server, tmp_path / "run", plan)
    # this server's answers take as long at any load, so that gains never end
    assert [level.concurrency for level in swept.run.header.levels] == [1, 2, 4, 6]


@pytest.mark.timed
def test_a_sweep_ends_where_the_server_can_do_no_more(tmp_path: Path) -> None:
    plan = SweepPlan(max_concurrency=64, least_s=0.8, most_s=0.8, warmup_requests=1, prefill=False)
    with ScriptedServer(ttft_s=0.002, itl_s=0.002, slots=2) as server:
        swept = measure(server, tmp_path / "run", plan)
    # 2 in flight fill the slots; 4 and 8 gain nothing (16 is for a machine that was busy with something else)
    assert [level.concurrency for level in swept.run.header.levels] in ([1, 2, 4, 8], [1, 2, 4, 8, 16])
    best = saturation(summarise(swept.run))
    assert best is not None
    assert (best.level.concurrency or 0) > 1
    assert not best.lower_bound
    assert best.level.output_tok_s == pytest.approx(2 / 0.002, rel=0.1)


def test_faults_are_counted_by_kind_and_keep_their_tokens(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(4,), requests=24, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.005, itl_s=0.001, oddities=["reset"], spared=PROBES, every=3) as server:
        swept = measure(server, tmp_path / "run", plan)
        broken = [len(request.token_s) for request in server.log if request.oddities]
    (summary,) = summarise(swept.run)
    assert swept.outcome == "complete"
    assert (summary.requests, summary.failed) == (16, {"reset": 8})
    assert "errors" in summary.caveats
    failed = [request for request in swept.run.requests if not request.ok]
    assert sorted(len(request.chunk_s) for request in failed) == sorted(broken)
    assert all(request.output_tokens is None and request.detail for request in failed)


def test_faults_of_several_kinds_are_counted_apart(tmp_path: Path) -> None:
    kinds: dict[Oddity, str] = {
        "status-500": "http-5xx", "status-429": "http-429", "error-event": "error-event", "stall": "timeout-gap",
        "cut": "reset", "malformed": "malformed", "not-streaming": "not-streaming", "aborts": "broken-off",
    }  # fmt: skip
    plan = SweepPlan(levels=(16,), requests=32, warmup_requests=0, prefill=False)
    script = ScriptedServer(ttft_s=0.005, itl_s=0.0, oddities=list(kinds), spared=PROBES, every=2, in_turn=True)
    with script as server:
        swept = measure(server, tmp_path / "run", plan, timeouts=Timeouts(gap_s=0.1))
    (summary,) = summarise(swept.run)
    assert summary.failed == dict.fromkeys(kinds.values(), 2)
    assert summary.requests == 16


@pytest.mark.timed
def test_a_level_ends_where_nearly_all_fails(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(60, 64), least_s=20.0, warmup_requests=0)
    with ScriptedServer(ttft_s=0.005, itl_s=0.0, oddities=["status-503"], spared=PROBES) as server:
        swept = measure(server, tmp_path / "run", plan)
    (level,) = swept.run.header.levels
    assert (swept.outcome, level.ended_because) == ("errors", "errors")
    assert level.ended_s is not None
    assert level.ended_s - level.started_s < 5.0
    (summary,) = summarise(swept.run)
    assert (summary.requests, set(summary.failed)) == (0, {"http-5xx"})
    assert summary.output_tok_s is None
    assert saturation([summary]) is None


@pytest.mark.timed
def test_a_sweep_ends_where_a_level_has_no_answer_at_all(tmp_path: Path) -> None:
    # too few failures to end the level before its time: workers wait longer and longer between two
    plan = SweepPlan(levels=(1, 2), least_s=0.2, most_s=0.8, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.0, itl_s=0.0, oddities=["status-503"], spared=PROBES) as server:
        swept = measure(server, tmp_path / "run", plan)
    assert swept.outcome == "errors"
    assert len(swept.run.header.levels) == 1


@pytest.mark.timed
def test_a_level_that_takes_too_long_ends_in_time(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(2,), least_s=0.05, most_s=0.25, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.01, itl_s=0.005) as server:
        swept = measure(server, tmp_path / "run", plan)
    (level,) = swept.run.header.levels
    assert level.ended_because == "time"
    assert level.stopped_s is not None
    assert level.ended_s is not None
    assert 0.25 <= level.stopped_s - level.started_s < 0.5
    # what was under way was waited for
    assert all(request.ok for request in swept.run.requests)
    assert level.ended_s >= max(request.done_s for request in swept.run.requests)


@pytest.mark.timed
def test_an_interrupt_keeps_what_was_measured_and_marks_what_was_under_way(tmp_path: Path) -> None:
    level = Level(index=0, kind="closed", concurrency=5, warmed_up=True, started_s=0.0)
    lives: list[LiveLevel] = []

    async def go(server: ScriptedServer) -> float:
        async with Client(parse_url(server.url)) as client:
            found = await probe(client, WORKLOAD, None)
            with RunWriter(tmp_path / "run", header(found, server.url)) as writer:
                writer.header.levels.append(level)
                generator = LoadGenerator(client, found, WORKLOAD, writer.add, CpuAccount(None))

                def progress(live: LiveLevel) -> None:
                    lives.append(live)
                    if live.elapsed_s > 0.3:
                        generator.interrupt("interrupted")

                await generator.run(level, LevelLimits(1000, 30.0, 60.0), progress)
                took_s = generator.now() - level.started_s
                assert generator.interrupted
                writer.finish()
        return took_s

    with ScriptedServer(ttft_s=TTFT_S, itl_s=ITL_S) as server:
        assert run(go(server)) < 0.6
    assert level.ended_because == "interrupted"
    found = read_run(tmp_path / "run").requests
    stopped = [request for request in found if not request.ok]
    assert [request.status for request in stopped] == ["stopped"] * 5
    assert len(found) - len(stopped) == lives[-1].done >= 10
    assert level.ended_s is not None
    assert lives[-1].elapsed_s == level.ended_s - level.started_s  # by which the last line has its pace
    assert min(request.done_s for request in stopped) >= level.started_s + 0.3
    (summary,) = summarise(read_run(tmp_path / "run"))
    assert summary.failed == {"stopped": 5}
    assert "errors" not in summary.caveats  # the user's own stop is no fault of the server


def test_an_engine_that_dies_ends_the_sweep(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(2, 4), least_s=20.0, warmup_requests=0)
    with ScriptedServer(ttft_s=TTFT_S, itl_s=ITL_S) as server:

        def alive() -> bool:
            return sum(served.ended for served in server.log) < PROBES + 6

        swept = measure(server, tmp_path / "run", plan, engine_alive=alive)
    assert swept.outcome == "engine-died"
    assert [level.ended_because for level in swept.run.header.levels] == ["engine-died"]
    assert sum(request.status == "stopped" for request in swept.run.requests) == 2
    assert any(request.ok for request in swept.run.requests)


def test_an_engine_that_dies_while_it_warms_up_is_not_called_interrupted(tmp_path: Path) -> None:
    # or else an engine that dies of its first requests would be reported as stopped by the user
    plan = SweepPlan(levels=(1,), warmup_requests=2)
    with ScriptedServer(ttft_s=0.0, oddities=["stall-first"], spared=PROBES) as server:
        swept = measure(server, tmp_path / "run", plan, engine_alive=lambda: False)
    assert swept.run.requests == []
    assert swept.outcome == "engine-died"


def test_an_engine_that_dies_while_the_last_answers_are_waited_for_ends_the_sweep(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(1,), least_s=0.1, most_s=0.2, warmup_requests=0, prefill=False)
    workload = SyntheticWorkload(32, 100)
    alive = iter([True, True])  # looked at every 0.2 s: dead at 0.4 s
    with ScriptedServer(ttft_s=0.0, itl_s=0.02) as server:
        swept = measure(server, tmp_path / "run", plan, workload=workload, engine_alive=lambda: next(alive, False))
    assert [request.status for request in swept.run.requests] == ["stopped"]
    assert swept.outcome == "engine-died"


@pytest.mark.parametrize(
    ("rates", "ended"),
    [
        ([], False),
        ([100.0], False),
        ([100.0, 100.0], False),
        ([100.0, 90.0, 80.0], True),
        ([100.0, 104.0, 104.9], True),
        ([100.0, 105.0, 105.0], False),
        ([100.0, 104.0, 106.0], True),
        ([100.0, 104.0, 110.0], False),
        ([100.0, 200.0, 100.0], False),
        ([100.0, 200.0, 100.0, 205.0], True),
        ([100.0, 200.0, 100.0, 210.0], False),
    ],
)
def test_gains_end_after_two_doublings_without_five_per_cent(rates: list[float], ended: bool) -> None:
    assert gains_ended(rates) is ended


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"levels": (4, 0)}, "levels"),
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"requests": 0}, "requests"),
        ({"least_s": 0.0}, "seconds"),
        ({"least_s": 2.0, "most_s": 1.0}, "max_seconds"),
        ({"warmup_requests": -1}, "warmup"),
    ],
)
def test_an_impossible_plan_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        SweepPlan(**wrong)


def test_a_run_without_requests_is_readable(tmp_path: Path) -> None:
    found = Probe("m", Dialect(), PromptLength(0, 1), counts_usage=True, length_forced=None, server=None)
    with RunWriter(tmp_path / "run", header(found, "http://127.0.0.1:1")) as writer:
        writer.finish()
    assert not (tmp_path / "run" / TABLE).exists()
    assert read_run(tmp_path / "run").requests == []


def test_a_record_is_on_the_disk_at_once(tmp_path: Path, timed: tuple[Swept, ScriptedServer]) -> None:
    found = timed[0].run
    with RunWriter(tmp_path / "run", found.header) as writer:
        for count, request in enumerate(found.requests[:3], start=1):
            writer.add(request)
            assert len(read_run(tmp_path / "run").requests) == count


def test_a_journal_cut_at_any_byte_loses_one_line_at_most(tmp_path: Path, timed: tuple[Swept, ScriptedServer]) -> None:
    requests = timed[0].run.requests[:3]
    with RunWriter(tmp_path / "run", timed[0].run.header) as writer:
        for request in requests:
            writer.add(request)
    journal = tmp_path / "run" / JOURNAL
    whole = journal.read_bytes()
    third = whole.rindex(b"\n", 0, -1) + 1
    assert read_run(tmp_path / "run") == Run(timed[0].run.header, requests)
    for size in range(third, len(whole)):
        journal.write_bytes(whole[:size])
        found = read_run(tmp_path / "run")
        complete = size == len(whole) - 1  # but for the line's end
        assert found.requests == (requests if complete else requests[:2])
        assert found.torn_lines == (0 if complete or size == third else 1)


def test_a_refused_worker_waits_as_it_is_told(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(1,), requests=4, warmup_requests=0, prefill=False)
    script = ScriptedServer(
        ttft_s=0.0, itl_s=0.0, oddities=["status-429"], spared=PROBES + 1, every=2, retry_after="1.2"
    )
    with script as server:
        swept = measure(server, tmp_path / "run", plan)
    first, refused, second, last = swept.run.requests
    # a refusal is recorded at once, an answer once there is time
    first, refused, second, last = sorted(swept.run.requests, key=lambda request: request.index)
    assert [item.status for item in (first, refused, second, last)] == [OK, "http-429", OK, "http-429"]
    assert second.sent_s - refused.done_s > 1.19
    assert refused.sent_s >= first.done_s
    assert last.sent_s >= second.done_s


def test_nobody_rests_past_the_end_of_a_level(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(2,), requests=4, warmup_requests=0, prefill=False)
    script = ScriptedServer(
        ttft_s=0.0, itl_s=0.0, oddities=["status-429"], spared=PROBES + 1, every=10, retry_after="3600"
    )
    with script as server:
        swept = measure(server, tmp_path / "run", plan)
    assert sum(request.ok for request in swept.run.requests) == 3
    (level,) = swept.run.header.levels
    assert level.ended_s is not None
    assert level.ended_s - level.started_s < 30


def test_an_open_loop_keeps_to_its_schedule_whatever_it_is_told(tmp_path: Path) -> None:
    plan = SweepPlan(rates=(20.0,), requests=20, warmup_requests=0, prefill=False)
    script = ScriptedServer(ttft_s=0.0, itl_s=0.0, oddities=["status-429"], spared=PROBES, every=5, retry_after="3600")
    with script as server:
        swept = measure(server, tmp_path / "run", plan)
    (summary,) = summarise(swept.run)
    assert (summary.requests, summary.failed) == (16, {"http-429": 4})
    assert summary.ended_because == "requests"


def test_a_worker_that_rests_does_not_wake_in_the_next_level(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(1, 2), least_s=1.0, most_s=1.0, warmup_requests=0, prefill=False)
    script = ScriptedServer(
        ttft_s=0.0, itl_s=0.0, oddities=["status-429"], spared=PROBES + 1, every=10**6, retry_after="1.5"
    )
    with script as server:
        swept = measure(server, tmp_path / "run", plan)
    first, second = swept.run.header.levels
    assert first.ended_s is not None
    assert second.started_s >= first.ended_s
    # a refusal is recorded at once, an answer once there is time
    asked = sorted(swept.of_level(0), key=lambda request: request.index)
    assert [request.status for request in asked] == [OK, "http-429"]
    assert swept.of_level(1)
