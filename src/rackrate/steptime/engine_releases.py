"""How engines schedule, by name and version: what a step may hold, and which release's coefficients apply."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from rackrate.catalog.types import Accelerator


@dataclass(frozen=True)
class Scheduler:
    """The part of an engine that decides what a step holds; defaults of the engine where nothing else is stated."""

    slots: int
    """Most sequences at once."""
    budget: int
    """Most tokens of a step."""
    mixed: bool
    """Whether prompts and decoding share a step; otherwise prompts go first."""
    reserve_fraction: float
    """Share of the stated output for which cache is kept free when a request is let in."""
    memory_share: float
    """Share of the accelerator's memory that weights, activations and cache may take."""
    micro_batch: int = 0
    """Tokens that llama.cpp computes at once; 0 for engines that do not divide their steps."""


@dataclass(frozen=True)
class EngineRelease:
    """An engine within the versions that behave alike."""

    id: str
    engine: str
    captured: bool
    """Whether decode steps replay a captured graph."""


ENGINE_RELEASES: dict[str, EngineRelease] = {
    release.id: release
    for release in (
        EngineRelease("vllm-0.4", "vllm", captured=True),
        EngineRelease("vllm-0.8", "vllm", captured=True),
        EngineRelease("vllm-0.20", "vllm", captured=True),
        EngineRelease("sglang", "sglang", captured=True),
        EngineRelease("trtllm-0", "tensorrt-llm", captured=True),
        EngineRelease("trtllm-1", "tensorrt-llm", captured=True),
        EngineRelease("tgi", "tgi", captured=True),
        EngineRelease("deepspeed-mii", "deepspeed-mii", captured=False),
        EngineRelease("llamacpp-gpu", "llama.cpp", captured=True),
        EngineRelease("llamacpp-cpu", "llama.cpp", captured=True),
        EngineRelease("transformers", "transformers", captured=False),
    )
}


def release_of(engine: str, version: str = "", year: int | None = None, cpu: bool = False) -> EngineRelease | None:
    """The release of an engine by its published name, version, and where that is missing the year. None where unknown.

    >>> release_of("vLLM", "0.7.3").id, release_of("vllm (V1)").id, release_of("trtllm", "1.0.0rc3").id
    ('vllm-0.4', 'vllm-0.8', 'trtllm-1')
    >>> release_of("vllm", "", 2024).id, release_of("vllm", "0.20.1").id
    ('vllm-0.4', 'vllm-0.20')
    """
    name = engine.lower().strip()
    if "mlperf" in version.lower() and "vllm" in name:
        return ENGINE_RELEASES[
            "vllm-0.8"
        ]  # a submitter's fork of 0.6 with several steps per scheduling, as later versions overlap
    number = re.search(r"(\d+)\.(\d+)", version)
    parts = (int(number[1]), int(number[2])) if number else None
    if "nim" in name and "vllm" not in name:
        return ENGINE_RELEASES["trtllm-0"]  # its own version numbers; all of them older than TensorRT-LLM 1.0
    if "vllm" in name or "aphrodite" in name:
        if "v1" in name and parts is None:
            return ENGINE_RELEASES["vllm-0.8"]
        if parts is None:
            return ENGINE_RELEASES["vllm-0.4"] if year is not None and year < 2025 else ENGINE_RELEASES["vllm-0.8"]
        if name != "vllm" and parts[0] >= 1:  # forks count their own versions
            return ENGINE_RELEASES["vllm-0.8"]
        return (
            ENGINE_RELEASES["vllm-0.4"]
            if parts < (0, 8)
            else ENGINE_RELEASES["vllm-0.8"]
            if parts < (0, 20)
            else ENGINE_RELEASES["vllm-0.20"]
        )
    # from 1.0 on the PyTorch backend is the default; "TensorRT 10.11" is the version of something else
    older = parts < (1, 0) if parts is not None and "tensorrt" not in version.lower() else (year or 2025) < 2025
    trt = "trtllm-0" if older else "trtllm-1"
    for word, release in (
        ("sglang", "sglang"), ("trt", trt), ("tensorrt", trt), ("tgi", "tgi"), ("text-generation", "tgi"),
        ("mii", "deepspeed-mii"), ("deepspeed", "deepspeed-mii"), ("lmdeploy", "trtllm-0"),
        ("transformers", "transformers"),
        ("optimum", "transformers"), ("hugging", "transformers"),
    ):  # fmt: skip
        if word in name:
            return ENGINE_RELEASES[release]
    local = ("llama.cpp", "llamacpp", "llama-cpp", "llama-bench", "ollama", "lm studio", "mlx", "kobold", "exl", "mlc")
    if any(word in name for word in local):
        return ENGINE_RELEASES["llamacpp-cpu" if cpu else "llamacpp-gpu"]
    return None


# Generations without FlashAttention 2, on which vLLM before 0.8 neither chunks prompts nor shares key-value heads.
_OLD_KERNELS = frozenset({"pascal", "volta", "turing"})


def shares_kv_heads(release: EngineRelease, accelerator: Accelerator) -> bool:
    """Whether decode attention reads a key-value head once for all query heads of its group.

    The first PagedAttention kernel (Kwon et al. 2023; vllm/csrc/attention) has one thread block per query head; it
    served ROCm and cards without FlashAttention 2 until vLLM 0.8.
    """
    if release.id not in {"vllm-0.4", "tgi"}:
        return True
    return accelerator.vendor == "nvidia" and accelerator.architecture not in _OLD_KERNELS


def tuned_flop_s(release: EngineRelease, accelerator: Accelerator) -> float:
    """The 16-bit peak that an engine's products were tuned for: a faster device computes no faster. [FLOP/s]

    In 2024 ROCm's libraries had products tuned for a die of MI250 (181 TFLOPS, AMD's datasheet). Under vLLM before 0.8
    a die of MI250 and a whole MI300X, of seven times that peak, reach the same 50 to 70 TFLOPS in published rows.
    """
    return 181e12 if release.id == "vllm-0.4" and accelerator.vendor == "amd" else math.inf


def scheduler_of(release: EngineRelease, accelerator: Accelerator, prompt_tokens: float = 0) -> Scheduler:
    """The engine's own defaults on this accelerator, for prompts of this length.

    vLLM takes larger budgets and more sequences from 70 GiB on, except on A100 (vllm/engine/arg_utils.py, 0.8 to 0.11);
    TensorRT-LLM lets a request in only when its whole output fits (GUARANTEED_NO_EVICT), 8,192 tokens a step.
    """
    large = (accelerator.memory_gib or 0) >= 70 and not accelerator.id.startswith(("a100", "a800"))
    if release.id == "vllm-0.4" and prompt_tokens > 16_000 and accelerator.architecture not in _OLD_KERNELS:
        # with contexts beyond 32 K it chunks prompts by itself (vllm/engine/arg_utils.py, 0.5.4 to 0.7)
        return Scheduler(256, 2048, mixed=True, reserve_fraction=0.0, memory_share=0.9)
    if release.id == "vllm-0.4":
        return Scheduler(256, 4096, mixed=False, reserve_fraction=0.0, memory_share=0.9)
    if release.engine == "vllm":
        return Scheduler(
            1024 if large else 256, 8192 if large else 2048, mixed=True, reserve_fraction=0.0, memory_share=0.9
        )
    if release.id == "sglang":
        return Scheduler(2048, 8192 if large else 4096, mixed=False, reserve_fraction=0.4, memory_share=0.87)
    if release.engine == "tensorrt-llm":
        return Scheduler(2048, 8192, mixed=True, reserve_fraction=1.0, memory_share=0.92)
    if release.id == "tgi":
        return Scheduler(256, 4096, mixed=False, reserve_fraction=1.0, memory_share=0.9)
    if release.id == "deepspeed-mii":
        return Scheduler(256, 2048, mixed=True, reserve_fraction=0.0, memory_share=0.9)
    if release.engine == "llama.cpp":
        return Scheduler(64, 2048, mixed=True, reserve_fraction=0.0, memory_share=0.9, micro_batch=512)
    return Scheduler(4096, 1 << 30, mixed=False, reserve_fraction=1.0, memory_share=0.95)
