"""Spot, commitments, storage, egress, tariffs and currencies, against sums done another way."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.catalog.documents import read_document
from rackrate.catalog.load import load_catalog
from rackrate.economics.currency import Currency, parse_currency, to_usd_keys
from rackrate.economics.hourly import HourlyCost, Rig, owned, read_rig
from rackrate.economics.terms import Contract, committed_usd_h, contracted, lost_share, spot_usd_h, with_interruptions
from rackrate.errors import PriceError, UserError

RATES = st.floats(1e-4, 1e4)


@settings(deadline=None)
@given(rate=RATES, amount=st.floats(-1e12, 1e12))
def test_currencies_round_trip(rate: float, amount: float) -> None:
    currency = Currency("EUR", rate)
    assert currency.of_usd(currency.usd(amount)) == pytest.approx(amount, rel=1e-12, abs=1e-12)
    assert currency.usd(currency.of_usd(amount)) == pytest.approx(amount, rel=1e-12, abs=1e-12)
    assert parse_currency(f"eur={rate!r}") == currency


@pytest.mark.parametrize(
    "text", ["EUR", "EUR=", "EUR=x", "EURO=1", "EUR=0", "EUR=-1", "EUR=inf", "EUR=nan", "EUR=1e308", "EUR=1e-9", "=1"]
)
def test_a_currency_without_a_usable_rate_is_refused(text: str) -> None:
    with pytest.raises(PriceError, match=r"EUR|currency"):
        parse_currency(text)


# --- money of a file in other currencies ---

RIG_USD = """
name: rack
capex_usd: 12500
resale_usd: 1250
life_years: 5
idle_w: 100
busy_w: 400
usd_per_kwh: 0.25
hosting_usd_per_kw_month: 125
labour_hours_per_month: 2
labour_usd_per_hour: 62.5
"""
RIG_EUR = """
name: rack
usd_per: {eur: 1.25}
capex_eur: 10000
resale_eur: 1000
life_years: 5
idle_w: 100
busy_w: 400
eur_per_kwh: 0.2
hosting_eur_per_kw_month: 100
labour_hours_per_month: 2
labour_eur_per_hour: 50
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_rig_in_euros_is_the_rig_in_dollars(tmp_path: Path) -> None:
    dollars = read_document(write(tmp_path / "usd.yaml", RIG_USD), Rig)
    euros = read_document(write(tmp_path / "eur.yaml", RIG_EUR), Rig)
    assert owned(euros, "x").parts == pytest.approx(owned(dollars, "x").parts)
    assert euros.usd_per == {"eur": 1.25}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("capex_chf: 1", "unknown key 'capex_chf'"),
        ("capex_usd: 1", "capex_usd is stated twice"),
        ("energy_region: mars", r"rig.yaml:\d+:1: energy_region: no region is called 'mars'; there are us-"),
    ],
)
def test_money_that_cannot_be_converted_is_refused(tmp_path: Path, line: str, said: str) -> None:
    text = RIG_EUR + line + "\n"
    if line.startswith("energy_region"):
        text = text.replace("eur_per_kwh: 0.2\n", "")
    with pytest.raises(UserError, match=said):
        read_rig(write(tmp_path / "rig.yaml", text), load_catalog())


@pytest.mark.parametrize("rate", ["{eur: 0}", "{eur: -1}", "{eur: x}", "{EURO: 1.1}"])
def test_a_rate_must_be_a_positive_number(tmp_path: Path, rate: str) -> None:
    with pytest.raises(UserError, match="usd_per: "):
        read_document(write(tmp_path / "rig.yaml", RIG_EUR.replace("{eur: 1.25}", rate)), Rig)


def test_only_keys_that_name_the_currency_are_converted() -> None:
    assert to_usd_keys({"usd_per": {"eur": 2.0}, "neural": 1, "x_eur_y": 1}) == {
        "usd_per": {"eur": 2.0},
        "neural": 1,
        "x_usd_y": 2.0,
    }


# --- energy ---


def test_every_region_has_a_price_that_is_one(tmp_path: Path) -> None:
    catalog = load_catalog()
    for region, price in catalog.energy.items():
        usd = price.usd_per_kwh({"eur": 1.1})
        assert 0.01 < usd < 1, region
        keys = f"name: r, capex_usd: 0, life_years: 5, idle_w: 0, busy_w: 1, energy_region: {region}"
        text = f"{{{keys}, usd_per: {{eur: 1.1}}}}"
        rig = read_rig(write(tmp_path / "rig.yaml", text), catalog)
        assert rig.usd_per_kwh == usd
    with pytest.raises(ValueError, match="is in EUR: state a rate"):
        catalog.energy["eu-household"].usd_per_kwh({})


@settings(deadline=None)
@given(tariff=st.lists(st.floats(0, 2), min_size=24, max_size=24), share=st.floats(0, 1))
def test_a_tariff_costs_its_mean_over_a_day(tariff: list[float], share: float) -> None:
    base = {"name": "r", "capex_usd": 8760, "life_years": 1, "idle_w": 500, "busy_w": 1500, "pue": 1.2}
    cost = owned(Rig.model_validate({**base, "tariff_usd_per_kwh": tariff}), "x")
    fixed, busy = cost.by_hour_of_day()
    day = sum(fixed) + share * sum(busy)
    by_hand = 24 * 1.0 + sum(1.2 * price * (0.5 + share * 1.0) for price in tariff)
    assert day == pytest.approx(by_hand, rel=1e-9)
    assert cost.usd_h(share) * 24 == pytest.approx(day, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tariff_usd_per_kwh": [0.1] * 23}, "24 prices"),
        ({"tariff_usd_per_kwh": [-0.1] + [0.1] * 23}, "24 prices"),
        ({"tariff_usd_per_kwh": [0.1] * 24, "usd_per_kwh": 0.2}, "both stated"),
        ({}, "usd_per_kwh"),
    ],
)
def test_a_tariff_is_a_whole_day(change: dict[str, object], said: str) -> None:
    base = {"name": "r", "capex_usd": 1, "life_years": 1, "idle_w": 0, "busy_w": 1}
    with pytest.raises(ValueError, match=said):
        Rig.model_validate({**base, **change})


def test_one_spare_for_twenty_makes_the_purchase_a_twentieth_dearer() -> None:
    rig = Rig(name="r", capex_usd=8760, life_years=1, idle_w=0, busy_w=0, usd_per_kwh=0, spare_share=0.05)
    assert owned(rig, "x").fixed_usd_h == pytest.approx(1.05)


# --- rented ---


@settings(deadline=None, max_examples=50)
@given(
    interruptions=st.floats(0, 146),
    recovery_s=st.floats(0, 3600),
    price=st.floats(0.01, 100),
    hours=st.floats(100, 1e4),
)
def test_a_spot_machine_served_as_long_as_was_paid_for(
    interruptions: float, recovery_s: float, price: float, hours: float
) -> None:
    lost_h = hours * interruptions / 730 * recovery_s / 3600  # of a machine that is paid for `hours`
    usd = float(spot_usd_h(price, lost_share(interruptions, recovery_s)))
    assert usd * (hours - lost_h) == pytest.approx(price * hours, rel=1e-9)


def test_a_spot_machine_that_never_serves_has_no_price() -> None:
    assert spot_usd_h(1.0, lost_share(1460, 3600)) == math.inf
    assert np.asarray(spot_usd_h(1.0, lost_share(np.array([730 / 2, 1460]), 3600))).tolist() == [2.0, math.inf]
    spot = HourlyCost("box (spot)", "rented", 1.0, 0.0)
    with pytest.raises(PriceError, match="loses 100% of its time to interruptions never serves"):
        with_interruptions(spot, 1460, 3600)


def test_money_up_front_is_worth_its_payments() -> None:
    hourly = committed_usd_h(upfront_usd=10_000, usd_h=0.0, term_years=3, discount_rate=0.1)
    worth = sum(hourly * 8760 / 1.1**year for year in (1, 2, 3))
    assert worth == pytest.approx(10_000)


def test_a_contract_by_hand(tmp_path: Path) -> None:
    file = write(
        tmp_path / "deal.yaml",
        """
name: three years up front
usd_per: {eur: 1.25}
eur_per_hour: 0.8
committed: true
upfront_usd: 26280
term_years: 3
storage_gib: 730
storage_usd_per_gib_month: 0.1
egress_gb_per_busy_hour: 2
egress_usd_per_gb: 0.05
""",
    )
    cost = contracted(read_document(file, Contract), str(file))
    assert cost.parts == pytest.approx({"rent": 1.0, "up front": 1.0, "storage": 0.1, "egress": 0.1})
    assert (cost.fixed_usd_h, cost.busy_usd_h) == (pytest.approx(2.1), pytest.approx(0.1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"upfront_usd": 5}, "committed: true"),
        ({"committed": True}, "term_years"),
        ({"interruptions_per_month": 1}, "recovery_s"),
        ({"usd_per_hour": -1}, "greater than or equal to 0"),
    ],
)
def test_a_contract_that_does_not_add_up_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Contract.model_validate({"name": "c", "usd_per_hour": 1, **change})


def test_interruptions_are_a_part_of_the_price() -> None:
    spot = HourlyCost("box (spot)", "rented", 0.9, 0.1, {"rent": 0.9, "egress": 0.1})
    dearer = with_interruptions(spot, interruptions_per_month=73, recovery_s=3600)
    assert dearer.fixed_usd_h == pytest.approx(1.0)
    assert sum(dearer.parts.values()) == pytest.approx(dearer.usd_h(1.0))
