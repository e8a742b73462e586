"""Metrics of loads that vary: overload against a queue that is computed, lengths against what was asked for."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from rackrate.cli import main
from rackrate.metrics.steady import Array, in_flight_trend
from rackrate.metrics.summary import LengthError, length_error, summarise, summarise_level
from rackrate.runs.records import Level, RequestRecord
from rackrate.runs.statuses import OK
from rackrate.runs.store import TABLE, RunWriter, read_run
from rackrate.workload.schedule import draw
from rackrate.workload.synthetic import SyntheticWorkload
from written_runs import make_header, write

WORK = SyntheticWorkload(64, 4, seed=2)


def _once(due_s: Array, done_s: list[float]) -> Iterator[tuple[Array, Array]]:
    yield due_s, np.array(done_s)


def queued(due_s: Sequence[float], service_s: float, servers: int, **more: Any) -> list[RequestRecord]:
    """What servers of a fixed service time make of arrivals: each takes the next request when it is free."""
    free = [0.0] * servers
    records: list[RequestRecord] = []
    for index, due in enumerate(due_s):
        chosen = int(np.argmin(free))
        begin = max(due, free[chosen])
        free[chosen] = begin + service_s
        chunks = tuple(begin + service_s * share for share in (0.4, 0.6, 0.8, 1.0))
        values: dict[str, Any] = {
            "index": index, "level": 0, "due_s": due, "sent_s": due, "first_byte_s": chunks[0],
            "first_token_s": chunks[0], "done_s": chunks[-1], "status": OK, "http_status": 200, "detail": None,
            "asked_input_tokens": 64, "asked_output_tokens": 4, "input_tokens": 64, "cached_tokens": None,
            "output_tokens": 4, "finish_reason": "length", "stagger": False, "chunk_s": chunks,
        }  # fmt: skip
        records.append(RequestRecord(**{**values, **more}))
    return records


def caveats(pattern: str, service_s: float, servers: int, rate: float = 20.0, **more: Any) -> tuple[str, ...]:
    due_s = draw(pattern, rate, 1500, WORK).due_s.tolist()
    level = Level(index=0, kind="open", rate=rate, arrivals=pattern, warmed_up=True, started_s=0.0, stopped_s=due_s[-1])
    return summarise_level(level, queued(due_s, service_s, servers, **more)).caveats


@pytest.mark.parametrize(
    ("asked", "output", "every", "flagged"),
    [
        (4, 4, 1, False),
        (4, 5, 1, True),  # more than was asked for
        (4, 3, 1, True),  # four pieces came
        (4, 3, 200, False),  # of 0.1 % of the tokens
        (8, 6, 1, False),  # it may have ended by itself, two of its pieces being two tokens each
        (8, 3, 1, False),  # fewer tokens than pieces: a proxy may cut texts as it likes
    ],
)
def test_usage_that_cannot_be_right_is_named(asked: int, output: int, every: int, flagged: bool) -> None:
    records = [
        replace(item, asked_output_tokens=asked, output_tokens=output if number % every == 0 else 4)
        for number, item in enumerate(queued([n / 20 for n in range(1000)], 0.01, 4))
    ]
    level = Level(index=0, kind="open", rate=20.0, arrivals="constant", warmed_up=True, started_s=0.0, stopped_s=50.0)
    assert ("miscounted" in summarise_level(level, records).caveats) == flagged
    told_by_tool = level.model_copy(update={"tokens_by": "tool"})
    assert "miscounted" not in summarise_level(told_by_tool, records).caveats


@pytest.mark.parametrize("pattern", ["steps:5@20,40@20", "ramp:1-40@40", "poisson", "gamma:2"])
def test_a_server_with_room_is_not_overloaded_however_the_load_grows(pattern: str) -> None:
    assert "overloaded" not in caveats(pattern, service_s=0.1, servers=100)


@pytest.mark.parametrize("pattern", ["steps:5@20,40@20", "ramp:1-40@40", "poisson"])
def test_a_server_that_falls_behind_is_overloaded(pattern: str) -> None:
    # two servers of 0.15 s serve 13 requests a second
    assert "overloaded" in caveats(pattern, service_s=0.15, servers=2)


def test_a_number_in_flight_that_wanders_is_no_overload() -> None:
    """M/D/27 at a quarter of its capacity, and at 1.1 times; few in flight: slopes show by chance, backlogs do not."""
    generator = np.random.default_rng(1)

    def called(rate: float, servers: int, service_s: float, requests: int = 1000) -> int:
        count = 0
        for _ in range(60):
            due_s = np.cumsum(generator.exponential(1 / rate, requests))
            free = [0.0] * servers
            done_s: list[float] = []
            for due in due_s:
                done_s.append(max(heapq.heappop(free), float(due)) + service_s)
                heapq.heappush(free, done_s[-1])
            _, growth = in_flight_trend(partial(_once, due_s, done_s), float(due_s[100]), float(due_s[-1]))
            count += (growth or 0.0) > 0.5
        return count

    assert called(1.16, 27, 5.7) == 0
    assert called(22.0, 20, 1.0) > 45
    assert called(0.3, 100, 7.7, 300) == 0  # 2.3 in flight: now none, now five
    assert called(0.22, 1, 5.0, 300) > 30  # one at a time, a tenth more than it serves


def test_further_turns_of_conversations_are_not_taken_for_overload() -> None:
    # begun at a constant rate, each with a turn a second from then on: ever more are in flight, and none has to wait
    begun = np.arange(0, 20, 0.2)
    due_s = sorted(float(item) for item in np.add.outer(begun, np.arange(20)).ravel() if item < 20)
    level = Level(index=0, kind="open", rate=5, arrivals="constant", warmed_up=True, started_s=0.0, stopped_s=20.0)
    assert "overloaded" in summarise_level(level, queued(due_s, 0.5, 200)).caveats
    assert "overloaded" not in summarise_level(level, queued(due_s, 0.5, 200, session=1, turn=0)).caveats


def test_lengths_are_compared_with_what_was_asked_for() -> None:
    fine, longer, short, failed, uncounted = (queued([0.0], 1.0, 1, **more)[0] for more in (
        {}, {"input_tokens": 80}, {"output_tokens": 2}, {"status": "reset", "input_tokens": 900},
        {"input_tokens": None},
    ))  # fmt: skip
    assert length_error([fine, fine]) == LengthError(0.0, 0.0, 0.0)
    found = length_error([fine] * 8 + [longer] * 2 + [failed, uncounted])
    assert found is not None
    assert found.input_share == pytest.approx(2 * 16 / (10 * 64))
    assert found.input_p95 == 16
    assert length_error([fine, short]) == LengthError(0.0, 0.0, -0.25)
    assert length_error([failed, uncounted]) is None


def test_a_run_of_an_older_version_is_read_without_the_columns_that_came_later(tmp_path: Path) -> None:
    records = queued([0.0, 1.0], 0.5, 1)
    write(tmp_path / "run", records)
    table = tmp_path / "run" / TABLE
    with duckdb.connect() as database:
        database.execute(f"CREATE TABLE old AS SELECT * EXCLUDE (session, turn) FROM read_parquet('{table}')")  # noqa: S608
        database.execute(f"COPY old TO '{table}' (FORMAT parquet)")
    assert read_run(tmp_path / "run").requests == records
    assert make_header().workload.turns is None


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ("interrupted", "requests/s are sustained within p95 ttft < 1s, the highest that was tried."),
        ("hopeless", "requests/s are sustained within p95 ttft < 1s; 20.0/s is not (33 % of its requests met it)."),
        (None, "requests/s are sustained within p95 ttft < 1s, the highest that was tried."),
    ],
)
def test_a_rate_that_was_cut_short_is_neither_sustained_nor_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], last: Any, said: str
) -> None:
    header = make_header()
    header.workload.slo = "p95 ttft < 1s"
    header.state = "interrupted"
    first = queued([n / 10 for n in range(300)], 0.1, 4)
    # the second level is stopped after three seconds, and with it all that is under way
    second = [
        replace(request, index=300 + n, level=1, status="stopped" if n % 3 else OK)
        for n, request in enumerate(queued([30 + n / 20 for n in range(60)], 0.1, 4))
    ]
    header.levels = [
        Level(index=0, kind="open", rate=10, arrivals="poisson", warmed_up=True, started_s=0.0, stopped_s=29.9,
              ended_because="requests"),
        Level(index=1, kind="open", rate=20, arrivals="poisson", warmed_up=True, started_s=30.0, stopped_s=33.0,
              ended_because=last),
    ]  # fmt: skip
    with RunWriter(tmp_path / "run", header) as writer:
        for request in (*first, *second):
            writer.add(request)
    levels = summarise(read_run(tmp_path / "run"))
    assert levels[0].slo_met is True
    assert (levels[1].slo_met, levels[1].attainment is None) == ((False, False) if last == "hopeless" else (None, True))
    monkeypatch.setattr(sys, "argv", ["rackrate", "show", str(tmp_path / "run")])
    with pytest.raises(SystemExit):
        main()
    printed = capsys.readouterr().out
    assert f"Capacity: 10.0 {said}" in printed
    assert "it can be resumed" in printed
