"""Gemma 4: layers with windows and layers without differ in heads and their size, and the last layers share caches.

Follows modeling_gemma4.py of github.com/huggingface/transformers.
"""

from __future__ import annotations

from rackrate.errors import UserError
from rackrate.models.architecture import CacheGroup, RoutedExperts
from rackrate.models.config_values import ConfigValues
from rackrate.models.hf_shape import EXPERTS, INNER, Counts, Shape, window_tokens


def gemma4_layers(
    text: ConfigValues, shape: Shape, kinds: list[str], counts: Counts
) -> tuple[list[CacheGroup], RoutedExperts | None, int]:
    """Counts all layers. Returns what they cache, the experts, and the widest inner width that a token passes."""
    layers, h = shape.layers, shape.hidden
    shared = text.whole("num_kv_shared_layers", default=0, least=0)
    if shared >= layers:
        raise UserError(f"{text.file}: {text.prefix}num_kv_shared_layers ({shared}) should be fewer than the {layers}")
    if text.listed("layer_types") is None:
        kinds = [*kinds[:-1], "full"]  # the last layer sees everything, whatever the pattern
    same = text.flag("attention_k_eq_v")
    inner = text.whole(*INNER)
    groups: dict[str, int] = {}
    for number, kind in enumerate(kinds):
        dim, kv_heads = _heads(text, shape, kind)
        own = number < layers - shared
        counts.attention += 2 * h * shape.heads * dim
        counts.vectors += dim
        if own:
            projections = 1 if same and kind == "full" else 2  # a full layer's keys may serve as values
            counts.key_value += projections * h * kv_heads * dim
            counts.vectors += dim
            groups[kind] = groups.get(kind, 0) + 1
        wide = 2 if text.flag("use_double_wide_mlp") and not own else 1
        counts.feed_forward += 3 * h * inner * wide
        counts.vectors += 4 * h + 1  # norms, and a scale of the layer
    counts.vectors += h
    _inputs_by_layer(text, shape, counts)
    experts, passed = _experts(text, shape, counts)
    double = 2 if text.flag("use_double_wide_mlp") and shared else 1
    caches: list[CacheGroup] = []
    for kind in ("full", "window"):
        if kind in groups:
            dim, kv_heads = _heads(text, shape, kind)
            window = window_tokens(text) if kind == "window" else None
            caches.append(CacheGroup("grouped", groups[kind], kv_heads, dim, dim, window_tokens=window))
    return caches, experts, double * inner + passed


def _heads(text: ConfigValues, shape: Shape, kind: str) -> tuple[int, int]:
    """Head size and KV heads of a kind of layer."""
    if kind != "full":
        return shape.head_dim, shape.kv_heads
    by_layer = text.nested("per_layer_config")  # as transformers 5 writes it
    if by_layer is not None and by_layer.values:
        one = by_layer.nested(next(iter(by_layer.values))) or by_layer
        return one.whole("head_dim", default=512), one.whole("num_key_value_heads", default=shape.kv_heads)
    dim = text.whole("global_head_dim", default=512)
    if text.flag("attention_k_eq_v"):
        return dim, text.whole("num_global_key_value_heads", default=shape.kv_heads)
    return dim, shape.kv_heads


def _inputs_by_layer(text: ConfigValues, shape: Shape, counts: Counts) -> None:
    """A second embedding, of which each layer gets a part (E2B, E4B)."""
    width = text.whole("hidden_size_per_layer_input", default=256, least=0)
    if not width:
        return
    counts.embedding += text.whole("vocab_size_per_layer_input", default=262_144) * shape.layers * width
    counts.feed_forward += shape.hidden * shape.layers * width  # into all layers' parts at once
    counts.feed_forward += shape.layers * 2 * shape.hidden * width
    counts.vectors += shape.layers * shape.hidden + width


def _experts(text: ConfigValues, shape: Shape, counts: Counts) -> tuple[RoutedExperts | None, int]:
    """Routed experts beside the dense feed-forward of each layer."""
    if not text.flag("enable_moe_block"):
        return None, 0
    routed, active = text.whole(*EXPERTS), text.whole("top_k_experts", "num_experts_per_tok")
    if active > routed:
        raise UserError(f"{text.file}: {active} experts per token are more than the {routed} that there are")
    inner = text.whole("moe_intermediate_size", "expert_intermediate_size")
    item = 3 * shape.hidden * inner
    counts.experts += shape.layers * routed * item
    counts.router += shape.layers * shape.hidden * routed
    counts.vectors += shape.layers * (4 * shape.hidden + routed)  # three norms, and scales of the router
    return RoutedExperts(routed, active, shape.layers, item), active * inner
