"""The summary of a level over lists of requests, as it was first written: what `metrics` must agree with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from rackrate.metrics.steady import Array, _significant_change, batch_means, quantile_half_width, steady_window  # pyright: ignore[reportPrivateUsage]
from rackrate.metrics.summary import LengthError, LevelSummary, Quantiles, _caveats, _Signs, meets  # pyright: ignore[reportPrivateUsage]
from rackrate.runs.records import Level, RequestRecord
from rackrate.workload.slo import Slo


def plain_summary(level: Level, requests: Sequence[RequestRecord], slo: Slo | None = None) -> LevelSummary:
    """The metrics of one level; with an SLO, how far it was met."""
    finished = [request for request in requests if request.ok]
    failed = Counter(request.status for request in requests if not request.ok)
    with_usage = [request for request in finished if request.output_tokens is not None]
    chunks = sum(len(request.chunk_s) for request in with_usage)
    tokens = sum(request.output_tokens or 0 for request in with_usage)
    per_chunk = tokens / chunks if chunks else None

    times, weights = _token_arrivals(requests, per_chunk or 1.0)
    end = level.stopped_s if level.stopped_s is not None else max((r.done_s for r in requests), default=level.started_s)
    e2e_all = [request.done_s - request.due_s for request in finished]
    cut_short = level.ended_because in {None, "interrupted", "engine-died"}
    burst = not cut_short and bool(e2e_all) and end - level.started_s < float(np.median(e2e_all))
    if burst:
        last = float(np.nextafter(max(r.done_s for r in requests), np.inf))
        window = (level.started_s, last) if len(times) else None
    else:
        window = steady_window(times, weights, level.started_s, end)
    rate = half_width = trend = None
    if window is not None and len(times):
        rate, half_width, trend = batch_means(times, weights, *window, typical_s=float(np.median(e2e_all or [0.0])))
    start, stop = window or (None, None)
    inside = [r for r in requests if start is not None and stop is not None and start <= r.sent_s <= stop]
    timed = [r for r in inside if r.ok and not r.stagger]
    arrived = [
        r
        for r in requests
        if r.first_token_s is not None and start is not None and stop is not None and start <= r.first_token_s < stop
    ]
    length = stop - start if start is not None and stop is not None else None
    counted = [r for r in arrived if r.input_tokens is not None]
    answered = sum(start <= r.done_s < stop for r in finished) if start is not None and stop is not None else 0

    in_flight = growth = lateness = None
    if window is not None:
        in_flight, growth = in_flight_trend(requests, *window)
        if burst:
            _, growth = in_flight_trend(requests, level.started_s, end)
        if not stationary(level, requests):
            growth = wait_trend(requests, *window)
    if level.kind == "open" and requests:
        lateness = float(np.percentile([r.sent_s - r.due_s for r in requests], 99))
    judged = [r for r in inside if not r.stagger]
    attained = slo_met = None
    if slo is not None and judged and level.kind != "prefill" and not cut_short:
        attained = sum(all(meets(objective, r) for objective in slo.objectives) for r in judged) / len(judged)
        # what ended a level early as hopeless are the objectives themselves
        slo_met = level.ended_because != "hopeless" and all(
            sum(meets(objective, r) for r in judged) >= objective.share * len(judged) for objective in slo.objectives
        )
    miscount = None
    served = level.server.output_tokens if level.server is not None else None
    if served and tokens and not failed:  # what a failed request was answered, only the server knows
        miscount = tokens / served - 1
    caveats = _caveats(
        level,
        len(finished),
        failed,
        len(with_usage),
        _Signs(trend, in_flight, growth, lateness, max(abs(miscount or 0.0), _impossible(with_usage)), burst),
    )
    return LevelSummary(
        index=level.index,
        kind=level.kind,
        concurrency=level.concurrency,
        rate=level.rate,
        arrivals=level.arrivals,
        mean_in_flight=in_flight,
        send_lateness_p99_s=lateness,
        ended_because=level.ended_because,
        ttft_p95_half_width=quantile_half_width(
            np.array([r.first_token_s - r.due_s for r in sorted(timed, key=_due) if r.first_token_s is not None])
        ),
        attainment=attained,
        goodput=attained * len(judged) / length if attained is not None and length else None,
        slo_met=slo_met,
        conversations=len({r.session for r in requests if r.session is not None}) or None,
        length_error=length_error(requests),
        miscount=miscount,
        server=level.server,
        requests=len(finished),
        failed=dict(failed),
        said={r.status: r.detail for r in reversed(requests) if r.detail},
        window_start_s=start,
        window_end_s=stop,
        output_tok_s=rate if finished else None,
        output_tok_s_half_width=half_width,
        input_tok_s=sum(r.input_tokens or 0 for r in counted) / length if length and counted else None,
        cached_tok_s=sum(r.cached_tokens or 0 for r in counted) / length if length and counted else None,
        request_s=answered / length if length and answered else None,
        mean_input_tokens=_mean([r.input_tokens for r in finished if not r.stagger]),
        mean_cached_tokens=_mean([r.cached_tokens for r in finished if not r.stagger]),
        mean_output_tokens=_mean([r.output_tokens for r in finished if not r.stagger]),
        tokens_per_chunk=per_chunk,
        ttft=Quantiles.of([r.first_token_s - r.due_s for r in timed if r.first_token_s is not None]),
        tpot=Quantiles.of(
            [
                (r.done_s - r.first_token_s) / (r.output_tokens - 1)
                for r in timed
                if r.first_token_s is not None and r.output_tokens is not None and r.output_tokens > 1
            ]
        ),
        itl=Quantiles.of(np.concatenate([np.diff(r.chunk_s) for r in timed]))
        if timed and per_chunk is not None and per_chunk < 1.05
        else None,
        e2e=Quantiles.of([r.done_s - r.due_s for r in timed]),
        caveats=caveats,
        unknown=level.unknown,
    )


def length_error(requests: Sequence[RequestRecord]) -> LengthError | None:
    """What the server counted against what was asked for, over all requests that were answered whole."""
    counted = [r for r in requests if r.ok and r.input_tokens is not None and r.asked_input_tokens]
    if not counted:
        return None
    asked = sum(r.asked_input_tokens or 0 for r in counted)
    off = [abs((r.input_tokens or 0) - (r.asked_input_tokens or 0)) for r in counted]
    answered = [r for r in counted if r.output_tokens is not None]
    wanted = sum(r.asked_output_tokens or 0 for r in answered)
    return LengthError(
        input_share=sum(r.input_tokens or 0 for r in counted) / asked - 1,
        input_p95=float(np.percentile(off, 95)),
        output_share=sum(r.output_tokens or 0 for r in answered) / wanted - 1 if wanted else None,
    )


def stationary(level: Level, requests: Sequence[RequestRecord]) -> bool:
    """Whether as many requests come at any time; more of them in flight then means that the server falls behind."""
    steady = (level.arrivals or "poisson").partition(":")[0] in {"poisson", "constant", "gamma"}
    return steady and not any(r.session is not None for r in requests)  # further turns come later


def wait_trend(requests: Sequence[RequestRecord], start_s: float, end_s: float) -> float | None:
    """How much the wait for the first token grew over a window, as a share of its mean.

    For loads that vary by themselves: there a server that falls behind shows by ever longer waits, not by the number
    in flight. Means of up to 20 groups of as many requests each, in the order of being due; None below 25 requests.
    One that never had a token waited until it was given up.
    """
    waits = [
        (r.first_token_s if r.first_token_s is not None else r.done_s) - r.due_s
        for r in sorted(requests, key=lambda r: r.due_s)
        if start_s <= r.due_s < end_s
    ]
    if len(waits) < 25:
        return None
    means = np.array([group.mean() for group in np.array_split(np.array(waits), min(20, len(waits) // 5))])
    return _significant_change(means) / float(means.mean())


def in_flight_trend(requests: Sequence[RequestRecord], start_s: float, end_s: float) -> tuple[float, float | None]:
    """Mean number of requests in flight over a window, and how much it grew, as a share of the mean.

    The number is taken at 20 moments. Growth is None where fewer than one request was in flight on average.
    """
    moments = start_s + (np.arange(20) + 0.5) / 20 * (end_s - start_s)
    begun = np.searchsorted(np.sort([r.due_s for r in requests]), moments, side="right")
    ended = np.searchsorted(np.sort([r.done_s for r in requests]), moments, side="right")
    numbers = (begun - ended).astype(np.float64)
    mean = float(numbers.mean())
    return mean, _significant_change(numbers) / mean if mean >= 1 else None


def _due(request: RequestRecord) -> float:
    return request.due_s


def _mean(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _token_arrivals(requests: Sequence[RequestRecord], per_chunk: float) -> tuple[Array, Array]:
    """When output tokens arrived, and how many at each of those moments, in order of time.

    An answer's tokens (usage) are spread evenly over its pieces. A request that was cut off has no usage: its pieces
    count for as many tokens as those of whole answers do. Of an imported request with no time but those of its first
    token and its end, the tokens are spread evenly between the two.
    """
    times: list[float] = []
    weights: list[float] = []
    for request in requests:
        pieces = len(request.chunk_s)
        if not pieces and request.first_token_s is not None and request.output_tokens:
            points = min(request.output_tokens, 1000)
            times.extend(np.linspace(request.first_token_s, request.done_s, points).tolist())
            weights.extend([request.output_tokens / points] * points)
        if pieces:
            weight = request.output_tokens / pieces if request.output_tokens is not None else per_chunk
            times.extend(request.chunk_s)
            weights.extend([weight] * pieces)
    order = np.argsort(times)
    return np.asarray(times, dtype=np.float64)[order], np.asarray(weights, dtype=np.float64)[order]


def _impossible(requests: Sequence[RequestRecord]) -> float:
    """Share of the output tokens by which usage is off where it cannot be right."""
    off = 0
    for request in requests:
        output, asked = request.output_tokens or 0, request.asked_output_tokens or 0
        if output > asked > 0 or len(request.chunk_s) == asked > output:
            off += abs(output - asked)
    return off / (sum(request.output_tokens or 0 for request in requests) or 1)
