"""llama.cpp's slots: what can be worked out by hand of batches, micro-batches and the choice of a slot."""

from __future__ import annotations

import numpy as np
import pytest

from rackrate.errors import WorkloadError
from rackrate.simulation.settings import EngineLimits, Requests
from rackrate.simulation.simulator import simulate
from rackrate.simulation.step import StepTime

READ = StepTime(weights_s=1.0, token_compute_s=0.0, context_s=0.0, step_s=0.0)
"""A second for each time that the weights are read, and nothing else."""


def slots(
    number: int = 4, batch: int = 64, micro: int = 16, *, unified: bool = False, alike: bool = False
) -> EngineLimits:
    return EngineLimits(
        kv_tokens=4096 * number, max_num_seqs=number, max_num_batched_tokens=batch, scheduling="llama.cpp",
        micro_batch_tokens=micro, unified_cache=unified, similar_prompts=alike,
    )  # fmt: skip


def ends(requests: Requests, limits: EngineLimits, step: StepTime = READ) -> tuple[list[float], list[float]]:
    outcome = simulate(requests, step, limits, per_request=True)
    assert outcome.each is not None
    return outcome.each.first_token_s.tolist(), outcome.each.done_s.tolist()


def test_prompts_that_came_together_have_their_first_token_together() -> None:
    """Four prompts of 16 tokens are one batch of 64, in four micro-batches of 4 tokens each."""
    first, done = ends(Requests([0.0] * 4, [16] * 4, [3] * 4), slots())
    assert first == [4.0] * 4
    assert done == [6.0] * 4


def test_a_batch_that_is_full_is_filled_in_the_order_of_slots() -> None:
    """Unused slots are taken from the last on, so that the request that came first is read last."""
    first, _ = ends(Requests([0.0] * 3, [40] * 3, [1] * 3), slots(3, batch=40, micro=40))
    assert first == [3.0, 2.0, 1.0]


@pytest.mark.parametrize(("unified", "seconds"), [(False, 2.0), (True, 1.0)])
def test_slots_that_are_no_neighbours_read_the_weights_each(unified: bool, seconds: float) -> None:
    """Of three requests the one in the middle slot is done first; the outer two then share no micro-batch."""
    first, done = ends(Requests([0.0] * 3, [1] * 3, [12, 2, 12]), slots(3, unified=unified))
    assert first == [1.0] * 3
    assert done[1] == 2.0
    assert done[0] == done[2] == 2.0 + 10 * seconds


def test_a_prompt_shares_one_token_with_those_that_generate() -> None:
    """One generates in slot 3; a prompt of 17 in slot 2 is read: a token each, then 16 by themselves."""
    first, _ = ends(Requests([0.0, 0.5], [1, 17], [9, 1]), slots())
    # the generating slot comes first in the batch and slot 2 does not follow it: 1, then 16, then 1
    assert first == [1.0, 4.0]
    first, _ = ends(Requests([0.0, 0.0, 0.5], [1, 1, 17], [1, 40, 1]), slots(2))
    # slot 1 is free again when the third comes, slot 0 generates and is followed by slot 1: 2, then 16
    assert first == [1.0, 1.0, 3.0]


def test_prompts_alike_go_to_a_slot_that_served_before() -> None:
    """Slot 3 generates, slot 2 is free again. Alike, the next one takes it, and both share micro-batches; else slot 1,
    which was never used and is no neighbour."""
    requests = Requests([0.0, 0.0, 1.5], [1] * 3, [9, 1, 9])
    assert ends(requests, slots(alike=True)) == ([1.0, 1.0, 4.0], [10.0, 1.0, 12.0])
    assert ends(requests, slots()) == ([1.0, 1.0, 4.0], [16.0, 1.0, 18.0])


def test_one_slot_is_a_queue_of_constant_service() -> None:
    """M/D/1: the mean wait at load r is r / (2 (1 - r)) services (Pollaczek and Khinchine)."""
    count, load = 40_000, 0.7
    due = np.cumsum(np.random.default_rng(5).exponential(1 / load, count))
    outcome = simulate(Requests(due, [1] * count, [1] * count), READ, slots(1), per_request=True)
    assert outcome.each is not None
    waited = float((outcome.each.first_token_s - outcome.each.due_s - 1.0).mean())
    assert waited == pytest.approx(load / (2 * (1 - load)), rel=0.06)


def test_what_no_slot_holds_is_refused() -> None:
    with pytest.raises(WorkloadError, match="a slot holds 4096"):
        simulate(Requests([0.0], [4000], [200]), READ, slots())
    with pytest.raises(WorkloadError, match="batches and micro-batches of as many tokens"):
        slots(20)
    hashed = Requests([0.0], [64], [2], hash_start=[0, 1], hashes=[7], hash_tokens=64)
    with pytest.raises(WorkloadError, match="slots have one each"):
        simulate(hashed, READ, slots())
