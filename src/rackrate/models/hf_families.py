"""How families of models (model_type of a config.json) differ where their configs do not say so.

Each row follows the family's modelling code in github.com/huggingface/transformers (src/transformers/models); where a
family is not listed it is read as Llama's shape: gated feed-forward, two norms a layer, no biases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Family:
    """What a family does that its config leaves unsaid."""

    gated: bool = True
    """Feed-forward of gate, up and down; else up and down."""
    tied: bool = False
    """The output matrix is the embedding, where tie_word_embeddings is not stated."""
    norms_per_layer: int = 2
    norm_vectors: int = 1
    """1: a scale (RMSNorm); 2: scale and shift (LayerNorm); 0: neither."""
    qkv_bias: bool = False
    output_bias: bool = False
    feed_forward_bias: bool = False
    head_bias: bool = False
    query_key_norm: Literal["none", "head", "all"] = "none"
    """Norms on queries and keys: one for each head dimension, or one over all heads."""
    positions: int | None = None
    """Learned position embeddings; this many more than the context."""
    window: Literal["all", "never", "alternate", "pattern"] = "all"
    """Which layers use sliding_window where layer_types does not say."""
    pattern: int = 0
    """For `pattern`: one layer in so many looks at the whole context."""
    moe_every: int = 1


_LLAMA = Family()
_GEMMA2 = Family(tied=True, norms_per_layer=4, window="alternate")
_GEMMA3 = Family(tied=True, norms_per_layer=4, query_key_norm="head", window="pattern", pattern=6)
_QWEN2 = Family(qkv_bias=True)
_QWEN3 = Family(query_key_norm="head")
_CLASSIC = Family(
    gated=False, tied=True, norm_vectors=2, qkv_bias=True, output_bias=True, feed_forward_bias=True, positions=0
)
FAMILIES: dict[str, Family] = {
    **dict.fromkeys(
        ("llama", "mistral", "mixtral", "mistral3", "ministral", "phi3", "phimoe", "granite", "granitemoe", "yi",
         "internlm2", "smollm3", "exaone", "deepseek", "deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2",
         "kimi_k25", "kimi_linear", "glm_moe_dsa", "glm4_moe_lite", "arcee", "seed_oss", "ernie4_5", "ernie4_5_moe",
         "mimo", "granitemoehybrid", "decilm", "baichuan", "apertus", "llava", "longcat_flash", "dots1", "jamba"),
        _LLAMA,
    ),
    "llama4_text": Family(window="pattern", pattern=4),
    "gemma": Family(tied=True),
    "gemma2": _GEMMA2,
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
    "qwen2": Family(qkv_bias=True, window="never"),
    "qwen2_moe": _QWEN2,
    "qwen2_vl": _QWEN2,
    "qwen2_vl_text": _QWEN2,
    "qwen2_5_vl": _QWEN2,
    "qwen2_5_vl_text": _QWEN2,
    **dict.fromkeys(
        ("qwen3", "qwen3_moe", "qwen3_vl_text", "qwen3_vl_moe_text", "qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"),
        _QWEN3,
    ),
    "gpt_oss": Family(qkv_bias=True, output_bias=True),
    "glm4_moe": _LLAMA,
    "glm4": Family(norms_per_layer=4, qkv_bias=True),
    "glm": Family(qkv_bias=True),
    "chatglm": Family(qkv_bias=True),
    "minimax_m2": Family(query_key_norm="all"),
    "olmo": Family(norm_vectors=0),
    "olmo2": Family(query_key_norm="all"),
    "olmo3": Family(query_key_norm="all"),
    "olmoe": Family(query_key_norm="all"),
    "cohere": Family(tied=True, norms_per_layer=1),
    "cohere2": Family(tied=True, norms_per_layer=1, window="pattern", pattern=4),
    "stablelm": Family(norm_vectors=2),
    "phi": Family(
        gated=False, norms_per_layer=1, norm_vectors=2, qkv_bias=True, output_bias=True, feed_forward_bias=True,
        head_bias=True,
    ),
    "starcoder2": Family(
        gated=False, tied=True, norm_vectors=2, qkv_bias=True, output_bias=True, feed_forward_bias=True
    ),
    "nemotron": Family(gated=False, norm_vectors=2),
    "nemotron_h": Family(gated=False, norms_per_layer=1),
    "falcon": Family(gated=False, tied=True, norms_per_layer=1, norm_vectors=2),
    "gpt2": _CLASSIC,
    "gpt_bigcode": _CLASSIC,
    "opt": Family(
        gated=False, tied=True, norm_vectors=2, qkv_bias=True, output_bias=True, feed_forward_bias=True, positions=2
    ),
    "gpt_neox": Family(gated=False, norm_vectors=2, qkv_bias=True, output_bias=True, feed_forward_bias=True),
    "gptj": Family(gated=False, norms_per_layer=1, norm_vectors=2, feed_forward_bias=True, head_bias=True),
    "bloom": Family(
        gated=False, tied=True, norm_vectors=2, qkv_bias=True, output_bias=True, feed_forward_bias=True
    ),
    "mpt": Family(gated=False, tied=True, norm_vectors=1),
}  # fmt: skip

UNREADABLE = {
    "deepseek_v4": "its attention is compressed by layer",
    "deepseek_ref": "its attention is compressed by layer",
    "minimax_m3": "its attention is sparse by block",
    "minimax_m3_vl": "its attention is sparse by block",
    "gemma3n_text": "its layers share caches",
    "gemma4_text": "its layers differ in heads and head size",
    "nemotron-nas": "its layers differ in heads and width",
    "mimo_v2_flash": "its layers differ in heads",
    "step3p7": "its layers differ in heads",
    **dict.fromkeys(("mamba", "mamba2", "rwkv", "rwkv6", "zamba2", "falcon_h1", "bamba", "lfm2",
                     "recurrent_gemma", "minimax", "minimax_text_01"),
                    "its state-space layers are not"),
    **dict.fromkeys(("bert", "roberta", "t5", "bart", "whisper", "clip", "vit", "wav2vec2", "mt5", "modernbert"),
                    "it is no decoder of text"),
}  # fmt: skip
"""Types whose shape is known not to be described by these functions, and why."""
