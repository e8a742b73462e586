"""The trace loader against files whose rows are known, a row-by-row oracle, and the published traces where present."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rackrate.errors import WorkloadError
from rackrate.workload import traces
from rackrate.workload.trace_files import detect_layout, first_fault
from rackrate.workload.trace_summary import shared_share
from rackrate.workload.trace_units import MOONCAKE_BLOCK as BLOCK_TOKENS
from rackrate.workload.traces import Trace, read_trace, write_trace
from rackrate.workload.traffic_files import read_traffic

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 23:59:59.9799600,4808,10
2023-11-17 00:00:00.0319601,3180,8
2023-11-17 00:01:00,110,27
"""
MOONCAKE = """{"timestamp": 27482, "input_length": 600, "output_length": 52, "hash_ids": [46, 47]}
{"timestamp": 30535, "input_length": 1300, "output_length": 26, "hash_ids": [46, 48, 49]}
"""
OWN = """time_s,user,input_tokens,output_tokens,cached_tokens,session,prefix,prefix_tokens
10.5,x,100,5,0,alice,helpdesk,64
10.5,y,200,6,64,bob,helpdesk,64
11,z,300,7,,alice,,
"""


def written(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def test_azure_rows_are_read_to_the_tenth_of_a_microsecond_over_midnight(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "azure.csv", AZURE))
    assert trace.arrival_s.tolist() == pytest.approx([0.0, 0.0520001, 60.02004], abs=1e-9)
    assert trace.input_tokens.tolist() == [4808, 3180, 110]
    assert trace.output_tokens.tolist() == [10, 8, 27]
    assert trace.input_tokens.dtype == np.int32
    assert trace.blocks(0) is None


def test_azure_rows_of_2024_have_a_time_zone(tmp_path: Path) -> None:
    text = (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n"
        "2024-05-10 00:00:00.017335+00:00,2399,6\n"
    )
    assert read_trace(written(tmp_path, "a.csv", text)).arrival_s.tolist() == pytest.approx([0, 0.007405], abs=1e-9)


def test_mooncake_rows_have_milliseconds_and_hashes(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "m.jsonl", MOONCAKE))
    assert trace.arrival_s.tolist() == pytest.approx([0.0, 3.053])
    assert [np.asarray(trace.blocks(row)).tolist() for row in range(2)] == [[46, 47], [46, 48, 49]]
    assert np.asarray(trace.first(1).block_ids).tolist() == [46, 47]


def test_rows_of_ones_own_may_name_sessions_and_prefixes_and_have_more_columns(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "own.csv", OWN))
    assert trace.arrival_s.tolist() == [0.0, 0.0, 0.5]
    assert np.asarray(trace.session).tolist() == [0, 1, 0]
    assert np.asarray(trace.prefix).tolist() == [0, 0, -1]
    assert np.asarray(trace.prefix_tokens).tolist() == [64, 64, 0]
    assert np.asarray(trace.cached_tokens).tolist() == [0, 64, -1]
    assert np.asarray(trace.first(2).session).tolist() == [0, 1]


def test_a_burstgpt_file_counts_seconds_and_a_gzipped_file_is_read(tmp_path: Path) -> None:
    text = (
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,230,1317,Conversation log\n"
    )
    path = tmp_path / "burst.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    trace = read_trace(path)
    assert trace.arrival_s.tolist() == [0.0, 40.0]
    assert trace.input_tokens.tolist() == [472, 1087]


@pytest.mark.parametrize("name", ["odd [1]*?.csv", "it's.csv", "naïve.csv"])
def test_any_name_of_a_file_is_a_name(tmp_path: Path, name: str) -> None:
    assert len(read_trace(written(tmp_path, name, OWN))) == 3


HEAD = "time_s,input_tokens,output_tokens\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (HEAD, "has no rows"),
        ("when,how\n1,2\n", ":1: no column time_s"),
        ("time_s,input_tokens\n1,2\n", ":1: no column output_tokens"),
        (HEAD + "0,5,5\n2,5,5\n1,5,5\n", ":4: column time_s: 1 is earlier than the row before"),
        (HEAD + "0,5,5\n1,-5,5\n", ":3: column input_tokens: '-5' is negative"),
        (HEAD + "0,5,5\n1,5,5.5\n", ":3: column output_tokens: '5.5' is not a whole number"),
        (HEAD + "0,five,5\n", ":2: column input_tokens: 'five' is not a number"),
        (HEAD + "0,,5\n", ":2: column input_tokens: nothing is not a number"),
        (HEAD + "0,nan,5\n", ":2: column input_tokens: 'nan' is not a number"),
        (HEAD + "0,3000000000,5\n", ":2: column input_tokens: '3000000000' is more than"),
        (HEAD + "soon,5,5\n", ":2: column time_s: 'soon' is not a number"),
        (HEAD + "inf,5,5\n", ":2: column time_s: 'inf' is not a number"),
        (HEAD + "0,5\n", ":2: 2 columns, where the header has 3"),
        (HEAD + "0,5,5,5\n", ":2: 4 columns, where the header has 3"),
        (HEAD + "2023-11-16 10:00:00,5,5\n2023-11-16 09:59:59,5,5\n", ":3: column time_s: 2023-11-16 09:59:59 is"),
        (HEAD + "2023-11-16 10:00:00,5,5\n7,5,5\n", ":3: column time_s: '7' is not a date and time"),
        ("time_s,time,input,output\n0,0,1,1\n", ":1: the columns time_s and time hold the same thing"),
        ("time_s,input,output,x,x\n0,1,1,1,1\n", ":1: two columns have one name"),
        ("time_s,input,output,prefix\n0,1,1,a\n", ":1: the columns prefix and prefix_tokens belong together"),
        ("time_s,input,output,prefix,prefix_tokens\n0,9,1,a,\n", ":2: column prefix_tokens: a prefix needs its length"),
        ("time_s,input,output,prefix,prefix_tokens\n0,9,1,a,10\n", ":2: column prefix_tokens: 10 shared tokens"),
        ("time_s,input,output,cached\n0,9,1,10\n", ":2: column cached: 10 cached tokens are more"),
        ("time_s,input,output,cached\n0,9,1,-1\n", ":2: column cached: '-1' is negative"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_csv_is_said_with_file_line_and_column(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, "bad.csv", text)
    with pytest.raises(WorkloadError) as caught:
        read_trace(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


LINE = '{"timestamp": 0, "input_length": 5, "output_length": 5, "hash_ids": [1]}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"timestamp": 0, "input_length": 5}\n', ":1: the key output_length is missing"),
        ("{\n", ":1:"),
        (LINE + "{broken\n", ":2: column 2: not a JSON object"),
        (LINE + "[1]\n", ":2: not a JSON object"),
        (LINE + LINE.replace("5", "-5"), ":2: column input_length: -5 is negative"),
        (LINE.replace('": 0', '": 7') + LINE, ":2: column timestamp: 0 is earlier"),
        (LINE + LINE.replace("5", '"x"'), ":2: column input_length: 'x' is not a number"),
        (LINE + LINE.replace("[1]", "[1, null]"), ":2: column hash_ids: nothing is not a list of whole numbers"),
        (LINE + LINE.replace("[1]", '"no"'), ":2: column hash_ids: 'no' is not a list"),
        (LINE + '{"timestamp": 0, "input_length": 5}\n', ":2: column output_length: nothing is not a number"),
    ],
)
def test_what_is_wrong_with_json_lines_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, "bad.jsonl", text)
    with pytest.raises(WorkloadError) as caught:
        read_trace(path)
    assert said in str(caught.value)


def test_no_file_and_no_text_are_said(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="no such file"):
        read_trace(tmp_path / "none.csv")
    with pytest.raises(WorkloadError, match="is a directory"):
        read_trace(tmp_path)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x9d")
    with pytest.raises(WorkloadError, match=r"binary\.csv:1:1: is not UTF-8 text"):
        read_trace(tmp_path / "binary.csv")


# what files of strangers are like: units, zones, orders, marks


def alike(count: int, every_s: float, ids: int, tokens: int, per_second: float = 1.0, **more: Any) -> str:
    """Requests at equal distances, of so many blocks; every second one begins with the blocks of the first."""
    lines: list[str] = []
    for n in range(count):
        shared = ids * 3 // 4 if n % 2 else 0
        hashes = [*range(shared), *range(1000 * (n + 1), 1000 * (n + 1) + ids - shared)]
        row = {"timestamp": round(n * every_s * per_second, 3), "input_length": tokens, "output_length": 9}
        lines.append(json.dumps({**row, "hash_ids": hashes, **more}) + "\n")
    return "".join(lines)


def twice_each_second(count: int) -> str:
    rows = ({"timestamp": n // 2, "input_length": 5, "output_length": 9} for n in range(count))
    return "".join(json.dumps(row) + "\n" for row in rows)


BAILIAN: dict[str, Any] = {"chat_id": 1, "parent_chat_id": -1, "type": "text", "turn": 1}


@pytest.mark.parametrize(
    ("text", "duration_s", "block_tokens", "share"),
    [
        # 40 requests 2.05 s apart: 19 of 40 share 30 blocks of 16 of their 640 tokens with one before
        (alike(40, 2.05, 40, 640, **BAILIAN), 79.95, 16, 19 * 480 / (40 * 640)),
        (alike(40, 2.05, 40, 640), 79.95, 16, 19 * 480 / (40 * 640)),
        (alike(40, 2.0, 40, 640, **BAILIAN), 78.0, 16, 19 * 480 / (40 * 640)),
        (alike(40, 2.05, 4, 2048, per_second=1000), 79.95, 512, 19 * 3 * 512 / (40 * 2048)),
        (alike(40, 2.05, 4, 256, time_unit="s"), 79.95, 64, 19 * 3 * 64 / (40 * 256)),
        (alike(40, 2.05, 4, 2000, per_second=1e6, time_unit="us", block_tokens=512), 79.95, 512, 0.3648),
        (alike(40, 0.5, 4, 2048), 19.5, 512, 19 * 3 * 512 / (40 * 2048)),  # 2,000 requests a second are none's
        (alike(1, 1, 4, 2048).replace("0.0,", "1700000000.5,") + alike(1, 1, 4, 2048).replace("0.0,", "1700000007,"),
         6.5, 512, 0.75 * 0 + 0.5),
    ],
)  # fmt: skip
def test_units_are_told_by_what_the_numbers_can_mean(
    tmp_path: Path, text: str, duration_s: float, block_tokens: int, share: float
) -> None:
    trace = read_trace(written(tmp_path, "t.jsonl", text))
    assert trace.duration_s == pytest.approx(duration_s, abs=1e-6)
    assert trace.block_tokens == block_tokens
    assert trace.units is not None
    assert f"blocks of {block_tokens} tokens" in trace.units
    assert shared_share(trace) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (alike(40, 2.05, 45, 640), ("45 hash ids for 640 tokens", "blocks of 512 would be 2", '"block_tokens": 16')),
        (alike(40, 2.05, 40, 640, block_tokens=512), ("40 hash ids for 640 tokens",)),
        (alike(40, 2.0, 40, 640), ("0.5 a second, or 500", '"time_unit": "s"')),
        (alike(40, 2.05, 4, 512), ("seconds or milliseconds cannot be told",)),
        (twice_each_second(40), ("2.05 a second, or 2.05e+03",)),
        (alike(1, 1, 4, 2048, time_unit="min"), (":1: column time_unit: 'min' is none of s, ms, us, ns",)),
        (alike(1, 1, 4, 2048, block_tokens=0), (":1: column block_tokens: 0 is no whole number",)),
    ],
)
def test_where_two_readings_are_possible_both_are_said(tmp_path: Path, text: str, said: tuple[str, ...]) -> None:
    with pytest.raises(WorkloadError) as caught:
        read_trace(written(tmp_path, "t.jsonl", text))
    for part in said:
        assert part in str(caught.value)


@pytest.mark.parametrize("per_second", [1, 1000, 10**6, 10**9])
def test_numbers_since_1970_are_dates_in_the_unit_that_their_size_tells(tmp_path: Path, per_second: int) -> None:
    moments = [1_700_000_000 * per_second, 1_700_000_090 * per_second]
    text = "time,input,output\n" + "".join(f"{moment},5,5\n" for moment in moments)
    trace = read_trace(written(tmp_path, "t.csv", text))
    assert trace.arrival_s.tolist() == [0.0, 90.0]
    assert trace.begins_s == 1.7e9


def test_times_are_compared_in_utc_and_all_have_an_offset_or_none(tmp_path: Path) -> None:
    # the hour that Berlin had twice: five requests, an hour from each to the next
    clock = ("01:30:00+02:00", "02:30:00+02:00", "02:30:00+01:00", "03:30:00+01:00", "04:30:00+01:00")
    trace = read_trace(written(tmp_path, "autumn.csv", HEAD + "".join(f"2026-10-25T{at},100,20\n" for at in clock)))
    assert trace.arrival_s.tolist() == [0.0, 3600.0, 7200.0, 10800.0, 14400.0]
    assert trace.begins_s == datetime(2026, 10, 24, 23, 30, tzinfo=UTC).timestamp()
    unsorted = HEAD + "2026-11-01T10:00:00Z,1,1\n2026-11-01T10:01:00+02:00,1,1\n2026-11-01T10:05:00Z,1,1\n"
    with pytest.raises(WorkloadError, match=r":3: column time_s: .* is earlier than the row before"):
        read_trace(written(tmp_path, "unsorted.csv", unsorted))
    for first, second in (("10:00:00", "10:01:00Z"), ("10:00:00Z", "10:01:00"), ("10:00:00", "10:01:00+05:30")):
        mixed = HEAD + f"2026-11-01 {first},1,1\n2026-11-01 {second},1,1\n"
        with pytest.raises(WorkloadError, match=r":3: .*some times have a UTC offset"):
            read_trace(written(tmp_path, "mixed.csv", mixed))


def test_dated_requests_may_stand_with_the_newest_first(tmp_path: Path) -> None:
    text = HEAD + "2026-11-01 10:00:09,3,1\n2026-11-01 10:00:05,2,1\n2026-11-01 10:00:05,1,1\n"
    trace = read_trace(written(tmp_path, "t.csv", text))
    assert trace.arrival_s.tolist() == [0.0, 0.0, 4.0]
    assert trace.input_tokens.tolist() == [1, 2, 3]
    assert trace.begins_s == datetime(2026, 11, 1, 10, 0, 5, tzinfo=UTC).timestamp()
    rows = [{"timestamp": 1.7e9 - n, "input_length": 512 * n, "output_length": 1, "hash_ids": [*range(n)]}
            for n in range(4)]  # fmt: skip
    back = read_trace(written(tmp_path, "t.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))
    assert [np.asarray(back.blocks(row)).tolist() for row in range(4)] == [[0, 1, 2], [0, 1], [0], []]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + HEAD + "0,5,7\n0.35,6,8\n",
        HEAD.replace("\n", "\r\n") + "0,5,7\r\n0.35,6,8\r\n",
        HEAD.replace(",", ";") + "0;5;7\n0,35;6;8\n",
        HEAD.replace(",", "\t") + "0\t5\t7\n0.35\t6\t8\n",
        '"time_s","input_tokens","output_tokens"\n"0","5","7"\n"0.35","6","8"\n',
        "time,input,output\n2026-11-01T10:00:00Z,5,7\n2026-11-01T10:00:00.350Z,6,8\n",
        '{"timestamp": "2026-11-01T10:00:00Z", "input_length": 5, "output_length": 7}\n'
        '{"timestamp": "2026-11-01T10:00:00.350Z", "input_length": 6, "output_length": 8}\n',
    ],
)
def test_the_same_requests_are_read_however_a_program_wrote_them(tmp_path: Path, text: str) -> None:
    trace = read_trace(written(tmp_path, "t.txt", text))
    assert trace.arrival_s.tolist() == pytest.approx([0.0, 0.35])
    assert (trace.input_tokens.tolist(), trace.output_tokens.tolist()) == ([5, 6], [7, 8])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "0," + "1" * 200_000 + ",20\n", ":2: a value has more than 131,072 characters"),
        ("x" * 200_000 + "\n", ":1: a value has more than 131,072 characters"),
        (HEAD + "0,0,0\n1,0,0\n", "asks for nothing"),
        (HEAD + "1e30,5,5\n", ":2: column time_s: '1e30' is no time that can be meant"),
        (HEAD + "0,1e30,5\n", ":2: column input_tokens: '1e30' is more than"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        read_trace(written(tmp_path, "t.csv", text))
    assert said in str(caught.value)


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(WorkloadError, match="not a file"):
            read_trace(path)
        with pytest.raises(WorkloadError, match="not a file"):
            read_traffic(path, 60.0)


cells = st.one_of(
    st.integers(-2, 3).map(str), st.sampled_from(["", "x", "1.5", "1e1", " 2", "nan", "2023-01-01 00:00:00"])
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(cells, cells, cells, cells), min_size=1, max_size=4))
def test_the_fast_reader_refuses_exactly_what_the_exact_one_faults(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    text = "time_s,input,output,cached\n" + "".join(",".join(row) + "\n" for row in rows)
    path = written(tmp_path, "any.csv", text)
    fault = first_fault(path, detect_layout(path))
    if fault is not None:
        with pytest.raises(WorkloadError) as caught:
            read_trace(path)
        assert str(caught.value) == fault
        return
    trace = read_trace(path)
    assert trace.input_tokens.tolist() == [int(float(row[1])) for row in rows]
    assert np.asarray(trace.cached_tokens).tolist() == [int(float(row[3])) if row[3] else -1 for row in rows]


@st.composite
def any_trace(draw: st.DrawFn, *, mooncake: bool) -> Trace:
    count = draw(st.integers(1, 30))
    lengths = st.lists(st.integers(0, 2**31 - 1), min_size=count, max_size=count)
    if mooncake:
        gaps = draw(st.lists(st.integers(0, 10**7), min_size=count, max_size=count))
        times = np.cumsum([0, *gaps[1:]]) / 1000
    else:
        gaps = draw(st.lists(st.floats(0, 1e4), min_size=count, max_size=count))
        times = np.cumsum([0.0, *gaps[1:]])
    inputs = np.array(draw(lengths), dtype=np.int32)
    outputs = np.array(draw(lengths), dtype=np.int32)
    if mooncake:
        ids = draw(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5), min_size=count, max_size=count))
        short = draw(st.integers(0, BLOCK_TOKENS - 1))  # of the tokens that a prompt's last block could hold
        inputs = np.array([max(0, len(row) * BLOCK_TOKENS - short) for row in ids], dtype=np.int32)
        outputs = np.maximum(outputs, 1)
        start = np.cumsum([0, *map(len, ids)])
        flat = np.array([cell for row in ids for cell in row], dtype=np.int64)
        return Trace("x", times, inputs, outputs, block_ids=flat, block_start=start)

    def codes() -> np.ndarray[Any, np.dtype[np.int32]] | None:
        if draw(st.booleans()):
            return None
        names = draw(st.lists(st.integers(-1, 4), min_size=count, max_size=count))
        order = {name: number for number, name in enumerate(dict.fromkeys(name for name in names if name >= 0))}
        return np.array([order.get(name, -1) for name in names], dtype=np.int32)

    cached = np.minimum(inputs, draw(st.integers(-1, 100))).astype(np.int32) if draw(st.booleans()) else None
    prefix = codes()
    shared = None if prefix is None else np.where(prefix < 0, 0, inputs // 2).astype(np.int32)
    return Trace("x", times, inputs, np.maximum(outputs, 1), cached, codes(), prefix, shared)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trace=any_trace(mooncake=False))
def test_a_trace_written_as_csv_is_read_back_the_same(tmp_path: Path, trace: Trace) -> None:
    write_trace(trace, tmp_path / "t.csv")
    back = read_trace(tmp_path / "t.csv")
    for name in ("arrival_s", "input_tokens", "output_tokens", "cached_tokens", "session", "prefix", "prefix_tokens"):
        wrote, read = getattr(trace, name), getattr(back, name)
        assert (wrote is None) == (read is None), name
        if wrote is not None:
            assert wrote.tolist() == read.tolist(), name


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trace=any_trace(mooncake=True))
def test_a_trace_written_as_json_lines_is_read_back_the_same(tmp_path: Path, trace: Trace) -> None:
    write_trace(trace, tmp_path / "t.jsonl")
    back = read_trace(tmp_path / "t.jsonl")
    assert back.arrival_s.tolist() == trace.arrival_s.tolist()
    assert back.input_tokens.tolist() == trace.input_tokens.tolist()
    for row in range(len(trace)):
        assert np.asarray(back.blocks(row)).tolist() == np.asarray(trace.blocks(row)).tolist()


def test_what_a_file_cannot_hold_is_not_dropped_in_silence(tmp_path: Path) -> None:
    own, blocks = read_trace(written(tmp_path, "o.csv", OWN)), read_trace(written(tmp_path, "m.jsonl", MOONCAKE))
    with pytest.raises(WorkloadError, match=r"has no place for cached_tokens, session, prefix; give a name .*csv"):
        write_trace(own, tmp_path / "x.jsonl")
    with pytest.raises(WorkloadError, match="has no place for block_ids"):
        write_trace(blocks, tmp_path / "x.csv")
    with pytest.raises(WorkloadError, match="cannot be written"):
        write_trace(own, tmp_path / "o.csv" / "x.csv")


def test_slices_and_mapped_hashes_give_the_same_as_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(4)
    ids = [generator.integers(0, 50, generator.integers(0, 7)).tolist() for _ in range(500)]
    rows = [
        {"timestamp": 5 * n, "input_length": 512 * len(item), "output_length": 1, "hash_ids": item}
        for n, item in enumerate(ids)
    ]
    path = written(tmp_path, "m.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(traces, "_SLICE", 64)
    monkeypatch.setattr(traces, "_IN_MEMORY_BLOCKS", 10)
    trace = read_trace(path)
    assert isinstance(trace.block_ids, np.memmap)
    assert [np.asarray(trace.blocks(row)).tolist() for row in range(500)] == ids
    assert trace.input_tokens.tolist() == [512 * len(item) for item in ids]


PUBLISHED = Path(os.environ.get("RACKRATE_REFERENCE_DATA", "/nowhere")) / "traces"


@pytest.mark.skipif(not PUBLISHED.exists(), reason="no published traces here")
def test_published_traces_have_the_figures_that_plain_python_counts() -> None:
    for kind, rows in (("code", 8819), ("conv", 19366)):
        path = PUBLISHED / f"AzureLLMInferenceTrace_2023_{kind}.csv"
        lines = path.read_text(encoding="utf-8").split("\n")[1:]
        counted = [tuple(map(int, line.split(",")[1:])) for line in lines if line]
        trace = read_trace(path)
        assert len(trace) == rows
        assert list(zip(trace.input_tokens.tolist(), trace.output_tokens.tolist(), strict=True)) == counted
    trace = read_trace(PUBLISHED / "mooncake_conversation_trace.jsonl")
    assert len(trace) == 12031
    starts = np.asarray(trace.block_start)
    assert (np.diff(starts) == np.ceil(trace.input_tokens / BLOCK_TOKENS)).all()
