"""Open loops against the scripted server: sent when due, and overload named."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path

import numpy as np
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from rackrate.errors import RunError, WorkloadError
from rackrate.measurement.capacity import MOST_LEVELS, PRECISION, next_rate
from rackrate.measurement.host import CpuAccount
from rackrate.measurement.http import Client
from rackrate.measurement.live import LiveLevel
from rackrate.measurement.pacing import Alarm
from rackrate.measurement.probe import probe
from rackrate.measurement.sweep import SweepPlan, sweep
from rackrate.measurement.target import parse_url
from rackrate.metrics.saturation import saturation, sustained
from rackrate.metrics.summary import LevelSummary, summarise
from rackrate.runs.records import Engine, Level, Machine, Run, RunHeader, ServedModel, WorkloadFacts
from rackrate.runs.store import RunWriter, read_run
from rackrate.workload.schedule import draw
from rackrate.workload.slo import parse_slo
from rackrate.workload.synthetic import SyntheticWorkload
from scripted_server import ScriptedServer

WORKLOAD = SyntheticWorkload(32, 8, seed=3)


class Silent:
    """A watcher that shows nothing."""

    def level_started(self, level: Level, position: int, of_at_most: int) -> None: ...
    def level_progress(self, live: LiveLevel) -> None: ...
    def level_ended(self, summary: LevelSummary) -> None: ...
    def note(self, text: str) -> None: ...


def measure(server: ScriptedServer, directory: Path, plan: SweepPlan) -> Run:
    async def go() -> None:
        async with Client(parse_url(server.url)) as client:
            found = await probe(client, WORKLOAD, None)
            header = RunHeader(
                created="2026-01-01T00:00:00+00:00",
                command="test",
                rackrate_version="0",
                python_version="3",
                state="running",
                model=ServedModel(requested=found.model),
                engine=Engine(name="scripted", url=server.url),
                machine=Machine(origin="unknown"),
                workload=WorkloadFacts(
                    input_tokens=32, output_tokens=8, endpoint="chat", seed=3, slo=str(plan.slo) if plan.slo else None
                ),
            )
            with RunWriter(directory, header) as writer:
                outcome = await sweep(client, found, WORKLOAD, plan, writer, CpuAccount(None), Silent())
                assert outcome == "complete"
                writer.finish()

    uvloop.run(go())
    return read_run(directory)


@pytest.mark.timed
def test_requests_are_due_by_the_schedule_and_sent_then(tmp_path: Path) -> None:
    plan = SweepPlan(rates=(100.0,), requests=150, warmup_requests=2, prefill=False)
    with ScriptedServer(ttft_s=0.01, itl_s=0.002) as server:
        run = measure(server, tmp_path / "run", plan)
    requests = sorted(run.requests, key=lambda item: item.due_s)
    assert len(requests) == 150
    schedule = draw("poisson", 100.0, 150, WORKLOAD, level=0).due_s
    due = np.array([request.due_s for request in requests])
    assert np.allclose(due - due[0], schedule - schedule[0], atol=1e-6)
    late = np.array([request.sent_s - request.due_s for request in requests])
    assert (late >= 0).all()
    assert np.median(late) < 0.005
    level = summarise(run)[0]
    assert level.kind == "open"
    assert level.rate == 100.0
    assert level.arrivals == "poisson"
    assert level.concurrency is None
    assert level.send_lateness_p99_s is not None
    assert "overloaded" not in level.caveats


@pytest.mark.timed
def test_a_closed_level_begins_one_by_one(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(32,), requests=64, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.2, itl_s=0.0) as server:
        run = measure(server, tmp_path / "run", plan)
    first = np.sort([request.sent_s for request in run.requests])[:32]
    assert 31 * 0.00025 / 2 < first[-1] - first[0] < 0.15  # not at once, and before the first answer is in


@pytest.mark.timed
def test_a_slow_answer_does_not_move_the_next_request(tmp_path: Path) -> None:
    plan = SweepPlan(rates=(50.0,), arrivals="constant", requests=40, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.3, itl_s=0.0) as server:  # 15 times longer than the gap between requests
        run = measure(server, tmp_path / "run", plan)
    sent = np.sort([request.sent_s for request in run.requests])
    assert np.median(np.diff(sent)) < 0.03
    level = summarise(run)[0]
    assert level.mean_in_flight is not None
    assert level.mean_in_flight > 8  # Little's law: 50/s x 0.3 s = 15 once it is full


@pytest.mark.timed
def test_more_than_a_server_can_do_is_called_overloaded(tmp_path: Path) -> None:
    plan = SweepPlan(rates=(5.0, 60.0), least_s=2.0, most_s=20.0, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.1, itl_s=0.0, slots=2) as server:  # 20 requests a second at most
        run = measure(server, tmp_path / "run", plan)
    calm, flooded = summarise(run)
    assert "overloaded" not in calm.caveats
    assert "overloaded" in flooded.caveats
    best = saturation([calm, flooded])
    assert best is not None
    assert best.level is calm
    assert not best.lower_bound


@pytest.mark.timed
def test_waiting_for_the_server_counts_from_the_due_moment(tmp_path: Path) -> None:
    plan = SweepPlan(rates=(60.0,), least_s=1.0, most_s=20.0, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.1, itl_s=0.0, slots=2) as server:
        run = measure(server, tmp_path / "run", plan)
    level = summarise(run)[0]
    assert level.ttft is not None
    assert (level.ttft.p95 or 0) > 0.5  # three times too many requests: the last wait for two seconds


@pytest.mark.timed
def test_the_alarm_rings_at_its_moment_and_at_once_for_one_gone_by() -> None:
    async def go() -> list[float]:
        late: list[float] = []
        rung = asyncio.Event()
        due = time.perf_counter()

        def ring() -> None:
            late.append(time.perf_counter() - due)
            rung.set()

        with Alarm(ring) as alarm:
            alarm.set(due - 1.0)
            await rung.wait()
            for _ in range(20):
                rung.clear()
                due = time.perf_counter() + 0.0037
                alarm.set(due)
                await rung.wait()
        return late[1:]

    late = uvloop.run(go())
    assert len(late) == 20
    assert min(late) >= 0
    assert float(np.median(late)) < 0.003


@pytest.mark.timed
def test_the_search_finds_the_capacity_of_a_server_of_known_capacity(tmp_path: Path) -> None:
    # two slots of 50 ms each serve 40 requests a second, and queue above
    plan = SweepPlan(
        slo=parse_slo("p95 ttft < 300ms"), least_s=2.0, most_s=20.0, warmup_requests=1, prefill=False, max_concurrency=8
    )
    with ScriptedServer(ttft_s=0.05, itl_s=0.0, slots=2) as server:
        run = measure(server, tmp_path / "run", plan)
    levels = summarise(run)
    best = saturation(levels)
    assert best is not None
    assert best.level.rate is not None
    assert 20 < best.level.rate <= 42
    assert best.level.slo_met
    assert best.level.goodput is not None
    failed = [level for level in levels if level.kind == "open" and not sustained(level)]
    assert failed
    assert min(level.rate or 0.0 for level in failed) <= best.level.rate * 1.6
    assert any(level.ended_because == "hopeless" for level in run.header.levels) or all(
        level.attainment is not None for level in failed
    )


@given(capacity=st.floats(0.05, 5000), guess=st.floats(0.05, 5000))
def test_a_search_closes_in_on_any_capacity(capacity: float, guess: float) -> None:
    tried: list[tuple[float, bool]] = []
    while (rate := next_rate(tried, guess)) is not None:
        assert rate > 0
        assert rate not in [before for before, _ in tried]
        tried.append((rate, rate <= capacity))
        assert len(tried) <= MOST_LEVELS
    held = [rate for rate, met in tried if met]
    failed = [rate for rate, met in tried if not met]
    if held and failed and len(tried) < MOST_LEVELS:
        assert max(held) <= capacity < min(failed) <= max(held) * (1 + PRECISION) * 1.0001


def test_luck_above_a_rate_that_failed_does_not_count() -> None:
    assert next_rate([(10, True), (15, False), (12.2, True), (20, True)], 10) == pytest.approx(
        math.sqrt(15 * 12.2), rel=0.005
    )


@pytest.mark.timed
def test_an_open_run_that_cannot_be_written_further_ends_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: RunWriter, __: object) -> None:
        raise RunError("the disk is full")

    monkeypatch.setattr(RunWriter, "add", full)
    plan = SweepPlan(rates=(50.0,), requests=500, warmup_requests=0, prefill=False)
    began = time.monotonic()
    with ScriptedServer(ttft_s=0.01, itl_s=0.0) as server, pytest.raises(RunError, match="the disk is full"):
        measure(server, tmp_path / "run", plan)
    assert time.monotonic() - began < 8  # not after all 500


@pytest.mark.parametrize("pattern", ["bursty", "gamma", "gamma:-1"])
def test_a_pattern_that_is_none_is_refused_before_anything_starts(pattern: str) -> None:
    with pytest.raises(WorkloadError):
        SweepPlan(arrivals=pattern)


def test_an_slo_over_stated_loads_judges_them_and_searches_nothing() -> None:
    slo = parse_slo("ttft < 1s")
    assert SweepPlan(slo=slo).searches
    assert not SweepPlan(slo=slo, levels=(1, 2)).searches
    assert [step.concurrency for step in SweepPlan(slo=slo, levels=(1, 2)).steps()] == [1, 2]
    assert [step.rate for step in SweepPlan(slo=slo, rates=(3.0,)).steps()] == [3.0]
