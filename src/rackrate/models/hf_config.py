"""An `Architecture` from a Hugging Face config.json: parameters counted matrix by matrix, caches by layer.

Counts follow the modelling code in github.com/huggingface/transformers; tests compare them with published totals.
"""

from __future__ import annotations

from dataclasses import dataclass

from rackrate.errors import UserError, did_you_mean
from rackrate.models.architecture import Architecture, CacheGroup, Parameters, RoutedExperts
from rackrate.models.config_values import ConfigValues
from rackrate.models.hf_families import FAMILIES, UNREADABLE, Family
from rackrate.models.hf_quantisation import plain_format, published_format

TEXT_PARTS = ("text_config", "llm_config", "language_config", "language_model")


@dataclass
class _Counts:
    """Parameters by kind while they are being counted; the fields of `Parameters`."""

    embedding: int = 0
    head: int = 0
    attention: int = 0
    key_value: int = 0
    latent: int = 0
    state: int = 0
    feed_forward: int = 0
    experts: int = 0
    router: int = 0
    vectors: int = 0


@dataclass(frozen=True)
class _Shape:
    """The sizes that every part needs."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int


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
    model_type, family = _family(config, text, notes)
    if text is not config and (config.nested("vision_config") or config.nested("audio_config")):
        notes.append(f"{config.file}: vision or audio parts are not counted, their size is not in the config")
    shape = _shape(text)
    counts = _Counts()
    kinds = _layer_kinds(text, shape, family, model_type)
    vocabulary = text.whole("vocab_size", "padded_vocab_size", "n_vocab")
    tied = text.flag("tie_word_embeddings", default=config.flag("tie_word_embeddings", default=family.tied))
    counts.embedding = vocabulary * shape.hidden
    if family.positions is not None:
        counts.embedding += (shape.context + family.positions) * shape.hidden
    counts.head = 0 if tied else vocabulary * shape.hidden
    if family.head_bias:
        counts.vectors += vocabulary
    caches = _attention(text, shape, family, kinds, counts)
    caches += _fixed_state(text, shape, kinds, counts)
    experts, widest = _feed_forward(text, shape, family, kinds, counts)
    _norms(text, shape, family, kinds, counts)
    if sum(vars(counts).values()) > MOST_PARAMETERS:
        raise UserError(
            f"{config.file}: its sizes make {sum(vars(counts).values()):.3g} parameters, more than any "
            "model has: one of them is wrong"
        )
    if text.optional(*CONTEXT) is None:
        notes.append(
            f"{config.file}: the key {text.prefix}{CONTEXT[0]} is missing: the context is taken as {shape.context:,} "
            "tokens"
        )
    grouped = next((group for group in caches if group.kind == "grouped"), None)
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
        kv_heads=grouped.kv_heads if grouped else shape.kv_heads,
        head_dim=shape.head_dim,
        vocabulary=vocabulary,
        context_tokens=shape.context,
        widest_feed_forward=widest,
        parameters=Parameters(**vars(counts)),
        caches=tuple(caches),
        experts=experts,
        gated=family.gated,
        native_weights=weights,
        origin=config.file,
    ), notes


CONTEXT = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "max_seq_len", "n_ctx")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
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
MOST_HEAD_DIM = 65_536


def _family(config: ConfigValues, text: ConfigValues, notes: list[str]) -> tuple[str, Family]:
    model_type = text.text("model_type") or config.text("model_type") or ""
    outer = config.text("model_type") or ""
    for item in (model_type, outer):
        if item in UNREADABLE:
            raise UserError(
                f"{config.file}: model_type {item!r} cannot be computed from its config ({UNREADABLE[item]}); its "
                "safetensors or GGUF files give the size of the weights"
            )
    if config.flag("is_encoder_decoder"):
        raise UserError(f"{config.file}: is_encoder_decoder is true; only decoders of text are known")
    if not model_type and text.optional("num_hidden_layers", "n_layer", "n_layers", "num_layers") is None:
        raise UserError(f"{config.file}: the key model_type is missing, and so are the sizes of a decoder of text")
    family = FAMILIES.get(model_type) or FAMILIES.get(outer)
    if family is None:
        unknown = f"model_type {model_type!r} is not known here{did_you_mean(model_type, FAMILIES)}"
        notes.append(
            f"{config.file}: {unknown if model_type else 'the key model_type is missing'}; "
            "read as Llama's shape, so the number of parameters may be off"
        )
        family = Family()
    for keys, types in NEEDED:
        if model_type in types and all(text.values.get(key) is None for key in keys):
            raise UserError(
                f"{config.file}: the key {text.prefix}{keys[0]}"
                + (f" (or {', '.join(keys[1:])})" if keys[1:] else "")
                + f" is missing, which every {model_type} has"
            )
    return model_type, family


def _shape(text: ConfigValues) -> _Shape:
    blocks = text.listed("layers_block_type")
    layers = text.whole(
        "num_hidden_layers",
        "n_layer",
        "n_layers",
        "num_layers",
        default=None if blocks is None else len(blocks),
    )
    hidden = text.whole("hidden_size", "n_embd", "d_model", "dim")
    heads = text.whole("num_attention_heads", "n_head", "n_heads", "num_heads")
    if layers > 10_000:
        raise UserError(f"{text.file}: {text.prefix}num_hidden_layers should be at most 10,000, not {layers:,}")
    if text.values.get("multi_query") is True and not text.values.get("new_decoder_architecture"):
        kv_heads = 1  # Falcon-7B, StarCoder
    else:
        kv_heads = text.whole(
            "num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num", "n_kv_heads", default=heads
        )
    if heads % kv_heads:
        raise UserError(
            f"{text.file}: {text.prefix}num_attention_heads ({heads}) should be a multiple of num_key_value_heads "
            f"({kv_heads})"
        )
    head_dim = text.optional("head_dim", "attention_head_dim", "kv_channels")
    if text.optional("kv_lora_rank") is not None and text.optional("qk_nope_head_dim") is not None:
        head_dim = text.whole("qk_nope_head_dim") + text.whole("qk_rope_head_dim")
    if head_dim is not None and head_dim > MOST_HEAD_DIM:
        raise UserError(f"{text.file}: {text.prefix}head_dim should be at most {MOST_HEAD_DIM:,}, not {head_dim:,}")
    if head_dim is None:
        if hidden % heads and text.optional("kv_lora_rank") is None:
            raise UserError(
                f"{text.file}: {text.prefix}hidden_size ({hidden}) should be a multiple of num_attention_heads "
                f"({heads}), or head_dim be given"
            )
        head_dim = max(1, hidden // heads)
    context = text.whole(*CONTEXT, default=2048)
    return _Shape(layers, hidden, heads, kv_heads, head_dim, context)


def _layer_kinds(text: ConfigValues, shape: _Shape, family: Family, model_type: str) -> list[str]:
    """For each layer: full, window or linear attention, or what Nemotron-H puts there (mamba, dense, moe)."""
    pattern = text.text("hybrid_override_pattern")
    if pattern is not None:
        words = {"M": "mamba", "*": "full", "-": "dense", "E": "moe"}
        if len(pattern) != shape.layers or set(pattern) - set(words):
            raise UserError(
                f"{text.file}: {text.prefix}hybrid_override_pattern should have M, *, - or E for each of the "
                f"{shape.layers} layers"
            )
        return [words[letter] for letter in pattern]
    blocks = text.words("layers_block_type", shape.layers)
    if blocks is not None:
        words = {"mamba": "mamba", "attention": "full", "mlp": "dense", "moe": "moe"}
        if set(blocks) - set(words):
            raise UserError(
                f"{text.file}: {text.prefix}layers_block_type should have mamba, attention, mlp and moe only"
            )
        return [words[block] for block in blocks]
    linear = text.nested("linear_attn_config")
    if linear is not None:  # Kimi's delta attention; layers are counted from 1
        kda = set(linear.listed("kda_layers") or [])
        return ["linear" if number + 1 in kda else "full" for number in range(shape.layers)]
    every = text.optional("attn_layer_period")
    if every is not None:  # Jamba; the others are Mamba layers
        offset = text.whole("attn_layer_offset", default=0, least=0)
        return ["full" if number % every == offset else "mamba" for number in range(shape.layers)]
    window = text.optional("sliding_window", "attention_chunk_size")
    if text.values.get("use_sliding_window") is False:
        window = None
    stated = text.words("layer_types", shape.layers)
    if stated is not None:
        return [_kind(figure, window, text) for figure in stated]
    every = text.optional("full_attention_interval")
    if every is not None:
        return ["full" if (number + 1) % every == 0 else "linear" for number in range(shape.layers)]
    if window is None or window >= shape.context or family.window == "never":
        return ["full"] * shape.layers
    if family.window == "alternate":
        return ["window" if number % 2 == 0 else "full" for number in range(shape.layers)]
    if family.window == "pattern":
        step = text.whole("sliding_window_pattern", "_sliding_window_pattern", default=family.pattern)
        return ["full" if (number + 1) % step == 0 else "window" for number in range(shape.layers)]
    return ["window"] * shape.layers


def _kind(word: str, window: int | None, text: ConfigValues) -> str:
    if word in {"sliding_attention", "chunked_attention"}:
        return "full" if window is None else "window"
    if word in {"full_attention", "deepseek_sparse_attention"}:
        return "full"
    if word == "linear_attention":
        return "linear"
    if word in {"mamba", "attention"}:
        return "mamba" if word == "mamba" else "full"
    raise UserError(f"{text.file}: {text.prefix}layer_types has {word!r}, a kind of layer that is not known")


def _attention(
    text: ConfigValues, shape: _Shape, family: Family, kinds: list[str], counts: _Counts
) -> list[CacheGroup]:
    full, windowed = kinds.count("full"), kinds.count("window")
    h, heads = shape.hidden, shape.heads
    rank = text.optional("kv_lora_rank")
    if rank is not None:
        return _latent_attention(text, shape, rank, full, counts)
    number = full + windowed
    query = heads * shape.head_dim
    key_value = shape.kv_heads * shape.head_dim
    gate = 2 if text.flag("attn_output_gate", default=text.text("model_type") == "qwen3_next") else 1
    counts.attention += number * (gate * h * query + query * h)
    counts.key_value += number * 2 * h * key_value
    biased = text.flag("attention_bias", "qkv_bias", "add_qkv_bias", "use_qkv_bias", "bias", default=family.qkv_bias)
    if biased:
        counts.vectors += number * (gate * query + 2 * key_value)
    output_biased = family.output_bias or (biased and text.text("model_type") in {"llama", "granite", "falcon"})
    if output_biased:
        counts.vectors += number * h
    if text.text("model_type") == "gpt_oss":
        counts.vectors += number * heads  # attention sinks
    norm = family.query_key_norm
    if text.values.get("use_qk_norm") is True and norm == "none":
        norm = "head"
    if norm == "head":
        counts.vectors += number * 2 * shape.head_dim
    elif norm == "all":
        counts.vectors += number * (query + key_value)
    groups: list[CacheGroup] = []
    if full:
        groups.append(CacheGroup("grouped", full, shape.kv_heads, shape.head_dim, shape.head_dim))
    if windowed:
        window = text.whole("sliding_window", "attention_chunk_size")
        groups.append(
            CacheGroup("grouped", windowed, shape.kv_heads, shape.head_dim, shape.head_dim, window_tokens=window)
        )
    return groups


def _latent_attention(text: ConfigValues, shape: _Shape, rank: int, layers: int, counts: _Counts) -> list[CacheGroup]:
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
    groups = [CacheGroup("latent", layers, latent_values=rank + rope)]
    index_dim = text.optional("index_head_dim")
    if index_dim is not None:
        frequency, offset = (
            text.whole("index_topk_freq", default=1),
            text.whole("index_skip_topk_offset", default=0, least=0),
        )
        indexed = sum(max(number - offset + 1, 0) % frequency == 0 for number in range(layers))
        index_heads = text.whole("index_n_heads")
        counts.latent += indexed * (
            (query_rank or h) * index_heads * index_dim + h * index_dim + h * index_heads
        )  # queries, key, weight of each head
        counts.vectors += indexed * 2 * index_dim
        groups.append(CacheGroup("latent", indexed, latent_values=index_dim))
    return groups


def _fixed_state(text: ConfigValues, shape: _Shape, kinds: list[str], counts: _Counts) -> list[CacheGroup]:
    """Linear-attention and SSM layers. Recurrent state in float32 unless the config says 16 bits."""
    h = shape.hidden
    groups: list[CacheGroup] = []
    linear, mamba = kinds.count("linear"), kinds.count("mamba")
    wide = 2 if text.text("mamba_ssm_cache_dtype", "mamba_ssm_dtype") in {"float16", "bfloat16"} else 4
    if linear and (kda := text.nested("linear_attn_config")) is not None:
        heads, dim = kda.whole("num_heads"), kda.whole("head_dim")
        kernel, inner = kda.whole("short_conv_kernel_size"), heads * dim
        gate = h * inner if kda.flag("use_full_rank_gate") else h * dim + dim * inner
        counts.state += linear * (4 * h * inner + h * dim + dim * inner + gate + h * heads)
        counts.vectors += linear * (3 * inner * kernel + inner + heads + dim)
        groups.append(_state(linear, inner * dim * wide + 3 * inner * (kernel - 1) * 2))
    elif linear:
        key_heads, value_heads = text.whole("linear_num_key_heads"), text.whole("linear_num_value_heads")
        key_dim, value_dim = text.whole("linear_key_head_dim"), text.whole("linear_value_head_dim")
        kernel = text.whole("linear_conv_kernel_dim")
        values = value_heads * value_dim
        channels = 2 * key_heads * key_dim + values
        counts.state += linear * (h * channels + h * values + 2 * h * value_heads + values * h)
        counts.vectors += linear * (channels * kernel + 2 * value_heads + value_dim)
        groups.append(_state(linear, value_heads * key_dim * value_dim * wide + channels * (kernel - 1) * 2))
    if mamba and text.optional("mamba_num_heads", "mamba_n_heads") is None:
        groups.append(_first_mamba(text, h, mamba, wide, counts))
    elif mamba:
        heads, dim = text.whole("mamba_num_heads", "mamba_n_heads"), text.whole("mamba_head_dim", "mamba_d_head")
        state, sets = text.whole("ssm_state_size", "mamba_d_state"), text.whole("n_groups", "mamba_n_groups")
        kernel = text.whole("conv_kernel", "mamba_d_conv")
        inner = heads * dim
        channels = inner + 2 * sets * state
        counts.state += mamba * (h * (inner + channels + heads) + inner * h)
        counts.vectors += mamba * (channels * (kernel + 1) + 3 * heads + inner)
        groups.append(_state(mamba, heads * dim * state * wide + channels * (kernel - 1) * 2))
    return groups


def _first_mamba(text: ConfigValues, h: int, layers: int, wide: int, counts: _Counts) -> CacheGroup:
    """Layers of the first Mamba, as Jamba has them (modeling_jamba.py): a state of each channel, and norms."""
    inner, state = h * text.whole("mamba_expand"), text.whole("mamba_d_state")
    kernel = text.whole("mamba_d_conv")
    automatic = text.values.get("mamba_dt_rank") in {"auto", None}
    rank = -(-h // 16) if automatic else text.whole("mamba_dt_rank")
    counts.state += layers * (2 * h * inner + inner * (rank + 2 * state) + rank * inner + inner * h)
    biases = inner * text.flag("mamba_conv_bias", default=True) + (2 * inner + h) * text.flag("mamba_proj_bias")
    counts.vectors += layers * (inner * kernel + biases + 2 * inner + inner * state + rank + 2 * state)
    return _state(layers, inner * state * wide + inner * (kernel - 1) * 2)


def _state(layers: int, size: int) -> CacheGroup:
    return CacheGroup("state", layers, state_bytes=float(size))


def _feed_forward(
    text: ConfigValues, shape: _Shape, family: Family, kinds: list[str], counts: _Counts
) -> tuple[RoutedExperts | None, int]:
    """Counts dense and expert feed-forwards. Returns the experts and the widest inner width that a token passes."""
    h = shape.hidden
    matrices = 3 if family.gated else 2
    routed = text.optional(*EXPERTS)
    moe = _moe_layers(text, shape, kinds) if routed else set[int]()
    dense = [number for number in range(shape.layers) if number not in moe and _has_feed_forward(kinds, number)]
    widest = 0
    if dense:
        inner = text.optional("intermediate_size_mlp") if moe else None
        inner = inner or text.whole(
            "intermediate_size", "n_inner", "ffn_hidden_size", "inner_dim", "ffn_dim", "d_ff",
            default=None if family.gated else 4 * h,
        )  # fmt: skip
        counts.feed_forward += len(dense) * matrices * h * inner
        if text.flag(*_mlp_bias_keys(text), default=family.feed_forward_bias):
            counts.vectors += len(dense) * ((matrices - 1) * inner + h)
        widest = inner
    if not routed or not moe:
        return None, widest
    active = text.whole(
        "num_experts_per_tok", "experts_per_token", "num_experts_per_token", "moe_top_k", "top_k_experts", "moe_k"
    )
    if active > routed:
        raise UserError(f"{text.file}: {active} experts per token are more than the {routed} that there are")
    inner = text.whole("moe_intermediate_size", "intermediate_size", "ffn_hidden_size")
    width = text.whole("moe_latent_size", "routed_expert_hidden_size", default=h)
    item = matrices * width * inner
    biases = 2 * inner + width if text.text("model_type") == "gpt_oss" else 0
    if biases:
        counts.vectors += len(moe) * routed * (biases + 1)  # of experts and router
    counts.experts += len(moe) * routed * item
    counts.router += len(moe) * routed * h
    if width != h:
        counts.feed_forward += len(moe) * 2 * h * width  # into the latent and out of it
        counts.vectors += len(moe) * width * text.flag("latent_moe_use_norm")
    if text.text("topk_method", "scoring_func") in {"noaux_tc", "sigmoid"} or text.flag("use_routing_bias"):
        counts.vectors += len(moe) * routed  # correction bias
    elif text.text("model_type") in {"nemotron_h", "glm4_moe"}:
        counts.vectors += len(moe) * routed
    shared = _shared_width(text, inner)
    counts.feed_forward += len(moe) * matrices * h * shared
    if text.optional("shared_expert_intermediate_size", least=0):
        counts.router += len(moe) * h  # a gate on the shared expert
    latent = width if width != h else None
    return RoutedExperts(routed, active, len(moe), item, latent, biases), max(widest, active * inner + shared)


def _mlp_bias_keys(text: ConfigValues) -> tuple[str, ...]:
    return ("mlp_bias", "use_bias", "bias") if text.text("model_type") == "falcon" else ("mlp_bias", "use_bias")


def _shared_width(text: ConfigValues, inner: int) -> int:
    stated = text.optional("shared_expert_intermediate_size", "shared_intermediate_size", least=0)
    if stated is not None:
        return stated
    if text.text("model_type") == "llama4_text":
        return inner
    each = text.whole("moe_shared_expert_intermediate_size", default=inner)
    return each * text.whole("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", default=0, least=0)


def _has_feed_forward(kinds: list[str], number: int) -> bool:
    """Nemotron-H gives each layer one thing; everybody else's layers all have a feed-forward."""
    return kinds[number] == "dense" if {"dense", "moe"} & set(kinds) else True


def _moe_layers(text: ConfigValues, shape: _Shape, kinds: list[str]) -> set[int]:
    if "moe" in kinds:
        return {number for number, kind in enumerate(kinds) if kind == "moe"}
    first = text.whole("first_k_dense_replace", default=0, least=0)
    if first > shape.layers:
        raise UserError(
            f"{text.file}: {text.prefix}first_k_dense_replace ({first}) is more than the {shape.layers} layers that "
            "there are"
        )
    layers = set(range(first, shape.layers))
    if not isinstance(text.values.get("moe_layer_freq"), list):
        text.optional("moe_layer_freq", "decoder_sparse_step")  # says now if it is no whole number from 1 up
    step = text.values.get("moe_layer_freq", text.values.get("decoder_sparse_step"))
    steps = text.listed("moe_layer_freq")
    every = text.optional("interleave_moe_layer_step")
    period = text.optional("expert_layer_period")
    if steps is not None:  # one number for each layer, 0 where it is dense
        layers &= {number for number, step in enumerate(steps) if step}
    elif period is not None:
        offset = text.whole("expert_layer_offset", default=0, least=0)
        layers &= {number for number in layers if number % period == offset}
    elif every is not None:
        layers &= {number for number in layers if (number + 1) % every == 0}
    elif isinstance(step, int) and step > 1:
        layers &= {number for number in layers if (number + 1) % step == 0}
    return layers - set(text.listed("mlp_only_layers") or [])


def _norms(text: ConfigValues, shape: _Shape, family: Family, kinds: list[str], counts: _Counts) -> None:
    each = family.norm_vectors * shape.hidden
    per_layer = family.norms_per_layer
    if text.text("model_type") == "falcon" and (
        text.flag("new_decoder_architecture") or not text.flag("parallel_attn", default=True)
    ):
        per_layer = 2
    counts.vectors += len(kinds) * per_layer * each + each
    if text.text("model_type") == "bloom":
        counts.vectors += each  # a norm after the embedding
