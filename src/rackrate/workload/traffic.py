"""Traffic over time: how many requests and tokens are asked for in each step of a day, a week or a year.

Requests are expected numbers, not drawn ones: a year of a rate that falls and rises is a year's worth of arithmetic.
What a trace says of single requests (lengths, bursts within a step) stays in the trace.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rackrate.errors import WorkloadError
from rackrate.units import HOURS_PER_MONTH, SECONDS_PER_HOUR
from rackrate.workload.prompt_mix import PromptMix

if TYPE_CHECKING:
    from rackrate.workload.traces import Trace

Floats = npt.NDArray[np.float64]

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
MONTH_S = HOURS_PER_MONTH * SECONDS_PER_HOUR
MOST_STEPS = 20_000_000
"""More steps than that are refused: a year by the second has 31 million, and nothing here needs it."""


@dataclass(frozen=True)
class LengthQuantiles:
    """Tokens of single requests."""

    mean: float
    p50: float
    p90: float
    p99: float
    most: float

    @staticmethod
    def of(values: npt.NDArray[np.int32]) -> LengthQuantiles | None:
        """None for no requests.

        >>> LengthQuantiles.of(np.array([10, 20, 30], dtype=np.int32))
        LengthQuantiles(mean=20.0, p50=20.0, p90=28.0, p99=29.8, most=30.0)
        """
        if not len(values):
            return None
        p50, p90, p99 = (float(value) for value in np.quantile(values, (0.5, 0.9, 0.99)))
        return LengthQuantiles(float(values.mean()), p50, p90, p99, float(values.max()))


@dataclass(frozen=True, eq=False)
class Traffic:
    """What is asked for in equal steps of time. Arrays of one length; None where it is not known."""

    step_s: float
    requests: Floats | None
    """In each step. An API bill may know tokens only."""
    input_tokens: Floats | None
    """In each step, cached ones included."""
    output_tokens: Floats | None
    cached_tokens: Floats | None = None
    """Input tokens that a prefix cache can serve; None where nobody counted them."""
    written_tokens: Floats | None = None
    """Input tokens that were written to an API's cache, for some minutes; None where nobody counted them."""
    written_1h_tokens: Floats | None = None
    """Input tokens that were written to an API's cache for an hour."""
    start_s: float = 0.0
    """When the first step begins, in seconds from Monday 00:00."""
    start_known: bool = False
    """Whether the source says what time of the week it begins at."""
    utc_offset_s: float | None = 0.0
    """What the clock is ahead of UTC; None: parts of the traffic differ in it."""
    input_lengths: LengthQuantiles | None = None
    output_lengths: LengthQuantiles | None = None
    origin: str = ""
    notes: tuple[str, ...] = ()
    until_s: float | None = None
    """When the last of it was recorded, in seconds since 1970; None: its source has no dates."""
    prompts: PromptMix | None = None
    """How an API bills the source's tokens: shares of them, which hold over any time; None: nothing is known of it."""
    detail: Traffic | None = None
    """The source in finer steps: how what falls into one of its steps is spread within it; None: not known."""
    source: npt.NDArray[np.int64] | None = None
    """With `detail`: which of the source's steps each step repeats."""

    def __post_init__(self) -> None:
        if not 0 < self.step_s < math.inf:
            raise WorkloadError(f"a step of traffic must last longer than 0 s, got {self.step_s:g}")
        known = [values for values in self.series().values() if values is not None]
        if self.requests is None and self.output_tokens is None:
            raise WorkloadError("traffic needs requests or tokens")
        if not known or not len(known[0]):
            raise WorkloadError("traffic needs at least one step")
        if len({len(values) for values in known}) > 1:
            raise WorkloadError("the series of traffic must be of one length")
        if any(not np.isfinite(values).all() or (values < 0).any() for values in known):
            raise WorkloadError("traffic must be finite and not negative")

    def series(self) -> dict[str, Floats | None]:
        """All of them by name."""
        return {
            "requests": self.requests,
            "input_tokens": self.input_tokens,
            "cached_tokens": self.cached_tokens,
            "written_tokens": self.written_tokens,
            "written_1h_tokens": self.written_1h_tokens,
            "output_tokens": self.output_tokens,
        }

    def __len__(self) -> int:
        series = self.requests if self.requests is not None else self.output_tokens
        assert series is not None  # noqa: S101 - __post_init__ refuses both None
        return len(series)

    @property
    def duration_s(self) -> float:
        """How long it lasts."""
        return len(self) * self.step_s

    @property
    def demand(self) -> Floats:
        """What rates, peaks and profiles are of: requests where they are known, else output tokens."""
        series = self.requests if self.requests is not None else self.output_tokens
        assert series is not None  # noqa: S101 - __post_init__ refuses both None
        return series

    def total(self, name: str) -> float | None:
        """Sum of one of the series over all steps; None where it is not known."""
        series = self.series()[name]
        return None if series is None else float(series.sum())

    def hours_of_day(self) -> npt.NDArray[np.int64]:
        """The hour of the day, 0 to 23, in which each step begins."""
        begin = self.start_s + np.arange(len(self)) * self.step_s
        return (np.floor(begin / SECONDS_PER_HOUR).astype(np.int64)) % 24

    def times(self, factor: float | Floats) -> Traffic:
        """All series times a number, or a number for each step."""
        return replace(self, **{name: None if v is None else v * factor for name, v in self.series().items()})

    def taken(self, steps: npt.NDArray[np.int64]) -> Traffic:
        """The series at these steps, in this order."""
        source = None if self.source is None else self.source[steps]
        series = {name: None if v is None else v[steps] for name, v in self.series().items()}
        return replace(self, **series, source=source)


@dataclass(frozen=True, eq=False)
class Profile:
    """How demand changes over a week: a factor for each of its 168 hours, 1 on average. Monday 00:00 comes first."""

    by_hour: Floats
    origin: str = ""

    def __post_init__(self) -> None:
        values = self.by_hour
        if len(values) != 168:
            raise WorkloadError(f"a profile has 24 or 168 hours, not {len(values)}")
        if not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
            raise WorkloadError("a profile needs factors of at least 0, one of them above")

    @staticmethod
    def of(hours: Floats | list[float], weekdays: list[float] | None = None, origin: str = "") -> Profile:
        """From 24 hours of a day or 168 of a week, and seven factors for the days from Monday on.

        >>> week = Profile.of([0.5] * 12 + [1.5] * 12, weekdays=[1.2] * 5 + [0.5] * 2)
        >>> round(float(week.by_hour.mean()), 12), round(float(week.by_hour[23]), 3)
        (1.0, 1.8)
        """
        values = np.asarray(hours, dtype=np.float64)
        if len(values) == 24:
            days = np.ones(7) if weekdays is None else np.asarray(weekdays, dtype=np.float64)
            if len(days) != 7:
                raise WorkloadError(f"a week has seven factors, from Monday on, not {len(days)}")
            values = (days[:, None] * values[None, :]).reshape(-1)
        mean = float(values.mean()) if len(values) else 0.0
        return Profile(values / mean if mean > 0 else values, origin)

    def factors(self, traffic: Traffic) -> Floats:
        """The factor of each step: the mean over a step of an hour or more; between the middles of the hours, where
        steps are finer, a straight line (whose mean over the week is the same), so that nothing jumps on the hour.
        """
        begin = (traffic.start_s + np.arange(len(traffic) + 1) * traffic.step_s) / SECONDS_PER_HOUR
        if traffic.step_s < SECONDS_PER_HOUR * (1 - 1e-9):
            return np.interp((begin[:-1] + begin[1:]) / 2, np.arange(168) + 0.5, self.by_hour, period=168)
        weeks, within = np.divmod(begin, 168)
        area = np.concatenate(([0.0], np.cumsum(self.by_hour)))
        until = weeks * area[-1] + np.interp(within, np.arange(169), area)
        return np.diff(until) / np.diff(begin)


def steady(rate: float, duration_s: float, step_s: float = SECONDS_PER_HOUR, origin: str = "stated") -> Traffic:
    """The same rate all the time.

    Args:
        rate: requests per second.
        duration_s: how long.
        step_s: of the series.
        origin: who says so.

    >>> float(steady(rate=2, duration_s=7200).requests[0])
    7200.0
    """
    if not 0 <= rate < math.inf:
        raise WorkloadError(f"a rate is a number of at least 0, got {rate:g}")
    steps = _steps(duration_s, step_s)
    return Traffic(step_s, np.full(steps, rate * step_s), None, None, origin=origin)


def _steps(duration_s: float, step_s: float) -> int:
    if not (0 < duration_s < math.inf and 0 < step_s < math.inf):
        raise WorkloadError(f"traffic must last longer than 0 s, got {duration_s:g} s in steps of {step_s:g} s")
    steps = round(duration_s / step_s)
    if not 1 <= steps <= MOST_STEPS:
        raise WorkloadError(
            f"{duration_s:g} s in steps of {step_s:g} s are {steps if steps < 1e15 else float(steps):,} steps; "
            f"they must be 1 to {MOST_STEPS:,}"
        )
    return steps


MOST_DETAIL = 5_000_000
"""A trace of more fine steps than that (58 days by the second) is kept in its steps only."""


def of_trace(trace: Trace, step_s: float, start_s: float | None = None, detail_s: float | None = None) -> Traffic:
    """Recorded requests, counted by step. What arrived in a last, incomplete step is left out.

    Args:
        trace: the requests.
        step_s: of the series.
        start_s: when the first arrived, in seconds from Monday 00:00; None: not known.
        detail_s: also keep the trace in steps of this length, a whole part of `step_s`, for bursts within a step.

    Raises:
        WorkloadError: the trace is shorter than a step.
    """
    steps = math.floor(trace.duration_s / step_s + 1e-9)
    if steps < 1:
        raise WorkloadError(
            f"{trace.name} lasts {trace.duration_s:.3g} s, less than one step of {step_s:g} s; take smaller steps"
        )
    _steps(steps * step_s, step_s)
    kept = int(np.searchsorted(trace.arrival_s, steps * step_s, side="left"))
    bins = np.minimum((trace.arrival_s[:kept] / step_s).astype(np.int32), steps - 1)

    def sums(weights: npt.NDArray[np.int32] | None) -> Floats:
        return np.bincount(bins, weights, minlength=steps).astype(np.float64)

    cached = None
    if trace.cached_tokens is not None:
        cached = sums(np.maximum(trace.cached_tokens[:kept], 0))
    parts = 1 if detail_s is None else round(step_s / detail_s)
    detail = None
    if detail_s is not None and parts > 1 and abs(parts * detail_s - step_s) < 1e-9 and steps * parts <= MOST_DETAIL:
        detail = of_trace(trace, detail_s, start_s).taken(np.arange(steps * parts))
    left_out = len(trace) - kept
    words = "requests of a last, incomplete step are" if left_out > 1 else "request of a last, incomplete step is"
    notes = (f"{left_out:,} {words} left out",) if left_out else ()
    return Traffic(
        step_s=step_s,
        requests=sums(None),
        input_tokens=sums(trace.input_tokens[:kept]),
        output_tokens=sums(trace.output_tokens[:kept]),
        cached_tokens=cached,
        start_s=0.0 if start_s is None else start_s,
        start_known=start_s is not None,
        input_lengths=LengthQuantiles.of(trace.input_tokens),
        output_lengths=LengthQuantiles.of(trace.output_tokens),
        origin=f"recorded: {trace.name}, {len(trace):,} requests in {trace.duration_s / 3600:.3g} h",
        notes=notes,
        detail=detail,
        source=None if detail is None else np.arange(steps, dtype=np.int64),
    )


def as_one_step(trace: Trace, start_s: float | None = None) -> Traffic:
    """A short trace as one step, which lasts as long as that many requests do at its mean rate.

    n requests have n - 1 gaps between them, so that the step lasts n / (n - 1) of the time from the first to the last.
    """
    count = len(trace)
    step_s = trace.duration_s * count / (count - 1)
    cached = None if trace.cached_tokens is None else np.array([float(np.maximum(trace.cached_tokens, 0).sum())])
    return Traffic(
        step_s=step_s,
        requests=np.array([float(count)]),
        input_tokens=np.array([float(trace.input_tokens.sum())]),
        output_tokens=np.array([float(trace.output_tokens.sum())]),
        cached_tokens=cached,
        start_s=0.0 if start_s is None else start_s,
        start_known=start_s is not None,
        input_lengths=LengthQuantiles.of(trace.input_tokens),
        output_lengths=LengthQuantiles.of(trace.output_tokens),
        origin=f"recorded: {trace.name}, {count:,} requests in {trace.duration_s:.4g} s",
        notes=(f"only {trace.duration_s:.4g} s are recorded: too little to know a rate, or when it is high",),
    )


def tiled(
    traffic: Traffic, duration_s: float, profile: Profile | None = None, growth_per_month: float = 0.0
) -> Traffic:
    """Traffic repeated over a longer time, under a profile of the week and with growth.

    Each step is one of the source times the profile's factor of its hour times (1 + growth) ^ months since the start.
    A month has 730 hours. Without a profile the source's own ups and downs are all there are.

    Raises:
        WorkloadError: growth of -100 % or less, or too many steps.
    """
    if not -1 < growth_per_month < math.inf:
        raise WorkloadError(f"growth is a share a month above -1 (0.05 is 5 %), got {growth_per_month:g}")
    steps = _steps(duration_s, traffic.step_s)
    long = traffic if steps == len(traffic) else traffic.taken(np.arange(steps, dtype=np.int64) % len(traffic))
    if profile is not None:
        long = long.times(profile.factors(long))
    if growth_per_month:
        months = (np.arange(steps) + 0.5) * traffic.step_s / MONTH_S
        with np.errstate(over="ignore"):
            factors = np.exp(months * math.log1p(growth_per_month))
        most = max(float(values.max()) for values in long.series().values() if values is not None)
        if not math.isfinite(float(factors.max()) * max(most, 1.0)):
            raise WorkloadError(f"growth of {growth_per_month:g} a month for {months[-1]:.3g} months is without end")
        long = long.times(factors)
    return long


def on_steps(traffic: Traffic, step_s: float, profile: Profile | None = None) -> Traffic:
    """The same traffic in other steps; what each old step holds stays exactly in it where they get finer.

    Coarser steps are sums. Finer ones follow the profile where one is given (a day of a bill becomes its hours), else a
    smooth curve: the monotone cubic through the cumulated series (PCHIP, Fritsch and Carlson 1980), so that an hourly
    rate does not jump on the hour. Steps of a day and longer stay level: sums of days say nothing of the hours in
    them, and a curve through them would make a peak that nobody saw.

    Raises:
        WorkloadError: neither is a multiple of the other.
    """
    ratio = traffic.step_s / step_s
    if abs(ratio - 1) < 1e-9:
        return traffic
    parts = round(ratio if ratio > 1 else 1 / ratio)
    if abs((ratio if ratio > 1 else 1 / ratio) - parts) > 1e-6:
        raise WorkloadError(f"steps of {traffic.step_s:g} s cannot become steps of {step_s:g} s: not a whole multiple")
    series: dict[str, Floats | None] = {}
    if ratio < 1:
        whole = len(traffic) // parts
        if not whole:
            raise WorkloadError(f"traffic of {traffic.duration_s:g} s is shorter than a step of {step_s:g} s")
        for name, values in traffic.series().items():
            series[name] = None if values is None else values[: whole * parts].reshape(whole, parts).sum(axis=1)
        return replace(traffic, step_s=step_s, **series, detail=None, source=None)
    steps = _steps(traffic.duration_s, step_s)
    shape: Floats | None = None
    if profile is not None:
        fine = Traffic(step_s, np.ones(steps), None, None, start_s=traffic.start_s)
        factors = profile.factors(fine).reshape(len(traffic), parts)
        sums = factors.sum(axis=1, keepdims=True)
        shape = np.where(sums > 0, factors / np.where(sums > 0, sums, 1), 1 / parts)
    for name, values in traffic.series().items():
        if values is None:
            series[name] = None
        elif shape is not None:
            series[name] = (values[:, None] * shape).reshape(-1)
        else:
            level = traffic.step_s >= DAY_S
            series[name] = np.repeat(values / parts, parts) if level else _smooth(values, parts)
    return replace(traffic, step_s=step_s, **series, detail=None, source=None)


def _smooth(values: Floats, parts: int) -> Floats:
    """Each step's amount over its equal parts, by the monotone cubic through the cumulated amounts [1]_.

    .. [1] F. N. Fritsch, J. Butland, "A method for constructing local monotone piecewise cubic interpolants", SIAM J.
       Sci. Stat. Comput. 5 (1984): the harmonic mean of both sides is the slope between two steps.
    """
    if len(values) < 3:
        return np.repeat(values / parts, parts)
    before, after = values[:-1], values[1:]
    both = before * after > 0
    between = np.where(both, 2 * before * after / np.where(both, before + after, 1), 0.0)
    slopes = np.concatenate(([_end_slope(*values[:2])], between, [_end_slope(*values[:-3:-1])]))
    first, last = slopes[:-1, None], slopes[1:, None]
    t = np.arange(parts + 1) / parts
    # the cubic above the straight line: 0 at both ends of a step
    curve = values[:, None] * t + t * (1 - t) * ((first - values[:, None]) * (1 - t) - (last - values[:, None]) * t)
    fine = np.maximum(np.diff(curve, axis=1), 0.0)
    sums = fine.sum(axis=1, keepdims=True)
    return np.where(sums > 0, fine * (values[:, None] / np.where(sums > 0, sums, 1)), values[:, None] / parts).reshape(
        -1
    )


def _end_slope(last: float, inner: float) -> float:
    """The slope at an outer end, from the two steps next to it: three points' formula, kept monotone."""
    slope = (3 * last - inner) / 2
    if slope * last <= 0:
        return 0.0
    return 3 * last if last * inner <= 0 and abs(slope) > 3 * abs(last) else slope


_OF_INPUT = ("cached_tokens", "written_tokens", "written_1h_tokens")
"""Series of part of the input."""


def together(parts: Sequence[Traffic]) -> Traffic:
    """Several models' traffic as one: sums; None where one of them does not know.

    Raises:
        WorkloadError: they differ in steps, length or beginning, or have neither requests nor tokens in common.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    for other in parts[1:]:
        if len(other) != len(first) or abs(other.step_s - first.step_s) > 1e-9:
            raise WorkloadError(
                f"traffic that shares machines must last equally long in equal steps, not {len(first):,} x "
                f"{first.step_s:g} s and {len(other):,} x {other.step_s:g} s; say {{over}} and {{step}}",
                fields=("over", "step"),
            )
    names = list(first.series())
    sums: dict[str, Floats | None] = {}
    for name in names:
        known = [values for part in parts if (values := part.series()[name]) is not None]
        # a model without cached tokens has none, one without requests is not known
        enough = known if name in _OF_INPUT or len(known) == len(parts) else []
        sums[name] = sum(enough, start=np.zeros(len(first))) if enough else None
    if sums["requests"] is None and sums["output_tokens"] is None:
        raise WorkloadError(
            "one model's traffic has requests only and another's tokens only; give {lengths}", field="lengths"
        )
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    origin = "; ".join(part.origin for part in parts)
    mixes = [part.prompts for part in parts if part.prompts is not None]
    prompts = PromptMix.together(mixes) if len(mixes) == len(parts) else None
    offsets = {part.utc_offset_s for part in parts}
    offset = offsets.pop() if len(offsets) == 1 else None
    return replace(
        first, **sums, utc_offset_s=offset, input_lengths=None, output_lengths=None, origin=origin, notes=notes,
        prompts=prompts, detail=None, source=None, start_known=all(part.start_known for part in parts),
    )  # fmt: skip


def with_mean_rate(traffic: Traffic, rate: float) -> Traffic:
    """The same ups and downs at another mean rate. [request/s]

    Raises:
        WorkloadError: the traffic has no requests to scale.
    """
    if traffic.requests is None:
        raise WorkloadError("this traffic has tokens but no requests, so it has no request rate to scale")
    mean = float(traffic.requests.sum()) / traffic.duration_s
    if mean == 0 or not 0 <= rate < math.inf:
        raise WorkloadError(f"traffic of {mean:g} requests/s cannot be scaled to {rate:g} requests/s")
    return traffic.times(rate / mean)


def with_lengths(traffic: Traffic, input_tokens: float, output_tokens: float, cached_tokens: float = 0.0) -> Traffic:
    """Traffic whose requests have these mean lengths.

    Raises:
        WorkloadError: no requests are known, a negative length, or more cached tokens than input tokens.
    """
    if traffic.requests is None:
        raise WorkloadError("this traffic has tokens but no requests: lengths cannot be put on it")
    if not (0 <= cached_tokens <= input_tokens < math.inf and 0 <= output_tokens < math.inf):
        raise WorkloadError(
            f"lengths are input, output and cached tokens a request, cached within input, none negative; got "
            f"{input_tokens:g}, {output_tokens:g}, {cached_tokens:g}"
        )
    return replace(
        traffic,
        input_tokens=traffic.requests * input_tokens,
        output_tokens=traffic.requests * output_tokens,
        cached_tokens=traffic.requests * cached_tokens,
        written_tokens=None,
        written_1h_tokens=None,
        prompts=replace(PromptMix.of_length(input_tokens, output_tokens, cached_tokens), exact=False),
        detail=None
        if traffic.detail is None
        else with_lengths(traffic.detail, input_tokens, output_tokens, cached_tokens),
    )


def with_cached_share(traffic: Traffic, share: float) -> Traffic:
    """Traffic of whose input a prefix cache has this share, in every step.

    Raises:
        WorkloadError: no input tokens are known, or a share outside 0 to 1.
    """
    if traffic.input_tokens is None:
        raise WorkloadError(
            "a share of cached input needs traffic with tokens: say how long requests are ({lengths})", field="lengths"
        )
    if not 0 <= share <= 1:
        raise WorkloadError(f"the share of cached input is 0 to 1, got {share:g}")
    detail = None if traffic.detail is None else with_cached_share(traffic.detail, share)
    prompts = None if traffic.prompts is None else traffic.prompts.with_cached_share(share)
    return replace(
        traffic, cached_tokens=traffic.input_tokens * share, written_tokens=None, written_1h_tokens=None,
        prompts=prompts, detail=detail,
    )  # fmt: skip
