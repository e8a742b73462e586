"""Summaries by columns and blocks against the same over lists of requests, and against numpy."""

from __future__ import annotations

import math
import random
from dataclasses import fields, is_dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plain_summary import plain_summary
from rackrate.errors import RunError
from rackrate.metrics.summary import Quantiles, summarise, summarise_level
from rackrate.runs import columns, streams
from rackrate.runs import store as run_store
from rackrate.runs import table as run_table
from rackrate.runs.columns import LevelColumns
from rackrate.runs.records import Level, RequestRecord, Run, ServerFacts
from rackrate.runs.statuses import OK
from rackrate.runs.store import RunWriter, Stored, read_run
from rackrate.runs.streams import InOrder, nth_values
from rackrate.workload.slo import parse_slo
from written_runs import make_header


def drawn(seed: int, number: int, kind: str) -> tuple[Level, list[RequestRecord]]:
    """A level of requests with everything that may be among them."""
    draw = random.Random(seed)
    records: list[RequestRecord] = []
    pieced = draw.random() < 0.5
    talks = draw.random() < 0.3
    for index in range(number):
        due_s = 1.0 + index * 0.05 + draw.random() * 0.02
        sent_s = due_s + draw.expovariate(1000.0)
        tokens = draw.randint(1, 40)
        status = OK if draw.random() < 0.97 else draw.choice(["reset", "stopped", "http-429"])
        pieces = tokens if not pieced else max(1, tokens // 3)
        if draw.random() < 0.05:
            pieces = 0  # as imported
        first_s = sent_s + 0.1 + draw.random() * 0.1
        times: list[float] = []
        at = first_s
        for _ in range(pieces):
            times.append(at)
            at += draw.expovariate(50.0)
        has_first = pieces > 0 or draw.random() < 0.5
        counts = draw.random() < 0.95 and status == OK
        records.append(
            RequestRecord(
                index=index,
                level=0,
                due_s=due_s,
                sent_s=sent_s,
                first_byte_s=None,
                first_token_s=first_s if has_first else None,
                done_s=at + 0.001,
                status=status,
                http_status=200,
                detail=f"said of {index}" if status in {"reset", "http-429"} else None,
                asked_input_tokens=draw.choice([None, 64]),
                asked_output_tokens=tokens,
                input_tokens=draw.randint(60, 70) if counts else None,
                cached_tokens=draw.choice([None, 8]) if counts else None,
                output_tokens=tokens if counts else None,
                finish_reason=None,
                stagger=index < 4 and kind == "closed",
                chunk_s=tuple(times),
                session=index // 3 if talks else None,
                turn=index % 3 if talks else None,
            )
        )
    records.sort(key=lambda record: record.done_s)
    return Level(
        index=0,
        kind=kind,  # pyright: ignore[reportArgumentType]
        concurrency=4 if kind == "closed" else None,
        rate=20.0 if kind == "open" else None,
        arrivals=draw.choice(["poisson", "steps:1@2"]) if kind == "open" else None,
        warmed_up=True,
        started_s=1.0,
        stopped_s=draw.choice([None, 1.0 + number * 0.05]),
        server=ServerFacts(output_tokens=draw.choice([None, 1000.0])),
    ), records


def agree(item: Any, other: Any, where: str = "") -> None:
    """Equal, floating-point numbers to 12 digits: sums are added up in another order."""
    if is_dataclass(item) and is_dataclass(other):
        for field in fields(item):
            agree(getattr(item, field.name), getattr(other, field.name), f"{where}.{field.name}")
    elif isinstance(item, float) and isinstance(other, float):
        assert math.isclose(item, other, rel_tol=1e-11, abs_tol=1e-13), (where, item, other)
    else:
        assert item == other, where


@pytest.mark.parametrize("kind", ["closed", "open", "prefill"])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("number", [0, 1, 30, 400])
def test_a_summary_is_that_of_the_list(seed: int, number: int, kind: str) -> None:
    level, records = drawn(seed, number, kind)
    slo = parse_slo("p95 ttft < 190ms, p90 tpot < 22ms, e2e < 1s") if seed % 2 else None
    agree(summarise_level(level, records, slo), plain_summary(level, records, slo))


@pytest.mark.parametrize("seed", range(6))
def test_in_blocks_and_from_a_file_it_stays_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    level, records = drawn(seed, 500, "open" if seed % 2 else "closed")
    slo = parse_slo("p95 ttft < 190ms, p90 tpot < 22ms, e2e < 1s")
    whole = summarise_level(level, records, slo)
    monkeypatch.setattr(columns, "HELD_REQUESTS", 77)
    agree(summarise_level(level, records, slo), whole)
    monkeypatch.setattr(columns, "HELD_TIMES", 250)
    agree(summarise_level(level, records, slo), whole)
    for held in (300, 40, 3):
        monkeypatch.setattr(streams, "HELD_VALUES", held)
        agree(summarise_level(level, records, slo), whole)


def test_parts_are_all_requests_and_their_chunks_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "HELD_REQUESTS", 30)
    monkeypatch.setattr(columns, "HELD_TIMES", 200)
    _, records = drawn(3, 200, "closed")
    of = LevelColumns.of(records)
    assert len(of) == 200
    for _ in range(2):
        found = list(of.parts())
        assert sum(map(len, found)) == 200
        assert len(found) > 200 // 30
        assert np.concatenate([part.due_s for part in found]).tolist() == [record.due_s for record in records]
        assert np.concatenate([part.stagger for part in found]).tolist() == [record.stagger for record in records]
        assert np.concatenate([part.times for part in found]).tolist() == [
            time_s for record in records for time_s in record.chunk_s
        ]
        assert max(len(part.times) for part in found) < 200 + 40


def test_what_is_no_request_is_not_taken_in_part() -> None:
    _, (record, *_) = drawn(3, 1, "closed")
    of = LevelColumns()
    values: dict[str, Any] = {field.name: getattr(record, field.name) for field in fields(record)}
    of.add_values(values)
    for wrong in ({"done_s": None}, {"output_tokens": "7"}, {"chunk_s": [1.0, None]}, {"input_tokens": 2**40}):
        with pytest.raises((TypeError, OverflowError)):
            of.add_values(values | wrong)
    del values["status"]
    with pytest.raises(KeyError):
        of.add_values(values)
    (part,) = of.parts()
    assert (len(part), len(part.times), part.done_s.tolist()) == (1, len(record.chunk_s), [record.done_s])


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 1.0, 1.5, -2.0, 7.25, 9.0]), st.integers(0, 999)), max_size=90),
    st.integers(1, 9),
    st.integers(2, 40),
)
def test_order_by_a_key_is_that_of_a_stable_sort(pairs: list[tuple[float, int]], cut: int, held: int) -> None:
    keys, values = np.array([key for key, _ in pairs]), np.array([float(value) for _, value in pairs])
    parts = [(keys[at : at + cut], values[at : at + cut]) for at in range(0, len(pairs), cut)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "HELD_VALUES", held)
        found = InOrder(lambda: iter(parts))
        for _ in range(2):
            blocks = list(found.blocks())
            wanted = [float(value) for _, value in sorted(pairs, key=lambda pair: pair[0])]
            assert [value for block in blocks for value in block.tolist()] == wanted
            assert found.number == len(pairs)


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=60), st.integers(1, 7))  # their sum is a float, too
def test_the_nth_value_is_that_of_the_sorted_list(values: list[float], cut: int) -> None:
    parts = [np.array(values[at : at + cut]) for at in range(0, len(values), cut)]
    for held in (1_000_000, 10, 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streams, "HELD_VALUES", held)
            found = nth_values(lambda: iter(parts), range(len(values)))
        assert list(found.values()) == sorted(values)


@given(st.lists(st.floats(0, 1e3), min_size=3, max_size=80))
def test_percentiles_by_counting_are_those_of_numpy(values: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "HELD_VALUES", 2)
        found = Quantiles.of_blocks(lambda: iter([np.array(values[:2]), np.array(values[2:])]))
    agree(found, Quantiles.of(values))


@pytest.mark.parametrize("pack", [True, False])
def test_levels_of_a_large_run_are_summed_up_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, pack: bool
) -> None:
    header = make_header()
    header.levels = []
    records: list[RequestRecord] = []
    for index in range(4):
        level, some = drawn(index, 150, "open" if index % 2 else "closed")
        header.levels.append(level.model_copy(update={"index": index, "superseded": index == 2}))
        records += [replace(item, level=index) for item in some]
    monkeypatch.setattr(run_table, "_GROUP_ROWS", 2048)
    with RunWriter(tmp_path / "run", header) as writer:
        for record in records * 9:  # so many that they are several row groups
            writer.add(record)
        writer.finish(pack=pack)
    monkeypatch.setattr(run_store, "PACK_BYTES", 100)
    run = read_run(tmp_path / "run")
    assert isinstance(run.requests, Stored)
    wanted = summarise(Run(header, records * 9))
    monkeypatch.setattr(columns, "HELD_REQUESTS", 100)
    assert len(wanted) == 3
    for found, item in zip(summarise(run), wanted, strict=True):
        agree(found, item)


@pytest.mark.parametrize("pack", [True, False])
def test_a_large_run_stays_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, pack: bool) -> None:
    level, records = drawn(1, 300, "closed")
    header = make_header()
    header.levels = [level]
    with RunWriter(tmp_path / "run", header) as writer:
        for record in records:
            writer.add(record)
        writer.finish(pack=pack)
    small = read_run(tmp_path / "run")
    assert list(small.requests) == records
    monkeypatch.setattr(run_store, "PACK_BYTES", 100)
    monkeypatch.setattr(run_table, "_ROWS", 7)
    large = read_run(tmp_path / "run")
    assert isinstance(large.requests, Stored)
    assert list(large.requests) == records
    assert (len(large.requests), large.requests[-1], large.requests[5:7]) == (300, records[-1], records[5:7])
    agree(summarise(large)[0], summarise(Run(header, records))[0])
    with pytest.raises(IndexError):
        large.requests[300]


def test_torn_lines_of_a_large_journal_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, records = drawn(1, 20, "closed")
    with RunWriter(tmp_path / "run", make_header()) as writer:
        for record in records:
            writer.add(record)
    with (tmp_path / "run" / run_store.JOURNAL).open("ab") as file:
        file.write(b'{"index": 7, "lev')
    monkeypatch.setattr(run_store, "PACK_BYTES", 100)
    found = read_run(tmp_path / "run")
    assert (found.torn_lines, len(found.requests)) == (1, 20)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> FullFile:
        return FullFile("/dev/full", "r+")

    level, records = drawn(1, 200, "open")
    monkeypatch.setattr(columns, "HELD_TIMES", 50)
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(RunError, match="TMPDIR"):
        summarise_level(level, records)


class FullFile(FileIO):
    """A device whose every write finds no room."""
