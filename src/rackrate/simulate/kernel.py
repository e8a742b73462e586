"""The event loop: ends of stretches, arrivals, new stretches, looks of the autoscaler; at one moment in that order."""

from __future__ import annotations

import math

from rackrate.simulate.compiled import compiled, jit_inline
from rackrate.simulate.routing import choose, leave, tick
from rackrate.simulate.scheduling import end_stretch, enqueue, form, interrupt, may_interrupt
from rackrate.simulate.state import (
    ABSENT,
    ARRIVED,
    CLOSED,
    DONE,
    END,
    EVENTS,
    FINISHED,
    FIRST_DUE,
    FORM,
    HOPELESS,
    IDLE,
    INPUT,
    INTERVAL_S,
    JUMPS,
    LAST_DUE,
    MAX_SEQUENCES,
    NEEDS_ARRIVALS,
    NEXT_TICK,
    NOW,
    OLDEST,
    PENDING,
    Q_CACHED,
    Q_COMPUTED,
    Q_DUE,
    Q_FIRST,
    Q_GENERATED,
    Q_GROUP,
    Q_ID,
    Q_INPUT,
    Q_OUTPUT,
    Q_PREEMPTIONS,
    Q_REPLICA,
    Q_STATUS,
    R_IN_FLIGHT,
    R_KIND,
    R_WHEN,
    RING_FULL,
    SEGMENTS,
    TRACE_FULL,
    TRACED,
    TRENDS,
    Core,
    Floats,
    Ints,
    Out,
    Prefix,
    Small,
)


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
    replicas = len(core.rep)
    closed = core.n[CLOSED] > 0
    mask = len(core.q) - 1
    room = core.n[MAX_SEQUENCES] + 2
    scales = core.x[INTERVAL_S] > 0.0
    single = replicas == 1
    while True:
        if core.n[HOPELESS] > 0 or core.n[FINISHED] == total:
            return DONE
        if core.n[TRACED] > 0 and (
            core.n[JUMPS] + 1 > len(out.jumps) or core.n[SEGMENTS] + 2 * room > len(out.segments)
        ):
            return TRACE_FULL
        arrival = math.inf
        if closed:
            if core.n[PENDING] > 0:
                arrival = pending_due[0]
        elif core.n[ARRIVED] < total:
            following: int = core.n[ARRIVED] - begin
            if following >= len(due):
                return NEEDS_ARRIVALS
            arrival = due[following]
        ends, forms = math.inf, math.inf
        ending = forming = replicas - 1  # not the number 0, for which numba would compile everything once more
        if single:
            if core.rep[0, R_KIND] == END:
                ends = core.repx[0, R_WHEN]
            elif core.rep[0, R_KIND] == FORM:
                forms = core.repx[0, R_WHEN]
        else:
            for r in range(replicas):
                if core.rep[r, R_KIND] == END:
                    if core.repx[r, R_WHEN] < ends:
                        ends, ending = core.repx[r, R_WHEN], r
                elif core.rep[r, R_KIND] == FORM and core.repx[r, R_WHEN] < forms:
                    forms, forming = core.repx[r, R_WHEN], r
        look = core.x[NEXT_TICK] if scales else math.inf
        if ends <= arrival and ends <= forms and ends <= look:
            core.x[NOW] = ends
            done = end_stretch(core, prefix, out, ending)
            core.n[EVENTS] += 1
            if done > 0:
                if closed:
                    for _ in range(done):
                        _send_next(core, pending_due, pending_id, due, begin, total, ends)
                if scales:
                    leave(core, ending, ends)
        elif arrival <= forms and arrival <= look:
            core.x[NOW] = arrival
            request = pending_id[0] if closed else core.n[ARRIVED]
            while core.n[OLDEST] < core.n[ARRIVED] and core.q[core.n[OLDEST] & mask, Q_STATUS] == ABSENT:
                core.n[OLDEST] += 1
            if request - core.n[OLDEST] > mask or core.q[request & mask, Q_STATUS] != ABSENT:
                return RING_FULL
            if closed:
                _drop_first_pending(core, pending_due, pending_id)
            i: int = request - begin
            place = request & mask
            core.q[place, Q_ID] = request
            core.qx[place, Q_DUE] = arrival
            core.qx[place, Q_FIRST] = -1.0
            core.q[place, Q_INPUT] = input_tokens[i]
            core.q[place, Q_OUTPUT] = output_tokens[i]
            core.q[place, Q_CACHED] = cached_tokens[i]
            core.q[place, Q_GROUP] = group[i]
            core.q[place, Q_GENERATED] = 0
            core.q[place, Q_COMPUTED] = 0
            core.q[place, Q_PREEMPTIONS] = 0
            _watch(core, out, total)
            core.n[ARRIVED] += 1
            core.n[INPUT] += input_tokens[i]
            core.x[LAST_DUE] = arrival
            if core.n[ARRIVED] == 1:
                core.x[FIRST_DUE] = arrival
            r = 0
            if not single:
                r = choose(core, prefix, request, int(input_tokens[i]), int(group[i]), float(arrival))
            core.q[place, Q_REPLICA] = r
            core.rep[r, R_IN_FLIGHT] += 1
            if may_interrupt(core, r):
                interrupt(core, r, float(arrival))
            enqueue(core, r, place)
            if core.rep[r, R_KIND] == IDLE:
                core.rep[r, R_KIND] = FORM
                core.repx[r, R_WHEN] = arrival
        elif forms <= look:
            core.x[NOW] = forms
            form(core, prefix, out, forming, forms)
        elif look < math.inf:
            core.x[NOW] = look
            tick(core, look)
        else:
            return DONE


@jit_inline
def _watch(core: Core, out: Out, total: int) -> None:
    """Notes how many are in flight as a request arrives."""
    in_flight = 0
    for r in range(len(core.rep)):
        in_flight += core.rep[r, R_IN_FLIGHT]
    batch = min(core.n[ARRIVED] * TRENDS // total, TRENDS - 1)
    out.trend[batch, 0] += in_flight
    out.trend[batch, 1] += 1.0


@jit_inline
def _send_next(
    core: Core, pending_due: Floats, pending_id: Ints, pause: Floats, begin: int, total: int, now: float
) -> None:
    """In a closed loop, the next request is sent a pause after another is done; those pending are kept in order."""
    request = core.n[ARRIVED] + core.n[PENDING]
    if request >= total:
        return
    moment = now + pause[request - begin]
    place = core.n[PENDING]
    while place > 0 and pending_due[place - 1] > moment:
        pending_due[place] = pending_due[place - 1]
        pending_id[place] = pending_id[place - 1]
        place -= 1
    pending_due[place] = moment
    pending_id[place] = request
    core.n[PENDING] += 1


@jit_inline
def _drop_first_pending(core: Core, pending_due: Floats, pending_id: Ints) -> None:
    for n in range(1, core.n[PENDING]):
        pending_due[n - 1] = pending_due[n]
        pending_id[n - 1] = pending_id[n]
    core.n[PENDING] -= 1
