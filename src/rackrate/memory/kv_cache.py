"""What a request keeps in memory: bytes per token by kind of attention, on a rank, for a whole request."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rackrate.models.architecture import Architecture, CacheGroup

FP8_BYTES = 1.0


def kv_bytes_per_token(layers: int, kv_heads: int, head_dim: int, value_bytes: float) -> float:
    """KV cache that one token of context occupies, all layers. [byte/token]

    2 * L * H_kv * d_h * b (a key and a value); multi-head and grouped-query, not latent attention.

    >>> kv_bytes_per_token(layers=32, kv_heads=8, head_dim=128, value_bytes=2)    # Llama-3-8B, fp16
    131072
    """
    return 2 * layers * kv_heads * head_dim * value_bytes


def latent_bytes_per_token(layers: int, latent_values: int, value_bytes: float) -> float:
    """Cache that one token occupies under multi-head latent attention, all layers. [byte/token]

    L * (kv_lora_rank + rope_head_dim) * b: one compressed vector serves as key and value of all heads
    (DeepSeek-V2, arXiv:2405.04434, section 2.1).

    >>> latent_bytes_per_token(layers=61, latent_values=512 + 64, value_bytes=2)    # DeepSeek-V3, bf16
    70272
    """
    return layers * latent_values * value_bytes


def kv_heads_on_rank(kv_heads: int, tp: int) -> int:
    """KV heads that one of `tp` ranks keeps: its share, at least one. [head]

    >>> kv_heads_on_rank(8, 4), kv_heads_on_rank(4, 8)
    (2, 1)
    """
    return max(1, math.ceil(kv_heads / tp))


def group_token_bytes(group: CacheGroup, value_bytes: float, tp: int = 1) -> float:
    """Cache of one token in all layers of a group, on one of `tp` ranks. [byte/token]

    KV heads are split over ranks; with fewer heads than ranks each rank keeps a copy of one. A latent vector cannot
    be split. A fixed state has no bytes per token. An indexer's key has bytes of its own, and an fp8 cache beside one
    keeps rotary values in 16 bits.

    >>> group_token_bytes(CacheGroup("latent", 61, latent_values=576, mixed_rotary_values=64), 1.0)    # 61 x 656
    40016.0
    """
    if group.kind == "state":
        return 0.0
    if group.token_bytes:
        return float(group.layers * group.token_bytes)
    if group.kind == "latent" and group.mixed_rotary_values and value_bytes == FP8_BYTES:
        plain = group.latent_values - group.mixed_rotary_values
        return float(group.layers * (plain + 4 * math.ceil(plain / 128) + 2 * group.mixed_rotary_values))
    if group.kind == "latent":
        return latent_bytes_per_token(group.layers, group.latent_values, value_bytes)
    heads = kv_heads_on_rank(group.kv_heads, tp)
    return group.layers * heads * (group.key_dim + group.value_dim) * value_bytes


def group_request_bytes(
    group: CacheGroup, tokens: int, value_bytes: float, tp: int = 1, block_tokens: int = 1, beyond_window: int = 0
) -> float:
    """Cache of one request of `tokens`, in all layers of a group, on one of `tp` ranks. [byte]

    A sliding window keeps the last `window_tokens` only, and what an engine keeps `beyond_window`; tokens are given out
    in whole blocks.

    >>> window = CacheGroup("grouped", layers=12, kv_heads=8, key_dim=64, value_dim=64, window_tokens=128)
    >>> group_request_bytes(window, 8192, 2) == group_request_bytes(window, 128, 2) == 12 * 8 * 128 * 128 * 2
    True
    """
    if group.kind == "state":
        return group.layers * group.state_bytes / tp
    kept = tokens if group.window_tokens is None else min(tokens, group.window_tokens + beyond_window)
    blocks = math.ceil(kept / block_tokens)
    return blocks * block_tokens * group_token_bytes(group, value_bytes, tp)


def request_bytes(
    caches: Iterable[CacheGroup], tokens: int, value_bytes: float, tp: int = 1, block_tokens: int = 1,
    beyond_window: int = 0,
) -> float:  # fmt: skip
    """Cache of one request of `tokens` in all layers, on one of `tp` ranks (one pipeline stage). [byte]"""
    return sum(group_request_bytes(group, tokens, value_bytes, tp, block_tokens, beyond_window) for group in caches)


def kv_bytes_per_token_on_rank(architecture: Architecture, value_bytes: float, tp: int = 1) -> float:
    """Cache that one more token of context needs on one of `tp` ranks, all layers, windows not yet full. [byte/token]

    >>> from rackrate.catalog.load import load_catalog
    >>> from rackrate.models.architecture import of_catalogue_model
    >>> kv_bytes_per_token_on_rank(of_catalogue_model(load_catalog().model("llama-3-8b-instruct")), 2.0, tp=4)
    32768.0
    >>> kv_bytes_per_token_on_rank(of_catalogue_model(load_catalog().model("deepseek-v3")), 2.0, tp=8)    # not split
    70272.0
    """
    return sum(group_token_bytes(group, value_bytes, tp) for group in architecture.caches)
