"""The time of one engine step, as a handful of coefficients that the simulator evaluates.

Whoever models step time (roofline, fitted, replayed) hands over a `StepCoefficients`; the simulator knows nothing else
of models or hardware. A step has n decoding sequences, which produce a token each, and p prompt tokens of q prompts:

    t      = n + p                                                     tokens that pass through the dense layers
    e      = 1 - expert_miss ** t                                      share of the routed experts that they touch
    dense  = roof(token_compute_s * t + padding_s * e,
                  weights_s + experts_s * e + token_memory_s * t)
    step   = dense + token_s * t + sequence_s * (n + q) + step_s
             + context_s * (tokens of context that the n read) * [n > crowd] large_batch_context
             + [p > 0] * prefill_step_s + pair_s * (pairs of prompt token and earlier token)
    time   = max(step, floor_s + floor_sequence_s * (n + q))

roof(a, b) is max(a, b), or (a**s + b**s) ** (1/s) where `sharpness` s is given. While a batch only decodes, all
of it is constant except the context term, which grows by n tokens a step: k steps have a sum in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rackrate.errors import WorkloadError
from rackrate.simulate.compiled import compiled

Floats = npt.NDArray[np.float64]
_NEGLIGIBLE_S = 1e-18
"""Of any coefficient: less than a billionth of a nanosecond."""

TOKEN_COMPUTE, WEIGHTS, TOKEN_MEMORY, EXPERTS, LOG_MISS, SHARPNESS, TOKEN, SEQUENCE, STEP, CONTEXT = range(10)
PREFILL_STEP, PAIR, FLOOR, FLOOR_SEQUENCE, MICRO_STEP, LARGE_BATCH_OVER, LARGE_BATCH_CONTEXT, PADDING = range(10, 18)
"""Places in the array that the compiled functions read."""
DECODE_BASE = 18
"""In the simulator's copy, fixed_part_s of steps that only decode follows from here on, by number of sequences."""


@dataclass(frozen=True)
class StepCoefficients:
    """Seconds that the parts of an engine step take on one replica. Every one is at least 0."""

    weights_s: float
    """Reading the dense weights once. [s/step]"""
    token_compute_s: float
    """Arithmetic of the dense layers for one token. [s/token]"""
    context_s: float
    """Decode attention per token of context read, summed over sequences. [s/token]"""
    step_s: float
    """What any step takes besides: host, launches, latencies of all-reduces. [s/step]"""
    sequence_s: float = 0.0
    """Per sequence in the step, decoding or prefilled: host, sampling, output layer. [s/sequence]"""
    token_memory_s: float = 0.0
    """Activations moved per token, beside the weights. [s/token]"""
    token_s: float = 0.0
    """Per token, in addition to the roofline: all-reduce traffic. [s/token]"""
    experts_s: float = 0.0
    """Reading all routed experts once. [s/step]"""
    expert_miss: float = 0.0
    """Probability that one token does not use a given expert: 1 - active/routed. 0 without experts."""
    sharpness: float = 0.0
    """Exponent of the smooth roofline; 0 for a hard maximum."""
    prefill_step_s: float = 0.0
    """Added to a step that has prompt tokens (no CUDA graph). [s/step]"""
    pair_s: float = 0.0
    """Prefill attention per pair of a new prompt token and a token that it attends to. [s/pair]"""
    floor_s: float = 0.0
    """Shortest step, where the host works while the accelerator does. [s/step]"""
    floor_sequence_s: float = 0.0
    """Added to the shortest step per sequence. [s/sequence]"""
    micro_step_s: float = 0.0
    """What each micro-batch after the first of a step takes besides, where steps are divided (slots.py). [s]"""
    large_batch_over: float = 1e18
    """With more decoding sequences the engine takes another attention kernel. [sequence]"""
    large_batch_context: float = 1.0
    """Factor on `context_s` then."""
    padding_s: float = 0.0
    """Arithmetic that fills up the tiles of all routed experts. [s/step]"""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < math.inf:
                raise WorkloadError(f"step time: {name} must be at least 0 and finite, got {value:g}")
        if self.expert_miss >= 1:
            raise WorkloadError(f"step time: expert_miss must be below 1, got {self.expert_miss:g}")
        if self.large_batch_context < 1:  # planner/bounds.py counts on it
            raise WorkloadError(f"step time: large_batch_context must be at least 1, got {self.large_batch_context:g}")
        if self.weights_s + self.step_s + self.floor_s <= 0:
            raise WorkloadError("step time: a step without any constant part would take no time")

    def as_array(self) -> Floats:
        """The coefficients in the order in which the compiled functions read them."""
        values = np.array(
            [
                self.token_compute_s,
                self.weights_s,
                self.token_memory_s,
                self.experts_s,
                math.log(self.expert_miss) if self.expert_miss else 0.0,
                self.sharpness,
                self.token_s,
                self.sequence_s,
                self.step_s,
                self.context_s,
                self.prefill_step_s,
                self.pair_s,
                self.floor_s,
                self.floor_sequence_s,
                self.micro_step_s,
                self.large_batch_over,
                self.large_batch_context,
                self.padding_s,
            ],
            dtype=np.float64,
        )  # fmt: skip
        # a share of a step that no clock could show would make steps until a crossing a number that no integer holds
        return np.where(np.abs(values) < _NEGLIGIBLE_S, 0.0, values)

    def step_time_s(
        self, decodes: int, context_tokens: float, prompts: int = 0, prompt_tokens: int = 0, pairs: float = 0.0
    ) -> float:
        """Seconds of one step. [s]

        Args:
            decodes: sequences that produce a token.
            context_tokens: tokens that these attend to, their new ones included, summed.
            prompts: prompts of which a part is processed.
            prompt_tokens: how many of their tokens.
            pairs: sum over these of the tokens that each attends to, itself included.

        Reading 16 GB at 1.6 TB/s, 5 ms of host time, 8 sequences of 1,000 tokens at 80 ns each:

        >>> step = StepCoefficients(weights_s=0.010, token_compute_s=1e-4, context_s=8e-8, step_s=0.005)
        >>> round(step.step_time_s(decodes=8, context_tokens=8000), 6)
        0.01564
        >>> round(step.step_time_s(decodes=0, context_tokens=0, prompts=1, prompt_tokens=1000), 6)
        0.105
        """
        array = self.as_array()
        time = fixed_part_s(array, decodes, prompts, prompt_tokens, pairs)
        time += context_token_s(array, decodes) * context_tokens
        return max(float(time), self.floor_s + self.floor_sequence_s * (decodes + prompts))


@compiled
def dense_s(step: Floats, tokens: int) -> float:
    """What so many tokens take in the dense layers, and what each takes in addition to the roofline. [s]"""
    compute = step[TOKEN_COMPUTE] * tokens
    memory = step[WEIGHTS] + step[TOKEN_MEMORY] * tokens
    if step[EXPERTS] > 0.0 or step[PADDING] > 0.0:
        touched = 1.0 - math.exp(step[LOG_MISS] * tokens) if step[LOG_MISS] < 0.0 else 1.0
        memory += step[EXPERTS] * touched
        compute += step[PADDING] * touched
    sharpness = step[SHARPNESS]
    if compute < memory:
        dense, lesser = memory, compute
    else:
        dense, lesser = compute, memory
    if sharpness > 0.0 and dense > 0.0:
        dense *= (1.0 + (lesser / dense) ** sharpness) ** (1.0 / sharpness)
    return dense + step[TOKEN] * tokens


@compiled
def context_token_s(step: Floats, decodes: int) -> float:
    """What a token of context takes where so many sequences decode. [s/token]"""
    return step[CONTEXT] * step[LARGE_BATCH_CONTEXT] if decodes > step[LARGE_BATCH_OVER] else step[CONTEXT]


@compiled
def fixed_part_s(step: Floats, decodes: int, prompts: int, prompt_tokens: int, pairs: float) -> float:
    """A step's time without the context that its decoding sequences read, and without the floor. [s]"""
    time = dense_s(step, decodes + prompt_tokens) + step[SEQUENCE] * (decodes + prompts) + step[STEP]
    if prompt_tokens > 0:
        time += step[PREFILL_STEP] + step[PAIR] * pairs
    return time


@compiled
def steps_s(first_s: float, growth_s: float, steps: int) -> float:
    """k steps of which the first takes `first_s` and each further one `growth_s` more than the one before. [s]

    >>> steps_s(1.0, 0.5, 3)
    4.5
    """
    return steps * first_s + growth_s * (0.5 * steps * (steps - 1))


@compiled
def steps_until(first_s: float, growth_s: float, begin_s: float, moment_s: float) -> int:
    """The fewest steps (at least 1) that end at or after a moment, if the first begins at `begin_s`.

    The root of first k + growth k (k-1) / 2 = moment - begin, in the form that does not cancel, then put right by the
    same sum that the clock uses.

    >>> steps_until(1.0, 0.5, begin_s=0.0, moment_s=2.5), steps_until(1.0, 0.5, begin_s=0.0, moment_s=2.6)
    (2, 3)
    """
    span = moment_s - begin_s
    if span <= first_s:
        guess = 1
    else:
        linear = first_s - 0.5 * growth_s
        guess = math.ceil(2.0 * span / (linear + math.sqrt(linear * linear + 2.0 * growth_s * span)))
        guess = max(guess, 1)
    while guess > 1 and begin_s + steps_s(first_s, growth_s, guess - 1) >= moment_s:
        guess -= 1
    while begin_s + steps_s(first_s, growth_s, guess) < moment_s:
        guess += 1
    return guess
