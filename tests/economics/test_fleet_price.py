"""A fleet's bill: every micro-dollar is somewhere, more traffic never lowers it, free machines cost energy."""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.economics.fleet import Policy
from rackrate.economics.fleet_card import MICRO, apportion, billed
from rackrate.economics.fleet_day import busiest_day, mean_day
from rackrate.economics.fleet_price import price_fleet, price_models
from rackrate.economics.fleet_types import FleetModel, FleetPlan, FleetPricing, FleetShape
from rackrate.economics.hourly import HourlyCost, Rig, owned
from rackrate.economics.mix import FleetOffer
from rackrate.economics.ratecard import Serving
from rackrate.economics.replica import Replica, busy_time, parse_capacity, replica_of
from rackrate.errors import PriceError, UserError, WorkloadError
from rackrate.workload.traffic import Profile, Traffic, steady, tiled, with_lengths

# --- apportioning ---


@settings(deadline=None)
@given(
    micros=st.integers(0, 10**15),
    weights=st.lists(st.floats(0, 1e12), min_size=1, max_size=6).filter(any),
)
def test_parts_are_the_whole_exactly_and_each_within_a_micro_dollar(micros: int, weights: list[float]) -> None:
    total = micros * MICRO
    parts = apportion(total, weights)
    assert sum(parts, start=Decimal(0)) == total
    whole = sum(map(Fraction, weights), start=Fraction(0))
    for part, weight in zip(parts, weights, strict=True):
        assert abs(Fraction(part) - Fraction(total) * Fraction(weight) / whole) < Fraction(MICRO)
        assert part >= 0


def test_a_bill_needs_somebody_to_bear_it() -> None:
    assert apportion(Decimal(0), [0, 0]) == [0, 0]
    for total, weights in ((Decimal(1), [0.0]), (Decimal(-1), [1.0]), (Decimal(1), [-1.0, 2.0])):
        with pytest.raises(PriceError):
            apportion(total, weights)


# --- whole fleets ---

STEPS = 48


def offer(usd_h: float, busy: float = 0.0, *, committed: bool = False, name: str = "box") -> FleetOffer:
    parts = {"rent": usd_h, "busy energy": busy}
    return FleetOffer(HourlyCost(name, "rented", usd_h, busy, parts), committed)


def traffic(
    requests: list[float], input_tokens: float = 700, output_tokens: float = 300, cached: float = 200
) -> Traffic:
    asked = Traffic(1800.0, np.array(requests, dtype=float), None, None)
    return with_lengths(asked, input_tokens, output_tokens, cached)


REQUESTS = st.lists(st.integers(0, 30_000), min_size=STEPS, max_size=STEPS).filter(any)
REPLICAS = st.builds(
    Replica,
    request_s=st.none(),
    input_tok_s=st.floats(100, 1e5),
    output_tok_s=st.floats(100, 1e5),
    cached_tok_s=st.none() | st.floats(1e3, 1e6),
)
PRICES = st.floats(0.01, 50)
OFFERS = st.tuples(PRICES, PRICES, PRICES, st.floats(0, 1)).map(
    lambda usd: [
        offer(usd[0], name="od"),
        offer(usd[1], usd[3], name="spot"),
        offer(usd[2], committed=True, name="reserved"),
    ]
)
POLICIES = st.builds(
    Policy,
    headroom=st.sampled_from([1.0, 1.25]),
    floor=st.integers(0, 2),
    spares=st.integers(0, 1),
    cold_start_s=st.sampled_from([0.0, 1800.0]),
    scale_down_s=st.sampled_from([0.0, 3600.0]),
)


def by_name(pricing: FleetPricing) -> dict[str, FleetShape]:
    return {shape.name: shape for shape in pricing.shapes}


@settings(deadline=None, max_examples=25)
@given(requests=REQUESTS, replica=REPLICAS, offers=OFFERS, policy=POLICIES, labour=st.floats(0, 1e5))
def test_the_parts_of_the_rate_card_are_the_bill_exactly(
    requests: list[float], replica: Replica, offers: list[FleetOffer], policy: Policy, labour: float
) -> None:
    pricing = price_fleet(traffic(requests), replica, offers, FleetPlan(policy, labour_usd_month=labour))
    assert {shape.kind for shape in pricing.shapes} == {"fixed", "autoscaled", "mix"}
    for shape in pricing.shapes:
        card = shape.card
        assert card.input is not None
        assert card.cached is not None
        assert card.output is not None
        assert card.input.usd + card.cached.usd + card.output.usd == card.bill_usd
        assert card.input.busy_usd + card.cached.busy_usd + card.output.busy_usd == card.busy_usd
        assert card.busy_usd + card.idle_usd + card.labour_usd == card.bill_usd
        assert sum((use.usd for use in shape.uses), start=Decimal(0)) + card.labour_usd == card.bill_usd
        assert min(card.busy_usd, card.idle_usd, card.labour_usd) >= 0
        assert card.blended_usd_per_1m is not None
        assert card.tokens.all is not None
        assert card.blended_usd_per_1m * card.tokens.all / 1e6 == pytest.approx(float(card.bill_usd))
        months = len(requests) * 1800 / 3600 / 730
        assert shape.usd_month * months == pytest.approx(float(card.bill_usd))
        assert sum(shape.by_month_usd) == pytest.approx(float(card.bill_usd), rel=1e-6, abs=1e-5)


@settings(deadline=None, max_examples=25)
@given(requests=REQUESTS, more=REQUESTS, replica=REPLICAS, offers=OFFERS, policy=POLICIES)
def test_more_traffic_never_lowers_the_bill(
    requests: list[float], more: list[float], replica: Replica, offers: list[FleetOffer], policy: Policy
) -> None:
    plan = FleetPlan(policy)
    low = by_name(price_fleet(traffic(requests), replica, offers, plan))
    both = [a + b for a, b in zip(requests, more, strict=True)]
    high = by_name(price_fleet(traffic(both), replica, offers, plan))
    for name, shape in low.items():
        assert high[name].usd_month >= shape.usd_month * (1 - 1e-6) - 1e-6, name


@settings(deadline=None, max_examples=25)
@given(requests=REQUESTS, replica=REPLICAS, offers=OFFERS, policy=POLICIES)
def test_a_mix_costs_no_more_than_any_offer_that_holds_the_same(
    requests: list[float], replica: Replica, offers: list[FleetOffer], policy: Policy
) -> None:
    shapes = price_fleet(traffic(requests), replica, offers, FleetPlan(policy)).shapes
    mix = next(shape for shape in shapes if shape.kind == "mix")
    for shape in shapes:
        assert mix.usd_month <= shape.usd_month * (1 + 1e-6) + 1e-6, shape.name
        if shape.kind == "autoscaled":
            assert mix.late_share <= shape.late_share + 1e-9


@settings(deadline=None, max_examples=25)
@given(requests=REQUESTS, replica=REPLICAS, labour=st.floats(0, 1e4), watts=st.floats(0, 5000))
def test_a_machine_that_was_free_costs_energy_and_labour(
    requests: list[float], replica: Replica, labour: float, watts: float
) -> None:
    rig = Rig(name="gift", capex_usd=0, life_years=5, idle_w=watts / 2, busy_w=watts, pue=1.3, usd_per_kwh=0.2)
    pricing = price_fleet(
        traffic(requests), replica, [FleetOffer(owned(rig, "x"), committed=True)], FleetPlan(labour_usd_month=labour)
    )
    (shape,) = pricing.shapes
    hours = len(requests) / 2
    idle_kwh = shape.peak_replicas * hours * watts / 2 / 1000
    busy_kwh = float(pricing.load.sum()) / 2 * watts / 2 / 1000
    expected = (idle_kwh + busy_kwh) * 1.3 * 0.2 + labour * hours / 730
    assert float(shape.card.bill_usd) == pytest.approx(expected, rel=1e-6, abs=1e-5)


def test_a_fleet_by_hand() -> None:
    # 24 h: 12 h at one busy replica, 12 h at three; a replica does 2 requests/s
    asked = Traffic(3600.0, np.array([7200.0] * 12 + [21600.0] * 12), None, None)
    plan = FleetPlan(Policy(headroom=1.0, cold_start_s=0, scale_down_s=0))
    shapes = by_name(price_fleet(asked, parse_capacity("2/s"), [offer(3.0, name="od")], plan))
    fixed, auto = shapes["fixed od"], shapes["autoscaled od"]
    assert fixed.card.bill_usd == Decimal(24 * 3 * 3)
    assert fixed.utilisation == pytest.approx((12 * 1 + 12 * 3) / 72)
    assert fixed.card.idle_usd == Decimal(24 * 3 * 3 - 48 * 3)
    # the scaler sees an hour late: 13 h with one, 11 h with three
    assert auto.card.bill_usd == Decimal(3 * (13 + 33))
    # in that hour two replicas' work waits, and the fleet at exactly full load never catches up: half a day is late
    assert auto.unserved_share == pytest.approx(2 / 48)
    assert auto.late_requests == pytest.approx(12 * 21600, rel=1e-3)
    assert fixed.late_requests == 0
    assert fixed.card.usd_per_1k_requests == pytest.approx(216 / (7.2 * 12 + 21.6 * 12))
    assert fixed.card.input is None


def test_energy_follows_the_tariff_hour_by_hour() -> None:
    # busy from 0 to 6 and idle after, at 0.1 USD/kWh until noon and 0.3 from then on
    tariff = {"tariff_usd_per_kwh": [0.1] * 12 + [0.3] * 12}
    rig = Rig.model_validate({"name": "r", "capex_usd": 0, "life_years": 1, "idle_w": 1000, "busy_w": 3000, **tariff})
    asked = Traffic(1800.0, np.array([3600.0] * 12 + [0.0] * 36), None, None)
    plan = FleetPlan(Policy(headroom=1.0))
    (shape,) = price_fleet(asked, parse_capacity("2/s"), [FleetOffer(owned(rig, "x"), committed=True)], plan).shapes
    assert shape.card.bill_usd == Decimal("0.1") * (6 * 3 + 6 * 1) + Decimal("0.3") * 12


def test_no_traffic_costs_what_is_held() -> None:
    nothing = Traffic(3600.0, np.zeros(48), None, None)
    for floor, usd in ((0, 0), (2, 48 * 2 * 3)):
        plan = FleetPlan(Policy(floor=floor))
        for shape in price_fleet(nothing, parse_capacity("2/s"), [offer(3.0), offer(2.0, committed=True, name="r")],
                                 plan).shapes:  # fmt: skip
            cheapest = usd * 2 // 3
            assert shape.card.bill_usd in {Decimal(usd), Decimal(cheapest)}
            assert (shape.utilisation, shape.late_share, shape.unserved_share) == (0, 0, 0)
            assert shape.card.busy_usd == 0


def test_the_cheapest_in_time_comes_first_and_headroom_is_raised_for_it() -> None:
    rng = np.random.default_rng(3)
    asked = with_lengths(Traffic(60.0, rng.uniform(50, 500, 2880), None, None), 500, 100)
    offers = [offer(1.0, name="od")]
    replica = parse_capacity("1/s")
    tight = price_fleet(asked, replica, offers, FleetPlan(Policy(headroom=1.0), late_limit=0.001))
    assert tight.best.kind == "fixed"
    assert not by_name(tight)["autoscaled od"].within_limit
    raised = price_fleet(asked, replica, offers, FleetPlan(Policy(headroom=1.0), late_limit=0.001, raise_headroom=True))
    auto = by_name(raised)["autoscaled od"]
    assert auto.within_limit
    # the least: a step less is late too often
    less = replace(raised.plan, raise_headroom=False, policy=Policy(headroom=round(auto.headroom - 0.05, 2)))
    assert not by_name(price_fleet(asked, replica, offers, less))["autoscaled od"].within_limit


def test_the_interval_is_that_of_the_throughput() -> None:
    asked = with_lengths(steady(10.0, 730 * 3600), 100, 100)
    replica = replace(parse_capacity("1/s"), relative_half_width=0.2)
    shape = price_fleet(asked, replica, [offer(1.0)], FleetPlan(Policy(headroom=1.0))).shapes[0]
    assert shape.usd_month == pytest.approx(7300)
    assert shape.usd_month_interval == pytest.approx((9 * 730, 12 * 730))  # ceil(10 / 1.131), ceil(10 / 0.869)


# --- capacity ---


def test_a_measured_run_says_what_each_token_takes() -> None:
    serving = Serving(80.0, 200.0, 40.0, 2.5, 0.05, 0.25, "made up")
    replica = replica_of(serving)
    assert (replica.input_tok_s, replica.output_tok_s) == (160 / 0.25, 80 / 0.75)
    # an hour of its own traffic keeps it busy for an hour
    own = with_lengths(Traffic(3600.0, np.array([2.5 * 3600]), None, None), 80, 32, 16)
    assert busy_time(own, replica).total.tolist() == pytest.approx([3600])
    assert busy_time(own, replica).notes == ()
    # requests of five times the output are an extrapolation, and said to be
    far = with_lengths(Traffic(3600.0, np.array([1.0]), None, None), 80, 160, 16)
    assert any(
        "160 output tokens a request, the capacity was measured with 32" in n for n in busy_time(far, replica).notes
    )
    # and requests of twice the output take 1 + 3/4 as long
    longer = with_lengths(Traffic(3600.0, np.array([2.5 * 3600]), None, None), 80, 64, 16)
    assert busy_time(longer, replica).total.tolist() == pytest.approx([3600 * 1.75])


def test_without_prefill_requests_count_and_another_mix_is_named() -> None:
    replica = replica_of(Serving(80.0, 200.0, 0.0, 2.5, None, None, "made up"))
    other = with_lengths(Traffic(3600.0, np.array([2.5 * 3600]), None, None), 80, 300)
    busy = busy_time(other, replica)
    assert busy.total.tolist() == pytest.approx([3600])
    assert busy.output is None
    assert any("300 output tokens a request, the capacity was measured with 32" in note for note in busy.notes)


@pytest.mark.parametrize("text", ["fast", "2", "2/fortnight", "input=1", "input=a,output=2", "input=0,output=5", "0/s"])
def test_a_capacity_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"capacity|above 0"):
        parse_capacity(text)


def test_capacity_and_traffic_must_speak_of_the_same() -> None:
    requests_only = Traffic(60.0, np.ones(3), None, None)
    tokens_only = Traffic(60.0, None, np.ones(3), np.ones(3))
    with pytest.raises(PriceError, match="with lengths IN:OUT"):
        busy_time(requests_only, parse_capacity("input=100,output=100"))
    with pytest.raises(PriceError, match="tokens but no requests"):
        busy_time(tokens_only, parse_capacity("2/s"))
    with pytest.raises(PriceError, match="replicas"):
        price_fleet(steady(1e12, 3600), parse_capacity("1/s"), [offer(1.0)], FleetPlan())
    with pytest.raises(PriceError, match="at least one model and one offer"):
        price_fleet(requests_only, parse_capacity("1/s"), [], FleetPlan())


# --- several models on one machine ---


@settings(deadline=None, max_examples=25)
@given(
    requests=st.tuples(REQUESTS, REQUESTS),
    slots=st.sampled_from([(1, 1), (1, 2), (4, 2), (8, 1)]),
    usd=PRICES,
    policy=POLICIES,
)
def test_models_that_share_machines_cost_no_more_than_apart_and_share_the_bill(
    requests: tuple[list[float], list[float]], slots: tuple[int, int], usd: float, policy: Policy
) -> None:
    machine = replace(offer(usd), replicas=8)
    plan = FleetPlan(policy)
    models = [
        FleetModel(name, traffic(asked), parse_capacity("3/s"), size)
        for name, asked, size in zip("ab", requests, slots, strict=True)
    ]
    shared = by_name(price_models(models, [machine], plan))
    alone = [by_name(price_models([model], [machine], plan)) for model in models]
    for name, shape in shared.items():
        assert shape.usd_month <= sum(trial[name].usd_month for trial in alone) + 1e-4  # each bill is rounded
        assert sum((part.usd for part in shape.models), start=Decimal(0)) == shape.card.bill_usd
        assert shape.card.input is None
        # the replicas, and who waits for them, are those of each model alone
        for part, model in zip(shape.models, alone, strict=True):
            assert part.mean_replicas == model[name].models[0].mean_replicas
            assert part.late_requests == pytest.approx(model[name].late_requests)


def test_a_model_of_its_own_is_a_fleet_of_one() -> None:
    asked = traffic([3000.0, 9000.0] * 24)
    replica = parse_capacity("2/s")
    item, other = (
        price_fleet(asked, replica, [offer(1.0)], FleetPlan()),
        price_models([FleetModel("m", asked, replica)], [offer(1.0)], FleetPlan()),
    )
    assert [shape.card for shape in item.shapes] == [shape.card for shape in other.shapes]


def test_models_must_fit_machines_and_last_equally_long() -> None:
    short, long = traffic([1.0] * STEPS), Traffic(1800.0, np.ones(STEPS + 1), None, None)
    replica = parse_capacity("2/s")
    with pytest.raises(PriceError, match="slots"):
        price_models([FleetModel("a", short, replica, 3)], [replace(offer(1.0), replicas=8)], FleetPlan())
    with pytest.raises(WorkloadError, match="equally long"):
        price_models([FleetModel("a", short, replica), FleetModel("b", long, replica)], [offer(1.0)], FleetPlan())


# --- the day ---


def test_the_mean_day_is_the_mean_of_the_days() -> None:
    profile = Profile.of([1.0] * 12 + [3.0] * 12, weekdays=[1, 1, 1, 1, 2, 1, 1])
    asked = tiled(steady(4.0, 86_400, 3600), 14 * 86_400, profile)
    pricing = price_fleet(asked, parse_capacity("1/s"), [offer(1.0)], FleetPlan())
    points = mean_day(pricing, pricing.best)
    assert [point.hour for point in points] == list(range(24))
    assert float(np.mean([point.load for point in points])) == pytest.approx(4.0)
    assert points[20].load / points[3].load == pytest.approx(3.0)
    busiest = busiest_day(pricing, pricing.best)
    assert busiest is not None
    assert sum(p.load for p in busiest) == pytest.approx(2 * sum(p.load for p in points) * 7 / 8)
    assert all(sum(p.by_offer) == pytest.approx(p.held) for p in points)


def test_a_year_by_the_minute_on_three_offers_is_priced_within_seconds() -> None:
    """Some 0.6 s on two cores; the bound is loose, the figure is in docs/fleet.md."""
    rng = np.random.default_rng(1)
    hour = Traffic(60.0, rng.poisson(600, 60).astype(float), None, None)
    asked = with_lengths(tiled(hour, 8760 * 3600, Profile.of([1.0] * 8 + [2.0] * 16), 0.03), 1000, 200)
    assert len(asked) == 525_600
    offers = [offer(4.0, name="od"), offer(1.5, name="spot"), offer(2.5, committed=True, name="reserved")]
    began = time.process_time()
    pricing = price_fleet(asked, parse_capacity("input=8000,output=1500"), offers, FleetPlan(raise_headroom=True))
    assert time.process_time() - began < 30
    assert billed(pricing.best.usd_month) > 0
    assert len(pricing.best.by_month_usd) == 12


def test_n_plus_one_is_of_machines() -> None:
    """5.6 requests/s at 1 a replica and a headroom of 1.25 are 7 replicas: 2 machines of 4, and a third to spare."""
    steady = Traffic(3600.0, np.full(24, 5.6 * 3600), None, None)
    box = FleetOffer(HourlyCost("box", "stated", 10.0, 0.0), replicas=4)
    for spares, machines in ((0, 2), (1, 3), (2, 4)):
        plan = FleetPlan(Policy(headroom=1.25, spares=spares), kinds=("fixed",))
        (shape,) = price_fleet(steady, parse_capacity("1/s"), [box], plan).shapes
        assert (shape.peak_machines, shape.peak_replicas) == (machines, 7)
        assert shape.usd_month == pytest.approx(machines * 10 * 730)
