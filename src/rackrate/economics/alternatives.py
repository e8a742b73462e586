"""A month of the same requests, served by machines of one's own or by an API. Every figure may be one per draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rackrate.units import HOURS_PER_MONTH, HOURS_PER_YEAR, PER_MILLION, SECONDS_PER_HOUR

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rackrate.economics.uncertainty import Numbers


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
    import numpy as np

    capacity = machine.tok_s * SECONDS_PER_HOUR * demand.hours
    busy_machines = demand.tokens / capacity
    needed = busy_machines * demand.peak_to_mean / machine.max_load
    machines = np.maximum(machine.least, np.ceil(needed * (1 - 1e-12)))
    busy_usd = busy_machines * machine.busy_usd_h * demand.hours
    return MachineMonth(
        machines=machines,
        utilisation=busy_machines / machines,
        usd=machines * machine.fixed_usd_h * demand.hours + busy_usd,
        running_usd=machines * machine.running_usd_h * demand.hours + busy_usd,
        capex_usd=machines * (machine.capex_usd if machine.capex_usd is not None else 0.0),
    )


def api_month_usd(tariff: Tariff, demand: Demand) -> Numbers:
    """The API's bill for the same requests. [USD/month]

    >>> api_month_usd(Tariff(0.5, 1.5), Demand(78_537_600, 0, 78_537_600))
    157.0752
    """
    cached_price = tariff.cached_input_usd_per_1m
    if cached_price is None:
        cached_price = tariff.input_usd_per_1m
    listed = (
        demand.new_input_tokens * tariff.input_usd_per_1m
        + demand.cached_input_tokens * cached_price
        + demand.output_tokens * tariff.output_usd_per_1m
    ) / PER_MILLION
    return listed * tariff.tokenizer_ratio * (1 - tariff.discount)


def first_crossing_tokens(machine: Machine, demand: Demand, api_usd: Numbers) -> NDArray[np.float64]:
    """The volume at which one machine costs what the API does, in the demand's mix; infinite: never. [token/month]

    F / (p - m), where it is within what one machine may serve of that profile (K x max load / peak to mean); beyond
    that, a second machine would be needed before the first has paid for itself (see `breakeven.break_even`).
    """
    import numpy as np

    tokens = demand.tokens
    capacity = machine.tok_s * SECONDS_PER_HOUR * demand.hours
    marginal = machine.busy_usd_h * demand.hours / capacity
    margin = np.asarray(api_usd / tokens - marginal, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        volume = np.where(margin > 0, machine.least * machine.fixed_usd_h * demand.hours / margin, np.inf)
    most = machine.least * capacity * machine.max_load / demand.peak_to_mean
    return np.where(volume <= most * (1 + 1e-12), volume, np.inf)


def owned_hour(
    *,
    capex_usd: Numbers,
    life_years: Numbers,
    resale_usd: Numbers = 0.0,
    spare_share: Numbers = 0.0,
    discount_rate: Numbers = 0.0,
    idle_w: Numbers = 0.0,
    busy_w: Numbers = 0.0,
    pue: Numbers = 1.0,
    usd_per_kwh: Numbers = 0.0,
    hosting_usd_per_kw_month: Numbers = 0.0,
    labour_hours_per_month: Numbers = 0.0,
    labour_usd_per_hour: Numbers = 0.0,
) -> tuple[Numbers, Numbers, Numbers]:
    """An owned machine's hour: fixed cost, what being busy adds, and the fixed cost without the purchase. [USD/h]

    The formulas of `hourly.owned`, for many draws at once (a test holds the two together).

    >>> hour = owned_hour(capex_usd=3800, life_years=5, idle_w=100, busy_w=300, usd_per_kwh=0.2)
    >>> [round(float(one), 6) for one in hour]
    [0.106758, 0.04, 0.02]
    """
    import numpy as np

    growth = life_years * np.log1p(discount_rate)
    with np.errstate(divide="ignore", invalid="ignore"):
        recovery = np.where(np.asarray(discount_rate) == 0, 1 / life_years, discount_rate / -np.expm1(-growth))
    purchase = (1 + spare_share) * (capex_usd - resale_usd * np.exp(-growth)) * recovery / HOURS_PER_YEAR
    usd_per_watt_hour = pue * usd_per_kwh / 1000
    running = (
        hosting_usd_per_kw_month * busy_w / 1000 / HOURS_PER_MONTH
        + labour_hours_per_month * labour_usd_per_hour / HOURS_PER_MONTH
        + idle_w * usd_per_watt_hour
    )
    return purchase + running, (busy_w - idle_w) * usd_per_watt_hour, running


def serving_hour_usd(usd_h: Numbers, interruptions_per_month: Numbers, recovery_s: Numbers) -> Numbers:
    """What an hour of serving costs on a machine that is taken away now and then. [USD/h]

    Price / (1 - lost share), as `terms.spot_usd_h` and `terms.lost_share`, for many draws at once; a machine that never
    gets to serve costs without end.

    >>> round(float(serving_hour_usd(1.9, interruptions_per_month=36.5, recovery_s=3600)), 9)
    2.0
    """
    import numpy as np

    lost = interruptions_per_month / HOURS_PER_MONTH * recovery_s / SECONDS_PER_HOUR
    with np.errstate(divide="ignore"):
        return np.where(np.asarray(lost) < 1, usd_h / np.maximum(1 - lost, 1e-300), np.inf)


def profile_of(rates: Sequence[float]) -> tuple[float, ...]:
    """Relative rates with mean 1.

    >>> profile_of([1, 3])
    (0.5, 1.5)
    """
    mean = sum(rates) / len(rates)
    return tuple(rate / mean for rate in rates)
