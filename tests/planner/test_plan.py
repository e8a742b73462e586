"""The planner: its bounds hold, pruning does not change the winner, and each question has one clear answer."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rackrate.app.planning import Planned
from rackrate.catalog.load import Catalog, load_catalog
from rackrate.errors import WorkloadError
from rackrate.models.read_model import read_model
from rackrate.planner.bounds import idle_latencies, least_busy_s
from rackrate.planner.candidates import ReplicaSpec, replica_of
from rackrate.planner.explain import explained
from rackrate.planner.mixed import MixShare, cheapest_mix
from rackrate.planner.plan import Demand, Plan, plan
from rackrate.planner.sizing import Sizer
from rackrate.report.plan_view import planned_view
from rackrate.simulation.capacity import Draw, poisson_draw
from rackrate.simulation.settings import EngineLimits
from rackrate.simulation.simulator import simulate
from rackrate.simulation.step import StepTime
from rackrate.workload.slo import parse_slo

OFFERS = (
    "aws/g4dn.xlarge", "aws/g4dn.12xlarge", "aws/g5.2xlarge", "aws/g5.12xlarge", "aws/g6.xlarge", "aws/g6.12xlarge",
    "aws/p4d.24xlarge", "aws/p5.48xlarge",
)  # fmt: skip


def demand(
    model: str = "llama-3-8b-instruct", rate: float = 6.0, slo: str = "p95 ttft < 3s, p95 tpot < 90ms",
    inputs: int = 600, spares: int = 0,
) -> Demand:  # fmt: skip
    generator = np.random.default_rng(0)
    number = 100
    draw = poisson_draw(
        (
            generator.integers(1, 2 * inputs, number).astype(np.int32),
            generator.integers(1, 300, number).astype(np.int32),
        )
    )
    return Demand(read_model(model, load_catalog()), draw, rate, rate, parse_slo(slo), "a test", 730.0, spares)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="module")
def planned(catalog: Catalog) -> Plan:
    return plan(demand(), catalog, offers=OFFERS)


def test_the_table_is_ranked_and_its_sums_are_right(planned: Plan) -> None:
    costs = [row.usd_month for row in planned.rows]
    assert costs == sorted(costs)
    assert len(costs) > 2
    for row in planned.rows:
        usd_h = row.candidate.cost.usd_h(1.0)
        assert row.usd_month == pytest.approx(row.machines * usd_h * 730)
        assert row.usd_per_1m == pytest.approx(row.usd_month / planned.demand.tokens_month * 1e6)
        assert row.sized.point.sustained
        assert row.sized.replicas == row.machines * row.candidate.replicas
        # the load of a replica is within its capacity, which the search knows to 2 %
        assert row.capacity is not None
        assert planned.demand.peak / row.sized.replicas <= row.capacity * 1.001
        assert row.capacity <= 1 / least_busy_s(planned.demand.draw, row.replica.step, row.replica.limits) * 1.001


def test_one_more_machine_is_as_probable_as_drawn_errors_say(planned: Plan) -> None:
    """Each draw is an error of the prediction: half a normal distribution each side of none, 80 % of it as on file."""
    random = np.random.default_rng(0)
    for row in planned.rows:
        spread = row.replica.deployment.throughput_spread
        assert spread is not None
        assert row.capacity is not None
        draws = random.standard_normal(200_000)
        logs = np.where(draws > 0, draws * spread.high, -draws * spread.low) / 1.2815515655
        served = row.capacity * row.candidate.replicas * np.exp(-logs)
        more = np.ceil(planned.demand.peak / served - 1e-9) > row.machines
        assert row.p_more_machines == pytest.approx(float(more.mean()), abs=0.005)
        # an interval that has no width is of one that needs another machine in less than a tenth of the cases
        assert row.interval is not None
        assert row.p_more_machines is not None
        assert (row.interval[1] > row.usd_per_1m) == (row.p_more_machines > 0.1)


def test_at_the_same_price_the_published_format_is_taken(catalog: Catalog) -> None:
    both = plan(demand(rate=0.5), catalog, offers=("aws/g6.xlarge",), weights=("awq", "bf16"))
    assert [(row.candidate.kind.weights, row.machines) for row in both.rows] == [("awq", 1)]  # as listed
    usual = plan(demand(rate=0.5), catalog, offers=("aws/g6.xlarge", "aws/g5.2xlarge", "aws/p5.4xlarge"))
    assert {row.candidate.kind.weights for row in usual.rows} == {"bf16"}  # one machine does in any format


@pytest.mark.parametrize("rate", [0.5, 6.0, 40.0])
def test_the_winner_is_the_same_without_pruning(catalog: Catalog, rate: float) -> None:
    asked = demand(rate=rate)
    pruned = plan(asked, catalog, offers=OFFERS, rows=2)
    whole = plan(asked, catalog, offers=OFFERS, rows=2, prune=False)
    best, other = pruned.rows[0], whole.rows[0]
    assert (best.candidate.name, best.machines, best.usd_month) == (
        other.candidate.name,
        other.machines,
        other.usd_month,
    )
    assert pruned.simulations < whole.simulations


def test_every_candidate_is_in_the_table_or_has_lost_for_a_reason(planned: Plan) -> None:
    assert planned.candidates == len(planned.rows) + len(planned.lost)
    assert set(planned.reasons) <= {"does not fit", "misses the SLO", "dearer"}
    assert any(
        "T4" in rejection.detail or "t4" in rejection.detail
        for rejection in planned.lost
        if rejection.reason == "does not fit"
    )


@pytest.mark.parametrize("rate", [0.3, 7.0, 30.0])
def test_the_fewest_machines_are_what_counting_up_finds(catalog: Catalog, rate: float) -> None:
    asked = demand(rate=rate)
    kind = ReplicaSpec("a10g", 1, "bf16", "vllm")
    found = replica_of(kind, asked.read, catalog.accelerators["a10g"], 1500, 700.0)
    assert not isinstance(found, str)
    sizer = Sizer(asked.draw, rate, asked.slo)
    sized = sizer.size(found, 2)
    counted = next(n for n in range(1, 100) if sizer.point(found, 2 * n).sustained)
    assert sized is not None
    assert sized.machines == counted
    assert sizer.size(found, 2, most=counted - 1) is None or counted == 1


def test_more_traffic_never_costs_less_and_spares_are_paid(catalog: Catalog) -> None:
    bills = [plan(demand(rate=rate), catalog, offers=OFFERS, rows=1).rows[0].usd_month for rate in (1, 5, 25)]
    assert bills == sorted(bills)
    with_spare = plan(demand(rate=5, spares=1), catalog, offers=["aws/g6.xlarge"]).rows[0]
    without = plan(demand(rate=5), catalog, offers=["aws/g6.xlarge"]).rows[0]
    assert with_spare.usd_month == pytest.approx(without.usd_month * (without.machines + 1) / without.machines)


def test_a_model_too_large_for_one_card_takes_several(catalog: Catalog) -> None:
    found = plan(demand("llama-3-70b-instruct", rate=1.0), catalog, offers=["aws/p5.48xlarge"], weights=["bf16"])
    assert found.rows[0].candidate.kind.tp >= 2
    assert "does not fit" in found.reasons


def test_an_slo_that_nothing_meets_names_the_nearest(catalog: Catalog) -> None:
    found = plan(demand(slo="p95 tpot < 0.1ms"), catalog, offers=OFFERS)
    assert found.rows == ()
    assert found.closest is not None
    assert "asked for" in found.closest
    assert planned_view(Planned(found, None, None, ())).closest == found.closest
    takes = re.search(r"it takes (p95 tpot < [\d.]+ms)", found.closest)
    assert takes is not None
    assert plan(demand(rate=0.01, slo=takes[1]), catalog, offers=OFFERS).rows


def test_the_nearest_says_every_objective_that_it_misses_and_what_it_says_is_met(catalog: Catalog) -> None:
    impossible = "p95 ttft < 2ms, p99 tpot < 0.1ms, p90 e2e < 1000s"
    found = plan(demand(slo=impossible), catalog, offers=OFFERS)
    assert found.closest is not None
    assert "p95 ttft is" in found.closest
    assert "p99 tpot is" in found.closest
    assert "p90 e2e is" not in found.closest
    takes = re.search(r"it takes (p95 ttft < [\d.]+ms, p99 tpot < [\d.]+ms, p90 e2e < 1000000ms)", found.closest)
    assert takes is not None
    offer = found.closest.split(" ")[0]
    assert plan(demand(rate=0.001, slo=takes[1]), catalog, offers=[offer]).rows


def test_latencies_never_fall_along_the_curve(catalog: Catalog) -> None:
    """Beyond capacity, too, where a thousand requests tell at once that a rate is not sustained."""
    asked = demand("qwen3-30b-a3b", rate=80.0, slo="p95 ttft < 1s, p95 tpot < 50ms")
    generator = np.random.default_rng(0)
    lengths = [generator.lognormal(np.log(mean) - 0.3, 0.8, 1000).astype(np.int32) + 1 for mean in (800, 200)]
    asked = replace(asked, draw=poisson_draw((lengths[0], lengths[1])))
    row = plan(asked, catalog, offers=["lambda/gpu_1x_h100_sxm5"], weights=["fp8"])
    for metric in ("ttft", "tpot"):
        values = [getattr(point.outcome, metric).quantile_s(0.95) for point in row.curve]
        assert len(values) == 10
        for before, after in itertools.pairwise(values):
            assert after >= before * 0.97, (metric, values)
    attained = [point.outcome.attainment or 0.0 for point in row.curve]
    for before, after in itertools.pairwise(attained):
        assert after <= before + 0.02


def test_requests_longer_than_the_context_are_one_sentence(catalog: Catalog) -> None:
    with pytest.raises(WorkloadError, match="8,192"):
        plan(demand(inputs=9000), catalog, offers=OFFERS)


@pytest.mark.parametrize(
    ("model", "offer", "cached"),
    [
        ("llama-3-8b-instruct", "aws/g6.12xlarge", 0.0),
        ("mixtral-8x7b-instruct", "aws/p4d.24xlarge", 0.5),
        ("deepseek-v3", "aws/p5en.48xlarge", 0.0),
        ("gemma-3-12b-it", "aws/g6.xlarge", 0.0),
        ("qwen3.8-27b", "aws/p5.48xlarge", 0.0),
        ("gpt-oss-120b", "aws/p5.48xlarge", 0.0),
    ],
)
def test_an_explanation_can_be_worked_out_again(catalog: Catalog, model: str, offer: str, cached: float) -> None:
    """From FLOPs and bytes to dollars, from the printed terms alone."""
    asked = demand(model, rate=2.0, slo="p95 ttft < 9s, p95 tpot < 200ms", spares=1)
    draw = replace(asked.draw, cached_tokens=(asked.draw.input_tokens * cached).astype(np.int32))
    asked = replace(asked, draw=draw)
    row = plan(asked, catalog, offers=[offer]).rows[0]
    steps = explained(row, asked)
    at: dict[str, float] = {}
    reached: dict[str, float] = {}
    for item in steps:
        value = item.value or 0.0
        if item.what.startswith("  reached"):
            reached[item.how.split("by ")[1].split(";")[0]] = value / 100
        else:
            at[item.what] = value

    def close(what: str, value: float) -> None:
        assert at[what] == pytest.approx(value, rel=1e-6), what

    assert all(0 < share < 1 for share in reached.values()), reached
    bandwidth, peak = at["bandwidth"], at["peak of the products"]
    close("read the weights once", at["bytes that every step reads"] / (bandwidth * reached["weights"]) * 1e3)
    close("the same in time", at["arithmetic of a token"] / (peak * reached["products"]) * 1e3)
    close("read a token of context", at["bytes of a token of context"] / (bandwidth * reached["attention"]))
    share = at.get("experts that a token takes", 0.0) / 100
    experts = at.get("read all experts once", 0.0)
    if experts:
        close("read all experts once", at["bytes of all routed experts"] / (bandwidth * reached["experts"]) * 1e3)
    compute, memory = at["the same in time"] / 1e3, at["read the weights once"] + experts * share
    padding = at.get("arithmetic that fills all experts' tiles", 0.0) * share
    sharp = at["sharpness of the roofline"]
    beside = at["activations, all-reduces"] / 1e3 + at["host, launches, all-reduces"] + at["per sequence"] / 1e3
    mean_input = float(draw.input_tokens.mean())
    alone = (
        ((compute + padding) ** sharp + memory**sharp) ** (1 / sharp)
        + beside
        + mean_input * at["read a token of context"] / 1e6
    )
    close("a token alone", alone)
    tokens, least = at["tokens through the layers"], at["steps, at least"]
    decodes = float(draw.output_tokens.mean()) - 1
    dense_ms = max(compute * tokens + padding * least, memory * least)
    rest_ms = (
        at["activations, all-reduces"] / 1e3 * tokens
        + at["host, launches, all-reduces"] * least
        + at["per sequence"] / 1e3 * (decodes + 1)
        + at["read a token of context"] / 1e6 * at["context read"]
        + at["a pair of prompt tokens"] / 1e9 * at["pairs of prompt tokens"]
    )
    close("busy for a request, at least", (dense_ms + rest_ms) / 1e3)
    close("no replica serves more than", 1 / at["busy for a request, at least"])
    assert at["capacity of a replica"] <= at["no replica serves more than"] * 1.001
    close("load of a replica", at["asked for at the peak"] / (at["machines"] * at["replicas of a machine"]))
    assert at["load of a replica"] <= at["capacity of a replica"] * 1.001
    close("a month", (at["machines"] + at["spares"]) * at["a machine-hour"] * 730)
    close("tokens of a month", 2.0 * float((draw.input_tokens + draw.output_tokens).mean()) * 730 * 3600)
    close("per 1M tokens", at["a month"] / at["tokens of a month"] * 1e6)
    assert at["per 1M tokens"] == row.usd_per_1m


@st.composite
def replicas(draw: st.DrawFn) -> tuple[StepTime, EngineLimits, Draw]:
    seconds = st.floats(0, 0.02)
    step = StepTime(
        weights_s=draw(st.floats(1e-4, 0.05)), token_compute_s=draw(st.floats(0, 5e-4)),
        context_s=draw(st.floats(0, 1e-6)), step_s=draw(seconds), sequence_s=draw(st.floats(0, 1e-3)),
        token_memory_s=draw(st.floats(0, 1e-4)), token_s=draw(st.floats(0, 1e-4)), experts_s=draw(seconds),
        padding_s=draw(seconds),
        expert_miss=draw(st.sampled_from([0.0, 0.9])), sharpness=draw(st.sampled_from([0.0, 2.0])),
        prefill_step_s=draw(seconds), pair_s=draw(st.floats(0, 1e-7)), floor_s=draw(seconds),
        large_batch_over=draw(st.sampled_from([1e18, 4.0])), large_batch_context=draw(st.sampled_from([1.0, 2.5])),
    )  # fmt: skip
    limits = EngineLimits(
        kv_tokens=draw(st.sampled_from([1024, 20_000])), max_num_seqs=draw(st.sampled_from([1, 8, 64])),
        max_num_batched_tokens=draw(st.sampled_from([64, 2048])),
    )  # fmt: skip
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    lengths = (generator.integers(1, 700, 60).astype(np.int32), generator.integers(1, 300, 60).astype(np.int32))
    return step, limits, poisson_draw(lengths, cached_share=draw(st.sampled_from([0.0, 0.5])))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(replicas(), st.sampled_from([0.01, 1.0, 100.0]))
def test_no_simulation_beats_the_bounds(case: tuple[StepTime, EngineLimits, Draw], rate: float) -> None:
    step, limits, draw = case
    outcome = simulate(draw.at_rate(rate), step, limits, per_request=True)
    assert outcome.each is not None
    assert outcome.busy_s / 60 >= least_busy_s(draw, step, limits) * (1 - 1e-9)
    idle = idle_latencies(draw, step, limits)
    ttft = outcome.each.first_token_s - outcome.each.due_s
    tpot = (outcome.each.done_s - outcome.each.first_token_s) / np.maximum(draw.output_tokens - 1, 1)
    rounding_s = 1e-15 * float(outcome.each.done_s.max())  # latencies are differences of moments that far from 0
    assert (ttft >= idle["ttft"] * (1 - 1e-9) - rounding_s).all()
    assert (tpot >= idle["tpot"] * (1 - 1e-9) - rounding_s).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0.5, 20), st.floats(0.1, 30)), min_size=1, max_size=3), st.floats(0.1, 40))
def test_the_mix_is_what_trying_everything_finds(parts: list[tuple[float, float]], rate: float) -> None:
    listed = [MixShare(str(n), capacity, usd_h) for n, (capacity, usd_h) in enumerate(parts)]
    found = cheapest_mix(rate, listed)
    assert found is not None
    ranges = [range(int(np.ceil(rate / entry.capacity)) + 1) for entry in listed]
    if np.prod([len(span) for span in ranges]) > 20_000:
        return
    best = min(
        sum(n * number.usd_h for n, number in zip(numbers, listed, strict=True))
        for numbers in itertools.product(*ranges)
        if sum(n * number.capacity for n, number in zip(numbers, listed, strict=True)) >= rate * (1 - 1e-12)
    )
    assert found.usd_h == pytest.approx(best, rel=1e-6)
