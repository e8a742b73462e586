"""What a model is made of, as far as memory and time depend on it: parameters by kind, and what a request caches.

An `Architecture` comes from a catalogue entry (`of_catalogue_model`), or from files by `models.read_model.read_model`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from rackrate.catalog.types import Model
from rackrate.errors import CatalogError
from rackrate.models.formats import NATIVE_FORMATS

CacheKind = Literal["grouped", "latent", "state"]


@dataclass(frozen=True)
class CacheGroup:
    """Layers that keep the same kind of memory of a request.

    grouped: a key and a value per KV head and token (MHA, GQA, MQA); split over tensor-parallel ranks by head.
    latent: one compressed vector per token (MLA); every rank keeps all of it.
    state: a fixed number of bytes per request, however long (linear attention, SSM); split by head.
    """

    kind: CacheKind
    layers: int
    kv_heads: int = 1
    key_dim: int = 0
    value_dim: int = 0
    latent_values: int = 0
    """Rotary part included."""
    mixed_rotary_values: int = 0
    """Of a latent vector that fp8 keeps in parts: so many rotary values in 16 bits, and a float32 scale for each 128 of
    the others (DeepSeek's sparse attention). 0: all values alike."""
    token_bytes: int = 0
    """Of one token in one layer, whatever the format of the cache; 0: values of that format. [byte]"""
    window_tokens: int | None = None
    """Tokens that a layer looks back; None: the whole context."""
    state_bytes: float = 0.0
    """Of one layer and request. [byte]"""


@dataclass(frozen=True)
class Parameters:
    """How many parameters of each kind, all layers. Kinds differ in number format and in how they are split."""

    embedding: int = 0
    """Token and position embeddings. A tied output matrix is this one."""
    head: int = 0
    """The output matrix; 0 where it is tied to the embedding."""
    attention: int = 0
    """Matrices of attention that are split over ranks: query, output, MLA's up-projections."""
    key_value: int = 0
    """Key and value projections, split by KV head."""
    latent: int = 0
    """MLA's down-projections and sparse-attention indexers; every rank keeps all of them."""
    state: int = 0
    """Matrices of linear-attention and SSM layers."""
    feed_forward: int = 0
    """Dense feed-forward matrices, shared experts among them."""
    experts: int = 0
    """Routed experts."""
    router: int = 0
    vectors: int = 0
    """Norms, biases, convolutions and other small things, which no engine quantises."""
    vision: int = 0
    """Vision tower and projector, kept in 16 bits."""

    @property
    def total(self) -> int:
        """All parameters."""
        return sum(int(getattr(self, field.name)) for field in fields(self))


@dataclass(frozen=True)
class RoutedExperts:
    """A mixture of experts."""

    routed: int
    active: int
    layers: int
    """Layers that have it."""
    parameters_each: int
    """Of one expert in one layer."""
    width: int | None = None
    """Of what goes into it and comes out; None: the hidden size."""
    biases_each: int = 0
    """Of one expert in one layer, counted among the vectors."""


@dataclass(frozen=True)
class Architecture:
    """A model, as far as memory and time depend on it."""

    name: str
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context_tokens: int
    widest_feed_forward: int
    """Inner width of the widest dense feed-forward, or of the experts that one token passes."""
    parameters: Parameters
    caches: tuple[CacheGroup, ...]
    experts: RoutedExperts | None = None
    gated: bool = True
    """A feed-forward has three matrices (gate, up, down), else two."""
    native_weights: str = "bf16"
    """The format (of models.formats) in which the weights are published."""
    native_cache: str | None = None
    """The format of the KV cache that the checkpoint states; None: it states none."""
    rotary_values: int = 64
    """Of the values of a latent vector, those that carry the position. Taken as 64 where the model is read from files,
    as in all models of the catalogue."""
    origin: str = ""
    """Where these facts are from."""

    @property
    def active_parameters(self) -> int:
        """Parameters that one token of text passes: all but the experts that it does not choose, and no vision tower.

        >>> from rackrate.catalog.load import load_catalog
        >>> of_catalogue_model(load_catalog().model("mixtral-8x7b-instruct")).active_parameters
        12879925248
        """
        text = self.parameters.total - self.parameters.vision
        if self.experts is None:
            return text
        idle = self.experts.routed - self.experts.active
        return text - idle * self.experts.layers * (self.experts.parameters_each + self.experts.biases_each)

    @property
    def expert_parameters(self) -> int:
        """Parameters of all routed experts, their biases among them."""
        if self.experts is None:
            return 0
        return self.parameters.experts + self.experts.layers * self.experts.routed * self.experts.biases_each

    @property
    def expert_inner_width(self) -> int:
        """Inner width of one routed expert of three matrices; 0 without experts."""
        if self.experts is None:
            return 0
        return max(1, self.experts.parameters_each // (3 * (self.experts.width or self.hidden_size)))

    @property
    def latent(self) -> CacheGroup | None:
        """The layers with latent attention, all of one kind; an indexer's cache is not among them."""
        return next((group for group in self.caches if group.kind == "latent"), None)

    @property
    def window_tokens(self) -> int | None:
        """Tokens that layers with a window look back; None where no layer has one."""
        return next((group.window_tokens for group in self.caches if group.window_tokens is not None), None)

    @property
    def tied_embeddings(self) -> bool:
        """The output matrix is the token embedding."""
        return self.parameters.head == 0

    @property
    def attention_layers(self) -> int:
        """Layers whose cache grows with the context."""
        return sum(group.layers for group in self.caches if group.kind != "state")


def sparse_latent_groups(
    layers: int, rank: int, rotary: int, index_layers: int = 0, index_values: int = 0
) -> list[CacheGroup]:
    """Latent attention, with the cache of its indexer where it has one (DeepSeek-V3.2).

    Engines keep the indexer's key in fp8 with a float32 scale for each 128 values, whatever the format of the cache,
    and of a latent vector in fp8 the rotary values in 16 bits: 132 and 656 bytes at DeepSeek's sizes (vLLM,
    fp8_ds_mla; sgl-project/sglang pull request 11309).

    >>> sparse_latent_groups(61, 512, 64, 61, 128)[1].token_bytes
    132
    """
    if not index_values:
        return [CacheGroup("latent", layers, latent_values=rank + rotary)]
    scaled = index_values + 4 * math.ceil(index_values / 128)
    return [
        CacheGroup("latent", layers, latent_values=rank + rotary, mixed_rotary_values=rotary),
        CacheGroup("latent", index_layers, latent_values=index_values, token_bytes=scaled),
    ]


def of_catalogue_model(model: Model, *, rounded: bool = False) -> Architecture:
    """The architecture of a catalogue entry. The parts add up to the entry's published number of parameters.

    Matrices whose shape the entry gives are computed from it. What is left over are norms and biases, or where the
    entry does not give the shapes (latent attention, linear attention) those layers' matrices.

    Args:
        model: the entry.
        rounded: its numbers of parameters may be rounded, as those of a published benchmark, and count for more than
            its shapes. Routed experts then follow from what a token leaves out, and what is left over may be negative.

    Raises:
        CatalogError: the entry gives too few shapes, or fewer parameters than they need and is not `rounded`.

    >>> from rackrate.catalog.load import load_catalog
    >>> of_catalogue_model(load_catalog().model("llama-3-8b-instruct")).parameters.total
    8030261248
    """
    if model.experts is None and model.intermediate_size is None:
        raise CatalogError(f"the model {model.id} has neither intermediate_size nor experts in the catalogue")
    h = model.hidden_size
    embedding = model.vocabulary * h
    grouped_layers = model.layers
    if model.attention == "hybrid" or model.latent is not None:
        grouped_layers = model.full_attention_layers or model.layers
    router = experts_all = 0
    routed: RoutedExperts | None = None
    dense_layers = model.layers
    feed_forward = widest = 0
    if model.experts is not None:
        item = 3 * (model.experts.width or h) * model.experts.intermediate_size
        moe_layers = model.layers - model.experts.dense_layers
        dense_layers = model.experts.dense_layers
        biases = 2 * model.experts.intermediate_size + (model.experts.width or h) if model.experts.biases else 0
        routed = RoutedExperts(
            model.experts.routed, model.experts.active, moe_layers, item, model.experts.width, biases
        )
        experts_all = moe_layers * model.experts.routed * item
        router = moe_layers * model.experts.routed * h
        feed_forward = moe_layers * model.experts.shared * 3 * h * model.experts.intermediate_size
        widest = (model.experts.active + model.experts.shared) * model.experts.intermediate_size
    if dense_layers:
        inner = model.intermediate_size or 0
        feed_forward += dense_layers * 3 * h * inner
        widest = max(widest, inner)
    if rounded and routed is not None and model.active_parameters is not None and routed.active < routed.routed:
        # a token takes active of routed: parameters - active_parameters = routed experts x (1 - active / routed)
        stated = (model.parameters - model.active_parameters) / (1 - routed.active / routed.routed)
        experts_all = round(min(stated, model.parameters)) - routed.layers * routed.routed * routed.biases_each
    known = {
        "embedding": embedding,
        "head": 0 if model.tied_embeddings else embedding,
        "feed_forward": feed_forward,
        "experts": experts_all,
        "router": router,
        "vision": model.vision_parameters or 0,
    }
    if model.latent is not None:
        known["latent"] = grouped_layers * h * (model.latent.kv_lora_rank + model.latent.rope_head_dim)
    else:
        known["attention"] = grouped_layers * 2 * h * model.heads * model.head_dim
        known["key_value"] = grouped_layers * 2 * h * model.kv_heads * model.head_dim
    rest = model.parameters - sum(known.values())
    if rest < 0 and not rounded:
        raise CatalogError(
            f"the model {model.id} has {model.parameters} parameters in the catalogue, fewer than its shapes need"
        )
    if model.latent is not None:
        known["attention"] = rest
    elif model.attention == "hybrid":
        known["state"] = rest
    else:
        known["vectors"] = rest
    return Architecture(
        name=model.id,
        layers=model.layers,
        hidden_size=h,
        heads=model.heads,
        kv_heads=model.kv_heads,
        head_dim=model.head_dim,
        vocabulary=model.vocabulary,
        context_tokens=model.context_tokens,
        widest_feed_forward=widest,
        parameters=Parameters(**known),
        caches=_caches(model, grouped_layers),
        experts=routed,
        rotary_values=64 if model.latent is None else model.latent.rope_head_dim,
        native_weights=NATIVE_FORMATS.get(model.weight_format, model.weight_format),
        origin=f"catalogue entry {model.id}",
    )


def _caches(model: Model, grouped_layers: int) -> tuple[CacheGroup, ...]:
    groups: list[CacheGroup] = []
    if model.latent is not None:
        groups += sparse_latent_groups(
            grouped_layers, model.latent.kv_lora_rank, model.latent.rope_head_dim,
            model.latent.index_layers or grouped_layers, model.latent.index_values,
        )  # fmt: skip
    else:
        full = model.full_attention_layers if model.full_attention_layers is not None else model.layers
        groups.append(CacheGroup("grouped", full, model.kv_heads, model.head_dim, model.head_dim))
        windowed = model.layers - full
        if windowed and model.sliding_window_tokens is not None:
            groups.append(
                CacheGroup(
                    "grouped",
                    windowed,
                    model.kv_heads,
                    model.head_dim,
                    model.head_dim,
                    window_tokens=model.sliding_window_tokens,
                )
            )
    if model.fixed_state is not None:
        groups.append(CacheGroup("state", model.fixed_state.layers, state_bytes=model.fixed_state.bytes_per_layer))
    return tuple(group for group in groups if group.layers)
