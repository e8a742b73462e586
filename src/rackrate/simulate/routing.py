"""Which replica an arrival goes to, and how many there are."""

from __future__ import annotations

import math

from rackrate.simulate.compiled import compiled, jit_inline
from rackrate.simulate.prefix import cached_blocks, full_blocks
from rackrate.simulate.state import (
    COLD_START_S,
    DOWN_DELAY_S,
    DRAINING,
    HASH_TOKENS,
    INTERVAL_S,
    LEAST_LOADED,
    LEAST_REPLICAS,
    LOW_SINCE,
    MOST_REPLICAS,
    NEXT_TICK,
    NOBODY,
    OFF,
    ON,
    ON_SECONDS,
    PREFIX_AFFINE,
    R_IN_FLIGHT,
    R_ON_SINCE,
    R_POWER,
    R_READY_AT,
    ROUTER,
    STARTING,
    TARGET_IN_FLIGHT,
    TURN,
    Core,
    Prefix,
)


@compiled
def mixed_bits(value: int) -> int:
    """A well-mixed 31-bit number of a small one: the finaliser of MurmurHash3 (A. Appleby, 2011, public domain).

    >>> sorted({mixed_bits(group) % 4 for group in range(32)})
    [0, 1, 2, 3]
    """
    mixed = int(value) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return (mixed ^ (mixed >> 16)) >> 1


@jit_inline
def choose(core: Core, prefix: Prefix, request: int, input_tokens: int, group: int, now: float) -> int:
    """The replica for an arrival: the next in turn, the one with fewest requests, or the one that has its prefix.

    Prefix-affine goes to the replica whose cache has the longest beginning of the prompt, half of it at least, where
    the trace says what prompts share, and else to the one that its group is hashed to; but not to one with more
    requests than half as many again as the one with fewest, and four: then, and where no cache has so much, to that
    one. What all prompts begin with would otherwise lead all of them to one replica.
    """
    number = len(core.rep)
    if number == 1:
        return 0
    if core.x[INTERVAL_S] > 0.0:
        for r in range(number):
            if core.rep[r, R_POWER] == STARTING and core.repx[r, R_READY_AT] <= now:
                core.rep[r, R_POWER] = ON
    on = 0
    least = NOBODY
    for r in range(number):
        if core.rep[r, R_POWER] == ON:
            on += 1
            if least == NOBODY or core.rep[r, R_IN_FLIGHT] < core.rep[least, R_IN_FLIGHT]:
                least = r
    if core.n[ROUTER] == LEAST_LOADED:
        return least
    if core.n[ROUTER] == PREFIX_AFFINE:
        wanted = NOBODY
        if core.n[HASH_TOKENS] > 0:
            most = 0
            blocks = full_blocks(core, prefix, request, input_tokens)
            for r in range(number):
                if core.rep[r, R_POWER] == ON:
                    leading = cached_blocks(core, prefix, r, request, blocks)[0]
                    if leading > most and 2 * leading >= blocks:
                        most, wanted = leading, r
        elif group >= 0:
            wanted = _turn(core, mixed_bits(group) % on)
        if wanted == NOBODY or 2 * core.rep[wanted, R_IN_FLIGHT] > 3 * core.rep[least, R_IN_FLIGHT] + 8:
            return least
        return wanted
    core.n[TURN] += 1
    return _turn(core, (core.n[TURN] - 1) % on)


@jit_inline
def _turn(core: Core, wanted: int) -> int:
    """The replica of that number among those that are on."""
    for r in range(len(core.rep)):
        if core.rep[r, R_POWER] == ON:
            if wanted == 0:
                return r
            wanted -= 1
    return 0


@jit_inline
def leave(core: Core, replica: int, now: float) -> None:
    """A replica that drains goes off once it is empty."""
    if core.rep[replica, R_POWER] == DRAINING and core.rep[replica, R_IN_FLIGHT] == 0:
        core.rep[replica, R_POWER] = OFF
        core.x[ON_SECONDS] += now - core.repx[replica, R_ON_SINCE]


@jit_inline
def tick(core: Core, now: float) -> None:
    """The autoscaler looks: so many replicas as the requests in flight ask for, up at once, down after a delay."""
    number = len(core.rep)
    in_flight = 0
    there = 0
    for r in range(number):
        in_flight += core.rep[r, R_IN_FLIGHT]
        if core.rep[r, R_POWER] == STARTING and core.repx[r, R_READY_AT] <= now:
            core.rep[r, R_POWER] = ON
        if core.rep[r, R_POWER] in (STARTING, ON):
            there += 1
    wanted = math.ceil(in_flight / core.x[TARGET_IN_FLIGHT])
    wanted = min(max(wanted, core.n[LEAST_REPLICAS]), core.n[MOST_REPLICAS])
    for r in range(number):
        if there < wanted and core.rep[r, R_POWER] == DRAINING:
            core.rep[r, R_POWER] = ON
            there += 1
    for r in range(number):
        if there < wanted and core.rep[r, R_POWER] == OFF:
            core.rep[r, R_POWER] = STARTING
            core.repx[r, R_READY_AT] = now + core.x[COLD_START_S]
            core.repx[r, R_ON_SINCE] = now
            there += 1
    if wanted < there:
        if core.x[LOW_SINCE] < 0.0:
            core.x[LOW_SINCE] = now
        if now - core.x[LOW_SINCE] >= core.x[DOWN_DELAY_S]:
            _shrink(core, there - wanted, now)
    else:
        core.x[LOW_SINCE] = -1.0
    core.x[NEXT_TICK] = now + core.x[INTERVAL_S]


@jit_inline
def _shrink(core: Core, surplus: int, now: float) -> None:
    """The replicas last in line go first; one that is still starting is stopped at once."""
    on = 0
    for r in range(len(core.rep)):
        if core.rep[r, R_POWER] == ON:
            on += 1
    for back in range(len(core.rep)):
        r = len(core.rep) - 1 - back
        if surplus > 0 and core.rep[r, R_POWER] == STARTING:
            core.rep[r, R_POWER] = OFF
            core.x[ON_SECONDS] += now - core.repx[r, R_ON_SINCE]
            surplus -= 1
    for back in range(len(core.rep)):
        r = len(core.rep) - 1 - back
        if surplus > 0 and on > 1 and core.rep[r, R_POWER] == ON:
            core.rep[r, R_POWER] = DRAINING
            on -= 1
            surplus -= 1
            leave(core, r, now)
