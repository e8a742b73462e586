"""Where something runs, as people write it: `t4`, `t4x4`, `4xt4`, or an offer such as `aws/g4dn.12xlarge`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rackrate.catalog.load import Catalog
from rackrate.catalog.types import Accelerator, Offer
from rackrate.errors import CatalogError, UserError


@dataclass(frozen=True)
class Place:
    """So many accelerators of one type, of an offer or of no one's."""

    accelerator: Accelerator
    count: int
    offer: Offer | None = None


def place_of(text: str, catalog: Catalog, *, otherwise: str = "", fields: tuple[str, ...] = ()) -> Place:
    """The accelerators that a text names.

    >>> from rackrate.catalog.load import load_catalog
    >>> [(found.accelerator.id, found.count) for found in (place_of(text, load_catalog()) for text in ("t4x4", "4xt4"))]
    [('t4', 4), ('t4', 4)]

    Args:
        text: an accelerator, so many of one, or an offer.
        catalog: where they are looked up.
        otherwise: what to do where an offer has no accelerator, for the message; it may name `fields` in braces.
        fields: of the request, which `otherwise` names.

    Raises:
        CatalogError: neither is known; the nearest names are said.
        UserError: the offer has no accelerator, or there are none of it.
    """
    if "/" in text:
        offer = catalog.offer(text)
        if offer.accelerator is None:
            raise UserError(f"{text} has no accelerator" + (f"; {otherwise}" if otherwise else ""), fields=fields)
        return Place(catalog.accelerators[offer.accelerator], offer.accelerator_count, offer)
    after, before = re.fullmatch(r"(.+?)[x*:](\d{1,4})", text), re.fullmatch(r"(\d{1,4})[x*](.+)", text)
    tries = [(text, 1)]
    if after:
        tries.append((after[1], int(after[2])))
    if before:
        tries.append((before[2], int(before[1])))
    unknown: CatalogError | None = None
    for name, count in tries:
        try:
            found = catalog.accelerator(name.strip())
        except CatalogError as error:
            unknown = error
            continue
        if count < 1:
            raise UserError(f"{text}: at least one accelerator is needed")
        return Place(found, count)
    assert unknown is not None  # noqa: S101 - there is one try at least
    raise unknown
