"""What a machine-hour costs, against present values summed one by one, and figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rackrate.catalog.load import load_catalog
from rackrate.catalog.types import Offer, Price, Source
from rackrate.economics.hardware import assumed_rig, matching, mismatch, nearest_offers, rig_mismatch
from rackrate.economics.hourly import PriceKind, Rig, RigHardware, annuity_usd_per_year, has_price, owned, rented
from rackrate.errors import PriceError
from rackrate.runs.records import Gpu, Machine

SOURCES = (Source(source="price list", date="2026"),)
RIG = Rig(
    name="a rig",
    capex_usd=3800,
    life_years=5,
    idle_w=100,
    busy_w=400,
    pue=1.2,
    usd_per_kwh=0.15,
    hosting_usd_per_kw_month=150,
    labour_hours_per_month=2,
    labour_usd_per_hour=50,
)


def make_offer(
    name: str, *prices: Price, accelerator: str | None = None, count: int = 0, cpu: str = "zen4", vcpus: int = 2
) -> Offer:
    return Offer(
        id=f"acme/{name}",
        provider="acme",
        instance=name,
        accelerator=accelerator,
        accelerator_count=count,
        cpu=cpu,
        vcpus=vcpus,
        prices=prices or (on_demand(1.0),),
        sources=SOURCES,
    )


def on_demand(usd_h: float, date: str = "2026") -> Price:
    return Price(date=date, source="price list", on_demand_usd_h=usd_h)


# --- owned ---


def worth_today(payment: Fraction, rate: Fraction, years: int) -> Fraction:
    """A payment at the end of every year, discounted one by one."""
    total = Fraction(0)
    for year in range(1, years + 1):
        total += payment / (1 + rate) ** year
    return total


@settings(deadline=None, max_examples=200)
@given(
    capex=st.floats(1, 1e6),
    resale_share=st.floats(0, 1),
    rate=st.just(0.0) | st.floats(1e-4, 0.5),
    years=st.integers(1, 30),
)
def test_the_annuity_is_worth_the_purchase_less_the_resale(
    capex: float, resale_share: float, rate: float, years: int
) -> None:
    resale = capex * resale_share
    payment = float(annuity_usd_per_year(capex, resale, rate, years))
    exact = Fraction(rate)
    paid = worth_today(Fraction(payment), exact, years) + Fraction(resale) / (1 + exact) ** years
    assert float(paid) == pytest.approx(capex, rel=1e-9)


@pytest.mark.parametrize("rate", [1e-17, 1e-12, 1e-8])
def test_the_annuity_at_a_tiny_rate_is_that_at_none(rate: float) -> None:
    assert annuity_usd_per_year(3800, 500, rate, 5) == pytest.approx(annuity_usd_per_year(3800, 500, 0, 5), rel=1e-6)


def test_money_that_costs_more_makes_a_rig_dearer() -> None:
    payments = [annuity_usd_per_year(3800, 500, rate / 100, 5) for rate in range(31)]
    assert payments == sorted(payments)
    assert payments[0] < payments[-1]


def test_a_rig_by_hand() -> None:
    cost = owned(RIG, "rig.yaml")
    assert cost.parts == pytest.approx(
        {
            "purchase": 760 / 8760,  # 3,800 over five years
            "hosting": 150 * 0.4 / 730,
            "labour": 100 / 730,
            "idle energy": 0.1 * 1.2 * 0.15,
            "busy energy": 0.3 * 1.2 * 0.15,
        }
    )
    assert cost.busy_usd_h == pytest.approx(0.054)
    assert cost.usd_h(0.0) == pytest.approx(0.0867580 + 0.0821918 + 0.1369863 + 0.018)
    assert cost.usd_h(0.5) - cost.usd_h(0.0) == pytest.approx(0.027)
    assert (cost.kind, cost.source) == ("owned", "rig.yaml")


RIGS = st.builds(
    Rig,
    name=st.just("any"),
    capex_usd=st.floats(0, 1e6),
    life_years=st.floats(0.5, 30),
    discount_rate=st.just(0.0) | st.floats(1e-3, 0.5),
    idle_w=st.floats(0, 500),
    busy_w=st.floats(500, 20_000),
    pue=st.floats(1, 3),
    usd_per_kwh=st.floats(0, 1),
    hosting_usd_per_kw_month=st.floats(0, 500),
    labour_hours_per_month=st.floats(0, 100),
    labour_usd_per_hour=st.floats(0, 200),
)


@settings(deadline=None)
@given(rig=RIGS, share=st.floats(0, 1))
def test_the_parts_are_the_whole_and_being_busy_never_saves(rig: Rig, share: float) -> None:
    cost = owned(rig, "here")
    assert sum(cost.parts.values()) == pytest.approx(cost.usd_h(1.0), rel=1e-9, abs=1e-12)
    assert min(cost.parts.values()) >= 0
    assert cost.usd_h(0.0) <= cost.usd_h(share) * (1 + 1e-12) + 1e-12
    assert cost.usd_h(share) <= cost.usd_h(1.0) * (1 + 1e-12) + 1e-12


@settings(deadline=None)
@given(rig=RIGS)
def test_a_rig_that_was_free_costs_energy_hosting_and_labour(rig: Rig) -> None:
    free = owned(rig.model_copy(update={"capex_usd": 0.0, "resale_usd": 0.0}), "here")
    assert free.parts["purchase"] == 0
    rest = ("hosting", "labour", "idle energy", "busy energy")
    assert free.usd_h(1.0) == pytest.approx(sum(free.parts[name] for name in rest))
    paid = owned(rig, "here")
    assert {name: free.parts[name] for name in rest} == {name: paid.parts[name] for name in rest}


def test_a_rig_that_costs_nothing_costs_nothing() -> None:
    nothing = Rig(name="gift", capex_usd=0, life_years=5, idle_w=0, busy_w=0, usd_per_kwh=0.3)
    assert owned(nothing, "here").usd_h(1.0) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"busy_w": 50}, r"busy_w \(50\) is below idle_w \(100\)"),
        ({"resale_usd": 4000}, r"resale_usd \(4000\) is above capex_usd \(3800\)"),
        ({"energy_region": "us-commercial"}, r"energy_region is instead of usd_per_kwh"),
    ],
)
def test_a_rig_that_cannot_be_is_refused(change: dict[str, float], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Rig.model_validate({**RIG.model_dump(exclude_none=True), **change})


# --- rented ---


def test_rent_is_the_newest_price_whatever_the_load() -> None:
    offer = make_offer("box", on_demand(3.0, "2024-05"), on_demand(2.0, "2026-02-01"))
    cost = rented(offer)
    assert (cost.usd_h(0.0), cost.usd_h(1.0), cost.date) == (2.0, 2.0, "2026-02-01")
    assert (cost.name, cost.kind, cost.source) == ("acme/box", "rented", "price list")
    assert cost.parts == {"rent": 2.0}


def test_of_two_prices_of_one_day_the_last_counts() -> None:
    offer = make_offer("box", on_demand(3.0, "2026"), on_demand(2.0, "2026"))
    assert offer.price.on_demand_usd_h == 2.0  # history is appended, newest last
    assert rented(offer).fixed_usd_h == 2.0


KINDS: dict[PriceKind, float] = {"on-demand": 4.0, "spot": 1.0, "reserved-1y": 3.0, "reserved-3y": 2.0}


@pytest.mark.parametrize(("kind", "usd_h"), KINDS.items())
def test_each_kind_of_price(kind: PriceKind, usd_h: float) -> None:
    price = Price(
        date="2026",
        source="price list",
        on_demand_usd_h=4.0,
        spot_usd_h=(1.0, 2.0),
        reserved_1y_usd_h=3.0,
        reserved_3y_usd_h=2.0,
    )
    offer = make_offer("box", price)
    assert has_price(offer, kind)
    assert rented(offer, kind).fixed_usd_h == usd_h
    assert (kind in rented(offer, kind).name) == (kind != "on-demand")


def test_a_price_that_is_older_but_the_only_one_of_its_kind_counts() -> None:
    spot = Price(date="2025", source="price list", spot_usd_h=(0.4, 0.6))
    cost = rented(make_offer("box", spot, on_demand(2.0, "2026")), "spot")
    assert (cost.fixed_usd_h, cost.date) == (0.4, "2025")  # the cheapest zone's
    assert "the cheapest zone's, of $0.4 to $0.6" in cost.source


def test_a_kind_that_is_not_listed_is_refused_with_those_that_are() -> None:
    offer = make_offer("box", on_demand(1.0))
    assert not has_price(offer, "spot")
    with pytest.raises(PriceError, match=r"acme/box has no spot price in the catalogue; it has on-demand$"):
        rented(offer, "spot")


# --- which hardware ---

CPU = Machine(origin="detected", cpu_model="a CPU", cpu_architecture="zen4", logical_cpus=2)
T4S = Machine(origin="detected", gpus=(Gpu(name="Tesla T4", count=4, accelerator="t4"),))
OFFERS = [
    make_offer("big", on_demand(9.0), vcpus=64),
    make_offer("dear", on_demand(0.3)),
    make_offer("cheap", on_demand(0.1)),
    make_offer("intel", on_demand(0.01), cpu="ice-lake"),
    make_offer("t4x4", on_demand(3.9), accelerator="t4", count=4, vcpus=48),
    make_offer("t4x1", on_demand(0.5), accelerator="t4", count=1),
    make_offer("a10gx4", on_demand(0.2), accelerator="a10g", count=4),
]


FEW = replace(load_catalog(), offers={offer.id: offer for offer in OFFERS})


def names(offers: list[Offer]) -> list[str]:
    return [offer.instance for offer in offers]


def test_offers_match_by_type_and_number_cheapest_first() -> None:
    assert names(matching(CPU, OFFERS)) == ["cheap", "dear"]
    assert names(matching(T4S, OFFERS)) == ["t4x4"]


def test_the_nearest_offer_is_of_the_same_type_and_nearest_in_size() -> None:
    eight = Machine(origin="detected", cpu_architecture="zen4", logical_cpus=8)
    assert names(nearest_offers(eight, FEW))[:2] == ["cheap", "dear"]
    two_t4 = Machine(origin="detected", gpus=(Gpu(name="Tesla T4", count=2, accelerator="t4"),))
    assert names(nearest_offers(two_t4, FEW)) == ["t4x4"]  # one does not serve what two do
    assert nearest_offers(Machine(origin="unknown"), FEW) == []


def test_a_machine_that_nobody_rents_out_is_nearest_to_its_vendors_next_generation() -> None:
    """An Emerald Rapids is a Sapphire Rapids with more cache, and no Arm."""
    emerald = Machine(origin="detected", cpu_architecture="emerald-rapids", logical_cpus=2)
    assert nearest_offers(emerald, load_catalog())[0].cpu == "sapphire-rapids"


@pytest.mark.parametrize(
    ("machine", "offer"),
    [
        (CPU, "t4x4"),
        (CPU, "intel"),
        (CPU, "big"),
        (T4S, "t4x1"),
        (T4S, "a10gx4"),
        (T4S, "cheap"),
        (Machine(origin="unknown"), "cheap"),
    ],
)
def test_other_hardware_is_told_apart(machine: Machine, offer: str) -> None:
    (entry,) = [item for item in OFFERS if item.instance == offer]
    assert mismatch(machine, entry)


def test_a_machine_stated_by_its_offer_matches_it() -> None:
    stated = Machine(origin="stated", offer="acme/big", cpu_architecture=None)
    assert mismatch(stated, OFFERS[0]) is None


def test_a_rig_that_says_what_it_is_is_compared() -> None:
    silent = RIG
    t4s = RIG.model_copy(update={"hardware": RigHardware(accelerator="t4", accelerator_count=4)})
    cpu = RIG.model_copy(update={"hardware": RigHardware(cpu="zen4", vcpus=2)})
    assert rig_mismatch(CPU, silent) is None
    assert rig_mismatch(T4S, t4s) is None
    assert rig_mismatch(CPU, cpu) is None
    assert rig_mismatch(CPU, t4s)
    assert rig_mismatch(T4S, cpu)
    assert rig_mismatch(Machine(origin="unknown"), cpu)


def test_only_a_detected_machine_without_gpus_is_assumed() -> None:
    assumed = assumed_rig(CPU)
    assert assumed is not None
    assert owned(assumed, "assumption").usd_h(1.0) == pytest.approx(0.02, abs=0.02)
    assert "assumption" in (assumed.notes or "").lower()
    assert assumed_rig(T4S) is None
    assert assumed_rig(Machine(origin="unknown")) is None


def test_what_is_paid_by_the_month_does_not_shrink_with_its_hours() -> None:
    rig = Rig(
        name="rig", capex_usd=38_000, life_years=5, resale_usd=4_000, discount_rate=0.08, idle_w=350, busy_w=1650,
        pue=1.4, usd_per_kwh=0.19, hosting_usd_per_kw_month=150, labour_hours_per_month=4, labour_usd_per_hour=60,
        spare_share=0.05,
    )  # fmt: skip
    # by hand: labour 240, hosting 247.50, and a twelfth of 1.05 x annuity; only energy counts hours
    annuity = (38_000 - 4_000 / 1.08**5) * 0.08 / (1 - 1.08**-5)
    energy = 720 * (350 + 0.3 * 1300) / 1000 * 1.4 * 0.19
    by_hand = 1.05 * annuity / 12 + 150 * 1.65 + 240 + energy
    assert owned(rig, "rig.yaml", 720).usd_h(0.3) * 720 == pytest.approx(by_hand, rel=1e-12)
    assert round(by_hand, 2) == 1402.33
    for hours in (672, 720, 744):
        fixed = owned(rig.model_copy(update={"idle_w": 0.0}), "rig.yaml", hours).fixed_usd_h * hours
        assert fixed == pytest.approx(1.05 * annuity / 12 + 247.5 + 240, rel=1e-12)
