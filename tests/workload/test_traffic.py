"""Traffic over time, against requests counted one by one, published profiles, and exports as they are published."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from rackrate.errors import WorkloadError
from rackrate.report.format import rate
from rackrate.workload.traces import Trace
from rackrate.workload.traffic import (
    Profile,
    Traffic,
    of_trace,
    on_steps,
    steady,
    tiled,
    with_lengths,
    with_mean_rate,
)
from rackrate.workload.traffic_files import (
    parse_duration,
    parse_rate,
    profile_of,
    read_profile,
    read_traffic,
    shifted,
)
from rackrate.workload.traffic_summary import summarised

TRACES = Path(__file__).parents[3] / "shared" / "data" / "traces"
needs_traces = pytest.mark.skipif(not TRACES.exists(), reason="the reference data is not beside the project")

DAY = st.lists(st.integers(0, 50).map(float), min_size=24, max_size=24).filter(any)
SERIES = st.lists(st.integers(0, 10**6).map(float), min_size=1, max_size=40).filter(any)


# --- from a trace ---


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(st.floats(0, 600), st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=60),
    step_s=st.sampled_from([1.0, 7.5, 60.0]),
)
def test_a_trace_is_counted_step_by_step(rows: list[tuple[float, int, int]], step_s: float) -> None:
    rows.sort()
    begin = rows[0][0]
    times = [time - begin for time, _, _ in rows]
    assume(times[-1] >= step_s)
    trace = Trace(
        "t",
        np.array(times),
        np.array([r[1] for r in rows], dtype=np.int32),
        np.array([r[2] for r in rows], dtype=np.int32),
    )
    traffic = of_trace(trace, step_s)
    assert traffic.requests is not None
    assert traffic.input_tokens is not None
    assert traffic.output_tokens is not None
    for number in range(len(traffic)):
        inside = [r for t, r in zip(times, rows, strict=True) if number * step_s <= t < (number + 1) * step_s]
        assert traffic.requests[number] == len(inside)
        assert traffic.input_tokens[number] == sum(r[1] for r in inside)
        assert traffic.output_tokens[number] == sum(r[2] for r in inside)
    assert times[-1] < (len(traffic) + 1) * step_s + 1e-6


@needs_traces
def test_the_azure_trace_is_that_of_a_thursday_evening() -> None:
    path = TRACES / "AzureLLMInferenceTrace_2023_conv.csv"
    traffic = read_traffic(path, 60.0)
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert datetime(2023, 11, 16, tzinfo=UTC).weekday() == 3
    assert traffic.start_s == pytest.approx(3 * 86_400 + 18 * 3600 + 15 * 60 + 46.680590)
    first_minute = [row for row in rows if row["TIMESTAMP"] < "2023-11-16 18:16:46.680590"]
    assert traffic.requests is not None
    assert traffic.output_tokens is not None
    assert traffic.requests[0] == len(first_minute)
    assert traffic.output_tokens[0] == sum(int(row["GeneratedTokens"]) for row in first_minute)
    seen = summarised(traffic)
    # published with the trace's paper: median input 1020, output 129 tokens (Patel et al., Splitwise, ISCA 2024)
    assert seen.input_lengths is not None
    assert seen.output_lengths is not None
    assert (seen.input_lengths.p50, seen.output_lengths.p50) == (1020, 129)


@needs_traces
@pytest.mark.parametrize("name", ["m-large", "deepseek-r1"])
def test_the_mean_day_of_published_rates_is_the_published_profile(name: str) -> None:
    with (TRACES / f"servegen_{name}_hour_profile.csv").open(encoding="utf-8") as file:
        published = [float(row["relative"]) for row in csv.DictReader(file)]
    rates = read_traffic(TRACES / f"servegen_{name}_rate.csv", 60.0)
    assert list(summarised(rates).by_hour_of_day) == pytest.approx(published, rel=1e-9)
    profile = read_profile(str(TRACES / f"servegen_{name}_hour_profile.csv"))
    assert profile.by_hour[:24].tolist() == pytest.approx((np.array(published) / np.mean(published)).tolist())


# --- in time ---


@settings(deadline=None)
@given(day=DAY, weekdays=st.lists(st.integers(1, 9).map(float), min_size=7, max_size=7), start_h=st.integers(0, 200))
def test_a_profile_keeps_the_mean_of_a_week_in_any_steps(day: list[float], weekdays: list[float], start_h: int) -> None:
    profile = Profile.of(day, weekdays)
    for step_s in (60.0, 900.0, 3600.0, 7200.0, 86_400.0):
        steps = round(7 * 86_400 / step_s)
        week = Traffic(step_s, np.full(steps, 2.0), None, None, start_s=start_h * 3600.0)
        assert float(profile.factors(week).mean()) == pytest.approx(1.0, rel=1e-6)
    hours = Traffic(3600.0, np.ones(168), None, None, start_s=start_h * 3600.0)
    assert profile.factors(hours).tolist() == pytest.approx(np.roll(profile.by_hour, -start_h).tolist())


@settings(deadline=None)
@given(values=SERIES, parts=st.integers(2, 60), day=st.none() | DAY)
def test_finer_steps_keep_what_each_step_held(values: list[float], parts: int, day: list[float] | None) -> None:
    coarse = Traffic(3600.0 * 6, np.array(values), None, np.array(values) * 3)
    profile = None if day is None else Profile.of(day)
    fine = on_steps(coarse, coarse.step_s / parts, profile)
    assert fine.requests is not None
    assert fine.output_tokens is not None
    assert (fine.requests >= 0).all()
    sums = fine.requests.reshape(len(values), parts).sum(axis=1)
    assert sums.tolist() == pytest.approx(values, rel=1e-9)
    back = on_steps(fine, coarse.step_s)
    assert back.output_tokens is not None
    assert back.output_tokens.tolist() == pytest.approx([3 * value for value in values], rel=1e-9)


def test_a_smooth_day_does_not_jump_on_the_hour() -> None:
    hours = 10 + 5 * np.sin(np.arange(48) / 24 * 2 * np.pi)
    fine = on_steps(Traffic(3600.0, hours * 3600, None, None), 60.0)
    assert fine.requests is not None
    rate = fine.requests / 60
    assert np.abs(np.diff(rate)).max() < 0.1  # an hour's change is up to 1.3
    middle = np.arange(48 * 60) / 60 - 0.5
    assert np.abs(rate - (10 + 5 * np.sin(middle / 24 * 2 * np.pi)))[120:-120].max() < 0.15


@settings(deadline=None)
@given(
    values=st.lists(st.sampled_from([0.0, 1.0, 2.0, 7.5, 1000.0]), min_size=3, max_size=12), parts=st.integers(2, 30)
)
def test_finer_steps_follow_scipys_monotone_cubic(values: list[float], parts: int) -> None:
    fine = on_steps(Traffic(3600.0, np.array(values), None, None), 3600.0 / parts).requests
    curve = PchipInterpolator(np.arange(len(values) + 1), np.concatenate(([0.0], np.cumsum(values))))
    known = np.diff(curve(np.arange(len(values) * parts + 1) / parts))
    assert fine == pytest.approx(known, rel=1e-9, abs=1e-9)


def test_a_day_between_idle_days_makes_no_peak_that_nobody_saw() -> None:
    days = on_steps(Traffic(86_400.0, np.array([864_000.0, 0.0, 864_000.0, 0.0, 864_000.0]), None, None), 60.0)
    assert days.requests is not None
    assert days.requests.max() / 60 == pytest.approx(10.0)


def test_steps_that_do_not_divide_are_refused() -> None:
    with pytest.raises(WorkloadError, match="not a whole multiple"):
        on_steps(steady(1, 7200), 1000.0)


def test_growth_is_compound_by_the_month() -> None:
    year = tiled(steady(1.0, 86_400, 3600), 8760 * 3600, growth_per_month=0.05)
    assert year.requests is not None
    months = year.requests.reshape(12, 730).sum(axis=1)
    assert (months[1:] / months[:-1]).tolist() == pytest.approx([1.05] * 11)
    assert year.requests[0] == pytest.approx(3600 * 1.05 ** (0.5 / 730))


def test_a_trace_is_repeated_under_the_week() -> None:
    hour = Traffic(60.0, np.array([1.0, 3.0] * 30), None, None)
    week = tiled(hour, 7 * 86_400, Profile.of([1.0] * 24, weekdays=[2, 2, 2, 2, 2, 0, 0]))
    assert week.requests is not None
    assert len(week) == 7 * 1440
    saturday = week.requests[5 * 1440 + 60 : 6 * 1440]
    assert saturday.max() == 0
    assert week.requests[720:722].tolist() == pytest.approx([1.4, 4.2])


def test_rates_and_lengths_are_put_on() -> None:
    traffic = with_lengths(with_mean_rate(Traffic(60.0, np.array([10.0, 50.0]), None, None), 2.0), 100, 20, 30)
    seen = summarised(traffic)
    assert (seen.mean_request_s, seen.peak_over_mean) == (pytest.approx(2.0), pytest.approx(50 / 30))
    assert (seen.mean_input_tokens, seen.mean_output_tokens, seen.cached_share) == pytest.approx((100, 20, 0.3))
    with pytest.raises(WorkloadError, match="cached within input"):
        with_lengths(traffic, 10, 10, 20)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("2/s", 2.0), ("90/min", 1.5), ("86400/day", 1.0), ("2.628M/month", 1.0), ("1k requests/s", 1000.0), ("2/x", None),
     ("trace.csv", None), ("-2/s", None), ("/s", None)],
)  # fmt: skip
def test_rates_are_read(text: str, rate: float | None) -> None:
    assert parse_rate(text, "traffic") == (None if rate is None else pytest.approx(rate))


@pytest.mark.parametrize("text", ["", "5", "0s", "-1h", "1 fortnight", "h", "1e9999s", "nan"])
def test_lengths_of_time_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(WorkloadError, match="length of time"):
        parse_duration(text, "over")


# --- files ---

OPENAI = """start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,model,\
batch,input_tokens,output_tokens,input_cached_tokens,input_audio_tokens,output_audio_tokens
1760313600,1760400000,2025-10-13T00:00:00+00:00,2025-10-14T00:00:00+00:00,p,100,,,gpt-5-mini,,50000,7000,20000,0,0
1760313600,1760400000,2025-10-13T00:00:00+00:00,2025-10-14T00:00:00+00:00,p,10,,,gpt-4o,,1000,500,,0,0
1760400000,1760486400,2025-10-14T00:00:00+00:00,2025-10-15T00:00:00+00:00,,,,,,,,,,,
1760486400,1760572800,2025-10-15T00:00:00+00:00,2025-10-16T00:00:00+00:00,p,60,,,gpt-5-mini,,30000,3000,0,0,0
"""
ACTIVITY = """timestamp,model,n_requests,n_context_tokens_total,n_generated_tokens_total
2024-05-01,gpt-4o,420,1250000,98000
2024-05-03,gpt-4o,42,125000,9800
"""
ANTHROPIC = """usage_date_utc,model_version,workspace,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,\
usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens
2026-03-02,claude-x,Default,1000,200,30,4000,700
2026-03-03,claude-x,Default,2000,0,0,0,100
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_an_openai_export_is_traffic(tmp_path: Path) -> None:
    traffic = read_traffic(write(tmp_path / "usage.csv", OPENAI), 60.0)
    assert traffic.step_s == 86_400
    assert traffic.requests is not None
    assert traffic.input_tokens is not None
    assert traffic.cached_tokens is not None
    assert traffic.output_tokens is not None
    assert traffic.requests.tolist() == [110, 0, 60]
    assert traffic.input_tokens.tolist() == [51000, 0, 30000]
    assert traffic.cached_tokens.tolist() == [20000, 0, 0]
    assert traffic.output_tokens.tolist() == [7500, 0, 3000]
    assert traffic.start_s == 0  # 13 October 2025 was a Monday
    assert any("all models together (gpt-4o, gpt-5-mini)" in note for note in traffic.notes)
    mini = read_traffic(write(tmp_path / "usage.csv", OPENAI), 60.0, "5-mini")
    assert mini.requests is not None
    assert mini.requests.tolist() == [100, 0, 60]
    assert shifted(mini, 2).start_s == 7200


def test_the_usage_api_says_the_same_as_the_export(tmp_path: Path) -> None:
    export = read_traffic(write(tmp_path / "usage.csv", OPENAI), 60.0)
    with (tmp_path / "usage.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    data: list[dict[str, object]] = []
    for begin, end in dict.fromkeys((row["start_time"], row["end_time"]) for row in rows):
        numbers = ("num_model_requests", "input_tokens", "output_tokens", "input_cached_tokens")
        results = [
            {"object": "organization.usage.completions.result", "model": row["model"]}
            | {key: int(row[key] or 0) for key in numbers}
            for row in rows
            if row["start_time"] == begin and row["num_model_requests"]
        ]
        data.append({"object": "bucket", "start_time": int(begin), "end_time": int(end), "results": results})
    page = {"object": "page", "data": data, "has_more": False, "next_page": None}
    answer = read_traffic(write(tmp_path / "usage.json", json.dumps(page)), 60.0)
    for name, values in export.series().items():
        other = answer.series()[name]
        if name.startswith("written"):
            assert (values, other) == (None, None)  # neither has a column of them
            continue
        assert values is not None
        assert other is not None
        assert other.tolist() == values.tolist(), name


def test_other_exports_are_understood(tmp_path: Path) -> None:
    old = read_traffic(write(tmp_path / "activity.csv", ACTIVITY), 60.0)
    assert old.requests is not None
    assert old.cached_tokens is None
    assert old.requests.tolist() == [420, 0, 42]  # a row is a day, and a day without one had no usage
    claude = read_traffic(write(tmp_path / "claude.csv", ANTHROPIC), 60.0)
    assert claude.requests is None
    assert claude.input_tokens is not None
    assert claude.cached_tokens is not None
    assert claude.input_tokens.tolist() == [5230, 2000]
    assert claude.cached_tokens.tolist() == [4000, 0]
    assert summarised(claude).demand_is == "output tokens"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("t_s,rate\n0,1\n60,-2\n", r":3: column rate: -2 must be finite and not negative"),
        ("t_s,rate\n0,1\n60,x\n", r":3: column rate: x is not a number"),
        ("t_s,rate\n0,1\n60,1\n50,1\n", r":4: column t_s: 50 does not come after 60"),
        ("t_s,rate\n0,1\n60,1\n180,1\n", r":4: column t_s: steps must be equal; 120 s"),
        ("t_s,rate\n0,1\n60,1,1\n", r":3: 3 columns, where the header has 2"),
        ("t_s,rate\n0,1\n", r"one row has no step"),
        ("t_s,rate\n", r"has a header but no rows"),
        ("hour_of_day,relative\n0,1\n", r"has factors but no rate"),
        ("hour_of_day,mean_rate\n0,1\n0,1\n", r":3: column hour_of_day: hour 0 is there twice"),
        ("hour_of_day,mean_rate\n24,1\n", r":2: column hour_of_day: 24 is not an hour"),
        ("hour_of_day,mean_rate\n0,1\n", r"hour 1 is missing"),
        (OPENAI.replace("1760313600,1760400000", "then,1760400000", 1), r":2: column start_time: then is not a date"),
        (OPENAI.replace(",7000,", ",-7000,"), r":2: column output_tokens: -7000 must be finite"),
        (OPENAI.replace("1760486400,1760572800", "1760486400,1760490000"), r"rows cover different lengths of time"),
        (
            OPENAI.replace("1760486400,1760572800", "1760486400,1760480000"),
            r":\d+: column end_time: the row ends before",
        ),
        (
            "start_time,num_model_requests,input_tokens,input_cached_tokens,output_tokens\n1760313600,1,100,500,7\n",
            r":2: column input_cached_tokens: 500 cached tokens are more than the input's 100",
        ),
        (
            "start_time,num_model_requests,input_tokens,output_tokens\n1760313600,1,9,9\n1760317200,1,9,9\n1760319100,1,9,9\n"
            "1760324400,1,9,9\n1760325000,1,9,9\n",
            r":\d: 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d is not a whole number of steps of 10 min",
        ),
        ("t_s,rate\n0,5\n600,1e308\n1200,1e308\n", r":3: column rate: 1e308 is more than can be meant"),
        ('time_s,input_tokens,output_tokens\n"0,10,5\n', r":2: not CSV \(unexpected end of data\)"),
        ("a,b\n1,2\n", r"no column"),
        ("", r"is empty"),
    ],
)
def test_files_that_cannot_be_are_refused_with_their_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        read_traffic(write(tmp_path / "x.csv", text), 60.0)


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        ("time_s,input_tokens,output_tokens\n0,1,1\n".encode("utf-16"), "1:1"),
        (b"time_s,input_tokens,output_tokens\n0,1,1\n5,caf\xe9,1\n", "3:6"),
        (b"t_s,rate\n0,5\n600,\xff\n", "3:5"),
    ],
)
def test_what_is_not_utf8_is_said_with_its_place(tmp_path: Path, raw: bytes, place: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(raw)
    with pytest.raises(WorkloadError) as error:
        read_traffic(path, 60.0)
    assert str(error.value).startswith(f"{path}:{place}: is not UTF-8 text"), str(error.value)


def test_a_small_rate_is_not_shown_as_none() -> None:
    assert rate(760 / (730 * 3600)) == "0.000289"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"not JSON"),
        ('{"data": 3}', r"is not the answer of a usage API"),
        ('{"data": [{"start_time": 1, "end_time": 2, "results": [{"input_tokens": -5}]}]}', r"negative"),
        ('{"data": []}', r"no buckets"),
        (
            '{"data": [{"start_time": 1, "end_time": 2, "results": [{"input_tokens": 5, "input_cached_tokens": 6}]}]}',
            r"more input_cached_tokens than input_tokens",
        ),
    ],
)
def test_answers_that_are_none_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        read_traffic(write(tmp_path / "x.json", text), 60.0)


def test_a_model_that_is_not_in_the_export_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"contains 'llama'; there are gpt-4o, gpt-5-mini"):
        read_traffic(write(tmp_path / "usage.csv", OPENAI), 60.0, "llama")


def test_profiles_come_as_numbers_files_and_rates(tmp_path: Path) -> None:
    factors = [1.0] * 12 + [2.0] * 12
    stated = read_profile(",".join(map(str, factors)))
    file = write(tmp_path / "p.csv", "hour_of_day,relative\n" + "".join(f"{h},{v}\n" for h, v in enumerate(factors)))
    assert read_profile(str(file)).by_hour.tolist() == stated.by_hour.tolist()
    rates = write(tmp_path / "r.csv", "t_s,rate\n" + "".join(f"{h * 3600},{v}\n" for h, v in enumerate(factors * 7)))
    assert read_profile(str(rates)).by_hour.tolist() == pytest.approx(stated.by_hour.tolist())
    with pytest.raises(WorkloadError, match="24 factors"):
        read_profile("1,2,3")
    with pytest.raises(WorkloadError, match="at least a day"):
        profile_of(steady(1, 7200))


def test_traffic_that_cannot_be_is_refused() -> None:
    for make in (
        lambda: Traffic(0.0, np.ones(3), None, None),
        lambda: Traffic(1.0, None, None, None),
        lambda: Traffic(1.0, np.empty(0), None, None),
        lambda: Traffic(1.0, np.array([-1.0]), None, None),
        lambda: Traffic(1.0, np.array([np.inf]), None, None),
        lambda: Traffic(1.0, np.ones(3), np.ones(2), None),
        lambda: steady(-1, 10),
        lambda: steady(1, 1e12, 1.0),
        lambda: tiled(steady(1, 3600), 7200, growth_per_month=-1),
        lambda: Profile.of([1.0] * 23),
        lambda: Profile.of([0.0] * 24),
        lambda: Profile.of([1.0] * 24, [1.0]),
    ):
        with pytest.raises(WorkloadError):
            make()
