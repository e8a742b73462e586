"""What no schedule can beat: bounds that rule a deployment out, or bound its price, without simulating it."""

from __future__ import annotations

import numpy as np

from rackrate.simulate.capacity import Draw
from rackrate.simulate.settings import EngineLimits
from rackrate.simulate.state import Floats
from rackrate.simulate.step import StepCoefficients, fixed_part_s
from rackrate.workload.slo import Objective, Slo


def least_busy_s(draw: Draw, step: StepCoefficients, limits: EngineLimits) -> float:
    """Seconds that a replica is busy for a request, at the very least, on average. [s/request]

    A step takes at least max(arithmetic, memory) of its tokens. Summed over all steps that is at least the larger of
    the two sums: arithmetic of all tokens; reading the weights once a step. There are at least as many decode steps as
    output tokens over the most sequences of a step, and as tokens of context read, summed over all decode steps, over
    those that the cache holds at once. The rest (host, context, pairs) adds up exactly.

    One request of 10 tokens in, 11 out, alone in a batch of at most 1: 10 decode steps of 0.1 s.

    >>> one = Draw(np.zeros(1), np.array([10], np.int32), np.array([11], np.int32), np.zeros(1, np.int32))
    >>> step = StepCoefficients(weights_s=0.1, token_compute_s=0.0, context_s=0.0, step_s=0.0)
    >>> least_busy_s(one, step, EngineLimits(kv_tokens=64, max_num_seqs=1))
    1.0
    """
    inputs, outputs = draw.input_tokens.astype(np.float64), draw.output_tokens.astype(np.float64)
    fresh = inputs - np.minimum(draw.cached_tokens, inputs - 1)
    decodes = outputs - 1
    read = decodes * inputs + decodes * outputs / 2  # sum over j = 1..n-1 of (input + j)
    room = limits.blocks * limits.block_tokens
    steps = max(decodes.sum() / limits.max_num_seqs, read.sum() / room)
    tokens = float(fresh.sum() + decodes.sum())
    compute = step.token_compute_s * tokens
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


def idle_latencies(draw: Draw, step: StepCoefficients, limits: EngineLimits) -> dict[str, Floats]:
    """TTFT, TPOT and E2E of each request on a replica that does nothing else: no load makes them shorter. [s]"""
    inputs, outputs = draw.input_tokens.astype(np.float64), draw.output_tokens.astype(np.float64)
    cached = np.minimum(draw.cached_tokens, (inputs - 1) // limits.block_tokens * limits.block_tokens)
    fresh = inputs - cached
    chunks = np.ceil(fresh / limits.max_num_batched_tokens)
    pairs = fresh * cached + fresh * (fresh + 1) / 2
    # each chunk reads the weights; arithmetic and memory are those of all chunks together
    memory = chunks * (step.weights_s + step.experts_s * (1 - step.expert_miss)) + step.token_memory_s * fresh
    prefill = np.maximum(step.token_compute_s * fresh, memory) + step.token_s * fresh + step.pair_s * pairs
    prefill += chunks * (step.step_s + step.prefill_step_s + step.sequence_s)
    prefill = np.maximum(prefill, chunks * (step.floor_s + step.floor_sequence_s))
    ttft = limits.request_s + prefill
    one = fixed_part_s(step.as_array(), 1, 0, 0, 0.0)
    alone = np.maximum(one + step.context_s * (inputs + outputs / 2), step.floor_s + step.floor_sequence_s)
    tpot = np.where(outputs > 1, alone, 0.0)
    return {"ttft": ttft, "tpot": tpot, "e2e": ttft + tpot * (outputs - 1)}


def hopeless_objective(draw: Draw, slo: Slo, step: StepCoefficients, limits: EngineLimits) -> Objective | None:
    """The first objective that too many requests miss even on an idle replica; None where none is hopeless."""
    idle = idle_latencies(draw, step, limits)
    for one in slo.objectives:
        if float((idle[one.metric] > one.limit_s).mean()) > 1 - one.share:
            return one
    return None


def idle_quantile_s(draw: Draw, objective: Objective, step: StepCoefficients, limits: EngineLimits) -> float:
    """What an objective's percentile is on an idle replica. [s]"""
    return float(np.quantile(idle_latencies(draw, step, limits)[objective.metric], objective.share))
