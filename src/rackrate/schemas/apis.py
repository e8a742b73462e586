"""What `--json` prints of an API's price, wherever one stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ListedPrice:
    """One of the prices that a price is the mean of, USD per 1M tokens."""

    hours: str | None
    """At which hours it holds; None: all day."""
    longer_than_tokens: int
    """It is of requests with more input tokens than that; 0: of the shortest."""
    batch: bool
    input_usd_per_1m: float
    output_usd_per_1m: float
    cached_input_usd_per_1m: float | None
    cache_write_usd_per_1m: float | None
    cache_write_1h_usd_per_1m: float | None
    input_share: float
    """Of the input tokens here, the share that it is the price of."""


@dataclass(frozen=True)
class ApiFacts:
    """What an API is, and how its price is made."""

    api: str
    """PROVIDER/MODEL."""
    same_model: bool
    """It sells the very model that is served."""
    source: str
    date: str
    note: str | None
    """What must be said of the price, in words."""
    status: Literal["live", "deprecated", "ended"]
    """Whether it is still sold."""
    ends: str | None
    """When it is, or was, shut down."""
    status_source: str | None
    prices: list[ListedPrice]
    """By the hour, the prompt's length or batch; one where there is only one."""
