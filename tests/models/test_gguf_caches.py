"""What a request keeps under llama.cpp, by architecture, against published logs and llama.cpp's own code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from rackrate.errors import UserError
from rackrate.memory.engine_memory import engine_memory
from rackrate.memory.kv_cache import kv_bytes_per_token_on_rank, request_bytes
from rackrate.models.architecture import Architecture
from rackrate.models.gguf_architectures import ARCHITECTURES, NO_DECODERS
from rackrate.models.gguf_model import read_gguf_model
from rackrate.units import GIB
from written_gguf import TENSORS, gguf

LLAMA_CPP = engine_memory("llama.cpp")


def model(tmp_path: Path, name: str, **keys: Any) -> Architecture:
    """A header with these keys of an architecture; __ stands for a dot."""
    metadata: dict[str, Any] = {"general.architecture": name, "general.file_type": 7, f"{name}.vocab_size": 320}
    metadata |= {f"{name}.context_length": 262_144, f"{name}.feed_forward_length": 512}
    metadata |= {f"{name}.{key.replace('__', '.')}": value for key, value in keys.items()}
    file = tmp_path / "m.gguf"
    file.write_bytes(gguf(metadata, TENSORS))
    return read_gguf_model(file).architecture


def shape(layers: int, hidden: int, heads: int, kv_heads: Any, key: int, value: int | None = None) -> dict[str, Any]:
    return {
        "block_count": layers, "embedding_length": hidden, "attention__head_count": heads,
        "attention__head_count_kv": kv_heads, "attention__key_length": key,
        "attention__value_length": key if value is None else value,
    }  # fmt: skip


def groups(found: Architecture) -> list[tuple[int, int, int, int | None]]:
    """(layers, KV heads, key values, window) of the layers that attend."""
    return [(g.layers, g.kv_heads, g.key_dim, g.window_tokens) for g in found.caches if g.kind == "grouped"]


def request(found: Architecture, tokens: int, value_bytes: float = 2.0) -> float:
    return request_bytes(
        found.caches, tokens, value_bytes, block_tokens=LLAMA_CPP.block_tokens, beyond_window=LLAMA_CPP.beyond_window
    )


def test_deepseek_from_before_latent_attention_keeps_every_head(tmp_path: Path) -> None:
    """ggml-org/llama.cpp pull request 12801; gpustack/gguf-parser-go 8: 4,997,120 bytes a token at V3's shape."""
    lite = shape(27, 2048, 16, 16, 192, 128) | {"attention__kv_lora_rank": 512, "rope__dimension_count": 64}
    old = model(tmp_path, "deepseek2", **lite)
    assert kv_bytes_per_token_on_rank(old, 2.0) == 276_480
    assert request(old, 32_768) / GIB == pytest.approx(8.44, abs=0.005)
    large = shape(61, 7168, 128, 128, 192, 128) | {"attention__kv_lora_rank": 512, "rope__dimension_count": 64}
    assert kv_bytes_per_token_on_rank(model(tmp_path, "deepseek2", **large), 2.0) == 4_997_120
    new = large | {"attention__key_length_mla": 192, "attention__value_length_mla": 128}
    # ikawrakow/ik_llama.cpp 259: c^KV (q8_0) 1166.62 MiB for 32,768 tokens
    found = model(tmp_path, "deepseek2", **new)
    assert kv_bytes_per_token_on_rank(found, 2.0) == 70_272
    assert request(found, 32_768, 34 / 32) / 2**20 == pytest.approx(1166.62, abs=0.01)


def test_gemma_4_differs_by_layer_in_heads_and_their_size(tmp_path: Path) -> None:
    """26B-A4B; ollama/ollama 16958 has 3.00 GB at 128k, with a larger window cache."""
    short = [number % 6 != 5 for number in range(30)]
    keys = shape(30, 2816, 16, [8 if item else 2 for item in short], 512) | {
        "attention__key_length_swa": 256, "attention__value_length_swa": 256, "attention__sliding_window": 1024,
        "attention__sliding_window_pattern": [int(item) for item in short],
    }  # fmt: skip
    found = model(tmp_path, "gemma4", **keys)
    assert groups(found) == [(5, 2, 512, None), (25, 8, 256, 1024)]
    whole = next(group for group in found.caches if group.window_tokens is None)
    assert request_bytes([whole], 131_072, 2.0) == 2.5 * GIB
    assert 2.7 < request(found, 131_072) / GIB < 2.8
    shared = model(tmp_path, "gemma4", **keys, attention__shared_kv_layers=12)
    assert groups(shared) == [(3, 2, 512, None), (15, 8, 256, 1024)]
    del keys["attention__sliding_window_pattern"]
    with pytest.raises(UserError, match=r"the key gemma4\.attention\.sliding_window_pattern is missing"):
        model(tmp_path, "gemma4", **keys)


@pytest.mark.parametrize(
    ("name", "keys", "expected"),
    [
        ("llama4", shape(48, 5120, 40, 8, 128), [(12, 8, 128, None), (36, 8, 128, 8192)]),
        ("olmo2", shape(32, 4096, 32, 32, 128), [(32, 32, 128, None)]),
        ("olmo2", shape(32, 4096, 32, 32, 128) | {"attention__sliding_window": 4096},
         [(8, 32, 128, None), (24, 32, 128, 4096)]),
        ("gemma2", shape(26, 2304, 8, 4, 256), [(13, 4, 256, None), (13, 4, 256, 4096)]),
        ("gemma3", shape(62, 5376, 32, 16, 128) | {"attention__sliding_window": 1024},
         [(10, 16, 128, None), (52, 16, 128, 1024)]),
        ("gemma3n", shape(35, 2048, 8, 2, 256) | {"attention__sliding_window": 512},
         [(4, 2, 256, None), (16, 2, 256, 512)]),
        ("gpt-oss", shape(36, 2880, 64, 8, 64) | {"attention__sliding_window": 128},
         [(18, 8, 64, None), (18, 8, 64, 128)]),
        ("cohere2", shape(32, 4096, 32, 8, 128) | {"attention__sliding_window": 4096},
         [(8, 8, 128, None), (24, 8, 128, 4096)]),
        ("exaone4", shape(64, 5120, 40, 8, 128), [(16, 8, 128, None), (48, 8, 128, 4096)]),
        ("exaone4", shape(30, 2048, 32, 8, 64) | {"attention__sliding_window": 4096}, [(30, 8, 64, None)]),
        ("smallthinker", shape(52, 2560, 28, 4, 128) | {"attention__sliding_window": 4096},
         [(13, 4, 128, None), (39, 4, 128, 4096)]),
        # llama.cpp does not use the windows of these, whatever the file says
        ("phi3", shape(32, 3072, 32, 32, 96) | {"attention__sliding_window": 2047}, [(32, 32, 96, None)]),
        ("llama", shape(32, 4096, 32, 8, 128) | {"attention__sliding_window": 4096}, [(32, 8, 128, None)]),
        # KV heads by layer
        ("openelm", shape(16, 1280, 20, [3] * 5 + [4] * 7 + [5] * 4, 64),
         [(5, 3, 64, None), (7, 4, 64, None), (4, 5, 64, None)]),
        ("deci", shape(4, 4096, 32, [8, 0, 4, 0], 128), [(1, 4, 128, None), (1, 8, 128, None)]),
        # layers that predict further tokens are not served
        ("glm4moe", shape(47, 4096, 96, 8, 128) | {"nextn_predict_layers": 1}, [(46, 8, 128, None)]),
        # a rank, but no latent cache
        ("minicpm3", shape(62, 2560, 40, 40, 96, 64) | {"attention__kv_lora_rank": 256}, [(62, 40, 96, None)]),
    ],
)  # fmt: skip
def test_windows_and_heads(
    tmp_path: Path, name: str, keys: dict[str, Any], expected: list[tuple[int, int, int, int | None]]
) -> None:
    assert sorted(groups(model(tmp_path, name, **keys)), key=str) == sorted(expected, key=str)


def test_openelm_keeps_the_heads_of_each_layer(tmp_path: Path) -> None:
    found = model(tmp_path, "openelm", **shape(16, 1280, 20, [3] * 5 + [4] * 7 + [5] * 4, 64))
    assert kv_bytes_per_token_on_rank(found, 2.0) == 63 * (64 + 64) * 2


SSM: dict[str, Any] = {"ssm__conv_kernel": 4, "ssm__state_size": 128, "ssm__group_count": 16, "ssm__inner_size": 4096}
"""Qwen3-Next's; llama.cpp keeps (4096 + 2 x 16 x 128) x 3 + 128 x 4096 values of a layer, in 32 bits."""


def state(found: Architecture) -> tuple[int, float]:
    group = next(group for group in found.caches if group.kind == "state")
    return group.layers, group.state_bytes


@pytest.mark.parametrize("more", [{}, {"full_attention_interval": 4}])
def test_qwen3_next_attends_in_one_layer_of_four_whether_the_file_says_it_or_not(
    tmp_path: Path, more: dict[str, int]
) -> None:
    found = model(tmp_path, "qwen3next", **shape(48, 2048, 16, 2, 256), **SSM, **more)
    assert groups(found) == [(12, 2, 256, None)]
    assert state(found) == (36, 4.0 * (128 * 4096 + (4096 + 2 * 16 * 128) * 3))
    assert request(found, 131_072) / GIB == pytest.approx(3.07, abs=0.005)


def test_hybrids_keep_a_state_where_they_do_not_attend(tmp_path: Path) -> None:
    heads = [0, 0, 8, 0]
    nemotron = shape(4, 4096, 32, heads, 128) | {"feed_forward_length": [0, 21504, 0, 0]}
    found = model(tmp_path, "nemotron_h", **nemotron, **SSM)
    assert groups(found) == [(1, 8, 128, None)]
    assert state(found)[0] == 2  # the layer with a feed-forward has nothing else
    assert state(model(tmp_path, "granitehybrid", **shape(4, 4096, 32, heads, 128), **SSM))[0] == 3
    assert state(model(tmp_path, "falcon-h1", **shape(4, 4096, 32, 8, 128), **SSM))[0] == 4
    lfm2 = model(tmp_path, "lfm2", **shape(4, 2048, 32, heads, 64), shortconv__l_cache=3)
    assert state(lfm2) == (3, 4.0 * 2048 * 2)
    kimi = shape(4, 2304, 32, [0, 0, 0, 1], 576, 512) | {
        "attention__kv_lora_rank": 512, "attention__key_length_mla": 192, "attention__value_length_mla": 128,
        "rope__dimension_count": 64, "kda__head_dim": 128, "ssm__conv_kernel": 4,
    }  # fmt: skip
    assert state(model(tmp_path, "kimi-linear", **kimi)) == (3, 4.0 * 32 * 128 * (3 * 3 + 128))


def test_a_model_without_attention_keeps_a_state_only(tmp_path: Path) -> None:
    mamba = shape(64, 4096, 0, 0, 0) | {"ssm__conv_kernel": 4, "ssm__state_size": 16, "ssm__inner_size": 8192}
    found = model(tmp_path, "mamba", **mamba)
    assert [group.kind for group in found.caches] == ["state"]
    assert request(found, 100_000) == request(found, 1) == 64 * 4 * (8192 * 16 + 8192 * 3)


def test_an_architecture_that_is_not_known_is_not_guessed_at(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape("m.gguf: the architecture 'llama9' is not known: what its layers")):
        model(tmp_path, "llama9", **shape(2, 256, 4, 2, 64))
    with pytest.raises(UserError, match="the architecture 'bert' writes no text of its own"):
        model(tmp_path, "bert", **shape(2, 256, 4, 4, 64))
    assert not NO_DECODERS & set(ARCHITECTURES)


@pytest.mark.parametrize("key", ["attention__head_count_kv", "attention__sliding_window_pattern"])
def test_a_list_that_is_too_short_is_named(tmp_path: Path, key: str) -> None:
    keys = shape(6, 256, 4, 2, 64) | {"attention__sliding_window": 512, "attention__sliding_window_pattern": [1] * 6}
    with pytest.raises(UserError, match=rf"gemma4\.{key.replace('__', '.')} should have a .* for each of the 6 layers"):
        model(tmp_path, "gemma4", **keys | {key: [1, 1]})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -4.0, 2.5, "eight"])
def test_a_number_that_is_none_is_named(tmp_path: Path, value: Any) -> None:
    with pytest.raises(UserError, match=r"llama\.attention\.head_count_kv should be a whole number"):
        model(tmp_path, "llama", **shape(6, 256, 4, value, 64))


def test_the_architectures_that_are_known_are_llama_cpps(tmp_path: Path) -> None:
    """Names as of llama.cpp's src/llama-arch.cpp: each is read, whatever its kind."""
    assert len(ARCHITECTURES) >= 100
    everything = shape(8, 256, 4, 2, 64) | SSM | {
        "attention__sliding_window": 512, "attention__sliding_window_pattern": [1] * 8, "shortconv__l_cache": 3,
        "kda__head_dim": 64, "wkv__head_size": 64,
    }  # fmt: skip
    for name in ARCHITECTURES:
        assert model(tmp_path, name, **everything).caches
