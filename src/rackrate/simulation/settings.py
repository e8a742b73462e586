"""What a simulation is told: requests, what bounds a batch, the replicas and their router."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rackrate.errors import WorkloadError
from rackrate.simulation import state as at

Scheduling = Literal["vllm", "llama.cpp"]
Router = Literal["round-robin", "least-loaded", "prefix-affine"]
ROUTERS: dict[Router, int] = {
    "round-robin": at.ROUND_ROBIN,
    "least-loaded": at.LEAST_LOADED,
    "prefix-affine": at.PREFIX_AFFINE,
}


@dataclass(frozen=True)
class Requests:
    """Requests in the order in which they are due (in a closed loop: sent). Arrays of one length."""

    due_s: npt.ArrayLike
    """Seconds from the start; in a closed loop, the pause before each is sent after another was done."""
    input_tokens: npt.ArrayLike
    output_tokens: npt.ArrayLike
    cached_tokens: npt.ArrayLike | None = None
    """Input tokens that the prefix cache has, whatever happens: for a hit rate that is stated."""
    group: npt.ArrayLike | None = None
    """Session or first prefix block, below 0 for none: what the prefix-affine router goes by."""
    hash_start: npt.ArrayLike | None = None
    hashes: npt.ArrayLike | None = None
    """Request i's prompt blocks are hashes[hash_start[i]:hash_start[i + 1]], as recorded traces have them."""
    hash_tokens: int = 0
    """Tokens of such a block."""

    def __len__(self) -> int:
        return len(np.asarray(self.due_s))


@dataclass(frozen=True)
class EngineLimits:
    """What bounds a batch on one replica; the names are vLLM's where it has one."""

    kv_tokens: int
    """Tokens that the KV cache of one replica holds."""
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    """Tokens of one step: decoding ones first, prompts in chunks of what is left."""
    block_tokens: int = 16
    watermark: float = 0.0
    """Share of the pages that admission leaves free (vLLM before its V1 engine: 0.01)."""
    request_s: float = 0.0
    """What a request takes outside the scheduler (HTTP, tokenising): part of TTFT and E2E. [s]"""
    scheduling: Scheduling = "vllm"
    """How a step is filled. llama.cpp: `max_num_seqs` slots with an equal share of the cache each, prompts of all slots
    in the order of their numbers, and steps divided into micro-batches (slots.py)."""
    micro_batch_tokens: int = 512
    """Of llama.cpp: tokens that are computed at once."""
    unified_cache: bool = False
    """Of llama.cpp: one cache for all slots, so that any slots share a micro-batch."""
    similar_prompts: bool = False
    """Of llama.cpp: prompts have more than a tenth in common with earlier ones, so that a request takes the first free
    slot that has served before."""

    def __post_init__(self) -> None:
        if self.max_num_seqs < 1 or self.block_tokens < 1:
            raise WorkloadError("max_num_seqs and block_tokens must be at least 1")
        if self.max_num_batched_tokens < 1:
            raise WorkloadError(f"max_num_batched_tokens must be at least 1, got {self.max_num_batched_tokens}")
        if self.kv_tokens < self.block_tokens:
            raise WorkloadError(f"the KV cache holds {self.kv_tokens} tokens, less than one block")
        if not self.request_s >= 0:
            raise WorkloadError(f"request_s must not be negative, got {self.request_s:g}")
        if self.scheduling not in ("vllm", "llama.cpp"):
            raise WorkloadError(f"scheduling is vllm or llama.cpp, not {self.scheduling!r}")
        if self.scheduling == "llama.cpp" and self.max_num_seqs > min(
            self.micro_batch_tokens, self.max_num_batched_tokens
        ):
            raise WorkloadError(
                f"{self.max_num_seqs} slots need batches and micro-batches of as many tokens at least, got "
                f"{self.max_num_batched_tokens} and {self.micro_batch_tokens}"
            )
        if self.scheduling == "llama.cpp" and self.longest_request < 1:
            raise WorkloadError(f"{self.kv_tokens} tokens of cache are less than a page for each of the slots")
        if not 0 <= self.watermark < 1:
            raise WorkloadError(f"watermark must be at least 0 and below 1, got {self.watermark:g}")

    @property
    def longest_request(self) -> int:
        """Tokens of one request that can be kept: the whole cache, or a slot's share of it in whole pages."""
        if self.scheduling == "vllm":
            return self.blocks * self.block_tokens
        return self.blocks // self.max_num_seqs * self.block_tokens

    @property
    def blocks(self) -> int:
        """Whole pages of the KV cache."""
        return self.kv_tokens // self.block_tokens


@dataclass(frozen=True)
class Autoscaler:
    """Replicas follow the requests in flight."""

    least: int
    most: int
    target_in_flight: float
    """Requests in flight that one replica is meant for."""
    cold_start_s: float = 60.0
    down_delay_s: float = 300.0
    """How long fewer must have been wanted before one goes."""
    interval_s: float = 15.0

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise WorkloadError(f"autoscaling needs 1 <= fewest <= most replicas, got {self.least} and {self.most}")
        if not self.target_in_flight > 0 or not self.interval_s > 0:
            raise WorkloadError("autoscaling needs a target in flight and an interval above 0")
        if not self.cold_start_s >= 0 or not self.down_delay_s >= 0:
            raise WorkloadError("cold start and scale-down delay must not be negative")


@dataclass(frozen=True)
class Fleet:
    """Replicas behind a router."""

    replicas: int = 1
    router: Router = "round-robin"
    autoscaler: Autoscaler | None = None

    def __post_init__(self) -> None:
        if self.replicas < 1:
            raise WorkloadError(f"a fleet needs at least one replica, got {self.replicas}")
        if self.router not in ROUTERS:
            raise WorkloadError(f"the router is one of {', '.join(ROUTERS)}, not {self.router!r}")

    @property
    def size(self) -> int:
        """Replicas that there can be."""
        return self.autoscaler.most if self.autoscaler else self.replicas
