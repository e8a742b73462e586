"""An `Architecture` from a Hugging Face config.json: parameters counted matrix by matrix, caches by layer.

Counts follow the modelling code in github.com/huggingface/transformers; tests compare them with published totals.
"""

from __future__ import annotations

from rackrate.errors import UserError
from rackrate.models.architecture import Architecture, Parameters
from rackrate.models.config_values import ConfigValues
from rackrate.models.hf_attention import attention
from rackrate.models.hf_defaults import source, text_type, with_defaults
from rackrate.models.hf_families import FAMILIES, UNREADABLE, Family
from rackrate.models.hf_feed_forward import feed_forward
from rackrate.models.hf_gemma4 import gemma4_layers
from rackrate.models.hf_quantisation import plain_format, published_format, stated_cache
from rackrate.models.hf_shape import (
    CONTEXT,
    EXPERTS,
    LAYERS,
    VOCABULARY,
    Counts,
    Shape,
    layer_kinds,
    read_shape,
    stated_context,
)
from rackrate.models.hf_state import fixed_state

TEXT_PARTS = ("text_config", "llm_config", "language_config", "language_model")


def unknown_type(config: ConfigValues) -> str | None:
    """The model_type of a config that no known family has; None where it is known, or there is none."""
    text = next((inner for part in TEXT_PARTS if (inner := config.nested(part)) is not None), config)
    outer = config.text("model_type") or ""
    model_type = text.text("model_type") or text_type(outer) or outer
    return None if not model_type or {model_type, outer} & set(FAMILIES) else model_type


def architecture_of_config(
    config: ConfigValues, name: str, sidecar: ConfigValues | None = None, *, weights_stated: bool = False
) -> tuple[Architecture, list[str]]:
    """The architecture that a config.json describes, and sentences about what it leaves open.

    Args:
        config: the whole file.
        name: of the model.
        sidecar: hf_quant_config.json beside it.
        weights_stated: the user names the weight format, so an unknown one in the file does not matter.

    Raises:
        UserError: a key is missing or absurd, or this type of model cannot be computed; file and key are named.
    """
    text = next((inner for part in TEXT_PARTS if (inner := config.nested(part)) is not None), config)
    notes: list[str] = []
    text, left_out = with_defaults(config, text)
    family = _family(config, text, notes)
    if left_out:
        notes.append(
            f"{config.file}: {text.prefix.rstrip('.') or 'it'} leaves out {', '.join(left_out)}: taken from the class "
            f"of {text.text('model_type')} in {source()}"
        )
    if config.nested("vision_config") or config.nested("audio_config"):
        notes.append(f"{config.file}: vision or audio parts are not counted, their size is not in the config")
    shape = read_shape(text, family)
    counts = Counts()
    kinds = layer_kinds(text, shape, family)
    vocabulary = text.whole(*VOCABULARY)
    tied = text.flag("tie_word_embeddings", default=config.flag("tie_word_embeddings", default=family.tied))
    width = text.whole("word_embed_proj_dim", default=shape.hidden)  # of the words, in OPT-350m another
    counts.embedding = vocabulary * width
    if width != shape.hidden:
        counts.attention += 2 * width * shape.hidden
    if family.positions is not None:
        counts.embedding += (shape.context + family.positions) * shape.hidden
    counts.head = 0 if tied else vocabulary * width
    if text.flag("lm_head_bias", default=family.head_bias):
        counts.vectors += vocabulary
    if family.by_layer:
        caches, experts, widest = gemma4_layers(text, shape, kinds, counts)
    else:
        caches = attention(text, shape, family, kinds, counts)
        caches += fixed_state(text, shape, kinds, counts)
        experts, widest = feed_forward(text, shape, family, kinds, counts)
        _norms(text, shape, family, kinds, counts)
    if sum(vars(counts).values()) > MOST_PARAMETERS:
        raise UserError(
            f"{config.file}: its sizes make {sum(vars(counts).values()):.3g} parameters, more than any "
            "model has: one of them is wrong"
        )
    stated = stated_context(text)
    if stated is not None and shape.context != stated:
        notes.append(
            f"{config.file}: the context is {shape.context:,} tokens by its rope_scaling, where {text.prefix}"
            f"{CONTEXT[0]} says {stated:,}"
        )
    if stated is None:
        notes.append(
            f"{config.file}: the key {text.prefix}{CONTEXT[0]} is missing: the context is taken as {shape.context:,} "
            "tokens"
        )
    kv_heads = max((group.kv_heads for group in caches if group.kind == "grouped"), default=shape.kv_heads)
    try:
        weights = plain_format(config, text) if weights_stated else published_format(config, text, sidecar)
    except UserError:
        if not weights_stated:
            raise
        weights = "bf16"
    return Architecture(
        name=name,
        layers=shape.layers,
        hidden_size=shape.hidden,
        heads=shape.heads,
        kv_heads=kv_heads,
        head_dim=shape.head_dim,
        vocabulary=vocabulary,
        context_tokens=shape.context,
        widest_feed_forward=widest,
        parameters=Parameters(**vars(counts)),
        caches=tuple(caches),
        experts=experts,
        gated=family.gated,
        native_weights=weights,
        native_cache=stated_cache(config, text, sidecar),
        origin=config.file,
    ), notes


NEEDED: tuple[tuple[tuple[str, ...], frozenset[str]], ...] = (
    (("kv_lora_rank",), frozenset({"deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2"})),
    (
        EXPERTS,
        frozenset(
            {"deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "mixtral", "qwen2_moe", "qwen3_moe", "qwen3_next",
             "phimoe", "olmoe", "gpt_oss", "glm4_moe", "minimax_m2"}
        ),
    ),
)  # fmt: skip
"""Keys without which a family would be taken for one of another kind of attention, or for a dense one."""
MOST_PARAMETERS = 10**15
"""A thousand trillion: three hundred times the largest published model."""


def _family(config: ConfigValues, text: ConfigValues, notes: list[str]) -> Family:
    model_type = text.text("model_type") or config.text("model_type") or ""
    outer = config.text("model_type") or ""
    for item in (model_type, outer):
        if item in UNREADABLE:
            raise UserError(
                f"{config.file}: model_type {item!r} cannot be computed from its config ({UNREADABLE[item]}); the "
                "header of a GGUF file of it can be read"
            )
    if config.flag("is_encoder_decoder"):
        raise UserError(f"{config.file}: is_encoder_decoder is true; only decoders of text are known")
    if not model_type and text.optional(*LAYERS) is None:
        raise UserError(f"{config.file}: the key model_type is missing, and so are the sizes of a decoder of text")
    family = FAMILIES.get(model_type) or FAMILIES.get(outer)
    if family is None:
        unknown = f"the model_type {model_type!r} is not known" if model_type else "the key model_type is missing"
        notes.append(f"{config.file}: {unknown}; read as Llama's shape, so parameters and KV cache may be far off")
        family = Family()
    for keys, types in NEEDED:
        if model_type in types and all(text.values.get(key) is None for key in keys):
            raise UserError(
                f"{config.file}: the key {text.prefix}{keys[0]}"
                + (f" (or {', '.join(keys[1:])})" if keys[1:] else "")
                + f" is missing, which every {model_type} has"
            )
    return family


def _norms(text: ConfigValues, shape: Shape, family: Family, kinds: list[str], counts: Counts) -> None:
    each = family.norm_vectors * shape.hidden
    per_layer = family.norms_per_layer
    if text.text("model_type") == "falcon" and (
        text.flag("new_decoder_architecture") or not text.flag("parallel_attn", default=True)
    ):
        per_layer = text.whole("num_ln_in_parallel_attn", default=2)
    if text.text("model_type") == "stablelm" and text.flag("use_parallel_residual"):
        per_layer = 1
    last = 0 if text.values.get("do_layer_norm_before") is False else each  # OPT-350m norms after each part instead
    counts.vectors += len(kinds) * per_layer * each + last
    if family.embedding_norm:
        counts.vectors += each
    counts.vectors += len(kinds) * family.extra_vectors
