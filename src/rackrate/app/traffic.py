"""Traffic over time from what a user says of it: a rate or a file, then profile, growth, lengths and steps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rackrate import bounds
from rackrate.app.context import Context
from rackrate.app.request_json import Request
from rackrate.errors import WorkloadError
from rackrate.units import HOURS_PER_MONTH

if TYPE_CHECKING:
    from rackrate.workload.traffic import Profile, Traffic
    from rackrate.workload.traffic_summary import TrafficSummary


@dataclass(frozen=True)
class TrafficFields(Request):
    """What is asked for over time; fields of every request that has traffic."""

    traffic: str | None = None
    """A rate (`2/s`, `100000/day`), or a file: a trace, rates over time, rates by hour, an API's usage export."""
    profile: str | None = None
    """How demand changes over the day or week: a CSV file, or 24 (168) factors with commas between."""
    weekdays: str | None = None
    """Seven factors for the days from Monday on, with commas between."""
    mean_rate: str | None = None
    """The mean rate to scale to, such as `5/s`."""
    lengths: str | None = None
    """Mean tokens of a request, INPUT:OUTPUT or INPUT:OUTPUT:CACHED."""
    cached_share: str | None = None
    """Share of the input that a prefix cache has, 0 to 1; `trace`: what an unlimited one would have of the trace."""
    growth: bounds.Growth = 0.0
    """Per month: 0.05 is 5 %."""
    over: str | None = None
    """How long (`7d`, `1month`). None: its own time; a year with growth, a week with a profile, a month of a rate."""
    step: str | None = None
    """Length of a step (`1min`, `1h`). None: a minute of a trace, else the file's own."""
    usage_model: str | None = None
    """Of an API's usage export: only models whose name has this."""
    utc_offset: bounds.UtcOffset = 0.0
    """Hours from the file's clock (UTC in usage exports) to the user's."""


@dataclass(frozen=True)
class TrafficRequest(TrafficFields):
    """What traffic is like."""

    NAME: ClassVar[str] = "traffic"


def summarise(request: TrafficRequest, context: Context) -> TrafficSummary:
    """Rates, peaks, lengths and the mean day.

    Raises:
        WorkloadError: the traffic cannot be read, or its fields contradict each other.
    """
    from rackrate.workload.traffic_summary import summarised

    # a profile says how the days of a bill fall on their hours
    step_at_most_s = 3600.0 if request.profile is not None else None
    return summarised(traffic_of(request, context.clock(), step_at_most_s))


def traffic_of(
    request: TrafficFields,
    now: datetime,
    step_at_most_s: float | None = None,
    hours_per_month: float = HOURS_PER_MONTH,
) -> Traffic:
    """The traffic that a request describes.

    Args:
        request: a rate or a file, and what to make of it.
        now: nothing is recorded later.
        step_at_most_s: make steps finer than the file's where they are longer; for fleets that follow the load.
        hours_per_month: of a rate that is stated by the month.

    Raises:
        WorkloadError: there is none, a field cannot be, or fields contradict each other.
    """
    from rackrate.workload.traffic import steady, tiled, with_cached_share, with_lengths, with_mean_rate
    from rackrate.workload.traffic_files import parse_duration, parse_rate, read_traffic, refuse_future, shifted

    if request.traffic is None:
        raise WorkloadError("say what is asked for: {traffic} with a rate such as 2/s or a file", field="traffic")
    step_s = parse_duration(request.step, "step") if request.step else None
    over_s = parse_duration(request.over, "over") if request.over else None
    profile = _profile(request)
    rate = parse_rate(request.traffic, "traffic", hours_per_month)
    if rate is not None:
        if request.usage_model or request.utc_offset:
            raise WorkloadError(
                "{usage_model} and {utc_offset} go with a file, not with a rate", fields=("usage_model", "utc_offset")
            )
        own_step_s = step_s or min(3600.0, step_at_most_s or 3600.0)
        if over_s is None:
            over_s = parse_duration("1y" if request.growth else "7d" if profile else "1month", "over")
        traffic = steady(rate, max(own_step_s, min(over_s, 86_400.0)), own_step_s, f"stated: {request.traffic}")
    else:
        path = Path(request.traffic).expanduser()
        traffic = read_traffic(path, step_s or 60.0, request.usage_model, steps_stated=step_s is not None)
        refuse_future(path, traffic.until_s, now)
        if request.utc_offset:
            traffic = shifted(traffic, request.utc_offset)
        traffic, profile = _on_steps(traffic, step_s, profile, step_at_most_s)
    if over_s is None:
        over_s = (
            parse_duration("1y", "over") if request.growth else max(traffic.duration_s, parse_duration("7d", "over"))
        )
        if not request.growth and profile is None:
            over_s = traffic.duration_s
    if over_s < traffic.duration_s - 1e-6 and rate is None:
        from numpy import arange

        traffic = traffic.taken(arange(max(1, round(over_s / traffic.step_s))))
    traffic = tiled(traffic, over_s, profile, request.growth)
    if request.mean_rate is not None:
        wanted = parse_rate(request.mean_rate, "mean_rate", hours_per_month)
        if wanted is None:
            raise WorkloadError(
                f"{{mean_rate}} is a rate such as 5/s or 100000/day, not {request.mean_rate!r}", field="mean_rate"
            )
        traffic = with_mean_rate(traffic, wanted)
    if request.lengths is not None:
        traffic = with_lengths(traffic, *_lengths(request.lengths))
    if request.cached_share is not None:
        traffic = with_cached_share(traffic, _cached_share(request.cached_share, request.traffic))
    if not traffic.demand.any():
        raise WorkloadError(f"{{traffic}} {request.traffic}: nothing is asked for, all the time", field="traffic")
    return traffic


def _cached_share(text: str, file: str) -> float:
    if text.strip().lower() != "trace":
        try:
            share = float(text)
        except ValueError:
            raise WorkloadError(
                f"{{cached_share}} is a share such as 0.4, or trace, not {text!r}", field="cached_share"
            ) from None
        bounds.SHARE.check(share, "cached_share")
        return share
    from rackrate.workload.trace_summary import shared_share
    from rackrate.workload.traces import read_trace

    share = shared_share(read_trace(Path(file).expanduser()))
    if share is None:
        raise WorkloadError(f"{file}: has neither block hashes nor prefixes: what is shared cannot be known")
    return share


def _on_steps(
    traffic: Traffic, step_s: float | None, profile: Profile | None, at_most_s: float | None
) -> tuple[Traffic, Profile | None]:
    """The steps that were asked for. A profile that says how a day's bill falls on its hours is used up by that."""
    from rackrate.workload.traffic import on_steps

    wanted = step_s
    if wanted is None and at_most_s is not None and traffic.step_s > at_most_s:
        wanted = at_most_s
    if wanted is None or abs(wanted / traffic.step_s - 1) < 1e-9:
        return traffic, profile
    if profile is not None and wanted < traffic.step_s and traffic.step_s > 3600:
        hourly = on_steps(traffic, 3600.0, profile) if wanted < 3600 else on_steps(traffic, wanted, profile)
        return on_steps(hourly, wanted), None
    return on_steps(traffic, wanted), profile


def _profile(request: TrafficFields) -> Profile | None:
    from rackrate.workload.traffic import Profile
    from rackrate.workload.traffic_files import read_profile

    if request.profile is None and request.weekdays is None:
        return None
    profile = read_profile(request.profile) if request.profile is not None else Profile.of([1.0] * 24)
    if request.weekdays is None:
        return profile
    try:
        days = [float(part) for part in request.weekdays.split(",")]
    except ValueError:
        raise WorkloadError(
            f"{{weekdays}}: {request.weekdays!r} is not a list of numbers with commas between", field="weekdays"
        ) from None
    by_hour = profile.by_hour.tolist()
    if len(days) != 7:
        raise WorkloadError(f"{{weekdays}} has seven factors, from Monday on, not {len(days)}", field="weekdays")
    return Profile.of([value * days[i // 24] for i, value in enumerate(by_hour)], origin=profile.origin)


def _lengths(text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(":")]
    except ValueError:
        values = []
    if len(values) not in {2, 3}:
        raise WorkloadError(
            f"{{lengths}} is INPUT:OUTPUT or INPUT:OUTPUT:CACHED tokens a request, not {text!r}", field="lengths"
        )
    return values
