"""API prices: the package genai-prices (dated, offline), with the user's own prices laid over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any

from rackrate.catalog.load import Catalog
from rackrate.catalog.types import Model
from rackrate.errors import CatalogError, did_you_mean
from rackrate.files.yaml import read_yaml
from rackrate.units import PER_MILLION

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

    from rackrate.units import Numbers


@dataclass(frozen=True)
class ApiPrice:
    """What an API charges, USD per 1M tokens, at a date."""

    provider: str
    model: str
    name: str
    input_usd_per_1m: float
    output_usd_per_1m: float
    cached_input_usd_per_1m: float | None
    source: str
    date: str
    """Release date of the price list (or of the user's entry), YYYY-MM-DD."""
    note: str | None = None
    since: str | None = None
    """From when the list says this price holds, YYYY-MM-DD; None: it does not say."""
    batch: bool = False
    """Whether it is the price of requests that may wait (half, with most who offer it)."""
    tokens_per_minute: float | None = None
    """What the seller allows, where the user has stated it; price lists do not."""
    requests_per_minute: float | None = None

    @property
    def ref(self) -> str:
        """provider/model, the name that `--api` takes."""
        return f"{self.provider}/{self.model}"

    def bill_usd(self, input_tokens: float, output_tokens: float, cached_tokens: float = 0.0) -> float:
        """What these tokens cost; `input_tokens` includes the cached ones, as `usage.prompt_tokens` does. [USD]

        >>> gpt = ApiPrice("openai", "gpt-3.5-turbo", "GPT-3.5", 0.5, 1.5, None, "list", "2026-11-10")
        >>> gpt.bill_usd(input_tokens=500_000, output_tokens=500_000)
        1.0
        """
        tokens = (input_tokens - cached_tokens, cached_tokens, output_tokens)
        return float(bill_usd(tokens, (self.input_usd_per_1m, self.cached_input_usd_per_1m, self.output_usd_per_1m)))


def bill_usd(tokens: tuple[Numbers, Numbers, Numbers], usd_per_1m: tuple[Numbers, Numbers | None, Numbers]) -> Numbers:
    """What new input, cached input and output tokens cost at their prices. [USD]

    Without a cached price, cached tokens cost what new ones do.

    >>> bill_usd((500_000, 500_000, 1_000_000), (0.5, None, 1.5)), bill_usd((500_000, 500_000, 0), (0.5, 0.1, 1.5))
    (2.0, 0.3)
    """
    new, cached, output = tokens
    new_price, cached_price, output_price = usd_per_1m
    if cached_price is None:
        cached_price = new_price
    return (new * new_price + cached * cached_price + output * output_price) / PER_MILLION


@cache
def price_list_origin() -> tuple[str, str]:
    """The installed price list: its name with version, and its release date (or "unknown")."""
    version = metadata.version("genai-prices")
    with resources.as_file(resources.files("rackrate.catalog") / "data" / "api_prices_release.yaml") as file:
        pinned: dict[str, str] = read_yaml(file)
    released = pinned["released"] if pinned["version"] == version else "unknown"
    return f"genai-prices {version}", released


def list_apis(catalog: Catalog, when: datetime | None = None) -> list[ApiPrice]:
    """Every text model with an input and an output price, the user's own first."""
    when = when or datetime.now(UTC)
    listed = [_of_user(entry) for entry in catalog.apis.values()]
    mine = {price.ref for price in listed}
    for provider, model in _known():
        price = _price(provider, model, when)
        if price is not None and price.ref not in mine:
            listed.append(price)
    return listed


def api_price(
    name: str, catalog: Catalog, when: datetime | None = None, input_tokens: int = 0, *, batch: bool = False
) -> ApiPrice:
    """The price of `provider/model`, or of a model's name alone if one provider is its maker or only seller.

    Args:
        name: as `rackrate catalog apis` prints it; gpt-3.5-turbo is short for openai/gpt-3.5-turbo.
        catalog: holds the user's own prices.
        when: the moment whose price is asked for; now by default.
        input_tokens: length of a request's input, for models whose price depends on it.
        batch: the price of requests that may wait, where the list has one; `batch` of the answer says whether.

    Raises:
        CatalogError: unknown or ambiguous; the sentence has the nearest names.
    """
    when = when or datetime.now(UTC)
    for entry in catalog.apis.values():
        if name.lower() in {entry.id.lower(), f"{entry.provider}/{entry.model}".lower()}:
            return _of_user(entry)
    exact = [pair for pair in _known() if f"{pair[0].id}/{pair[1].id}".lower() == name.lower()]
    if not exact:
        exact = [pair for pair in _known() if pair[1].id.lower() == name.lower()]
        makers = [pair for pair in exact if pair[0].id in _MAKERS]
        exact = makers or exact
    priced = [price for pair in exact if (price := _price(*pair, when, input_tokens, batch=batch)) is not None]
    if len(priced) == 1:
        return priced[0]
    if priced:
        refs = ", ".join(price.ref for price in priced[:6])
        raise CatalogError(f"{name!r} is sold by {len(priced)} providers: say which one ({refs})")
    # a whole reference may be misspelt, or a bare model name: compare like with like
    listed = list_apis(catalog)
    names = [price.ref for price in listed] if "/" in name else [p.model for p in listed if p.provider in _MAKERS]
    hint = did_you_mean(name, names)
    raise CatalogError(f"no API price for {name!r}{hint} (`rackrate catalog apis WORD` searches them)")


def apis_of_model(
    model: Model | None, catalog: Catalog, when: datetime | None = None, *, batch: bool = False
) -> list[ApiPrice]:
    """Who sells this very open model, cheapest input + output first; the user's own prices included."""
    if model is None:
        return []
    when = when or datetime.now(UTC)
    found = [_of_user(entry) for entry in catalog.apis.values() if entry.same_as in {model.id, *model.aliases}]
    wanted = {(api.provider, api.model) for api in model.apis}
    for provider, info in _known():
        if (provider.id, info.id) in wanted:
            price = _price(provider, info, when, batch=batch)
            if price is not None:
                found.append(price)
    return sorted(found, key=lambda price: price.input_usd_per_1m + price.output_usd_per_1m)


DEFAULT_APIS = ("openai/gpt-3.5-turbo", "openai/gpt-6-luna")
"""Compared with where the user names none: the article's own, and a current small one."""


def chosen_apis(
    model: Model | None, catalog: Catalog, names: Sequence[str] = (), *, when: datetime | None = None,
    input_tokens: float | None = None, batch: bool = False, sellers: int | None = None,
) -> list[tuple[ApiPrice, bool]]:  # fmt: skip
    """The API prices that a machine is set against: who sells this very model, then those that are named.

    Args:
        model: what is served; None: not in the catalogue, so that nobody is known to sell it.
        catalog: holds the user's own prices.
        names: as the user names them; none: two well-known ones.
        when: the moment whose prices are asked for; None: now.
        input_tokens: mean length of a request's input, for named models whose price depends on it.
        batch: prices of requests that may wait, where the list has them.
        sellers: so many of the same model, the cheapest; None: all.

    Returns:
        Each price once, with whether it is of the very model served.

    Raises:
        CatalogError: a name is unknown or ambiguous.
    """
    same = apis_of_model(model, catalog, when, batch=batch)[:sellers]
    chosen = [(price, True) for price in same]
    refs = {price.ref for price in same}
    for name in names or DEFAULT_APIS:
        price = api_price(name, catalog, when, int(input_tokens or 0), batch=batch)
        if price.ref not in refs:
            refs.add(price.ref)
            chosen.append((price, False))
    return chosen


_MAKERS = ("openai", "anthropic", "google", "mistral", "deepseek", "x-ai", "cohere", "moonshotai", "zai", "meta")
"""Providers that sell models of their own: a bare model name means the maker's."""


@cache
def _providers() -> list[Provider]:
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot().providers


def _known() -> Iterator[tuple[Provider, ModelInfo]]:
    for provider in _providers():
        for model in provider.models:
            yield provider, model


def _rate(value: Any, input_tokens: int) -> float | None:
    """A plain price, or the tier that an input of that length falls in. [USD/1M token]"""
    if value is None:
        return None
    tiers: Iterable[Any] = getattr(value, "tiers", ())
    rate = getattr(value, "base", value)
    for tier in tiers:
        if input_tokens > tier.start:
            rate = tier.price
    return float(rate)


def _price(
    provider: Provider, model: ModelInfo, when: datetime, input_tokens: int = 0, *, batch: bool = False
) -> ApiPrice | None:
    """The price at a moment; None for models without both text prices, and for free tiers."""
    prices = model.get_prices(when, {"processing": "batch"} if batch else None)
    is_batch = batch and prices != model.get_prices(when)
    input_rate = _rate(getattr(prices, "input_mtok", None), input_tokens)
    output_rate = _rate(getattr(prices, "output_mtok", None), input_tokens)
    if not input_rate or not output_rate:
        return None
    source, released = price_list_origin()
    return ApiPrice(
        provider=provider.id,
        model=model.id,
        name=model.name or model.id,
        input_usd_per_1m=input_rate,
        output_usd_per_1m=output_rate,
        cached_input_usd_per_1m=_rate(getattr(prices, "cache_read_mtok", None), input_tokens),
        source=source,
        date=released,
        note="deprecated by its provider" if model.deprecated else None,
        since=_since(model, when),
        batch=is_batch,
    )


def _since(model: ModelInfo, when: datetime) -> str | None:
    """The day from which the price that holds at a moment holds, where the list dates it."""
    if not isinstance(model.prices, list):
        return None
    for conditional in reversed(model.prices):
        if conditional.constraint is None:
            return None
        if conditional.constraint.active(when):
            start = getattr(conditional.constraint, "start_date", None)
            return start.isoformat() if start is not None else None
    return None


def _of_user(entry: Any) -> ApiPrice:
    return ApiPrice(
        provider=entry.provider,
        model=entry.model,
        name=entry.id,
        input_usd_per_1m=entry.input_usd_per_1m,
        output_usd_per_1m=entry.output_usd_per_1m,
        cached_input_usd_per_1m=entry.cached_input_usd_per_1m,
        source=entry.sources[0].source,
        date=entry.sources[0].date,
        note="your own price",
        tokens_per_minute=entry.tokens_per_minute,
        requests_per_minute=entry.requests_per_minute,
    )
