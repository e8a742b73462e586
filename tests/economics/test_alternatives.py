"""A month of machines and of an API, against the scalar formulas they must agree with and against plain counting."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.catalog.apis import ApiPrice
from rackrate.economics.alternatives import (
    Demand,
    Machine,
    Tariff,
    api_month_usd,
    first_crossing_tokens,
    fleet_month,
)
from rackrate.economics.hourly import Rig, owned, owned_parts
from rackrate.economics.ratecard import Serving, rate_card
from rackrate.economics.sensitivity import tornado
from rackrate.economics.uncertainty import Fixed, Interval80, Uniform

RATES = st.floats(0.01, 1e4)


@settings(deadline=None, max_examples=150)
@given(
    capex=st.floats(0, 1e6),
    resale_share=st.floats(0, 1),
    life=st.floats(0.5, 15),
    rate=st.just(0.0) | st.floats(1e-6, 0.5),
    idle=st.floats(0, 5000),
    more=st.floats(0, 5000),
    pue=st.floats(1, 3),
    kwh=st.floats(0, 1),
    hosting=st.floats(0, 500),
    hours=st.floats(0, 100),
)
def test_an_owned_hour_is_that_of_the_rate_card(
    capex: float, resale_share: float, life: float, rate: float, idle: float, more: float, pue: float, kwh: float,
    hosting: float, hours: float,
) -> None:  # fmt: skip
    figures = {
        "capex_usd": capex, "resale_usd": capex * resale_share, "life_years": life, "discount_rate": rate,
        "idle_w": idle, "busy_w": idle + more, "pue": pue, "usd_per_kwh": kwh, "hosting_usd_per_kw_month": hosting,
        "labour_hours_per_month": hours, "labour_usd_per_hour": 60.0,
    }  # fmt: skip
    cost = owned(Rig.model_validate({"name": "rig", **figures}), "test")
    arrays: Any = {key: np.array([value, value]) for key, value in figures.items()}
    drawn = owned_parts(**arrays)
    for name, usd in cost.parts.items():
        assert np.asarray(drawn[name]).tolist() == pytest.approx([usd, usd], rel=1e-12, abs=1e-15)


@settings(deadline=None)
@given(
    fresh=RATES, cached=RATES, out=RATES, into=st.floats(0, 10), of=st.floats(0, 10), cache=st.none() | st.floats(0, 5)
)
def test_an_apis_month_is_its_bill(
    fresh: float, cached: float, out: float, into: float, of: float, cache: float | None
) -> None:
    price = ApiPrice("p", "m", "m", into, of, cache, "list", "2026-11-10")
    usd = api_month_usd(Tariff(into, of, cache), Demand(fresh, cached, out))
    assert float(usd) == pytest.approx(price.bill_usd(fresh + cached, out, cached), rel=1e-9, abs=1e-12)
    less = api_month_usd(Tariff(into, of, cache, discount=0.25, tokenizer_ratio=1.2), Demand(fresh, cached, out))
    assert float(less) == pytest.approx(float(usd) * 0.9, rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(
    tok_s=RATES,
    fixed=RATES,
    busy=st.floats(0, 10),
    tokens=st.floats(1, 1e13),
    peak=st.floats(1, 10),
    load=st.floats(0.1, 1),
)
def test_machines_are_counted_for_the_peak(
    tok_s: float, fixed: float, busy: float, tokens: float, peak: float, load: float
) -> None:
    month = fleet_month(
        Machine(tok_s, fixed, busy, max_load=load), Demand(tokens / 2, 0, tokens / 2, peak_to_mean=peak)
    )
    asked_at_peak = tokens / (730 * 3600) * peak
    machines = float(month.machines)
    assert machines * tok_s * load >= asked_at_peak * (1 - 1e-9)
    assert machines == 1 or (machines - 1) * tok_s * load < asked_at_peak * (1 + 1e-9)
    busy_hours = tokens / tok_s / 3600
    assert float(month.usd) == pytest.approx(machines * fixed * 730 + busy_hours * busy, rel=1e-9)
    assert float(month.utilisation) == pytest.approx(busy_hours / (machines * 730), rel=1e-9)


@settings(deadline=None)
@given(tok_s=RATES, fixed=RATES, busy=st.floats(0, 10), tokens=st.floats(1, 1e12), more=st.floats(1, 100))
def test_more_traffic_never_lowers_the_bill(
    tok_s: float, fixed: float, busy: float, tokens: float, more: float
) -> None:
    machine = Machine(tok_s, fixed, busy)
    less = float(fleet_month(machine, Demand(0, 0, tokens)).usd)
    assert float(fleet_month(machine, Demand(0, 0, tokens * more)).usd) >= less * (1 - 1e-12)


def test_one_full_machine_costs_what_the_rate_card_says() -> None:
    serving = Serving(40.0, 60.0, 0.0, None, None, None, "made up")
    from rackrate.economics.hourly import HourlyCost

    card = rate_card(serving, HourlyCost("box", "owned", 2.0, 0.5), 0.4)
    month = fleet_month(Machine(100.0, 2.0, 0.5), Demand(card.input_tokens_month, 0, card.output_tokens_month))
    assert float(month.usd) == pytest.approx(card.usd_month)


@settings(deadline=None)
@given(tok_s=st.floats(10, 1e4), fixed=st.floats(0.1, 100), dearer=st.floats(1.05, 50), peak=st.floats(1, 4))
def test_at_the_first_crossing_one_machine_costs_what_the_api_does(
    tok_s: float, fixed: float, dearer: float, peak: float
) -> None:
    capacity = tok_s * 3600 * 730 / peak
    per_token = fixed * 730 / capacity * dearer
    machine, demand = Machine(tok_s, fixed), Demand(0, 0, 1e9, peak_to_mean=peak)
    volume = float(first_crossing_tokens(machine, demand, per_token * 1e9))
    month = fleet_month(machine, Demand(0, 0, volume, peak_to_mean=peak))
    assert float(month.machines) == 1
    assert float(month.usd) == pytest.approx(per_token * volume, rel=1e-9)
    assert math.isinf(float(first_crossing_tokens(machine, demand, per_token / dearer * 0.99 * 1e9)))


def test_a_tornado_moves_each_alone() -> None:
    """A linear outcome: each bar is the slope times the width."""
    chart = tornado(
        lambda at: 3 * at["a"] - 2 * at["b"] + at["c"],
        {"a": Uniform(0, 10), "b": Fixed(5), "c": Interval80(-1, 1), "idle": Fixed(0)},
        {"b": (0.0, 5.5)},
    )
    assert chart.outcome == pytest.approx(15 - 10)
    assert [bar.name for bar in chart.bars] == ["a", "b", "c"]
    assert [bar.swing for bar in chart.bars] == pytest.approx([3 * 8, 2 * (5.5 - 4), 2])
    assert (chart.bars[1].low_input, chart.bars[1].high_input) == (4.0, 5.5)  # cut at what it can be
    assert chart.bars[0].basis == "80 % interval"
    assert chart.bars[1].basis == "+-20 %"


def test_draws_pass_through_unchanged() -> None:
    speeds = np.array([50.0, 100.0, 200.0])
    demand = Demand(0, 0, 1e9)
    together = fleet_month(Machine(speeds, 2.0), demand)
    alone = [float(fleet_month(Machine(float(speed), 2.0), demand).usd) for speed in speeds]
    assert np.asarray(together.usd).tolist() == alone
