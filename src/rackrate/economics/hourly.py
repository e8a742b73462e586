"""What an hour of a machine costs: rented at an offer's price, or owned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from rackrate.catalog.types import Document, Offer, Price, newest
from rackrate.errors import PriceError
from rackrate.units import HOURS_PER_MONTH, HOURS_PER_YEAR

PriceKind = Literal["on-demand", "spot", "reserved-1y", "reserved-3y"]


@dataclass(frozen=True)
class HourlyCost:
    """The cost of one machine-hour: what is paid anyway, and what being busy adds. [USD/h]"""

    name: str
    kind: Literal["rented", "owned", "stated"]
    fixed_usd_h: float
    busy_usd_h: float
    """Added by an hour at full load (the energy above idle); 0 for a rented machine."""
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    """What it is made of at full load, USD/h each; they sum to fixed + busy."""
    source: str = ""
    date: str = ""

    def usd_h(self, busy_share: float) -> float:
        """An hour in which the machine is busy for that share of it. [USD/h]"""
        return self.fixed_usd_h + busy_share * self.busy_usd_h


class RigHardware(Document):
    """What the rig is, so that a run on other hardware is not priced by it. Left out: the run's machine."""

    accelerator: str | None = None
    accelerator_count: int = Field(default=0, ge=0)
    cpu: str | None = None
    vcpus: int | None = Field(default=None, ge=1)


class Rig(Document):
    """A machine that is owned, and all that owning it costs."""

    name: str
    hardware: RigHardware | None = None
    capex_usd: float = Field(ge=0)
    """Purchase price of the whole machine."""
    life_years: float = Field(gt=0, le=30)
    resale_usd: float = Field(default=0, ge=0)
    """What it sells for at the end of its life."""
    discount_rate: float = Field(default=0, ge=0, lt=1)
    """Cost of capital per year: 0.08 is 8 %."""
    idle_w: float = Field(ge=0)
    busy_w: float = Field(ge=0)
    """Watts at the wall, of the whole machine, idle and at full load."""
    pue: float = Field(default=1, ge=1, le=5)
    """Power usage effectiveness: what the building takes for each watt of the machine."""
    usd_per_kwh: float = Field(ge=0)
    hosting_usd_per_kw_month: float = Field(default=0, ge=0)
    labour_hours_per_month: float = Field(default=0, ge=0)
    labour_usd_per_hour: float = Field(default=0, ge=0)
    notes: str | None = None


def annuity_usd_per_year(capex_usd: float, resale_usd: float, discount_rate: float, life_years: float) -> float:
    """The constant yearly payment that is worth the purchase less the resale. [USD/year]

    (C - S / (1+r)^n) * r / (1 - (1+r)^-n), and (C - S) / n at r = 0: the capital recovery factor, e.g. Short, Packey,
    Holt, "A Manual for the Economic Evaluation of Energy Efficiency", NREL/TP-462-5173 (1995).

    >>> annuity_usd_per_year(3800, 0, 0, 5)
    760.0
    >>> round(annuity_usd_per_year(3800, 500, 0.08, 5), 2)
    866.51
    """
    if discount_rate == 0:
        return (capex_usd - resale_usd) / life_years
    # by expm1 and log1p, since 1 + r loses a tiny rate
    log_growth = life_years * math.log1p(discount_rate)
    return (capex_usd - resale_usd * math.exp(-log_growth)) * discount_rate / -math.expm1(-log_growth)


def owned(rig: Rig, origin: str) -> HourlyCost:
    """The hourly cost of a rig: annuity, hosting, labour and idle energy anyway, energy above idle while busy.

    Args:
        rig: its prices and watts.
        origin: where they come from (a file, an assumption), for the provenance.

    Raises:
        PriceError: it draws less when busy than when idle, or sells for more than it cost.
    """
    if rig.busy_w < rig.idle_w:
        raise PriceError(f"{origin}: busy_w ({rig.busy_w:g}) is below idle_w ({rig.idle_w:g})")
    if rig.resale_usd > rig.capex_usd:
        raise PriceError(f"{origin}: resale_usd ({rig.resale_usd:g}) is above capex_usd ({rig.capex_usd:g})")
    usd_per_watt_hour = rig.pue * rig.usd_per_kwh / 1000
    parts = {
        "purchase": annuity_usd_per_year(rig.capex_usd, rig.resale_usd, rig.discount_rate, rig.life_years)
        / HOURS_PER_YEAR,
        "hosting": rig.hosting_usd_per_kw_month * rig.busy_w / 1000 / HOURS_PER_MONTH,
        "labour": rig.labour_hours_per_month * rig.labour_usd_per_hour / HOURS_PER_MONTH,
        "idle energy": rig.idle_w * usd_per_watt_hour,
        "busy energy": (rig.busy_w - rig.idle_w) * usd_per_watt_hour,
    }
    busy = parts["busy energy"]
    return HourlyCost(rig.name, "owned", sum(parts.values()) - busy, busy, parts, source=origin)


def rented(offer: Offer, kind: PriceKind = "on-demand") -> HourlyCost:
    """The hourly cost of an offer; of spot prices the middle of what was seen. Raises PriceError where it has none."""
    price = _newest_with(offer, kind)
    usd_h = _usd_h(price, kind) if price is not None else None
    if price is None or usd_h is None:
        known = [one for one in ("on-demand", "spot", "reserved-1y", "reserved-3y") if _newest_with(offer, one)]
        raise PriceError(
            f"{offer.id} has no {kind} price in the catalogue; it has {', '.join(known)} (choose with --price-kind)"
        )
    name = offer.id if kind == "on-demand" else f"{offer.id} ({kind})"
    return HourlyCost(name, "rented", usd_h, 0.0, {"rent": usd_h}, price.source, price.date)


def _newest_with(offer: Offer, kind: PriceKind) -> Price | None:
    priced = [price for price in offer.prices if _usd_h(price, kind) is not None]
    return newest(priced) if priced else None


def _usd_h(price: Price, kind: PriceKind) -> float | None:
    match kind:
        case "on-demand":
            return price.on_demand_usd_h
        case "spot":
            return sum(price.spot_usd_h) / 2 if price.spot_usd_h else None
        case "reserved-1y":
            return price.reserved_1y_usd_h
        case "reserved-3y":
            return price.reserved_3y_usd_h


def has_price(offer: Offer, kind: PriceKind) -> bool:
    """Whether the offer can be priced that way."""
    return _newest_with(offer, kind) is not None
