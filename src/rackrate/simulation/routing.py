"""Which replica an arrival goes to, and how many there are."""

from __future__ import annotations

import math

from rackrate.simulation.compiled import compiled, jit_inline
from rackrate.simulation.prefix import cached_blocks, full_blocks
from rackrate.simulation.state import DRAINING, LEAST_LOADED, NOBODY, OFF, ON, PREFIX_AFFINE, STARTING, Core, Prefix


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
    number = len(core.replicas)
    if number == 1:
        return 0
    if core.settings.interval_s > 0.0:
        for r in range(number):
            if core.replicas[r].power == STARTING and core.replicas[r].ready_at_s <= now:
                core.replicas[r].power = ON
    on = 0
    least = NOBODY
    for r in range(number):
        if core.replicas[r].power == ON:
            on += 1
            if least == NOBODY or core.replicas[r].in_flight < core.replicas[least].in_flight:
                least = r
    if core.settings.router == LEAST_LOADED:
        return least
    if core.settings.router == PREFIX_AFFINE:
        wanted = NOBODY
        if core.settings.hash_tokens > 0:
            most = 0
            blocks = full_blocks(core, prefix, request, input_tokens)
            for r in range(number):
                if core.replicas[r].power == ON:
                    leading = cached_blocks(core, prefix, r, request, blocks)[0]
                    if leading > most and 2 * leading >= blocks:
                        most, wanted = leading, r
        elif group >= 0:
            wanted = _turn(core, mixed_bits(group) % on)
        if wanted == NOBODY or 2 * core.replicas[wanted].in_flight > 3 * core.replicas[least].in_flight + 8:
            return least
        return wanted
    core.totals.turn += 1
    return _turn(core, (core.totals.turn - 1) % on)


@jit_inline
def _turn(core: Core, wanted: int) -> int:
    """The replica of that number among those that are on."""
    for r in range(len(core.replicas)):
        if core.replicas[r].power == ON:
            if wanted == 0:
                return r
            wanted -= 1
    return 0


@jit_inline
def leave(core: Core, replica: int, now: float) -> None:
    """A replica that drains goes off once it is empty."""
    if core.replicas[replica].power == DRAINING and core.replicas[replica].in_flight == 0:
        core.replicas[replica].power = OFF
        core.totals.on_s += now - core.replicas[replica].on_since_s


@jit_inline
def tick(core: Core, now: float) -> None:
    """The autoscaler looks: so many replicas as the requests in flight ask for, up at once, down after a delay."""
    number = len(core.replicas)
    in_flight = 0
    there = 0
    for r in range(number):
        in_flight += core.replicas[r].in_flight
        if core.replicas[r].power == STARTING and core.replicas[r].ready_at_s <= now:
            core.replicas[r].power = ON
        if core.replicas[r].power in (STARTING, ON):
            there += 1
    wanted = math.ceil(in_flight / core.settings.target_in_flight)
    wanted = min(max(wanted, core.settings.least_replicas), core.settings.most_replicas)
    for r in range(number):
        if there < wanted and core.replicas[r].power == DRAINING:
            core.replicas[r].power = ON
            there += 1
    for r in range(number):
        if there < wanted and core.replicas[r].power == OFF:
            core.replicas[r].power = STARTING
            core.replicas[r].ready_at_s = now + core.settings.cold_start_s
            core.replicas[r].on_since_s = now
            there += 1
    if wanted < there:
        if core.totals.low_since_s < 0.0:
            core.totals.low_since_s = now
        if now - core.totals.low_since_s >= core.settings.down_delay_s:
            _shrink(core, there - wanted, now)
    else:
        core.totals.low_since_s = -1.0
    core.totals.next_tick_s = now + core.settings.interval_s


@jit_inline
def _shrink(core: Core, surplus: int, now: float) -> None:
    """The replicas last in line go first; one that is still starting is stopped at once."""
    on = 0
    for r in range(len(core.replicas)):
        if core.replicas[r].power == ON:
            on += 1
    for back in range(len(core.replicas)):
        r = len(core.replicas) - 1 - back
        if surplus > 0 and core.replicas[r].power == STARTING:
            core.replicas[r].power = OFF
            core.totals.on_s += now - core.replicas[r].on_since_s
            surplus -= 1
    for back in range(len(core.replicas)):
        r = len(core.replicas) - 1 - back
        if surplus > 0 and on > 1 and core.replicas[r].power == ON:
            core.replicas[r].power = DRAINING
            on -= 1
            surplus -= 1
            leave(core, r, now)
