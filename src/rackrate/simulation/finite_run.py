"""A finite run of one replica, step by step where prompts come in and in jumps where it only decodes.

Published load tests are short: two hundred requests at three times the capacity never see a steady state. This replays
such a run in some tens of microseconds when compiled. It follows two kinds of scheduler: prompts first (vLLM before
0.8), or decode first with prompts in chunks of what the token budget leaves (vLLM 0.8 and later, TensorRT-LLM, SGLang).
Pages, routers, prefix caches and objectives are the simulator's (simulator.py); why there are two is told in
docs/decisions/0019.
"""

from __future__ import annotations

import math

import numpy as np

from rackrate.simulation.compiled import compiled
from rackrate.simulation.state import Floats, Ints
from rackrate.simulation.step import StepRecord, StepTime, step_s


@compiled
def _run(
    step: StepRecord,
    started: Floats,
    first: Floats,
    done: Floats,
    prompt: Ints,
    output: Ints,
    running: Ints,
    left: Ints,
    ends: Ints,
    base: Ints,
    todo: Ints,
    queue: Ints,
    streams: int,
    slots: int,
    budget: int,
    mixed: int,
    kv_capacity: float,
    reserve_fraction: float,
) -> None:
    """Fills `started`, `first` and `done`; what follows `output` is working memory.

    Args:
        step: seconds of a step.
        started: when requests are due; in a closed loop, overwritten by when they are sent.
        first: first tokens, not a number where there is none yet.
        done: likewise.
        prompt: tokens of each prompt.
        output: tokens of each answer.
        running: requests that decode.
        left: tokens still to make, of requests that do not decode.
        ends: the decoding step after which a request is done.
        base: its context less the steps before it began to decode.
        todo: prompt tokens still to compute (recomputed ones too).
        queue: requests that wait.
        streams: of a closed loop; 0: an open one.
        slots: most requests that run.
        budget: tokens of a step.
        mixed: 1: decode first, prompts in chunks; 0: prompts first.
        kv_capacity: of the cache. [token]
        reserve_fraction: of a request's output, reserved when it is admitted.
    """
    count = len(started)
    steps: int = 0  # decoding steps so far
    soonest: int = 1 << 60  # the least of `ends` among those that decode
    head: int = 0
    tail: int = 0
    n: int = 0
    context: float = 0.0  # tokens in the cache of what decodes
    reserved: float = 0.0  # output tokens kept free for it
    held: float = 0.0  # cache reserved by prompts under way
    arrived: int = 0
    t: float = 0.0
    finished: int = 0
    part: int = -1  # the request whose prompt is under way
    part_done: int = 0
    released: int = min(streams, count) if streams > 0 else count
    guard: int = 0
    while finished < count:
        guard += 1
        if guard > 2000000:
            break
        while arrived < released and started[arrived] <= t:
            if tail >= len(queue):
                break
            todo[arrived] = prompt[arrived]
            left[arrived] = output[arrived]
            queue[tail] = arrived
            tail += 1
            arrived += 1
        # prompts of this step
        tokens: int = 0
        pairs: float = 0.0
        ended: int = 0
        first_ended = n
        limit: int = budget - n if mixed == 1 else budget
        while limit > 0 and n + ended < slots:
            if part < 0:
                if head >= tail:
                    break
                item: int = queue[head]
                need: float = todo[item] + reserve_fraction * left[item]
                if context + reserved + held + need > kv_capacity and n + ended > 0:
                    break
                if mixed == 0 and tokens > 0 and tokens + todo[item] > budget:
                    break
                head += 1
                part = item
                part_done = 0
                held += need
            size: int = todo[part] - part_done
            if mixed == 1 and size > limit:
                size = limit
            tokens += size
            limit -= size
            pairs += size * (part_done + 0.5 * size)
            part_done += size
            if part_done >= todo[part]:
                running[n + ended] = part
                ended += 1
                part = -1
        if tokens > 0:
            decoding = n if mixed == 1 else 0
            t += step_s(step, decoding, context if mixed == 1 else 0.0, ended, tokens, pairs)
            if decoding > 0:
                steps += 1
                context += decoding
                reserved -= reserve_fraction * decoding
            for i in range(first_ended, first_ended + ended):
                item = running[i]
                if np.isnan(first[item]):
                    first[item] = t
                held -= todo[item] + reserve_fraction * left[item]
                left[item] -= 1
                ends[item] = steps + left[item]
                base[item] = todo[item] + 1 - steps
                soonest = min(soonest, ends[item])
                context += todo[item] + 1
                reserved += reserve_fraction * left[item]
            n += ended
        elif n > 0:
            jump: int = soonest - steps
            if reserve_fraction == 0.0 and kv_capacity < math.inf:
                jump = min(jump, max(int((kv_capacity - context) / n), 1))
            if arrived < released and n < slots:
                now: float = step_s(step, n, context, 0, 0, 0.0)
                wait: float = started[arrived] - t
                jump = min(jump, int(wait / now) + 1)
                # steps grow with the context: the last one is that in which the next request arrives
                while jump > 1:
                    fewer = jump - 1
                    if fewer * step_s(step, n, context + 0.5 * n * (fewer - 1), 0, 0, 0.0) < wait:
                        break
                    jump = fewer
            jump = max(jump, 1)
            t += jump * step_s(step, n, context + 0.5 * n * (jump - 1), 0, 0, 0.0)
            steps += jump
            context += n * jump
            reserved -= reserve_fraction * n * jump
        else:
            if arrived < released:
                t = max(t, started[arrived])
                continue
            if head < tail:  # a prompt that the cache alone does not hold: let it in
                kv_capacity = math.inf
                continue
            break
        if soonest <= steps:
            kept: int = 0
            soonest = 1 << 60
            for i in range(n):
                item = running[i]
                if ends[item] <= steps:
                    done[item] = t
                    finished += 1
                    context -= base[item] + steps
                    reserved -= reserve_fraction * (ends[item] - steps)
                    if released < count:
                        started[released] = t
                        released += 1
                else:
                    running[kept] = item
                    kept += 1
                    soonest = min(soonest, ends[item])
            n = kept
        # recompute the youngest where the cache is full
        evicted = False
        while reserve_fraction == 0.0 and n > 1 and context > kv_capacity:
            n -= 1
            item = running[n]
            todo[item] = base[item] + steps
            left[item] = ends[item] - steps
            context -= todo[item]
            evicted = True
            if head > 0:
                head -= 1
                queue[head] = item
            else:
                queue[tail] = item
                tail += 1
        if evicted:
            soonest = 1 << 60
            for i in range(n):
                item = running[i]
                soonest = min(soonest, ends[item])


def finite_run(
    step: StepTime,
    due: Floats,
    prompt: Ints,
    output: Ints,
    *,
    streams: int = 0,
    slots: int = 256,
    budget: int = 2048,
    mixed: bool = True,
    kv_capacity: float = math.inf,
    reserve_fraction: float = 0.0,
) -> tuple[Floats, Floats, Floats]:
    """When each request was due, had its first token and was done. [s]

    `streams` > 0 is a closed loop: that many requests at a time, each next one due when one is done. `kv_capacity` is
    the cache in tokens; `reserve_fraction` the share of a request's output that is reserved when it is admitted (1:
    never preempt; 0: preempt and recompute). One request of 4 tokens at 1 s a step:
    >>> import numpy as np
    >>> step = StepTime(weights_s=0.0, token_compute_s=0.0, context_s=0.0, step_s=1.0)
    >>> _, first, done = finite_run(step, np.zeros(1), np.array([10]), np.array([4]))
    >>> float(first[0]), float(done[0])
    (1.0, 4.0)
    """
    count = len(due)
    started = np.array(due, dtype=np.float64)
    first, done = np.full(count, np.nan), np.full(count, np.nan)
    running, left, ends, base, todo = np.zeros((5, count), dtype=np.int64)
    queue = np.empty(4 * count + 16, dtype=np.int64)
    _run(
        step.as_record(), started, first, done, prompt, output, running, left, ends, base, todo, queue, streams, slots,
        budget, int(mixed), kv_capacity, reserve_fraction,
    )  # fmt: skip
    return started, first, done
