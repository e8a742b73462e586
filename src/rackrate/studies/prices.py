"""Which price held when: the price list's, the catalogue's offers, and the dated ones that a study brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rackrate.catalog.api_rates import Rates
from rackrate.catalog.api_use import ANY_USE, ApiUse
from rackrate.catalog.apis import ApiPrice, chosen_apis, price_list_origin
from rackrate.catalog.load import Catalog
from rackrate.catalog.types import Offer, Price, last_day, moment
from rackrate.economics.hourly import HourlyCost, PriceKind, has_price, rented
from rackrate.workload.prompt_mix import PromptMix


@dataclass(frozen=True)
class DatedCost:
    """An offer's hourly cost at a date, and what must be said of it."""

    cost: HourlyCost
    spot_usd_h: tuple[float, float] | None
    """Lowest and highest spot price, where that is the kind."""
    note: str | None


def offer_at(offer: Offer, kind: PriceKind, as_of: str, more: Sequence[Price] = ()) -> DatedCost:
    """The newest price of that kind that is not younger than the date; else the oldest there is, said so.

    Raises:
        PriceError: the offer has no price of that kind at all.
    """
    known = sorted((*offer.prices, *more), key=lambda price: price.date)
    then = [price for price in known if price.date <= last_day(as_of)]
    for prices in (then, known[:1], known):
        item = offer.model_copy(update={"prices": tuple(prices)})
        if not prices or not has_price(item, kind):
            continue
        cost = rented(item, kind)
        spot = None
        if kind == "spot":
            spot = next(price.spot_usd_h for price in reversed(prices) if price.spot_usd_h is not None)
        late = cost.date > last_day(as_of)
        return DatedCost(
            cost, spot, f"no price as old as {as_of} is known: that of {cost.date} is used" if late else None
        )
    return DatedCost(rented(offer, kind), None, None)


@dataclass(frozen=True)
class TypedPrice:
    """A dated price that a study brings itself."""

    date: str
    source: str
    position: int
    """Which of the scenario's `prices`."""


@dataclass(frozen=True)
class DatedApi:
    """Which price of an API holds at a date."""

    listed: ApiPrice | None
    """The price list's, where that is the one."""
    typed: TypedPrice | None
    """Or one of the study's own."""
    note: str | None
    sells: ApiPrice | None = None
    """The price list's entry whichever price holds: it says what the API sells."""

    @property
    def source(self) -> str:
        """Who says so."""
        return self.listed.source if self.listed is not None else self.typed.source if self.typed is not None else ""

    @property
    def date(self) -> str:
        """Of when."""
        if self.listed is not None:
            return self.listed.date
        return self.typed.date if self.typed is not None else ""


def api_at(
    name: str | None, catalog: Catalog, as_of: str, typed: Sequence[TypedPrice] = (), *, batch: bool = False,
    use: ApiUse = ANY_USE,
) -> DatedApi:  # fmt: skip
    """The newest price that is not younger than the date, of the study's own dated prices and the price list's.

    The list dates only changes since it began to (2025): a price without such a date is dated by the list's release.
    Where nothing is old enough, the list's oldest price is used, said so.

    Raises:
        CatalogError: the price list does not know the API.
    """
    old = sorted((entry for entry in typed if entry.date <= last_day(as_of)), key=lambda item: item.date)
    if name is None:
        if old:
            return DatedApi(None, old[-1], None)
        oldest = min(typed, key=lambda item: item.date)
        return DatedApi(None, oldest, f"{as_of} is older than any known price: that of {oldest.date} is used")
    ((listed, _),) = chosen_apis(None, catalog, (name,), when=moment(as_of), use=use, batch=batch)
    since = listed.since or price_list_origin()[1]
    held = since <= last_day(as_of)
    if old and not (held and since > old[-1].date):
        return DatedApi(None, old[-1], None, listed)
    note = None
    if batch and not listed.batch:
        note = "the list has no batch price for it: the normal one is used"
    if not held and not listed.own:
        note = f"the price list has no price of {as_of} for it: the oldest it knows is used (released {since})"
    return DatedApi(listed, None, note, listed)


def rates_at(name: str, catalog: Catalog, as_of: str, longer_than: int, use: ApiUse, *, batch: bool = False) -> Rates:
    """An API's prices at a date for requests with more input tokens than that, by the hours of a use."""
    mix = PromptMix.of_length(longer_than + 1.0, 1.0)
    alike = replace(use, prompts=mix)
    ((listed, _),) = chosen_apis(None, catalog, (name,), when=moment(as_of), use=alike, batch=batch)
    return listed.rates
