"""Sizes and kinds of layers of a Hugging Face config.json: what every part of the reading needs."""

from __future__ import annotations

from dataclasses import dataclass

from rackrate.errors import UserError
from rackrate.models.config_values import LARGEST_COUNT, ConfigValues
from rackrate.models.hf_families import Family

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HIDDEN = ("hidden_size", "n_embd", "n_embed", "d_model", "dim")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num", "n_kv_heads")
HEAD_DIM = ("head_dim", "attention_head_dim", "kv_channels")
CONTEXT = (
    "max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "max_seq_len", "n_ctx",
    "model_max_length",
)  # fmt: skip
VOCABULARY = ("vocab_size", "padded_vocab_size", "n_vocab")
INNER = ("intermediate_size", "n_inner", "ffn_hidden_size", "inner_dim", "ffn_dim", "d_ff")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
ACTIVE = (
    "num_experts_per_tok", "experts_per_token", "num_experts_per_token", "moe_top_k", "top_k_experts", "moe_k",
    "moe_topk",
)  # fmt: skip
EXPERT_INNER = ("moe_intermediate_size", "expert_ffn_hidden_size")
NAMES = (LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD_DIM, CONTEXT, VOCABULARY, INNER, EXPERTS, ACTIVE, EXPERT_INNER)
"""Names under which families keep the same size."""
MOST_HEAD_DIM = 65_536


@dataclass
class Counts:
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
class Shape:
    """The sizes that every part needs."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int


def read_shape(text: ConfigValues, family: Family) -> Shape:
    """The sizes of a decoder of text. Raises UserError with file and key where one is missing or absurd."""
    blocks = text.listed("layers_block_type")
    layers = text.whole(*LAYERS, default=None if blocks is None else len(blocks))
    hidden = text.whole(*HIDDEN)
    heads = text.whole(*HEADS)
    if layers > 10_000:
        raise UserError(f"{text.file}: {text.prefix}num_hidden_layers should be at most 10,000, not {layers:,}")
    if text.values.get("multi_query") is True and not text.values.get("new_decoder_architecture"):
        kv_heads = 1  # Falcon-7B, StarCoder
    else:
        kv_heads = text.whole(*KV_HEADS, default=heads)
    if heads % kv_heads:
        raise UserError(
            f"{text.file}: {text.prefix}num_attention_heads ({heads}) should be a multiple of num_key_value_heads "
            f"({kv_heads})"
        )
    head_dim = text.optional(*HEAD_DIM)
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
    return Shape(layers, hidden, heads, kv_heads, head_dim, _context(text, family))


def _context(text: ConfigValues, family: Family) -> int:
    """Tokens that an engine takes at most: what the config states, times the factor by which its positions are spread.

    As vLLM derives it (vllm/config/model.py, _get_and_verify_max_len): longrope and llama3 state the context that they
    reach, yarn counts from the original one, linear and dynamic multiply what is stated.
    """
    stated = stated_context(text) or 2048
    rope = text.nested("rope_scaling") or text.nested("rope_parameters")
    if rope is None or family.context_is_scaled:
        return stated
    kind = rope.text("rope_type", "type") or "default"
    factor = rope.values.get("factor")
    if kind not in {"yarn", "linear", "dynamic", "ntk"} or factor is None:
        return stated
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor <= 100_000:
        raise UserError(f"{text.file}: {rope.prefix}factor should be a number from 1 to 100,000, not {factor!r}")
    original = rope.whole("original_max_position_embeddings", default=stated) if kind == "yarn" else stated
    return min(LARGEST_COUNT, int(original * factor))


def stated_context(text: ConfigValues) -> int | None:
    """The context that a config states, before any rope_scaling.

    model_max_length counts before max_position_embeddings, which in Command R's config is the length it was trained at.
    """
    return text.optional("model_max_length") or text.optional(*CONTEXT)


def layer_kinds(text: ConfigValues, shape: Shape, family: Family) -> list[str]:
    """For each layer: full, window or linear attention, mamba, or what Nemotron-H puts there (dense, moe)."""
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
        words = {
            "mamba": "mamba", "attention": "full", "mlp": "dense", "moe": "moe",
            "linear_attention": "mamba", "full_attention": "full",
        }  # fmt: skip
        if set(blocks) - set(words):
            raise UserError(
                f"{text.file}: {text.prefix}layers_block_type should have mamba, attention, mlp and moe only"
            )
        return [words[block] for block in blocks]
    linear = text.nested("linear_attn_config")
    if linear is not None:  # Kimi's delta attention; layers are counted from 1
        kda = linear.listed("kda_layers") or []
        return ["linear" if number + 1 in kda else "full" for number in range(shape.layers)]
    every = text.optional("attn_layer_period")
    if every is not None:  # Jamba; the others are Mamba layers
        offset = text.whole("attn_layer_offset", default=0, least=0)
        return ["full" if number % every == offset else "mamba" for number in range(shape.layers)]
    window = window_tokens(text)
    marked = text.listed("hybrid_layer_pattern")
    if marked is not None:  # MiMo-V2: 1 where a layer has a window
        if len(marked) != shape.layers or any(mark not in (0, 1) for mark in marked):
            raise UserError(
                f"{text.file}: {text.prefix}hybrid_layer_pattern should have 0 or 1 for each of the {shape.layers} "
                "layers"
            )
        return ["window" if mark and window else "full" for mark in marked]
    stated = text.words("layer_types", shape.layers)
    if stated is not None:
        return [_kind(figure, window, text) for figure in stated]
    every = text.optional("full_attention_interval") or family.linear_every
    if every is not None:
        return ["full" if (number + 1) % every == 0 else "linear" for number in range(shape.layers)]
    if window is None or window >= shape.context or family.window == "never":
        return ["full"] * shape.layers
    if family.window == "alternate":
        return ["window" if number % 2 == 0 else "full" for number in range(shape.layers)]
    if family.window == "pattern":
        step = text.whole("sliding_window_pattern", "_sliding_window_pattern", default=family.pattern)
        return ["full" if (number + 1) % step == 0 else "window" for number in range(shape.layers)]
    first = text.whole("max_window_layers", default=shape.layers, least=0) if family.window == "after" else 0
    return ["window" if number >= first else "full" for number in range(shape.layers)]


def window_tokens(text: ConfigValues) -> int | None:
    """Tokens that layers with a window look back; None where the config has no window or turns it off."""
    if text.values.get("use_sliding_window") is False:
        return None
    return text.optional("sliding_window", "attention_chunk_size", "sliding_window_size", least=0) or None


def _kind(word: str, window: int | None, text: ConfigValues) -> str:
    if word in {"sliding_attention", "chunked_attention"}:
        return "full" if window is None else "window"
    if word in {"full_attention", "attention", "deepseek_sparse_attention", "indexed_attention"}:
        return "full"
    if word == "linear_attention":  # of configs that transformers 5 wrote, Mamba layers, too
        return "mamba" if text.optional("mamba_num_heads", "mamba_n_heads") else "linear"
    if word == "mamba":
        return "mamba"
    if word == "conv" and text.optional("conv_L_cache"):
        return "conv"
    raise UserError(f"{text.file}: {text.prefix}layer_types has {word!r}, a kind of layer that is not known")
