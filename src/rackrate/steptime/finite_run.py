"""A finite run of one replica, step by step where prompts come in and in jumps where it only decodes.

Published load tests are short: two hundred requests at three times the capacity never see a steady state. This replays
such a run in some ten microseconds when compiled, as plain Python otherwise. It follows one request type
of scheduler each: prompts first (vLLM before 0.8), or decode first with prompts in chunks of what the token budget
leaves
(vLLM 0.8 and later, TensorRT-LLM, SGLang). Routers, prefix caches and objectives are the simulator's (simulate/).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


def _compiler() -> Callable[[Any], Any]:
    """numba's compiler; where it does not load the same lines run as they are, slower.

    Compiled code is kept in the user's cache directory, one folder per state of this file.
    """
    try:
        import numba
    except ImportError:
        return lambda function: function
    import hashlib
    import os
    from pathlib import Path

    import platformdirs

    state = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    place = platformdirs.user_cache_path("rackrate") / "compiled" / state
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        return cast("Any", numba).njit(nogil=True)
    if "NUMBA_CACHE_DIR" not in os.environ:
        cast("Any", numba).config.CACHE_DIR = str(place)
    return cast("Any", numba).njit(cache=True, nogil=True)


_compile = _compiler()


def step_seconds(
    k: tuple[float, ...], sequences: float, context: float, prefill_tokens: float, prefill_pairs: float, ended: float
) -> float:
    """Time of one engine step, from the tuple of an `EngineStep`. [s]

    A piece of 1 s compute and 2 s memory with nothing hidden (s = 1), and 0.5 s of host:
    >>> step_seconds((0.5, 0, 0, 1.0, 0, 2.0, 0, 0, 0, 1.0, *[0.0] * 11), 1, 100, 0, 0, 0)
    3.5
    """
    tokens = sequences + prefill_tokens
    touched = 1.0 - math.exp(tokens * k[7])
    compute = tokens * k[3] + touched * k[20]
    memory = k[5] + k[6] * touched
    longer, shorter = max(compute, memory), min(compute, memory)
    dense = longer * (1.0 + (shorter / longer) ** k[9]) ** (1.0 / k[9]) if longer > 0 else 0.0
    read = context * k[10] + min(context, sequences * k[12]) * k[11]
    if sequences > k[18]:
        read *= k[19]
    seconds = (
        dense
        + read
        + prefill_pairs * k[13]
        + k[14]
        + tokens * (k[8] + k[15])
        + k[16]
        + k[0]
        + (k[1] + k[4]) * (sequences + ended)
    )
    if prefill_tokens > 0:
        seconds += k[2]
    return max(seconds, k[17])


_step: Any = _compile(step_seconds)  # in this file: a cache of compiled code is renewed when its file changes

PROMPTS_FIRST, MIXED = 0, 1


@_compile
def _run(
    k: Any,
    due: Any,
    prompt: Any,
    output: Any,
    streams: int,
    slots: int,
    budget: int,
    mixed: int,
    kv_capacity: float,
    reserve_fraction: float,
) -> Any:
    count = len(due)
    first = np.full(count, np.nan)
    done = np.full(count, np.nan)
    started = due.copy()
    running = np.empty(count, np.int64)  # indices that decode
    left = np.zeros(count, np.int64)  # tokens still to make, of requests that do not decode
    ends = np.zeros(count, np.int64)  # the decoding step after which a request is done
    base = np.zeros(count, np.int64)  # its context less the steps before it began to decode
    steps = 0  # decoding steps so far
    soonest = 1 << 60  # the least of `ends` among those that decode
    todo = np.zeros(count, np.int64)  # prompt tokens still to compute (recomputed ones too)
    queue = np.empty(4 * count + 16, np.int64)
    head = 0
    tail = 0
    n = 0
    context = 0.0  # tokens in the cache of what decodes
    reserved = 0.0  # output tokens kept free for it
    held = 0.0  # cache reserved by prompts under way
    arrived = 0
    t = 0.0
    finished = 0
    part = -1  # the request whose prompt is under way
    part_done = 0
    released = min(streams, count) if streams > 0 else count
    guard = 0
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
        tokens = 0
        pairs = 0.0
        ended = 0
        first_ended = n
        limit = budget - n if mixed == 1 else budget
        while limit > 0 and n + ended < slots:
            if part < 0:
                if head >= tail:
                    break
                item = queue[head]
                need = todo[item] + reserve_fraction * left[item]
                if context + reserved + held + need > kv_capacity and n + ended > 0:
                    break
                if mixed == 0 and tokens > 0 and tokens + todo[item] > budget:
                    break
                head += 1
                part = item
                part_done = 0
                held += need
            size = todo[part] - part_done
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
            t += _step(k, float(decoding), context if mixed == 1 else 0.0, float(tokens), pairs, float(ended))
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
            jump = soonest - steps
            if reserve_fraction == 0.0:
                jump = min(jump, max(int((kv_capacity - context) / n), 1))
            if arrived < released and n < slots:
                now = _step(k, float(n), context, 0.0, 0.0, 0.0)
                wait = started[arrived] - t
                jump = min(jump, int(wait / now) + 1)
                # steps grow with the context: the last one is that in which the next request arrives
                while jump > 1:
                    fewer = jump - 1
                    if fewer * _step(k, float(n), context + 0.5 * n * (fewer - 1), 0.0, 0.0, 0.0) < wait:
                        break
                    jump = fewer
            jump = max(jump, 1)
            t += jump * _step(k, float(n), context + 0.5 * n * (jump - 1), 0.0, 0.0, 0.0)
            steps += jump
            context += n * jump
            reserved -= reserve_fraction * n * jump
        else:
            if arrived < released:
                t = max(t, started[arrived])
                continue
            if head < tail:  # a prompt that exceeds the room alone: let it in
                kv_capacity = 1e18
                continue
            break
        if soonest <= steps:
            kept = 0
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
                soonest = min(soonest, ends[running[i]])
    return started, first, done


def finite_run(
    step: tuple[float, ...],
    due: Floats,
    prompt: Ints,
    output: Ints,
    *,
    streams: int = 0,
    slots: int = 256,
    budget: int = 2048,
    mixed: bool = True,
    kv_capacity: float = 1e18,
    reserve_fraction: float = 0.0,
) -> tuple[Floats, Floats, Floats]:
    """When each request was due, had its first token and was done. [s]

    `streams` > 0 is a closed loop: that many requests at a time, each next one due when one is done. `kv_capacity` is
    the cache in tokens; `reserve_fraction` the share of a request's output that is reserved when it is admitted (1:
    never preempt; 0: preempt and recompute). One request of 4 tokens at 1 s a step:
    >>> import numpy as np
    >>> step = (1.0, *[0.0] * 8, 1.0, *[0.0] * 11)
    >>> _, first, done = finite_run(step, np.zeros(1), np.array([10]), np.array([4]))
    >>> float(first[0]), float(done[0])
    (1.0, 4.0)
    """
    return _run(step, due, prompt, output, streams, slots, budget, 1 if mixed else 0, kv_capacity, reserve_fraction)
