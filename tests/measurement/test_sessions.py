"""Conversations against the scripted server, whose log says what really was asked, and against queueing theory."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import uvloop
from test_open import Silent

from rackrate.errors import RunError
from rackrate.measurement.host import CpuAccount
from rackrate.measurement.http import Client
from rackrate.measurement.probe import probe
from rackrate.measurement.sessions import Diary
from rackrate.measurement.sweep import SweepPlan, next_step, sweep
from rackrate.measurement.target import parse_url
from rackrate.metrics.summary import summarise
from rackrate.runs.records import Engine, Machine, RequestRecord, Run, RunHeader, ServedModel, WorkloadFacts
from rackrate.runs.store import RunWriter, read_run
from rackrate.workload.distributions import fixed, parse_distribution
from rackrate.workload.rows import Rows
from rackrate.workload.schedule import draw
from rackrate.workload.slo import parse_slo
from rackrate.workload.synthetic import Conversations, Endpoint, SyntheticWorkload
from scripted_server import ScriptedServer


def talking(turns: int, think_s: float, endpoint: Endpoint = "chat") -> SyntheticWorkload:
    return SyntheticWorkload(
        32, 4, endpoint, seed=3, conversations=Conversations(fixed(turns), fixed(think_s, whole=False))
    )


def measure(server: ScriptedServer, directory: Path, work: SyntheticWorkload, plan: SweepPlan) -> Run:
    async def go() -> None:
        async with Client(parse_url(server.url)) as client:
            found = await probe(client, work, None)
            header = RunHeader(
                created="2026-01-01T00:00:00+00:00",
                command="test",
                rackrate_version="0",
                python_version="3",
                state="running",
                model=ServedModel(requested=found.model),
                engine=Engine(name="scripted", url=server.url),
                machine=Machine(origin="unknown"),
                workload=WorkloadFacts(input_tokens=32, output_tokens=4, endpoint=work.endpoint, seed=3),
            )
            with RunWriter(directory, header) as writer:
                await sweep(client, found, work, plan, writer, CpuAccount(None), Silent())
                writer.finish()

    uvloop.run(go())
    return read_run(directory)


def by_session(run: Run) -> dict[int, list[RequestRecord]]:
    found: dict[int, list[RequestRecord]] = defaultdict(list)
    for request in sorted(run.requests, key=lambda item: item.turn or 0):
        assert request.session is not None
        found[request.session].append(request)
    return found


def test_each_turn_carries_all_that_was_said_and_the_servers_own_answers(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(2,), requests=12, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.005, itl_s=0.001) as server:
        run = measure(server, tmp_path / "run", talking(3, 0.02), plan)
        asked = [request.body["messages"] for request in server.log if len(request.body["messages"]) > 1]
        first = {request.body["messages"][0]["content"]: request.body["messages"] for request in server.log}
    longest = [
        messages for messages in asked if len(messages) == 5 and messages[1]["content"].strip() == "tok tok tok tok"
    ]
    assert len(longest) == 4  # 12 requests are 4 conversations of 3 turns
    for messages in longest:
        assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant", "user"]
        assert messages[3]["content"] == " tok tok tok tok"
        assert messages[0]["content"] in first
        shorter = [other for other in asked if len(other) == 3 and other[0] == messages[0]]
        assert shorter[0] == messages[:3]
    assert len({messages[0]["content"] for messages in longest}) == 4
    assert [len(turns) for turns in by_session(run).values()] == [3, 3, 3, 3]
    assert {request.turn for request in run.requests} == {0, 1, 2}
    # every turn adds 32 tokens to what the server counted before, and 4 were answered
    for turns in by_session(run).values():
        assert [turn.input_tokens for turn in turns] == [32, 68, 104]
        assert [turn.asked_input_tokens for turn in turns] == [32, 68, 104]
    level = summarise(run)[0]
    assert level.conversations == 4
    assert level.length_error is not None
    assert level.length_error.input_share == 0


def test_completions_begin_with_all_that_was_said(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(1,), requests=3, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.0, itl_s=0.0) as server:
        run = measure(server, tmp_path / "run", talking(3, 0.0, "completions"), plan)
        prompts = [str(request.body["prompt"]) for request in server.log][-3:]
    assert prompts[1].startswith(prompts[0] + "\n tok tok tok tok\n")
    assert prompts[2].startswith(prompts[1] + "\n tok tok tok tok\n")
    assert [request.input_tokens for request in sorted(run.requests, key=lambda item: item.turn or 0)] == [32, 68, 104]


@pytest.mark.timed
def test_a_turn_is_due_a_think_time_after_the_answer_before_it(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(3,), requests=30, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.02, itl_s=0.001) as server:
        run = measure(server, tmp_path / "run", talking(5, 0.05), plan)
    waits: list[float] = []
    late: list[float] = []
    for turns in by_session(run).values():
        for before, after in itertools.pairwise(turns):
            waits.append(after.due_s - before.done_s)
            late.append(after.sent_s - after.due_s)
    assert len(waits) == 24
    assert waits == pytest.approx([0.05] * 24, abs=1e-9)
    assert min(late) >= 0
    assert float(np.median(late)) < 0.005


@pytest.mark.timed
def test_users_and_think_times_give_the_throughput_of_the_interactive_response_time_law(tmp_path: Path) -> None:
    # N = X (R + Z): Denning and Buzen, The Operational Analysis of Queueing Network Models, ACM Surveys 1978
    users, think_s, answer_s = 6, 0.15, 0.05
    plan = SweepPlan(levels=(users,), least_s=2.0, most_s=20.0, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=answer_s, itl_s=0.0) as server:
        run = measure(server, tmp_path / "run", talking(4, think_s), plan)
    level = summarise(run)[0]
    assert level.e2e is not None
    assert level.request_s is not None
    assert level.request_s == pytest.approx(users / ((level.e2e.mean or 0) + think_s), rel=0.1)
    busy = sum(request.done_s - request.sent_s for request in run.requests) / (
        run.requests[-1].done_s - run.requests[0].sent_s
    )
    assert busy < users * answer_s * 3 / (think_s + answer_s)  # most users think most of the time
    begins = sorted((request.sent_s, 1) for request in run.requests) + sorted(
        (request.done_s, -1) for request in run.requests
    )
    assert max(np.cumsum([step for _, step in sorted(begins)])) <= users


@pytest.mark.timed
def test_conversations_arrive_when_they_are_due_whatever_became_of_others(tmp_path: Path) -> None:
    work = talking(3, 0.05)
    plan = SweepPlan(rates=(40.0,), requests=60, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.1, itl_s=0.0) as server:  # four times longer than the gap
        run = measure(server, tmp_path / "run", work, plan)
    sessions = by_session(run)
    assert len(sessions) == 20
    assert len(run.requests) == 60
    level = run.header.levels[0]
    due = np.array([sessions[number][0].due_s for number in range(20)]) - level.started_s
    assert due == pytest.approx(draw("poisson", 40.0, 60, work, level=0).due_s, abs=1e-6)
    assert (level.kind, level.rate, level.arrivals, level.ended_because) == ("open", 40.0, "poisson", "requests")
    assert "overloaded" not in summarise(run)[0].caveats  # more turns in flight at the end than at the start is no sign


def test_prefill_alone_is_measured_on_single_requests_and_a_search_guesses_in_conversations(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(2,), requests=20, least_s=0.3, warmup_requests=0)
    with ScriptedServer(ttft_s=0.01, itl_s=0.0) as server:
        run = measure(server, tmp_path / "run", talking(2, 0.0), plan)
    assert [level.kind for level in run.header.levels] == ["closed", "prefill"]
    alone = [request for request in run.requests if request.level == 1]
    assert {(trial.input_tokens, trial.asked_output_tokens, trial.session) for trial in alone} == {(32, 1, None)}
    served = summarise(run)[:1]
    step = next_step(SweepPlan(slo=parse_slo("p95 ttft < 1s")), served, turns=2.0)
    assert step is not None
    assert step.rate == pytest.approx((served[0].request_s or 0) / 2 * 0.7, rel=0.01)


def test_a_conversation_ends_with_an_answer_that_failed(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(1,), requests=8, warmup_requests=0, prefill=False)
    # three requests of the probe and two turns are spared; then every fourth answer breaks off
    with ScriptedServer(ttft_s=0.0, itl_s=0.0, oddities=["reset"], spared=5, every=4) as server:
        run = measure(server, tmp_path / "run", talking(4, 0.0), plan)
    sessions = by_session(run)
    assert [[turn.status == "ok" for turn in turns] for turns in sessions.values()][:2] == [
        [True, True, False],
        [True, True, True, False],
    ]
    assert [session.turn for session in sessions[1]] == [0, 1, 2, 3]


def test_what_users_ask_is_drawn_by_the_seed_and_not_by_who_is_fast(tmp_path: Path) -> None:
    work = SyntheticWorkload(
        40, 4, seed=5, inputs=parse_distribution("lognormal:mean=40,cv=0.5,min=20", "--input-tokens"),
        conversations=Conversations(parse_distribution("geometric:mean=2", "--turns"), fixed(0.01, whole=False)),
    )  # fmt: skip
    plan = SweepPlan(levels=(4,), requests=40, warmup_requests=0, prefill=False)
    with ScriptedServer(ttft_s=0.01, itl_s=0.0) as server:
        run = measure(server, tmp_path / "run", work, plan)
    rows = Rows(work, 0)
    for session, turns in by_session(run).items():
        first, _ = rows.conversation(session)
        assert turns[0].input_tokens == rows.ask(first).input_tokens
        for before, after in itertools.pairwise(turns):
            added = (after.input_tokens or 0) - (before.input_tokens or 0) - (before.output_tokens or 0)
            assert added == rows.ask(first + (after.turn or 0)).input_tokens


@pytest.mark.timed
def test_a_level_that_is_stopped_wakes_all_who_think(tmp_path: Path) -> None:
    plan = SweepPlan(levels=(3,), least_s=0.5, most_s=1.0, warmup_requests=0, prefill=False)
    began = time.monotonic()
    with ScriptedServer(ttft_s=0.0, itl_s=0.0) as server:
        run = measure(server, tmp_path / "run", talking(2, 30.0), plan)
    assert time.monotonic() - began < 6
    assert run.header.levels[0].ended_because == "time"


@pytest.mark.parametrize("plan", [
    SweepPlan(levels=(2,), requests=50, warmup_requests=0, prefill=False),
    SweepPlan(rates=(30.0,), requests=50, warmup_requests=0, prefill=False),
])  # fmt: skip
def test_conversations_that_cannot_be_written_further_end_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: SweepPlan
) -> None:
    def full(_: RunWriter, __: object) -> None:
        raise RunError("the disk is full")

    monkeypatch.setattr(RunWriter, "add", full)
    with ScriptedServer(ttft_s=0.0, itl_s=0.0) as server, pytest.raises(RunError, match="the disk is full"):
        measure(server, tmp_path / "run", talking(2, 5.0), plan)


def test_a_diary_wakes_in_the_order_of_its_moments_and_at_once_when_stopped() -> None:
    async def go() -> tuple[list[int], list[bool]]:
        stop = asyncio.Event()
        order: list[int] = []
        with Diary(stop) as diary:
            now = time.perf_counter()

            async def wait(number: int, after_s: float) -> bool:
                kept = await diary.until(now + after_s)
                order.append(number)
                return kept

            tasks = [asyncio.create_task(wait(n, s)) for n, s in enumerate((0.06, 0.02, -1.0, 0.04, 60.0))]
            await asyncio.sleep(0.1)
            stop.set()
            kept = await asyncio.wait_for(asyncio.gather(*tasks), 1)
            assert not await diary.until(time.perf_counter() + 60)
            return order, kept

    order, kept = uvloop.run(go())
    assert order == [2, 1, 3, 0, 4]
    assert kept == [True, True, True, True, False]
