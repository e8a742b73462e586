"""The jumping replay against a plain step-by-step one, and against what can be worked out by hand."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.simulation.finite_run import finite_run
from rackrate.simulation.settings import EngineLimits, Requests
from rackrate.simulation.simulator import simulate
from rackrate.simulation.step import StepTime

CONSTANT = StepTime(weights_s=0.0, token_compute_s=0.0, context_s=0.0, step_s=1.0)


def step_by_step(
    step: StepTime, due: list[float], prompt: list[int], output: list[int], slots: int, budget: int, mixed: bool
) -> list[tuple[float, float]]:
    """(first token, done) of each request; one step at a time, nothing jumped, cache without end."""
    count = len(due)
    first, done = [math.nan] * count, [math.nan] * count
    waiting: deque[int] = deque()
    running: list[int] = []
    made = [0] * count
    computed = [0] * count
    arrived, t = 0, 0.0
    while any(math.isnan(record) for record in done):
        while arrived < count and due[arrived] <= t:
            waiting.append(arrived)
            arrived += 1
        limit = budget - len(running) if mixed else budget
        tokens, pairs = 0, 0.0
        ended: list[int] = []
        while waiting and limit > 0 and len(running) + len(ended) < slots:
            entry = waiting[0]
            size = prompt[entry] - computed[entry]
            if mixed:
                size = min(size, limit)
            elif tokens > 0 and tokens + size > budget:
                break
            tokens += size
            limit -= size
            pairs += size * (computed[entry] + 0.5 * size)
            computed[entry] += size
            if computed[entry] == prompt[entry]:
                ended.append(waiting.popleft())
        if not tokens and not running:
            t = max(t, due[arrived])
            continue
        decoding = running if mixed or not tokens else []
        context = float(sum(prompt[sequence] + made[sequence] for sequence in decoding))
        t += step.seconds(len(decoding), context, len(ended), tokens, pairs)
        for sequence in decoding:
            made[sequence] += 1
        for item in ended:
            first[item] = t
            made[item] = 1
        running = [*running, *ended]
        for item in [sequence for sequence in running if made[sequence] >= output[sequence]]:
            done[item] = t
            running.remove(item)
    return list(zip(first, done, strict=True))


lengths = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 40), st.integers(1, 30)), min_size=1, max_size=14)


@settings(max_examples=150, deadline=None)
@given(
    lengths, st.integers(1, 6), st.integers(8, 60), st.booleans(), st.floats(0, 0.02), st.sampled_from([math.inf, 2.0])
)
def test_jumps_equal_steps(
    requests: list[tuple[float, int, int]],
    slots: int,
    budget: int,
    mixed: bool,
    per_context: float,
    large_batch_over: float,
) -> None:
    due = np.cumsum([gap for gap, _, _ in requests])
    prompt = [size for _, size, _ in requests]
    output = [size for _, _, size in requests]
    step = StepTime(
        step_s=0.01, sequence_s=0.001, prefill_step_s=0.02, token_compute_s=0.002, weights_s=0.05, sharpness=2.0,
        context_s=per_context, pair_s=1e-4, large_batch_over=large_batch_over, large_batch_context=2.5,
    )  # fmt: skip
    _, first, done = finite_run(
        step, due, np.array(prompt), np.array(output), slots=slots, budget=max(budget, 41), mixed=mixed
    )
    plain = step_by_step(step, due.tolist(), prompt, output, slots, max(budget, 41), mixed)
    assert first.tolist() == pytest.approx([entry for entry, _ in plain], rel=1e-9)
    assert done.tolist() == pytest.approx([entry for _, entry in plain], rel=1e-9)


def test_a_closed_loop_keeps_so_many_in_flight() -> None:
    started, _, done = finite_run(CONSTANT, np.zeros(20), np.full(20, 5), np.full(20, 4), streams=3, slots=8)
    for moment in np.linspace(0.5, float(done.max()) - 8.5, 40):
        assert int(((started <= moment) & (done > moment)).sum()) == 3


def test_a_full_cache_evicts_and_recomputes_but_all_are_served() -> None:
    ample = finite_run(CONSTANT, np.zeros(6), np.full(6, 10), np.full(6, 30))
    tight = finite_run(CONSTANT, np.zeros(6), np.full(6, 10), np.full(6, 30), kv_capacity=90.0)
    assert not np.isnan(tight[2]).any()
    assert tight[2].max() > ample[2].max()


def test_reserved_output_never_evicts() -> None:
    """With the whole output reserved, two of 40 tokens fit into 90: three rounds of 30 steps."""
    _, _, done = finite_run(
        CONSTANT, np.zeros(6), np.full(6, 10), np.full(6, 30), kv_capacity=90.0, reserve_fraction=1.0, budget=1000
    )
    assert sorted(done.tolist()) == [30, 30, 60, 60, 90, 90]


def test_a_request_larger_than_the_cache_runs_alone() -> None:
    _, _, done = finite_run(CONSTANT, np.zeros(2), np.array([100, 5]), np.array([3, 3]), kv_capacity=50.0)
    assert not np.isnan(done).any()


def test_poisson_arrivals_of_constant_service_wait_as_pollaczek_khinchine_says() -> None:
    """One slot, one token per request: M/D/1. Mean wait in queue at load r: r/(2 (1 - r)) services."""
    count, load = 40_000, 0.7
    due = np.cumsum(np.random.default_rng(3).exponential(1 / load, count))
    ones = np.ones(count, dtype=np.int64)
    _, first, _ = finite_run(CONSTANT, due, ones, ones, slots=1, budget=1, mixed=False)
    waited = float((first - due - 1.0).mean())
    assert waited == pytest.approx(load / (2 * (1 - load)), rel=0.06)


@pytest.mark.parametrize("streams", [0, 8])
def test_the_simulator_gives_the_same_where_both_know_the_scheduler(streams: int) -> None:
    step = StepTime(weights_s=0.008, token_compute_s=4e-5, context_s=6e-8, step_s=0.003, pair_s=1e-12)
    generator = np.random.default_rng(1)
    due, prompts, outputs = np.zeros(80), generator.integers(200, 1000, 80), generator.integers(1, 300, 80)
    _, first, done = finite_run(step, due, prompts, outputs, streams=streams)
    limits = EngineLimits(kv_tokens=1_000_000, max_num_seqs=256, max_num_batched_tokens=2048, block_tokens=1)
    each = simulate(Requests(due, prompts, outputs), step, limits, users=streams, per_request=True).each
    assert each is not None
    assert each.first_token_s == pytest.approx(first, rel=1e-3)
    assert each.done_s == pytest.approx(done, rel=1e-3)
