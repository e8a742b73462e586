"""What one replica does: continuous batching as vLLM's scheduler has it, many steps at a time.

Each step, running requests come first, in the order in which they were admitted: decoding ones take a token each, the
last one may still be prefilling and takes what the budget leaves. Where a decoding request needs a page and none is
free, the request admitted last gives up all of its own, goes to the head of the queue, and is computed anew later.
Otherwise waiting requests are admitted in order while the budget, `max_num_seqs` and the pages of their whole prompt
allow; so at most one is in the middle of its prompt.

Between two events a batch that only decodes grows its context, so its steps are taken as one stretch. A stretch ends
with the first request that is done, with the last page, or, where an arrival could be admitted, at the step boundary
after it.
"""

from __future__ import annotations

import math

from rackrate.simulation.compiled import jit_inline
from rackrate.simulation.prefix import (
    cached_blocks,
    count_cached,
    full_blocks,
    hold,
    take_pages,
    usable_cached_tokens,
)
from rackrate.simulation.queues import (
    append_running,
    end_segment,
    give_back,
    is_partial,
    next_chunk,
    pages_of,
    phase_of,
    remove,
    take_out,
)
from rackrate.simulation.slots import fill_batch, micro_batches_s, take_slot
from rackrate.simulation.state import DECODING, END, IDLE, NOBODY, PREFILLING, SHIFT, WAITING, Core, Out, Prefix
from rackrate.simulation.step import context_token_s, fixed_part_s, steps_s


@jit_inline
def _stored(core: Core, replica: int, place: int) -> int:
    """Tokens that a decoding request has in the cache: all but the newest."""
    request = core.queue[place]
    left = request.finish - core.replicas[replica].decode_step
    return request.input + request.output - left - 1


@jit_inline
def _preempt_last(core: Core, prefix: Prefix, out: Out, replica: int) -> int:
    """Sends the request admitted last back to the head of the queue; 1 if it was to get a page at the next step."""
    engine = core.replicas[replica]
    place = engine.run_tail
    request = core.queue[place]
    needed = 0
    if request.status == DECODING:
        stored = _stored(core, replica, place)
        key = (request.finish << SHIFT) | place
        spot = 0
        while core.heap[replica, spot] != key:
            spot += 1
        remove(core, replica, spot)
        phase = phase_of(core, replica, stored)
        core.phases[replica, phase] -= 1
        engine.context -= stored
        if stored % core.settings.page == 0:
            needed = 1
        request.generated = stored + 1 - request.input
        end_segment(core, out, replica, place)
        give_back(core, prefix, replica, place, stored)
    else:
        give_back(core, prefix, replica, place, request.input + request.generated)
        if engine.first_prefill == place:
            engine.first_prefill = NOBODY
    take_out(core, replica, place)
    head = engine.wait_head
    request.next = head
    engine.wait_head = place
    if head == NOBODY:
        engine.wait_tail = place
    request.status = WAITING
    request.computed = 0
    request.preemptions += 1
    core.totals.preempted += 1
    return needed


@jit_inline
def _admit(core: Core, prefix: Prefix, replica: int) -> int:
    """Moves the head of the queue to the running requests, if its whole prompt has room; its place, or NOBODY."""
    engine = core.replicas[replica]
    place = engine.wait_head
    if place == NOBODY:
        return NOBODY
    request = core.queue[place]
    target = request.input + request.generated
    blocks = full_blocks(core, prefix, request.id, request.input)
    private = pages_of(core, target) - blocks * core.settings.hash_pages
    leading, absent, unheld = 0, 0, 0
    if blocks > 0:
        leading, absent, unheld = cached_blocks(core, prefix, replica, request.id, blocks)
    spare = core.settings.watermark * (engine.running > 0)
    if private + absent + unheld + spare > engine.free:
        return NOBODY
    engine.wait_head = request.next
    if engine.wait_head == NOBODY:
        engine.wait_tail = NOBODY
    if blocks > 0:
        hold(core, prefix, replica, request.id, blocks)
    take_pages(core, prefix, replica, private)
    cached = usable_cached_tokens(core, leading, request.cached, target)
    request.computed = cached
    if request.preemptions == 0:
        request.hits = cached
        count_cached(core, cached)
    else:
        core.totals.recomputed += target - cached
    request.status = PREFILLING
    append_running(core, replica, place)
    return place


@jit_inline
def _prompts(core: Core, prefix: Prefix, replica: int, decodes: int, preempted: bool) -> tuple[int, int, float]:
    """Admits requests, and gives prompts what the step's budget leaves; as `fill_batch`, which does so for slots."""
    engine = core.replicas[replica]
    slotted = core.settings.slotted > 0
    budget = core.settings.budget - decodes
    prompts, tokens = 0, 0
    pairs = 0.0
    place = engine.first_prefill
    partial = False
    if place != NOBODY and budget > 0:
        tokens, pairs = next_chunk(core, place, budget)
        budget -= tokens
        prompts = 1
        partial = is_partial(core, place)
    if not preempted and not partial and (place == NOBODY or tokens > 0):
        while (budget > 0 or slotted) and engine.running < core.settings.max_sequences:
            place = _admit(core, prefix, replica)
            if place == NOBODY:
                break
            if slotted:
                take_slot(core, replica, place)
                continue
            if engine.first_prefill == NOBODY:
                engine.first_prefill = place
            chunk, added = next_chunk(core, place, budget)
            budget -= chunk
            tokens += chunk
            pairs += added
            prompts += 1
            if is_partial(core, place):
                break
    if slotted:
        return fill_batch(core, replica, decodes)
    return prompts, tokens, pairs


@jit_inline
def form(core: Core, prefix: Prefix, out: Out, replica: int, now: float) -> None:
    """Decides what a replica does from a step boundary on, and when that ends."""
    engine = core.replicas[replica]
    page = core.settings.page
    needed = core.phases[replica, (-engine.decode_step) % page]
    preempted = False
    while needed > 0:
        taken = min(needed, engine.free)
        if taken > 0:
            take_pages(core, prefix, replica, taken)
            needed -= taken
        if needed > 0:
            needed -= _preempt_last(core, prefix, out, replica)
            preempted = True
    decodes = engine.decoding
    prompts, tokens, pairs = _prompts(core, prefix, replica, decodes, preempted)
    if tokens == 0 and decodes == 0:
        engine.phase = IDLE
        engine.when_s = math.inf
        return
    step = core.step
    seen = engine.context + decodes
    token_s = context_token_s(step, decodes)
    floor = step.floor_s + step.floor_sequence_s * (decodes + prompts)
    engine.begun_s = now
    engine.phase = END
    engine.prefill_part_s = 0.0
    if tokens > 0:
        if core.settings.slotted > 0:
            first = micro_batches_s(core, replica, True) + step.sequence_s * (decodes + prompts) + step.step_s
            first += step.prefill_step_s + step.pair_s * pairs + token_s * seen
        else:
            first = fixed_part_s(step, decodes, prompts, tokens, pairs) + token_s * seen
        first = max(first, floor)
        engine.mixed = 1
        engine.stretch = 1
        engine.first_step_s = first
        engine.growth_s = 0.0
        engine.when_s = now + first
        alone = 0.0
        if decodes > 0:
            least = step.floor_s + step.floor_sequence_s * decodes
            alone = max(_decoding_s(core, replica, decodes) + token_s * seen, least)
        engine.prefill_part_s = first - alone
        return
    first = _decoding_s(core, replica, decodes) + token_s * seen
    growth = token_s * decodes
    steps = (core.heap[replica, 0] >> SHIFT) - engine.decode_step
    if first < floor:
        if growth > 0.0:
            # until the growing context reaches the floor
            steps = min(steps, int((floor - first) / growth) + 1)
        first, growth = floor, 0.0
    if decodes * ((steps + page - 2) // page) > engine.free:
        steps = min(steps, 1 + _further_steps(core, replica))
    engine.mixed = 0
    engine.stretch = steps
    engine.first_step_s = first
    engine.growth_s = growth
    engine.when_s = now + steps_s(first, growth, steps)


@jit_inline
def _decoding_s(core: Core, replica: int, decodes: int) -> float:
    """A step that only decodes, without the context that it reads. [s]"""
    if core.settings.slotted > 0:
        return micro_batches_s(core, replica, False) + core.step.sequence_s * decodes + core.step.step_s
    return core.decode_s[decodes]


@jit_inline
def _further_steps(core: Core, replica: int) -> int:
    """How many decode steps after the next one, which has its pages, the free ones allow."""
    engine = core.replicas[replica]
    page = core.settings.page
    rounds = engine.free // engine.decoding
    left = engine.free - rounds * engine.decoding
    steps = rounds * page
    phase = (-engine.decode_step - 1) % page
    for n in range(page):
        left -= core.phases[replica, phase]
        if left < 0:
            return steps + n
        phase = phase - 1 if phase > 0 else page - 1
    return steps + page
