"""Slots and micro-batches: how llama.cpp's server fills a step and divides it, where vLLM does otherwise.

In each turn of its loop (tools/server/server-context.cpp, update_slots) every slot that generates adds its token; then
the slots whose prompts are not read yet, by number, add prompt tokens until the batch is full. Requests wait for a
slot, not for memory: each slot has its share of the cache from the start, and none is preempted. The batch is computed
in micro-batches (src/llama-batch.cpp): with a cache for each slot, one takes as many tokens from each of a row of slots
whose numbers follow each other, and at most `micro_batch_tokens`; so prompts and generation share a micro-batch of one
token each only, and slots that are not neighbours share none. Every micro-batch reads the weights.
"""

from __future__ import annotations

from rackrate.simulate.compiled import jit, jit_inline
from rackrate.simulate.state import (
    BUDGET,
    DECODING,
    MAX_SEQUENCES,
    MICRO_BATCH,
    NOBODY,
    PREFILLING,
    Q_COMPUTED,
    Q_GENERATED,
    Q_INPUT,
    Q_SLOT,
    Q_STATUS,
    R_DECODE_STEP,
    SIMILAR,
    SLOT_HOLDS,
    SLOT_LEFT,
    SLOT_MEMBER,
    SLOT_TOKENS,
    SLOT_USED,
    UNIFIED,
    Core,
)
from rackrate.simulate.step import MICRO_STEP, dense_s


@jit_inline
def take_slot(core: Core, replica: int, place: int) -> None:
    """Gives a request a free slot; there is one.

    Where prompts begin alike, the first free one that has served before; else the one that was used longest ago, the
    last of those that never were.
    """
    slots = core.slots
    chosen = NOBODY
    if core.n[SIMILAR] > 0:
        for s in range(core.n[MAX_SEQUENCES]):
            if chosen == NOBODY and slots[replica, s, SLOT_HOLDS] == NOBODY and slots[replica, s, SLOT_USED] > 0:
                chosen = s
    if chosen == NOBODY:
        for s in range(core.n[MAX_SEQUENCES]):
            if slots[replica, s, SLOT_HOLDS] == NOBODY and (
                chosen == NOBODY or slots[replica, s, SLOT_USED] <= slots[replica, chosen, SLOT_USED]
            ):
                chosen = s
    slots[replica, chosen, SLOT_HOLDS] = place
    core.q[place, Q_SLOT] = chosen


@jit_inline
def free_slot(core: Core, replica: int, place: int) -> None:
    """A request leaves its slot."""
    slot = core.q[place, Q_SLOT]
    core.slots[replica, slot, SLOT_HOLDS] = NOBODY
    # those that end with the same step leave in the order of their numbers
    core.slots[replica, slot, SLOT_USED] = core.rep[replica, R_DECODE_STEP] * core.n[MAX_SEQUENCES] + slot + 1


@jit
def next_read(core: Core, replica: int, slot: int) -> int:
    """The request in the next slot after this one whose prompt is read to its end; NOBODY where there is none."""
    slots = core.slots
    for s in range(slot + 1, core.n[MAX_SEQUENCES]):
        place: int = slots[replica, s, SLOT_HOLDS]
        if place != NOBODY and core.q[place, Q_STATUS] == PREFILLING:
            left = core.q[place, Q_INPUT] + core.q[place, Q_GENERATED] - core.q[place, Q_COMPUTED]
            if left <= 0:
                return place
    return NOBODY


@jit
def fill_batch(core: Core, replica: int, decodes: int) -> tuple[int, int, float]:
    """Tokens of each slot in this step: one of those that generate, then prompts while the batch has room.

    Returns the prompts, their tokens, and the pairs of a prompt token and one that it attends to.
    """
    slots = core.slots
    budget = core.n[BUDGET] - decodes
    prompts, tokens = 0, 0
    pairs = 0.0
    for s in range(core.n[MAX_SEQUENCES]):
        place = slots[replica, s, SLOT_HOLDS]
        slots[replica, s, SLOT_TOKENS] = 0
        if place == NOBODY:
            continue
        if core.q[place, Q_STATUS] == DECODING:
            slots[replica, s, SLOT_TOKENS] = 1
        elif core.q[place, Q_STATUS] == PREFILLING and budget > 0:
            computed = core.q[place, Q_COMPUTED]
            chunk = min(core.q[place, Q_INPUT] + core.q[place, Q_GENERATED] - computed, budget)
            pairs += chunk * (computed + 0.5 * (chunk + 1))
            core.q[place, Q_COMPUTED] += chunk
            slots[replica, s, SLOT_TOKENS] = chunk
            budget -= chunk
            tokens += chunk
            prompts += 1
    return prompts, tokens, pairs


@jit
def micro_batches_s(core: Core, replica: int, with_prompts: bool) -> float:
    """What the micro-batches of a step take beside attention and what a step takes once: layers, and each one's start.

    Sequences are counted by who calls.
    """
    slots = core.slots
    number = core.n[MAX_SEQUENCES]
    left = 0
    for s in range(number):
        tokens = slots[replica, s, SLOT_TOKENS]
        if tokens > 0 and not with_prompts and core.q[slots[replica, s, SLOT_HOLDS], Q_STATUS] != DECODING:
            tokens = 0
        slots[replica, s, SLOT_LEFT] = tokens
        slots[replica, s, SLOT_MEMBER] = 0
        left += tokens
    seconds = 0.0
    batches = 0
    if core.n[UNIFIED] > 0:
        while left > 0:
            size = min(left, core.n[MICRO_BATCH])
            seconds += dense_s(core.step, size)
            left -= size
            batches += 1
    while left > 0:
        batches += 1
        members, last, least = 0, 0, 0
        for of_prompts in range(2):
            for s in range(number):
                rest = slots[replica, s, SLOT_LEFT]
                if rest == 0 or (members > 0 and s != last + 1):
                    continue
                is_prompt = core.q[slots[replica, s, SLOT_HOLDS], Q_STATUS] != DECODING
                if is_prompt == (of_prompts == 1):
                    slots[replica, s, SLOT_MEMBER] = batches
                    least = rest if members == 0 else min(least, rest)
                    members += 1
                    last = s
        each = min(least, max(1, core.n[MICRO_BATCH] // members))
        for s in range(number):
            if slots[replica, s, SLOT_MEMBER] == batches:
                slots[replica, s, SLOT_LEFT] -= each
        left -= members * each
        seconds += dense_s(core.step, members * each)
    return seconds + max(batches - 1, 0) * core.step[MICRO_STEP]
