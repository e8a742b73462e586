"""Parameters and cache of attention layers: grouped (MHA, GQA, MQA) and latent (MLA)."""

from __future__ import annotations

from rackrate.models.architecture import CacheGroup, sparse_latent_groups
from rackrate.models.config_values import ConfigValues
from rackrate.models.hf_families import Family
from rackrate.models.hf_shape import Counts, Shape, window_tokens


def attention(text: ConfigValues, shape: Shape, family: Family, kinds: list[str], counts: Counts) -> list[CacheGroup]:
    """Counts the layers that attend to the context, and says what they cache of it."""
    full, windowed = kinds.count("full"), kinds.count("window")
    h, heads = shape.hidden, shape.heads
    rank = text.optional("kv_lora_rank")
    if rank is not None:
        return _latent_attention(text, shape, rank, full * (2 if family.doubled else 1), counts)
    if family.window_heads:
        return _by_kind(text, shape, {"full": full, "window": windowed}, counts)
    number = full + windowed
    query = heads * shape.head_dim
    key_value = shape.kv_heads * shape.head_dim
    gate = 2 if text.flag("attn_output_gate", default=family.output_gate) else 1
    counts.attention += number * (gate * h * query + query * h)
    counts.key_value += number * 2 * h * key_value
    biased = text.flag("attention_bias", "qkv_bias", "add_qkv_bias", "use_qkv_bias", "bias", default=family.qkv_bias)
    if biased:
        counts.vectors += number * (gate * query + 2 * key_value)
    if family.output_bias or (biased and family.bias_of_output):
        counts.vectors += number * h
    counts.vectors += number * family.sinks * heads
    norm = family.query_key_norm
    if norm == "none" and (text.values.get("use_qk_norm") is True or text.values.get("qk_layernorm") is True):
        norm = family.optional_norm
    if norm == "head":
        counts.vectors += number * 2 * shape.head_dim
    elif norm == "all":
        counts.vectors += number * (query + key_value)
    groups: list[CacheGroup] = []
    if full:
        groups.append(CacheGroup("grouped", full, shape.kv_heads, shape.head_dim, shape.head_dim))
    if windowed:
        groups.append(
            CacheGroup(
                "grouped", windowed, shape.kv_heads, shape.head_dim, shape.head_dim, window_tokens=window_tokens(text)
            )
        )
    return groups


def _by_kind(text: ConfigValues, shape: Shape, kinds: dict[str, int], counts: Counts) -> list[CacheGroup]:
    """MiMo-V2: keys and values differ in size, and layers with a window have heads and sinks of their own."""
    groups: list[CacheGroup] = []
    for kind, layers in kinds.items():
        short = kind == "window"
        heads, kv_heads, key = shape.heads, shape.kv_heads, shape.head_dim
        value = text.whole("v_head_dim", default=key)
        if short:
            heads = text.whole("swa_num_attention_heads", default=heads)
            kv_heads = text.whole("swa_num_key_value_heads", default=2 * kv_heads)
            key, value = text.whole("swa_head_dim", default=key), text.whole("swa_v_head_dim", default=value)
        counts.attention += layers * shape.hidden * heads * (key + value)
        counts.key_value += layers * shape.hidden * kv_heads * (key + value)
        sinks = "add_swa_attention_sink_bias" if short else "add_full_attention_sink_bias"
        counts.vectors += layers * heads * text.flag(sinks, default=short)
        if layers:
            window = window_tokens(text) if short else None
            groups.append(CacheGroup("grouped", layers, kv_heads, key, value, window_tokens=window))
    return groups


def _latent_attention(text: ConfigValues, shape: Shape, rank: int, layers: int, counts: Counts) -> list[CacheGroup]:
    h, heads = shape.hidden, shape.heads
    rope = text.whole("qk_rope_head_dim")
    nope = text.whole("qk_nope_head_dim")
    value = text.whole("v_head_dim")
    query_rank = text.optional("q_lora_rank")
    query = heads * (nope + rope)
    if query_rank is None:
        counts.attention += layers * h * query
    else:
        counts.latent += layers * h * query_rank
        counts.attention += layers * query_rank * query
        counts.vectors += layers * query_rank
    counts.latent += layers * h * (rank + rope)
    counts.attention += layers * (rank * heads * (nope + value) + heads * value * h)
    counts.vectors += layers * rank
    if text.flag("mla_use_output_gate"):
        counts.attention += layers * h * heads * value
    index_dim = text.optional("index_head_dim")
    if index_dim is None:
        return [CacheGroup("latent", layers, latent_values=rank + rope)]
    indexed = _indexed_layers(text, layers)
    index_heads = text.whole("index_n_heads")
    counts.latent += indexed * (
        (query_rank or h) * index_heads * index_dim + h * index_dim + h * index_heads
    )  # queries, key, weight of each head
    counts.vectors += indexed * 2 * index_dim
    return sparse_latent_groups(layers, rank, rope, indexed, index_dim)


def _indexed_layers(text: ConfigValues, layers: int) -> int:
    """Layers with an indexer of their own; the others take the choice of the one before them."""
    kinds = text.words("indexer_types", layers)
    if kinds is not None:
        return kinds.count("full")
    frequency, offset = (
        text.whole("index_topk_freq", default=1),
        text.whole("index_skip_topk_offset", default=0, least=0),
    )
    return sum(max(number - offset + 1, 0) % frequency == 0 for number in range(layers))
