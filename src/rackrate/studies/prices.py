"""Which price held when: the price list's, the catalogue's offers, and the dated ones that a study brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rackrate.catalog.apis import ApiPrice, api_price, price_list_origin
from rackrate.catalog.load import Catalog
from rackrate.catalog.types import Offer, Price
from rackrate.economics.hourly import HourlyCost, PriceKind, has_price, rented


def day(date: str) -> str:
    """The last day that a partial date can mean, for `up to`.

    >>> day("2024"), day("2024-06"), day("2024-06-13")
    ('2024-12-31', '2024-06-30', '2024-06-13')
    """
    if len(date) == 4:
        return f"{date}-12-31"
    if len(date) == 7:
        year, month = int(date[:4]), int(date[5:])
        following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC).toordinal()
        return datetime.fromordinal(following - 1).strftime("%Y-%m-%d")
    return date


def moment(date: str) -> datetime:
    """Noon of that day, UTC."""
    return datetime.fromisoformat(f"{day(date)}T12:00:00+00:00")


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
    then = [price for price in known if price.date <= day(as_of)]
    for prices in (then, known[:1], known):
        item = offer.model_copy(update={"prices": tuple(prices)})
        if not prices or not has_price(item, kind):
            continue
        cost = rented(item, kind)
        spot = None
        if kind == "spot":
            spot = next(price.spot_usd_h for price in reversed(prices) if price.spot_usd_h is not None)
        late = cost.date > day(as_of)
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
    input_tokens: float = 0.0,
) -> DatedApi:  # fmt: skip
    """The newest price that is not younger than the date, of the study's own dated prices and the price list's.

    The list dates only changes since it began to (2025): a price without such a date is dated by the list's release.
    Where nothing is old enough, the list's oldest price is used, said so.

    Raises:
        CatalogError: the price list does not know the API.
    """
    old = sorted((entry for entry in typed if entry.date <= day(as_of)), key=lambda item: item.date)
    if name is None:
        if old:
            return DatedApi(None, old[-1], None)
        oldest = min(typed, key=lambda item: item.date)
        return DatedApi(None, oldest, f"{as_of} is older than any known price: that of {oldest.date} is used")
    listed = api_price(name, catalog, moment(as_of), int(input_tokens), batch=batch)
    since = listed.since or price_list_origin()[1]
    held = since <= day(as_of)
    if old and not (held and since > old[-1].date):
        return DatedApi(None, old[-1], None, listed)
    note = None
    if batch and not listed.batch:
        note = "the list has no batch price for it: the normal one is used"
    if not held and listed.note != "your own price":
        note = f"the price list has no price of {as_of} for it: the oldest it knows is used (released {since})"
    return DatedApi(listed, None, note, listed)
