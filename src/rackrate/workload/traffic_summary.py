"""What traffic is like: rates, peaks, lengths and the mean day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rackrate.units import SECONDS_PER_HOUR
from rackrate.workload.traffic import MONTH_S, LengthQuantiles, Traffic


@dataclass(frozen=True)
class TrafficSummary:
    """What traffic is like. Rates are per second; None where it is not known."""

    step_s: float
    steps: int
    duration_s: float
    requests: float | None
    input_tokens: float | None
    cached_tokens: float | None
    output_tokens: float | None
    mean_request_s: float | None
    peak_request_s: float | None
    """Mean rate of the busiest step."""
    peak_over_mean: float | None
    p99_over_mean: float | None
    """The rate below which the fleet is asked for 99 % of the time, over the mean."""
    hour_peak_over_mean: float | None
    """The busiest whole hour over the mean; None where the traffic is shorter than an hour."""
    idle_share: float
    """Share of the steps without any request."""
    mean_input_tokens: float | None
    mean_output_tokens: float | None
    cached_share: float | None
    input_lengths: LengthQuantiles | None
    output_lengths: LengthQuantiles | None
    by_hour_of_day: tuple[float | None, ...]
    """Mean demand of each hour of the day over the mean of all; None where no step began in it."""
    demand_is: str
    """requests or output tokens: what peaks and profiles are of."""
    origin: str
    start_known: bool
    notes: tuple[str, ...]
    written_tokens: float | None = None
    """Input tokens that were written to an API's cache for some minutes; None where nobody counted them."""
    written_1h_tokens: float | None = None
    """For an hour."""

    @property
    def requests_per_month(self) -> float | None:
        """At the mean rate, in 730 hours."""
        return None if self.mean_request_s is None else self.mean_request_s * MONTH_S


def summarised(traffic: Traffic) -> TrafficSummary:
    """Rates, peaks, lengths and the mean day.

    >>> from rackrate.workload.traffic import Profile, steady, tiled
    >>> day = tiled(steady(2, 86400), 86400, Profile.of([0.0] * 12 + [2.0] * 12))
    >>> seen = summarised(day)
    >>> seen.mean_request_s, seen.peak_over_mean, seen.idle_share
    (2.0, 2.0, 0.5)
    """
    demand = traffic.demand
    mean = float(demand.mean())
    requests, given = traffic.total("requests"), traffic.total("input_tokens")
    out, cached = traffic.total("output_tokens"), traffic.total("cached_tokens")
    hours = traffic.hours_of_day()
    counts = np.bincount(hours, minlength=24)
    sums = np.bincount(hours, demand, minlength=24)
    shown = [float(s / c / mean) if c and mean else None for s, c in zip(sums, counts, strict=True)]
    per_hour = round(SECONDS_PER_HOUR / traffic.step_s)
    hour_peak = None
    if mean and per_hour >= 1 and len(demand) >= per_hour and abs(per_hour * traffic.step_s - SECONDS_PER_HOUR) < 1e-6:
        sliding = np.cumsum(np.concatenate(([0.0], demand)))
        hour_peak = float((sliding[per_hour:] - sliding[:-per_hour]).max() / per_hour / mean)
    return TrafficSummary(
        step_s=traffic.step_s,
        steps=len(traffic),
        duration_s=traffic.duration_s,
        requests=requests,
        input_tokens=given,
        cached_tokens=cached,
        output_tokens=out,
        mean_request_s=None if requests is None else requests / traffic.duration_s,
        peak_request_s=None if traffic.requests is None else float(traffic.requests.max()) / traffic.step_s,
        peak_over_mean=float(demand.max()) / mean if mean else None,
        p99_over_mean=float(np.quantile(demand, 0.99)) / mean if mean else None,
        hour_peak_over_mean=hour_peak,
        idle_share=float((demand == 0).mean()),
        mean_input_tokens=given / requests if given is not None and requests else None,
        mean_output_tokens=out / requests if out is not None and requests else None,
        cached_share=cached / given if cached is not None and given else None,
        input_lengths=traffic.input_lengths,
        output_lengths=traffic.output_lengths,
        by_hour_of_day=tuple(shown) if traffic.step_s <= SECONDS_PER_HOUR + 1e-6 else (None,) * 24,
        demand_is="requests" if traffic.requests is not None else "output tokens",
        origin=traffic.origin,
        start_known=traffic.start_known,
        notes=traffic.notes,
        written_tokens=traffic.total("written_tokens"),
        written_1h_tokens=traffic.total("written_1h_tokens"),
    )
