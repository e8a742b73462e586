"""The largest rate that replicas sustain within an SLO, and latencies against load: many simulations of one draw.

Common random numbers: the same uniform arrival times, stretched, and the same lengths in the same order, for every rate
and every deployment. Two deployments then differ by what they are, not by luck, and attainment falls with the rate
almost without noise, so that bisection needs few requests.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rackrate.errors import WorkloadError
from rackrate.simulation.settings import EngineLimits, Fleet, Requests
from rackrate.simulation.simulator import Outcome, simulate
from rackrate.simulation.state import Floats, Small
from rackrate.simulation.step import StepTime
from rackrate.workload.slo import Slo

OVERLOADED = 0.5
"""Growth of the number in flight, as a share of its mean, beyond which the queue is not stationary (as metrics.py)."""
RUN_LIMITS = 50
"""A run lasts so many times the longest limit of TTFT or E2E: a queue at 2 % more than is served then shows."""
RUN_IN_FLIGHT = 20
"""And has so many requests for each that is in flight on average, lest it be mostly the filling of the batch."""
MOST_REQUESTS = 50_000
"""Of a run that is made longer for that."""
WARMUP_SHARE = 0.1
PRECISION = 0.02


@dataclass(frozen=True)
class Draw:
    """Requests at rate 1: what is common to all simulations."""

    unit_due_s: Floats
    """Arrival times at one request per second, sorted."""
    input_tokens: Small
    output_tokens: Small
    cached_tokens: Small

    def __post_init__(self) -> None:
        if not len(self.unit_due_s):
            raise WorkloadError("a search needs at least one request")

    def at_rate(self, rate: float) -> Requests:
        """The same requests, so many a second."""
        return Requests(self.unit_due_s / rate, self.input_tokens, self.output_tokens, self.cached_tokens)

    def repeated(self, times: int) -> Draw:
        """The same requests so many times over, one pass after the other."""
        number, due = len(self.unit_due_s), self.unit_due_s
        # a recorded pattern that is cut off may last longer than its rate says: it begins anew a mean gap after its end
        span_s = float(due[-1] - due[0])
        passes = np.repeat(np.arange(times) * (float(number) if span_s <= number else span_s + 1.0), number)
        return Draw(
            np.tile(self.unit_due_s, times) + passes,
            np.tile(self.input_tokens, times),
            np.tile(self.output_tokens, times),
            np.tile(self.cached_tokens, times),
        )

    def first(self, count: int) -> Draw:
        """The first requests."""
        return Draw(
            self.unit_due_s[:count], self.input_tokens[:count], self.output_tokens[:count], self.cached_tokens[:count]
        )


@dataclass(frozen=True)
class Point:
    """One load and what came of it."""

    rate: float
    """Requests per second that arrive."""
    outcome: Outcome
    sustained: bool


@dataclass(frozen=True)
class Capacity:
    """The largest rate that was sustained, and the smallest that was not. [request/s]"""

    rate: float
    """0 where not even the lowest rate is."""
    failed: float | None
    """None where the highest rate that was allowed is sustained."""
    at: Point | None
    """The load at capacity."""
    simulations: int


def sustained(outcome: Outcome, slo: Slo) -> bool:
    """Whether each objective was met by the share of requests that it names, with a queue that does not grow.

    A limit of TTFT or E2E bounds the queue by itself: over a run that lasts many times the limit, a rate beyond what is
    served misses it. Where only TPOT is limited, the number in flight must not grow.
    """
    if outcome.hopeless or not outcome.judged:
        return False
    met = all(
        number <= outcome.judged * (1 - objective.share) + 1e-9
        for objective, number in zip(slo.objectives, outcome.missed, strict=True)
    )
    waits_bounded = any(objective.metric != "tpot" for objective in slo.objectives)
    return met and (waits_bounded or (outcome.growth or 0.0) <= OVERLOADED)


def load_point(
    draw: Draw, rate: float, slo: Slo, step: StepTime, limits: EngineLimits, fleet: Fleet | None = None,
    *, give_up: bool = False,
) -> Point:  # fmt: skip
    """One simulation at a rate; the first tenth of the requests is not judged.

    What a short run sustains is tried again in one that is long enough for the objectives, of the same requests over
    and over: a thousand requests at 80/s are over before a queue has reached a limit of seconds.
    """
    while True:
        warmup = int(len(draw.unit_due_s) * WARMUP_SHARE)
        outcome = simulate(draw.at_rate(rate), step, limits, fleet, slo=slo, warmup=warmup, give_up=give_up)
        point = Point(rate, outcome, sustained(outcome, slo))
        times = math.ceil(telling_requests(point, slo) / len(draw.unit_due_s))
        if not point.sustained or times <= 1:
            return point
        draw = draw.repeated(times)


def telling_requests(point: Point, slo: Slo) -> int:
    """How many requests a run at that load takes to tell whether it is sustained; at most `MOST_REQUESTS`."""
    limits = [objective.limit_s for objective in slo.objectives if objective.metric != "tpot"]
    wanted = max(RUN_LIMITS * point.rate * max(limits, default=0.0), RUN_IN_FLIGHT * point.outcome.mean_in_flight)
    return math.ceil(min(wanted, MOST_REQUESTS))


def find_capacity(
    draw: Draw,
    slo: Slo,
    step: StepTime,
    limits: EngineLimits,
    fleet: Fleet | None = None,
    *,
    guess: float,
    most: float = float("inf"),
    precision: float = PRECISION,
    on_progress: Callable[[Point], None] | None = None,
) -> Capacity:
    """Brackets the capacity from a guess by factors, then bisects to a relative precision.

    Args:
        draw: the requests at rate 1.
        slo: objectives.
        step: seconds of a step.
        limits: what bounds a batch.
        fleet: replicas and router.
        guess: where to begin. [request/s]
        most: no higher rate is of interest. [request/s]
        precision: relative width of the bracket at the end.
        told: is handed every point.
    """
    if not guess > 0:
        raise WorkloadError(f"the search needs a rate above 0 to begin with, got {guess:g}")
    tried = 0

    def at(rate: float) -> Point:
        nonlocal tried
        tried += 1
        point = load_point(draw, rate, slo, step, limits, fleet, give_up=True)
        if on_progress is not None:
            on_progress(point)
        return point

    rate = min(guess, most)
    point = at(rate)
    high: float | None = None
    factor = 1.25
    if point.sustained:
        best = point
        while True:
            if rate >= most:
                return Capacity(rate, None, best, tried)
            rate = min(rate * factor, most)
            factor *= 1.25
            point = at(rate)
            if not point.sustained:
                high = rate
                break
            best = point
    else:
        while not point.sustained:
            high = rate
            rate /= factor
            factor *= 1.5
            if rate < guess * 1e-4:
                return Capacity(0.0, high, None, tried)
            point = at(rate)
        best = point
    while high is not None and high / best.rate > 1 + precision:
        point = at((best.rate * high) ** 0.5)
        if point.sustained:
            best = point
        else:
            high = point.rate
    return Capacity(best.rate, high, best, tried)


def curve(
    draw: Draw, rates: list[float], slo: Slo, step: StepTime, limits: EngineLimits, fleet: Fleet | None = None
) -> list[Point]:
    """Latencies and attainment against load: a point per rate, all of the requests that the most telling one takes.

    A rate that a thousand requests rule out would else be shown by these, beside lower rates over runs many times as
    long, and look quicker.
    """
    points = [load_point(draw, rate, slo, step, limits, fleet) for rate in rates]
    most = max((telling_requests(point, slo) for point in points if point.sustained), default=0)
    times = math.ceil(most / len(draw.unit_due_s))
    if times <= 1:
        return points
    longer = draw.repeated(times)
    return [load_point(longer, rate, slo, step, limits, fleet) for rate in rates]


def poisson_draw(lengths: tuple[Small, Small], seed: int = 0, cached_share: float = 0.0) -> Draw:
    """Poisson arrivals at rate 1 (given their number, uniform), in the order of the lengths.

    Args:
        lengths: input and output tokens.
        seed: of the generator.
        cached_share: of each prompt's tokens, those that the prefix cache has.
    """
    if not 0 <= cached_share < 1:
        raise WorkloadError(
            f"the share of input tokens that is cached must be at least 0 and below 1, got {cached_share:g}"
        )
    inputs, outputs = lengths
    generator = np.random.default_rng(seed)
    count = len(inputs)
    due = np.sort(generator.uniform(0.0, count, count))
    cached = (inputs * cached_share).astype(np.int32)
    return Draw(due, inputs.astype(np.int32), outputs.astype(np.int32), cached)
