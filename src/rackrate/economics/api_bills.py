"""What APIs charge for the tokens of traffic."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rackrate.catalog.apis import chosen_apis
from rackrate.catalog.load import Catalog
from rackrate.catalog.types import Model
from rackrate.economics.api_use import use_of_traffic
from rackrate.economics.fleet_types import ApiBill
from rackrate.errors import PriceError
from rackrate.workload.traffic import Traffic

SAME_MODEL_APIS = 3
"""Sellers of the served model that are shown, the cheapest first."""


def api_bills(
    model: Model | None, traffic: Traffic, catalog: Catalog, names: Sequence[str] = (), *, when: datetime,
    has_hours: bool | None = None,
) -> tuple[list[ApiBill], list[str]]:  # fmt: skip
    """What APIs charge for the same tokens: the three cheapest that sell the model, and those that are named.

    New, cached and written input and output are billed each at its price, batches at theirs, by the traffic's own
    hours and lengths where it has them.

    Args:
        model: that is served; None: not known.
        traffic: whose tokens are billed, over its whole time.
        catalog: holds the user's own prices.
        names: APIs, as the user names them.
        when: the day whose prices are taken.
        has_hours: whether the traffic's clock means hours of the day; None: as it says itself.

    Returns:
        The bills, and sentences that belong to them.

    Raises:
        CatalogError: nobody sells what is named.
        PriceError: an API is named, and the traffic's tokens are not known.
    """
    given, out = traffic.total("input_tokens"), traffic.total("output_tokens")
    if given is None or out is None:
        if names:
            raise PriceError(
                "{apis} needs traffic with tokens: say how long requests are with {lengths} IN:OUT",
                fields=("apis", "lengths"),
            )
        return [], []
    cached, written, hour = (
        traffic.total(name) or 0.0 for name in ("cached_tokens", "written_tokens", "written_1h_tokens")
    )
    use = use_of_traffic(traffic, has_hours=has_hours)
    chosen = chosen_apis(model, catalog, names or None, when=when, use=use, sellers=SAME_MODEL_APIS)
    bills = [
        ApiBill(each.price, each.same_model, each.price.bill_usd(given, out, cached, written, hour)) for each in chosen
    ]
    if not bills:
        return [], []
    price = bills[-1].api
    return bills, [
        f"API prices: {price.source}, {price.date}. Another model's tokenizer counts the same text differently."
    ]
