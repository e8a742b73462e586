"""How traffic, a run or stated requests use an API, for prices that hang on the hour, on lengths or on batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rackrate.catalog.api_use import WHOLE_WEEK, ApiUse, DayOfUse
from rackrate.units import SECONDS_PER_HOUR
from rackrate.workload.prompt_mix import PromptMix

if TYPE_CHECKING:
    import numpy.typing as npt

    from rackrate.metrics.summary import LevelSummary
    from rackrate.runs.records import Run
    from rackrate.workload.traffic import Traffic

_SLOT_S = 900.0
"""Hours of prices begin at whole, half or quarter hours."""
_OWN_HOURS = "by the traffic's own hours"


def use_of_traffic(traffic: Traffic, *, has_hours: bool | None = None) -> ApiUse:
    """Its hours, where it says what hours they are, and what is known of its requests.

    Args:
        traffic: with tokens.
        has_hours: whether its clock means the hours of a day (a profile's do); None: as the traffic says.
    """
    known = traffic.start_known if has_hours is None else has_hours
    day = WHOLE_WEEK
    if known and traffic.utc_offset_s is not None and traffic.step_s <= SECONDS_PER_HOUR * (1 + 1e-9):
        day = DayOfUse(
            _by_slot(traffic, traffic.input_tokens), _by_slot(traffic, traffic.output_tokens), _OWN_HOURS
        )  # fmt: skip
    return ApiUse(day, traffic.prompts)


def _by_slot(traffic: Traffic, tokens: npt.NDArray[np.float64] | None) -> tuple[float, ...]:
    """Tokens by quarter of an hour of the UTC day; a longer step is spread over its quarters."""
    values = traffic.demand if tokens is None else tokens
    parts = max(1, round(traffic.step_s / _SLOT_S))
    begin = traffic.start_s - (traffic.utc_offset_s or 0.0) + np.arange(len(values)) * traffic.step_s
    slots = int(24 * SECONDS_PER_HOUR / _SLOT_S)
    sums = np.zeros(slots)
    for part in range(parts):
        middle = begin + (part + 0.5) * traffic.step_s / parts
        sums += np.bincount(np.floor(middle / _SLOT_S).astype(np.int64) % slots, values / parts, minlength=slots)
    return tuple(sums.tolist())


def use_of_requests(
    inputs: Sequence[int] | npt.NDArray[np.integer], outputs: Sequence[int] | npt.NDArray[np.integer],
    cached: Sequence[int] | npt.NDArray[np.integer] | None = None, day: DayOfUse = WHOLE_WEEK,
) -> ApiUse:  # fmt: skip
    """Single requests, asked for at hours of which nothing is known unless a day is given."""
    lengths = [np.asarray(values, dtype=np.int64) for values in (inputs, outputs)]
    read = None if cached is None else np.asarray(cached, dtype=np.int64)
    return ApiUse(day, PromptMix.of_requests(lengths[0], lengths[1], read) if len(lengths[0]) else None)


def use_of_run(run: Run, level: LevelSummary) -> ApiUse:
    """The requests of a run's level that were answered; where none were kept, all alike at their mean."""
    answered = [
        (record.input_tokens, record.output_tokens, record.cached_tokens or 0)
        for record in run.requests
        if record.level == level.index and record.ok and record.input_tokens and record.output_tokens
    ]
    if answered:
        inputs, outputs, cached = zip(*answered, strict=True)
        return use_of_requests(inputs, outputs, cached)
    if not level.mean_input_tokens:
        return ApiUse()
    mix = PromptMix.of_length(level.mean_input_tokens, level.mean_output_tokens or 0.0, level.mean_cached_tokens or 0.0)
    return ApiUse(prompts=replace(mix, exact=False))


def use_of_profile(rates: Sequence[float] | None, day: DayOfUse = WHOLE_WEEK) -> DayOfUse:
    """The day of relative rates by hour of a day (24) or a week (168), read as UTC; else the day that is given.

    >>> use_of_profile([1.0] * 23 + [2.0]).input[-2:]
    (1.0, 2.0)
    """
    if rates is None or len(rates) not in {24, 168}:
        return day
    hours = np.asarray(rates, dtype=np.float64).reshape(-1, 24).mean(axis=0)
    mean = tuple(hours.tolist())
    return DayOfUse(mean, mean, "by the profile's hours, read as UTC")
