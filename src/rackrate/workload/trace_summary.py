"""What a trace is like, in a few figures: how fast, how bursty, how long, how much is shared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rackrate.workload.traces import Blocks, Floats, Ints, Trace

PEAK_WINDOW_S = 60.0
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Lengths:
    """Of a number of tokens; percentiles by linear interpolation."""

    mean: float
    cv: float
    """Standard deviation over mean; 0 where all are 0."""
    least: int
    p50: float
    p90: float
    p95: float
    p99: float
    most: int


@dataclass(frozen=True)
class TraceSummary:
    """A trace in figures. Rates per second; None is no data."""

    requests: int
    duration_s: float
    """From the first arrival to the last."""
    mean_rate: float | None
    """(requests - 1) / duration; None where all came at one moment."""
    peak_rate: float | None
    """Of the busiest minute; None where the trace is shorter than two."""
    peak_begin_s: float | None
    gap_cv: float | None
    """Standard deviation of the gaps between arrivals over their mean; Poisson arrivals have 1."""
    input_tokens: Lengths
    output_tokens: Lengths
    correlation: float | None
    """Pearson's, of input and output lengths; None where one of them does not vary."""
    rank_correlation: float | None
    """Spearman's: the same of their ranks, which a few very long ones do not rule."""
    shared_share: float | None
    """Of all input tokens, those that an unbounded prefix cache would have had; None where no prefixes are recorded."""
    cached_share: float | None
    """Of the input tokens of rows that say so, those that were served from a cache, as recorded."""
    sessions: int | None
    turns_per_session: float | None
    units: str | None = None
    """What the file's numbers were taken to count, where its columns do not say."""


def summarise_trace(trace: Trace) -> TraceSummary:
    """The figures of a trace."""
    duration = trace.duration_s
    gaps = np.diff(trace.arrival_s)
    peak = peak_rate(trace.arrival_s, PEAK_WINDOW_S) if duration >= 2 * PEAK_WINDOW_S else None
    sessions = None if trace.session is None else int(trace.session.max(initial=-1)) + 1
    return TraceSummary(
        requests=len(trace),
        duration_s=duration,
        mean_rate=(len(trace) - 1) / duration if duration > 0 else None,
        peak_rate=peak[0] if peak else None,
        peak_begin_s=peak[1] if peak else None,
        gap_cv=float(gaps.std() / gaps.mean()) if duration > 0 else None,
        input_tokens=_lengths(trace.input_tokens),
        output_tokens=_lengths(trace.output_tokens),
        correlation=correlation(trace.input_tokens, trace.output_tokens),
        rank_correlation=correlation(ranks(trace.input_tokens), ranks(trace.output_tokens)),
        shared_share=shared_share(trace),
        cached_share=_cached_share(trace),
        sessions=sessions,
        turns_per_session=int((trace.session >= 0).sum()) / sessions
        if trace.session is not None and sessions
        else None,
        units=trace.units,
    )


def peak_rate(times: Floats, window_s: float) -> tuple[float, float]:
    """Arrivals in the busiest window of that length that begins with an arrival, and when that is. [1/s, s]

    >>> peak_rate(np.array([0.0, 50.0, 50.5, 51.0, 90.0]), window_s=2.0)
    (1.5, 50.0)
    """
    numbers = np.searchsorted(times, times + window_s, side="left") - np.arange(len(times))
    busiest = int(np.argmax(numbers))
    return float(numbers[busiest]) / window_s, float(times[busiest])


def correlation(floats: Floats | Ints, other: Floats | Ints) -> float | None:
    """Pearson's correlation, -1 to 1; None where one of the two does not vary.

    >>> correlation(np.array([1.0, 2, 3]), np.array([2.0, 4, 6])), correlation(np.ones(2), np.array([1.0, 2]))
    (1.0, None)
    """
    a, b = floats.astype(np.float64), other.astype(np.float64)
    a -= a.mean()
    b -= b.mean()
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return round(float(a @ b) / spread, 12) if spread > 0 else None


def ranks(values: Ints) -> Floats:
    """Ranks from 0; equal values share the mean of theirs.

    >>> ranks(np.array([30, 10, 30, 20], dtype=np.int32)).tolist()
    [2.5, 0.0, 2.5, 1.0]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts + 1) / 2)[inverse]


def shared_share(trace: Trace) -> float | None:
    """Of all input tokens, those that a prefix cache without bounds would have had from requests before, 0 to 1.

    With hashes of blocks: the tokens of blocks that had come before. With named prefixes: their tokens, but the first
    time. It is what a cache could save at most: real ones forget, and whole blocks only are kept.
    """
    total = int(trace.input_tokens.sum(dtype=np.int64))
    if not total:
        return None
    if trace.block_ids is not None and trace.block_start is not None:
        return _tokens_seen_before(trace.block_ids, trace.block_start, trace.input_tokens, trace.block_tokens) / total
    if trace.prefix is None or trace.prefix_tokens is None:
        return None
    named = np.flatnonzero(trace.prefix >= 0)
    _, first = np.unique(trace.prefix[named], return_index=True)
    again = np.ones(len(named), dtype=bool)
    again[first] = False
    return int(trace.prefix_tokens[named[again]].sum(dtype=np.int64)) / total


def _tokens_seen_before(ids: Blocks, start: npt.NDArray[np.int64], input_tokens: Ints, block_tokens: int) -> int:
    """Tokens in blocks whose id occurred in an earlier request; a piece at a time, so that ids may lie in a file."""
    number = np.diff(start)
    tokens = 0
    seen = np.empty(0, dtype=ids.dtype)
    row = 0
    while row < len(number):
        # so many requests that their blocks are about a chunk
        end = max(row + 1, int(np.searchsorted(start, start[row] + _CHUNK, side="right")) - 1)
        part = np.asarray(ids[start[row] : start[end]])
        size = np.full(len(part), block_tokens, dtype=np.int64)
        filled = number[row:end] > 0
        last = (start[row + 1 : end + 1] - 1 - start[row])[filled]
        size[last] = (input_tokens[row:end] - (number[row:end] - 1) * block_tokens)[filled]
        fresh, first = np.unique(part, return_index=True)
        known = np.isin(fresh, seen, assume_unique=True)
        again = np.ones(len(part), dtype=bool)
        again[first[~known]] = False
        tokens += int(np.clip(size[again], 0, block_tokens).sum())
        seen = np.concatenate([seen, fresh[~known]])
        row = end
    return tokens


def _cached_share(trace: Trace) -> float | None:
    if trace.cached_tokens is None:
        return None
    known = trace.cached_tokens >= 0
    total = int(trace.input_tokens[known].sum(dtype=np.int64))
    return int(trace.cached_tokens[known].sum(dtype=np.int64)) / total if total else None


def _lengths(values: Ints) -> Lengths:
    p50, p90, p95, p99 = (float(item) for item in np.percentile(values, [50, 90, 95, 99]))
    mean, deviation = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    return Lengths(
        mean, deviation / mean if mean > 0 else 0.0, int(values.min()), p50, p90, p95, p99, int(values.max())
    )
