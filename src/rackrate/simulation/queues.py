"""A replica's queue, its running requests, the heap of those that decode, and the pages that they hold."""

from __future__ import annotations

from rackrate.simulation.compiled import jit_inline
from rackrate.simulation.prefix import full_blocks, release
from rackrate.simulation.state import NOBODY, WAITING, Core, Out, Prefix


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
def push(core: Core, replica: int, key: int) -> None:
    """Adds to the heap of decoding sequences; `decoding` is its size."""
    engine = core.replicas[replica]
    size = engine.decoding
    core.heap[replica, size] = key
    engine.decoding = size + 1
    _sift_up(core, replica, size)


@jit_inline
def remove(core: Core, replica: int, place: int) -> None:
    """Removes the entry at a place of the heap."""
    engine = core.replicas[replica]
    size = engine.decoding - 1
    engine.decoding = size
    if place < size:
        core.heap[replica, place] = core.heap[replica, size]
        _sift_down(core, replica, place, size)
        _sift_up(core, replica, place)


@jit_inline
def append_running(core: Core, replica: int, place: int) -> None:
    """To the end of the replica's running requests."""
    engine = core.replicas[replica]
    request = core.queue[place]
    tail = engine.run_tail
    request.previous = tail
    request.next = NOBODY
    if tail == NOBODY:
        engine.run_head = place
    else:
        core.queue[tail].next = place
    engine.run_tail = place
    engine.running += 1


@jit_inline
def take_out(core: Core, replica: int, place: int) -> None:
    """Out of the replica's running requests."""
    engine = core.replicas[replica]
    request = core.queue[place]
    before, after = request.previous, request.next
    if before == NOBODY:
        engine.run_head = after
    else:
        core.queue[before].next = after
    if after == NOBODY:
        engine.run_tail = before
    else:
        core.queue[after].previous = before
    engine.running -= 1


@jit_inline
def enqueue(core: Core, replica: int, place: int) -> None:
    """To the end of the replica's queue."""
    engine = core.replicas[replica]
    request = core.queue[place]
    tail = engine.wait_tail
    request.next = NOBODY
    if tail == NOBODY:
        engine.wait_head = place
    else:
        core.queue[tail].next = place
    engine.wait_tail = place
    request.status = WAITING


@jit_inline
def next_chunk(core: Core, place: int, budget: int) -> tuple[int, float]:
    """Computes what the budget allows of a prompt: tokens, and pairs of one of them and a token that it attends to."""
    request = core.queue[place]
    chunk = min(request.input + request.generated - request.computed, budget)
    pairs = chunk * (request.computed + 0.5 * (chunk + 1))
    request.computed += chunk
    return chunk, pairs


@jit_inline
def is_partial(core: Core, place: int) -> bool:
    """Whether some of its prompt is still to be computed."""
    request = core.queue[place]
    return request.computed < request.input + request.generated


@jit_inline
def pages_of(core: Core, tokens: int) -> int:
    page = core.settings.page
    return (tokens + page - 1) // page


@jit_inline
def phase_of(core: Core, replica: int, tokens: int) -> int:
    return (tokens - core.replicas[replica].decode_step) % core.settings.page


@jit_inline
def give_back(core: Core, prefix: Prefix, replica: int, place: int, tokens: int) -> None:
    """Frees all pages of a request that has stored so many tokens."""
    engine = core.replicas[replica]
    request = core.queue[place]
    blocks = full_blocks(core, prefix, request.id, request.input)
    private = pages_of(core, tokens) - blocks * core.settings.hash_pages
    engine.free += private
    engine.empty += private
    if blocks > 0:
        release(core, prefix, replica, request.id, blocks)


@jit_inline
def end_segment(core: Core, out: Out, replica: int, place: int) -> None:
    """Notes which decode steps gave a request its tokens, where a trace is wanted."""
    if core.settings.traced:
        request = core.queue[place]
        segment = out.segments[core.totals.segments]
        segment.request, segment.replica = request.id, replica
        segment.first, segment.last = request.segment, core.replicas[replica].decode_step
        core.totals.segments += 1


@jit_inline
def pages_of_further_steps(core: Core, replica: int, steps: int) -> int:
    """Pages that the decoding sequences take in so many steps after the next one."""
    engine = core.replicas[replica]
    page = core.settings.page
    rounds = steps // page
    taken = rounds * engine.decoding
    phase = (-engine.decode_step - 1) % page
    for _ in range(steps - rounds * page):
        taken += core.phases[replica, phase]
        phase = phase - 1 if phase > 0 else page - 1
    return taken
