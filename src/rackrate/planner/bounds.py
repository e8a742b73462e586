"""What no schedule can beat: bounds that rule a deployment out, or bound its price, without simulating it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rackrate.simulation.capacity import Draw, load_point
from rackrate.simulation.settings import EngineLimits
from rackrate.simulation.state import Floats
from rackrate.simulation.step import StepTime, fixed_part_s
from rackrate.workload.slo import Objective, Slo


def least_busy_s(draw: Draw, step: StepTime, limits: EngineLimits) -> float:
    """Seconds that a replica is busy for a request, at the very least, on average. [s/request]

    A step takes at least max(arithmetic, memory) of its tokens. Summed over all steps that is at least the larger of
    the two sums: arithmetic of all tokens; reading the weights once a step. There are at least as many decode steps as
    output tokens over the most sequences of a step, and as tokens of context read, summed over all decode steps, over
    those that the cache holds at once. The rest (host, context, pairs) adds up exactly.

    One request of 10 tokens in, 11 out, alone in a batch of at most 1: 10 decode steps of 0.1 s.

    >>> one = Draw(np.zeros(1), np.array([10], np.int32), np.array([11], np.int32), np.zeros(1, np.int32))
    >>> step = StepTime(weights_s=0.1, token_compute_s=0.0, context_s=0.0, step_s=0.0)
    >>> least_busy_s(one, step, EngineLimits(kv_tokens=64, max_num_seqs=1))
    1.0
    """
    inputs, outputs = draw.input_tokens.astype(np.float64), draw.output_tokens.astype(np.float64)
    fresh = inputs - np.minimum(draw.cached_tokens, inputs - 1)
    decodes = outputs - 1
    read = decodes * inputs + decodes * outputs / 2  # sum over j = 1..n-1 of (input + j)
    capacity = limits.blocks * limits.block_tokens
    steps = max(decodes.sum() / limits.max_num_seqs, read.sum() / capacity)
    tokens = float(fresh.sum() + decodes.sum())
    compute = step.token_compute_s * tokens + step.padding_s * (1 - step.expert_miss) * steps
    memory = (step.weights_s + step.experts_s * (1 - step.expert_miss)) * steps + step.token_memory_s * tokens
    cached = inputs - fresh
    pairs = float((fresh * cached + fresh * (fresh + 1) / 2).sum())
    rest = (
        step.token_s * tokens
        + step.step_s * steps
        + step.sequence_s * (decodes.sum() + len(inputs))
        + step.context_s * read.sum()
        + step.pair_s * pairs
    )
    return float(max(compute, memory) + rest) / len(inputs)


def idle_latencies(draw: Draw, step: StepTime, limits: EngineLimits) -> dict[str, Floats]:
    """TTFT, TPOT and E2E of each request on a replica that does nothing else: no load makes them shorter. [s]"""
    inputs, outputs = draw.input_tokens.astype(np.float64), draw.output_tokens.astype(np.float64)
    cached = np.minimum(draw.cached_tokens, (inputs - 1) // limits.block_tokens * limits.block_tokens)
    fresh = inputs - cached
    chunks = np.ceil(fresh / limits.max_num_batched_tokens)
    pairs = fresh * cached + fresh * (fresh + 1) / 2
    # each chunk reads the weights; arithmetic and memory are those of all chunks together
    memory = chunks * (step.weights_s + step.experts_s * (1 - step.expert_miss)) + step.token_memory_s * fresh
    compute = step.token_compute_s * fresh + chunks * step.padding_s * (1 - step.expert_miss)
    prefill = np.maximum(compute, memory) + step.token_s * fresh + step.pair_s * pairs
    prefill += chunks * (step.step_s + step.prefill_step_s + step.sequence_s)
    prefill = np.maximum(prefill, chunks * (step.floor_s + step.floor_sequence_s))
    ttft = limits.request_s + prefill
    first = float(fixed_part_s(step.as_record(), 1, 0, 0, 0.0))
    alone = np.maximum(first + step.context_s * (inputs + outputs / 2), step.floor_s + step.floor_sequence_s)
    tpot = np.where(outputs > 1, alone, 0.0)
    return {"ttft": ttft, "tpot": tpot, "e2e": ttft + tpot * (outputs - 1)}


def missed_when_idle(draw: Draw, slo: Slo, step: StepTime, limits: EngineLimits) -> tuple[tuple[Objective, float], ...]:
    """The objectives that too many requests miss even when idle, each with the least its percentile can be. [s]"""
    idle = idle_latencies(draw, step, limits)
    return tuple(
        (objective, float(np.quantile(idle[objective.metric], objective.share)))
        for objective in slo.objectives
        if float((idle[objective.metric] > objective.limit_s).mean()) > 1 - objective.share
    )


IDLE_SHARE = 0.01
"""Of the time that a replica is busy where it counts as idle."""


def when_idle(draw: Draw, slo: Slo, step: StepTime, limits: EngineLimits) -> tuple[tuple[Objective, float], ...]:
    """What the percentile of each objective is where requests come one at a time: simulated, not bounded. [s]

    The bounds above leave out what is not known to be unavoidable; what is told to a user should be reached.
    """
    point = load_point(draw, IDLE_SHARE / least_busy_s(draw, step, limits), slo, step, limits)
    latencies = {"ttft": point.outcome.ttft, "tpot": point.outcome.tpot, "e2e": point.outcome.e2e}
    return tuple(
        (objective, latencies[objective.metric].quantile_s(objective.share) or 0.0) for objective in slo.objectives
    )


def idle_words(found: Sequence[tuple[Objective, float]]) -> str:
    """Figures of an idle replica in words, each beside what was asked for.

    >>> idle_words([(Objective("ttft", 95, 0.01), 0.01712), (Objective("tpot", 95, 0.05), 0.0026)])
    'p95 ttft is 17.1 ms even when idle, 10 ms asked for'
    """
    missed = [(match, value) for match, value in found if value > match.limit_s]
    return ", and ".join(
        f"p{objective.percentile:g} {objective.metric} is {ms_text(value)} ms even when idle, "
        f"{objective.limit_s * 1000:.10g} ms asked for"
        for objective, value in missed
    )


def loosened(found: Sequence[tuple[Objective, float]]) -> str:
    """Objectives that an idle replica meets: those that it misses raised to what it reaches and 2 % more.

    >>> loosened([(Objective("ttft", 99, 0.001), 0.01712), (Objective("tpot", 95, 0.05), 0.0026)])
    'p99 ttft < 17.5ms, p95 tpot < 50ms'
    """
    return ", ".join(
        f"p{match.percentile:g} {match.metric} < "
        + (f"{ms_text(value * 1.02, up=True)}ms" if value > match.limit_s else f"{match.limit_s * 1000:.10g}ms")
        for match, value in found
    )


def ms_text(seconds: float, up: bool = False) -> str:
    """Milliseconds to three digits, or to the next above.

    >>> ms_text(0.0171234), ms_text(1.1483, up=True), ms_text(12.345, up=True)
    ('17.1', '1150', '12400')
    """
    value = seconds * 1000
    digit = 10.0 ** (math.floor(math.log10(value)) - 2) if value > 0 else 1.0
    return f"{(math.ceil(value / digit - 1e-9) if up else round(value / digit)) * digit:.10g}"
