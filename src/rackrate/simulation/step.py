"""The time of one engine step, as a handful of coefficients that the simulator evaluates.

Whoever models step time (roofline, fitted, replayed) hands over a `StepTime`; the simulator knows nothing else of
models or hardware. A step has n decoding sequences, which produce a token each, and p prompt tokens of q prompts:

    t      = n + p                                                     tokens that pass through the dense layers
    e      = 1 - expert_miss ** t                                      share of the routed experts that they touch
    dense  = roof(token_compute_s * t + padding_s * e,
                  weights_s + experts_s * e + token_memory_s * t)
    step   = dense + token_s * t + sequence_s * (n + q) + step_s
             + context_s * (tokens of context that the n read) * [n > large_batch_over] large_batch_context
             + [p > 0] * prefill_step_s + pair_s * (pairs of prompt token and earlier token)
             + window_context_s * (of these, tokens within the window), likewise
    time   = max(step, floor_s + floor_sequence_s * (n + q))

roof(a, b) is max(a, b), or (a**s + b**s) ** (1/s) where `sharpness` s is given. While a batch only decodes, all
of it is constant except the context term, which grows by n tokens a step: k steps have a sum in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rackrate.errors import WorkloadError
from rackrate.simulation.compiled import compiled

Floats = npt.NDArray[np.float64]
StepRecord = Any
"""What `StepTime.as_record` gives."""
_NEGLIGIBLE_S = 1e-18
"""Of any coefficient: less than a billionth of a nanosecond."""


@dataclass(frozen=True)
class StepTime:
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
    large_batch_over: float = math.inf
    """With more decoding sequences the engine takes another attention kernel. [sequence]"""
    large_batch_context: float = 1.0
    """Factor on `context_s` then."""
    padding_s: float = 0.0
    """Arithmetic that fills up the tiles of all routed experts. [s/step]"""
    window_context_s: float = 0.0
    """Decode attention per token of context in layers that see a window of it only. [s/token]"""
    window_tokens: float = 0.0
    """Length of that window. [token]"""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < math.inf and not (name == "large_batch_over" and value == math.inf):
                raise WorkloadError(f"step time: {name} must be at least 0 and finite, got {value:g}")
        if self.expert_miss >= 1:
            raise WorkloadError(f"step time: expert_miss must be below 1, got {self.expert_miss:g}")
        if self.large_batch_context < 1:  # planner/bounds.py counts on it
            raise WorkloadError(f"step time: large_batch_context must be at least 1, got {self.large_batch_context:g}")
        if self.weights_s + self.step_s + self.floor_s <= 0:
            raise WorkloadError("step time: a step without any constant part would take no time")

    def as_record(self) -> StepRecord:
        """The same as a record, which compiled functions read: of its fields `log_expert_miss` is no field here."""
        # a share of a step that no clock could show would make steps until a crossing a number that no integer holds
        values = [value if value >= _NEGLIGIBLE_S else 0.0 for value in vars(self).values()]
        miss = math.log(self.expert_miss) if self.expert_miss else 0.0
        return np.array([(*values, miss)], _RECORD).view(np.recarray)[0]

    def at_mean_context(self, tokens: float) -> StepTime:
        """The same step with a context term that is linear, as simulations need it.

        Layers with a window count for the share that they see of a context of so many tokens; 0: for all of it.
        """
        share = min(1.0, self.window_tokens / tokens) if tokens > 0 else 1.0
        return replace(
            self, context_s=self.context_s + self.window_context_s * share, window_context_s=0.0, window_tokens=0.0
        )

    def seconds(
        self, decodes: float, context_tokens: float, prompts: float = 0, prompt_tokens: float = 0, pairs: float = 0.0
    ) -> float:
        """Seconds of one step. [s]

        Args:
            decodes: sequences that produce a token.
            context_tokens: tokens that these attend to, their new ones included, summed.
            prompts: prompts of which a part is processed.
            prompt_tokens: how many of their tokens.
            pairs: sum over these of the tokens that each attends to, itself included.

        Reading 16 GB at 1.6 TB/s, 5 ms of host time, 8 sequences of 1,000 tokens at 80 ns each:

        >>> step = StepTime(weights_s=0.010, token_compute_s=1e-4, context_s=8e-8, step_s=0.005)
        >>> round(step.seconds(decodes=8, context_tokens=8000), 6)
        0.01564
        >>> round(step.seconds(decodes=0, context_tokens=0, prompts=1, prompt_tokens=1000), 6)
        0.105
        """
        return float(step_s(self.as_record(), decodes, context_tokens, prompts, prompt_tokens, pairs))


_NAMES = tuple(field.name for field in fields(StepTime))
_RECORD = np.dtype([(name, np.float64) for name in (*_NAMES, "log_expert_miss")])


@compiled
def dense_s(step: StepRecord, tokens: float) -> float:
    """What so many tokens take in the dense layers, and what each takes in addition to the roofline. [s]"""
    compute = step.token_compute_s * tokens
    memory = step.weights_s + step.token_memory_s * tokens
    if step.experts_s > 0.0 or step.padding_s > 0.0:
        touched = 1.0 - math.exp(step.log_expert_miss * tokens) if step.log_expert_miss < 0.0 else 1.0
        memory += step.experts_s * touched
        compute += step.padding_s * touched
    sharpness = step.sharpness
    if compute < memory:
        dense, lesser = memory, compute
    else:
        dense, lesser = compute, memory
    if sharpness > 0.0 and dense > 0.0:
        dense *= (1.0 + (lesser / dense) ** sharpness) ** (1.0 / sharpness)
    return dense + step.token_s * tokens


@compiled
def context_token_s(step: StepRecord, decodes: float) -> float:
    """What a token of context takes where so many sequences decode. [s/token]"""
    return step.context_s * step.large_batch_context if decodes > step.large_batch_over else step.context_s


@compiled
def fixed_part_s(step: StepRecord, decodes: float, prompts: float, prompt_tokens: float, pairs: float) -> float:
    """A step's time without the context that its decoding sequences read, and without the floor. [s]"""
    time = dense_s(step, decodes + prompt_tokens) + step.sequence_s * (decodes + prompts) + step.step_s
    if prompt_tokens > 0:
        time += step.prefill_step_s + step.pair_s * pairs
    return time


@compiled
def fill_decode_s(step: StepRecord, decode_s: Floats) -> None:
    """The fixed parts of steps that only decode 1, 2, ... sequences, into an array from its place 1 on. [s]"""
    for n in range(1, len(decode_s)):
        decode_s[n] = fixed_part_s(step, n, 0, 0, 0.0)


@compiled
def step_s(
    step: StepRecord, decodes: float, context_tokens: float, prompts: float, prompt_tokens: float, pairs: float
) -> float:
    """A step's time, all of it. [s]"""
    read = context_token_s(step, decodes) * context_tokens
    if step.window_context_s > 0.0:
        factor = step.large_batch_context if decodes > step.large_batch_over else 1.0
        read += step.window_context_s * factor * min(context_tokens, decodes * step.window_tokens)
    time = fixed_part_s(step, decodes, prompts, prompt_tokens, pairs) + read
    return max(time, step.floor_s + step.floor_sequence_s * (decodes + prompts))


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
