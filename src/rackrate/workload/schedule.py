"""A schedule: when each request is due, and how long it is. Drawn whole before a run; a seed reproduces it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rackrate.errors import WorkloadError
from rackrate.workload import arrivals
from rackrate.workload.patterns import parse_pattern
from rackrate.workload.prompts import Ask
from rackrate.workload.rows import Rows
from rackrate.workload.synthetic import SyntheticWorkload
from rackrate.workload.traces import Trace


@dataclass(frozen=True, eq=False)
class Schedule:
    """Requests in the order in which they are due, as arrays. Can be sent to other processes."""

    due_s: npt.NDArray[np.float64]
    """Seconds from the level's start. Of each request, or, where they are turns, of each conversation's first."""
    input_tokens: npt.NDArray[np.int32]
    """Of each request. Of turns: what each adds to its conversation."""
    output_tokens: npt.NDArray[np.int32]
    name: str
    """How the arrivals were drawn: poisson, constant, gamma:2, ..."""
    rows: Rows
    """What else the requests need, by number."""
    turns: npt.NDArray[np.int32] | None = None
    """Requests of each conversation; None where requests are single."""

    def __len__(self) -> int:
        """The number of requests, all turns counted."""
        return len(self.input_tokens)

    @property
    def last_due_s(self) -> float:
        """When the last request is due, or at the latest conversation's first."""
        return float(self.due_s[-1])

    @property
    def longest_thought_s(self) -> float:
        """The most time that any conversation takes to think; 0 where requests are single."""
        if self.turns is None:
            return 0.0
        thought = self.rows.thoughts_s(len(self))
        begins = np.cumsum(self.turns) - self.turns
        return float((np.add.reduceat(thought, begins) - thought[begins]).max())

    def ask(self, position: int) -> Ask:
        """What a request asks for: enough to make its text in any process."""
        return self.rows.ask(position)

    def digest(self) -> str:
        """SHA-256 over all that is sent and when: equal for equal schedules."""
        found = hashlib.sha256()
        for array in (self.due_s, self.input_tokens, self.output_tokens, self.turns):
            found.update(b"-" if array is None else array.tobytes())
        for position in range(0, len(self), max(1, len(self) // 1024)):  # texts are a function of their names
            found.update(repr((self.ask(position).parts, self.rows.think_s(position))).encode())
        return found.hexdigest()


def draw(pattern: str, rate: float, count: int, workload: SyntheticWorkload, level: int = 0) -> Schedule:
    """Requests that arrive in a pattern.

    Args:
        pattern: constant, poisson, gamma:CV (bursts of that coefficient of variation), steps:..., ramp:... or trace.
        rate: mean arrivals (of conversations, where the workload has them); steps and ramps have their own. [1/s]
        count: how many requests at most, all turns counted. Steps and ramps may have fewer.
        workload: lengths and seed.
        level: makes the schedules of a run's levels differ.

    >>> draw("constant", 2.0, 3, SyntheticWorkload(8, 4)).due_s.tolist()
    [0.0, 0.5, 1.0]

    Raises:
        WorkloadError: no such pattern, or a rate or number that is not positive.
    """
    if count < 1:
        raise WorkloadError(f"a schedule needs at least one request, got {count}")
    parsed = parse_pattern(pattern)
    generator = np.random.default_rng([workload.seed & 0xFFFFFFFF, level])
    rows = Rows(workload, level, in_order=parsed.kind == "trace")
    turns = None
    starts = count
    if workload.conversations is not None:
        turns = rows.turns(count)
        starts = len(turns)
    match parsed.kind:
        case "constant":
            due_s = arrivals.constant(rate, starts)
        case "poisson":
            due_s = arrivals.poisson(rate, starts, generator)
        case "gamma":
            due_s = arrivals.gamma(rate, parsed.cv or 1.0, starts, generator)
        case "steps":
            due_s = arrivals.stepped(parsed.steps, generator)[:starts]
        case "ramp":
            (first, duration), (last, _) = parsed.steps
            due_s = arrivals.ramped(first, last, duration, generator)[:starts]
        case _:
            if workload.trace is None:
                raise WorkloadError(
                    "{arrivals} trace needs a file of recorded requests: {trace} FILE", fields=("arrivals", "trace")
                )
            due_s = recorded(workload.trace, rate, starts)
    if not len(due_s):
        raise WorkloadError(
            f"{{arrivals}} {pattern} brings no request at all; make it longer, or its rates higher", field="arrivals"
        )
    if turns is not None:
        turns = turns[: len(due_s)]
        count = int(turns.sum())
    else:
        count = len(due_s)
    return Schedule(due_s, *rows.lengths(count), named(pattern, workload), rows, turns)


def named(pattern: str, workload: SyntheticWorkload) -> str:
    """The pattern as it is recorded: of a trace, with its file."""
    plain = pattern.strip().lower()
    return f"trace:{workload.trace.name}" if plain == "trace" and workload.trace is not None else plain


def recorded(
    trace: Trace, rate: float, count: int, first: int = 0, in_all: int | None = None
) -> npt.NDArray[np.float64]:
    """Recorded arrivals from number `first` on, stretched or squeezed so that all that are sent have the mean rate. [s]

    The pattern stays. Where fewer are sent `in_all` than were recorded (None: up to the last of these), their own mean
    counts and not that of the whole trace: the first hundred of an hour may come five times as slowly as the rest.
    Where more are wanted, the trace begins anew, a mean gap after its end.

    >>> trace = Trace("t", np.array([0.0, 3.0, 4.0]), np.ones(3, np.int32), np.ones(3, np.int32))
    >>> recorded(trace, rate=1.0, count=5).tolist()
    [0.0, 1.5, 2.0, 3.0, 4.5]
    >>> recorded(trace, rate=1.0, count=2).tolist()
    [0.0, 1.0]
    """
    sent = trace.arrival_s[: max(2, first + count if in_all is None else in_all)]
    times = arrivals.scaled(sent if sent[-1] > sent[0] else trace.arrival_s, rate)
    passes, rows = np.divmod(np.arange(first, first + count), len(trace))
    return times[rows] + passes * (times[-1] + 1 / rate)
