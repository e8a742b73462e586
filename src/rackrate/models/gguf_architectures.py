"""How llama.cpp caches a request, by general.architecture: what its code knows and a file does not say.

Followed are src/models/*.cpp (load_arch_hparams), src/llama-hparams.cpp and src/llama-arch.cpp of
github.com/ggml-org/llama.cpp, as of 2026. An architecture that is not listed is not guessed at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class GgufFamily:
    """What of a request the layers of an architecture keep."""

    period: int = 0
    """With a window: one layer in so many looks at the whole context. 0: no layer has a window, whatever a file says;
    1: the file lists which have (attention.sliding_window_pattern)."""
    full_first: bool = False
    """That layer is the first of its period, not the last."""
    window: int | None = None
    """Tokens of the window where the file does not give them; None: then there is none."""
    window_of_layers: int | None = None
    """The window is for models with so many layers only."""
    recurrent: Literal["none", "headless", "interval", "beside", "all"] = "none"
    """Layers with a fixed state: those without KV heads, all but one in full_attention_interval, all beside their
    attention, all in its place."""
    cached_layers: int | None = None
    """So many layers from the first on keep keys and values; the others use theirs."""


_PLAIN = GgufFamily()
_HEADLESS = GgufFamily(recurrent="headless")
_INTERVAL = GgufFamily(recurrent="interval")
_RECURRENT = GgufFamily(recurrent="all")
_FOURTH = GgufFamily(period=4)
ARCHITECTURES: dict[str, GgufFamily] = {
    **dict.fromkeys(
        ("llama", "deci", "falcon", "grok", "gpt2", "gptj", "gptneox", "mpt", "baichuan", "starcoder", "refact",
         "bloom", "stablelm", "qwen", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe",
         "phi2", "phi3", "phimoe", "plamo", "codeshell", "orion", "internlm2", "minicpm", "minicpm3", "gemma",
         "starcoder2", "xverse", "command-r", "dbrx", "olmo", "olmoe", "openelm", "arctic", "deepseek", "deepseek2",
         "deepseek32", "chatglm", "glm4", "glm4moe", "glm-dsa", "bitnet", "jais", "jais2", "nemotron", "exaone",
         "granite", "granitemoe", "chameleon", "plm", "bailingmoe", "bailingmoe2", "dots1", "arcee", "ernie4_5",
         "ernie4_5-moe", "hunyuan-moe", "hunyuan-dense", "smollm3", "seed_oss", "grovemoe", "apertus", "minimax-m2",
         "cogvlm", "pangu-embedded", "mistral3", "mistral4"),
        _PLAIN,
    ),
    "llama4": GgufFamily(period=4, window=8192),  # chunks, not a sliding window; as large
    "gemma2": GgufFamily(period=2, window=4096),
    "gemma3": GgufFamily(period=6),
    "gemma3n": GgufFamily(period=5, cached_layers=20),
    "gemma4": GgufFamily(period=1),
    "cohere2": _FOURTH,
    "olmo2": _FOURTH,  # Olmo 3 is converted as olmo2 with a window
    "exaone4": GgufFamily(period=4, window=4096, window_of_layers=64),
    "exaone-moe": GgufFamily(period=4, window=128),
    "gpt-oss": GgufFamily(period=2),
    "afmoe": _FOURTH,
    "mellum": _FOURTH,
    "plamo3": GgufFamily(period=8),
    "laguna": GgufFamily(period=4, full_first=True),
    "smallthinker": GgufFamily(period=4, full_first=True),
    "mimo2": GgufFamily(period=1),
    "step35": GgufFamily(period=1),
    **dict.fromkeys(
        ("jamba", "granitehybrid", "nemotron_h", "nemotron_h_moe", "plamo2", "lfm2", "lfm2moe", "kimi-linear"),
        _HEADLESS,
    ),
    **dict.fromkeys(("qwen3next", "qwen35", "qwen35moe"), _INTERVAL),
    "falcon-h1": GgufFamily(recurrent="beside"),
    **dict.fromkeys(("mamba", "mamba2", "rwkv6", "rwkv7", "rwkv6qwen2", "arwkv7"), _RECURRENT),
}  # fmt: skip

NO_DECODERS = frozenset(
    {"clip", "bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3",
     "eurobert", "gemma-embedding", "llama-embed", "t5", "t5encoder", "wavtokenizer-dec", "eagle3", "dflash",
     "gemma4-assistant", "dream", "llada", "llada-moe", "rnd1"}
)  # fmt: skip
"""Architectures that do not write one token after another of their own: encoders, drafts, diffusion."""
FULL_ATTENTION_INTERVAL = 4
"""Of Qwen3-Next and 3.5 where a file does not say; those of 2025 do not."""


def windowed_layers(family: GgufFamily, layers: int, period: int) -> list[bool]:
    """Which layers have a window where one in `period` has none (set_swa_pattern of llama-hparams.cpp).

    >>> windowed_layers(GgufFamily(), 6, 3), windowed_layers(GgufFamily(full_first=True), 4, 2)
    ([True, True, False, True, True, False], [False, True, False, True])
    """
    whole = 0 if family.full_first else period - 1
    return [number % period != whole for number in range(layers)]
