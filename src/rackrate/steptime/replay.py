"""Predicts what a published row (or a user's own load) measured: the same finite run, replayed on the step-time
model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from rackrate.simulation.finite_run import finite_run
from rackrate.simulation.step import StepTime
from rackrate.steptime.load import Load
from rackrate.units import GIB
from rackrate.workload.quantiles import normal_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rackrate.catalog.types import Accelerator
    from rackrate.engines.spec import Scheduler
    from rackrate.steptime.work import Parallel, Work


@dataclass(frozen=True)
class Predicted:
    """What the replayed run gives, of all replicas together."""

    output_tok_s: float
    tpot_s: float | None
    """Median time per output token after the first; None where requests have one token."""
    ttft_s: float
    """Median."""
    saturated: bool
    """Whether the run asked for more than the deployment sustains: requests waited for room, not only for a step."""
    in_flight: float
    """Requests in progress, on average over the run, per replica."""


@lru_cache(maxsize=4096)
def _lengths(count: int, mean: float, cap: float | None, seed: int) -> NDArray[np.int64]:
    """Output lengths: all equal, or exponential up to a cap with the stated mean, in a seeded order."""
    if cap is None or mean >= 0.97 * cap:
        values = np.full(count, max(round(mean), 1), dtype=np.int64)
    else:
        scale = _scale(mean, cap)
        places = (np.arange(count) + 0.5) / count
        drawn = np.minimum(-scale * np.log1p(-places), cap)
        values = np.maximum(np.rint(drawn), 1).astype(np.int64)
        np.random.default_rng(seed).shuffle(values)
    values.setflags(write=False)
    return values


@lru_cache(maxsize=1024)
def _scale(mean: float, cap: float) -> float:
    """Scale s of an exponential cut at `cap` that has this mean: s (1 - exp(-cap/s)) = mean, by bisection."""
    low, high = mean / 2, 1e6
    for _ in range(80):
        middle = (low * high) ** 0.5
        if middle * (1 - np.exp(-cap / middle)) < mean:
            low = middle
        else:
            high = middle
    return float((low * high) ** 0.5)


@lru_cache(maxsize=4096)
def _prompts(count: int, mean: float, cv: float, seed: int) -> NDArray[np.int64]:
    """Prompt lengths: equal, or lognormal with the stated mean and variation, in a seeded order."""
    if cv == 0:
        values = np.full(count, max(round(mean), 1), dtype=np.int64)
    else:
        sigma = float(np.sqrt(np.log1p(cv * cv)))
        places = (np.arange(count) + 0.5) / count
        values = np.maximum(np.rint(mean * np.exp(sigma * normal_quantile(places) - sigma * sigma / 2)), 1).astype(
            np.int64
        )
        np.random.default_rng(seed + 1).shuffle(values)
    values.setflags(write=False)
    return values


@lru_cache(maxsize=4096)
def _due(count: int, rate: float, seed: int) -> NDArray[np.float64]:
    """Arrivals of a Poisson run: seeded exponential gaps scaled to end at count / rate, as a typical run does. [s]"""
    gaps = np.random.default_rng(seed + 2).exponential(size=count)
    times = np.cumsum(gaps)
    times *= (count / rate) / times[-1]
    times.setflags(write=False)
    return times


def kv_capacity_tokens(
    accelerator: Accelerator,
    parallel: Parallel,
    scheduler: Scheduler,
    work: Work,
    engine_gib: float,
) -> float:
    """KV cache of one replica: memory x usable share, less weights and what the engine takes of each rank. [token]

    Below 0 where the weights do not fit. Experts may be spread over more ranks than one replica has; what is no routed
    expert each replica has whole.
    """
    memory = (accelerator.memory_gib or 0) * GIB * scheduler.memory_share
    ranks = parallel.ranks
    held = work.weight_bytes + work.expert_bytes * ranks / max(ranks, parallel.expert)
    return (memory * ranks - held - engine_gib * GIB * ranks) / max(work.context_bytes, 1.0)


def replay(
    load: Load, step: StepTime, scheduler: Scheduler, kv_capacity: float, request_s: float, data: int = 1
) -> Predicted:
    """The finite run of a load on one of `data` equal replicas."""
    count = load.requests
    closed = load.kind == "closed"
    streams = int(load.value) if closed else 0
    seed = 7
    prompt = _prompts(count, load.prompt_tokens, load.prompt_cv, seed)
    output = _lengths(count, load.output_tokens, load.output_cap, seed)
    if load.staggered and streams > 1:
        output = output.copy()
        first = output[:streams]
        output[:streams] = np.maximum(first * np.arange(1, len(first) + 1) // streams, 1)
    due = _due(count, load.value, seed) if load.kind == "poisson" else np.zeros(count)
    slots = max(scheduler.slots, streams, count if load.kind == "static" else 0)
    started, first, done = finite_run(
        step,
        due,
        prompt,
        output,
        streams=streams,
        slots=slots,
        mixed=scheduler.mixed,
        kv_capacity=kv_capacity,
        budget=max(scheduler.budget, int(prompt.max()) if not scheduler.mixed else 0),
        reserve_fraction=scheduler.reserve_fraction,
    )
    many = output > 1
    tpots = (done[many] - first[many]) / (output[many] - 1)
    waits = first - started + request_s
    end = float(np.nanmax(done))
    middle = slice(None)
    if closed and count >= 3 * streams:
        # the rounds after the first and before the last drain: what a long run shows
        middle = slice(streams, count - streams)
        spent = float(np.nanmean((done - started)[middle])) + request_s
        throughput = load.value * float(output[middle].mean()) / spent
    elif load.whole or not closed:
        throughput = float(output.sum()) / (end + request_s)
    else:
        throughput = load.value * float(output.mean()) / (float(np.nanmean(done - started)) + request_s)
    tpot = float(np.nanmedian(tpots[middle] if closed else tpots)) if many.any() else None
    typical = float(np.median(prompt))
    alone = step.seconds(0, 0, 1, typical, 0.5 * typical**2)
    saturated = load.kind == "burst" or float(np.nanmedian(waits)) > 10 * (alone + request_s)
    if load.kind == "poisson":
        saturated = count / load.value < 0.85 * end
    return Predicted(
        throughput * data, tpot, float(np.nanmedian(waits[middle] if closed else waits)), saturated,
        float(np.nansum(done - started)) / end,
    )  # fmt: skip
