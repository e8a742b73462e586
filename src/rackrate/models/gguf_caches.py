"""What a request keeps in memory under llama.cpp, layer by layer, from a GGUF file's metadata."""

from __future__ import annotations

from dataclasses import dataclass

from rackrate.errors import UserError
from rackrate.models.architecture import CacheGroup
from rackrate.models.gguf_architectures import FULL_ATTENTION_INTERVAL, GgufFamily, windowed_layers
from rackrate.models.gguf_keys import GgufKeys


@dataclass(frozen=True)
class Heads:
    """Heads and their sizes where all layers are alike."""

    query: int
    key_value: int
    key_dim: int
    value_dim: int


def caches_of(keys: GgufKeys, family: GgufFamily, layers: int, heads: Heads, hidden: int) -> tuple[CacheGroup, ...]:
    """Groups of layers that keep the same of a request. Raises UserError where a list does not fit the layers."""
    layers -= min(layers - 1, keys.whole("nextn_predict_layers", default=0))  # which serving does not run
    kv_heads = _kv_heads(keys, family, layers, heads)
    groups: list[CacheGroup] = []
    if _latent(keys):
        values = keys.whole("attention.kv_lora_rank") + keys.whole("rope.dimension_count")
        groups.append(CacheGroup("latent", sum(number > 0 for number in kv_heads), latent_values=values))
        index = keys.whole("attention.indexer.key_length", default=0)
        if index:
            groups.append(CacheGroup("latent", layers, latent_values=index))
    else:
        groups += _grouped(keys, family, kv_heads, heads)
    groups.append(_state(keys, family, kv_heads, heads, hidden))
    return tuple(group for group in groups if group.layers)


def _latent(keys: GgufKeys) -> bool:
    """Whether keys and values stay compressed. Files from before llama.cpp could (April 2025, pull request 12801) lack
    these two lengths, and are run with whole keys and values; so are MiniCPM3's and PLM's."""
    return bool(
        keys.whole("attention.kv_lora_rank", default=0)
        and keys.whole("attention.key_length_mla", default=0)
        and keys.whole("attention.value_length_mla", default=0)
    )


def _kv_heads(keys: GgufKeys, family: GgufFamily, layers: int, heads: Heads) -> list[int]:
    """KV heads of each layer; 0 where it keeps no keys and values of its own."""
    if family.recurrent == "all":
        return [0] * layers
    stated = keys.layered("attention.head_count_kv", layers)
    found = [heads.key_value] * layers if stated is None else list(stated[:layers])
    if family.recurrent == "interval":
        marked = keys.layered("attention.recurrent_layers", layers)
        every = keys.whole("full_attention_interval", default=FULL_ATTENTION_INTERVAL) or FULL_ATTENTION_INTERVAL
        found = [
            0 if (marked[number] if marked is not None else (number + 1) % every) else count
            for number, count in enumerate(found)
        ]
    kept = family.cached_layers
    if kept is None:
        kept = layers - min(layers, keys.whole("attention.shared_kv_layers", default=0))
    return [count if number < kept else 0 for number, count in enumerate(found)]


def _grouped(keys: GgufKeys, family: GgufFamily, kv_heads: list[int], heads: Heads) -> list[CacheGroup]:
    window, windowed = _windows(keys, family, len(kv_heads))
    small = (
        keys.whole("attention.key_length_swa", default=heads.key_dim),
        keys.whole("attention.value_length_swa", default=heads.value_dim),
    )
    found: dict[tuple[bool, int], int] = {}
    for number, count in enumerate(kv_heads):
        if count:
            found[windowed[number], count] = found.get((windowed[number], count), 0) + 1
    return [
        CacheGroup("grouped", layers, count, *small, window_tokens=window)
        if short
        else CacheGroup("grouped", layers, count, heads.key_dim, heads.value_dim)
        for (short, count), layers in sorted(found.items())
    ]


def _windows(keys: GgufKeys, family: GgufFamily, layers: int) -> tuple[int | None, list[bool]]:
    """The window, and which layers have it."""
    none = (None, [False] * layers)
    if not family.period or family.window_of_layers not in {None, layers}:
        return none
    window = keys.whole("attention.sliding_window", default=family.window or 0)
    if not window:
        return none
    if keys.architecture == "llama4":
        window = family.window or window  # its code takes chunks of 8,192 whatever the file says
    stated = keys.each("attention.sliding_window_pattern")
    if stated is not None:
        if len(stated) < layers:
            raise UserError(
                f"{keys.header.path}: {keys.architecture}.attention.sliding_window_pattern should have a value for "
                f"each of the {layers} layers, not {len(stated)}"
            )
        return window, [bool(value) for value in stated[:layers]]
    period = keys.whole("attention.sliding_window_pattern", default=family.period)
    if period <= 1 and family.period == 1:
        raise UserError(f"{keys.header.path}: the key {keys.architecture}.attention.sliding_window_pattern is missing")
    return window, windowed_layers(family, layers, max(1, period))


def _state(keys: GgufKeys, family: GgufFamily, kv_heads: list[int], heads: Heads, hidden: int) -> CacheGroup:
    """Layers with a fixed state, in float32 (llama-hparams.cpp, n_embd_r and n_embd_s)."""
    if family.recurrent == "none":
        return CacheGroup("state", 0)
    layers = sum(count == 0 for count in kv_heads)
    if family.recurrent == "beside":
        layers = len(kv_heads)
    widths = keys.layered("feed_forward_length", len(kv_heads))
    if keys.architecture.startswith("nemotron_h") and widths is not None:  # a layer is one thing
        layers = sum(count == 0 and width == 0 for count, width in zip(kv_heads, widths, strict=False))
    if layers == 0:
        return CacheGroup("state", 0)
    kernel = keys.whole("ssm.conv_kernel", default=1)
    if keys.architecture.startswith("lfm2"):
        values = hidden * (keys.whole("shortconv.l_cache") - 1)
    elif keys.architecture == "kimi-linear":
        dim = keys.whole("kda.head_dim")
        values = heads.query * dim * (3 * (kernel - 1) + dim)
    elif "rwkv" in keys.architecture:
        values = hidden * (keys.whole("token_shift_count", default=2) + keys.whole("wkv.head_size"))
    else:
        inner, state = keys.whole("ssm.inner_size"), keys.whole("ssm.state_size")
        values = inner * state + (inner + 2 * keys.whole("ssm.group_count", default=0) * state) * (kernel - 1)
    return CacheGroup("state", layers, state_bytes=4.0 * values)
