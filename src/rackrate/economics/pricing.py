"""A whole pricing: what is served, on which machines, at what load, against which APIs. Data for every output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rackrate.catalog.apis import ApiPrice
from rackrate.economics.breakeven import BreakEven, break_even, marginal_usd_per_token
from rackrate.economics.hourly import HourlyCost, Rig
from rackrate.economics.ratecard import RateCard, Serving, machines_for, rate_card
from rackrate.metrics.summary import CAVEATS
from rackrate.units import HOURS_PER_MONTH, PER_MILLION

SHOWN_UTILISATIONS = (1.0, 0.5, 0.25, 0.1)


@dataclass(frozen=True)
class Load:
    """How much of the machines is asked for: a share of full load, or a request rate."""

    utilisation: float | None = None
    request_rate: float | None = None
    """Requests per second."""
    hours_per_month: float = HOURS_PER_MONTH


@dataclass(frozen=True)
class Comparison:
    """An API beside a machine, for the same requests."""

    api: ApiPrice
    same_model: bool
    """Whether the API sells the very model that was served."""
    blended_usd: float
    """Its bill for this mix of tokens, per 1M."""
    break_even: BreakEven


@dataclass(frozen=True)
class Priced:
    """One machine, priced."""

    cost: HourlyCost
    full: RateCard
    at_load: RateCard | None
    """At the stated utilisation or request rate; None where none was stated."""
    by_utilisation: tuple[RateCard, ...]
    comparisons: tuple[Comparison, ...]
    warnings: tuple[str, ...]
    """Names of CAVEATS that stand against the figures, other-hardware among them."""
    rig: Rig | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Pricing:
    """A run (or a stated throughput), priced on one or more machines."""

    serving: Serving
    model: str
    load: Load
    machines: tuple[Priced, ...]
    notes: tuple[str, ...]


def price(
    serving: Serving,
    cost: HourlyCost,
    load: Load,
    apis: Sequence[tuple[ApiPrice, bool]],
    *,
    rig: Rig | None = None,
    other_hardware: bool = False,
    notes: Sequence[str] = (),
) -> Priced:
    """Prices what is served on one kind of machine and sets it against APIs.

    Args:
        serving: what one machine serves at full load.
        cost: what its hour costs.
        load: what is asked of it.
        apis: prices, each with whether it is of the very model served.
        rig: the owned machine's assumptions, for printing.
        other_hardware: priced by a machine other than the one it ran on.
        notes: sentences to print below.

    Raises:
        PriceError: the load is impossible.
    """
    hours = load.hours_per_month
    full = rate_card(serving, cost, 1.0, 1, hours)
    at_load = None
    if load.request_rate is not None:
        machines, utilisation = machines_for(load.request_rate, serving)
        at_load = rate_card(serving, cost, utilisation, machines, hours)
    elif load.utilisation is not None:
        at_load = rate_card(serving, cost, load.utilisation, 1, hours)
    steps = tuple(rate_card(serving, cost, share, 1, hours) for share in SHOWN_UTILISATIONS)
    marginal = float(marginal_usd_per_token(cost.busy_usd_h, serving.tok_s))
    comparisons: list[Comparison] = []
    for api, same in apis:
        bill = api.bill_usd(full.input_tokens_month, full.output_tokens_month, full.cached_tokens_month)
        per_token = bill / full.tokens_month
        crossing = break_even(cost.fixed_usd_h * hours, marginal, full.tokens_month, per_token)
        comparisons.append(Comparison(api, same, per_token * PER_MILLION, crossing))
    comparisons.sort(key=lambda item: (not item.same_model, item.blended_usd))
    return Priced(
        cost=cost,
        full=full,
        at_load=at_load,
        by_utilisation=steps,
        comparisons=tuple(comparisons),
        warnings=(*serving.caveats, *(("other-hardware",) if other_hardware else ())),
        rig=rig,
        notes=tuple(notes),
    )


def objections(priced: Priced) -> list[str]:
    """Why the figures must not be taken as the machine's capacity, a sentence each."""
    return [f"{name}: {CAVEATS[name]}" for name in priced.warnings]
