"""Over which time a question's alternatives are compared: the life of what is bought, or as stated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rackrate.economics.alternatives import Demand, Machine, MachineMonth, fleet_month, levelled
from rackrate.economics.horizon import falling_share, payback_within
from rackrate.studies.alternatives import Alternative, Valuation
from rackrate.studies.documents import Number, Question
from rackrate.units import MONTHS_PER_YEAR

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rackrate.units import Numbers


@dataclass(frozen=True)
class Worked:
    """An alternative with its first month, and that month over the horizon; at the central case and for all draws."""

    alternative: Alternative
    price: str
    usd: float
    usd_drawn: NDArray[np.float64]
    machine: Machine | None = None
    machine_drawn: Machine | None = None
    month: MachineMonth | None = None
    month_drawn: MachineMonth | None = None
    level: float = 0.0
    """The equal sum a month that is worth as much over the horizon; without one, the first month."""
    level_drawn: NDArray[np.float64] | None = None
    level_machine: Machine | None = None
    level_machine_drawn: Machine | None = None

    @property
    def name(self) -> str:
        """As the file names it."""
        return self.alternative.name

    @property
    def is_api(self) -> bool:
        """Whether it is an API."""
        return self.alternative.kind == "api"

    @property
    def drawn(self) -> NDArray[np.float64]:
        """The level sums of all draws."""
        return self.usd_drawn if self.level_drawn is None else self.level_drawn


@dataclass(frozen=True)
class Horizon:
    """Months, and what discounts and lowers what is paid in them."""

    stated_months: float | None
    life_of: str | None
    """Whose life it is; None: stated."""
    life: Number | None
    rate_name: str
    rate: Number
    fall: Number

    def months(self, at: Valuation) -> Numbers:
        """How long it is: as stated, or as long as the machine lives in each draw."""
        if self.life is None or self.life_of is None:
            return self.stated_months or 1.0
        return at.of(f"{self.life_of}: life_years", "life_years", self.life) * MONTHS_PER_YEAR

    def discount_rate(self, at: Valuation) -> Numbers:
        """A year."""
        return at.of(self.rate_name, "discount_rate", self.rate)

    def api_price_decline(self, at: Valuation) -> Numbers:
        """A year."""
        return at.of("API price decline", "api_price_decline", self.fall)

    def api_share(self, at: Valuation) -> Numbers:
        """An API's level sum a month over its first month's bill."""
        return falling_share(self.months(at), self.discount_rate(at), self.api_price_decline(at))

    def machine(self, machine: Machine, at: Valuation, hours: float) -> Machine:
        """A machine with its purchase as a level sum."""
        return levelled(machine, self.discount_rate(at), hours)

    def payback(
        self, machine: Machine, month: MachineMonth, api_usd: Numbers, levels: tuple[Numbers, Numbers], at: Valuation
    ) -> Numbers:
        """The month of the horizon at which a purchase has paid for itself; infinite where it does not. [month]

        Args:
            machine: that was bought.
            month: its first.
            api_usd: the API's first month.
            levels: the level sums of both over the horizon.
            at: the values.
        """
        return payback_within(
            month.capex_usd,
            month.running_usd,
            api_usd,
            discount_rate=self.discount_rate(at),
            api_decline=self.api_price_decline(at),
            saves_usd_month=levels[1] - levels[0],
            life_months=machine.life_months,
            horizon_months=self.months(at),
        )


def horizon_of(question: Question, worked: Sequence[Worked]) -> Horizon | None:
    """The stated horizon, else the life of the bought machine that costs least in its first month; None: neither."""
    bought = [(each.usd, each.name, own) for each in worked if (own := each.alternative.scenario.own) is not None]
    _, name, own = min(bought, key=lambda item: item[0], default=(0.0, "", None))
    rate_name, rate = "discount rate", question.discount_rate
    if own is not None and "discount_rate" not in question.model_fields_set:
        rate_name, rate = f"{name}: discount_rate", own.discount_rate
    if question.horizon_years is not None:
        months = question.horizon_years * MONTHS_PER_YEAR
        return Horizon(months, None, None, rate_name, rate, question.api_price_decline)
    if own is None:
        return None
    return Horizon(None, name, own.life_years, rate_name, rate, question.api_price_decline)


def over(
    horizon: Horizon | None,
    each: Worked,
    middle: Valuation,
    drawn: Valuation,
    demand: Demand,
    demand_drawn: Demand,
) -> Worked:
    """An alternative with its level sum a month over the horizon."""
    import numpy as np

    if horizon is None:
        return replace(
            each, level=each.usd, level_drawn=each.usd_drawn, level_machine=each.machine,
            level_machine_drawn=each.machine_drawn,
        )  # fmt: skip
    if each.machine is None or each.machine_drawn is None:
        share, share_drawn = horizon.api_share(middle), horizon.api_share(drawn)
        return replace(each, level=each.usd * float(share), level_drawn=each.usd_drawn * share_drawn)
    machine = horizon.machine(each.machine, middle, demand.hours)
    machine_drawn = horizon.machine(each.machine_drawn, drawn, demand.hours)
    usd = np.asarray(fleet_month(machine_drawn, demand_drawn).usd, dtype=float)
    return replace(
        each,
        level=float(fleet_month(machine, demand).usd),
        level_drawn=np.broadcast_to(usd, each.usd_drawn.shape),
        level_machine=machine,
        level_machine_drawn=machine_drawn,
    )
