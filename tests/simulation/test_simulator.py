"""What a simulation gives, its limits, and equal results by another road: blocks, plain Python, larger rings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.errors import WorkloadError
from rackrate.metrics.summary import summarise_level
from rackrate.planner.bounds import least_busy_s
from rackrate.runs.records import Level
from rackrate.simulation.capacity import Draw, find_capacity, load_point, poisson_draw
from rackrate.simulation.compiled import IS_COMPILED
from rackrate.simulation.record import simulate_level
from rackrate.simulation.settings import Autoscaler, EngineLimits, Fleet, Requests
from rackrate.simulation.simulator import Outcome, simulate, simulate_blocks
from rackrate.simulation.state import Floats, Small
from rackrate.simulation.step import StepTime, steps_s, steps_until
from rackrate.simulation.tally import bin_middle_s, bin_of
from rackrate.workload.slo import parse_slo

STEP = StepTime(
    weights_s=0.008,
    token_compute_s=4e-5,
    context_s=6e-8,
    step_s=0.003,
    sequence_s=1e-5,
    prefill_step_s=0.002,
    pair_s=1e-9,
)
LIMITS = EngineLimits(kv_tokens=60_000, max_num_seqs=64)


def mixed_requests(count: int, rate: float, seed: int = 0) -> Requests:
    generator = np.random.default_rng(seed)
    return Requests(
        np.sort(generator.uniform(0, count / rate, count)),
        generator.integers(1, 2000, count),
        generator.integers(1, 400, count),
    )


def figures(outcome: Outcome) -> list[object]:
    return [
        outcome.requests, outcome.steps, outcome.preemptions, outcome.end_s, outcome.busy_s, outcome.met_all,
        outcome.ttft.counts.tolist(), outcome.tpot.counts.tolist(), outcome.e2e.counts.tolist(),
    ]  # fmt: skip


@pytest.mark.parametrize("rate", [3.0, 60.0])
def test_blocks_give_what_the_whole_gives(rate: float) -> None:
    requests = mixed_requests(3000, rate)

    def blocks() -> Iterator[tuple[Floats, Small, Small]]:
        due = np.asarray(requests.due_s)
        inputs = np.asarray(requests.input_tokens).astype(np.int32)
        outputs = np.asarray(requests.output_tokens).astype(np.int32)
        for begin in range(0, 3000, 700):
            part = slice(begin, begin + 700)
            yield due[part], inputs[part], outputs[part]

    whole = simulate(requests, STEP, LIMITS)
    assert figures(simulate_blocks(blocks(), 3000, STEP, LIMITS)) == figures(whole)
    assert whole.requests == 3000


@pytest.mark.skipif(not IS_COMPILED, reason="without numba a minute of work")
def test_memory_does_not_grow_with_the_run() -> None:
    """Less than 40 bytes a request where only aggregates are asked for: here less than 4, blocks included."""
    count, block = 1_000_000, 10_000

    def blocks() -> Iterator[tuple[Floats, Small, Small]]:
        generator = np.random.default_rng(0)
        for begin in range(0, count, block):
            due = (begin + np.sort(generator.uniform(0, block, block))) / 5.0
            yield (
                due,
                generator.integers(1, 2000, block).astype(np.int32),
                generator.integers(1, 300, block).astype(np.int32),
            )

    tracemalloc.start()
    try:
        outcome = simulate_blocks(blocks(), count, STEP, EngineLimits(kv_tokens=400_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert outcome.requests == count
    assert peak < 4 * count


def test_quantiles_from_bins_are_those_of_the_requests() -> None:
    outcome = simulate(mixed_requests(3000, 3.0), STEP, LIMITS, per_request=True)
    assert outcome.each is not None
    exact = outcome.each.first_token_s - outcome.each.due_s
    for share in (0.5, 0.95, 0.99):
        assert outcome.ttft.quantile_s(share) == pytest.approx(np.quantile(exact, share), rel=0.01)
    assert outcome.ttft.mean_s() == pytest.approx(exact.mean(), rel=0.004)


@given(st.floats(1e-5, 1e6))
def test_a_latency_is_near_the_middle_of_its_bin(value: float) -> None:
    assert bin_middle_s(np.array([bin_of(value)]))[0] == pytest.approx(value, rel=1 / 250)


@given(st.floats(1e-4, 1.0), st.floats(0, 1e-3), st.floats(0, 1e3), st.floats(0, 50))
def test_steps_until_is_the_first_boundary_not_before_a_moment(
    first: float, growth: float, begin: float, span: float
) -> None:
    steps = steps_until(first, growth, begin, begin + span)
    assert begin + steps_s(first, growth, steps) >= begin + span
    assert steps == 1 or begin + steps_s(first, growth, steps - 1) < begin + span


def test_plain_python_gives_what_compiled_code_gives() -> None:
    code = (
        "import json, numpy as np\n"
        "from rackrate.simulation.compiled import IS_COMPILED\n"
        "from rackrate.simulation.settings import *\n"
        "from rackrate.simulation.simulator import simulate\n"
        "from rackrate.simulation.step import StepTime\n"
        "g = np.random.default_rng(0)\n"
        "r = Requests(np.sort(g.uniform(0, 20, 150)), g.integers(1, 2000, 150), g.integers(1, 300, 150))\n"
        "s = StepTime(weights_s=0.008, token_compute_s=4e-5, context_s=6e-8, step_s=0.003, pair_s=1e-9)\n"
        "limits = EngineLimits(kv_tokens=6000, max_num_seqs=64)\n"
        "o = simulate(r, s, limits, Fleet(2, 'least-loaded'), per_request=True)\n"
        "print(json.dumps([IS_COMPILED, o.preemptions, o.each.done_s.tolist(), o.each.first_token_s.tolist()]))\n"
    )
    answers: list[list[object]] = []
    for plain in ("", "1"):
        environment = {**os.environ, "RACKRATE_PLAIN_PYTHON": plain}
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, env=environment
        )
        answers.append(json.loads(ran.stdout))
    assert answers[1][0] is False
    assert answers[0][1:] == answers[1][1:]
    assert isinstance(answers[0][1], int)
    assert answers[0][1] > 0


def test_a_simulated_level_is_summarised_like_a_measured_one() -> None:
    level = Level(index=0, kind="open", rate=3.0, arrivals="poisson", warmed_up=True, started_s=5.0)
    requests = mixed_requests(600, 3.0)
    outcome, records = simulate_level(level, requests, STEP, LIMITS)
    assert outcome.each is not None
    assert [record.done_s for record in records] == sorted(record.done_s for record in records)
    assert sum(len(record.chunk_s) for record in records) == outcome.output_tokens
    for item in records:
        assert item.chunk_s[0] == item.first_token_s
        assert list(item.chunk_s) == sorted(item.chunk_s)
        assert item.due_s >= 5.0
    summary = summarise_level(level, records, parse_slo("p95 ttft < 10s"))
    assert summary.slo_met
    assert summary.requests == 600
    assert summary.ttft is not None
    assert summary.ttft.p50 == pytest.approx(outcome.ttft.quantile_s(0.5), rel=0.1)


def test_capacity_is_the_boundary_and_loads_beyond_it_fail() -> None:
    draw = poisson_draw((np.full(800, 500, np.int32), np.full(800, 100, np.int32)))
    slo = parse_slo("p95 ttft < 0.5s, p95 tpot < 30ms")
    found = find_capacity(draw, slo, STEP, LIMITS, guess=1.0)
    assert found.failed is not None
    assert found.rate < found.failed <= found.rate * 1.03
    assert load_point(draw, found.rate * 0.8, slo, STEP, LIMITS).sustained
    assert not load_point(draw, found.rate * 1.3, slo, STEP, LIMITS).sustained
    far = find_capacity(draw, slo, STEP, LIMITS, guess=found.rate * 40)
    assert far.rate == pytest.approx(found.rate, rel=0.04)


@pytest.mark.parametrize("objectives", ["p95 ttft < 0.5s", "p95 ttft < 10s", "p95 e2e < 20s"])
def test_capacity_does_not_hang_on_how_few_requests_were_drawn(objectives: str) -> None:
    """A replica that is done with them before a queue has grown to the limit sustains no more for that."""
    slo = parse_slo(objectives)
    limits = EngineLimits(kv_tokens=500_000, max_num_seqs=256)

    def capacity(number: int) -> float:
        draw = poisson_draw((np.full(number, 100, np.int32), np.full(number, 50, np.int32)))
        return find_capacity(draw, slo, STEP, limits, guess=20.0).rate

    few, many = capacity(200), capacity(40_000)
    assert few == pytest.approx(many, rel=0.06)
    draw = poisson_draw((np.full(200, 100, np.int32), np.full(200, 50, np.int32)))
    assert max(few, many) <= 1 / least_busy_s(draw, STEP, limits) * 1.03


def test_a_repeated_draw_is_the_draw_again_and_again() -> None:
    draw = poisson_draw((np.arange(1, 11, dtype=np.int32), np.arange(11, 21, dtype=np.int32)), seed=3, cached_share=0.5)
    thrice = draw.repeated(3)
    assert (np.diff(thrice.unit_due_s) >= 0).all()
    assert thrice.unit_due_s[20:] - 20.0 == pytest.approx(draw.unit_due_s)
    assert thrice.cached_tokens.tolist() == 3 * draw.cached_tokens.tolist()


def test_a_pattern_that_lasts_longer_than_its_rate_says_is_repeated_in_order() -> None:
    ones = np.ones(4, np.int32)
    late = Draw(np.array([0.0, 1.0, 2.0, 9.0]), ones, ones, 0 * ones).repeated(3)
    assert late.unit_due_s.tolist() == [0, 1, 2, 9, 10, 11, 12, 19, 20, 21, 22, 29]
    usual = Draw(np.array([0.5, 1.0, 2.0, 3.5]), ones, ones, 0 * ones).repeated(2)
    assert usual.unit_due_s.tolist() == [0.5, 1, 2, 3.5, 4.5, 5, 6, 7.5]  # at the rate: four in 4 s


def test_more_replicas_have_more_capacity() -> None:
    draw = poisson_draw((np.full(800, 500, np.int32), np.full(800, 100, np.int32)))
    slo = parse_slo("p95 ttft < 0.5s")
    item, three = (find_capacity(draw, slo, STEP, LIMITS, Fleet(n, "least-loaded"), guess=5.0).rate for n in (1, 3))
    assert 2.7 * item < three < 3.6 * item


def test_an_objective_that_nothing_meets_has_no_capacity() -> None:
    draw = poisson_draw((np.full(100, 500, np.int32), np.full(100, 100, np.int32)))
    assert find_capacity(draw, parse_slo("p95 ttft < 1ms"), STEP, LIMITS, guess=1.0).rate == 0.0


def test_autoscaling_costs_less_than_its_most_and_serves_better_than_its_least() -> None:
    requests = mixed_requests(2000, 20.0)
    slo = parse_slo("p95 e2e < 20s")
    scaler = Autoscaler(least=1, most=6, target_in_flight=8, cold_start_s=20, down_delay_s=30, interval_s=5)
    scaled = simulate(requests, STEP, LIMITS, Fleet(autoscaler=scaler, router="least-loaded"), slo=slo)
    fixed = simulate(requests, STEP, LIMITS, Fleet(1), slo=slo)
    assert scaled.end_s * 1 < scaled.replica_s < scaled.end_s * 6
    assert (scaled.attainment or 0) > (fixed.attainment or 0)


def test_a_shared_prefix_is_computed_once() -> None:
    """Twenty prompts of 4 blocks, the first 3 of which all share: 19 x 3 blocks are not computed again."""
    count, block = 20, 64
    hashes = np.array([[0, 1, 2, 100 + n] for n in range(count)]).ravel()
    requests = Requests(
        np.arange(count) * 10.0, np.full(count, 4 * block + 5), np.full(count, 3), None, None,
        np.arange(count + 1) * 4, hashes, block,
    )  # fmt: skip
    outcome = simulate(requests, STEP, LIMITS)
    assert outcome.cached_tokens == 19 * 3 * block


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        (Requests([], [], []), "no request"),
        (Requests([1.0, 0.5], [1, 1], [1, 1]), "before the one ahead"),
        (Requests([0.0], [0], [1]), "0 input tokens"),
        (Requests([0.0], [70_000], [1]), "a replica holds"),
        (Requests([float("nan")], [1], [1]), "finite"),
        (Requests([0.0, 1.0], [1], [1, 1]), "equally many"),
    ],
)
def test_what_cannot_be_simulated_is_refused(requests: Requests, words: str) -> None:
    with pytest.raises(WorkloadError, match=words):
        simulate(requests, STEP, LIMITS)


def test_coefficients_that_make_no_sense_are_refused() -> None:
    with pytest.raises(WorkloadError, match="weights_s"):
        StepTime(weights_s=-1.0, token_compute_s=0.0, context_s=0.0, step_s=0.1)
    with pytest.raises(WorkloadError, match="no time"):
        StepTime(weights_s=0.0, token_compute_s=0.1, context_s=0.0, step_s=0.0)
    with pytest.raises(WorkloadError, match="router"):
        Fleet(2, "fastest")  # pyright: ignore[reportArgumentType]
