"""The state of a simulation: records with named fields, so that compiled functions can change it in place.

Each class below that derives from `Record` describes one; `records` makes numpy record arrays of them, which compiled
code and plain Python read alike (`core.queue[place].status`). Requests that are in the system live in a ring, at place
`id & mask`: ids are given in the order of arrival, so the ring need only span the oldest request still there. Memory is
then bounded by the longest queue, not by the run.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from rackrate.simulation.step import StepRecord

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Small = npt.NDArray[np.int32]

# values of Settings.router
ROUND_ROBIN, LEAST_LOADED, PREFIX_AFFINE = range(3)

# values of Replica.phase: what it does next
IDLE, END, FORM = range(3)

# values of Replica.power
OFF, STARTING, ON, DRAINING = range(4)

# values of Request.status
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


class Record:
    """What is kept of one thing: fields of 64 bits, whole numbers or not."""


class Settings(Record):
    """What does not change."""

    max_sequences: int
    budget: int
    """Tokens of one step."""
    page: int
    """Tokens of a page of the KV cache."""
    watermark: int
    """Pages that admission leaves free."""
    router: int
    hash_pages: int
    hash_tokens: int
    """Of a prompt block that is hashed; 0: none is."""
    closed: int
    """Users of a closed loop; 0: an open one."""
    traced: int
    warmup: int
    """Requests that are not judged."""
    least_replicas: int
    most_replicas: int
    slotted: int
    """Requests wait for a slot (llama.cpp), not for memory."""
    micro_batch: int
    unified: int
    similar: int
    interval_s: float
    """Of the autoscaler; 0: there is none."""
    target_in_flight: float
    cold_start_s: float
    down_delay_s: float
    request_s: float
    """What a request takes outside the engine."""


class Totals(Record):
    """Clocks, and what was counted so far."""

    arrived: int
    finished: int
    oldest: int
    """Of the ids that are in the ring."""
    steps: int
    preempted: int
    turn: int
    """Of the round robin."""
    pending: int
    """Requests of a closed loop that are to be sent."""
    jumps: int
    segments: int
    judged: int
    met_all: int
    hopeless: int
    cached: int
    input: int
    output: int
    events: int
    recomputed: int
    now_s: float
    next_tick_s: float
    low_since_s: float
    """Since when the autoscaler wants fewer replicas; below 0: it does not."""
    busy_s: float
    prefill_s: float
    on_s: float
    last_due_s: float
    first_due_s: float


class Request(Record):
    """A request in the ring."""

    due_s: float
    first_s: float
    """When the first token came; below 0: not yet."""
    finish: int
    """The decode step at whose end it is done, while it decodes."""
    id: int
    input: int
    output: int
    cached: int
    """Input tokens that the prefix cache is said to have."""
    generated: int
    """Output tokens so far; up to date only while it does not decode."""
    computed: int
    """Tokens of the present prefill that are computed, cached ones included."""
    previous: int
    next: int
    status: int
    hits: int
    """Cached tokens that its first admission found."""
    preemptions: int
    segment: int
    """The decode step whose end gave the first token of its present stretch."""
    slot: int


class Replica(Record):
    """A replica, its queue and its running requests, which are linked in the order of their admission."""

    phase: int
    power: int
    stretch: int
    """Steps of the present stretch."""
    mixed: int
    """Whether that has prompt tokens."""
    decode_step: int
    """Steps so far."""
    context: int
    """Tokens in the cache of decoding sequences."""
    decoding: int
    running: int
    in_flight: int
    free: int
    """Pages that no running request holds, those of cached prefixes that nobody uses among them."""
    empty: int
    """Pages that hold nothing at all."""
    wait_head: int
    wait_tail: int
    run_head: int
    run_tail: int
    first_prefill: int
    """The first running request that does not decode yet; those after it do not either."""
    when_s: float
    """When the present stretch ends (END), or is to be formed (FORM)."""
    ready_at_s: float
    on_since_s: float
    begun_s: float
    first_step_s: float
    """Of the present stretch; each further step takes growth_s more."""
    growth_s: float
    prefill_part_s: float
    """What prompt tokens added to the present step."""


class Slot(Record):
    """One of a replica's slots, where it has any."""

    holds: int
    """The place of the request in it."""
    used: int
    """When it was left last, by step and number; 0: never used."""
    tokens: int
    """In the present step."""
    left: int
    """While that is divided: those that are in no micro-batch yet."""
    member: int
    """The micro-batch that it is in."""


class CachedBlock(Record):
    """A prompt block in a replica's prefix cache. The last one is the end of the list of those that nobody holds."""

    held: int
    """Running requests that hold it; -1: it is not in the cache."""
    older: int
    newer: int
    """Those that nobody holds, in the order of last use."""


class Goal(Record):
    """An objective, and how it goes."""

    metric: int
    limit_s: float
    missed: int
    allowed: int
    """Judged requests that may miss it before the simulation is given up."""


class Trend(Record):
    """In flight, as seen by a batch of arrivals."""

    in_flight: int
    arrivals: int


class Done(Record):
    """What became of a request; not a number, -1: it was not done."""

    due_s: float
    first_token_s: float
    done_s: float
    cached_tokens: int
    replica: int
    preemptions: int


class Jump(Record):
    """Of a trace: a stretch of steps that were taken at once."""

    replica: int
    before: int
    """The decode step before it."""
    begun_s: float
    first_step_s: float
    growth_s: float
    steps: int


class Segment(Record):
    """Of a trace: tokens of a request that came at the ends of consecutive steps."""

    request: int
    replica: int
    first: int
    """Decode step of the first token."""
    last: int


R_co = TypeVar("R_co", bound=Record, covariant=True)


class Table(Protocol[R_co]):
    """An array of records, as compiled functions use it."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, at: int | tuple[int, int], /) -> R_co: ...


@cache
def _layout(kind: type[Record], whole: str) -> np.dtype[np.void]:
    return np.dtype([(name, "f8" if form == "float" else whole) for name, form in kind.__annotations__.items()])


def records(kind: type[Record], shape: int | tuple[int, ...], whole: str = "i8") -> Any:
    """An array of records in which all is 0; `whole` is the type of whole numbers."""
    return np.zeros(shape, _layout(kind, whole)).view(np.recarray)


def longer(rows: Any) -> Any:
    """A copy of an array of records with room for twice as many."""
    made = np.zeros(2 * len(rows), rows.dtype).view(np.recarray)
    made[: len(rows)] = rows
    return made


class Core(NamedTuple):
    """The queues and the replicas."""

    settings: Settings
    totals: Totals
    step: StepRecord
    decode_s: Floats
    """fixed_part_s of a step that only decodes, by number of sequences."""
    queue: Table[Request]
    """The ring."""
    replicas: Table[Replica]
    phases: Ints
    """Per replica: decoding sequences by (tokens stored - decode step) mod page size, that is by the step at which they
    need a page."""
    heap: Ints
    """Per replica: decoding sequences by the step at which they are done, step << SHIFT | place in the ring."""
    slots: Table[Slot]
    """Per replica: its slots; none where requests wait for memory only."""


class Prefix(NamedTuple):
    """The prefix caches. Request i's prompt blocks are hashes[start[i]:start[i + 1]]."""

    cache: Table[CachedBlock]
    """Per replica."""
    start: Ints
    hashes: Small


class Out(NamedTuple):
    """What comes out."""

    histogram: Ints
    goals: Table[Goal]
    trend: Table[Trend]
    done: Table[Done]
    """What became of each request, where that is wanted."""
    jumps: Table[Jump]
    segments: Table[Segment]


class State(NamedTuple):
    """All of a simulation."""

    core: Core
    prefix: Prefix
    out: Out
    pending_due: Floats
    pending_id: Ints
    """Of a closed loop: what is to be sent next, in order."""
