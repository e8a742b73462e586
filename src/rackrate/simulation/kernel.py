"""The event loop: ends of stretches, arrivals, new stretches, looks of the autoscaler; at one moment in that order."""

from __future__ import annotations

import math

from rackrate.simulation.compiled import compiled, jit_inline
from rackrate.simulation.queues import enqueue
from rackrate.simulation.routing import choose, leave, tick
from rackrate.simulation.scheduling import form
from rackrate.simulation.state import (
    ABSENT,
    DONE,
    END,
    FORM,
    IDLE,
    NEEDS_ARRIVALS,
    RING_FULL,
    TRACE_FULL,
    TRENDS,
    Core,
    Floats,
    Ints,
    Out,
    Prefix,
    Small,
)
from rackrate.simulation.stretches import end_stretch, interrupt, may_interrupt


@compiled
def advance(
    core: Core,
    prefix: Prefix,
    out: Out,
    pending_due: Floats,
    pending_id: Ints,
    due: Floats,
    input_tokens: Small,
    output_tokens: Small,
    cached_tokens: Small,
    group: Small,
    begin: int,
    total: int,
) -> int:
    """Goes on until all is done, or something is lacking: the next block of arrivals, or room.

    Args:
        core: changed in place, as are prefix, out and pending.
        prefix: see there.
        out: see there.
        pending_due: see there.
        pending_id: see there.
        due: when the requests of this block are due; in a closed loop, how long after another is done each is sent.
        input_tokens: of each; output_tokens, cached_tokens, group (-1: none) likewise.
        output_tokens: see there.
        cached_tokens: see there.
        group: see there.
        begin: number of the block's first request.
        total: of all requests of the run.
    """
    replicas = len(core.replicas)
    closed = core.settings.closed > 0
    mask = len(core.queue) - 1
    most_ending = core.settings.max_sequences + 2
    scales = core.settings.interval_s > 0.0
    single = replicas == 1
    while True:
        if core.totals.hopeless > 0 or core.totals.finished == total:
            return DONE
        if core.settings.traced > 0 and (
            core.totals.jumps + 1 > len(out.jumps) or core.totals.segments + 2 * most_ending > len(out.segments)
        ):
            return TRACE_FULL
        arrival = math.inf
        if closed:
            if core.totals.pending > 0:
                arrival = pending_due[0]
        elif core.totals.arrived < total:
            following: int = core.totals.arrived - begin
            if following >= len(due):
                return NEEDS_ARRIVALS
            arrival = due[following]
        ends, forms = math.inf, math.inf
        ending = forming = replicas - 1  # not the number 0, for which numba would compile everything once more
        if single:
            if core.replicas[0].phase == END:
                ends = core.replicas[0].when_s
            elif core.replicas[0].phase == FORM:
                forms = core.replicas[0].when_s
        else:
            for r in range(replicas):
                engine = core.replicas[r]
                if engine.phase == END:
                    if engine.when_s < ends:
                        ends, ending = engine.when_s, r
                elif engine.phase == FORM and engine.when_s < forms:
                    forms, forming = engine.when_s, r
        look = core.totals.next_tick_s if scales else math.inf
        if ends <= arrival and ends <= forms and ends <= look:
            core.totals.now_s = ends
            done = end_stretch(core, prefix, out, ending)
            core.totals.events += 1
            if done > 0:
                if closed:
                    for _ in range(done):
                        _send_next(core, pending_due, pending_id, due, begin, total, ends)
                if scales:
                    leave(core, ending, ends)
        elif arrival <= forms and arrival <= look:
            core.totals.now_s = arrival
            number = pending_id[0] if closed else core.totals.arrived
            while core.totals.oldest < core.totals.arrived and core.queue[core.totals.oldest & mask].status == ABSENT:
                core.totals.oldest += 1
            place = number & mask
            request = core.queue[place]
            if number - core.totals.oldest > mask or request.status != ABSENT:
                return RING_FULL
            if closed:
                _drop_first_pending(core, pending_due, pending_id)
            i: int = number - begin
            request.id = number
            request.due_s = arrival
            request.first_s = -1.0
            request.input = input_tokens[i]
            request.output = output_tokens[i]
            request.cached = cached_tokens[i]
            request.generated = 0
            request.computed = 0
            request.preemptions = 0
            _watch(core, out, total)
            core.totals.arrived += 1
            core.totals.input += input_tokens[i]
            core.totals.last_due_s = arrival
            if core.totals.arrived == 1:
                core.totals.first_due_s = arrival
            r = 0
            if not single:
                r = choose(core, prefix, number, int(input_tokens[i]), int(group[i]), float(arrival))
            engine = core.replicas[r]
            engine.in_flight += 1
            if may_interrupt(core, r):
                interrupt(core, r, float(arrival))
            enqueue(core, r, place)
            if engine.phase == IDLE:
                engine.phase = FORM
                engine.when_s = arrival
        elif forms <= look:
            core.totals.now_s = forms
            form(core, prefix, out, forming, forms)
        elif look < math.inf:
            core.totals.now_s = look
            tick(core, look)
        else:
            return DONE


@jit_inline
def _watch(core: Core, out: Out, total: int) -> None:
    """Notes how many are in flight as a request arrives."""
    in_flight = 0
    for r in range(len(core.replicas)):
        in_flight += core.replicas[r].in_flight
    batch = min(core.totals.arrived * TRENDS // total, TRENDS - 1)
    out.trend[batch].in_flight += in_flight
    out.trend[batch].arrivals += 1


@jit_inline
def _send_next(
    core: Core, pending_due: Floats, pending_id: Ints, pause: Floats, begin: int, total: int, now: float
) -> None:
    """In a closed loop, the next request is sent a pause after another is done; those pending are kept in order."""
    request = core.totals.arrived + core.totals.pending
    if request >= total:
        return
    moment = now + pause[request - begin]
    place = core.totals.pending
    while place > 0 and pending_due[place - 1] > moment:
        pending_due[place] = pending_due[place - 1]
        pending_id[place] = pending_id[place - 1]
        place -= 1
    pending_due[place] = moment
    pending_id[place] = request
    core.totals.pending += 1


@jit_inline
def _drop_first_pending(core: Core, pending_due: Floats, pending_id: Ints) -> None:
    for n in range(1, core.totals.pending):
        pending_due[n - 1] = pending_due[n]
        pending_id[n - 1] = pending_id[n]
    core.totals.pending -= 1
