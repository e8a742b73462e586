"""An API's usage export as traffic: the bill that a team has already is the best forecast of what it will ask for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np

from rackrate.errors import WorkloadError
from rackrate.workload.csv_rows import MOST, csv_number, csv_rows, first_of
from rackrate.workload.traffic import MOST_STEPS, Traffic


@dataclass(frozen=True)
class UsageLayout:
    """The columns of an API's usage export, by what they hold."""

    name: str
    begin: str
    end: str | None
    requests: tuple[str, ...]
    input_all: tuple[str, ...]
    """Columns that sum to all input tokens, cached ones included."""
    cached: tuple[str, ...]
    output: tuple[str, ...]
    model: tuple[str, ...]
    """The first of them that the file has."""


USAGE_LAYOUTS = (
    # OpenAI, usage of completions: the export of the usage page has the fields of GET /organization/usage/completions,
    # whose reference says that input_tokens includes cached ones (OpenAI API reference, Usage, 2026)
    UsageLayout(
        "OpenAI usage export", "start_time", "end_time", ("num_model_requests",), ("input_tokens",),
        ("input_cached_tokens",), ("output_tokens",), ("model",),
    ),
    # OpenAI, the activity export of before 2025
    UsageLayout(
        "OpenAI activity export", "timestamp", None, ("n_requests",), ("n_context_tokens_total",),
        ("n_cached_context_tokens_total",), ("n_generated_tokens_total",), ("model", "snapshot_id"),
    ),
    # Anthropic, the Console's usage export: a day a row, input by how the cache took part, no number of requests
    UsageLayout(
        "Anthropic usage export", "usage_date_utc", None, (),
        ("usage_input_tokens_no_cache", "usage_input_tokens_cache_write_5m", "usage_input_tokens_cache_write_1h",
         "usage_input_tokens_cache_read"),
        ("usage_input_tokens_cache_read",), ("usage_output_tokens",), ("model_version",),
    ),
)  # fmt: skip
"""Columns of real exports, as their publishers document them or as users of them publish them."""


def usage_layout(columns: Sequence[str]) -> UsageLayout | None:
    """Whose export has these columns; None where it is nobody's."""
    return next((layout for layout in USAGE_LAYOUTS if {layout.begin, *layout.output} <= set(columns)), None)


@dataclass
class _Bucket:
    begin: datetime
    end: datetime | None
    requests: float | None
    input: float
    cached: float | None
    output: float
    line: int | None = None
    """Of the file."""


def read_usage(path: Path, columns: Sequence[str], model: str | None) -> Traffic:
    """The CSV that a usage page exports; only rows whose model contains `model` where one is named.

    Raises:
        WorkloadError: with file, line and column.
    """
    layout = usage_layout(columns)
    assert layout is not None  # noqa: S101 - the caller has looked
    requests = first_of(layout.requests, columns)
    cached = first_of(layout.cached, columns)
    model_column = first_of(layout.model, columns)
    inputs = [name for name in layout.input_all if name in columns]
    if not inputs:
        raise WorkloadError(f"{path}:1: no column {layout.input_all[0]}; this looks like an {layout.name}")
    buckets: list[_Bucket] = []
    models: set[str] = set()
    for line, row in csv_rows(path, columns):
        name = row.get(model_column or "", "")
        models.add(name)
        begin = _moment(path, line, row, layout.begin)
        end = _moment(path, line, row, layout.end) if layout.end in columns and row[layout.end or ""] else None
        if end is not None and end <= begin:
            raise WorkloadError(f"{path}:{line}: column {layout.end}: the row ends before it begins")
        if model is not None and model.lower() not in name.lower():
            buckets.append(_Bucket(begin, end, 0.0, 0.0, 0.0, 0.0))  # its time is still part of the export
            continue
        bucket = _Bucket(
            begin,
            end,
            None if requests is None else csv_number(path, line, row, requests, empty=0.0),
            sum(csv_number(path, line, row, source, empty=0.0) for source in inputs),
            None if cached is None else csv_number(path, line, row, cached, empty=0.0),
            sum(csv_number(path, line, row, item, empty=0.0) for item in layout.output),
            line,
        )
        if bucket.cached is not None and bucket.cached > bucket.input:
            raise WorkloadError(
                f"{path}:{line}: column {cached}: {bucket.cached:g} cached tokens are more than the input's "
                f"{bucket.input:g}, which has them in it"
            )
        buckets.append(bucket)
    return _of_buckets(
        path, layout.name, buckets, models, model, has_requests=requests is not None, has_cached=cached is not None
    )


def read_usage_json(path: Path, model: str | None) -> Traffic:
    """The answer of OpenAI's GET /organization/usage/completions (one page, or a list of them).

    Raises:
        WorkloadError: it is none.
    """
    import orjson

    try:
        pages: Any = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise WorkloadError(f"{path}:{error.lineno}:{error.colno}: not JSON ({error.msg})") from None
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be read ({error.strerror or error})") from None
    listed = cast("list[Any]", pages if isinstance(pages, list) else [pages])
    buckets: list[_Bucket] = []
    models: set[str] = set()
    try:
        for bucket in (item for page in listed for item in page["data"]):
            begin = datetime.fromtimestamp(bucket["start_time"], UTC)
            end = datetime.fromtimestamp(bucket["end_time"], UTC)
            buckets.append(_Bucket(begin, end, 0.0, 0.0, 0.0, 0.0))
            for row in bucket["results"]:
                name = str(row.get("model") or "")
                models.add(name)
                if model is None or model.lower() in name.lower():
                    numbers = [
                        float(row.get(key) or 0)
                        for key in ("num_model_requests", "input_tokens", "input_cached_tokens", "output_tokens")
                    ]
                    asked, into, cached, out = numbers
                    buckets.append(_Bucket(begin, end, asked, into, cached, out))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise WorkloadError(
            f"{path}: is not the answer of a usage API: data[] of buckets with start_time, end_time and results[] "
            f"({type(error).__name__}: {error})"
        ) from None
    if any(min(bucket.requests or 0, bucket.input, bucket.cached or 0, bucket.output) < 0 for bucket in buckets):
        raise WorkloadError(f"{path}: a number of requests or tokens is negative")
    if any((bucket.cached or 0) > bucket.input for bucket in buckets):
        raise WorkloadError(f"{path}: there are more input_cached_tokens than input_tokens, which have them in them")
    if any(max(bucket.requests or 0, bucket.input, bucket.output) > MOST for bucket in buckets):
        raise WorkloadError(f"{path}: a number of requests or tokens is more than can be meant")
    return _of_buckets(path, "OpenAI usage API", buckets, models, model, has_requests=True, has_cached=True)


def _moment(path: Path, line: int, row: dict[str, str], column: str | None) -> datetime:
    """A date, a date and time (UTC where it names no zone), or seconds since 1970."""
    text = row[column or ""].strip()
    try:
        if re.fullmatch(r"\d{9,11}(\.\d*)?", text):
            return datetime.fromtimestamp(float(text), UTC)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise WorkloadError(f"{path}:{line}: column {column}: {text or 'nothing'} is not a date or a time") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _of_buckets(
    path: Path,
    kind: str,
    buckets: list[_Bucket],
    models: set[str],
    model: str | None,
    *,
    has_requests: bool,
    has_cached: bool,
) -> Traffic:
    """Rows of one or several models, users and keys as one series; a bucket without rows had no usage."""
    known = ", ".join(sorted(name for name in models if name)[:8]) or "no model names"
    if model is not None and not any(bucket.output or bucket.input for bucket in buckets):
        raise WorkloadError(f"{path}: no model's name contains {model!r}; there are {known}")
    if not buckets:
        raise WorkloadError(f"{path}: has no buckets of usage")
    first = min(bucket.begin for bucket in buckets)
    width = _width(path, buckets)
    steps = round((max(bucket.begin for bucket in buckets) - first) / width) + 1
    if steps > MOST_STEPS:
        raise WorkloadError(f"{path}: {steps:,} buckets from the first to the last are too many")
    series = np.zeros((4, steps))
    for bucket in buckets:
        at = (bucket.begin - first) / width
        if abs(at - round(at)) > 1e-6:
            place = f"{path}:{bucket.line}" if bucket.line is not None else str(path)
            raise WorkloadError(
                f"{place}: {bucket.begin:%Y-%m-%d %H:%M:%S} is not a whole number of steps of {_hours(width)} after "
                f"the first row, {first:%Y-%m-%d %H:%M:%S}"
            )
        series[:, round(at)] += (bucket.requests or 0.0, bucket.input, bucket.cached or 0.0, bucket.output)
    step_s = width.total_seconds()
    notes = [f"times are UTC; one row covers {step_s / 3600:g} h, bursts within it are not seen"]
    if len([name for name in models if name]) > 1 and model is None:
        notes.append(f"all models together ({known})")
    if not has_requests:
        notes.append("the export has no number of requests: rates are of tokens")
    midnight = datetime.combine(first.date() - timedelta(days=first.weekday()), datetime.min.time(), first.tzinfo)
    return Traffic(
        step_s=step_s,
        requests=series[0] if has_requests else None,
        input_tokens=series[1],
        cached_tokens=np.minimum(series[2], series[1]) if has_cached else None,
        output_tokens=series[3],
        start_s=(first - midnight).total_seconds(),
        start_known=True,
        origin=f"{kind}: {path.name}, {first:%Y-%m-%d} to {max(bucket.begin for bucket in buckets):%Y-%m-%d}"
        + (f", model {model}" if model else ""),
        notes=tuple(notes),
    )


def _hours(width: timedelta) -> str:
    hours = width.total_seconds() / 3600
    return f"{hours:g} h" if hours >= 1 else f"{hours * 60:g} min"


def _width(path: Path, buckets: list[_Bucket]) -> timedelta:
    """How long a bucket lasts: what the rows say, else the least distance between two; a day where there is one."""
    stated = {bucket.end - bucket.begin for bucket in buckets if bucket.end is not None}
    if len(stated) == 1:
        (width,) = stated
        if width <= timedelta(0):
            raise WorkloadError(f"{path}: a row's end_time is not after its start_time")
        return width
    if len(stated) > 1:
        raise WorkloadError(f"{path}: rows cover different lengths of time ({', '.join(map(str, sorted(stated)[:3]))})")
    begins = sorted({bucket.begin for bucket in buckets})
    gaps = [later - earlier for earlier, later in pairwise(begins)]
    return min(gaps, default=timedelta(days=1))
