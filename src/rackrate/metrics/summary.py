"""Every metric, once, with its definition: a run in, summaries out. `DEFINITIONS` is printed beside the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from rackrate.metrics.aggregates import Window, lengths, totals, window_sums
from rackrate.metrics.steady import (
    Array,
    batch_means_of_blocks,
    in_flight_trend,
    quantile_half_width_of,
    stationary,
    wait_trend,
    window_of_blocks,
)
from rackrate.runs.columns import Block, Columnar, Flags, LevelColumns
from rackrate.runs.records import BURST_FACTOR, Level, RequestRecord, Run, ServerFacts, StatedFigures, StatedQuantiles
from rackrate.runs.streams import InOrder, sample
from rackrate.workload.slo import Objective, Slo, parse_slo

DEFINITIONS = {
    "TTFT": "time to first token [s]: from the moment a request was due (closed loop: sent) to its first token",
    "ITL": "inter-token latency [s]: gap between successive tokens of a request, over all gaps of all requests; "
    "none where the server sends several tokens at once",
    "TPOT": "time per output token [s]: (done - first token) / (output tokens - 1), per request",
    "E2E": "end to end [s]: from due to done",
    "output tok/s": "output tokens that arrived in the steady window, over its length; tokens are the server's own "
    "usage counts, spread evenly over the pieces in which an answer came",
    "input tok/s": "input tokens, cached ones included, of requests whose first token came in the steady window, "
    "over its length",
    "request/s": "requests that were answered whole in the steady window, over its length",
    "steady window": "from the end of the warm-up (MSER-5 over output token/s) to the last request sent; "
    "of a burst (all requests sent within less than a typical one takes) from its start to its last answer",
    "95 % interval": "batch means: Student's t over the means of 5 to 20 stretches of the steady window, each at "
    "least as long as a typical request",
    "in flight": "requests that are being answered at any moment (closed loop: one is sent as soon as one is done)",
}

CAVEATS = {
    "batch-1": "one request at a time: a latency, not what the machine can do",
    "client-bound": "the load generator was late or busy (loop or sends > 5 ms late at p99, or > 80 % of a core)",
    "unsteady": "throughput rose or fell by more than 20 % over the steady window",
    "overloaded": "requests came faster than they were answered: the number in flight (where arrivals vary: the wait "
    "for the first token) grew all the time",
    "finite-burst": "fewer requests than 10 x in flight, or all sent within less than a typical request takes: no load "
    "that is held, and its figures include filling and draining",
    "errors": "more than 1 % of the requests failed",
    "no-usage": "the server sent no usage: pieces of answers were counted, not tokens",
    "cold": "no warm-up request came before the measurement",
    "miscounted": "usage, and the server's own counter or what was asked for, differ by more than 1 % in how many "
    "output tokens there were",
    "contended": "other processes took more than 10 % of the CPUs",
    "totals-only": "imported without its requests: warm-up and tail are averaged in, drift and interval unknown",
    "retokenised": "tokens were counted by the load tool's tokenizer, not by the server",
    "other-hardware": "priced by a machine other than the one it ran on",
}
"""Reasons for which a figure must not be priced as if it were the machine's capacity. Named in every output."""

CLIENT_LAG_LIMIT_S = 0.005
CLIENT_CPU_LIMIT = 0.8
CONTENTION_LIMIT = 0.10
ERROR_LIMIT = 0.01
MISCOUNT_LIMIT = 0.01
TREND_LIMIT = 0.20
OVERLOAD_LIMIT = 0.50
"""Significant growth of the number in flight (or the wait) over the window, as a share of its mean: overload."""


@dataclass(frozen=True)
class Quantiles:
    """Of a sample of durations, in seconds; percentiles by linear interpolation.

    None only where another tool's summary was imported that does not say.
    """

    count: int | None
    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None

    @staticmethod
    def of(values: Sequence[float] | Array) -> Quantiles | None:
        """None for an empty sample: no data is not zero.

        >>> Quantiles.of([0.1, 0.2, 0.3]).p50
        0.2
        """
        if not len(values):
            return None
        sample = np.asarray(values, dtype=np.float64)
        p50, p90, p95, p99 = (float(value) for value in np.percentile(sample, [50, 90, 95, 99]))
        return Quantiles(len(sample), float(sample.mean()), p50, p90, p95, p99)

    @staticmethod
    def of_blocks(blocks: Callable[[], Iterator[Array]]) -> Quantiles | None:
        """The same of values that come in blocks; those that are too many to be held are gone through again."""
        found = sample(blocks, (0.5, 0.9, 0.95, 0.99))
        return Quantiles(found.count, found.mean, *found.at) if found is not None else None


@dataclass(frozen=True)
class LengthError:
    """How far the lengths that the server counted are from those asked for."""

    input_share: float
    """Input tokens counted over those asked for, less 1."""
    input_p95: float
    """95 % of the prompts are at most so many tokens off."""
    output_share: float | None
    """Output tokens counted over those asked for, less 1: below 0 where answers end early."""


@dataclass(frozen=True)
class LevelSummary:
    """The metrics of one level of a run. Rates per second, durations in seconds; None is no data."""

    index: int
    kind: str
    concurrency: int | None
    """Of a closed loop."""
    requests: int
    """Requests of the level that were answered whole."""
    failed: dict[str, int]
    """Failed requests by kind of fault."""
    window_start_s: float | None
    window_end_s: float | None
    output_tok_s: float | None
    output_tok_s_half_width: float | None
    """Half of the 95 % interval."""
    input_tok_s: float | None
    cached_tok_s: float | None
    request_s: float | None
    mean_input_tokens: float | None
    mean_cached_tokens: float | None
    mean_output_tokens: float | None
    tokens_per_chunk: float | None
    ttft: Quantiles | None
    tpot: Quantiles | None
    itl: Quantiles | None
    e2e: Quantiles | None
    caveats: tuple[str, ...]
    """Names of CAVEATS that apply to this level."""
    rate: float | None = None
    """Of an open loop: arrivals per second that were asked for."""
    arrivals: str | None = None
    mean_in_flight: float | None = None
    """Over the steady window."""
    attainment: float | None = None
    """Share of the requests sent in the steady window that met every objective; None without an SLO."""
    goodput: float | None = None
    """Requests per second that met every objective."""
    slo_met: bool | None = None
    """Whether each objective was met by the share of requests that it names."""
    miscount: float | None = None
    """Output tokens by usage over those that the server counted, less 1; None where it has no counter."""
    server: ServerFacts | None = None
    """What the server said of itself."""
    ended_because: str | None = None
    """requests, time, precision, ...; see records.Level."""
    ttft_p95_half_width: float | None = None
    """Half of the 95 % interval of the 95th percentile."""
    send_lateness_p99_s: float | None = None
    """Of an open loop: how late requests were written after they were due."""
    conversations: int | None = None
    """How many were begun; None where requests are single. Concurrency is then users, and rate theirs."""
    length_error: LengthError | None = None
    """None where the server does not count."""
    unknown: tuple[str, ...] = ()
    """Names of CAVEATS that cannot be judged from what was imported."""
    said: dict[str, str] = field(default_factory=dict[str, str], compare=False)
    """By fault: what was said of the first request that failed so, in the server's own words where it had any."""

    @property
    def window_s(self) -> float | None:
        """Length of the steady window. [s]"""
        if self.window_start_s is None or self.window_end_s is None:
            return None
        return self.window_end_s - self.window_start_s


def summarise(run: Run) -> list[LevelSummary]:
    """One summary per level of the run, in order; those that were cut short and measured anew are left out."""
    levels = [level for level in run.header.levels if not level.superseded]
    by_level = {level.index: LevelColumns() for level in levels}
    if isinstance(run.requests, Columnar):
        run.requests.fill(by_level)
    else:
        for request in run.requests:
            if request.level in by_level:
                by_level[request.level].add(request)
    slo = parse_slo(run.header.workload.slo) if run.header.workload.slo else None
    return [summarise_level(level, by_level[level.index], slo) for level in levels]


def summarise_level(
    level: Level, requests: Iterable[RequestRecord] | LevelColumns, slo: Slo | None = None
) -> LevelSummary:
    """The metrics of one level; with an SLO, how far it was met."""
    if level.stated is not None:
        return _stated_summary(level, level.stated)
    of = LevelColumns.of(requests)
    total = totals(of)
    per_chunk = total.tokens / total.pieces if total.pieces else None
    arrivals = partial(_token_arrivals, of, per_chunk or 1.0)
    end = level.stopped_s if level.stopped_s is not None else total.last_done_s
    end = end if np.isfinite(end) else level.started_s
    typical = sample(lambda: (part.e2e_s[part.ok] for part in of.parts()), (0.5,))
    typical_s = typical.at[0] if typical is not None else 0.0
    # of a level that was cut short, what was under way had no time to be answered
    cut_short = level.ended_because in {None, "interrupted", "engine-died"}
    burst = not cut_short and end - level.started_s < typical_s
    # a burst's window is all of it, its last answer included
    last = float(np.nextafter(total.last_done_s, np.inf)) if burst else end
    window = window_of_blocks(arrivals, level.started_s, last)
    if burst and window is not None:
        window = level.started_s, last
    rate = half_width = trend = None
    if window is not None:
        rate, half_width, trend = batch_means_of_blocks(arrivals, *window, typical_s=typical_s)
    start, stop = window or (None, None)
    # NaN is in no window
    low, high = window or (np.nan, np.nan)
    length = high - low if window is not None else None
    chosen = Window(low, high)
    objectives = slo.objectives if slo is not None else ()
    sums = window_sums(of, chosen, [partial(_met, objective) for objective in objectives])

    in_flight = growth = lateness = None
    if window is not None:
        flights = partial(_flights, of)
        in_flight, growth = in_flight_trend(flights, *window)
        if burst:  # whether they came too fast shows while they came
            _, growth = in_flight_trend(flights, level.started_s, end)
        if not stationary(level, conversations=bool(of.sessions)):
            growth = wait_trend(InOrder(partial(chosen.waits, of)))
    if level.kind == "open" and len(of):
        late = sample(lambda: (part.sent_s - part.due_s for part in of.parts()), (0.99,))
        lateness = late.at[0] if late is not None else None
    attained = slo_met = None
    if slo is not None and sums.judged and level.kind != "prefill" and not cut_short:
        attained = sums.met_all / sums.judged
        # what ended a level early as hopeless are the objectives themselves
        slo_met = level.ended_because != "hopeless" and all(
            met >= objective.share * sums.judged for objective, met in zip(objectives, sums.met, strict=True)
        )
    miscount = None
    served = level.server.output_tokens if level.server is not None else None
    if served and total.tokens and not of.failed:  # what a failed request was answered, only the server knows
        miscount = total.tokens / served - 1
    impossible = total.impossible / total.tokens if total.tokens and level.tokens_by == "usage" else 0.0
    signs = _Signs(trend, in_flight, growth, lateness, max(abs(miscount or 0.0), impossible), burst)
    waits = InOrder(partial(chosen.ttft, of))
    return LevelSummary(
        index=level.index,
        kind=level.kind,
        concurrency=level.concurrency,
        rate=level.rate,
        arrivals=level.arrivals,
        mean_in_flight=in_flight,
        send_lateness_p99_s=lateness,
        ended_because=level.ended_because,
        ttft_p95_half_width=quantile_half_width_of(waits.number, waits.blocks),
        attainment=attained,
        goodput=sums.met_all / length if attained is not None and length else None,
        slo_met=slo_met,
        conversations=of.sessions or None,
        length_error=length_error(of),
        miscount=miscount,
        server=level.server,
        requests=total.finished,
        failed=dict(of.failed),
        said=dict(of.said),
        window_start_s=start,
        window_end_s=stop,
        output_tok_s=rate if total.finished else None,
        output_tok_s_half_width=half_width,
        input_tok_s=sums.input_tokens / length if length and sums.counted else None,
        cached_tok_s=sums.cached_tokens / length if length and sums.counted else None,
        request_s=sums.answered / length if length and sums.answered else None,
        mean_input_tokens=total.mean("input_tokens"),
        mean_cached_tokens=total.mean("cached_tokens"),
        mean_output_tokens=total.mean("output_tokens"),
        tokens_per_chunk=per_chunk,
        ttft=Quantiles.of_blocks(waits.blocks),
        tpot=Quantiles.of_blocks(partial(chosen.tpot, of)),
        itl=Quantiles.of_blocks(partial(chosen.gaps, of)) if per_chunk is not None and per_chunk < 1.05 else None,
        e2e=Quantiles.of_blocks(partial(chosen.e2e, of)),
        caveats=_caveats(level, total.finished, of.failed, total.with_usage, signs),
        unknown=level.unknown,
    )


def _met(objective: Objective, of: Block) -> Flags:
    """As `meets`, of each request."""
    good = of.ok & of.has_first
    match objective.metric:
        case "ttft":
            return good & (of.ttft_s <= objective.limit_s)
        case "e2e":
            return good & (of.e2e_s <= objective.limit_s)
        case "tpot":
            tokens = np.where(of.output_tokens > 0, of.output_tokens, of.pieces)
            return good & ((tokens < 2) | ((of.done_s - of.first_s) / np.maximum(tokens - 1, 1) <= objective.limit_s))


def _stated_summary(level: Level, stated: StatedFigures) -> LevelSummary:
    """A level of which there are only the figures of the tool that measured it."""

    def quantiles(of: StatedQuantiles | None) -> Quantiles | None:
        return Quantiles(of.count, of.mean, of.p50, of.p90, of.p95, of.p99) if of is not None else None

    tried = stated.finished + (stated.failed or 0)
    in_flight = level.concurrency or stated.mean_in_flight
    checks: dict[str, bool] = {
        "batch-1": level.concurrency == 1,
        "finite-burst": in_flight is not None and stated.finished < BURST_FACTOR * in_flight,
        "errors": tried > 0 and (stated.failed or 0) / tried > ERROR_LIMIT,
        "cold": level.warmed_up is False,
        "totals-only": True,
        "retokenised": level.tokens_by == "tool",
    }
    return LevelSummary(
        index=level.index,
        kind=level.kind,
        concurrency=level.concurrency,
        rate=level.rate,
        arrivals=level.arrivals,
        requests=stated.finished,
        failed={"unnamed": stated.failed} if stated.failed else {},
        window_start_s=None,
        window_end_s=None,
        output_tok_s=stated.output_tok_s if stated.finished else None,
        output_tok_s_half_width=None,
        input_tok_s=stated.input_tok_s,
        cached_tok_s=None,
        request_s=stated.request_s,
        mean_input_tokens=stated.mean_input_tokens,
        mean_cached_tokens=None,
        mean_output_tokens=stated.mean_output_tokens,
        tokens_per_chunk=None,
        ttft=quantiles(stated.ttft),
        tpot=quantiles(stated.tpot),
        itl=quantiles(stated.itl),
        e2e=quantiles(stated.e2e),
        caveats=tuple(name for name, applies in checks.items() if applies),
        mean_in_flight=stated.mean_in_flight,
        unknown=level.unknown,
    )


def length_error(requests: Iterable[RequestRecord] | LevelColumns) -> LengthError | None:
    """What the server counted against what was asked for, over all requests that were answered whole."""
    found = lengths(LevelColumns.of(requests))
    if found is None:
        return None
    return LengthError(
        input_share=found.input_tokens / found.asked_input - 1,
        input_p95=found.off_p95,
        output_share=found.output_tokens / found.asked_output - 1 if found.asked_output else None,
    )


def meets(objective: Objective, request: RequestRecord) -> bool:
    """Whether a request met an objective; one that failed, or was cut off, did not.

    A request of one token has no TPOT and meets any.
    """
    if not request.ok or request.first_token_s is None:
        return False
    match objective.metric:
        case "ttft":
            return request.first_token_s - request.due_s <= objective.limit_s
        case "e2e":
            return request.done_s - request.due_s <= objective.limit_s
        case "tpot":
            tokens = request.output_tokens or len(request.chunk_s)
            return tokens < 2 or (request.done_s - request.first_token_s) / (tokens - 1) <= objective.limit_s


@dataclass(frozen=True)
class _Signs:
    """What a level's figures say of its caveats."""

    trend: float | None
    in_flight: float | None
    growth: float | None
    lateness_s: float | None
    miscount: float
    """Share of the output tokens that usage is off by, as far as can be told."""
    burst: bool
    """All requests were sent before most of them could be answered."""


def _caveats(
    level: Level,
    finished: int,
    failed: Counter[str],
    with_usage: int,
    signs: _Signs,
) -> tuple[str, ...]:
    tried = finished + sum(failed.values()) - failed["stopped"]
    in_flight = level.concurrency or signs.in_flight
    open_loop = level.kind == "open"
    checks: dict[str, bool] = {
        "batch-1": level.concurrency == 1,
        "client-bound": (level.client_lag_p99_s or 0.0) > CLIENT_LAG_LIMIT_S
        or (level.client_cpu_share or 0.0) > CLIENT_CPU_LIMIT
        or (signs.lateness_s or 0.0) > CLIENT_LAG_LIMIT_S,
        "overloaded": open_loop and (signs.growth or 0.0) > OVERLOAD_LIMIT,
        "unsteady": not open_loop and signs.trend is not None and abs(signs.trend) > TREND_LIMIT,
        # an open loop without a window is over before anything is answered
        "finite-burst": signs.burst or (open_loop if in_flight is None else finished < BURST_FACTOR * in_flight),
        "errors": tried > 0 and (tried - finished) / tried > ERROR_LIMIT,
        "no-usage": with_usage < finished,
        "miscounted": signs.miscount > MISCOUNT_LIMIT,
        "cold": level.warmed_up is False,
        "contended": (level.other_cpu_share or 0.0) > CONTENTION_LIMIT,
        "retokenised": level.tokens_by == "tool",
    }
    return tuple(name for name, applies in checks.items() if applies)


def _flights(of: LevelColumns) -> Iterator[tuple[Array, Array]]:
    """When requests were due and done."""
    for part in of.parts():
        yield part.due_s, part.done_s


def _token_arrivals(of: LevelColumns, per_chunk: float) -> Iterator[tuple[Array, Array]]:
    """When output tokens arrived, and how many at each of those moments, a block of requests after the other.

    An answer's tokens (usage) are spread evenly over its pieces. A request that was cut off has no usage: its pieces
    count for as many tokens as those of whole answers do. Of an imported request with no time but those of its first
    token and its end, the tokens are spread evenly between the two.
    """
    for part in of.parts():
        pieces, output, first_s, done_s = part.pieces, part.output_tokens, part.first_s, part.done_s
        weight = np.where(output >= 0, output / np.maximum(pieces, 1), per_chunk)
        yield part.times, np.repeat(weight, pieces)
        for number in np.flatnonzero((pieces == 0) & ~np.isnan(first_s) & (output > 0)):
            points = min(int(output[number]), 1000)
            spread = np.asarray(np.linspace(first_s[number], done_s[number], points), dtype=np.float64)
            yield spread, np.full(points, output[number] / points)
