"""The state of a simulation as arrays, so that compiled functions can change it and a block of arrivals can follow.

Few arrays with named columns, not many arrays: each one that a compiled function is handed costs time at every call.
Requests that are in the system live in a ring, at place `id & mask`: ids are given in the order of arrival, so the ring
need only span the oldest request still there. Memory is then bounded by the longest queue, not by the run.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Small = npt.NDArray[np.int32]

# columns of `n`: settings, then counts
MAX_SEQUENCES, BUDGET, PAGE, WATERMARK, ROUTER, HASH_PAGES, HASH_TOKENS, CLOSED, TRACED, WARMUP = range(10)
LEAST_REPLICAS, MOST_REPLICAS = range(10, 12)
ARRIVED, FINISHED, OLDEST, STEPS, DECODED, PREFILLED, PREEMPTED, TURN, PENDING, JUMPS, SEGMENTS = range(12, 23)
JUDGED, MET_ALL, HOPELESS, CACHED, INPUT, OUTPUT, EVENTS, RECOMPUTED = range(23, 31)
SLOTTED, MICRO_BATCH, UNIFIED, SIMILAR = range(31, 35)
NUMBERS = 35

# columns of `x`: settings of the autoscaler, seconds of a request outside the engine, then clocks
INTERVAL_S, TARGET_IN_FLIGHT, COLD_START_S, DOWN_DELAY_S, REQUEST_S = range(5)
NOW, NEXT_TICK, LOW_SINCE, BUSY, PREFILL_BUSY, ON_SECONDS, LAST_DUE, FIRST_DUE = range(5, 13)
CLOCKS = 13

# columns of `q`, the ring. Q_FINISH: the decode step at whose end a request is done, while it decodes. Q_GENERATED: its
# output tokens so far, up to date only while it does not decode. Q_COMPUTED: tokens of the present prefill that are
# computed, cached ones included. Q_HITS: cached tokens that its first admission found. Q_SEGMENT: the decode step whose
# end gave the first token of its present stretch.
Q_FINISH, Q_ID, Q_INPUT, Q_OUTPUT, Q_CACHED, Q_GENERATED, Q_COMPUTED, Q_GROUP, Q_REPLICA, Q_PREVIOUS, Q_NEXT = range(11)
Q_STATUS, Q_HITS, Q_PREEMPTIONS, Q_SEGMENT, Q_SLOT = range(11, 16)
Q_COLUMNS = 16

# columns of `qx`. Q_FIRST: when the first token came, below 0: not yet.
Q_DUE, Q_FIRST = range(2)

# columns of `rep`, a row a replica. R_STRETCH: steps of the present stretch; R_MIXED: whether it has prompt tokens.
# R_DECODE_STEP: steps so far. R_CONTEXT: tokens in the cache of decoding sequences. R_FREE: pages that no running
# request holds, those of cached prefixes that nobody uses among them; R_EMPTY: pages that hold nothing at all. R_FRESH:
# the first running request that does not decode yet; those after it do not either. From R_PHASES on: decoding sequences
# by (tokens stored - decode step) mod page size, that is by the step at which they need a page.
R_KIND, R_POWER, R_STRETCH, R_MIXED, R_DECODE_STEP, R_CONTEXT, R_DECODING, R_RUNNING, R_IN_FLIGHT = range(9)
R_FREE, R_EMPTY, R_WAIT_HEAD, R_WAIT_TAIL, R_RUN_HEAD, R_RUN_TAIL, R_FRESH, R_PHASES = range(9, 17)

# columns of `slots`, a row for each of a replica's slots, where it has any. SLOT_HOLDS: the place of the request in
# it. SLOT_USED: when it was left last, by step and number; 0: never used. SLOT_TOKENS: its tokens in the
# present step; SLOT_LEFT, SLOT_MEMBER: while that is divided, those that are left, and the micro-batch that it is in.
SLOT_HOLDS, SLOT_USED, SLOT_TOKENS, SLOT_LEFT, SLOT_MEMBER = range(5)
SLOT_COLUMNS = 5

# columns of `repx`. R_WHEN: when the present stretch ends (END), or is to be formed (FORM). R_FIRST_STEP, R_GROWTH:
# seconds of the stretch's first step, and what each further one takes more. R_PREFILL_PART: seconds that prompt tokens
# added to the present step.
R_WHEN, R_READY_AT, R_ON_SINCE, R_BEGUN, R_FIRST_STEP, R_GROWTH, R_PREFILL_PART = range(7)
R_TIMES = 7

# rows of `Prefix.cache`, per replica. HELD: running requests that hold the block, -1 where it is not in the cache.
# OLDER, NEWER: the blocks that nobody holds, in order of last use; the last column is the list's own end.
HELD, OLDER, NEWER = range(3)

# columns of `Out.each`
EACH_DUE, EACH_FIRST, EACH_DONE, EACH_CACHED, EACH_REPLICA, EACH_PREEMPTIONS = range(6)

# values of n[ROUTER]
ROUND_ROBIN, LEAST_LOADED, PREFIX_AFFINE = range(3)

# values of R_KIND: what a replica does next
IDLE, END, FORM = range(3)

# values of R_POWER
OFF, STARTING, ON, DRAINING = range(4)

# values of Q_STATUS
ABSENT, WAITING, PREFILLING, DECODING = range(4)

# what `advance` returns
DONE, NEEDS_ARRIVALS, RING_FULL, TRACE_FULL = range(4)

# metrics: rows of the histogram, and what an objective is of
TTFT, TPOT, E2E = range(3)

TRENDS = 20
"""Batches of arrivals over which the number in flight is averaged, to see whether it grows."""
SHIFT = 24
"""Bits of a heap entry that are a place in the ring: at most 16 million requests in the system."""
PLACE = (1 << SHIFT) - 1
NOBODY = -1


class Core(NamedTuple):
    """The queues and the replicas."""

    n: Ints
    x: Floats
    step: Floats
    """Coefficients; from DECODE_BASE on: fixed_part_s of a step that only decodes, by number of sequences."""
    q: Ints
    qx: Floats
    rep: Ints
    repx: Floats
    heap: Ints
    """Per replica: decoding sequences by the step at which they are done, step << SHIFT | place in the ring."""
    slots: Ints
    """Per replica: its slots; none where requests wait for memory only."""


class Prefix(NamedTuple):
    """The prefix caches. Request i's prompt blocks are hashes[start[i]:start[i + 1]]."""

    cache: Small
    start: Ints
    hashes: Small


class Out(NamedTuple):
    """What comes out."""

    histogram: Ints
    goals: Floats
    """Objectives: metric and limit [s]."""
    verdict: Ints
    """Per objective: judged requests that missed it, and how many may before the simulation is given up."""
    trend: Floats
    """In flight as seen by arrivals: sum and number per batch."""
    each: Floats
    """What became of each request, where that is wanted."""
    jumps: Floats
    """Trace of stretches: replica, decode step before it, begin, first step, growth, steps."""
    segments: Ints
    """Trace of tokens: request, replica, decode step of the first and the last token."""


class State(NamedTuple):
    """All of a simulation."""

    core: Core
    prefix: Prefix
    out: Out
    pending_due: Floats
    pending_id: Ints
    """Of a closed loop: what is to be sent next, in order."""
