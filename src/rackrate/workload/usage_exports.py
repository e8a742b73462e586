"""An API's usage export as traffic: the bill that a team has already is the best forecast of what it will ask for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np

from rackrate.errors import WorkloadError
from rackrate.files import read_bytes
from rackrate.workload.csv_rows import MOST, csv_number, csv_rows, first_of
from rackrate.workload.prompt_mix import PromptMix
from rackrate.workload.traffic import MOST_STEPS, Traffic
from rackrate.workload.usage_format import Bucket, is_batch, longer_than, utc_moment
from rackrate.workload.usage_formats import KNOWN_EXPORTS, usage_layout, usage_pages

_MOST_BYTES = 1 << 30
"""Of an answer of a usage API: a year by the minute has some 0.3 GB."""

_WIDTHS = (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1))


def read_usage(path: Path, columns: Sequence[str], model: str | None) -> Traffic:
    """The CSV that a usage page exports; only rows whose model contains `model` where one is named.

    Raises:
        WorkloadError: with file, line and column.
    """
    layout = usage_layout(columns)
    assert layout is not None  # noqa: S101 - the caller has looked
    requests = first_of(layout.requests, columns)
    cached = first_of(layout.cached, columns)
    written, written_1h = first_of(layout.written, columns), first_of(layout.written_1h, columns)
    batch, context = first_of(layout.batch, columns), first_of(layout.context, columns)
    model_column = first_of(layout.model, columns)
    inputs = [name for name in layout.input_all if name in columns]
    if tuple(columns) == layout.empty:
        raise WorkloadError(f"{path}: this {layout.name} has no usage in it: nothing was asked for in its time")
    if not inputs:
        raise WorkloadError(f"{path}:1: no column {layout.input_all[0]}; this looks like an {layout.name}")
    buckets: list[Bucket] = []
    models: set[str] = set()
    for line, row in csv_rows(path, columns):
        if row[layout.begin or ""].strip().lower() in {"total", "grand total"}:
            continue  # of the rows above it
        name = row.get(model_column or "", "")
        models.add(name)
        begin = _moment(path, line, row, layout.begin)
        end = _moment(path, line, row, layout.end) if layout.end in columns and row[layout.end or ""] else None
        if end is not None and end <= begin:
            raise WorkloadError(f"{path}:{line}: column {layout.end}: the row ends before it begins")
        if model is not None and model.lower() not in name.lower():
            buckets.append(Bucket(begin, end, 0.0, 0.0, 0.0, 0.0))  # its time is still part of the export
            continue
        bucket = Bucket(
            begin,
            end,
            None if requests is None else csv_number(path, line, row, requests, empty=0.0),
            sum(csv_number(path, line, row, source, empty=0.0) for source in inputs),
            None if cached is None else csv_number(path, line, row, cached, empty=0.0),
            sum(csv_number(path, line, row, item, empty=0.0) for item in layout.output),
            line,
            0.0 if written is None else csv_number(path, line, row, written, empty=0.0),
            0.0 if written_1h is None else csv_number(path, line, row, written_1h, empty=0.0),
            batch is not None and is_batch(row[batch]),
            None if context is None else longer_than(row[context]),
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
    """The answer of a usage API (one page, or a list of them): OpenAI's, Anthropic's or OpenRouter's.

    Raises:
        WorkloadError: it is none.
    """
    import orjson

    try:
        pages: Any = orjson.loads(read_bytes(path, _MOST_BYTES))
    except orjson.JSONDecodeError as error:
        raise WorkloadError(f"{path}:{error.lineno}:{error.colno}: not JSON ({error.msg})") from None
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be read ({error.strerror or error})") from None
    refused = f"{path}: is not the answer of a usage API; known are exports of {KNOWN_EXPORTS}"
    listed = cast("list[Any]", pages if isinstance(pages, list) else [pages])
    try:
        entries: list[dict[str, Any]] = [item for page in listed for item in page["data"]]
        known = usage_pages(entries[0]) if entries else None
    except (KeyError, TypeError):
        raise WorkloadError(refused) from None
    if not entries:
        raise WorkloadError(f"{path}: has no buckets of usage: nothing was asked for in its time")
    if known is None:
        raise WorkloadError(refused)
    buckets: list[Bucket] = []
    models: set[str] = set()
    try:
        for name, bucket in (row for entry in entries for row in known.rows(entry)):
            models.add(name)
            if model is not None and model.lower() not in name.lower():
                requests = 0.0 if known.has_requests else None
                buckets.append(Bucket(bucket.begin, bucket.end, requests, 0.0, 0.0, 0.0))  # its time is part of it
            else:
                buckets.append(bucket)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise WorkloadError(
            f"{path}: is not the answer of {known.name}: data[] of entries with {known.shape} "
            f"({type(error).__name__}: {error})"
        ) from None
    if any(min(bucket.requests or 0, bucket.input, bucket.cached or 0, bucket.output) < 0 for bucket in buckets):
        raise WorkloadError(f"{path}: a number of requests or tokens is negative")
    if any((bucket.cached or 0) + bucket.written + bucket.written_1h > bucket.input for bucket in buckets):
        raise WorkloadError(
            f"{path}: there are more {known.cached_key} than {known.input_key}, which have them in them"
        )
    if any(max(bucket.requests or 0, bucket.input, bucket.output) > MOST for bucket in buckets):
        raise WorkloadError(f"{path}: a number of requests or tokens is more than can be meant")
    return _of_buckets(
        path, known.name, buckets, models, model, has_requests=known.has_requests, has_cached=bool(known.cached_key)
    )


def _moment(path: Path, line: int, row: dict[str, str], column: str | None) -> datetime:
    """A date, a date and time (UTC where it names no zone), or seconds or milliseconds since 1970."""
    text = row[column or ""].strip()
    try:
        if re.fullmatch(r"\d{9,11}(\.\d*)?", text):
            return datetime.fromtimestamp(float(text), UTC)
        if re.fullmatch(r"\d{12,14}", text):
            return datetime.fromtimestamp(float(text) / 1000, UTC)
        return utc_moment(text)
    except (ValueError, OverflowError, OSError):
        raise WorkloadError(f"{path}:{line}: column {column}: {text or 'nothing'} is not a date or a time") from None


def _of_buckets(
    path: Path,
    kind: str,
    buckets: list[Bucket],
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
    series = np.zeros((6, steps))
    for bucket in buckets:
        at = (bucket.begin - first) / width
        if abs(at - round(at)) > 1e-6:
            place = f"{path}:{bucket.line}" if bucket.line is not None else str(path)
            raise WorkloadError(
                f"{place}: {bucket.begin:%Y-%m-%d %H:%M:%S} is not a whole number of steps of {_hours(width)} after "
                f"the first row, {first:%Y-%m-%d %H:%M:%S}"
            )
        series[:, round(at)] += (
            bucket.requests or 0.0, bucket.input, bucket.cached or 0.0, bucket.output, bucket.written,
            bucket.written_1h,
        )  # fmt: skip
    step_s = width.total_seconds()
    notes = [f"times are UTC; one row covers {step_s / 3600:g} h, bursts within it are not seen"]
    empty = steps - len({bucket.begin for bucket in buckets})
    if empty:
        notes.append(f"{empty:,} of {steps:,} times of {_hours(width)} have no row: nothing was asked for in them")
    if not series[:4].any():
        raise WorkloadError(f"{path}: nothing was asked for in its time: all requests and tokens are 0")
    if len([name for name in models if name]) > 1 and model is None:
        notes.append(f"all models together ({known})")
    if not has_requests:
        notes.append("the export has no number of requests: rates are of tokens")
    mix = _mix(buckets)
    if series[4:].any():
        notes.append(
            f"{series[4].sum():,.0f} input tokens were written to the API's cache for minutes, {series[5].sum():,.0f} "
            "for an hour: it bills them as writes"
        )
    if mix.batch_share:
        notes.append(f"{mix.batch_share:.0%} of the tokens are of batches, which an API sells for less")
    midnight = datetime.combine(first.date() - timedelta(days=first.weekday()), datetime.min.time(), first.tzinfo)
    return Traffic(
        step_s=step_s,
        requests=series[0] if has_requests else None,
        input_tokens=series[1],
        cached_tokens=np.minimum(series[2], series[1]) if has_cached else None,
        output_tokens=series[3],
        written_tokens=series[4] if series[4].any() else None,
        written_1h_tokens=series[5] if series[5].any() else None,
        prompts=mix,
        start_s=(first - midnight).total_seconds(),
        start_known=True,
        until_s=max(bucket.begin for bucket in buckets).timestamp(),
        origin=f"{kind}: {path.name}, {first:%Y-%m-%d} to {max(bucket.begin for bucket in buckets):%Y-%m-%d}"
        + (f", model {model}" if model else ""),
        notes=tuple(notes),
    )


def _mix(buckets: Sequence[Bucket]) -> PromptMix:
    """Each row a class of its own: what it says of the length of its requests is their mean, at best."""
    used = [bucket for bucket in buckets if bucket.input or bucket.output]
    rows = np.array(
        [
            (
                _length(item), item.input - (item.cached or 0.0) - item.written - item.written_1h, item.cached or 0.0,
                item.written, item.written_1h, item.output,
            )
            for item in used
        ]
    ).reshape(-1, 6)  # fmt: skip
    batch = np.array([item.batch for item in used], dtype=np.bool_)
    return PromptMix(rows[:, 0], batch, np.maximum(rows[:, 1], 0.0), *rows[:, 2:].T, exact=False)


def _length(bucket: Bucket) -> float:
    mean = bucket.input / bucket.requests if bucket.requests else float("nan")
    if bucket.longer_than is None:
        return mean
    return mean if mean > bucket.longer_than else bucket.longer_than + 1


def _hours(width: timedelta) -> str:
    hours = width.total_seconds() / 3600
    return f"{hours:g} h" if hours >= 1 else f"{hours * 60:g} min"


def _width(path: Path, buckets: list[Bucket]) -> timedelta:
    """How long a bucket lasts: what the rows say, else the longest of a day, an hour and a minute that goes with all.

    Usage APIs and pages have buckets of these lengths alone (OpenAI's `bucket_width`, Anthropic's), and leave out those
    without usage: the distance between two rows says nothing. Days of another time zone than UTC are days, too.
    """
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
    fitting = (width for width in _WIDTHS if not any(gap % width for gap in gaps))
    return next(fitting, min(gaps, default=_WIDTHS[0]))
