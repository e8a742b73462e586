"""A catalogue entry for a model that was read from files, so that step times can be predicted as for any other."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Literal

from rackrate.catalog.types import Experts, FixedState, LatentAttention, Model, NumberFormat, Source
from rackrate.models.architecture import Architecture, CacheGroup
from rackrate.models.formats import weight_format


def model_of(architecture: Architecture) -> Model:
    """The same facts as a catalogue entry. What a step computes and reads follows from them as from a listed model's.

    >>> from rackrate.catalog.load import load_catalog
    >>> from rackrate.models.architecture import of_catalogue_model
    >>> listed = load_catalog().model("mixtral-8x7b-instruct")
    >>> read = model_of(of_catalogue_model(listed))
    >>> (read.parameters, read.active_parameters) == (listed.parameters, listed.active_parameters)
    True
    """
    groups = architecture.caches
    grouped = [group for group in groups if group.kind == "grouped"]
    latent = [group for group in groups if group.kind == "latent"]
    states = [group for group in groups if group.kind == "state"]
    windowed = [group for group in grouped if group.window_tokens is not None]
    full = sum(group.layers for group in grouped if group.window_tokens is None)
    if latent:
        full = latent[0].layers
    vision = architecture.parameters.vision
    experts = architecture.experts
    return Model(
        id=re.sub(r"[^A-Za-z0-9._:+-]", "-", architecture.name).lstrip("._:+-") or "model",
        name=architecture.name,
        family="read from files",
        parameters=architecture.parameters.total,
        active_parameters=None if experts is None else architecture.active_parameters + vision,
        layers=architecture.layers,
        hidden_size=architecture.hidden_size,
        intermediate_size=architecture.widest_feed_forward or None,
        feed_forward_parameters=architecture.parameters.feed_forward or None,
        heads=architecture.heads,
        kv_heads=architecture.kv_heads,
        head_dim=architecture.head_dim,
        vocabulary=architecture.vocabulary,
        context_tokens=architecture.context_tokens,
        tied_embeddings=architecture.parameters.head == 0,
        attention="mla" if latent else "hybrid" if states else _attention(architecture),
        sliding_window_tokens=windowed[0].window_tokens if windowed else None,
        full_attention_layers=full,
        latent=_latent(latent),
        fixed_state=_state(states),
        experts=None
        if experts is None
        else Experts(
            routed=experts.routed,
            active=experts.active,
            intermediate_size=max(1, experts.parameters_each // (3 * (experts.width or architecture.hidden_size))),
            dense_layers=architecture.layers - experts.layers,
            width=experts.width,
            biases=experts.biases_each > 0,
        ),
        vision_parameters=vision or None,
        weight_format=_number_format(architecture.native_weights),
        sources=(Source(source=architecture.origin or "read from files", date=datetime.now(UTC).date().isoformat()),),
    )


def _attention(architecture: Architecture) -> Literal["mha", "mqa", "gqa"]:
    if architecture.kv_heads == architecture.heads:
        return "mha"
    return "mqa" if architecture.kv_heads == 1 else "gqa"


def _latent(groups: list[CacheGroup]) -> LatentAttention | None:
    """The latent vector (its rotary part is not told apart: only their sum is cached), and an indexer's beside it."""
    if not groups:
        return None
    index = groups[1] if len(groups) > 1 else None
    rope = min(64, max(1, groups[0].latent_values - 1))
    return LatentAttention(
        kv_lora_rank=max(1, groups[0].latent_values - rope),
        rope_head_dim=rope,
        index_values=index.latent_values if index else 0,
        index_layers=index.layers if index else None,
    )


def _state(groups: list[CacheGroup]) -> FixedState | None:
    if not groups:
        return None
    layers = sum(group.layers for group in groups)
    size = sum(group.layers * group.state_bytes for group in groups) / layers
    return FixedState(layers=layers, bytes_per_layer=max(1, round(size)))


_FORMATS: dict[str, NumberFormat] = {"fp8": "fp8", "int8": "int8", "w4a16": "int4", "fp4": "fp4", "bnb": "int4"}


def _number_format(native: str) -> NumberFormat:
    """The catalogue's word for a weight format; of a GGUF file by its bits."""
    form = weight_format(native)
    if form.name in {"fp32", "fp16", "bf16"}:
        return form.name  # pyright: ignore[reportReturnType]
    return _FORMATS.get(form.family, "int8" if form.bits > 6.6 else "int4")
