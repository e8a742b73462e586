"""Figures of a trace against brute force, SciPy and what was published of the traces themselves."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from rackrate.workload import trace_summary
from rackrate.workload.trace_summary import correlation, peak_rate, ranks, shared_share, summarise_trace
from rackrate.workload.trace_units import MOONCAKE_BLOCK as BLOCK_TOKENS
from rackrate.workload.traces import Trace, read_trace


def trace_of(times: list[float], inputs: list[int], outputs: list[int]) -> Trace:
    return Trace("t", np.array(times), np.array(inputs, dtype=np.int32), np.array(outputs, dtype=np.int32))


@given(
    hashes=st.lists(st.lists(st.integers(0, 6), max_size=4, unique=True), min_size=1, max_size=12),
    chunk=st.integers(1, 30),
    short=st.integers(0, 511),
)
def test_shared_tokens_are_those_of_blocks_that_came_before(hashes: list[list[int]], chunk: int, short: int) -> None:
    lengths = [max(1, len(hash_) * BLOCK_TOKENS - short) for hash_ in hashes]
    trace = Trace(
        "t",
        np.zeros(len(hashes)),
        np.array(lengths, dtype=np.int32),
        np.ones(len(hashes), dtype=np.int32),
        block_ids=np.array([cell for row in hashes for cell in row], dtype=np.int64),
        block_start=np.cumsum([0, *map(len, hashes)]),
    )
    seen: set[int] = set()
    shared = 0
    for row, length in zip(hashes, lengths, strict=True):
        left = length
        for cell in row:
            shared += min(left, BLOCK_TOKENS) if cell in seen else 0
            left -= BLOCK_TOKENS
        seen |= set(row)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace_summary, "_CHUNK", chunk)
        assert shared_share(trace) == pytest.approx(shared / sum(lengths))


def test_shared_tokens_of_named_prefixes_do_not_count_the_first_time() -> None:
    trace = Trace(
        "t", np.zeros(4), np.full(4, 100, dtype=np.int32), np.ones(4, dtype=np.int32),
        prefix=np.array([0, 0, -1, 0], dtype=np.int32), prefix_tokens=np.array([40, 40, 0, 30], dtype=np.int32),
    )  # fmt: skip
    assert shared_share(trace) == pytest.approx(70 / 400)


@given(values=st.lists(st.integers(0, 9), min_size=2, max_size=30), seed=st.integers(0, 99))
def test_correlations_are_scipys(values: list[int], seed: int) -> None:
    item = np.array(values, dtype=np.int32)
    other = np.random.default_rng(seed).integers(0, 9, len(values)).astype(np.int32)
    if len(set(values)) == 1 or len(set(other.tolist())) == 1:
        assert correlation(item, other) is None
        return
    assert correlation(item, other) == pytest.approx(scipy.stats.pearsonr(item, other).statistic)
    assert correlation(ranks(item), ranks(other)) == pytest.approx(scipy.stats.spearmanr(item, other).statistic)


@given(gaps=st.lists(st.floats(0, 5), min_size=1, max_size=30), window=st.floats(0.5, 10))
def test_the_peak_is_the_most_that_any_window_holds(gaps: list[float], window: float) -> None:
    times = np.cumsum(gaps)
    rate, begin = peak_rate(times, window)
    assert rate * window == pytest.approx(max(int(((times >= t) & (times < t + window)).sum()) for t in times))
    assert begin in times


def test_one_request_has_no_rate_and_no_burstiness() -> None:
    summary = summarise_trace(trace_of([0.0], [5], [6]))
    assert (summary.mean_rate, summary.gap_cv, summary.correlation, summary.peak_rate) == (None, None, None, None)
    assert summary.input_tokens.p99 == 5
    assert (summary.shared_share, summary.cached_share, summary.sessions) == (None, None, None)


def test_poisson_arrivals_have_a_cv_of_one() -> None:
    times = np.cumsum(np.random.default_rng(0).exponential(0.1, 20_000))
    summary = summarise_trace(trace_of((times - times[0]).tolist(), [1] * 20_000, [1] * 20_000))
    assert summary.gap_cv == pytest.approx(1, abs=0.03)
    assert summary.mean_rate == pytest.approx(10, rel=0.03)


PUBLISHED = Path(os.environ.get("RACKRATE_REFERENCE_DATA", "/nowhere")) / "traces"


@pytest.mark.skipif(not PUBLISHED.exists(), reason="no published traces here")
def test_published_traces_have_their_published_figures() -> None:
    # Splitwise (ISCA 2024, section III): medians of 1500 and 13 tokens for coding, 1020 and 129 for conversation
    code = summarise_trace(read_trace(PUBLISHED / "AzureLLMInferenceTrace_2023_code.csv"))
    talk = summarise_trace(read_trace(PUBLISHED / "AzureLLMInferenceTrace_2023_conv.csv"))
    assert code.input_tokens.p50 == pytest.approx(1500, rel=0.03)
    assert code.output_tokens.p50 == 13
    assert (talk.input_tokens.p50, talk.output_tokens.p50) == (1020, 129)
    # Mooncake (FAST 2025, table 2): conversation, mean input 12,035 and output 343, cache ratio 40 %
    mooncake = summarise_trace(read_trace(PUBLISHED / "mooncake_conversation_trace.jsonl"))
    assert mooncake.input_tokens.mean == pytest.approx(12_035, abs=1)
    assert mooncake.output_tokens.mean == pytest.approx(343, abs=1)
    assert mooncake.shared_share == pytest.approx(0.40, abs=0.04)
