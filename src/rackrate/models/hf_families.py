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
    optional_norm: Literal["head", "all"] = "head"
    """Of query_key_norm, which one use_qk_norm or qk_layernorm asks for."""
    positions: int | None = None
    """Learned position embeddings; this many more than the context."""
    window: Literal["all", "never", "alternate", "pattern", "after"] = "all"
    """Which layers use sliding_window where layer_types does not say; `after`: those from max_window_layers on."""
    pattern: int = 0
    """For `pattern`: one layer in so many looks at the whole context."""
    linear_every: int | None = None
    """One layer in so many looks at the whole context where neither layer_types nor full_attention_interval says."""
    output_gate: bool = False
    """Attention gates its output, where attn_output_gate does not say; the query projection is twice as wide."""
    bias_of_output: bool = False
    """A bias that the config asks for is one of the output projection, too."""
    sinks: bool = False
    """A learned sink for each head."""
    doubled: bool = False
    """A layer has two attentions and two dense feed-forwards beside its experts."""
    expert_bias: bool = False
    """Experts and router have biases."""
    correction_bias: bool = False
    """The router has a bias that balances experts, whatever the config says."""
    shared_expert_gate: bool = True
    """A gate on the shared expert, where the config gives that expert a width."""
    one_shared_expert: bool = False
    """One shared expert as wide as a routed one, which the config does not state."""
    extra_vectors: int = 0
    """Single parameters of a layer, such as those of a learned activation."""
    embedding_norm: bool = False
    """A norm right after the embedding."""
    window_heads: bool = False
    """Layers with a window have heads of their own, and values a size of their own."""
    by_layer: bool = False
    """Layers differ in heads and their size, and share caches: counted by hf_gemma4."""
    context_is_scaled: bool = False
    """max_position_embeddings is what rope_scaling reaches, whatever its type."""


_LLAMA = Family(bias_of_output=True)
_GEMMA2 = Family(tied=True, norms_per_layer=4, window="alternate", bias_of_output=True)
_GEMMA3 = Family(
    tied=True, norms_per_layer=4, query_key_norm="head", window="pattern", pattern=6, bias_of_output=True,
    context_is_scaled=True,
)  # fmt: skip
_GEMMA4 = Family(tied=True, window="pattern", pattern=6, context_is_scaled=True, by_layer=True)
_LFM2 = Family(tied=True, query_key_norm="head")
_QWEN2 = Family(qkv_bias=True, window="after")
_QWEN3 = Family(query_key_norm="head", window="after", bias_of_output=True)
_QWEN3_NEXT = Family(query_key_norm="head", bias_of_output=True, output_gate=True, linear_every=4)
_OLMO2 = Family(query_key_norm="all", bias_of_output=True)
_DEEPSEEK3 = Family(correction_bias=True)
_GLM4_MOE = Family(correction_bias=True)
_CLASSIC = Family(
    gated=False, tied=True, norm_vectors=2, qkv_bias=True, output_bias=True, feed_forward_bias=True, positions=0
)
FAMILIES: dict[str, Family] = {
    **dict.fromkeys(
        ("llama", "mistral", "mixtral", "mistral3", "ministral", "ministral3", "phi3", "granite", "granitemoe",
         "granitemoeshared", "yi", "internlm2", "internlm3", "smollm3", "exaone", "deepseek", "deepseek_v2",
         "glm4_moe_lite", "ernie4_5", "ernie4_5_moe", "mimo", "granitemoehybrid", "decilm", "baichuan",
         "llava", "jamba", "cwm", "helium", "iquestcoder", "minicpm3"),
        _LLAMA,
    ),
    "cohere2_moe": Family(tied=True, norms_per_layer=1, window="pattern", pattern=4, bias_of_output=True),
    "exaone_moe": Family(query_key_norm="head", window="pattern", pattern=4, correction_bias=True),
    "hunyuan_v1_dense": Family(query_key_norm="head", bias_of_output=True),
    "hy_v3": Family(query_key_norm="head", correction_bias=True, bias_of_output=True),
    "jais2": Family(gated=False, norm_vectors=2, bias_of_output=True),
    "nanochat": Family(gated=False, norm_vectors=0, bias_of_output=True),
    "afmoe": Family(
        norms_per_layer=4, query_key_norm="head", output_gate=True, correction_bias=True, window="pattern", pattern=4,
        bias_of_output=True,
    ),
    "sarvam_moe": _GLM4_MOE,
    "solar_open": _GLM4_MOE,
    "sarvam_mla": _DEEPSEEK3,
    "youtu": Family(tied=True),
    "vaultgemma": Family(tied=True, window="alternate", bias_of_output=True),
    "mellum": Family(query_key_norm="head", window="never", bias_of_output=True),
    "lfm2": _LFM2,
    "lfm2_moe": _LFM2,
    "gemma4": _GEMMA4,
    "gemma4_text": _GEMMA4,
    "mimo_v2_flash": Family(window="pattern", pattern=6, window_heads=True, correction_bias=True),
    "apertus": Family(gated=False, query_key_norm="head", bias_of_output=True, extra_vectors=2),
    "arcee": Family(gated=False, bias_of_output=True),
    "seed_oss": Family(),
    "phimoe": Family(norm_vectors=2, qkv_bias=False, bias_of_output=True),
    **dict.fromkeys(("deepseek_v3", "deepseek_v32", "kimi_k2", "kimi_k25", "kimi_linear", "glm_moe_dsa"), _DEEPSEEK3),
    "dots1": Family(query_key_norm="head", window="after", correction_bias=True, bias_of_output=True),
    "longcat_flash": Family(doubled=True, norms_per_layer=4, correction_bias=True),
    "llama4_text": Family(window="pattern", pattern=4, one_shared_expert=True, bias_of_output=True),
    "gemma": Family(tied=True, bias_of_output=True),
    "gemma2": _GEMMA2,
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
    "qwen2": _QWEN2,
    "qwen2_moe": _QWEN2,
    "qwen2_vl": _QWEN2,
    "qwen2_vl_text": _QWEN2,
    "qwen2_5_vl": _QWEN2,
    "qwen2_5_vl_text": _QWEN2,
    **dict.fromkeys(("qwen3", "qwen3_moe", "qwen3_vl", "qwen3_vl_moe", "qwen3_vl_text", "qwen3_vl_moe_text"), _QWEN3),
    **dict.fromkeys(("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"), _QWEN3_NEXT),
    "gpt_oss": Family(qkv_bias=True, output_bias=True, sinks=True, expert_bias=True, window="alternate"),
    **dict.fromkeys(("glm4_moe", "glm4v_moe", "glm4v_moe_text"), _GLM4_MOE),
    **dict.fromkeys(("glm4", "glm4v", "glm4v_text"), Family(norms_per_layer=4, qkv_bias=True)),
    "glm": Family(qkv_bias=True),
    "chatglm": Family(qkv_bias=True),
    "minimax_m2": Family(query_key_norm="all", correction_bias=True),
    "olmo": Family(norm_vectors=0, bias_of_output=True),
    "olmo2": _OLMO2,
    "olmo3": Family(query_key_norm="all", window="pattern", pattern=4, bias_of_output=True),
    "olmoe": _OLMO2,
    "flex_olmo": _OLMO2,
    "exaone4": Family(query_key_norm="head", window="pattern", pattern=4),
    "cohere": Family(tied=True, norms_per_layer=1, bias_of_output=True, optional_norm="all"),
    "cohere2": Family(tied=True, norms_per_layer=1, window="pattern", pattern=4, bias_of_output=True),
    "stablelm": Family(norm_vectors=2, optional_norm="all"),
    "phi": Family(
        gated=False, norms_per_layer=1, norm_vectors=2, qkv_bias=True, output_bias=True, feed_forward_bias=True,
        head_bias=True,
    ),
    "starcoder2": Family(
        gated=False, tied=True, norm_vectors=2, qkv_bias=True, output_bias=True, feed_forward_bias=True
    ),
    "nemotron": Family(gated=False, norm_vectors=2, bias_of_output=True),
    "nemotron_h": Family(gated=False, norms_per_layer=1, correction_bias=True),
    "falcon": Family(gated=False, tied=True, norms_per_layer=1, norm_vectors=2, bias_of_output=True),
    "gpt2": _CLASSIC,
    "gpt_bigcode": _CLASSIC,
    "opt": Family(
        gated=False, tied=True, norm_vectors=2, qkv_bias=True, output_bias=True, feed_forward_bias=True, positions=2
    ),
    "gpt_neox": Family(gated=False, norm_vectors=2, qkv_bias=True, output_bias=True, feed_forward_bias=True),
    "gptj": Family(gated=False, norms_per_layer=1, norm_vectors=2, feed_forward_bias=True, head_bias=True),
    "bloom": Family(
        gated=False, tied=True, norm_vectors=2, qkv_bias=True, output_bias=True, feed_forward_bias=True,
        embedding_norm=True,
    ),
    "mpt": Family(gated=False, tied=True, norm_vectors=1),
}  # fmt: skip

UNREADABLE = {
    "deepseek_v4": "its attention is compressed by layer",
    "deepseek_ref": "its attention is compressed by layer",
    "minimax_m3": "its attention is sparse by block",
    "minimax_m3_vl": "its attention is sparse by block",
    "minimax_m3_vl_text": "its attention is sparse by block",
    "gemma3n_text": "its layers share caches",
    **dict.fromkeys(("laguna", "gemma4_unified", "gemma4_unified_text", "openelm"), "its layers differ in heads"),
    **dict.fromkeys(
        ("apertus1p5_text", "aria_text", "axk2", "bailing_hybrid", "beam", "blt", "doge", "dory", "hrm_text", "hy_v4",
         "inkling_text", "inkling2_text", "inkling2_loop_text", "jetmoe", "lfm3", "qwen4_exp", "qwen4_exp_text",
         "zaya", "dots3_note", "dots3_note_text", "modernbert-decoder", "moshi", "phi4_multimodal", "persimmon",
         "fuyu", "gpt_neo", "gpt_neox_japanese", "codegen", "biogpt", "ctrl", "xglm", "cpmant", "openai-gpt", "xlnet",
         "dbrx"),
        "it is not built like a family that is known",
    ),
    **dict.fromkeys(("falcon_mamba", "xlstm", "zamba"), "its state-space layers are not described"),
    "nemotron-nas": "its layers differ in heads and width",
    "step3p7": "its layers differ in heads",
    **dict.fromkeys(("mamba", "mamba2", "rwkv", "rwkv6", "zamba2", "falcon_h1", "bamba",
                     "recurrent_gemma", "minimax", "minimax_text_01"),
                    "its state-space layers are not described"),
    **dict.fromkeys(("bert", "roberta", "t5", "bart", "whisper", "clip", "vit", "wav2vec2", "mt5", "modernbert"),
                    "it is no decoder of text"),
}  # fmt: skip
"""Types whose shape is known not to be described by these functions, and why."""
