"""Makes the state of a simulation, makes its ring larger, and refuses what cannot be simulated."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from rackrate.errors import WorkloadError
from rackrate.simulation import state as at
from rackrate.simulation.settings import ROUTERS, EngineLimits, Fleet, Requests
from rackrate.simulation.state import Core, Floats, Ints, Out, Prefix, Small, State
from rackrate.simulation.step import StepTime, fill_decode_s
from rackrate.simulation.tally import BINS
from rackrate.workload.slo import Slo

METRICS = {"ttft": at.TTFT, "tpot": at.TPOT, "e2e": at.E2E}
_NEVER = 2**62
_LINKS = ("wait_head", "wait_tail", "run_head", "run_tail", "first_prefill")
"""Of a replica: places in the ring."""
_FIRST_RING = 1024
_FIRST_TRACE = 1 << 14


def column(values: npt.ArrayLike | None, number: int, missing: int) -> Small:
    """An optional column of requests; `missing` in every place where it is not given."""
    if values is None:
        return np.full(number, missing, dtype=np.int32)
    column = np.ascontiguousarray(values, dtype=np.int32)
    if len(column) != number:
        raise WorkloadError(f"{number} requests, but a column of {len(column)} values")
    return column


def check(
    due: Floats, input_tokens: Small, output_tokens: Small, limits: EngineLimits, *, closed: bool = False
) -> None:
    """Raises WorkloadError where requests cannot be simulated; the sentence names the first that cannot."""
    if not len(due) == len(input_tokens) == len(output_tokens):
        raise WorkloadError("due times, input and output tokens must be equally many")
    if not len(due):
        raise WorkloadError("there is no request to simulate")
    if not np.isfinite(due).all() or due.min() < 0:
        raise WorkloadError("due times (closed loop: pauses) must be finite and not negative")
    if not closed and (np.diff(due) < 0).any():
        raise WorkloadError(f"request {int(np.argmax(np.diff(due) < 0)) + 1} is due before the one ahead of it")
    for name, tokens in (("input", input_tokens), ("output", output_tokens)):
        if tokens.min() < 1:
            raise WorkloadError(f"request {int(np.argmin(tokens))} has {int(tokens.min())} {name} tokens; at least 1")
    stored = input_tokens.astype(np.int64) + output_tokens - 1
    longest = int(np.argmax(stored))
    if limits.scheduling == "llama.cpp" and int(stored[longest]) > limits.longest_request:
        raise WorkloadError(
            f"request {longest} has {int(stored[longest])} tokens to keep ({int(input_tokens[longest])} in, "
            f"{int(output_tokens[longest])} out), and a slot holds {limits.longest_request}"
        )
    if -(-int(stored[longest]) // limits.block_tokens) > limits.blocks:
        raise WorkloadError(
            f"request {longest} needs {int(stored[longest])} tokens of KV cache ({int(input_tokens[longest])} in, "
            f"{int(output_tokens[longest])} out), and a replica holds {limits.blocks * limits.block_tokens}"
        )


def with_ring(state: State, size: int) -> State:
    """The same state with a larger ring: every request moves to its place there, and so do the links to it."""
    if size > at.PLACE:
        raise WorkloadError(f"more than {size // 2} requests wait at once: the load is far beyond what is served")
    old = state.core
    queue: Any = old.queue
    places = np.flatnonzero(queue.status != at.ABSENT)
    target = queue.id[places] & (size - 1)
    moved = np.full(len(queue), at.NOBODY, dtype=np.int64)
    moved[places] = target
    ring = at.records(at.Request, size)
    ring.view(np.int64).reshape(size, -1)[target] = queue.view(np.int64).reshape(len(queue), -1)[places]

    def follow(links: Ints) -> Ints:
        return np.where(links >= 0, moved[np.maximum(links, 0)], at.NOBODY)

    for link in ("previous", "next"):
        ring[link][target] = follow(ring[link][target])
    replicas: Any = old.replicas
    for link in _LINKS:
        replicas[link] = follow(replicas[link])
    slots: Any = old.slots
    slots.holds = follow(slots.holds)
    heap = (old.heap >> at.SHIFT << at.SHIFT) | np.maximum(moved[old.heap & (len(queue) - 1)], 0)
    for row, decoding in zip(heap, replicas.decoding, strict=True):
        row[:decoding] = np.sort(row[:decoding])  # entries of one step are ordered by their place, which has changed
    return state._replace(core=old._replace(queue=ring, heap=heap))


def new_state(
    step: StepTime,
    limits: EngineLimits,
    fleet: Fleet,
    total: int,
    users: int,
    slo: Slo | None,
    warmup: int,
    per_request: bool,
    trace: bool,
    give_up: bool,
    prefixes: Requests | None,
) -> State:
    """The beginning of a simulation."""
    replicas = fleet.size
    scaler = fleet.autoscaler
    if step.window_context_s > 0:
        raise WorkloadError("step time: layers with a window need a mean context (StepTime.at_mean_context)")
    record = step.as_record()
    decode_s = np.zeros(limits.max_num_seqs + 1)
    fill_decode_s(record, decode_s)
    hash_tokens = prefixes.hash_tokens if prefixes is not None else 0
    if hash_tokens % limits.block_tokens:
        raise WorkloadError(
            f"prefix blocks of {hash_tokens} tokens are not whole pages of {limits.block_tokens} tokens"
        )
    if prefixes is not None and prefixes.hashes is not None and limits.scheduling == "llama.cpp":
        raise WorkloadError(
            "prefix blocks go with a cache that all requests share; llama.cpp's slots have one each: state a share of "
            "cached tokens instead"
        )
    start, hashes, kinds = _prefix_blocks(prefixes, total)
    cache = at.records(at.CachedBlock, (replicas, kinds + 1), "i4")
    cache.held = at.NOBODY
    cache.older = cache.newer = kinds
    slotted = limits.scheduling == "llama.cpp"
    setting = at.records(at.Settings, 1)[0]
    setting.max_sequences = limits.max_num_seqs
    setting.budget = limits.max_num_batched_tokens
    setting.page = limits.block_tokens
    setting.watermark = 0 if slotted else math.floor(limits.watermark * limits.blocks)
    setting.router = ROUTERS[fleet.router]
    setting.hash_tokens = hash_tokens
    setting.hash_pages = hash_tokens // limits.block_tokens
    setting.closed = users
    setting.traced = trace
    setting.warmup = warmup
    setting.least_replicas = scaler.least if scaler else replicas
    setting.most_replicas = replicas
    setting.slotted = slotted
    setting.micro_batch = limits.micro_batch_tokens
    setting.unified = limits.unified_cache
    setting.similar = limits.similar_prompts
    setting.request_s = limits.request_s
    totals = at.records(at.Totals, 1)[0]
    totals.pending = min(users, total)
    totals.low_since_s = -1.0
    engines = at.records(at.Replica, replicas)
    engines.power = at.ON
    engines.free = engines.empty = limits.blocks
    engines.when_s = np.inf
    for link in _LINKS:
        engines[link] = at.NOBODY
    if scaler is not None:
        setting.interval_s = totals.next_tick_s = scaler.interval_s
        setting.target_in_flight = scaler.target_in_flight
        setting.cold_start_s, setting.down_delay_s = scaler.cold_start_s, scaler.down_delay_s
        engines["power"][scaler.least :] = at.OFF
    slots = at.records(at.Slot, (replicas, limits.max_num_seqs if slotted else 1))
    slots.holds = at.NOBODY
    objectives = slo.objectives if slo else ()
    judged = max(0, total - warmup)
    goals = at.records(at.Goal, len(objectives))
    for goal, objective in zip(goals, objectives, strict=True):
        goal.metric, goal.limit_s = METRICS[objective.metric], objective.limit_s
        goal.allowed = math.floor(judged * (1 - objective.share) + 1e-9) if give_up else _NEVER
    done = at.records(at.Done, total if per_request else 0)
    done.due_s = done.first_token_s = done.done_s = np.nan
    done.cached_tokens = done.replica = done.preemptions = -1
    return State(
        core=Core(
            settings=setting,
            totals=totals,
            step=record,
            decode_s=decode_s,
            queue=at.records(at.Request, max(_FIRST_RING, 1 << (2 * users).bit_length())),
            replicas=engines,
            phases=np.zeros((replicas, limits.block_tokens), dtype=np.int64),
            heap=np.zeros((replicas, limits.max_num_seqs + 1), dtype=np.int64),
            slots=slots,
        ),
        prefix=Prefix(cache=cache, start=start, hashes=hashes),
        out=Out(
            histogram=np.zeros((3, BINS), dtype=np.int64),
            goals=goals,
            trend=at.records(at.Trend, at.TRENDS),
            done=done,
            jumps=at.records(at.Jump, _FIRST_TRACE if trace else 0),
            segments=at.records(at.Segment, _FIRST_TRACE + 4 * limits.max_num_seqs if trace else 0),
        ),
        pending_due=np.zeros(min(users, total) + 1),
        pending_id=np.arange(min(users, total) + 1, dtype=np.int64),
    )


def _prefix_blocks(prefixes: Requests | None, total: int) -> tuple[npt.NDArray[np.int64], Small, int]:
    """Block lists with ids from 0 on, and how many kinds there are. An id that a request repeats ends its list."""
    if prefixes is None or prefixes.hashes is None or prefixes.hash_start is None:
        return np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int32), 1
    start = np.ascontiguousarray(prefixes.hash_start, dtype=np.int64)
    kinds, ids = np.unique(np.asarray(prefixes.hashes), return_inverse=True)
    listed = ids.astype(np.int32)
    if len(start) != total + 1 or start[0] != 0 or start[-1] != len(listed) or (np.diff(start) < 0).any():
        raise WorkloadError(
            "hash_start must begin at 0, not fall, and end at the number of hashes, one more than requests"
        )
    for i in range(total):
        own = listed[start[i] : start[i + 1]]
        if len(np.unique(own)) < len(own):
            raise WorkloadError(f"request {i} lists the same prefix block twice; a block's hash covers all before it")
    return start, listed, max(1, len(kinds))
