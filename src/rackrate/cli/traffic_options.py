"""From the options that say what traffic there is to a Traffic: shared by `traffic` and `fleet`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackrate.errors import WorkloadError

if TYPE_CHECKING:
    from rackrate.workload.traffic import Profile, Traffic

ProfileText = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="How demand changes over the day or week: a CSV file, or 24 (168) factors with commas between.",
        show_default=False,
    ),
]
Weekdays = Annotated[
    str | None,
    typer.Option(
        "--weekdays", help="Seven factors for the days from Monday on, with commas between.", show_default=False
    ),
]
MeanRate = Annotated[
    str | None,
    typer.Option("--mean-rate", help="Scale the traffic to this mean rate, such as 5/s.", show_default=False),
]
Lengths = Annotated[
    str | None,
    typer.Option(
        "--lengths",
        help="Mean tokens of a request, INPUT:OUTPUT or INPUT:OUTPUT:CACHED, where the traffic has none.",
        show_default=False,
    ),
]
Growth = Annotated[float, typer.Option("--growth", help="Growth per month: 0.05 is 5 %.")]
Over = Annotated[
    str | None,
    typer.Option(
        "--over",
        help="How long: the traffic is repeated (7d, 1month, 1y).",
        show_default="its own; a year with growth; a week with a profile; a month of a rate",
    ),
]
Step = Annotated[
    str | None,
    typer.Option(
        "--step", help="Steps in which it is seen, such as 1min or 1h.", show_default="1min of a trace, else its own"
    ),
]
UsageModel = Annotated[
    str | None,
    typer.Option(
        "--usage-model", help="Of an API's usage export: only models whose name has this.", show_default=False
    ),
]
UtcOffset = Annotated[
    float, typer.Option("--utc-offset", help="Hours from the source's clock (UTC in usage exports) to yours.")
]


@dataclass(frozen=True)
class TrafficOptions:
    """What the command line said of the traffic."""

    spec: str
    profile: str | None = None
    weekdays: str | None = None
    mean_rate: str | None = None
    lengths: str | None = None
    growth: float = 0.0
    over: str | None = None
    step: str | None = None
    usage_model: str | None = None
    utc_offset: float = 0.0
    step_at_most_s: float | None = None
    """Make steps finer than the source's where they are longer; for fleets that follow the load."""


def traffic_of(options: TrafficOptions) -> Traffic:
    """The traffic that the options describe.

    Raises:
        WorkloadError: one of them cannot be, or they contradict each other.
    """
    from rackrate.workload.traffic import steady, tiled, with_lengths, with_mean_rate
    from rackrate.workload.traffic_files import parse_duration, parse_rate, read_traffic, shifted

    step_s = parse_duration(options.step) if options.step else None
    over_s = parse_duration(options.over) if options.over else None
    profile = _profile(options)
    rate = parse_rate(options.spec)
    if rate is not None:
        if options.usage_model or options.utc_offset:
            raise WorkloadError("--usage-model and --utc-offset go with a file, not with a rate")
        own_step_s = step_s or min(3600.0, options.step_at_most_s or 3600.0)
        if over_s is None:
            over_s = parse_duration("1y" if options.growth else "7d" if profile else "1month")
        traffic = steady(rate, max(own_step_s, min(over_s, 86_400.0)), own_step_s, f"stated: {options.spec}")
    else:
        traffic = read_traffic(Path(options.spec).expanduser(), step_s or 60.0, options.usage_model)
        if options.utc_offset:
            traffic = shifted(traffic, options.utc_offset)
        traffic, profile = _on_steps(traffic, step_s, profile, options.step_at_most_s)
    if over_s is None:
        over_s = parse_duration("1y") if options.growth else max(traffic.duration_s, parse_duration("7d"))
        if not options.growth and profile is None:
            over_s = traffic.duration_s
    if over_s < traffic.duration_s - 1e-6 and rate is None:
        from numpy import arange

        traffic = traffic.taken(arange(max(1, round(over_s / traffic.step_s))))
    traffic = tiled(traffic, over_s, profile, options.growth)
    if options.mean_rate is not None:
        wanted = parse_rate(options.mean_rate)
        if wanted is None:
            raise WorkloadError(f"--mean-rate is a rate such as 5/s or 100000/day, not {options.mean_rate!r}")
        traffic = with_mean_rate(traffic, wanted)
    if options.lengths is not None:
        traffic = with_lengths(traffic, *_lengths(options.lengths))
    return traffic


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


def _profile(options: TrafficOptions) -> Profile | None:
    from rackrate.workload.traffic import Profile
    from rackrate.workload.traffic_files import read_profile

    if options.profile is None and options.weekdays is None:
        return None
    profile = read_profile(options.profile) if options.profile is not None else Profile.of([1.0] * 24)
    if options.weekdays is None:
        return profile
    days = _numbers(options.weekdays, "--weekdays")
    by_hour = profile.by_hour.tolist()
    if len(days) != 7:
        raise WorkloadError(f"--weekdays has seven factors, from Monday on, not {len(days)}")
    return Profile.of([value * days[i // 24] for i, value in enumerate(by_hour)], origin=profile.origin)


def _numbers(text: str, flag: str) -> Sequence[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise WorkloadError(f"{flag}: {text!r} is not a list of numbers with commas between") from None


def _lengths(text: str) -> Sequence[float]:
    parts = text.split(":")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) not in {2, 3}:
        raise WorkloadError(f"--lengths is INPUT:OUTPUT or INPUT:OUTPUT:CACHED tokens a request, not {text!r}")
    return values
