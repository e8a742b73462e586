"""What an hour of a machine costs: rented at an offer's price, or owned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast, get_args

from pydantic import Field, ValidationInfo, model_validator

from rackrate.catalog.documents import place_of, read_document
from rackrate.catalog.load import Catalog
from rackrate.catalog.types import Document, EnergyPrice, Offer, Price, newest
from rackrate.economics.currency import to_usd_keys
from rackrate.errors import CatalogError, PriceError
from rackrate.units import HOURS_PER_MONTH, MONTHS_PER_YEAR, where

if TYPE_CHECKING:
    from rackrate.units import Numbers

PriceKind = Literal["on-demand", "spot", "reserved-1y", "reserved-3y"]
PRICE_KINDS: tuple[PriceKind, ...] = get_args(PriceKind)

DEAR_USD_PER_KWH = 5.0
"""No tariff is known above it: a price above was probably meant in cents."""


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
    kwh_by_hour: tuple[float, ...] = ()
    """With an hour-of-day tariff: the kWh price of each hour of the day over its mean; empty where it is flat."""

    def usd_h(self, busy_share: float) -> float:
        """An hour in which the machine is busy for that share of it. [USD/h]"""
        return self.fixed_usd_h + busy_share * self.busy_usd_h

    def by_hour_of_day(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Fixed and busy cost in each of the 24 hours of a day; their means are `fixed_usd_h` and `busy_usd_h`.

        Only energy follows the tariff:

        >>> night = HourlyCost("rig", "owned", 1.0, 0.2, {"idle energy": 0.1, "busy energy": 0.2}, "", "",
        ...                    (0.5,) * 12 + (1.5,) * 12)
        >>> [round(usd, 2) for usd in (night.by_hour_of_day()[0][0], night.by_hour_of_day()[1][23])]
        [0.95, 0.3]
        """
        idle, busy = self.parts.get("idle energy", 0.0), self.parts.get("busy energy", 0.0)
        factors = self.kwh_by_hour or (1.0,) * 24
        return (
            tuple(self.fixed_usd_h + idle * (factor - 1) for factor in factors),
            tuple(self.busy_usd_h + busy * (factor - 1) for factor in factors),
        )


class RigHardware(Document):
    """What the rig is, so that a run on other hardware is not priced by it. Left out: the run's machine."""

    accelerator: str | None = None
    accelerator_count: int = Field(default=0, ge=0)
    cpu: str | None = None
    vcpus: int | None = Field(default=None, ge=1)


class Rig(Document):
    """A machine that is owned, and all that owning it costs.

    Money may be written in another currency whose rate is stated: `usd_per: {eur: 1.08}`, then `capex_eur`.
    """

    name: str
    hardware: RigHardware | None = None
    usd_per: dict[str, float] = Field(default_factory=dict[str, float])
    """Rates of the currencies in which this file states money, USD per unit; kept to print them."""
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
    """Mean of the day where there is a tariff."""
    tariff_usd_per_kwh: tuple[float, ...] | None = None
    """Hour-of-day tariff: 24 prices, from midnight on."""
    energy_region: str | None = None
    """Instead of `usd_per_kwh`: a region of the catalogue, such as us-commercial."""
    spare_share: float = Field(default=0, ge=0, le=5)
    """Spare parts and machines kept ready, as a share of the purchase price: 0.05 is one spare for twenty machines."""
    hosting_usd_per_kw_month: float = Field(default=0, ge=0)
    labour_hours_per_month: float = Field(default=0, ge=0)
    labour_usd_per_hour: float = Field(default=0, ge=0)
    notes: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _in_usd(cls, values: Any, info: ValidationInfo) -> Any:
        """Other currencies become USD, a region of the context's energy prices or a tariff becomes `usd_per_kwh`."""
        if not isinstance(values, dict):
            return values
        rig = to_usd_keys(cast("dict[str, Any]", values))
        tariff, region = rig.get("tariff_usd_per_kwh"), rig.get("energy_region")
        said = [key for key in ("usd_per_kwh", "tariff_usd_per_kwh", "energy_region") if rig.get(key) is not None]
        if "energy_region" in said and len(said) > 1:
            raise ValueError(f"energy_region is instead of {said[0]}: give one of them")
        if "usd_per_kwh" in rig:
            return rig
        if isinstance(tariff, list | tuple):
            prices = [value for value in cast("list[Any]", list(tariff)) if isinstance(value, int | float)]  # pyright: ignore[reportUnknownArgumentType]
            if prices:
                rig["usd_per_kwh"] = sum(prices) / len(prices)
        elif isinstance(region, str):
            context = cast("Mapping[str, Mapping[str, EnergyPrice]]", info.context or {})
            known = context.get("energy", {})
            if region.lower() not in known:
                raise ValueError(f"energy_region: no region is called {region!r}; there are {', '.join(known)}")
            rig["usd_per_kwh"] = known[region.lower()].usd_per_kwh(rig.get("usd_per") or {})
        return rig

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.busy_w < self.idle_w:
            raise ValueError(f"busy_w ({self.busy_w:g}) is below idle_w ({self.idle_w:g})")
        if self.resale_usd > self.capex_usd:
            raise ValueError(f"resale_usd ({self.resale_usd:g}) is above capex_usd ({self.capex_usd:g})")
        return self

    @model_validator(mode="after")
    def _tariff_is_a_day(self) -> Self:
        tariff = self.tariff_usd_per_kwh
        if tariff is not None:
            if len(tariff) != 24 or min(tariff) < 0:
                raise ValueError(f"tariff_usd_per_kwh has 24 prices of at least 0, from midnight on, not {len(tariff)}")
            if abs(sum(tariff) / 24 - self.usd_per_kwh) > 1e-9 * max(1.0, self.usd_per_kwh):
                raise ValueError(
                    "usd_per_kwh and tariff_usd_per_kwh are both stated: give one (of a tariff its mean is used)"
                )
        return self


def read_rig(path: Path, catalog: Catalog) -> Rig:
    """A rig from its YAML file. Raises UserError with file, line, column and key."""
    rig = read_document(path, Rig, {"energy": catalog.energy})
    return rig.model_copy(update={"hardware": known_hardware(path, rig.hardware, catalog)})


def known_hardware(path: Path, hardware: RigHardware | None, catalog: Catalog) -> RigHardware | None:
    """The hardware that a file states, its accelerator by the catalogue's id. Raises PriceError where none is so."""
    if hardware is None or hardware.accelerator is None:
        return hardware
    try:
        known = catalog.accelerator(hardware.accelerator)
    except CatalogError as error:
        place = place_of(path, ["hardware"])
        raise PriceError(f"{place}: hardware.accelerator: {error.message}", fields=error.fields) from None
    return hardware.model_copy(update={"accelerator": known.id})


def energy_warning(rig: Rig, path: Path) -> list[str]:
    """Says so where a rig's energy was probably meant in cents."""
    if rig.usd_per_kwh <= DEAR_USD_PER_KWH:
        return []
    written = ("usd_per_kwh", "tariff_usd_per_kwh", *(f"{code}_per_kwh" for code in rig.usd_per))
    return [
        f"warning: {place_of(path, written)}: {rig.usd_per_kwh:g} USD per kWh is more than any tariff known "
        f"(over {DEAR_USD_PER_KWH:g} USD/kWh); was it meant in cents?"
    ]


def annuity_usd_per_year(
    capex_usd: Numbers, resale_usd: Numbers, discount_rate: Numbers, life_years: Numbers
) -> Numbers:
    """The constant yearly payment that is worth the purchase less the resale. [USD/year]

    (C - S / (1+r)^n) * r / (1 - (1+r)^-n), and (C - S) / n at r = 0: the capital recovery factor, e.g. Short, Packey,
    Holt, "A Manual for the Economic Evaluation of Energy Efficiency", NREL/TP-462-5173 (1995). All may be arrays.

    >>> annuity_usd_per_year(3800, 0, 0, 5)
    760.0
    >>> round(annuity_usd_per_year(3800, 500, 0.08, 5), 2)
    866.51
    """
    import numpy as np

    # by expm1 and log1p, since 1 + r loses a tiny rate
    log_growth = life_years * np.log1p(discount_rate)
    with np.errstate(divide="ignore", invalid="ignore"):
        discounted = (capex_usd - resale_usd * np.exp(-log_growth)) * discount_rate / -np.expm1(-log_growth)
    return where(np.equal(discount_rate, 0), (capex_usd - resale_usd) / life_years, discounted)


def owned_parts(
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
    hours_per_month: float = HOURS_PER_MONTH,
) -> dict[str, Numbers]:
    """What an hour of an owned machine at full load is made of. [USD/h]

    Annuity of the purchase, hosting, labour and idle energy are paid anyway, `busy energy` only while it is busy. The
    arguments are those of a `Rig`, and may be arrays. What is paid by the month (a twelfth of the annuity, hosting,
    labour) is the same for a month of 720 hours as for one of 730; energy goes by the hour.

    >>> parts = owned_parts(capex_usd=3800, life_years=5, idle_w=100, busy_w=300, usd_per_kwh=0.2)
    >>> {name: round(usd, 6) for name, usd in parts.items() if usd}
    {'purchase': 0.086758, 'idle energy': 0.02, 'busy energy': 0.04}
    >>> round(720 * owned_parts(capex_usd=3800, life_years=5, hours_per_month=720)["purchase"], 6)    # 760 a year
    63.333333
    """
    usd_per_watt_hour = pue * usd_per_kwh / 1000
    annuity = annuity_usd_per_year(capex_usd, resale_usd, discount_rate, life_years)
    return {
        "purchase": (1 + spare_share) * annuity / MONTHS_PER_YEAR / hours_per_month,
        "hosting": hosting_usd_per_kw_month * busy_w / 1000 / hours_per_month,
        "labour": labour_hours_per_month * labour_usd_per_hour / hours_per_month,
        "idle energy": idle_w * usd_per_watt_hour,
        "busy energy": (busy_w - idle_w) * usd_per_watt_hour,
    }


def owned(rig: Rig, origin: str, hours_per_month: float = HOURS_PER_MONTH) -> HourlyCost:
    """The hourly cost of a rig: annuity, hosting, labour and idle energy anyway, energy above idle while busy.

    Args:
        rig: its prices and watts.
        origin: where they come from (a file, an assumption), for the provenance.
        hours_per_month: over which what is paid by the month is spread.
    """
    made_of = owned_parts(
        capex_usd=rig.capex_usd, life_years=rig.life_years, resale_usd=rig.resale_usd, spare_share=rig.spare_share,
        discount_rate=rig.discount_rate, idle_w=rig.idle_w, busy_w=rig.busy_w, pue=rig.pue,
        usd_per_kwh=rig.usd_per_kwh, hosting_usd_per_kw_month=rig.hosting_usd_per_kw_month,
        labour_hours_per_month=rig.labour_hours_per_month, labour_usd_per_hour=rig.labour_usd_per_hour,
        hours_per_month=hours_per_month,
    )  # fmt: skip
    parts = {name: float(usd) for name, usd in made_of.items()}
    busy = parts["busy energy"]
    tariff = rig.tariff_usd_per_kwh
    factors = tuple(price / rig.usd_per_kwh for price in tariff) if tariff and rig.usd_per_kwh > 0 else ()
    fixed = sum(value for name, value in parts.items() if name != "busy energy")
    return HourlyCost(rig.name, "owned", fixed, busy, parts, source=origin, kwh_by_hour=factors)


def rented(offer: Offer, kind: PriceKind = "on-demand") -> HourlyCost:
    """The hourly cost of an offer; of spot prices the cheapest zone's. Raises PriceError where it has none."""
    price = _newest_with(offer, kind)
    usd_h = _usd_h(price, kind) if price is not None else None
    if price is None or usd_h is None:
        known = [item for item in PRICE_KINDS if _newest_with(offer, item)]
        raise PriceError(
            f"{offer.id} has no {kind} price in the catalogue; it has {', '.join(known)}",
            field="price_kind",
        )
    name = offer.id if kind == "on-demand" else f"{offer.id} ({kind})"
    source = price.source
    if kind == "spot" and price.spot_usd_h is not None and price.spot_usd_h[0] < price.spot_usd_h[1]:
        source += "; the cheapest zone's, of ${:.4g} to ${:.4g}".format(*price.spot_usd_h)
    return HourlyCost(name, "rented", usd_h, 0.0, {"rent": usd_h}, source, price.date)


def _newest_with(offer: Offer, kind: PriceKind) -> Price | None:
    priced = [price for price in offer.prices if _usd_h(price, kind) is not None]
    return newest(priced) if priced else None


def _usd_h(price: Price, kind: PriceKind) -> float | None:
    match kind:
        case "on-demand":
            return price.on_demand_usd_h
        case "spot":
            # the cheapest zone's: between two zones nobody sells
            return price.spot_usd_h[0] if price.spot_usd_h else None
        case "reserved-1y":
            return price.reserved_1y_usd_h
        case "reserved-3y":
            return price.reserved_3y_usd_h


def zones_note(offer: Offer) -> list[str]:
    """What is to be said of a spot price that is one of several zones'."""
    price = _newest_with(offer, "spot")
    if price is None or price.spot_usd_h is None or price.spot_usd_h[0] == price.spot_usd_h[1]:
        return []
    low, high = price.spot_usd_h
    return [f"{offer.id} (spot): ${low:.4g} an hour is the cheapest zone's price; zones ask up to ${high:.4g}"]


def has_price(offer: Offer, kind: PriceKind) -> bool:
    """Whether the offer can be priced that way."""
    return _newest_with(offer, kind) is not None
