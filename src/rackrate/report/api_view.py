"""What is printed of an API's price, wherever one stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rackrate.schemas.apis import ListedPrice

if TYPE_CHECKING:
    from rackrate.catalog.api_price import ApiPrice


def api_facts(price: ApiPrice) -> dict[str, Any]:
    """The fields of `ApiFacts` that are not the price's own: whether it is sold, and what its price is made of."""
    return {
        "api": price.ref,
        "status": price.status.status,
        "ends": price.status.ends,
        "status_source": price.status.source,
        "prices": [
            ListedPrice(
                hours=part.hours,
                longer_than_tokens=part.longer_than,
                batch=part.batch,
                input_usd_per_1m=part.rates.input,
                output_usd_per_1m=part.rates.output,
                cached_input_usd_per_1m=part.rates.cached_input,
                cache_write_usd_per_1m=part.rates.cache_write,
                cache_write_1h_usd_per_1m=part.rates.cache_write_1h,
                input_share=part.input_share,
            )
            for part in price.parts
        ],
    }
