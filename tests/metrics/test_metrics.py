"""Metrics on runs whose every figure is known, because the test made them; intervals against what they promise."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.metrics.saturation import Capacity, Saturation, capacity, saturation
from rackrate.metrics.steady import Array, batch_means, steady_window
from rackrate.metrics.summary import CAVEATS, DEFINITIONS, LevelSummary, Quantiles, summarise, summarise_level
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
from rackrate.runs.statuses import FAULTS, OK


def make_level(concurrency: int = 4, started: float = 0.0, stopped: float = 40.0, **more: Any) -> Level:
    values: dict[str, Any] = {"index": 0, "kind": "closed", "warmed_up": True, "ended_because": "requests"}
    values |= {"concurrency": concurrency, "started_s": started, "stopped_s": stopped, **more}
    return Level.model_validate(values)


def make_request(sent: float, chunks: tuple[float, ...] = (), **more: Any) -> RequestRecord:
    """A request that was answered whole, one token a piece, unless `more` says otherwise."""
    values: dict[str, Any] = {
        "index": 0, "level": 0, "due_s": sent, "sent_s": sent, "first_byte_s": None,
        "first_token_s": chunks[0] if chunks else None, "done_s": chunks[-1] if chunks else sent, "status": OK,
        "http_status": 200, "detail": None, "asked_input_tokens": 64, "asked_output_tokens": len(chunks),
        "input_tokens": 64, "cached_tokens": 0, "output_tokens": len(chunks), "finish_reason": "length",
        "stagger": False, "chunk_s": chunks,
    }  # fmt: skip
    return RequestRecord(**{**values, **more})


def constant_stream(
    concurrency: int = 4, seconds: float = 1.6, tokens: int = 32, rounds: int = 25, started: float = 0.0, **more: Any
) -> tuple[Level, list[RequestRecord]]:
    """So many workers in step, each request `seconds` long, its tokens evenly over it: a rate without a ripple."""
    step = seconds / tokens
    requests = [
        make_request(
            begin := started + turn * seconds,
            tuple(begin + (k + 0.5) * step for k in range(tokens)),
            done_s=begin + seconds,
        )
        for turn in range(rounds)
        for _ in range(concurrency)
    ]
    return make_level(concurrency, started, started + rounds * seconds, **more), requests


# --- quantiles ---


@settings(deadline=None)
@given(sample=st.lists(st.floats(0, 1e6), min_size=2, max_size=300))
def test_quantiles_are_those_of_the_standard_library(sample: list[float]) -> None:
    found = Quantiles.of(sample)
    assert found is not None
    cuts = statistics.quantiles(sample, n=100, method="inclusive")
    assert (found.p50, found.p90, found.p95, found.p99) == pytest.approx((cuts[49], cuts[89], cuts[94], cuts[98]))
    assert found.mean == pytest.approx(statistics.fmean(sample))
    assert found.count == len(sample)


def test_one_value_is_all_its_quantiles_and_none_has_none() -> None:
    assert Quantiles.of([0.3]) == Quantiles(1, 0.3, 0.3, 0.3, 0.3, 0.3)
    assert Quantiles.of([]) is None


# --- definitions ---


def in_a_steady_level(*odd: RequestRecord) -> LevelSummary:
    """The summary of a level whose latencies are those of `odd` alone: the rest is marked as staggered."""
    level, rest = constant_stream()
    staggered = [make_request(item.sent_s, item.chunk_s, stagger=True) for item in rest]
    return summarise_level(level, [*staggered, *odd])


def test_ttft_and_e2e_count_from_due_and_tpot_leaves_the_first_token_out() -> None:
    late = make_request(sent=30.2, chunks=(30.5, 30.6, 30.8), due_s=30.0, done_s=30.9)
    summary = in_a_steady_level(late)
    assert summary.ttft is not None
    assert summary.e2e is not None
    assert summary.tpot is not None
    assert summary.itl is not None
    assert summary.ttft.p50 == pytest.approx(0.5)
    assert summary.e2e.p50 == pytest.approx(0.9)
    assert summary.tpot.p50 == pytest.approx(0.2)  # 0.4 s for the two tokens after the first
    assert (summary.itl.count, summary.itl.mean) == (2, pytest.approx(0.15))
    assert summary.ttft.count == 1


def test_one_token_has_no_time_per_output_token() -> None:
    summary = in_a_steady_level(make_request(30.0, (30.5,)))
    assert summary.tpot is None
    assert summary.itl is None
    assert summary.ttft is not None


def test_without_usage_there_is_no_time_per_output_token() -> None:
    summary = in_a_steady_level(make_request(30.0, (30.5, 30.6), output_tokens=None))
    assert summary.tpot is None
    assert summary.ttft is not None


def test_failed_and_staggered_requests_and_those_outside_the_window_have_no_latency() -> None:
    summary = in_a_steady_level(
        make_request(30.0, (30.5, 30.6), status="reset"),
        make_request(30.0, (30.5, 30.6), stagger=True),
        make_request(40.1, (40.5, 40.6)),
    )
    assert (summary.ttft, summary.tpot, summary.itl, summary.e2e) == (None, None, None, None)


def test_no_gaps_between_tokens_where_several_come_at_once() -> None:
    level, requests = constant_stream()
    several = [
        make_request(request.sent_s, request.chunk_s, output_tokens=4 * len(request.chunk_s)) for request in requests
    ]
    summary = summarise_level(level, several)
    assert summary.tokens_per_chunk == pytest.approx(4)
    assert summary.itl is None
    assert summary.tpot is not None
    assert summary.output_tok_s == pytest.approx(4 * 80, rel=1e-4)


def test_means_are_of_requests_as_the_server_counted_them() -> None:
    level, requests = constant_stream()
    summary = summarise_level(level, requests)
    assert (summary.mean_input_tokens, summary.mean_cached_tokens, summary.mean_output_tokens) == (64, 0, 32)
    uncounted = [make_request(r.sent_s, r.chunk_s, input_tokens=None, cached_tokens=None) for r in requests]
    without = summarise_level(level, uncounted)
    assert (without.mean_input_tokens, without.mean_cached_tokens, without.input_tok_s, without.cached_tok_s) == (
        None,
        None,
        None,
        None,
    )


LATENCIES = ("ttft", "tpot", "itl", "e2e")
RATES = ("output_tok_s", "output_tok_s_half_width", "input_tok_s", "cached_tok_s", "request_s")


@pytest.mark.parametrize(
    "requests",
    [[], [make_request(1.0, status="refused", output_tokens=None, input_tokens=None)] * 3],
    ids=["no request", "all refused"],
)
def test_no_data_is_none_and_never_zero(requests: list[RequestRecord]) -> None:
    summary = summarise_level(make_level(), requests)
    known = {name: value for name in (*LATENCIES, *RATES) if (value := getattr(summary, name)) is not None}
    assert known == {}
    assert (summary.mean_input_tokens, summary.mean_output_tokens, summary.tokens_per_chunk) == (None, None, None)
    assert (summary.window_s, summary.window_start_s) == (None, None)
    assert summary.requests == 0
    assert summary.failed == ({"refused": 3} if requests else {})


def test_every_metric_has_a_definition() -> None:
    assert {"TTFT", "ITL", "TPOT", "E2E", "output tok/s", "input tok/s", "steady window"} <= set(DEFINITIONS)
    assert OK not in FAULTS


# --- throughput ---


@settings(deadline=None, max_examples=40)
@given(
    concurrency=st.integers(1, 8),
    seconds=st.floats(0.05, 100),
    tokens=st.integers(1, 8).map(lambda n: 8 * n),
    started=st.floats(0, 1e4),
    cached=st.integers(0, 64),
)
def test_the_throughput_of_a_constant_stream_is_exact(
    concurrency: int, seconds: float, tokens: int, started: float, cached: int
) -> None:
    level, requests = constant_stream(concurrency, seconds, tokens, 25, started)
    half_cached = [make_request(r.sent_s, r.chunk_s, done_s=r.done_s, cached_tokens=cached) for r in requests]
    summary = summarise_level(level, half_cached)
    assert summary.output_tok_s == pytest.approx(concurrency * tokens / seconds, rel=1e-6)
    assert summary.input_tok_s == pytest.approx(concurrency * 64 / seconds, rel=1e-6)
    assert summary.cached_tok_s == pytest.approx(concurrency * cached / seconds, rel=1e-6)
    assert summary.output_tok_s_half_width == pytest.approx(0, abs=1e-6 * concurrency * tokens / seconds)
    assert summary.window_s == pytest.approx(25 * seconds, rel=1e-6)
    assert summary.request_s is not None
    assert summary.request_s * 25 * seconds == pytest.approx(25 * concurrency, abs=concurrency + 1e-6)
    assert summary.e2e is not None
    assert summary.e2e.p99 == pytest.approx(seconds, rel=1e-6)


def test_what_comes_after_the_last_request_was_sent_does_not_count() -> None:
    level, requests = constant_stream()
    before = summarise_level(level, requests)
    draining = [make_request(39.9, (40.5 + k, 41.0 + k)) for k in range(100)]
    after = summarise_level(level, [*requests, *draining])
    assert after.output_tok_s == pytest.approx(80.0)
    assert (after.input_tok_s, after.cached_tok_s, after.request_s) == (
        before.input_tok_s,
        before.cached_tok_s,
        before.request_s,
    )
    assert after.requests == 200


def test_tokens_of_requests_that_were_cut_off_count_like_those_of_whole_ones() -> None:
    level, requests = constant_stream()
    half = len(requests) // 2
    cut = [make_request(r.sent_s, r.chunk_s, status="stopped", output_tokens=None) for r in requests[half:]]
    summary = summarise_level(level, [*requests[:half], *cut])
    assert summary.output_tok_s == pytest.approx(80.0)
    assert summary.failed == {"stopped": half}


def test_a_level_that_still_runs_ends_with_its_last_answer() -> None:
    level, requests = constant_stream()
    running = level.model_copy(update={"stopped_s": None})
    assert summarise_level(running, requests).window_end_s == pytest.approx(40.0)


def arrivals(rate: float, start: float, stop: float) -> Array:
    """Evenly spaced moments."""
    number = round(rate * (stop - start))
    return start + (np.arange(number) + 0.5) / number * (stop - start)


def test_a_slow_warm_up_is_dropped() -> None:
    times = np.concatenate([arrivals(20, 0, 20), arrivals(200, 20, 100)])
    window = steady_window(times, np.ones_like(times), 0.0, 100.0)
    assert window is not None
    assert window == (pytest.approx(20.0), 100.0)
    rate, half_width, trend = batch_means(times, np.ones_like(times), *window, typical_s=1.0)
    assert rate == pytest.approx(200.0)
    assert half_width == pytest.approx(0.0, abs=1e-6)
    assert trend == pytest.approx(0.0, abs=1e-6)


def test_a_summary_is_of_what_the_warm_up_leaves() -> None:
    level, requests = constant_stream()
    cold = [r for i, r in enumerate(requests) if r.sent_s >= 8.0 or i % 4 == 0]  # one of four workers for 8 s
    summary = summarise_level(level, cold)
    assert summary.window_start_s == pytest.approx(8.0)
    assert summary.output_tok_s == pytest.approx(80.0)


def test_at_most_half_of_a_level_is_dropped() -> None:
    times = np.concatenate([arrivals(10, 0, 90), arrivals(500, 90, 100)])
    window = steady_window(times, np.ones_like(times), 0.0, 100.0)
    assert window is not None
    assert window[0] <= 50.0


def test_a_steady_level_keeps_most_of_itself() -> None:
    rng = np.random.default_rng(5)
    dropped: list[float] = []
    for _ in range(200):
        times = np.sort(rng.uniform(0, 100, 20_000))
        window = steady_window(times, np.ones_like(times), 0.0, 100.0)
        assert window is not None
        dropped.append(window[0])
    assert statistics.median(dropped) <= 10
    assert statistics.fmean(dropped) <= 15


def test_nothing_has_no_window() -> None:
    nothing, some = np.empty(0), np.array([1.0])
    assert steady_window(nothing, nothing, 0.0, 100.0) is None
    assert steady_window(some, some, 10.0, 10.0) is None


def test_a_window_holds_what_arrived_or_there_is_none() -> None:
    # three answers within the first third: the rest of the level, where nothing came, would vary least
    times = np.array([0.1, 0.2, 0.5, 1.0])
    window = steady_window(times, np.ones(4), 0.0, 3.0)
    assert window is not None
    assert ((times >= window[0]) & (times < window[1])).sum() >= 2
    late = np.array([4.0, 5.0])  # all of it after the last request was sent
    assert steady_window(late, np.ones(2), 0.0, 3.0) is None


# --- the interval and the trend, by their promises ---


def poisson(rng: np.random.Generator, rate: float, span: float) -> Array:
    return np.sort(rng.uniform(0, span, rng.poisson(rate * span)))


@pytest.mark.parametrize("typical", [1.0, 19.9], ids=["20 batches", "5 batches"])
def test_the_interval_contains_the_truth_95_times_in_100(typical: float) -> None:
    rng = np.random.default_rng(20_261_123)
    rate, span, series = 40.0, 100.0, 400
    hits = 0
    for _ in range(series):
        times = poisson(rng, rate, span)
        found, half, _ = batch_means(times, np.ones_like(times), 0.0, span, typical)
        assert half is not None
        hits += abs(found - rate) <= half
    assert 0.92 <= hits / series <= 0.98


def test_the_interval_of_answers_that_come_in_pieces_is_wider() -> None:
    """Tokens in bunches of 16 are 16 times as variable; an interval that missed it would be 4 times too narrow."""
    rng = np.random.default_rng(7)
    rate, span, series = 40.0, 400.0, 400
    hits = 0
    for _ in range(series):
        times = poisson(rng, rate / 16, span)
        found, half, _ = batch_means(times, np.full_like(times, 16.0), 0.0, span, 1.0)
        assert half is not None
        hits += abs(found - rate) <= half
    assert 0.92 <= hits / series <= 0.98


@pytest.mark.parametrize("typical", [1.0, 19.9], ids=["20 batches", "5 batches"])
def test_a_steady_series_seems_to_have_a_trend_5_times_in_100(typical: float) -> None:
    rng = np.random.default_rng(11)
    span, series = 100.0, 4000
    trends = 0
    for _ in range(series):
        times = poisson(rng, 10.0, span)
        trends += batch_means(times, np.ones_like(times), 0.0, span, typical)[2] != 0
    assert 0.04 <= trends / series <= 0.06


def test_a_trend_is_the_change_over_the_window_as_a_share_of_the_mean() -> None:
    # density 0.75 + 0.5 x for x in 0..1, from 25 % below the mean to 25 % above; arrivals by inversion
    share = (np.arange(40_000) + 0.5) / 40_000
    times = 100 * (np.sqrt(0.5625 + share) - 0.75) / 0.5
    weights = np.ones_like(times)
    _, _, rising = batch_means(times, weights, 0.0, 100.0, 1.0)
    _, _, falling = batch_means(np.sort(100.0 - times), weights, 0.0, 100.0, 1.0)
    assert rising == pytest.approx(0.5, rel=0.02)
    assert falling == pytest.approx(-0.5, rel=0.02)


def test_no_interval_from_less_than_five_typical_requests() -> None:
    times = arrivals(50, 0, 10)
    ones = np.ones_like(times)
    assert batch_means(times, ones, 0.0, 10.0, typical_s=2.01) == (pytest.approx(50.0, rel=1e-4), None, None)
    assert batch_means(times, ones, 0.0, 10.0, typical_s=2.0)[1] is not None
    assert batch_means(times, ones, 20.0, 30.0, typical_s=1.0) == (0.0, None, None)


# --- caveats: each name exactly when its condition holds ---


def rising_stream() -> tuple[Level, list[RequestRecord]]:
    """Four times as many tokens a second at the end as at the start."""
    requests = [
        make_request(second + 0.01 * k, (second + 0.01 * k + 0.2, second + 0.01 * k + 0.4))
        for second in range(100)
        for k in range(25 + (75 * second) // 99)
    ]
    return make_level(stopped=100.0), requests


def test_a_clean_level_has_nothing_against_it() -> None:
    assert summarise_level(*constant_stream()).caveats == ()


def names_of(level: Level, requests: list[RequestRecord]) -> set[str]:
    names = summarise_level(level, requests).caveats
    assert len(set(names)) == len(names)
    return set(names)


@settings(deadline=None, max_examples=60)
@given(
    single=st.booleans(),
    lag=st.sampled_from([None, 0.0, 0.005, 0.0051]),
    cpu=st.sampled_from([None, 0.0, 0.8, 0.81]),
    other=st.sampled_from([None, 0.0, 0.10, 0.11]),
    warmed=st.booleans(),
    uncounted=st.integers(0, 3),
    failed=st.integers(0, 4),
    stopped=st.integers(0, 4),
)
def test_each_name_stands_exactly_where_its_condition_holds(
    single: bool,
    lag: float | None,
    cpu: float | None,
    other: float | None,
    warmed: bool,
    uncounted: int,
    failed: int,
    stopped: int,
) -> None:
    level, requests = constant_stream(
        1 if single else 4,
        client_lag_p99_s=lag,
        client_cpu_share=cpu,
        other_cpu_share=other,
        warmed_up=warmed,
    )
    for i in range(uncounted):
        requests[i] = make_request(requests[i].sent_s, requests[i].chunk_s, output_tokens=None)
    requests += [make_request(1.0, status="http-5xx")] * failed + [make_request(1.0, status="stopped")] * stopped
    finished = 25 if single else 100
    expected = {
        "batch-1": single,
        "client-bound": lag == 0.0051 or cpu == 0.81,
        "contended": other == 0.11,
        "cold": not warmed,
        "no-usage": uncounted > 0,
        "errors": failed / (finished + failed) > 0.01,
    }
    names = names_of(level, requests)
    assert names == {name for name, applies in expected.items() if applies}
    assert names <= set(CAVEATS)


def test_one_failure_in_a_hundred_is_not_more_than_one_in_a_hundred() -> None:
    level, requests = constant_stream()
    assert names_of(level, [*requests[:99], make_request(1.0, status="reset")]) == set()
    assert names_of(level, [*requests[:98], *[make_request(1.0, status="reset")] * 2]) == {"errors"}
    assert "errors" in names_of(level, [make_request(1.0, status="refused")] * 3)
    assert "errors" not in names_of(level, [])


@pytest.mark.parametrize(("finished", "names"), [(40, set[str]()), (39, {"finite-burst"})])
def test_fewer_than_ten_times_in_flight_is_a_burst(finished: int, names: set[str]) -> None:
    level, requests = constant_stream(concurrency=4, rounds=10)
    assert names_of(level, requests[:finished]) & {"finite-burst"} == names


def burst(
    number: int = 100, over_s: float = 1.0, last_s: float = 50.0, **more: Any
) -> tuple[Level, list[RequestRecord]]:
    """So many requests of 20 tokens sent evenly within a second, answered one after the other over 50 s."""
    requests = [
        make_request(over_s * n / number, (done - 0.5, *[done] * 19), output_tokens=20)
        for n in range(number)
        if (done := last_s * (n + 1) / number)
    ]
    load: dict[str, Any] = {
        "kind": "open",
        "concurrency": None,
        "rate": number / max(over_s, 1e-9),
        "arrivals": "poisson",
    }
    return make_level(stopped=over_s * (number - 1) / number, **{**load, **more}), requests


@pytest.mark.parametrize("more", [{}, {"kind": "closed", "concurrency": 100, "rate": None}])
def test_a_burst_is_shown_to_its_last_answer(more: dict[str, Any]) -> None:
    level, requests = burst(**more)
    found = summarise_level(level, requests)
    assert found.output_tok_s == pytest.approx(100 * 20 / 50.0)
    assert found.request_s == pytest.approx(100 / 50.0)
    assert found.input_tok_s == pytest.approx(100 * 64 / 50.0)
    assert found.window_s == pytest.approx(50.0)
    assert found.output_tok_s_half_width is None
    assert "finite-burst" in found.caveats
    assert ("overloaded" in found.caveats) == (level.kind == "open")
    assert found.mean_in_flight == pytest.approx(50, rel=0.05)


def test_all_sent_at_once_is_a_burst() -> None:
    level, requests = burst(over_s=0.0, kind="closed", concurrency=100, rate=None)
    assert summarise_level(level, requests).output_tok_s == pytest.approx(40.0)


def test_a_level_that_holds_its_load_ends_with_the_last_request_sent() -> None:
    # sending takes as long as the typical request, or the level was cut short
    level, requests = burst(over_s=30.0)
    assert summarise_level(level, requests).window_end_s == level.stopped_s
    level, requests = burst(ended_because="interrupted")
    found = summarise_level(level, requests)
    assert found.window_end_s == level.stopped_s
    assert found.request_s is None or found.request_s > 0, "nothing was answered in that window: not 0 a second"


def test_a_throughput_that_rises_is_unsteady() -> None:
    level, requests = rising_stream()
    assert names_of(level, requests) == {"unsteady"}


def test_a_throughput_that_rises_a_little_is_not() -> None:
    level = make_level(stopped=100.0)
    requests = [
        make_request(second + 0.001 * k, (second + 0.001 * k + 0.2,))
        for second in range(100)
        for k in range(100 + second // 10)
    ]
    assert names_of(level, requests) == set()


# --- a run ---


def make_run(levels: list[Level], requests: list[RequestRecord]) -> Run:
    header = RunHeader(
        created="2026-11-23T00:00:00Z",
        command="rackrate measure",
        rackrate_version="0",
        python_version="3.11",
        state="complete",
        model=ServedModel(requested="m"),
        engine=Engine(name="e", url="http://127.0.0.1:1"),
        machine=Machine(origin="detected"),
        workload=WorkloadFacts(input_tokens=64, output_tokens=32, endpoint="chat", seed=0),
        levels=levels,
    )
    return Run(header, requests)


def test_requests_are_summarised_with_their_level() -> None:
    first, some = constant_stream(2)
    second, others = constant_stream(4, started=100.0, index=1)
    moved = [make_request(r.sent_s, r.chunk_s, done_s=r.done_s, level=1) for r in others]
    stray = make_request(5.0, (6.0, 7.0), level=9)
    summaries = summarise(make_run([first, second], [*moved, stray, *some]))
    assert [(summary.index, summary.concurrency, summary.requests) for summary in summaries] == [
        (0, 2, 50),
        (1, 4, 100),
    ]
    assert [summary.output_tok_s for summary in summaries] == pytest.approx([40.0, 80.0])


def summary(
    concurrency: int,
    output: float | None,
    kind: Literal["closed", "prefill"] = "closed",
    fresh: float | None = None,
    cached: float | None = None,
    caveats: tuple[str, ...] = (),
) -> LevelSummary:
    return LevelSummary(
        index=concurrency, kind=kind, concurrency=concurrency, requests=100, failed={}, window_start_s=0.0,
        window_end_s=10.0, output_tok_s=output, output_tok_s_half_width=None, input_tok_s=fresh, cached_tok_s=cached,
        request_s=None, mean_input_tokens=None, mean_cached_tokens=None, mean_output_tokens=None,
        tokens_per_chunk=None, ttft=None, tpot=None, itl=None, e2e=None, caveats=caveats,
    )  # fmt: skip


@settings(deadline=None)
@given(rates=st.lists(st.none() | st.floats(0.1, 1e5), min_size=1, max_size=8))
def test_the_level_that_served_most_is_the_saturated_one(rates: list[float | None]) -> None:
    levels = [summary(2**i, rate) for i, rate in enumerate(rates)]
    known = [rate for rate in rates if rate is not None]
    found = saturation(levels)
    if not known:
        assert found is None
        return
    assert found is not None
    assert found.level.output_tok_s == max(known)
    assert found.levels == tuple(levels)
    last = known[-1]
    assert found.lower_bound == (last == max(known) and all(last >= 1.05 * item for item in known[:-1]))


@pytest.mark.parametrize(
    ("rates", "growing"),
    [
        ([100.0], True),
        ([100.0, 104.9], False),
        ([100.0, 105.0], True),
        ([100.0, 200.0, 190.0], False),
        ([100.0, 200.0, 205.0], False),
        ([100.0, 200.0, 400.0], True),
    ],
)
def test_a_sweep_that_still_grew_gives_a_lower_bound(rates: list[float], growing: bool) -> None:
    found = saturation([summary(2**i, rate) for i, rate in enumerate(rates)])
    assert found is not None
    assert found.lower_bound == growing


def test_a_level_may_be_chosen() -> None:
    levels = [summary(1, 50.0, caveats=("batch-1",)), summary(4, 80.0), summary(8, 79.0)]
    chosen = saturation(levels, at_concurrency=1)
    assert chosen is not None
    assert (chosen.level.concurrency, chosen.caveats, chosen.lower_bound) == (1, ("batch-1",), False)
    assert saturation(levels, at_concurrency=2) is None
    assert saturation([]) is None


def test_a_prefill_level_is_never_the_saturated_one() -> None:
    levels = [summary(4, 80.0), summary(4, 900.0, "prefill", fresh=640.0)]
    found = saturation(levels)
    assert found is not None
    assert found.level.kind == "closed"
    assert found.prefill is levels[1]
    assert saturation(levels[1:]) is None


def share(level: tuple[float | None, float | None], prefill: tuple[float | None, float | None] | None) -> float | None:
    levels = [summary(4, 80.0, fresh=level[0], cached=level[1])]
    if prefill is not None:
        levels.append(summary(4, None, "prefill", fresh=prefill[0], cached=prefill[1]))
    found = saturation(levels)
    assert isinstance(found, Saturation)
    return found.prefill_share


def test_the_prefill_share_is_new_input_over_what_prefill_alone_does() -> None:
    assert share((160.0, 0.0), (640.0, 0.0)) == pytest.approx(0.25)
    assert share((160.0, 60.0), (640.0, 140.0)) == pytest.approx(0.2)
    assert share((900.0, None), (640.0, None)) is None  # more than the machine can do
    assert share((160.0, 160.0), (640.0, 0.0)) == 0.0


@pytest.mark.parametrize(
    ("level", "prefill"),
    [
        ((160.0, 0.0), None),
        ((None, None), (640.0, 0.0)),
        ((160.0, 0.0), (None, None)),
        ((160.0, 0.0), (640.0, 640.0)),
    ],
)
def test_the_prefill_share_is_unknown_where_it_was_not_measured(
    level: tuple[float | None, float | None], prefill: tuple[float | None, float | None] | None
) -> None:
    assert share(level, prefill) is None


def test_the_last_prefill_level_counts() -> None:
    levels = [summary(4, 80.0, fresh=160.0), summary(2, None, "prefill", 320.0), summary(4, None, "prefill", 640.0)]
    found = saturation(levels)
    assert found is not None
    assert found.prefill is levels[2]


def test_workers_in_step_do_not_make_the_rate_depend_on_where_the_window_begins() -> None:
    # 128 workers in step: 50 ms, then a token of each every 10 ms, 64 times; 680 ms in all
    cycle = 0.05 + np.arange(64) * 0.01
    times: Array = np.concatenate([number * 0.68 + cycle for number in range(8)]).astype(np.float64)
    weights: Array = np.full(len(times), 128.0)
    starts = np.linspace(0.0, 0.68, 40)
    rates = [batch_means(times, weights, start, start + 2.3, typical_s=0.68)[0] for start in starts]
    plain = [weights[(times >= start) & (times < start + 2.3)].sum() / 2.3 for start in starts]
    true = 128 * 64 / 0.68
    assert max(abs(rate / true - 1) for rate in rates) < 0.002
    assert max(abs(rate / true - 1) for rate in plain) > 0.015


# --- capacity ---


def rated(
    rate: float, tok_s: float, *, met: bool | None, caveats: tuple[str, ...] = (), index: int = 0
) -> LevelSummary:
    """A level of an open loop, as it was judged."""
    level, requests = burst(over_s=30.0, rate=rate)
    found = summarise_level(level, requests)
    return replace(found, index=index, output_tok_s=tok_s, slo_met=met, caveats=caveats)


def test_the_capacity_goes_by_rate_and_is_the_level_that_is_priced() -> None:
    # by luck of lengths the lower rate served more tokens
    levels = [
        rated(5.19, 43.3, met=True),
        rated(5.46, 42.3, met=True),
        rated(5.75, 45.0, met=True, caveats=("overloaded",)),
    ]
    found = capacity(levels)
    assert found == Capacity(levels[1], levels[2])
    best = saturation(levels)
    assert best is not None
    assert (best.level, best.reached, best.lower_bound, best.within_slo) == (levels[1], "capacity", False, True)


def test_a_rate_that_failed_rules_out_those_above_it() -> None:
    levels = [rated(2, 20, met=True), rated(3, 30, met=False), rated(4, 40, met=True)]
    assert capacity(levels) == Capacity(levels[0], levels[1])
    best = saturation(levels)
    assert best is not None
    assert best.level is levels[0]


@pytest.mark.parametrize(
    "levels",
    [
        # nothing sustained, no objective, interrupted before it was judged
        [rated(1, 10, met=False), rated(2, 20, met=True, caveats=("errors",))],
        [rated(1, 10, met=None), rated(3, 20, met=None, caveats=("overloaded", "contended"))],
        [rated(1, 10, met=None)],
    ],
)
def test_nothing_is_a_capacity_where_nothing_was_sustained(levels: list[LevelSummary]) -> None:
    found, best = capacity(levels), saturation(levels)
    assert found is None or found.level is None
    assert best is not None
    assert best.reached == "most"


def test_the_highest_rate_that_was_tried_is_a_lower_bound() -> None:
    levels = [rated(1, 10, met=True), rated(2, 20, met=True)]
    best = saturation(levels)
    assert best is not None
    assert (best.level, best.lower_bound, best.reached) == (levels[1], True, "most")


def test_closed_loops_are_saturated_or_not() -> None:
    closed = [
        replace(rated(0, tok, met=None), kind="closed", concurrency=n, rate=None) for n, tok in ((1, 50), (2, 51))
    ]
    best = saturation(closed)
    assert best is not None
    assert (best.reached, best.within_slo) == ("saturated", None)
