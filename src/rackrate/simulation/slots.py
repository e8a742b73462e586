"""Slots and micro-batches: how llama.cpp's server fills a step and divides it, where vLLM does otherwise.

In each turn of its loop (tools/server/server-context.cpp, update_slots) every slot that generates adds its token; then
the slots whose prompts are not read yet, by number, add prompt tokens until the batch is full. Requests wait for a
slot, not for memory: each slot has its share of the cache from the start, and none is preempted. The batch is computed
in micro-batches (src/llama-batch.cpp): with a cache for each slot, one takes as many tokens from each of a row of slots
whose numbers follow each other, and at most `micro_batch_tokens`; so prompts and generation share a micro-batch of one
token each only, and slots that are not neighbours share none. Every micro-batch reads the weights.
"""

from __future__ import annotations

from rackrate.simulation.compiled import jit, jit_inline
from rackrate.simulation.queues import is_partial, next_chunk
from rackrate.simulation.state import DECODING, NOBODY, PREFILLING, Core
from rackrate.simulation.step import dense_s


@jit_inline
def take_slot(core: Core, replica: int, place: int) -> None:
    """Gives a request a free slot; there is one.

    Where prompts begin alike, the first free one that has served before; else the one that was used longest ago, the
    last of those that never were.
    """
    slots = core.slots
    chosen = NOBODY
    if core.settings.similar > 0:
        for s in range(core.settings.max_sequences):
            if chosen == NOBODY and slots[replica, s].holds == NOBODY and slots[replica, s].used > 0:
                chosen = s
    if chosen == NOBODY:
        for s in range(core.settings.max_sequences):
            if slots[replica, s].holds == NOBODY and (
                chosen == NOBODY or slots[replica, s].used <= slots[replica, chosen].used
            ):
                chosen = s
    slots[replica, chosen].holds = place
    core.queue[place].slot = chosen


@jit_inline
def free_slot(core: Core, replica: int, place: int) -> None:
    """A request leaves its slot."""
    slot = core.queue[place].slot
    core.slots[replica, slot].holds = NOBODY
    # those that end with the same step leave in the order of their numbers
    core.slots[replica, slot].used = core.replicas[replica].decode_step * core.settings.max_sequences + slot + 1


@jit
def next_read(core: Core, replica: int, slot: int) -> int:
    """The request in the next slot after this one whose prompt is read to its end; NOBODY where there is none."""
    slots = core.slots
    for s in range(slot + 1, core.settings.max_sequences):
        place: int = slots[replica, s].holds
        if place != NOBODY and core.queue[place].status == PREFILLING and not is_partial(core, place):
            return place
    return NOBODY


@jit
def fill_batch(core: Core, replica: int, decodes: int) -> tuple[int, int, float]:
    """Tokens of each slot in this step: one of those that generate, then prompts while the batch has room.

    Returns the prompts, their tokens, and the pairs of a prompt token and one that it attends to.
    """
    slots = core.slots
    budget = core.settings.budget - decodes
    prompts, tokens = 0, 0
    pairs = 0.0
    for s in range(core.settings.max_sequences):
        place = slots[replica, s].holds
        slots[replica, s].tokens = 0
        if place == NOBODY:
            continue
        if core.queue[place].status == DECODING:
            slots[replica, s].tokens = 1
        elif core.queue[place].status == PREFILLING and budget > 0:
            chunk, added = next_chunk(core, place, budget)
            pairs += added
            slots[replica, s].tokens = chunk
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
    number = core.settings.max_sequences
    left = 0
    for s in range(number):
        tokens = slots[replica, s].tokens
        if tokens > 0 and not with_prompts and core.queue[slots[replica, s].holds].status != DECODING:
            tokens = 0
        slots[replica, s].left = tokens
        slots[replica, s].member = 0
        left += tokens
    seconds = 0.0
    batches = 0
    if core.settings.unified > 0:
        while left > 0:
            size = min(left, core.settings.micro_batch)
            seconds += dense_s(core.step, size)
            left -= size
            batches += 1
    while left > 0:
        batches += 1
        members, last, least = 0, 0, 0
        for of_prompts in range(2):
            for s in range(number):
                rest = slots[replica, s].left
                if rest == 0 or (members > 0 and s != last + 1):
                    continue
                is_prompt = core.queue[slots[replica, s].holds].status != DECODING
                if is_prompt == (of_prompts == 1):
                    slots[replica, s].member = batches
                    least = rest if members == 0 else min(least, rest)
                    members += 1
                    last = s
        each = min(least, max(1, core.settings.micro_batch // members))
        for s in range(number):
            if slots[replica, s].member == batches:
                slots[replica, s].left -= each
        left -= members * each
        seconds += dense_s(core.step, members * each)
    return seconds + max(batches - 1, 0) * core.step.micro_step_s
