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

from rackrate.simulate.compiled import jit_inline
from rackrate.simulate.prefix import (
    cached_blocks,
    count_cached,
    full_blocks,
    hold,
    release,
    take_pages,
    usable_cached_tokens,
)
from rackrate.simulate.slots import fill_batch, free_slot, micro_batches_s, next_read, take_slot
from rackrate.simulate.state import (
    ABSENT,
    BUDGET,
    BUSY,
    DECODED,
    DECODING,
    EACH_CACHED,
    EACH_DONE,
    EACH_DUE,
    EACH_FIRST,
    EACH_PREEMPTIONS,
    EACH_REPLICA,
    END,
    FINISHED,
    FORM,
    HASH_PAGES,
    IDLE,
    JUMPS,
    MAX_SEQUENCES,
    NOBODY,
    OUTPUT,
    PAGE,
    PLACE,
    PREEMPTED,
    PREFILL_BUSY,
    PREFILLED,
    PREFILLING,
    Q_CACHED,
    Q_COMPUTED,
    Q_DUE,
    Q_FINISH,
    Q_FIRST,
    Q_GENERATED,
    Q_HITS,
    Q_ID,
    Q_INPUT,
    Q_NEXT,
    Q_OUTPUT,
    Q_PREEMPTIONS,
    Q_PREVIOUS,
    Q_SEGMENT,
    Q_SLOT,
    Q_STATUS,
    R_BEGUN,
    R_CONTEXT,
    R_DECODE_STEP,
    R_DECODING,
    R_EMPTY,
    R_FIRST_STEP,
    R_FREE,
    R_FRESH,
    R_GROWTH,
    R_IN_FLIGHT,
    R_KIND,
    R_MIXED,
    R_PHASES,
    R_PREFILL_PART,
    R_RUN_HEAD,
    R_RUN_TAIL,
    R_RUNNING,
    R_STRETCH,
    R_WAIT_HEAD,
    R_WAIT_TAIL,
    R_WHEN,
    RECOMPUTED,
    SEGMENTS,
    SHIFT,
    SLOTTED,
    STEPS,
    TRACED,
    WAITING,
    WATERMARK,
    Core,
    Out,
    Prefix,
)
from rackrate.simulate.step import (
    DECODE_BASE,
    FLOOR,
    FLOOR_SEQUENCE,
    PAIR,
    PREFILL_STEP,
    SEQUENCE,
    STEP,
    context_token_s,
    fixed_part_s,
    steps_s,
    steps_until,
)
from rackrate.simulate.tally import check_slo


@jit_inline
def _sift_up(core: Core, replica: int, place: int) -> None:
    heap = core.heap
    key = heap[replica, place]
    while place > 0:
        parent = (place - 1) >> 1
        if heap[replica, parent] <= key:
            break
        heap[replica, place] = heap[replica, parent]
        place = parent
    heap[replica, place] = key


@jit_inline
def _sift_down(core: Core, replica: int, place: int, size: int) -> None:
    heap = core.heap
    key = heap[replica, place]
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and heap[replica, child + 1] < heap[replica, child]:
            child += 1
        if heap[replica, child] >= key:
            break
        heap[replica, place] = heap[replica, child]
        place = child
    heap[replica, place] = key


@jit_inline
def _push(core: Core, replica: int, key: int) -> None:
    """Adds to the heap of decoding sequences; `decoding` is its size."""
    size = core.rep[replica, R_DECODING]
    core.heap[replica, size] = key
    core.rep[replica, R_DECODING] = size + 1
    _sift_up(core, replica, size)


@jit_inline
def _remove(core: Core, replica: int, place: int) -> None:
    """Removes the entry at a place of the heap."""
    size = core.rep[replica, R_DECODING] - 1
    core.rep[replica, R_DECODING] = size
    if place < size:
        core.heap[replica, place] = core.heap[replica, size]
        _sift_down(core, replica, place, size)
        _sift_up(core, replica, place)


@jit_inline
def _pages(core: Core, tokens: int) -> int:
    page = core.n[PAGE]
    return (tokens + page - 1) // page


@jit_inline
def _append(core: Core, replica: int, place: int) -> None:
    """To the end of the replica's running requests."""
    tail = core.rep[replica, R_RUN_TAIL]
    core.q[place, Q_PREVIOUS] = tail
    core.q[place, Q_NEXT] = NOBODY
    if tail == NOBODY:
        core.rep[replica, R_RUN_HEAD] = place
    else:
        core.q[tail, Q_NEXT] = place
    core.rep[replica, R_RUN_TAIL] = place
    core.rep[replica, R_RUNNING] += 1


@jit_inline
def _take_out(core: Core, replica: int, place: int) -> None:
    """Out of the replica's running requests."""
    before, after = core.q[place, Q_PREVIOUS], core.q[place, Q_NEXT]
    if before == NOBODY:
        core.rep[replica, R_RUN_HEAD] = after
    else:
        core.q[before, Q_NEXT] = after
    if after == NOBODY:
        core.rep[replica, R_RUN_TAIL] = before
    else:
        core.q[after, Q_PREVIOUS] = before
    core.rep[replica, R_RUNNING] -= 1


@jit_inline
def enqueue(core: Core, replica: int, place: int) -> None:
    """To the end of the replica's queue."""
    tail = core.rep[replica, R_WAIT_TAIL]
    core.q[place, Q_NEXT] = NOBODY
    if tail == NOBODY:
        core.rep[replica, R_WAIT_HEAD] = place
    else:
        core.q[tail, Q_NEXT] = place
    core.rep[replica, R_WAIT_TAIL] = place
    core.q[place, Q_STATUS] = WAITING


@jit_inline
def _give_back(core: Core, prefix: Prefix, replica: int, place: int, tokens: int) -> None:
    """Frees all pages of a request that has stored so many tokens."""
    blocks = full_blocks(core, prefix, core.q[place, Q_ID], core.q[place, Q_INPUT])
    private = _pages(core, tokens) - blocks * core.n[HASH_PAGES]
    core.rep[replica, R_FREE] += private
    core.rep[replica, R_EMPTY] += private
    if blocks > 0:
        release(core, prefix, replica, core.q[place, Q_ID], blocks)


@jit_inline
def _phase(core: Core, replica: int, tokens: int) -> int:
    return (tokens - core.rep[replica, R_DECODE_STEP]) % core.n[PAGE]


@jit_inline
def _stored(core: Core, replica: int, place: int) -> int:
    """Tokens that a decoding request has in the cache: all but the newest."""
    left = core.q[place, Q_FINISH] - core.rep[replica, R_DECODE_STEP]
    return core.q[place, Q_INPUT] + core.q[place, Q_OUTPUT] - left - 1


@jit_inline
def _end_segment(core: Core, out: Out, replica: int, place: int) -> None:
    """Notes which decode steps gave a request its tokens, where a trace is wanted."""
    if core.n[TRACED]:
        n = core.n[SEGMENTS]
        out.segments[n, 0] = core.q[place, Q_ID]
        out.segments[n, 1] = replica
        out.segments[n, 2] = core.q[place, Q_SEGMENT]
        out.segments[n, 3] = core.rep[replica, R_DECODE_STEP]
        core.n[SEGMENTS] = n + 1


@jit_inline
def _preempt_last(core: Core, prefix: Prefix, out: Out, replica: int) -> int:
    """Sends the request admitted last back to the head of the queue; 1 if it was to get a page at the next step."""
    place = core.rep[replica, R_RUN_TAIL]
    needed = 0
    if core.q[place, Q_STATUS] == DECODING:
        stored = _stored(core, replica, place)
        key = (core.q[place, Q_FINISH] << SHIFT) | place
        spot = 0
        while core.heap[replica, spot] != key:
            spot += 1
        _remove(core, replica, spot)
        phase = _phase(core, replica, stored)
        core.rep[replica, R_PHASES + phase] -= 1
        core.rep[replica, R_CONTEXT] -= stored
        if stored % core.n[PAGE] == 0:
            needed = 1
        core.q[place, Q_GENERATED] = stored + 1 - core.q[place, Q_INPUT]
        _end_segment(core, out, replica, place)
        _give_back(core, prefix, replica, place, stored)
    else:
        _give_back(core, prefix, replica, place, core.q[place, Q_INPUT] + core.q[place, Q_GENERATED])
        if core.rep[replica, R_FRESH] == place:
            core.rep[replica, R_FRESH] = NOBODY
    _take_out(core, replica, place)
    head = core.rep[replica, R_WAIT_HEAD]
    core.q[place, Q_NEXT] = head
    core.rep[replica, R_WAIT_HEAD] = place
    if head == NOBODY:
        core.rep[replica, R_WAIT_TAIL] = place
    core.q[place, Q_STATUS] = WAITING
    core.q[place, Q_COMPUTED] = 0
    core.q[place, Q_PREEMPTIONS] += 1
    core.n[PREEMPTED] += 1
    return needed


@jit_inline
def _admit(core: Core, prefix: Prefix, replica: int) -> int:
    """Moves the head of the queue to the running requests, if its whole prompt has room; its place, or NOBODY."""
    place = core.rep[replica, R_WAIT_HEAD]
    if place == NOBODY:
        return NOBODY
    request = core.q[place, Q_ID]
    target = core.q[place, Q_INPUT] + core.q[place, Q_GENERATED]
    blocks = full_blocks(core, prefix, request, core.q[place, Q_INPUT])
    private = _pages(core, target) - blocks * core.n[HASH_PAGES]
    leading, absent, unheld = 0, 0, 0
    if blocks > 0:
        leading, absent, unheld = cached_blocks(core, prefix, replica, request, blocks)
    spare = core.n[WATERMARK] * (core.rep[replica, R_RUNNING] > 0)
    if private + absent + unheld + spare > core.rep[replica, R_FREE]:
        return NOBODY
    core.rep[replica, R_WAIT_HEAD] = core.q[place, Q_NEXT]
    if core.rep[replica, R_WAIT_HEAD] == NOBODY:
        core.rep[replica, R_WAIT_TAIL] = NOBODY
    if blocks > 0:
        hold(core, prefix, replica, request, blocks)
    take_pages(core, prefix, replica, private)
    cached = usable_cached_tokens(core, leading, core.q[place, Q_CACHED], target)
    core.q[place, Q_COMPUTED] = cached
    if core.q[place, Q_PREEMPTIONS] == 0:
        core.q[place, Q_HITS] = cached
        count_cached(core, cached)
    else:
        core.n[RECOMPUTED] += target - cached
    core.q[place, Q_STATUS] = PREFILLING
    _append(core, replica, place)
    return place


@jit_inline
def _prompts(core: Core, prefix: Prefix, replica: int, decodes: int, preempted: bool) -> tuple[int, int, float]:
    """Admits requests, and gives prompts what the step's budget leaves; as `fill_batch`, which does so for slots."""
    slotted = core.n[SLOTTED] > 0
    budget = core.n[BUDGET] - decodes
    prompts, tokens = 0, 0
    pairs = 0.0
    place = core.rep[replica, R_FRESH]
    partial = False
    if place != NOBODY and budget > 0:
        left = core.q[place, Q_INPUT] + core.q[place, Q_GENERATED] - core.q[place, Q_COMPUTED]
        chunk = min(left, budget)
        pairs += chunk * (core.q[place, Q_COMPUTED] + 0.5 * (chunk + 1))
        core.q[place, Q_COMPUTED] += chunk
        budget -= chunk
        tokens += chunk
        prompts += 1
        partial = chunk < left
    if not preempted and not partial and (place == NOBODY or tokens > 0):
        while (budget > 0 or slotted) and core.rep[replica, R_RUNNING] < core.n[MAX_SEQUENCES]:
            place = _admit(core, prefix, replica)
            if place == NOBODY:
                break
            if slotted:
                take_slot(core, replica, place)
                continue
            if core.rep[replica, R_FRESH] == NOBODY:
                core.rep[replica, R_FRESH] = place
            left = core.q[place, Q_INPUT] + core.q[place, Q_GENERATED] - core.q[place, Q_COMPUTED]
            chunk = min(left, budget)
            pairs += chunk * (core.q[place, Q_COMPUTED] + 0.5 * (chunk + 1))
            core.q[place, Q_COMPUTED] += chunk
            budget -= chunk
            tokens += chunk
            prompts += 1
            if chunk < left:
                break
    if slotted:
        return fill_batch(core, replica, decodes)
    return prompts, tokens, pairs


@jit_inline
def form(core: Core, prefix: Prefix, out: Out, replica: int, now: float) -> None:
    """Decides what a replica does from a step boundary on, and when that ends."""
    page = core.n[PAGE]
    needed = core.rep[replica, R_PHASES + (-core.rep[replica, R_DECODE_STEP]) % page]
    preempted = False
    while needed > 0:
        taken = min(needed, core.rep[replica, R_FREE])
        if taken > 0:
            take_pages(core, prefix, replica, taken)
            needed -= taken
        if needed > 0:
            needed -= _preempt_last(core, prefix, out, replica)
            preempted = True
    decodes = core.rep[replica, R_DECODING]
    prompts, tokens, pairs = _prompts(core, prefix, replica, decodes, preempted)
    if tokens == 0 and decodes == 0:
        core.rep[replica, R_KIND] = IDLE
        core.repx[replica, R_WHEN] = math.inf
        return
    step = core.step
    seen = core.rep[replica, R_CONTEXT] + decodes
    token_s = context_token_s(step, decodes)
    floor = step[FLOOR] + step[FLOOR_SEQUENCE] * (decodes + prompts)
    core.repx[replica, R_BEGUN] = now
    core.rep[replica, R_KIND] = END
    core.repx[replica, R_PREFILL_PART] = 0.0
    if tokens > 0:
        if core.n[SLOTTED] > 0:
            first = micro_batches_s(core, replica, True) + step[SEQUENCE] * (decodes + prompts) + step[STEP]
            first += step[PREFILL_STEP] + step[PAIR] * pairs + token_s * seen
        else:
            first = fixed_part_s(step, decodes, prompts, tokens, pairs) + token_s * seen
        first = max(first, floor)
        core.rep[replica, R_MIXED] = 1
        core.rep[replica, R_STRETCH] = 1
        core.repx[replica, R_FIRST_STEP] = first
        core.repx[replica, R_GROWTH] = 0.0
        core.repx[replica, R_WHEN] = now + first
        alone = 0.0
        if decodes > 0:
            least = step[FLOOR] + step[FLOOR_SEQUENCE] * decodes
            alone = max(_decoding_s(core, replica, decodes) + token_s * seen, least)
        core.repx[replica, R_PREFILL_PART] = first - alone
        return
    first = _decoding_s(core, replica, decodes) + token_s * seen
    growth = token_s * decodes
    steps = (core.heap[replica, 0] >> SHIFT) - core.rep[replica, R_DECODE_STEP]
    if first < floor:
        if growth > 0.0:
            # until the growing context reaches the floor
            steps = min(steps, int((floor - first) / growth) + 1)
        first, growth = floor, 0.0
    if decodes * ((steps + page - 2) // page) > core.rep[replica, R_FREE]:
        steps = min(steps, 1 + _further_steps(core, replica))
    core.rep[replica, R_MIXED] = 0
    core.rep[replica, R_STRETCH] = steps
    core.repx[replica, R_FIRST_STEP] = first
    core.repx[replica, R_GROWTH] = growth
    core.repx[replica, R_WHEN] = now + steps_s(first, growth, steps)


@jit_inline
def _decoding_s(core: Core, replica: int, decodes: int) -> float:
    """A step that only decodes, without the context that it reads. [s]"""
    if core.n[SLOTTED] > 0:
        return micro_batches_s(core, replica, False) + core.step[SEQUENCE] * decodes + core.step[STEP]
    return core.step[DECODE_BASE + decodes]


@jit_inline
def _further_steps(core: Core, replica: int) -> int:
    """How many decode steps after the next one, which has its pages, the free ones allow."""
    page = core.n[PAGE]
    rounds = core.rep[replica, R_FREE] // core.rep[replica, R_DECODING]
    left = core.rep[replica, R_FREE] - rounds * core.rep[replica, R_DECODING]
    steps = rounds * page
    phase = (-core.rep[replica, R_DECODE_STEP] - 1) % page
    for n in range(page):
        left -= core.rep[replica, R_PHASES + phase]
        if left < 0:
            return steps + n
        phase = phase - 1 if phase > 0 else page - 1
    return steps + page


@jit_inline
def _pages_of_further_steps(core: Core, replica: int, steps: int) -> int:
    """Pages that the decoding sequences take in so many steps after the next one."""
    page = core.n[PAGE]
    rounds = steps // page
    taken = rounds * core.rep[replica, R_DECODING]
    phase = (-core.rep[replica, R_DECODE_STEP] - 1) % page
    for _ in range(steps - rounds * page):
        taken += core.rep[replica, R_PHASES + phase]
        phase = phase - 1 if phase > 0 else page - 1
    return taken


@jit_inline
def may_interrupt(core: Core, replica: int) -> bool:
    """Whether an arrival could be admitted at the next step boundary: nobody waits, and there is room to run."""
    return (
        core.rep[replica, R_KIND] == END
        and core.rep[replica, R_STRETCH] > 1
        and core.rep[replica, R_WAIT_HEAD] == NOBODY
        and core.rep[replica, R_RUNNING] < core.n[MAX_SEQUENCES]
        and core.rep[replica, R_DECODING] < core.n[BUDGET]
    )


@jit_inline
def interrupt(core: Core, replica: int, moment: float) -> None:
    """Ends the present stretch at the first step boundary that is not before a moment."""
    first, growth, begun = core.repx[replica, R_FIRST_STEP], core.repx[replica, R_GROWTH], core.repx[replica, R_BEGUN]
    steps = steps_until(first, growth, begun, moment)
    if steps < core.rep[replica, R_STRETCH]:
        core.rep[replica, R_STRETCH] = steps
        core.repx[replica, R_WHEN] = begun + steps_s(first, growth, steps)


@jit_inline
def _finish(core: Core, prefix: Prefix, out: Out, replica: int, place: int, now: float) -> None:
    """A request has its last token."""
    request = core.q[place, Q_ID]
    output = core.q[place, Q_OUTPUT]
    due, first = core.qx[place, Q_DUE], core.qx[place, Q_FIRST]
    tpot = (now - first) / (output - 1) if output > 1 else -1.0
    check_slo(core, out, request, first - due, tpot, now - due)
    _end_segment(core, out, replica, place)
    _give_back(core, prefix, replica, place, core.q[place, Q_INPUT] + output - 1)
    _take_out(core, replica, place)
    if core.n[SLOTTED] > 0:
        free_slot(core, replica, place)
    core.q[place, Q_STATUS] = ABSENT
    core.rep[replica, R_IN_FLIGHT] -= 1
    core.n[FINISHED] += 1
    core.n[OUTPUT] += output
    if request < len(out.each):
        out.each[request, EACH_DUE] = due
        out.each[request, EACH_FIRST] = first
        out.each[request, EACH_DONE] = now
        out.each[request, EACH_CACHED] = core.q[place, Q_HITS]
        out.each[request, EACH_REPLICA] = replica
        out.each[request, EACH_PREEMPTIONS] = core.q[place, Q_PREEMPTIONS]


@jit_inline
def end_stretch(core: Core, prefix: Prefix, out: Out, replica: int) -> int:
    """Ends the present stretch of steps: tokens come, requests are done. Returns how many."""
    now = core.repx[replica, R_WHEN]
    steps = core.rep[replica, R_STRETCH]
    decodes = core.rep[replica, R_DECODING]
    if core.n[TRACED]:
        n = core.n[JUMPS]
        out.jumps[n, 0] = replica
        out.jumps[n, 1] = core.rep[replica, R_DECODE_STEP]
        out.jumps[n, 2] = core.repx[replica, R_BEGUN]
        out.jumps[n, 3] = core.repx[replica, R_FIRST_STEP]
        out.jumps[n, 4] = core.repx[replica, R_GROWTH]
        out.jumps[n, 5] = steps
        core.n[JUMPS] = n + 1
    if decodes > 0:
        taken = _pages_of_further_steps(core, replica, steps - 1)
        if taken > 0:
            take_pages(core, prefix, replica, taken)
        core.rep[replica, R_CONTEXT] += steps * decodes
        core.n[DECODED] += steps * decodes
    core.rep[replica, R_DECODE_STEP] += steps
    core.n[STEPS] += steps
    core.x[BUSY] += now - core.repx[replica, R_BEGUN]
    core.x[PREFILL_BUSY] += core.repx[replica, R_PREFILL_PART]
    step = core.rep[replica, R_DECODE_STEP]
    done = 0
    while core.rep[replica, R_DECODING] > 0 and (core.heap[replica, 0] >> SHIFT) == step:
        place = core.heap[replica, 0] & PLACE
        _remove(core, replica, 0)
        stored = core.q[place, Q_INPUT] + core.q[place, Q_OUTPUT] - 1
        core.rep[replica, R_PHASES + _phase(core, replica, stored)] -= 1
        core.rep[replica, R_CONTEXT] -= stored
        _finish(core, prefix, out, replica, place, now)
        done += 1
    if core.rep[replica, R_MIXED]:
        done += _end_prompts(core, prefix, out, replica, now)
    core.rep[replica, R_KIND] = FORM
    return done


@jit_inline
def _end_prompts(core: Core, prefix: Prefix, out: Out, replica: int, now: float) -> int:
    """Prompts that were computed to their end in this step give a token, and decode from the next one on."""
    step = core.rep[replica, R_DECODE_STEP]
    slotted = core.n[SLOTTED] > 0
    done = 0
    place = next_read(core, replica, -1) if slotted else core.rep[replica, R_FRESH]
    while place != NOBODY:
        target = core.q[place, Q_INPUT] + core.q[place, Q_GENERATED]
        if core.q[place, Q_COMPUTED] < target:
            break
        after = next_read(core, replica, core.q[place, Q_SLOT]) if slotted else core.q[place, Q_NEXT]
        core.n[PREFILLED] += target
        core.q[place, Q_SEGMENT] = step
        core.q[place, Q_GENERATED] += 1
        if core.qx[place, Q_FIRST] < 0.0:
            core.qx[place, Q_FIRST] = now
        left = core.q[place, Q_OUTPUT] - core.q[place, Q_GENERATED]
        if left == 0:
            _finish(core, prefix, out, replica, place, now)
            done += 1
        else:
            core.q[place, Q_STATUS] = DECODING
            core.q[place, Q_FINISH] = step + left
            _push(core, replica, (core.q[place, Q_FINISH] << SHIFT) | place)
            core.rep[replica, R_PHASES + _phase(core, replica, target)] += 1
            core.rep[replica, R_CONTEXT] += target
        place = after
    if not slotted:
        core.rep[replica, R_FRESH] = place
    return done
