"""The cheapest mix, against every mix there is."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.economics.hourly import HourlyCost
from rackrate.economics.mix import Allocation, Demand, FleetOffer, cheapest_mix, only, work_while_held
from rackrate.errors import PriceError


def offer(
    usd_h: float, *, busy: float = 0.0, committed: bool = False, replicas: int = 1, most: int | None = None,
    most_share: float | None = None, factors: tuple[float, ...] = (),
) -> FleetOffer:  # fmt: skip
    parts = {"rent": usd_h - 0.1 * usd_h, "idle energy": 0.1 * usd_h, "busy energy": busy}
    cost = HourlyCost("box", "rented", usd_h, busy, parts, kwh_by_hour=factors)
    return FleetOffer(cost, committed, replicas, most, most_share)


def demand(held: list[int], share: float = 0.8, step_s: float = 3600.0, spares: int = 0) -> Demand:
    numbers = np.array(held)
    return Demand(numbers, (numbers * share * step_s).astype(np.float64), step_s, np.arange(len(held)) % 24, spares)


def usd(allocations: list[Allocation] | None) -> float:
    return math.inf if allocations is None else sum(float(allocation.usd.sum()) for allocation in allocations)


PRICES = st.integers(1, 60).map(lambda tenths: tenths / 10)
HELD = st.lists(st.integers(0, 5), min_size=1, max_size=12).filter(any)


def every_mix(
    held: list[int], fixed: list[float], committed: list[bool], capacity: list[int], most: list[int], share: float
) -> float:
    """The cheapest of all whole numbers of machines, step by step. Energy is left out."""
    best = math.inf
    peak = max(held)
    ranges = [range(min(m, peak) + 1) if c else range(1) for c, m in zip(committed, most, strict=True)]
    for bases in itertools.product(*ranges):
        total = sum(b * price * len(held) for b, price in zip(bases, fixed, strict=True))
        base = sum(b * c for b, c in zip(bases, capacity, strict=True))
        for number in set(held):
            missing = max(0, number - base)
            cheapest = 0.0 if not missing else math.inf
            flexible = [i for i, c in enumerate(committed) if not c]
            # the first offer may be a share of the fleet only: of its machines where all are alike, of its replicas
            of = -(-number // capacity[0]) if len(set(capacity)) == 1 else number / capacity[0]
            within = math.floor(share * of + 1e-9) if share < 1 else missing
            limits = [min(most[i], missing, within if i == 0 else missing) for i in flexible]
            for counts in itertools.product(*[range(limit + 1) for limit in limits]):
                if sum(n * capacity[i] for n, i in zip(counts, flexible, strict=True)) >= missing:
                    cheapest = min(cheapest, sum(n * fixed[i] for n, i in zip(counts, flexible, strict=True)))
            total += cheapest * held.count(number)
        best = min(best, total)
    return best


@settings(deadline=None, max_examples=40)
@given(
    held=HELD,
    prices=st.tuples(PRICES, PRICES, PRICES),
    committed=st.tuples(st.booleans(), st.booleans(), st.just(False)),
    capacity=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)) | st.just((1, 1, 1)),
    most=st.tuples(st.integers(0, 6), st.integers(0, 6), st.just(6)),
    share=st.sampled_from([1.0, 0.5, 0.3]),
)
def test_no_mix_is_cheaper(
    held: list[int],
    prices: tuple[float, ...],
    committed: tuple[bool, ...],
    capacity: tuple[int, ...],
    most: tuple[int, ...],
    share: float,
) -> None:
    offers = [
        offer(p, committed=c, replicas=r, most=m, most_share=share if i == 0 and not c else None)
        for i, (p, c, r, m) in enumerate(zip(prices, committed, capacity, most, strict=True))
    ]
    expected = every_mix(held, list(prices), list(committed), list(capacity), list(most), share)
    found = cheapest_mix(demand(held), offers)
    assert usd(found) == pytest.approx(expected, rel=2e-4)
    assert found is not None
    units = sum((match.used * match.offer.replicas for match in found), start=np.zeros(len(held)))
    assert (units >= np.array(held) - 1e-6).all()
    assert sum(float(match.work.sum()) for match in found) == pytest.approx(0.8 * 3600 * sum(held))
    for match in found:
        assert (match.used <= match.paid + 1e-9).all()
        assert match.paid.max() <= (match.offer.most or 0) + 1e-9


@settings(deadline=None, max_examples=40)
@given(
    held=HELD,
    prices=st.tuples(PRICES, PRICES, PRICES),
    busy=st.tuples(PRICES, PRICES, PRICES),
    night=st.floats(0, 2),
)
def test_a_mix_never_costs_more_than_its_best_offer_alone(
    held: list[int], prices: tuple[float, ...], busy: tuple[float, ...], night: float
) -> None:
    """With energy by hour of the day on the committed one."""
    factors = (night,) * 12 + (2 - night,) * 12
    offers = [
        offer(prices[0], busy=busy[0], committed=True, factors=factors),
        offer(prices[1], busy=busy[1]),
        offer(prices[2], busy=busy[2]),
    ]
    asked = demand(held)
    alone = min(usd([offer]) for offer in (only(asked, each) for each in offers) if offer is not None)
    assert usd(cheapest_mix(asked, offers)) <= alone * (1 + 1e-6) + 1e-9


def test_a_base_is_committed_where_it_is_used_often_enough() -> None:
    # the screening curve: committed at 2 against 5 on demand pays from 40 % of the hours on
    held = [1] * 4 + [2] * 3 + [3] * 2 + [4]
    found = cheapest_mix(demand(held), [offer(5.0), offer(2.0, committed=True)])
    assert found is not None
    on_demand, committed = found
    assert committed.paid.tolist() == [2.0] * 10  # the second machine is needed 6 of 10 hours, the third 3 of 10
    assert on_demand.paid.tolist() == [0] * 7 + [1, 1, 2]
    assert usd(found) == pytest.approx(2 * 2 * 10 + 5 * (1 + 1 + 2))


@pytest.mark.parametrize("others", [2, 3])
def test_a_share_of_all_is_no_limit(others: int) -> None:
    found = cheapest_mix(demand([1, 3]), [offer(1.0, replicas=2, most_share=1.0), offer(9.0, replicas=others)])
    assert usd(found) == pytest.approx(1.0 + 2.0)


def test_a_share_is_kept() -> None:
    found = cheapest_mix(demand([4] * 10), [offer(1.0, most_share=0.25), offer(3.0)])
    assert found is not None
    spot, rest = found
    assert spot.paid.tolist() == [1.0] * 10
    assert rest.paid.tolist() == [3.0] * 10
    # alone it may not be
    assert only(demand([4]), offer(1.0, most_share=0.25)) is None


def test_quotas_that_are_too_small_leave_no_mix() -> None:
    assert cheapest_mix(demand([4]), [offer(1.0, most=1), offer(3.0, most=2)]) is None
    assert only(demand([4]), offer(1.0, most=3)) is None


def test_nothing_to_hold_costs_nothing() -> None:
    found = cheapest_mix(demand([0, 0, 0]), [offer(1.0), offer(0.5, committed=True)])
    assert usd(found) == 0


def test_many_sizes_are_merged_and_still_cover_all() -> None:
    held = np.random.default_rng(1).integers(1, 3000, 20_000)
    asked = Demand(held, (held * 60.0).astype(np.float64), 60.0, np.zeros(len(held), dtype=np.int64))
    found = cheapest_mix(asked, [offer(3.0), offer(1.0, committed=True)])
    assert found is not None
    assert (found[0].used + found[1].used >= held - 1e-6).all()
    # the base is what a third of the hours need at least: the two thirds quantile of the sizes, near enough
    assert found[1].paid[0] == pytest.approx(np.quantile(held, 2 / 3), rel=0.01)


@settings(deadline=None)
@given(
    load=st.lists(st.floats(0, 5), min_size=1, max_size=20), held=st.lists(st.integers(0, 1), min_size=20, max_size=20)
)
def test_work_is_moved_but_never_lost(load: list[float], held: list[int]) -> None:
    there = np.array(held[: len(load)])
    work = work_while_held(np.array(load), there, 60.0)
    assert (work[there == 0] == 0).all()
    if there.any():
        assert float(work.sum()) == pytest.approx(60 * sum(load))
        # none is done before it came, but what comes after the last replica
        last = int(np.flatnonzero(there)[-1])
        assert (np.cumsum(work)[:last] <= np.cumsum(np.array(load) * 60)[:last] + 1e-9).all()


@pytest.mark.parametrize("change", [{"replicas": 0}, {"most": -1}, {"most_share": 1.5}])
def test_an_offer_that_cannot_be_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(PriceError):
        FleetOffer(HourlyCost("box", "rented", 1.0, 0.0), **change)  # pyright: ignore[reportArgumentType]


@settings(deadline=None, max_examples=60)
@given(
    held=HELD, prices=st.tuples(PRICES, PRICES), sizes=st.tuples(*[st.sampled_from([1, 2, 4])] * 2),
    committed=st.booleans(), spares=st.integers(0, 2),
)  # fmt: skip
def test_any_spare_number_of_machines_may_fail(
    held: list[int], prices: tuple[float, float], sizes: tuple[int, int], committed: bool, spares: int
) -> None:
    """Whichever machines of a fleet stop, the replicas that are wanted still have their place."""
    asked = demand(held, spares=spares)
    kinds = [offer(prices[0], replicas=sizes[0], committed=committed), offer(prices[1], replicas=sizes[1])]
    ways = [[item] for item in (only(asked, kind) for kind in kinds) if item is not None]
    ways += [mixed] if (mixed := cheapest_mix(asked, kinds)) is not None else []
    for way in ways:
        for step, number in enumerate(held):
            there = sorted((item.offer.replicas for item in way for _ in range(round(item.paid[step]))), reverse=True)
            if number:
                assert sum(there[spares:]) >= number
    assert usd(ways[0]) >= usd([only(demand(held), kinds[0])])  # type: ignore[list-item]
