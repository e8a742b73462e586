"""The rate card: what a machine serves, over what it costs, at a stated load."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rackrate.economics.breakeven import whole_machines
from rackrate.economics.hourly import HourlyCost
from rackrate.economics.uncertainty import half80
from rackrate.errors import PriceError
from rackrate.metrics.saturation import Saturation
from rackrate.units import HOURS_PER_MONTH, PER_MILLION, SECONDS_PER_HOUR


@dataclass(frozen=True)
class Serving:
    """What one machine serves at full load. Rates per second."""

    output_tok_s: float
    input_tok_s: float
    """All input tokens, cached ones included."""
    cached_tok_s: float
    request_s: float | None
    relative_half_width: float | None
    """Half of the 95 % interval of the throughput, over the throughput."""
    prefill_share: float | None
    """Share of busy time that prefill takes; None: input and output cannot be told apart."""
    origin: str
    """Measured at which level of which run, or stated by the user."""
    caveats: tuple[str, ...] = ()
    lower_bound: bool = False
    stated: bool = False
    """Said by the user, not measured: only the sum of input and output is known."""

    @property
    def tok_s(self) -> float:
        """Input and output tokens together."""
        return self.output_tok_s + self.input_tok_s


def serving_of(saturation: Saturation, origin: str) -> Serving:
    """What a run's saturated level says that one machine serves."""
    level = saturation.level
    assert level.output_tok_s is not None  # noqa: S101 - `saturation` chooses among levels with throughput
    half = level.output_tok_s_half_width
    return Serving(
        output_tok_s=level.output_tok_s,
        input_tok_s=level.input_tok_s or 0.0,
        cached_tok_s=level.cached_tok_s or 0.0,
        request_s=level.request_s,
        relative_half_width=half / level.output_tok_s if half is not None else None,
        prefill_share=saturation.prefill_share,
        origin=origin,
        caveats=saturation.caveats,
        lower_bound=saturation.lower_bound,
    )


@dataclass(frozen=True)
class RateCard:
    """USD per 1M tokens at a load, and the month that it makes. None: cannot be told apart or not measured."""

    cost: HourlyCost
    machines: int
    utilisation: float
    """Share of what the machines could serve that is asked of them, 0 to 1."""
    usd_h: float
    """Of all machines."""
    usd_month: float
    tokens_month: float
    input_tokens_month: float
    cached_tokens_month: float
    output_tokens_month: float
    blended_usd: float
    blended_interval_usd: tuple[float, float] | None
    """80 %, from the interval of the throughput alone; prices are taken as given."""
    input_usd: float | None
    """Of a new input token (one that was not cached)."""
    output_usd: float | None
    marginal_usd: float
    """Blended at full load: what a token costs while the machine is busy. Full over marginal is the utilisation tax."""

    @property
    def utilisation_tax(self) -> float:
        """How many times dearer a token is than at full load; 1 where tokens are free."""
        return self.blended_usd / self.marginal_usd if self.marginal_usd else 1.0


def rate_card(
    serving: Serving,
    cost: HourlyCost,
    utilisation: float = 1.0,
    machines: int = 1,
    hours_per_month: float = HOURS_PER_MONTH,
) -> RateCard:
    """Prices what is served at a share of full load.

    The bill is the machines' hours; it goes to tokens by busy time: prefill's share of it to new input tokens, the
    rest to output tokens, idle hours in proportion. Input part + output part = the bill.

    Raises:
        PriceError: utilisation outside (0, 1], or a machine that serves nothing.
    """
    if not 0 < utilisation <= 1:
        raise PriceError(f"utilisation must be above 0 and at most 1, got {utilisation:g}")
    if serving.tok_s <= 0:
        raise PriceError("a machine that serves no tokens has no price per token")
    usd_h = machines * cost.usd_h(utilisation)
    served = machines * utilisation * SECONDS_PER_HOUR
    per_million = PER_MILLION / served

    fresh_tok_s = serving.input_tok_s - serving.cached_tok_s
    share = serving.prefill_share
    if serving.input_tok_s == 0:
        share = 0.0
    input_usd = usd_h * share / fresh_tok_s * per_million if share is not None and fresh_tok_s > 0 else None
    output_usd = usd_h * (1 - share) / serving.output_tok_s * per_million if share is not None else None

    blended = usd_h / serving.tok_s * per_million
    half = half80(serving.relative_half_width) if serving.relative_half_width is not None else None
    interval = (blended / (1 + half), blended / (1 - half)) if half is not None and half < 1 else None
    month = hours_per_month * served
    return RateCard(
        cost=cost,
        machines=machines,
        utilisation=utilisation,
        usd_h=usd_h,
        usd_month=usd_h * hours_per_month,
        tokens_month=serving.tok_s * month,
        input_tokens_month=serving.input_tok_s * month,
        cached_tokens_month=serving.cached_tok_s * month,
        output_tokens_month=serving.output_tok_s * month,
        blended_usd=blended,
        blended_interval_usd=interval,
        input_usd=input_usd,
        output_usd=output_usd,
        marginal_usd=cost.usd_h(1.0) / serving.tok_s / SECONDS_PER_HOUR * PER_MILLION,
    )


def machines_for(request_rate: float, serving: Serving) -> tuple[int, float]:
    """Whole machines that a request rate needs, and how busy they are.

    Args:
        request_rate: requests per second.
        serving: what one machine serves.

    Raises:
        PriceError: the rate is not positive, or how many requests a machine serves is not known.
    """
    if not 0 < request_rate < math.inf:
        raise PriceError(f"the request rate must be above 0 and finite, got {request_rate:g}")
    if not serving.request_s:
        raise PriceError(
            "how many requests a second a machine serves is not known; give {utilisation} instead", field="utilisation"
        )
    needed = request_rate / serving.request_s
    machines = int(whole_machines(needed, least=1))
    return machines, min(1.0, needed / machines)
