"""The price of an API for a use, what tokens cost at it, and what must be said of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rackrate.catalog.api_rates import Effective, RatePart, Rates
from rackrate.catalog.api_status import LIVE, ApiStatus
from rackrate.catalog.api_use import ApiUse, Prompts
from rackrate.units import PER_MILLION

if TYPE_CHECKING:
    from rackrate.units import Numbers


@dataclass(frozen=True)
class ApiPrice:
    """What an API charges, USD per 1M tokens, at a date: of a price that varies, the mean for a use."""

    provider: str
    model: str
    name: str
    input_usd_per_1m: float
    output_usd_per_1m: float
    cached_input_usd_per_1m: float | None
    """None: cached input costs what new input does."""
    source: str
    date: str
    """Release date of the price list (or of the user's entry), YYYY-MM-DD."""
    note: str | None = None
    """What must be said of it: whether it is still sold, by which hours and lengths it is weighed."""
    since: str | None = None
    """From when the list says this price holds, YYYY-MM-DD; None: it does not say."""
    batch: bool = False
    """Whether it is the price of requests that may wait (half, with most who offer it)."""
    tokens_per_minute: float | None = None
    """What the seller allows, where the user has stated it; price lists do not."""
    requests_per_minute: float | None = None
    cache_write_usd_per_1m: float | None = None
    """Of input that is written to the cache for some minutes; None: it costs what new input does."""
    cache_write_1h_usd_per_1m: float | None = None
    """Of input that is written to the cache for an hour; None: as for minutes."""
    parts: tuple[RatePart, ...] = ()
    """The listed prices that it is the mean of, where there are several."""
    status: ApiStatus = LIVE
    own: bool = False
    """The user's own price."""

    @property
    def ref(self) -> str:
        """provider/model, the name that `--api` takes."""
        return f"{self.provider}/{self.model}"

    @property
    def rates(self) -> Rates:
        """All prices."""
        return Rates(
            self.input_usd_per_1m, self.output_usd_per_1m, self.cached_input_usd_per_1m, self.cache_write_usd_per_1m,
            self.cache_write_1h_usd_per_1m,
        )  # fmt: skip

    def bill_usd(
        self, input_tokens: float, output_tokens: float, cached_tokens: float = 0.0, written_tokens: float = 0.0,
        written_1h_tokens: float = 0.0,
    ) -> float:  # fmt: skip
        """What these tokens cost; `input_tokens` has the cached and the written ones in it. [USD]

        >>> gpt = ApiPrice("openai", "gpt-3.5-turbo", "GPT-3.5", 0.5, 1.5, None, "list", "2026-11-10")
        >>> gpt.bill_usd(input_tokens=500_000, output_tokens=500_000)
        1.0
        >>> claude = ApiPrice("a", "c", "C", 4.0, 20.0, 0.2, "list", "2026", cache_write_usd_per_1m=5.0)
        >>> claude.bill_usd(input_tokens=3_000_000, output_tokens=0, cached_tokens=1_000_000, written_tokens=1_000_000)
        9.2
        """
        new = input_tokens - cached_tokens - written_tokens - written_1h_tokens
        tokens = (new, cached_tokens, written_tokens, written_1h_tokens, output_tokens)
        return float(bill_usd(tokens, self.rates.full))

    def usd_of(self, use: ApiUse) -> float:
        """What the use's own tokens cost, to rank by; input and output alike where they are not known."""
        prompts = use.prompts
        if prompts is None or not (prompts.new.any() or prompts.output.any()):
            return self.input_usd_per_1m + self.output_usd_per_1m
        return float(bill_usd(_sums(prompts), self.rates.full))


def _sums(prompts: Prompts) -> tuple[float, float, float, float, float]:
    return (
        float(prompts.new.sum()), float(prompts.cached.sum()), float(prompts.written.sum()),
        float(prompts.written_1h.sum()), float(prompts.output.sum()),
    )  # fmt: skip


def bill_usd(
    tokens: tuple[Numbers, Numbers, Numbers, Numbers, Numbers],
    usd_per_1m: tuple[Numbers, Numbers, Numbers, Numbers, Numbers],
) -> Numbers:
    """What new, cached, written (for minutes, for an hour) and output tokens cost at their prices. [USD]

    >>> bill_usd((500_000, 500_000, 0, 0, 1_000_000), (0.5, 0.1, 0.5, 0.5, 1.5))
    1.8
    """
    total: Numbers = 0.0
    for amount, price in zip(tokens, usd_per_1m, strict=True):
        total = total + amount * price
    return total / PER_MILLION


def notes_of(found: Effective, use: ApiUse, *, batch: bool = False) -> Iterator[str]:
    """What must be said of a price, in parts of a sentence."""
    parts, prompts = found.parts, use.prompts
    hours = _by_hours(parts)
    if hours:
        yield f"{hours}, weighed {use.day.origin}"
    yield from _by_length(parts, prompts)
    if not batch and any(part.batch for part in parts):
        standard, waiting = ([part for part in parts if part.batch is waits] for waits in (False, True))
        share = sum(part.input_share for part in waiting)
        same = {part.rates for part in waiting} == {part.rates for part in standard}
        yield (
            "no batch price is listed: batches cost what other requests do"
            if same
            else (f"{share:.0%} of the input in batches, at {_prices(waiting[0].rates)}")
        )
    if prompts is not None:
        yield from _of_cache(found.rates, prompts)


def _by_hours(parts: tuple[RatePart, ...]) -> str | None:
    """The prices of the hours, of short prompts."""
    first = [part for part in parts if part.longer_than == 0 and part.batch == parts[0].batch]
    if len(first) < 2:
        return None
    return "by the hour: " + ", ".join(f"{_prices(part.rates)} at {part.hours}" for part in first)


def _by_length(parts: tuple[RatePart, ...], prompts: Prompts | None) -> Iterator[str]:
    first = parts[0]
    same_hour = [part for part in parts if part.spans == first.spans and part.batch == first.batch]
    for part in same_hour[1:]:
        share = sum(each.input_share for each in parts if each.longer_than == part.longer_than)
        unknown = 1.0 if prompts is None else _unknown_share(prompts)
        said = f"prompts over {part.longer_than:,} tokens cost {_prices(part.rates)}"
        if unknown < 1:
            how = "" if prompts is None or prompts.exact else ", by mean lengths"
            said += f": {share:.0%} of the input here{how}"
        if unknown > 0:
            which = "they are" if unknown == 1 else f"the prompts of {unknown:.0%} of the input are"
            said += f": how long {which} is not known, shorter prompts are taken"
        yield said


def _unknown_share(prompts: Prompts) -> float:
    """The share of the input in requests of which nobody says how long they are."""
    inputs = prompts.new + prompts.cached + prompts.written + prompts.written_1h
    total = float(inputs.sum())
    return float(inputs[prompts.prompt_tokens != prompts.prompt_tokens].sum()) / total if total else 0.0


def _of_cache(rates: Rates, prompts: Prompts) -> Iterator[str]:
    new, cached, written, hour, _ = _sums(prompts)
    if cached and rates.cached_input is None:
        yield "no cached price is listed: cached input costs what new input does"
    if written + hour and rates.cache_write is None:
        yield "no price of cache writes is listed: they cost what new input does"
    elif cached and not written + hour and rates.cache_write is not None and rates.cache_write > rates.input:
        yield (
            "cache writes are not known and none is billed: written input costs "
            f"{rates.cache_write / rates.input:.3g} x new input, and at most the {new / (new + cached):.0%} of the "
            "input that is new is written"
        )


def _prices(rates: Rates) -> str:
    return f"${rates.input:.4g} in, ${rates.output:.4g} out"
