"""Rates of the price list: those of each hour, prompt length and batch, and what they come to for a use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rackrate.catalog.api_use import MINUTES, ApiUse, Prompts

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

Span = tuple[int, int]


@dataclass(frozen=True)
class Rates:
    """USD per 1M tokens; None where the list has no such price."""

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    cache_write_1h: float | None = None

    @property
    def full(self) -> tuple[float, float, float, float, float]:
        """What new, cached, written (minutes, an hour) and output tokens cost.

        Without a cached price, cached input costs what new input does; so does written input without a price of writes,
        and an hour's write without its own costs what a shorter one does.

        >>> Rates(input=2.0, output=8.0, cached_input=0.5, cache_write=2.5).full
        (2.0, 0.5, 2.5, 2.5, 8.0)
        """
        cached = self.input if self.cached_input is None else self.cached_input
        write = self.input if self.cache_write is None else self.cache_write
        hour = write if self.cache_write_1h is None else self.cache_write_1h
        return self.input, cached, write, hour, self.output


@dataclass(frozen=True)
class RatePart:
    """One of the several prices of an API."""

    rates: Rates
    spans: tuple[Span, ...]
    """Minutes of the day (UTC) at which it holds; all of them where the hour does not matter."""
    longer_than: int
    """It is of prompts with more input tokens than that; 0: of the shortest."""
    batch: bool
    input_share: float
    """Of the use's input tokens, the share that it is the price of."""

    @property
    def hours(self) -> str | None:
        """The hours in words; None where the price is the same all day."""
        return None if self.spans == ((0, MINUTES),) else spans_text(self.spans)


@dataclass(frozen=True)
class Effective:
    """What a use pays, and the prices that it is made of."""

    rates: Rates
    parts: tuple[RatePart, ...]
    batch: bool
    """Whether all of it is at a batch price."""


def spans_text(spans: Sequence[Span]) -> str:
    """Minutes of the day as hours.

    >>> spans_text([(60, 240), (360, 600)]), spans_text([(0, 30), (990, 1440)])
    ('01:00-04:00 and 06:00-10:00 UTC', '16:30-00:30 UTC')
    """
    joined = list(spans)
    if len(joined) > 1 and joined[0][0] == 0 and joined[-1][1] == MINUTES:
        joined = [*joined[1:-1], (joined[-1][0], joined[0][1])]
    return " and ".join(f"{_clock(begin)}-{_clock(end)}" for begin, end in joined) + " UTC"


def _clock(minute: int) -> str:
    return f"{minute // 60 % 24:02}:{minute % 60:02}"


def effective(model: ModelInfo, when: datetime, use: ApiUse, *, batch: bool = False) -> Effective | None:
    """What a use pays for a token of each kind at a date: a mean over the hours, prompt lengths and batches of the use.

    Args:
        model: of the list.
        when: the date; of the hour of day nothing is taken.
        use: when the tokens are asked for, and how long prompts are.
        batch: all requests may wait.

    Returns:
        None for models without both text prices, and for free ones.
    """
    kinds = [batch] if batch or not _waits(use) else [False, True]
    windows = [(waits, *window) for waits in kinds for window in _windows(model, when, batch=waits)]
    starts = sorted({0, *(start for _, _, price in windows for start in _starts(price))})
    if any(_rates(price, start) is None for _, _, price in windows for start in starts):
        return None
    is_batch = batch and any(price != _plain(model, when, spans[0][0]) for _, spans, price in windows)
    parts = [
        (part, weights)
        for waits, spans, price in windows
        for part, weights in _parts(price, spans, use, starts, batch=waits, apart=len(kinds) > 1)
    ]
    total = [sum(weights[kind] for _, weights in parts) for kind in range(5)]
    # a kind that the use has no token of goes by the one that it has most of
    most = max(range(5), key=lambda kind: total[kind])
    full: list[float] = []
    for kind in range(5):
        by = kind if total[kind] > 0 else most
        full.append(sum(part.rates.full[kind] * weights[by] for part, weights in parts) / total[by])
    every = [part.rates for part, _ in parts]
    mean = Rates(
        full[0],
        full[4],
        full[1] if any(each.cached_input is not None for each in every) else None,
        full[2] if any(each.cache_write is not None for each in every) else None,
        full[3] if any(each.cache_write_1h is not None for each in every) else None,
    )
    inputs = sum(sum(weights[:4]) for _, weights in parts)
    shares = [replace(part, input_share=sum(weights[:4]) / inputs if inputs else 0.0) for part, weights in parts]
    return Effective(mean, tuple(shares), is_batch)


def _waits(use: ApiUse) -> bool:
    return use.prompts is not None and bool(use.prompts.batch.any())


def _parts(
    price: ModelPrice, spans: tuple[Span, ...], use: ApiUse, starts: Sequence[int], *, batch: bool, apart: bool
) -> Iterator[tuple[RatePart, tuple[float, ...]]]:
    """Each price with the tokens of each kind that pay it: new, cached, written, written for an hour, output."""
    inside, outside = use.day.shares(spans)
    for number, start in enumerate(starts):
        rates = _rates(price, start)
        assert rates is not None  # noqa: S101 - the caller looked
        tokens = (1.0,) * 5 if number == 0 else (0.0,) * 5
        if use.prompts is not None:
            end = starts[number + 1] if number + 1 < len(starts) else None
            tokens = _tokens(use.prompts, start, end, batch if apart else None)
        yield RatePart(rates, spans, start, batch, 0.0), (*(each * inside for each in tokens[:4]), tokens[4] * outside)


def _tokens(prompts: Prompts, start: int, end: int | None, batch: bool | None) -> tuple[float, ...]:
    """Tokens of each kind in prompts of that length; all, or those that may wait or may not."""
    import numpy as np

    length = np.nan_to_num(prompts.prompt_tokens, nan=0.0)
    inside = (length > start) | (start == 0)
    if end is not None:
        inside &= length <= end
    if batch is not None:
        inside &= prompts.batch == batch
    kinds = (prompts.new, prompts.cached, prompts.written, prompts.written_1h, prompts.output)
    return tuple(float(tokens[inside].sum()) for tokens in kinds)


def _starts(price: ModelPrice) -> Iterator[int]:
    for name in _NAMES:
        yield from (tier.start for tier in getattr(getattr(price, name, None), "tiers", ()))


_NAMES = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok")


def _rates(price: ModelPrice, longer_than: int) -> Rates | None:
    values = [_rate(getattr(price, name, None), longer_than + 1 if longer_than else 0) for name in _NAMES]
    if not values[0] or not values[1]:
        return None
    return Rates(values[0], values[1], *values[2:])


def _rate(value: Any, input_tokens: int) -> float | None:
    """A plain price, or the tier that an input of that length falls in. [USD/1M token]"""
    if value is None:
        return None
    rate = getattr(value, "base", value)
    for tier in getattr(value, "tiers", ()):
        if input_tokens > tier.start:
            rate = tier.price
    return float(rate)


def _windows(model: ModelInfo, when: datetime, *, batch: bool) -> Iterator[tuple[tuple[Span, ...], ModelPrice]]:
    """The prices of a day, each with the minutes at which it holds."""
    context = {"processing": "batch"} if batch else None
    model = _in_force(model, when)
    edges = sorted({0, MINUTES, *_edges(model)})
    if len(edges) == 2:
        yield ((0, MINUTES),), model.get_prices(when, context)
        return
    midnight = when.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    found: list[tuple[list[Span], ModelPrice]] = []
    for begin, end in pairwise(edges):
        price = model.get_prices(midnight + timedelta(minutes=begin), context)
        same = next((spans for spans, other in found if other == price), None)
        if same is None:
            found.append(([(begin, end)], price))
        elif same[-1][1] == begin:
            same[-1] = (same[-1][0], end)
        else:
            same.append((begin, end))
    for spans, price in found:
        yield tuple(spans), price


def _plain(model: ModelInfo, when: datetime, minute: int) -> ModelPrice:
    """The price without batch at a minute of the day."""
    midnight = when.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return _in_force(model, when).get_prices(midnight + timedelta(minutes=minute))


def _edges(model: ModelInfo) -> Iterator[int]:
    prices = model.prices if isinstance(model.prices, list) else []
    for entry in (*prices, *(model.price_variants or ())):
        for name in ("start_time", "end_time"):
            time = getattr(entry.constraint, name, None)
            if time is not None:
                yield time.hour * 60 + time.minute


def _in_force(model: ModelInfo, when: datetime) -> ModelInfo:
    """Without hours' prices that belong to a later day: the list appends, so they follow the day they hold from."""
    if not isinstance(model.prices, list) or not any(hasattr(entry.constraint, "start_time") for entry in model.prices):
        return model
    kept: list[Any] = []
    active = True
    for entry in model.prices:
        if entry.constraint is not None and hasattr(entry.constraint, "start_date"):
            active = entry.constraint.active(when)
        if active or not hasattr(entry.constraint, "start_time"):
            kept.append(entry)
    return replace(model, prices=kept)
