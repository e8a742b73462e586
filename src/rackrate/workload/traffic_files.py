"""Files that say how much is asked for over time: rates, profiles, API usage exports, recorded requests.

Which one a file is, its first line tells. Times without a date count from Monday 00:00.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from rackrate.bounds import REQUESTS_PER_SECOND, SECONDS_ABOVE_0, shown
from rackrate.errors import WorkloadError
from rackrate.files.bounded import open_text_lines
from rackrate.units import HOURS_PER_MONTH
from rackrate.workload.csv_rows import csv_number, csv_rows, delimiter_of, first_of, not_utf8
from rackrate.workload.prompt_mix import PromptMix
from rackrate.workload.trace_files import detect_layout
from rackrate.workload.traffic import DAY_S, Profile, Traffic, as_one_step, of_trace
from rackrate.workload.usage_exports import read_usage, read_usage_json
from rackrate.workload.usage_formats import KNOWN_EXPORTS, usage_layout

if TYPE_CHECKING:
    from rackrate.workload.traces import Trace

_PER = {
    "s": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0, "d": 86_400.0, "day": 86_400.0,
    "w": 604_800.0, "week": 604_800.0, "month": HOURS_PER_MONTH * 3600, "y": 8760 * 3600.0, "year": 8760 * 3600.0,
}  # fmt: skip
_SCALE = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
_RATE = re.compile(r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*([kKMG]?)\s*(?:requests?|req)?\s*/\s*([a-z]+)", re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d*)?)\s*([a-z]+?)s?", re.ASCII)


def parse_rate(text: str, field: str, hours_per_month: float = HOURS_PER_MONTH) -> float | None:
    """A request rate such as 2/s, 120/min, 7200/h, 100000/day, 3M/month. [1/s] None where it is no rate.

    A month has 730 hours, or as many as are stated.

    >>> parse_rate("2/s", "traffic"), parse_rate("86.4k/day", "traffic"), parse_rate("trace.csv", "traffic")
    (2.0, 1.0, None)
    >>> parse_rate("2592k/month", "traffic", hours_per_month=720)
    1.0

    Raises:
        UserError: a rate of 0, or of more than is real; it names the field.
    """
    match = _RATE.fullmatch(text.strip())
    if match is None or match[3] not in _PER:
        return None
    per_s = hours_per_month * 3600 if match[3] == "month" else _PER[match[3]]
    rate = float(match[1]) * _SCALE[match[2]] / per_s
    REQUESTS_PER_SECOND.check(rate, field)
    return rate


def parse_duration(text: str, field: str) -> float:
    """A length of time such as 30s, 5min, 1h, 7d, 1month, 1y. [s] A year has 8,760 hours, a month 730.

    Args:
        text: as the user wrote it.
        field: of the request, for the sentence when it is wrong.

    >>> parse_duration("90s", "step"), parse_duration("2h", "step"), parse_duration("1y", "over") / 3600
    (90.0, 7200.0, 8760.0)

    Raises:
        UserError: not such a length, 0, or longer than thirty years.
    """
    word = text.strip()
    match = _DURATION.fullmatch(word)
    unit = match[2] if match else ""
    if match is None or (unit or "s") not in _PER or float(match[1]) <= 0:
        raise WorkloadError(
            f"{{{field}}} is a length of time such as 30s, 5min, 1h, 7d, 1month or 1y, not {shown(text)}", field=field
        )
    found = float(match[1]) * _PER[unit or "s"]
    SECONDS_ABOVE_0.check(found, field)
    return found


_RATE_COLUMNS = ("total_rate_rps", "rate_rps", "requests_per_s", "request_s", "rps", "rate")
_TIME_COLUMNS = ("t_s", "time_s")
_HOUR_COLUMNS = ("hour_of_week", "hour_of_day", "hour")
_PROFILE_COLUMNS = ("relative", "factor", "mean_rate", *_RATE_COLUMNS)

_MONDAY_S = 3 * DAY_S
"""From a Monday 00:00 to the beginning of 1970, a Thursday."""
DETAIL_S = 1.0
"""Traces are also kept by the second, so that bursts within a step are seen."""

Kind = Literal["rates", "hours", "usage", "usage-json", "trace"]


def is_trace(path: Path) -> bool:
    """Whether the file records single requests. Raises WorkloadError where it is none of the files that are known."""
    return _detect(path)[0] == "trace"


def read_traffic(path: Path, step_s: float, model: str | None = None, *, steps_stated: bool = True) -> Traffic:
    """The traffic that a file records.

    Args:
        path: rates over time, rates by hour, an API's usage export, or recorded requests.
        step_s: of recorded requests; the other files have steps of their own.
        model: of a usage export: only the rows whose model contains this.
        steps_stated: whether requests that last less than a step are refused, instead of being one step of their own.

    Raises:
        WorkloadError: with file, line and column of what cannot be.
    """
    kind, columns = _detect(path)
    if model is not None and kind not in {"usage", "usage-json"}:
        raise WorkloadError(f"{path}: only an API's usage export has models to choose from")
    match kind:
        case "rates":
            return _rates(path, columns)
        case "hours":
            return _rates_by_hour(path, columns)
        case "usage":
            return read_usage(path, columns, model)
        case "usage-json":
            return read_usage_json(path, model)
        case "trace":
            from rackrate.workload.traces import read_trace

            trace = read_trace(path)
            prompts = PromptMix.of_requests(trace.input_tokens, trace.output_tokens, trace.cached_tokens)
            start_s = week_start_s(trace)
            until_s = None if trace.begins_s is None else trace.begins_s + trace.duration_s
            if not steps_stated and 0 < trace.duration_s < step_s:
                return replace(as_one_step(trace, start_s), prompts=prompts, until_s=until_s)
            return replace(of_trace(trace, step_s, start_s, DETAIL_S), prompts=prompts, until_s=until_s)


def week_start_s(trace: Trace) -> float | None:
    """Seconds from Monday 00:00 (UTC) at which a trace begins; None where its times have no date."""
    return None if trace.begins_s is None else (trace.begins_s + _MONDAY_S) % (7 * DAY_S)


def read_profile(text: str) -> Profile:
    """A profile of a day or a week: a CSV file (hour_of_day or hour_of_week, and relative or mean_rate), or the 24 or
    168 factors themselves, separated by commas.

    Raises:
        WorkloadError: not such a file, an hour missing or twice.
    """
    if re.fullmatch(r"[-+.\deE,\s]+", text) and "," in text:
        parts = [part for part in text.split(",") if part.strip()]
        try:
            values = [float(part) for part in parts]
        except ValueError:
            raise WorkloadError(f"{{profile}}: {text!r} is not a list of numbers", field="profile") from None
        if len(values) not in {24, 168}:
            raise WorkloadError(
                f"{{profile}} has 24 factors (a day) or 168 (a week from Monday on), not {len(values)}", field="profile"
            )
        return Profile.of(values, origin="stated")
    path = Path(text)
    kind, columns = _detect(path)
    if kind == "hours":
        return Profile.of(_hours(path, columns)[0], origin=f"profile: {path.name}")
    if kind == "rates":
        return profile_of(_rates(path, columns))
    raise WorkloadError(f"{path}: is no profile: it needs the columns hour_of_day (or hour_of_week) and relative")


def profile_of(traffic: Traffic) -> Profile:
    """The mean week of traffic that lasts at least one, else its mean day, on all days.

    Raises:
        WorkloadError: shorter than a day, or steps longer than an hour.
    """
    if traffic.step_s > 3600 or traffic.duration_s < DAY_S:
        raise WorkloadError("a profile needs at least a day of traffic in steps of at most an hour")
    size = 168 if traffic.duration_s >= 7 * DAY_S else 24
    begin = traffic.start_s + np.arange(len(traffic)) * traffic.step_s
    hours = np.floor(begin / 3600).astype(np.int64) % size
    sums = np.bincount(hours, traffic.demand, minlength=size)
    return Profile.of(sums / np.maximum(np.bincount(hours, minlength=size), 1), origin=f"mean of {traffic.origin}")


def _detect(path: Path) -> tuple[Kind, list[str]]:
    """Which kind of file it is, and its columns."""
    try:
        with open_text_lines(path) as file:
            first = file.readline(1 << 16)
    except FileNotFoundError:
        raise WorkloadError(f"{path}: no such file; traffic is a file, or a rate such as 2/s or 100000/day") from None
    except IsADirectoryError:
        raise WorkloadError(f"{path}: is a directory; traffic is a file, or a rate such as 2/s") from None
    except UnicodeDecodeError:
        raise WorkloadError(not_utf8(path)) from None
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be read ({error.strerror or error})") from None
    if path.suffix == ".json" or re.match(r'\s*\{\s*("object"\s*:\s*"page"|$)', first):
        return "usage-json", []
    columns = [name.strip() for row in csv.reader([first], delimiter=delimiter_of(first)) for name in row]
    if usage_layout(columns) is not None:
        return "usage", columns
    if any(name in columns for name in _HOUR_COLUMNS):
        return "hours", columns
    if any(name in columns for name in _TIME_COLUMNS) and any(name in columns for name in _RATE_COLUMNS):
        return "rates", columns
    _refuse_unknown(path)
    return "trace", columns


def _refuse_unknown(path: Path) -> None:
    """Raises WorkloadError where a file is no trace either: the sentence says what else would be read."""
    try:
        detect_layout(path)
    except WorkloadError as error:
        said = str(error)
        if "known are" in said:
            said += f"; usage exports of {KNOWN_EXPORTS}; rates with t_s and rate, or hour_of_day and mean_rate"
        raise WorkloadError(said) from None


def _rates(path: Path, columns: Sequence[str]) -> Traffic:
    """Rates at equally spaced times: t_s and total_rate_rps, as ServeGen publishes them, or time_s and rate."""
    time, rate = first_of(_TIME_COLUMNS, columns), first_of(_RATE_COLUMNS, columns)
    assert time is not None  # noqa: S101 - _detect found both
    assert rate is not None  # noqa: S101
    times: list[float] = []
    rates: list[float] = []
    for line, row in csv_rows(path, columns):
        at = csv_number(path, line, row, time)
        if times and at <= times[-1]:
            raise WorkloadError(
                f"{path}:{line}: column {time}: {at:g} does not come after {times[-1]:g}; sort the file"
            )
        if len(times) >= 2 and abs((at - times[-1]) - (times[1] - times[0])) > 1e-6 * at:
            raise WorkloadError(
                f"{path}:{line}: column {time}: steps must be equal; {at - times[-1]:g} s, where the first is "
                f"{times[1] - times[0]:g} s"
            )
        times.append(at)
        rates.append(csv_number(path, line, row, rate))
    if len(times) < 2:
        raise WorkloadError(f"{path}: one row has no step; rates need at least two")
    _refuse_nothing(path, rates)
    step_s = times[1] - times[0]
    origin = f"recorded rates: {path.name}, {len(times):,} steps of {step_s:g} s"
    return Traffic(step_s, np.asarray(rates) * step_s, None, None, start_s=times[0] % (7 * DAY_S), origin=origin)


def _hours(path: Path, columns: Sequence[str]) -> tuple[list[float], str]:
    """24 or 168 values by hour, and the column they are from."""
    hour, value = first_of(_HOUR_COLUMNS, columns), first_of(_PROFILE_COLUMNS, columns)
    assert hour is not None  # noqa: S101 - _detect found it
    if value is None:
        raise WorkloadError(f"{path}:1: beside {hour} there is no column {', '.join(_PROFILE_COLUMNS[:3])}")
    found: dict[int, float] = {}
    size = 168 if hour == "hour_of_week" else 24
    for line, row in csv_rows(path, columns):
        at = csv_number(path, line, row, hour)
        if at != int(at) or at >= size:
            raise WorkloadError(f"{path}:{line}: column {hour}: {at:g} is not an hour from 0 to {size - 1}")
        if int(at) in found:
            raise WorkloadError(f"{path}:{line}: column {hour}: hour {at:g} is there twice")
        found[int(at)] = csv_number(path, line, row, value)
    missing = [item for item in range(size) if item not in found]
    if missing:
        raise WorkloadError(f"{path}: hour {missing[0]} is missing; a profile has {size} hours from 0 on")
    return [found[item] for item in range(size)], value


def _rates_by_hour(path: Path, columns: Sequence[str]) -> Traffic:
    """A mean day (or week) of request rates as traffic of that day."""
    rate = first_of(("mean_rate", *_RATE_COLUMNS), columns)
    if rate is None:
        raise WorkloadError(
            f"{path}: has factors but no rate; give a rate such as 2/s, and this file as {{profile}}", field="profile"
        )
    values, _ = _hours(path, [name if name == rate or name not in _PROFILE_COLUMNS else f"_{name}" for name in columns])
    _refuse_nothing(path, values)
    return Traffic(3600.0, np.asarray(values) * 3600, None, None, start_known=True, origin=f"mean day: {path.name}")


def _refuse_nothing(path: Path, rates: Sequence[float]) -> None:
    if not any(rates):
        raise WorkloadError(f"{path}: nothing is asked for: all its rates are 0")


def refuse_future(path: Path, until_s: float | None, now: datetime) -> None:
    """Raises WorkloadError where something was recorded later than now; a day is left for clocks and time zones."""
    if until_s is not None and until_s > now.timestamp() + DAY_S:
        last = str(np.datetime64(int(until_s), "s")).replace("T", " ")
        raise WorkloadError(
            f"{path}: its last record is of {last} UTC, and it is {now:%Y-%m-%d}: what is still to come is not "
            "recorded; are day and month the wrong way round?"
        )


def shifted(traffic: Traffic, hours: float) -> Traffic:
    """The same traffic, its clock moved: usage in UTC seen in the time zone of UTC + hours.

    >>> shifted(Traffic(3600.0, np.ones(24), None, None, start_s=0.0), -2).start_s / 3600
    166.0
    """
    offset_s = None if traffic.utc_offset_s is None else traffic.utc_offset_s + hours * 3600
    return replace(traffic, start_s=(traffic.start_s + hours * 3600) % (7 * DAY_S), utc_offset_s=offset_s)
