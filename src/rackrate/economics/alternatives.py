"""A month of the same requests, served by machines of one's own or by an API. Every figure may be one per draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rackrate.catalog.api_price import bill_usd
from rackrate.economics.breakeven import crossing_tokens, marginal_usd_per_token, whole_machines
from rackrate.economics.horizon import purchase_usd_month
from rackrate.errors import UserError
from rackrate.units import HOURS_PER_MONTH, tokens_per_month, where

if TYPE_CHECKING:
    from rackrate.units import Numbers


@dataclass(frozen=True)
class Demand:
    """What is asked in a month; the same for every alternative, in the served model's tokens."""

    new_input_tokens: Numbers
    cached_input_tokens: Numbers
    output_tokens: Numbers
    hours: float = HOURS_PER_MONTH
    """Of the month."""
    peak_to_mean: Numbers = 1.0
    """How many times the mean rate the machines must be able to serve."""
    profile: tuple[float, ...] = (1.0,)
    """Relative rates of equally long slots (hours of a day or a week) with mean 1; its peak is part of peak_to_mean."""
    prompt_tokens: Numbers | None = None
    """How long a request's input is, for prices that depend on it; None: not known."""

    @property
    def tokens(self) -> Numbers:
        """Input and output together. [token/month]"""
        return self.new_input_tokens + self.cached_input_tokens + self.output_tokens


@dataclass(frozen=True)
class Machine:
    """What one machine serves, and what its hour costs."""

    tok_s: Numbers
    """Input and output tokens a second at full load, in the demand's mix."""
    fixed_usd_h: Numbers
    busy_usd_h: Numbers = 0.0
    """Added by an hour at full load."""
    capex_usd: Numbers | None = None
    """Purchase price where it is owned; None: rented."""
    running_usd_h: Numbers = 0.0
    """Of the fixed cost, what goes on being paid for an owned machine: all but the purchase."""
    resale_usd: Numbers = 0.0
    """What an owned machine sells for at the end of its life."""
    life_months: Numbers = math.inf
    """Of an owned machine."""
    max_load: Numbers = 1.0
    """The share of full load that the peak may take; the rest is headroom."""
    least: int = 1
    """Machines that are kept whatever the load."""


@dataclass(frozen=True)
class MachineMonth:
    """A month of a fleet of fixed size."""

    machines: Numbers
    utilisation: Numbers
    """Share of all machine-hours that are busy."""
    usd: Numbers
    running_usd: Numbers
    """Without the purchase."""
    capex_usd: Numbers


@dataclass(frozen=True)
class Tariff:
    """What an API charges, USD per 1M of its own tokens."""

    input_usd_per_1m: Numbers
    output_usd_per_1m: Numbers
    cached_input_usd_per_1m: Numbers | None = None
    """None: cached tokens cost what new ones do."""
    discount: Numbers = 0.0
    """Negotiated share off the bill."""
    tokenizer_ratio: Numbers = 1.0
    """Tokens that the API counts for each token that the served model counts, for the same text."""


def fleet_month(machine: Machine, demand: Demand) -> MachineMonth:
    """Whole machines for the peak, kept all month.

    machines = max(least, ceil(mean rate x peak to mean / (full load x max load))); the bill is their hours and what
    being busy adds.

    >>> month = fleet_month(Machine(tok_s=60.6, fixed_usd_h=3.912), Demand(0, 0, 157_075_200, hours=720))
    >>> float(month.machines), round(float(month.usd), 2), round(float(month.utilisation), 6)
    (1.0, 2816.64, 1.0)
    """
    busy_machines = demand.tokens / tokens_per_month(machine.tok_s, demand.hours)
    machines = whole_machines(busy_machines * demand.peak_to_mean / machine.max_load, machine.least)
    busy_usd = busy_machines * machine.busy_usd_h * demand.hours
    return MachineMonth(
        machines=machines,
        utilisation=busy_machines / machines,
        usd=machines * machine.fixed_usd_h * demand.hours + busy_usd,
        running_usd=machines * machine.running_usd_h * demand.hours + busy_usd,
        capex_usd=machines * (machine.capex_usd if machine.capex_usd is not None else 0.0),
    )


def levelled(machine: Machine, discount_rate: Numbers, hours: float) -> Machine:
    """The same machine with its purchase as the equal sum a month that is worth as much at that discount rate.

    So a month of it is its present value over its life (or over any time in which it is bought again at the same price)
    as a level sum. A rented machine stays as it is.

    >>> rig = Machine(tok_s=1, fixed_usd_h=2.0, capex_usd=73_000, running_usd_h=1.0, life_months=100)
    >>> levelled(rig, 0.0, hours=730).fixed_usd_h    # 730 USD a month for the purchase, as much for the rest
    2.0
    """
    if machine.capex_usd is None:
        return machine
    purchase = purchase_usd_month(machine.capex_usd, machine.resale_usd, discount_rate, machine.life_months)
    return replace(machine, fixed_usd_h=machine.running_usd_h + purchase / hours)


def mixed_tok_s(demand: Demand, input_tok_s: Numbers, output_tok_s: Numbers) -> Numbers:
    """Tokens a second at full load in a demand's mix, of rates for new input and for output, each alone. [token/s]

    All tokens / (new input / P + output / D). Cached input takes no time, as in `replica.busy_time`.

    >>> mixed_tok_s(Demand(500, 300, 200), 1000, 1000), mixed_tok_s(Demand(500, 300, 200), 5000, 1000)
    (1428.5714285714287, 3333.333333333333)

    Raises:
        UserError: nothing but cached input, which takes no time.
    """
    import numpy as np

    busy_s = demand.new_input_tokens / input_tok_s + demand.output_tokens / output_tok_s
    if not np.all(np.asarray(busy_s) > 0):
        raise UserError("all of this traffic is cached input, which takes no time: that says nothing of machines")
    return demand.tokens / busy_s


def api_month_usd(tariff: Tariff, demand: Demand) -> Numbers:
    """The API's bill for the same requests. [USD/month]

    >>> api_month_usd(Tariff(0.5, 1.5), Demand(78_537_600, 0, 78_537_600))
    157.0752
    """
    into, cached = tariff.input_usd_per_1m, tariff.cached_input_usd_per_1m
    listed = bill_usd(
        (demand.new_input_tokens, demand.cached_input_tokens, 0.0, 0.0, demand.output_tokens),
        (into, into if cached is None else cached, into, into, tariff.output_usd_per_1m),
    )
    return listed * tariff.tokenizer_ratio * (1 - tariff.discount)


def first_crossing_tokens(machine: Machine, demand: Demand, api_usd: Numbers) -> Numbers:
    """The volume at which the fewest machines cost what the API does, in the demand's mix. [token/month]

    Infinite beyond what they may serve of that profile (K x max load / peak to mean): a further machine would be needed
    before these have paid for themselves (see `breakeven.break_even`).
    """
    volume = unlimited_crossing_tokens(machine, demand, api_usd)
    capacity = tokens_per_month(machine.tok_s, demand.hours)
    most = machine.least * capacity * machine.max_load / demand.peak_to_mean
    return where(volume <= most * (1 + 1e-12), volume, math.inf)


def unlimited_crossing_tokens(machine: Machine, demand: Demand, api_usd: Numbers) -> Numbers:
    """The volume at which the fewest machines cost what the API does, could they be as busy all month. [token/month]"""
    return crossing_tokens(
        machine.least * machine.fixed_usd_h * demand.hours,
        marginal_usd_per_token(machine.busy_usd_h, machine.tok_s),
        api_usd / demand.tokens,
    )


def profile_of(rates: Sequence[float]) -> tuple[float, ...]:
    """Relative rates with mean 1.

    >>> profile_of([1, 3])
    (0.5, 1.5)
    """
    mean = sum(rates) / len(rates)
    return tuple(rate / mean for rate in rates)
