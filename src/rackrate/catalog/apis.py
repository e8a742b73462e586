"""API prices: the package genai-prices (dated, offline), with the user's own prices laid over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any, NamedTuple

from rackrate.catalog.api_price import ApiPrice, notes_of
from rackrate.catalog.api_rates import Effective, effective
from rackrate.catalog.api_status import api_status
from rackrate.catalog.api_use import ANY_USE, ApiUse
from rackrate.catalog.documents import read_yaml
from rackrate.catalog.load import Catalog
from rackrate.catalog.types import Model
from rackrate.errors import CatalogError, did_you_mean

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

__all__ = ["DEFAULT_APIS", "ApiPrice", "Chosen", "api_price", "apis_of_model", "chosen_apis", "list_apis",
           "price_list_origin"]  # fmt: skip


@cache
def price_list_origin() -> tuple[str, str]:
    """The installed price list: its name with version, and its release date (or "unknown")."""
    version = metadata.version("genai-prices")
    with resources.as_file(resources.files("rackrate.catalog") / "data" / "api_prices_release.yaml") as file:
        pinned: dict[str, str] = read_yaml(file)
    released = pinned["released"] if pinned["version"] == version else "unknown"
    return f"genai-prices {version}", released


def list_apis(catalog: Catalog, when: datetime | None = None) -> list[ApiPrice]:
    """Every text model with an input and an output price, the user's own first; what is no longer sold is marked."""
    when = when or datetime.now(UTC)
    listed = [_of_user(entry) for entry in catalog.apis.values()]
    mine = {price.ref for price in listed}
    for provider, model in _known():
        price = _price(provider, model, when)
        if price is not None and price.ref not in mine:
            listed.append(price)
    return listed


def api_price(
    name: str, catalog: Catalog, when: datetime | None = None, use: ApiUse = ANY_USE, *, batch: bool = False
) -> ApiPrice:
    """The price of `provider/model`, or of a model's name alone if one provider is its maker or only seller.

    Args:
        name: as `rackrate catalog apis` prints it; gpt-3.5-turbo is short for openai/gpt-3.5-turbo.
        catalog: holds the user's own prices.
        when: the day whose price is asked for; today by default.
        use: hours of the day and lengths of prompts, for prices that depend on them.
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
    priced = [price for pair in exact if (price := _price(*pair, when, use, batch=batch)) is not None]
    if len(priced) == 1:
        return priced[0]
    if priced:
        refs = ", ".join(price.ref for price in priced[:6])
        raise CatalogError(f"{name!r} is sold by {len(priced)} providers: say which one ({refs})")
    # a whole reference may be misspelt, or a bare model name: compare like with like
    listed = list_apis(catalog)
    names = [price.ref for price in listed] if "/" in name else [p.model for p in listed if p.provider in _MAKERS]
    hint = did_you_mean(name, names)
    raise CatalogError(f"no API price for {name!r}{hint} (`{{catalog}} apis WORD` searches them)", field="catalog")


def apis_of_model(
    model: Model | None, catalog: Catalog, when: datetime | None = None, use: ApiUse = ANY_USE, *, batch: bool = False
) -> list[ApiPrice]:
    """Who sells this very open model at that date, cheapest first; the user's own prices included.

    Who no longer sells it is left out, and so is who has deprecated it, where anybody else sells it.
    """
    if model is None:
        return []
    when = when or datetime.now(UTC)
    found = [_of_user(entry) for entry in catalog.apis.values() if entry.same_as in {model.id, *model.aliases}]
    wanted = {(api.provider, api.model) for api in model.apis}
    for provider, info in _known():
        if (provider.id, info.id) in wanted:
            price = _price(provider, info, when, use, batch=batch)
            if price is not None:
                found.append(price)
    sold = [price for price in found if price.status.status != "ended"]
    live = [price for price in sold if price.status.status == "live"]
    return sorted(live or sold, key=lambda price: price.usd_of(use))


DEFAULT_APIS = ("openai/gpt-6-luna", "google/gemini-3.8-flash")
"""Compared with where the user names none: the small current models of two makers. Both must be sold today."""


class Chosen(NamedTuple):
    """An API that something is set against."""

    price: ApiPrice
    same_model: bool
    """Whether it sells the very model that is served."""


def chosen_apis(
    model: Model | None, catalog: Catalog, names: Sequence[str] | None = (), *, when: datetime | None = None,
    use: ApiUse = ANY_USE, batch: bool = False, sellers: int | None = None,
) -> list[Chosen]:  # fmt: skip
    """The API prices that a machine is set against: who sells this very model, then those that are named.

    This is the one place that says which prices apply.

    Args:
        model: what is served; None: not in the catalogue, so that nobody is known to sell it.
        catalog: holds the user's own prices.
        names: as the user names them; empty: two well-known ones; None: no others.
        when: the day whose prices are asked for; None: today.
        use: when tokens are asked for and how long prompts are.
        batch: prices of requests that may wait, where the list has them.
        sellers: so many of the same model, the cheapest; None: all.

    Returns:
        Each price once. What is named is there whether it is still sold or not, and marked.

    Raises:
        CatalogError: a name is unknown or ambiguous.
    """
    everyone = apis_of_model(model, catalog, when, use, batch=batch)
    known = {price.ref for price in everyone}
    chosen = [Chosen(price, same_model=True) for price in everyone[:sellers]]
    refs = {each.price.ref for each in chosen}
    for name in () if names is None else names or DEFAULT_APIS:
        price = api_price(name, catalog, when, use, batch=batch)
        if price.ref not in refs:
            refs.add(price.ref)
            chosen.append(Chosen(price, price.ref in known or _sells(model, price)))
    return chosen


def _sells(model: Model | None, price: ApiPrice) -> bool:
    """Whether the price is of that very model, by the catalogue."""
    return model is not None and any((api.provider, api.model) == (price.provider, price.model) for api in model.apis)


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


def _price(
    provider: Provider, model: ModelInfo, when: datetime, use: ApiUse = ANY_USE, *, batch: bool = False
) -> ApiPrice | None:
    """What a use pays at a date; None for models without both text prices, and for free tiers."""
    found = effective(model, when, use, batch=batch)
    if found is None:
        return None
    source, released = price_list_origin()
    status = api_status(provider.id, model.id, when, flagged=bool(model.deprecated), list_released=released)
    return ApiPrice(
        provider=provider.id,
        model=model.id,
        name=model.name or model.id,
        input_usd_per_1m=found.rates.input,
        output_usd_per_1m=found.rates.output,
        cached_input_usd_per_1m=found.rates.cached_input,
        source=source,
        date=released,
        note=_joined(status.words, found, use, batch=batch),
        since=_since(model, when),
        batch=found.batch,
        cache_write_usd_per_1m=found.rates.cache_write,
        cache_write_1h_usd_per_1m=found.rates.cache_write_1h,
        parts=found.parts,
        status=status,
    )


def _joined(status: str | None, found: Effective, use: ApiUse, *, batch: bool) -> str | None:
    notes = [*([status] if status else []), *notes_of(found, use, batch=batch)]
    return "; ".join(notes) or None


def _since(model: ModelInfo, when: datetime) -> str | None:
    """The day from which the price that holds at a date holds, where the list dates it."""
    if not isinstance(model.prices, list):
        return None
    for conditional in reversed(model.prices):
        start = getattr(conditional.constraint, "start_date", None)
        if start is not None and conditional.constraint is not None and conditional.constraint.active(when):
            return start.isoformat()
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
        cache_write_usd_per_1m=entry.cache_write_usd_per_1m,
        cache_write_1h_usd_per_1m=entry.cache_write_1h_usd_per_1m,
        own=True,
    )
