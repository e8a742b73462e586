"""Simulates requests on replicas of a deployment: settings in, an outcome out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from rackrate.errors import WorkloadError
from rackrate.simulation import state as at
from rackrate.simulation.kernel import advance
from rackrate.simulation.settings import EngineLimits, Fleet, Requests
from rackrate.simulation.setup import check, column, new_state, with_ring
from rackrate.simulation.state import Floats, Ints, Small
from rackrate.simulation.step import StepTime
from rackrate.simulation.tally import BINS, bin_middle_s
from rackrate.workload.slo import Slo


@dataclass(frozen=True)
class Latencies:
    """Quantiles of a latency, from bins 0.8 % wide. [s]"""

    count: int
    counts: Ints = field(repr=False)

    def quantile_s(self, share: float) -> float | None:
        """The latency that a share of the requests do not exceed, to 0.4 %; None without requests. [s]"""
        if self.count == 0:
            return None
        place = int(np.searchsorted(np.cumsum(self.counts), max(1.0, share * self.count)))
        return float(bin_middle_s(np.array([min(place, BINS - 1)]))[0])

    def mean_s(self) -> float | None:
        """The mean, to 0.4 %. [s]"""
        if self.count == 0:
            return None
        return float((self.counts * bin_middle_s(np.arange(BINS))).sum() / self.count)


@dataclass(frozen=True)
class Trace:
    """When every token came, by stretches of steps."""

    jumps: Any
    """Record array of `state.Jump`."""
    segments: Any
    """Record array of `state.Segment`."""


@dataclass(frozen=True)
class RequestTimes:
    """What became of each request. Arrays of one length; not a number, -1: it was not done."""

    due_s: Floats
    first_token_s: Floats
    done_s: Floats
    cached_tokens: Small
    replica: Small
    preemptions: Small


@dataclass(frozen=True)
class Outcome:
    """What a simulation gave. Latencies and objectives are of the requests after the warm-up."""

    requests: int
    """Done."""
    judged: int
    hopeless: bool
    """Ended early, since the objectives could not be met any more."""
    span_s: float
    """From the first arrival to the last."""
    end_s: float
    ttft: Latencies
    tpot: Latencies
    e2e: Latencies
    missed: tuple[int, ...]
    """Judged requests that missed each objective."""
    met_all: int
    growth: float | None
    """How much the number in flight that arrivals saw grew over the second half of the run, over its mean."""
    mean_in_flight: float
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    preemptions: int
    recomputed_tokens: int
    steps: int
    busy_s: float
    """Summed over replicas."""
    prefill_s: float
    """Of these, what prompt tokens added to steps."""
    replica_s: float
    """Seconds that replicas were on, from the start of their cold start."""
    events: int
    each: RequestTimes | None = None
    trace: Trace | None = None

    @property
    def attainment(self) -> float | None:
        """Share of the judged requests that met every limit."""
        return self.met_all / self.judged if self.judged else None


class Simulation:
    """One simulation, fed with blocks of requests."""

    def __init__(
        self,
        step: StepTime,
        limits: EngineLimits,
        fleet: Fleet | None = None,
        *,
        total: int,
        users: int = 0,
        slo: Slo | None = None,
        warmup: int = 0,
        per_request: bool = False,
        trace: bool = False,
        give_up: bool = False,
        prefixes: Requests | None = None,
    ) -> None:
        """Nothing has happened yet.

        Args:
            step: seconds of a step.
            limits: what bounds a batch.
            fleet: replicas and router; one replica by default.
            total: requests of the whole run.
            users: of a closed loop; 0 is an open one.
            slo: objectives, counted exactly.
            warmup: the first requests, which are not judged.
            per_request: what became of each request is wanted.
            trace: when each token came is wanted.
            give_up: end as soon as an objective cannot be met any more.
            prefixes: the requests with their block hashes, where the prefix cache follows those.
        """
        if total < 1:
            raise WorkloadError(f"a simulation needs at least one request, got {total}")
        self.limits = limits
        self.fleet = fleet or Fleet()
        self.total = total
        self.slo = slo
        self.per_request = per_request or trace
        self.begin = 0
        self.state = new_state(
            step, limits, self.fleet, total, users, slo, warmup, self.per_request, trace, give_up, prefixes
        )
        self.closed = users > 0

    def feed(self, due: Floats, input_tokens: Small, output_tokens: Small, cached: Small, group: Small) -> bool:
        """Simulates up to the last arrival of a block, or to the end. Returns whether all is over."""
        arrived = int(self.state.core.totals.arrived)
        self.begin = 0 if self.closed else arrived
        while True:
            outcome = advance(*self.state, due, input_tokens, output_tokens, cached, group, self.begin, self.total)
            if outcome == at.RING_FULL:
                self.state = with_ring(self.state, 2 * len(self.state.core.queue))
            elif outcome == at.TRACE_FULL:
                out = self.state.out
                out = out._replace(jumps=at.longer(out.jumps), segments=at.longer(out.segments))
                self.state = self.state._replace(out=out)
            else:
                return outcome == at.DONE

    def outcome(self) -> Outcome:
        """What has come of it so far."""
        out, totals = self.state.out, self.state.core.totals
        on = float(totals.on_s)
        end = float(totals.now_s)
        first = float(totals.first_due_s)
        for r in range(self.fleet.size):
            replica = self.state.core.replicas[r]
            if replica.power != at.OFF:
                on += end - max(float(replica.on_since_s), first if self.fleet.autoscaler is None else 0.0)
        done: Any = out.done
        each = RequestTimes(**{name: done[name] for name in done.dtype.names}) if self.per_request else None
        trace = None
        if self.state.core.settings.traced:
            jumps, segments = cast("tuple[Any, Any]", (out.jumps, out.segments))
            trace = Trace(jumps[: totals.jumps], segments[: totals.segments])
        trend: Any = out.trend
        seen = trend.in_flight / np.maximum(trend.arrivals, 1)
        return Outcome(
            requests=int(totals.finished),
            judged=int(totals.judged),
            hopeless=bool(totals.hopeless),
            span_s=float(totals.last_due_s) - first,
            end_s=end,
            ttft=Latencies(int(out.histogram[0].sum()), out.histogram[0]),
            tpot=Latencies(int(out.histogram[1].sum()), out.histogram[1]),
            e2e=Latencies(int(out.histogram[2].sum()), out.histogram[2]),
            missed=tuple(int(out.goals[n].missed) for n in range(len(out.goals))),
            met_all=int(totals.met_all),
            growth=_growth(seen) if totals.arrived >= 10 * at.TRENDS else None,
            mean_in_flight=float(trend.in_flight.sum() / max(1, trend.arrivals.sum())),
            input_tokens=int(totals.input),
            cached_tokens=int(totals.cached),
            output_tokens=int(totals.output),
            preemptions=int(totals.preempted),
            recomputed_tokens=int(totals.recomputed),
            steps=int(totals.steps),
            busy_s=float(totals.busy_s),
            prefill_s=float(totals.prefill_s),
            replica_s=on,
            events=int(totals.events),
            each=each,
            trace=trace,
        )


FEWEST_IN_FLIGHT = 4.0
"""With fewer in flight on average, their number is mostly chance, and a queue that grows would soon be longer."""
SURE = 3.355
"""99 % quantile (two-sided) of Student's t with 8 degrees of freedom; NIST/SEMATECH e-Handbook, table 1.3.6.7.2."""


def _growth(seen: npt.NDArray[np.float64]) -> float:
    """How much a line through the second half rises over that half, over its mean; 0 where that may be chance."""
    half = seen[len(seen) // 2 :]
    mean = float(half.mean())
    if mean < FEWEST_IN_FLIGHT:
        return 0.0
    number = len(half)
    centred = (np.arange(number) + 0.5) / number - 0.5
    spread = float((centred**2).sum())
    slope = float((centred * half).sum()) / spread
    residual = half - mean - slope * centred
    error = math.sqrt(float((residual**2).sum()) / (number - 2) / spread)
    return slope / mean if abs(slope) > SURE * error else 0.0


def simulate(
    requests: Requests,
    step: StepTime,
    limits: EngineLimits,
    fleet: Fleet | None = None,
    *,
    users: int = 0,
    slo: Slo | None = None,
    warmup: int = 0,
    per_request: bool = False,
    trace: bool = False,
    give_up: bool = False,
) -> Outcome:
    """Simulates requests, all of which are at hand. Arguments as of `Simulation`.

    One request of 100 tokens in and 3 out on an idle replica: 0.2 s of prefill, then 2 steps of 0.1 s.

    >>> step = StepTime(weights_s=0.0, token_compute_s=0.001, context_s=0.0, step_s=0.1)
    >>> one = Requests([0.0], [100], [3])
    >>> outcome = simulate(one, step, EngineLimits(kv_tokens=1024), per_request=True)
    >>> [round(float(t), 6) for t in (outcome.each.first_token_s[0], outcome.each.done_s[0])]
    [0.2, 0.402]

    Raises:
        WorkloadError: no request, times that are not in order, lengths below 1, or one that no replica can hold.
    """
    due = np.ascontiguousarray(requests.due_s, dtype=np.float64)
    input_tokens = np.ascontiguousarray(requests.input_tokens, dtype=np.int32)
    output_tokens = np.ascontiguousarray(requests.output_tokens, dtype=np.int32)
    number = len(due)
    cached = column(requests.cached_tokens, number, 0)
    group = column(requests.group, number, -1)
    check(due, input_tokens, output_tokens, limits, closed=users > 0)
    run = Simulation(
        step,
        limits,
        fleet,
        total=number,
        users=users,
        slo=slo,
        warmup=warmup,
        per_request=per_request,
        trace=trace,
        give_up=give_up,
        prefixes=requests if requests.hashes is not None else None,
    )
    run.feed(due, input_tokens, output_tokens, cached, group)
    return run.outcome()


def simulate_blocks(
    blocks: Iterable[tuple[Floats, Small, Small]],
    total: int,
    step: StepTime,
    limits: EngineLimits,
    fleet: Fleet | None = None,
    *,
    slo: Slo | None = None,
    warmup: int = 0,
    cached_share: float = 0.0,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Outcome:
    """Simulates an open loop block by block, in memory that does not grow with the number of requests.

    Args:
        blocks: due times (absolute, going on from block to block), input and output tokens.
        total: requests of all blocks together.
        step: seconds of a step.
        limits: what bounds a batch.
        fleet: replicas and router.
        slo: objectives, counted exactly.
        warmup: the first requests, which are not judged.
        cached_share: of each prompt's tokens, those that the prefix cache has.
        on_progress: is handed how many requests have arrived, after each block.
    """
    run = Simulation(step, limits, fleet, total=total, slo=slo, warmup=warmup)
    cached = np.zeros(0, dtype=np.int32)
    nobody = np.zeros(0, dtype=np.int32)
    arrived = 0
    for due, input_tokens, output_tokens in blocks:
        check(due, input_tokens, output_tokens, limits)
        if len(nobody) != len(due):
            cached, nobody = np.zeros(len(due), dtype=np.int32), np.full(len(due), -1, dtype=np.int32)
        if cached_share:
            cached = (input_tokens * cached_share).astype(np.int32)
        run.feed(due, input_tokens, output_tokens, cached, nobody)
        arrived += len(due)
        on_progress(arrived)
    return run.outcome()
