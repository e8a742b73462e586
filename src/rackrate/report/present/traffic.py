"""Traffic: how much of it there is, when, and how long its requests are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rackrate.report.document import Column, Document, Section, Table, notes
from rackrate.report.format import count, percent, rate, span
from rackrate.schemas import costs as views

_BARS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"


def bars(values: Sequence[float | None]) -> str:
    """A line of bars from 0 to the largest value; a dot where there is none.

    >>> bars([0.0, 1.0, 2.0, None])
    ' \u2584\u2588.'
    """
    most = max((value for value in values if value is not None), default=0.0)
    return "".join("." if value is None else _BARS[round(value / most * 8)] if most else _BARS[0] for value in values)


def document(view: views.TrafficView, *, full: bool = False) -> Document:
    """What traffic is like."""
    unknown = "The source does not say at what hour it begins: it is taken as Monday 00:00."
    return Document(
        subject="traffic",
        headline=view.origin,
        sections=(
            Section(blocks=(Table((Column("traffic"), Column("value", wraps=True)), tuple(_rows(view))),)),
            Section(blocks=notes(["" if view.start_known else unknown, *(f"{note}." for note in view.notes)])),
        ),
        records=_records(view),
    )


def _rows(view: views.TrafficView) -> Iterator[tuple[str, str]]:
    yield "lasts", f"{span(view.duration_s)} in steps of {span(view.step_s)}"
    if view.requests is not None:
        yield "requests", count(view.requests)
    if view.mean_request_s is not None:
        yield "mean rate", f"{rate(view.mean_request_s)}/s ({count(view.requests_per_month)} a month)"
        yield "busiest step", f"{rate(view.peak_request_s)}/s"
    if view.peak_over_mean is not None:
        yield "peak over mean", f"{view.peak_over_mean:.2f} by step"
        yield "99 % of the time", f"below {view.p99_over_mean:.2f} x the mean"
    if view.hour_peak_over_mean is not None:
        yield "busiest hour", f"{view.hour_peak_over_mean:.2f} x the mean"
    if view.idle_share:
        yield "steps without any", percent(view.idle_share)
    for key in ("input", "output"):
        if (mean := getattr(view, f"mean_{key}_tokens")) is not None:
            lengths = getattr(view, f"{key}_lengths")
            spread = f" (p50 {lengths.p50:.0f}, p90 {lengths.p90:.0f}, p99 {lengths.p99:.0f})" if lengths else ""
            yield f"{key} tokens a request", f"{mean:.0f}{spread}"
    if view.input_tokens is not None:
        yield "input tokens", count(view.input_tokens)
    if view.cached_share is not None:
        yield "of them cached", percent(view.cached_share)
    written = (view.written_tokens or 0.0) + (view.written_1h_tokens or 0.0)
    if written and view.input_tokens:
        yield "of them written to the cache", percent(written / view.input_tokens)
    if view.output_tokens is not None:
        yield "output tokens", count(view.output_tokens)
    hours = view.by_hour_of_day
    if sum(value is not None for value in hours) > 1:
        yield f"{view.demand_is} by hour, 0 to 23", bars(hours)


def _records(view: views.TrafficView) -> Table:
    """Demand by hour of the day, for a spreadsheet."""
    rows = tuple((hour, value) for hour, value in enumerate(view.by_hour_of_day))
    return Table((Column("hour_of_day"), Column(f"{view.demand_is}_over_mean")), rows)
