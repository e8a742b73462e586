"""What the catalogue lists: models, accelerators, offers, API prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rackrate.app.context import Context
from rackrate.app.request_json import Request
from rackrate.errors import CatalogError, did_you_mean

if TYPE_CHECKING:
    from rackrate.catalog.apis import ApiPrice
    from rackrate.catalog.types import Entry


@dataclass(frozen=True)
class CatalogueRequest(Request):
    """A list of what is known."""

    NAME: ClassVar[str] = "catalogue"
    kind: str
    """models, accelerators, offers or apis."""
    words: tuple[str, ...] = ()
    """Only entries that contain every one of them."""


@dataclass(frozen=True)
class Listing:
    """What was found; either entries of the catalogue or prices of APIs, by the kind that was asked for."""

    kind: str
    entries: tuple[Entry, ...] = ()
    apis: tuple[ApiPrice, ...] = ()
    price_list: tuple[str, str] | None = None
    """Of API prices: the name of the list with its version, and its release date."""
    price_dates: tuple[str, str, str] | None = None
    """Of offers: the oldest, the median and the newest date of their prices."""
    nothing: str | None = None
    """Where nothing was found: a sentence with the nearest names."""


def entries(request: CatalogueRequest, context: Context) -> Listing:
    """The entries of a kind that contain every word, in the catalogue's order.

    Raises:
        CatalogError: there is no such list.
    """
    from rackrate.catalog.apis import list_apis, price_list_origin
    from rackrate.catalog.load import KINDS, search
    from rackrate.catalog.types import Offer, ages, moment

    kind, words = request.kind, request.words
    if kind not in KINDS:
        raise CatalogError(f"there is no list of {kind!r}{did_you_mean(kind, KINDS)}", field="kind")
    if kind == "apis":
        listed = list_apis(context.catalog, moment(context.today()))
        found = tuple(
            price for price in listed if all(word.lower() in f"{price.ref} {price.name}".lower() for word in words)
        )
        nothing = None if found else _nothing("API", words, [price.ref for price in listed])
        return Listing(kind, apis=found, price_list=price_list_origin(), nothing=nothing)
    known = getattr(context.catalog, kind)
    matching = tuple(search(known.values(), words))
    offers = [entry for entry in matching if isinstance(entry, Offer)]
    dates = ages(offer.price.date for offer in offers) if offers else None
    return Listing(
        kind, matching, price_dates=dates, nothing=None if matching else _nothing(kind[:-1], words, list(known))
    )


def _nothing(kind: str, words: tuple[str, ...], known: list[str]) -> str:
    return f"no {kind} contains {' and '.join(words)}{did_you_mean(' '.join(words), known)}"
