"""Jumping from event to event gives what going step by step gives.

The first test's times are dyadic fractions, so that every sum is exact in binary: both must then agree to the last bit,
moments at which several things happen at once included. The second has arbitrary times and agrees to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from step_by_step import Asked, run

from rackrate.simulation.settings import Autoscaler, EngineLimits, Fleet, Requests, Router
from rackrate.simulation.simulator import Outcome, simulate
from rackrate.simulation.step import StepTime
from rackrate.simulation.trace import token_times

GRAIN = 2.0**-16


@dataclass
class Case:
    asked: list[Asked]
    step: StepTime
    limits: EngineLimits
    fleet: Fleet
    users: int
    hash_tokens: int

    def requests(self) -> Requests:
        start = np.cumsum([0] + [len(demand.hashes) for demand in self.asked])
        return Requests(
            due_s=[demand.due for demand in self.asked],
            input_tokens=[demand.input for demand in self.asked],
            output_tokens=[demand.output for demand in self.asked],
            cached_tokens=[demand.cached for demand in self.asked],
            group=[demand.group for demand in self.asked],
            hash_start=start if self.hash_tokens else None,
            hashes=[h for demand in self.asked for h in demand.hashes] if self.hash_tokens else None,
            hash_tokens=self.hash_tokens,
        )


@st.composite
def cases(draw: st.DrawFn, *, exact: bool) -> Case:
    page = draw(st.sampled_from([1, 4, 16]))
    number = draw(st.integers(1, 24))
    longest_in = draw(st.sampled_from([3, 40, 200]))
    longest_out = draw(st.sampled_from([1, 6, 60]))
    slotted = draw(st.booleans())
    hash_tokens = 0 if slotted else draw(st.sampled_from([0, 0, page, 4 * page]))
    users = draw(st.sampled_from([0, 0, 1, 4]))

    def seconds(most: int) -> float:
        ticks = draw(st.integers(0, most))
        return ticks * GRAIN if exact else ticks * GRAIN * 1.000_713 + (ticks > 0) * draw(st.floats(1e-9, 1e-6))

    asked: list[Asked] = []
    moment = 0.0
    for n in range(number):
        # in powers of two of the grain, so that arrivals often fall on ends of steps
        gap = draw(st.sampled_from([0, 1, 16, 64, 1024, 4096, 65536])) * GRAIN
        if not exact:
            gap += draw(st.floats(1e-7, 1e-3))
        moment += gap
        into = draw(st.integers(1, longest_in))
        parent = draw(st.integers(0, 2))
        depth = into // hash_tokens if hash_tokens else 0
        shared = draw(st.integers(0, 6))
        hashes = tuple(parent * 1000 + k if k < shared else 10_000 + 1000 * n + k for k in range(depth))
        asked.append(
            Asked(
                n, gap if users else moment, into, draw(st.integers(1, longest_out)),
                cached=draw(st.integers(0, into)) if draw(st.booleans()) else 0,
                group=draw(st.integers(-1, 5)), hashes=hashes,
            )
        )  # fmt: skip
    most = max(-(-(demand.input + demand.output - 1) // page) for demand in asked)
    pages = most + draw(st.integers(0, 3 * most))
    max_seqs = draw(st.sampled_from([1, 2, 5, 32]))
    step = StepTime(
        weights_s=seconds(64),
        token_compute_s=seconds(4),
        context_s=seconds(2) / 16,
        step_s=seconds(64) + GRAIN,
        sequence_s=seconds(8),
        token_memory_s=seconds(2),
        token_s=seconds(2),
        prefill_step_s=seconds(32),
        pair_s=seconds(1) / 16,
        floor_s=seconds(200),
        floor_sequence_s=seconds(8),
        micro_step_s=seconds(16),
        large_batch_over=draw(st.sampled_from([1e18, 0.0, 1.0, 3.5])),
        large_batch_context=draw(st.sampled_from([1.0, 2.0, 3.0])),
        padding_s=0.0 if exact else seconds(64),
        experts_s=0.0 if exact else seconds(64),
        expert_miss=0.0 if exact else draw(st.sampled_from([0.0, 0.75])),
        sharpness=0.0 if exact else draw(st.sampled_from([0.0, 3.0])),
    )
    batch = draw(st.sampled_from([1, 8, 64, 4096]))
    limits = EngineLimits(
        kv_tokens=pages * page * (max_seqs if slotted else 1),
        max_num_seqs=max_seqs,
        max_num_batched_tokens=max(batch, max_seqs) if slotted else batch,
        scheduling="llama.cpp" if slotted else "vllm",
        micro_batch_tokens=max(draw(st.sampled_from([1, 5, 16, 512])), max_seqs),
        unified_cache=draw(st.booleans()),
        similar_prompts=draw(st.booleans()),
        block_tokens=page,
        watermark=draw(st.sampled_from([0.0, 0.1])),
    )
    router: Router = draw(st.sampled_from(["round-robin", "least-loaded", "prefix-affine"]))
    scaler = None
    replicas = draw(st.sampled_from([1, 1, 2, 3]))
    if draw(st.integers(0, 3)) == 0:
        scaler = Autoscaler(
            least=1, most=3, target_in_flight=draw(st.sampled_from([1.0, 2.5])), cold_start_s=seconds(2000),
            down_delay_s=draw(st.sampled_from([0.0, 0.5])), interval_s=0.125,
        )  # fmt: skip
    return Case(asked, step, limits, Fleet(replicas, router, scaler), users, hash_tokens)


def both(case: Case) -> tuple[list[Asked], float, Outcome]:
    requests = case.requests()
    outcome = simulate(requests, case.step, case.limits, case.fleet, users=case.users, per_request=True, trace=True)
    asked, on_seconds = run(case.asked, case.step, case.limits, case.fleet, case.users, case.hash_tokens)
    return asked, on_seconds, outcome


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(cases(exact=True))
def test_equal_to_the_last_bit_where_sums_are_exact(case: Case) -> None:
    asked, on_seconds, outcome = both(case)
    assert outcome.each is not None
    assert outcome.trace is not None
    assert outcome.each.replica.tolist() == [demand.replica for demand in asked]
    assert outcome.each.preemptions.tolist() == [demand.preempted for demand in asked]
    assert outcome.each.first_token_s.tolist() == [demand.tokens[0] for demand in asked]
    assert outcome.each.done_s.tolist() == [demand.tokens[-1] for demand in asked]
    assert outcome.each.due_s.tolist() == [demand.due for demand in asked]
    assert outcome.each.cached_tokens.tolist() == [demand.hits for demand in asked]
    assert [times.tolist() for times in token_times(outcome.trace, len(asked))] == [demand.tokens for demand in asked]
    assert outcome.replica_s == pytest.approx(on_seconds, rel=1e-12)
    assert outcome.output_tokens == sum(demand.output for demand in asked)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(cases(exact=False))
def test_equal_to_rounding_with_any_times(case: Case) -> None:
    asked, _, outcome = both(case)
    assert outcome.each is not None
    assert outcome.each.preemptions.tolist() == [demand.preempted for demand in asked]
    assert outcome.each.first_token_s == pytest.approx([demand.tokens[0] for demand in asked], rel=1e-9)
    assert outcome.each.done_s == pytest.approx([demand.tokens[-1] for demand in asked], rel=1e-9)
