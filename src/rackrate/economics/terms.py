"""Terms of rented machines: spot with its interruptions, commitments with money up front, storage and egress."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, cast

from pydantic import Field, model_validator

from rackrate.catalog.types import Document
from rackrate.economics.currency import to_usd_keys
from rackrate.economics.hourly import HourlyCost, RigHardware, annuity_usd_per_year
from rackrate.errors import PriceError
from rackrate.units import HOURS_PER_MONTH, MONTHS_PER_YEAR, SECONDS_PER_HOUR, where

if TYPE_CHECKING:
    from rackrate.units import Numbers

ASSUMED_INTERRUPTIONS_PER_MONTH = (0.2, 1.0)
"""Assumed where nobody states it: the most frequent band of the AWS Spot Instance Advisor is "more than 20 %" of the
instances of a type interrupted in a month, which is open above: a fifth of them, or all. Printed with every figure that
uses it."""


def lost_share(
    interruptions_per_month: Numbers, recovery_s: Numbers, hours_per_month: float = HOURS_PER_MONTH
) -> Numbers:
    """Share of its paid time in which a spot machine does not serve: restarting and warming up. 0 to 1.

    Interruptions per hour x hours to recover; at most 1. One interruption in 20 hours, 6 minutes to be back:

    >>> round(lost_share(interruptions_per_month=36.5, recovery_s=360), 4)
    0.005
    """
    lost = interruptions_per_month / hours_per_month * recovery_s / SECONDS_PER_HOUR
    return where(lost < 1, lost, 1.0)


def spot_usd_h(price_usd_h: Numbers, lost: Numbers) -> Numbers:
    """What an hour of serving costs on a spot machine that serves only part of its paid time. [USD/h]

    Price / (1 - lost share): so much capacity must be held to have one machine's worth of it; infinite for one that
    never serves. Both may be arrays.

    >>> spot_usd_h(price_usd_h=1.9, lost=0.05), spot_usd_h(price_usd_h=1.9, lost=1.0)
    (2.0, inf)
    """
    return where(lost < 1, price_usd_h / where(lost < 1, 1 - lost, 1.0), math.inf)


def _served_usd_h(
    price_usd_h: float, interruptions_per_month: float, recovery_s: float, hours_per_month: float
) -> float:
    """`spot_usd_h` of one machine. Raises PriceError where it never serves."""
    lost = lost_share(interruptions_per_month, recovery_s, hours_per_month)
    usd_h = float(spot_usd_h(price_usd_h, lost))
    if lost >= 1:
        raise PriceError(f"a spot machine that loses {lost:.0%} of its time to interruptions never serves")
    return usd_h


def committed_usd_h(
    upfront_usd: float,
    usd_h: float,
    term_years: float,
    discount_rate: float = 0.0,
    hours_per_month: float = HOURS_PER_MONTH,
) -> float:
    """What an hour of a commitment costs: its hourly price and the money up front, spread over the term. [USD/h]

    A twelfth of the up-front payment's annuity over the term (see `annuity_usd_per_year`), by the hours of a month.
    8,760 USD for a year, and half a dollar an hour:

    >>> committed_usd_h(upfront_usd=8760, usd_h=0.5, term_years=1)
    1.5
    """
    yearly = float(annuity_usd_per_year(upfront_usd, 0.0, discount_rate, term_years))
    return usd_h + yearly / MONTHS_PER_YEAR / hours_per_month


def storage_usd_h(gib: float, usd_per_gib_month: float, hours_per_month: float = HOURS_PER_MONTH) -> float:
    """What keeping disks costs, by the hours of a month. [USD/h]

    >>> storage_usd_h(gib=500, usd_per_gib_month=0.073)    # 36.50 USD a month
    0.05
    """
    return gib * usd_per_gib_month / hours_per_month


def egress_usd_h(gb_per_busy_hour: float, usd_per_gb: float) -> float:
    """What the traffic out of the provider's network costs while a machine is busy. [USD/h]

    >>> round(egress_usd_h(gb_per_busy_hour=0.5, usd_per_gb=0.09), 3)
    0.045
    """
    return gb_per_busy_hour * usd_per_gb


class Contract(Document):
    """A rented machine at terms of one's own: a commitment, a spot price with its interruptions, storage, egress.

    Money may be written in another currency whose rate is stated, as in a rig file.
    """

    name: str
    hardware: RigHardware | None = None
    usd_per: dict[str, float] = Field(default_factory=dict[str, float])
    usd_per_hour: float = Field(ge=0)
    committed: bool = False
    """Paid every hour of the term, used or not."""
    upfront_usd: float = Field(default=0, ge=0)
    term_years: float | None = Field(default=None, gt=0, le=10)
    discount_rate: float = Field(default=0, ge=0, lt=1)
    interruptions_per_month: float = Field(default=0, ge=0)
    recovery_s: float = Field(default=0, ge=0)
    """From an interruption until the replacement serves: start, weights, warm-up."""
    storage_gib: float = Field(default=0, ge=0)
    storage_usd_per_gib_month: float = Field(default=0, ge=0)
    egress_gb_per_busy_hour: float = Field(default=0, ge=0)
    egress_usd_per_gb: float = Field(default=0, ge=0)
    labour_hours_per_month: float = Field(default=0, ge=0)
    labour_usd_per_hour: float = Field(default=0, ge=0)
    notes: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _in_usd(cls, values: object) -> object:
        return to_usd_keys(cast("dict[str, Any]", values)) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.upfront_usd and not self.committed:
            raise ValueError("upfront_usd goes with committed: true")
        if self.committed and self.term_years is None:
            raise ValueError("a commitment needs term_years")
        if self.interruptions_per_month and not self.recovery_s:
            raise ValueError("interruptions_per_month needs recovery_s: how long until a replacement serves")
        return self


def contracted(contract: Contract, origin: str, hours_per_month: float = HOURS_PER_MONTH) -> HourlyCost:
    """The hourly cost of a machine rented under a contract; what is paid by the month is spread over its hours.

    >>> deal = Contract(name="deal", usd_per_hour=1.0, committed=True, term_years=3, upfront_usd=26280)
    >>> contracted(deal, "contract.yaml").usd_h(1.0)
    2.0
    """
    rent = contract.usd_per_hour
    upfront = 0.0
    if contract.term_years is not None:
        upfront = committed_usd_h(
            contract.upfront_usd, 0.0, contract.term_years, contract.discount_rate, hours_per_month
        )
    parts = {
        "rent": rent,
        "up front": upfront,
        "interruptions": _served_usd_h(
            rent + upfront, contract.interruptions_per_month, contract.recovery_s, hours_per_month
        )
        - rent
        - upfront,
        "storage": storage_usd_h(contract.storage_gib, contract.storage_usd_per_gib_month, hours_per_month),
        "labour": contract.labour_hours_per_month * contract.labour_usd_per_hour / hours_per_month,
        "egress": egress_usd_h(contract.egress_gb_per_busy_hour, contract.egress_usd_per_gb),
    }
    kept = {name: usd for name, usd in parts.items() if usd or name == "rent"}
    egress = parts["egress"]
    fixed = sum(usd for name, usd in kept.items() if name != "egress")
    return HourlyCost(contract.name, "rented", fixed, egress, kept, source=origin)


def with_interruptions(
    cost: HourlyCost, interruptions_per_month: float, recovery_s: float, hours_per_month: float = HOURS_PER_MONTH
) -> HourlyCost:
    """A spot machine's cost with the time that interruptions take from it.

    >>> spot = HourlyCost("server (spot)", "rented", 1.0, 0.0, {"rent": 1.0})
    >>> round(with_interruptions(spot, interruptions_per_month=73, recovery_s=360).fixed_usd_h, 5)
    1.0101
    """
    dearer = _served_usd_h(cost.fixed_usd_h, interruptions_per_month, recovery_s, hours_per_month)
    parts = {**cost.parts, "interruptions": dearer - cost.fixed_usd_h}
    return replace(cost, fixed_usd_h=dearer, parts=parts)
