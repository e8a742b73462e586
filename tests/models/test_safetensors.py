"""Safetensors headers and indexes: written by the format's definition, and damaged."""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.catalog.load import load_catalog
from rackrate.errors import UserError
from rackrate.models.read_model import read_model
from rackrate.models.safetensors_header import read_safetensors_header, safetensors_size

CONFIG: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320, "max_position_embeddings": 256,
    "tie_word_embeddings": True, "torch_dtype": "bfloat16",
}  # fmt: skip
SHAPES: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (320, 64), "model.norm.weight": (64,)}
for _layer in range(2):
    SHAPES.update({
        f"model.layers.{_layer}.{name}.weight": shape
        for name, shape in {
            "self_attn.q_proj": (64, 64), "self_attn.k_proj": (32, 64), "self_attn.v_proj": (32, 64),
            "self_attn.o_proj": (64, 64), "mlp.gate_proj": (128, 64), "mlp.up_proj": (128, 64),
            "mlp.down_proj": (64, 128), "input_layernorm": (64,), "post_attention_layernorm": (64,),
        }.items()
    })  # fmt: skip
PARAMETERS = 320 * 64 + 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 128 + 2 * 64)


def safetensors(shapes: dict[str, tuple[int, ...]], dtype: str = "BF16") -> bytes:
    header = {name: {"dtype": dtype, "shape": list(shape), "data_offsets": [0, 0]} for name, shape in shapes.items()}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return struct.pack("<Q", len(text)) + text


def model(directory: Path, shapes: dict[str, tuple[int, ...]] = SHAPES, **changes: Any) -> Path:
    (directory / "config.json").write_text(json.dumps({**CONFIG, **changes}), encoding="utf-8")
    (directory / "model.safetensors").write_bytes(safetensors(shapes))
    return directory


def test_size_and_count_are_exact(tmp_path: Path) -> None:
    read = read_model(str(model(tmp_path)), load_catalog())
    assert read.weights_file_bytes == 2 * PARAMETERS
    assert read.architecture.parameters.total == PARAMETERS
    assert read.notes == ()


def test_what_serving_does_not_load_is_left_out(tmp_path: Path) -> None:
    more = {
        **SHAPES, "lm_head.weight": (320, 64), "model.layers.2.mlp.up_proj.weight": (128, 64),
        "mtp.fc.weight": (64, 128),
    }  # fmt: skip
    assert read_model(str(model(tmp_path, more)), load_catalog()).weights_file_bytes == 2 * PARAMETERS
    untied = read_model(str(model(tmp_path, more, tie_word_embeddings=False)), load_catalog())
    assert untied.weights_file_bytes == 2 * (PARAMETERS + 320 * 64)


def test_vision_towers_are_counted_from_the_files(tmp_path: Path) -> None:
    more = {**SHAPES, "vision_tower.layers.7.weight": (100, 10)}
    read = read_model(str(model(tmp_path, more)), load_catalog())
    assert read.architecture.parameters.vision == 1000
    assert read.weights_file_bytes == 2 * (PARAMETERS + 1000)


def test_a_config_that_disagrees_with_the_files_is_said(tmp_path: Path) -> None:
    read = read_model(str(model(tmp_path, intermediate_size=256)), load_catalog())
    assert "their" not in read.notes[0]
    assert f"{PARAMETERS:,}" in read.notes[0]


def test_a_type_that_is_not_known_is_read_where_the_files_agree_with_llamas_shape(tmp_path: Path) -> None:
    found = read_model(str(model(tmp_path, model_type="newcomer")), load_catalog())
    assert found.weights_file_bytes is not None
    assert any("the model_type 'newcomer' is not known; read as Llama's shape" in note for note in found.notes)
    model(tmp_path, model_type="newcomer", intermediate_size=160)
    with pytest.raises(UserError, match=r"'newcomer' is not known.*safetensors do not have the .* of Llama's shape"):
        read_model(str(tmp_path), load_catalog())
    (tmp_path / "model.safetensors").unlink()
    for name in (tmp_path, tmp_path / "config.json"):
        with pytest.raises(UserError, match=r"'newcomer' is not known.*lay its safetensors beside it"):
            read_model(str(name), load_catalog())


def test_an_index_alone_gives_bytes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    index = tmp_path / "model.safetensors.index.json"
    values = {"metadata": {"total_size": 2 * PARAMETERS}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}
    index.write_text(json.dumps(values), encoding="utf-8")
    assert read_model(str(tmp_path), load_catalog()).weights_file_bytes == 2 * PARAMETERS
    assert read_model(str(index), load_catalog()).weights_file_bytes == 2 * PARAMETERS
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"needs the config\.json beside it"):
        read_model(str(index), load_catalog())


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"metadata": {"total_size": -1}, "weight_map": {"a": "b"}}, "total_size should be a number of bytes, not -1"),
        ({"metadata": {}, "weight_map": {"a": "b"}}, "total_size should be a number of bytes, not None"),
        ({"metadata": {"total_size": 4}}, "weight_map is missing"),
        ({"metadata": {"total_size": 4}, "weight_map": {"a": "../../etc/passwd"}}, "should name files beside it"),
    ],
)
def test_wrong_indexes(tmp_path: Path, values: dict[str, Any], sentence: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        safetensors_size(tmp_path, layers=2, tied=True)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not a safetensors file"),
        (struct.pack("<Q", 2**62) + b"{}", "header would have"),
        (struct.pack("<Q", 2) + b"[]", "is no JSON object"),
        (struct.pack("<Q", 4) + b"{{{{", "cannot be read"),
        (safetensors({"t": (4,)}, dtype="F3"), "no known dtype"),
        (safetensors({"t": (-4,)}), "no known dtype and shape"),
    ],
)
def test_wrong_headers(tmp_path: Path, data: bytes, sentence: str) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(data)
    with pytest.raises(UserError, match=sentence):
        read_safetensors_header(file)


@given(st.binary(max_size=60))
@settings(max_examples=80, deadline=None)
def test_no_bytes_are_worse_than_a_user_error(tmp_path_factory: pytest.TempPathFactory, tail: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    file.write_bytes(struct.pack("<Q", len(tail)) + tail)
    with contextlib.suppress(UserError):
        read_safetensors_header(file)
