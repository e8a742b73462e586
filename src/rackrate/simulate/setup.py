"""Makes the state of a simulation, makes its ring larger, and refuses what cannot be simulated."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from rackrate.errors import WorkloadError
from rackrate.simulate import state as at
from rackrate.simulate.settings import ROUTERS, EngineLimits, Fleet, Requests
from rackrate.simulate.state import Core, Floats, Ints, Out, Prefix, Small, State
from rackrate.simulate.step import StepCoefficients, fixed_part_s
from rackrate.simulate.tally import BINS
from rackrate.workload.slo import Slo

METRICS = {"ttft": at.TTFT, "tpot": at.TPOT, "e2e": at.E2E}
_NEVER = 2**62
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
    places = np.flatnonzero(old.q[:, at.Q_STATUS] != at.ABSENT)
    target = old.q[places, at.Q_ID] & (size - 1)
    moved = np.full(len(old.q), at.NOBODY, dtype=np.int64)
    moved[places] = target
    q = np.zeros((size, at.Q_COLUMNS), dtype=np.int64)
    qx = np.zeros((size, 2))
    q[target] = old.q[places]
    qx[target] = old.qx[places]

    def follow(links: Ints) -> Ints:
        return np.where(links >= 0, moved[np.maximum(links, 0)], at.NOBODY)

    for link in (at.Q_PREVIOUS, at.Q_NEXT):
        q[target, link] = follow(q[target, link])
    rep = old.rep.copy()
    for link in (at.R_WAIT_HEAD, at.R_WAIT_TAIL, at.R_RUN_HEAD, at.R_RUN_TAIL, at.R_FRESH):
        rep[:, link] = follow(rep[:, link])
    heap = (old.heap >> at.SHIFT << at.SHIFT) | np.maximum(moved[old.heap & (len(old.q) - 1)], 0)
    slots = old.slots.copy()
    slots[:, :, at.SLOT_HOLDS] = follow(slots[:, :, at.SLOT_HOLDS])
    for row, size_r in zip(heap, rep[:, at.R_DECODING], strict=True):
        row[:size_r] = np.sort(row[:size_r])  # entries of one step are ordered by their place, which has changed
    return state._replace(core=old._replace(q=q, qx=qx, rep=rep, heap=heap, slots=slots))


def new_state(
    step: StepCoefficients,
    limits: EngineLimits,
    fleet: Fleet,
    total: int,
    users: int,
    slo: Slo | None,
    warmup: int,
    keep: bool,
    trace: bool,
    give_up: bool,
    prefixes: Requests | None,
) -> State:
    """The beginning of a simulation."""
    replicas = fleet.size
    scaler = fleet.autoscaler
    array = step.as_array()
    base = [0.0, *(float(fixed_part_s(array, n, 0, 0, 0.0)) for n in range(1, limits.max_num_seqs + 1))]
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
    cache = np.full((replicas, 3, kinds + 1), kinds, dtype=np.int32)
    cache[:, at.HELD] = at.NOBODY

    n = np.zeros(at.NUMBERS, dtype=np.int64)
    n[at.MAX_SEQUENCES] = limits.max_num_seqs
    n[at.BUDGET] = limits.max_num_batched_tokens
    n[at.PAGE] = limits.block_tokens
    n[at.WATERMARK] = 0 if limits.scheduling == "llama.cpp" else math.floor(limits.watermark * limits.blocks)
    n[at.ROUTER] = ROUTERS[fleet.router]
    n[at.HASH_TOKENS] = hash_tokens
    n[at.HASH_PAGES] = hash_tokens // limits.block_tokens
    n[at.CLOSED] = users
    n[at.TRACED] = int(trace)
    n[at.WARMUP] = warmup
    n[at.LEAST_REPLICAS] = scaler.least if scaler else replicas
    n[at.MOST_REPLICAS] = replicas
    n[at.PENDING] = min(users, total)
    n[at.SLOTTED] = int(limits.scheduling == "llama.cpp")
    n[at.MICRO_BATCH] = limits.micro_batch_tokens
    n[at.UNIFIED] = int(limits.unified_cache)
    n[at.SIMILAR] = int(limits.similar_prompts)
    slots = np.zeros((replicas, limits.max_num_seqs if n[at.SLOTTED] else 1, at.SLOT_COLUMNS), dtype=np.int64)
    slots[:, :, at.SLOT_HOLDS] = at.NOBODY
    x = np.zeros(at.CLOCKS)
    x[at.LOW_SINCE] = -1.0
    x[at.REQUEST_S] = limits.request_s
    rep = np.zeros((replicas, at.R_PHASES + limits.block_tokens), dtype=np.int64)
    rep[:, at.R_POWER] = at.ON
    rep[:, [at.R_FREE, at.R_EMPTY]] = limits.blocks
    rep[:, [at.R_WAIT_HEAD, at.R_WAIT_TAIL, at.R_RUN_HEAD, at.R_RUN_TAIL, at.R_FRESH]] = at.NOBODY
    if scaler is not None:
        x[: at.DOWN_DELAY_S + 1] = (
            scaler.interval_s, scaler.target_in_flight, scaler.cold_start_s, scaler.down_delay_s
        )  # fmt: skip
        x[at.NEXT_TICK] = scaler.interval_s
        rep[scaler.least :, at.R_POWER] = at.OFF
    repx = np.zeros((replicas, at.R_TIMES))
    repx[:, at.R_WHEN] = np.inf
    objectives = slo.objectives if slo else ()
    judged = max(0, total - warmup)
    verdict = np.zeros((len(objectives), 2), dtype=np.int64)
    verdict[:, 1] = [
        math.floor(judged * (1 - objective.share) + 1e-9) if give_up else _NEVER for objective in objectives
    ]
    ring = max(_FIRST_RING, 1 << (2 * users).bit_length())
    return State(
        core=Core(
            n=n,
            x=x,
            step=np.concatenate([array, base]),
            q=np.zeros((ring, at.Q_COLUMNS), dtype=np.int64),
            qx=np.zeros((ring, 2)),
            rep=rep,
            repx=repx,
            heap=np.zeros((replicas, limits.max_num_seqs + 1), dtype=np.int64),
            slots=slots,
        ),
        prefix=Prefix(cache=cache, start=start, hashes=hashes),
        out=Out(
            histogram=np.zeros((3, BINS), dtype=np.int64),
            goals=np.array(
                [(METRICS[objective.metric], objective.limit_s) for objective in objectives], dtype=np.float64
            ).reshape(-1, 2),
            verdict=verdict,
            trend=np.zeros((at.TRENDS, 2)),
            each=np.full((total if keep else 0, 6), np.nan),
            jumps=np.zeros((_FIRST_TRACE if trace else 0, 6)),
            segments=np.zeros((_FIRST_TRACE + 4 * limits.max_num_seqs if trace else 0, 4), dtype=np.int64),
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
