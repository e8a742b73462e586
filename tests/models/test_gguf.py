"""GGUF headers: written here by the format's definition, the real embedded file, and files that lie."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.catalog.load import load_catalog
from rackrate.engines.weights import EMBEDDED
from rackrate.errors import UserError
from rackrate.memory.kv_cache import kv_bytes_per_token_on_rank
from rackrate.models.architecture import of_catalogue_model
from rackrate.models.formats import weight_format
from rackrate.models.gguf_header import TENSOR_TYPES, read_gguf_header
from rackrate.models.gguf_model import read_gguf_model
from rackrate.models.read_model import read_model
from rackrate.models.tokenizer_files import read_tokenizer
from rackrate.models.weight_sizes import weight_bytes
from written_gguf import ARRAY, LLAMA, STRING, TENSORS, Value, gguf, text

WHOLE = gguf(LLAMA, TENSORS)


def written(directory: Path, data: bytes, name: str = "m.gguf") -> Path:
    file = directory / name
    file.write_bytes(data)
    return file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    header = read_gguf_header(written(tmp_path, WHOLE))
    assert header.metadata["general.architecture"] == "llama"
    assert header.metadata["general.quantized"] is True
    assert header.array_lengths == {"tokenizer.ggml.tokens": 3}
    assert [tensor.name for tensor in header.tensors] == [name for name, _, _ in TENSORS]
    values = 2 * 256 * 320 + 2 * (2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 512)
    assert header.tensor_bytes == values * 34 // 32 + 5 * 256 * 4
    model = read_gguf_model(header.path).architecture
    assert (model.layers, model.heads, model.kv_heads, model.head_dim, model.vocabulary) == (2, 4, 2, 64, 320)
    assert model.native_weights == "Q8_0"
    assert model.parameters.total == values + 5 * 256
    # the same, computed from the shape and the format
    assert weight_bytes(model, weight_format("Q8_0")) == header.tensor_bytes


def test_experts_latent_attention_and_windows_are_seen(tmp_path: Path) -> None:
    moe: dict[str, Value] = {
        **{key.replace("llama.", "deepseek2."): value for key, value in LLAMA.items()},
        "general.architecture": "deepseek2", "deepseek2.expert_count": 8, "deepseek2.expert_used_count": 2,
        "deepseek2.expert_feed_forward_length": 64, "deepseek2.attention.kv_lora_rank": 128,
        "deepseek2.rope.dimension_count": 32, "deepseek2.attention.key_length_mla": 96,
        "deepseek2.attention.value_length_mla": 64,
    }  # fmt: skip
    experts = [(f"blk.{number}.ffn_down_exps.weight", (64, 256, 8), 8) for number in range(2)]
    model = read_gguf_model(written(tmp_path, gguf(moe, [*TENSORS, *experts]))).architecture
    assert model.experts is not None
    assert (model.experts.routed, model.experts.active, model.experts.layers) == (8, 2, 2)
    biases = [(f"blk.{number}.ffn_down_exps.bias", (256, 8), 0) for number in range(2)]
    biased = read_gguf_model(written(tmp_path, gguf(moe, [*TENSORS, *experts, *biases]))).architecture
    assert biased.experts == replace(model.experts, biases_each=256)
    assert biased.active_parameters == model.active_parameters + 2 * 2 * 256
    assert biased.expert_parameters == model.expert_parameters + 2 * 8 * 256
    assert kv_bytes_per_token_on_rank(model, 2.0) == 2 * (128 + 32) * 2
    windowed: dict[str, Value] = {
        **{key.replace("llama.", "gemma3."): value for key, value in LLAMA.items()},
        "general.architecture": "gemma3", "gemma3.attention.sliding_window": 16, "gemma3.block_count": 12,
    }  # fmt: skip
    groups = read_gguf_model(written(tmp_path, gguf(windowed, TENSORS))).architecture.caches
    assert [(group.layers, group.window_tokens) for group in groups] == [(2, None), (10, 16)]


def test_a_split_model_is_read_whole(tmp_path: Path) -> None:
    first = written(tmp_path, gguf(LLAMA, TENSORS[:9]), "big-00001-of-00002.gguf")
    with pytest.raises(UserError, match=r"big-00002-of-00002\.gguf is missing"):
        read_gguf_model(first)
    written(tmp_path, gguf({}, TENSORS[9:]), "big-00002-of-00002.gguf")
    whole = read_gguf_model(written(tmp_path, WHOLE, "one.gguf"))
    assert read_gguf_model(first).tensor_bytes == whole.tensor_bytes
    (tmp_path / "one.gguf").unlink()
    assert read_model(str(tmp_path), load_catalog()).weights_file_bytes == whole.tensor_bytes


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "0 bytes are no header"),
        (b"GGUF", "4 bytes are no header"),
        (b"PK" + bytes(40), "is not a GGUF file"),
        (gguf(LLAMA, TENSORS, version=1), "version 1; 2 and 3 are known"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 1), "tensors are more than any model has"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 2**40), "metadata entries are more"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**62), "bytes of a string are more"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**20) + b"abc", "bytes are announced where"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<I", 77), "type 77, which is not known"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", ARRAY, STRING, 2**30), "announced"),
        (gguf(LLAMA, [("t", (2**40, 2**40), 0)]), "the tensor t has"),
        (gguf(LLAMA, [("t", (32,), 4)]), "the tensor t has the type 4"),
        (gguf({}, TENSORS), "general.architecture is missing"),
        (gguf(LLAMA, []), "there are no tensors"),
        (gguf({**LLAMA, "llama.block_count": 0}, TENSORS), r"llama\.block_count is 0, which no model has"),
        (
            gguf({k: v for k, v in LLAMA.items() if k != "llama.embedding_length"}, TENSORS),
            "embedding_length is missing",
        ),
        (gguf({**LLAMA, "llama.attention.head_count": "four"}, TENSORS), "should be a whole number"),
    ],
)
def test_files_that_lie_cost_a_sentence(tmp_path: Path, data: bytes, sentence: str) -> None:
    file = written(tmp_path, data)
    tracemalloc.start()
    with pytest.raises(UserError, match=sentence) as caught:
        read_model(str(file), load_catalog())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(file) in str(caught.value)
    assert peak < 5e6


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_damage_is_worse_than_a_user_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    file = tmp_path_factory.getbasetemp() / "damaged.gguf"
    broken = bytearray(WHOLE[: data.draw(st.integers(0, len(WHOLE)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if broken:
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(bytes(broken))
    with contextlib.suppress(UserError):
        read_gguf_model(file)


def test_the_embedded_file_is_what_the_catalogue_predicts() -> None:
    path = EMBEDDED[0].path
    if not path.exists():
        pytest.skip("the embedded weights are not installed")
    read = read_model(str(path), load_catalog())
    assert read.weights_file_bytes == 96_576_768
    entry = of_catalogue_model(load_catalog().model("smollm2-135m-instruct"))
    assert weight_bytes(entry, weight_format("Q4_1")) == read.weights_file_bytes
    assert read.architecture.parameters == entry.parameters
    assert read.architecture.caches == entry.caches
    assert set(TENSOR_TYPES) >= {0, 3, 8}


def test_a_gguf_file_is_planned_on_llama_cpp_as_it_is(tmp_path: Path) -> None:
    read = read_model(str(written(tmp_path, WHOLE)), load_catalog())
    assert read.is_gguf
    assert read.listed is None
    assert read.architecture.native_weights == "Q8_0"
    assert read.weights_file_bytes == read_gguf_header(tmp_path / "m.gguf").tensor_bytes


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"tokenizer.ggml.model": "llama"}, "the kind 'llama', which is not read here"),
        ({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "new", "tokenizer.ggml.merges": ["a b"]}, "'new'"),
        ({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.merges": ["a x"]}, "joins 'a x', which the vocabulary lacks"),
        ({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.merges": ["ab"]}, "joins 'ab'"),
        ({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.merges": [1, 2]}, "an array of strings holds something else"),
    ],
)
def test_a_vocabulary_that_cannot_be_used_is_a_sentence(tmp_path: Path, facts: dict[str, Value], said: str) -> None:
    file = written(tmp_path, gguf(LLAMA | facts, TENSORS))
    with pytest.raises(UserError, match=said):
        read_tokenizer(str(file))
