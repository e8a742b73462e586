"""What vLLM said at start-up, in logs that people published, against what is predicted for the same deployment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from rackrate.catalog.load import load_catalog
from rackrate.memory.engine_memory import engine_memory
from rackrate.memory.fit import fit
from rackrate.memory.kv_cache import kv_bytes_per_token_on_rank
from rackrate.memory.sharding import stage_layers, weights_on_rank
from rackrate.models.architecture import Architecture, of_catalogue_model
from rackrate.models.config_values import ConfigValues
from rackrate.models.formats import weight_format
from rackrate.models.hf_config import architecture_of_config
from rackrate.units import GIB

QWEN25_1B: dict[str, Any] = {
    "model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
    "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 32768,
    "tie_word_embeddings": True, "torch_dtype": "bfloat16",
}  # fmt: skip
DEEPSEEK_V25: dict[str, Any] = {
    "model_type": "deepseek_v2", "hidden_size": 5120, "intermediate_size": 12288, "moe_intermediate_size": 1536,
    "num_hidden_layers": 60, "num_attention_heads": 128, "num_key_value_heads": 128, "n_routed_experts": 160,
    "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1, "kv_lora_rank": 512,
    "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": 102400,
    "max_position_embeddings": 163840, "torch_dtype": "bfloat16",
}  # fmt: skip


@dataclass(frozen=True)
class Log:
    """A published log. Sizes are in GiB, as vLLM prints them; None: not printed."""

    where: str
    model: str
    card: str
    total: float
    share: float
    weights: float | None
    activation: float | None = None
    kv: float | None = None
    kv_tokens: int | None = None
    tp: int = 1
    pp: int = 1
    form: str = "bf16"
    batch_tokens: int = 8192
    requests: int = 256


LOGS = [
    Log("GitHub vllm-project/vllm 10511, 2024-12-13", "llama-3-8b-instruct", "h100-sxm", 79.22, 0.9, 14.96, 1.26),
    Log("the same, -tp 2", "llama-3-8b-instruct", "h100-sxm", 79.22, 0.9, 7.48, 1.26, tp=2),
    Log("a book's example 4-3, 80 GB card", "llama-3.1-8b-instruct", "a100-sxm-80gb", 79.14, 0.9, 14.99, 1.19, 54.93),
    Log("Oracle AI blueprints, 2025-03-25", "llama-3.1-8b-instruct", "a10", 22.07, 0.9, 14.99, None, 4.60, 37_696),
    Log("Colab T4, 05-30 16:23, 32768 tokens a step", "qwen2.5-1.5b", "t4", 14.56, 0.5, 2.89, 2.02, 2.36, 88_304,
        form="fp16", batch_tokens=32768),
    Log("A10G, 03-01 10:30", "qwen2.5-1.5b", "a10g", 22.06, 0.9, 2.88, 1.40, 15.52),
    Log("4 x 2080 Ti 22 GB, vLLM 0.8.5", "qwen3-8b", "t4", 21.48, 0.93, 3.85, 1.45, 14.49, tp=4, form="fp16"),
    Log("V100 32 GB, DeepSeek-R1-Distill-Qwen-7B, 03-23 19:17", "qwen2.5-7b-instruct", "v100-sxm-32gb", 31.74, 0.9,
        14.27, 1.40, 12.80, 14_984 * 16, form="fp16"),
    Log("A100 40 GB, 16 of them, 04-20 17:00", "deepseek-v2.5", "a100-sxm-40gb", 39.49, 0.9, 27.63, None, 5.57,
        tp=8, pp=2),
    Log("GitHub vllm-project/vllm 21348, 2025-07-22", "qwen3-235b-a22b", "h100-sxm", 79.14, 0.9, None, None, 8.11,
        178_880, tp=4, form="fp8-block", requests=1024),
]  # fmt: skip


def architecture(name: str) -> Architecture:
    for made, config in (("qwen2.5-1.5b", QWEN25_1B), ("deepseek-v2.5", DEEPSEEK_V25)):
        if name == made:
            return architecture_of_config(ConfigValues("config.json", config), name)[0]
    return of_catalogue_model(load_catalog().model(name))


@pytest.mark.parametrize(
    "log", [log for log in LOGS if log.weights], ids=lambda log: f"{log.model}-{log.card}-tp{log.tp}"
)
def test_weights_are_what_vllm_says(log: Log) -> None:
    model = architecture(log.model)
    form = weight_format(log.form)
    stages = stage_layers(model.layers, log.pp)
    sizes = [
        weights_on_rank(model, form, log.tp, layers=layers, embedding=number == 0, head=number == log.pp - 1) / GIB
        for number, layers in enumerate(stages)
    ]
    # torch rounds tensors up to blocks, and rotary tables come on top: up to 1.5 % for a small shard
    assert max(sizes) == pytest.approx(log.weights, rel=0.015)


@pytest.mark.parametrize("log", [log for log in LOGS if log.activation], ids=lambda log: f"{log.model}-tp{log.tp}")
def test_working_memory_is_what_vllm_says_within_a_fifth(log: Log) -> None:
    found = fit(
        architecture(log.model), load_catalog().accelerators[log.card], tp=log.tp, weights=log.form,
        batch_tokens=log.batch_tokens, max_requests=log.requests, memory_bytes=log.total * GIB,
    )  # fmt: skip
    assert found.activation_bytes / GIB == pytest.approx(log.activation, rel=0.2)


@pytest.mark.parametrize("log", [log for log in LOGS if log.kv], ids=lambda log: f"{log.model}-{log.card}-tp{log.tp}")
def test_what_is_left_for_the_cache_is_within_a_twentieth_of_the_card(log: Log) -> None:
    card = load_catalog().accelerators[log.card]
    # another share than the default: the memory that gives the same usable bytes
    memory = log.total * GIB * log.share / 0.9
    found = fit(
        architecture(log.model), card, tp=log.tp, pp=log.pp, weights=log.form, batch_tokens=log.batch_tokens,
        max_requests=log.requests, memory_bytes=memory, context_tokens=1024,
    )  # fmt: skip
    assert found.kv_bytes / GIB == pytest.approx(log.kv, abs=0.05 * log.total)


@pytest.mark.parametrize("log", [log for log in LOGS if log.kv_tokens], ids=lambda log: f"{log.model}-{log.card}")
def test_bytes_per_token_are_what_vllms_tokens_and_gibs_say(log: Log) -> None:
    per_token = kv_bytes_per_token_on_rank(architecture(log.model), 2.0, log.tp)
    assert log.kv is not None
    assert log.kv_tokens is not None
    assert log.kv * GIB / log.kv_tokens == pytest.approx(per_token, rel=0.012)  # vLLM prints GiB to two places


def test_a_vision_models_log_gives_its_language_models_cache() -> None:
    # Qwen2.5-VL-7B, 24 GB card: 4.28 GiB hold 80,144 tokens (a public benchmark report)
    per_token = kv_bytes_per_token_on_rank(architecture("qwen2.5-7b-instruct"), 2.0)
    assert per_token == pytest.approx(4.28 * GIB / 80_144, rel=0.01)


@pytest.mark.parametrize(
    ("said", "near"),
    [
        (65.97, 0.002),  # GitHub vllm-project/vllm 23278, vLLM 0.10.1: "model loading took 65.97 GiB", cache -2.14 GiB
        (64.38, 0.025),  # 33155, vLLM 0.14.1, other kernels: out of memory
    ],
)
def test_experts_of_gpt_oss_are_padded_as_its_kernels_want_them(said: float, near: float) -> None:
    found = fit(architecture("gpt-oss-120b"), load_catalog().accelerators["h100-sxm"])
    assert found.weights_bytes / GIB == pytest.approx(said, rel=near)
    assert not found.fits  # on one card of 80 GB with vLLM's defaults, and vLLM did not start
    assert found.kv_bytes / GIB == pytest.approx(-2.14, abs=0.4)
    assert found.total_weights_bytes / 1e9 == pytest.approx(65.2, abs=0.1)  # the files are not padded
    assert fit(architecture("gpt-oss-120b"), load_catalog().accelerators["h100-sxm"], tp=2).fits


def test_only_mxfp4_is_padded_and_only_where_an_engine_says_so() -> None:
    card, model = load_catalog().accelerators["h100-sxm"], architecture("gpt-oss-20b")
    padded, sglang = fit(model, card), fit(model, card, engine=engine_memory("sglang"))
    assert padded.weights_bytes > 1.05 * sglang.weights_bytes
    assert (
        fit(model, card, weights="bf16").weights_bytes
        == fit(model, card, weights="bf16", engine=engine_memory("sglang")).weights_bytes
    )
    blackwell = fit(model, load_catalog().accelerators["b200"])
    assert blackwell.weights_bytes > padded.weights_bytes  # 3,072 x 3,072


FP8_CACHE: list[tuple[dict[str, Any], dict[str, Any] | None]] = [
    ({}, {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}),
    ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}, None),
    ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8",
                              "kv_cache_scheme": {"type": "float", "num_bits": 8, "dynamic": False}}}, None),
    ({"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {"group_0": {
        "weights": {"num_bits": 8, "type": "float"}}}, "kv_cache_scheme": {"type": "float", "num_bits": 8}}}, None),
]  # fmt: skip
LLAMA_70B: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
    "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip


@pytest.mark.parametrize(("more", "beside"), FP8_CACHE)
def test_a_cache_that_the_checkpoint_states_is_taken_by_vllm(
    more: dict[str, Any], beside: dict[str, Any] | None
) -> None:
    """vllm-project/vllm 29980, 30785: nvidia/Llama-3.1-70B-Instruct-FP8 on two cards."""
    sidecar = None if beside is None else ConfigValues("hf_quant_config.json", beside)
    model = architecture_of_config(ConfigValues("config.json", {**LLAMA_70B, **more}), "m", sidecar)[0]
    card = load_catalog().accelerators["h100-sxm"]
    found = fit(model, card, tp=2)
    assert found.kv_format == "fp8"
    assert found.kv_bytes_per_token == 80 * 4 * (128 + 128) * 1
    assert found.requests == 100
    assert "the checkpoint states a KV cache of fp8, which vllm takes by itself" in found.notes
    asked = fit(model, card, tp=2, kv="bf16")
    assert asked.kv_bytes_per_token == 2 * found.kv_bytes_per_token
    other = fit(model, card, tp=2, engine=engine_memory("sglang"))
    assert other.kv_format == "bf16"
    assert any("states a KV cache of fp8; sglang is taken to keep bf16" in note for note in other.notes)


@pytest.mark.parametrize("scheme", [None, {"quant_algo": "FP8", "kv_cache_quant_algo": None}])
def test_a_checkpoint_that_states_no_cache_has_16_bits(scheme: dict[str, Any] | None) -> None:
    sidecar = None if scheme is None else ConfigValues("hf_quant_config.json", {"quantization": scheme})
    model = architecture_of_config(ConfigValues("config.json", LLAMA_70B), "m", sidecar)[0]
    assert model.native_cache is None
    assert fit(model, load_catalog().accelerators["h100-sxm"], tp=2).kv_format == "bf16"


def test_sparse_attention_is_cached_as_sglang_says() -> None:
    """sgl-project/sglang 11309, 8 x B200: 975,424 tokens in 43.67 GB (of 2^30), 656 + 132 bytes a layer."""
    model, cards = architecture("deepseek-v3.2"), load_catalog().accelerators
    found = fit(model, cards["b200"], tp=8, engine=engine_memory("sglang"))
    assert (found.kv_format, found.kv_bytes_per_token) == ("fp8", 61 * (656 + 132))
    assert found.kv_bytes_per_token == pytest.approx(43.67 * GIB / 975_424, rel=2e-4)
    hopper = fit(model, cards["h200"], tp=8, engine=engine_memory("sglang"))
    assert (hopper.kv_format, hopper.kv_bytes_per_token) == ("bf16", 61 * (2 * 576 + 132))
    assert fit(model, cards["b200"], tp=8).kv_bytes_per_token == 61 * (2 * 576 + 132)  # vLLM's own default is 16 bits
    assert fit(model, cards["b200"], tp=8, kv="fp8").kv_bytes_per_token == 61 * (656 + 132)
    assert fit(architecture("deepseek-v3"), cards["b200"], tp=8, kv="fp8").kv_bytes_per_token == 61 * 576
