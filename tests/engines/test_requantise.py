"""Weights rewritten in another number format, against ggml's definition of the formats and the real engine."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rackrate.engines.requantise import BLOCK, BLOCK_BYTES, TYPES, dequantise, quantise, requantise
from rackrate.engines.settings import LaunchOptions
from rackrate.errors import EngineError

WEIGHTS = hnp.arrays(np.float32, (3, BLOCK), elements=st.integers(-(2**23), 2**23).map(lambda n: n / 2**20))
"""From -8 to 8 in steps of a millionth: a weight of 1e-38 is none."""


def one_by_one(block: bytes, name: str) -> list[float]:
    """A block's weights by ggml's definition (dequantize_row_* of ggml-quants.c), a weight at a time."""
    (d,) = struct.unpack_from("<e", block)
    if name == "Q8_0":
        return [d * q for q in struct.unpack_from("<32b", block, 2)]
    m = struct.unpack_from("<e", block, 2)[0] if name == "Q4_1" else None
    packed = block[4:] if name == "Q4_1" else block[2:]
    codes = [byte & 15 for byte in packed] + [byte >> 4 for byte in packed]
    return [d * q + m if m is not None else d * (q - 8) for q in codes]


@pytest.mark.parametrize("name", sorted(BLOCK_BYTES))
@given(data=st.binary(min_size=34 * 4, max_size=34 * 4))
def test_every_block_is_read_as_ggml_defines_it(name: str, data: bytes) -> None:
    size = BLOCK_BYTES[name]
    blocks = [data[n * size : (n + 1) * size] for n in range(3)]
    scales = [struct.unpack_from("<2e", block) for block in blocks]
    if not np.isfinite(scales).all():
        return
    ours = dequantise(np.frombuffer(b"".join(blocks), np.uint8), name)
    for row, block in zip(ours, blocks, strict=True):
        np.testing.assert_allclose(row, one_by_one(block, name), rtol=1e-6)


def ggml_q4_0(row: np.ndarray) -> np.ndarray:
    """quantize_row_q4_0_ref of ggml-quants.c: the weight of largest magnitude becomes -8."""
    d = np.float32(row[np.abs(row).argmax()] / np.float32(-8))
    inverse = np.float32(1) / d if d else np.float32(0)
    codes = np.minimum(15, (row * inverse + np.float32(8.5)).astype(np.int8))
    return np.float32(np.float16(d)) * (codes.astype(np.float32) - 8)


@given(WEIGHTS)
def test_q4_0_is_never_worse_than_ggmls_own(weights: np.ndarray) -> None:
    ours = dequantise(quantise(weights, "Q4_0"), "Q4_0")
    for row, mine in zip(weights, ours, strict=True):
        theirs = float(((ggml_q4_0(row) - row) ** 2).sum())
        assert float(((mine - row) ** 2).sum()) <= theirs * 1.001 + 1e-6


@given(WEIGHTS)
def test_q8_0_is_within_half_a_step(weights: np.ndarray) -> None:
    error = np.abs(dequantise(quantise(weights, "Q8_0"), "Q8_0") - weights)
    step = np.abs(weights).max(axis=1, keepdims=True) / 127
    # the scale itself is a half float, whose steps are 2**-24 where it is tiny
    assert (error <= step * (0.5 + 127 / 2048) + 127 * 2.0**-25).all()


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(tensors: dict[str, tuple[tuple[int, ...], str, bytes]], alignment: int | None = None) -> bytes:
    """A GGUF file, written by its specification (ggml, docs/gguf.md)."""
    entries = [text("general.architecture") + struct.pack("<I", 8) + text("llama")]
    entries.append(text("general.file_type") + struct.pack("<II", 4, 3))
    entries.append(text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("bc"))
    entries.append(text("scores") + struct.pack("<IIQ2f", 9, 6, 2, 0.5, 1.5))
    if alignment is not None:
        entries.append(text("general.alignment") + struct.pack("<II", 4, alignment))
    step = alignment or 32
    table, data = b"", b""
    for name, (shape, kind, raw) in tensors.items():
        table += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, TYPES[kind], len(data))
        data += raw + b"\0" * (-len(raw) % step)
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(entries)) + b"".join(entries) + table
    return head + b"\0" * (-len(head) % step) + data


@pytest.mark.parametrize("alignment", [None, 64])
@pytest.mark.parametrize("name", ["Q4_0", "Q8_0"])
def test_a_file_keeps_all_but_its_matrices(tmp_path: Path, name: str, alignment: int | None) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(64, 64)).astype(np.float32)
    embedding = rng.normal(size=(10, 64)).astype(np.float32)
    norm = rng.normal(size=64).astype(np.float32).tobytes()
    fine = quantise(embedding, "Q8_0").tobytes()
    coarse = quantise(matrix, "Q4_0").tobytes()  # as stored; read back as 4-bit weights
    tensors = {
        "embedding": ((64, 10), "Q8_0", fine),
        "a.norm": ((64,), "F32", norm),
        "a": ((64, 64), "Q4_0", coarse),
        "b": ((64, 64), "Q4_0", coarse),
    }
    source, target = tmp_path / "source.gguf", tmp_path / "target.gguf"
    source.write_bytes(gguf(tensors, alignment))
    requantise(source, target, name)
    rewritten = quantise(dequantise(np.frombuffer(coarse, np.uint8), "Q4_0"), name).tobytes()
    expected = {**tensors, "a": ((64, 64), name, rewritten), "b": ((64, 64), name, rewritten)}
    file_type = struct.pack("<II", 4, {"Q4_0": 2, "Q8_0": 7}[name])
    wanted = gguf(expected, alignment).replace(text("general.file_type") + struct.pack("<II", 4, 3),
                                               text("general.file_type") + file_type)  # fmt: skip
    assert target.read_bytes() == wanted


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_file_is_a_sentence_and_leaves_nothing(data: st.DataObject) -> None:
    import tempfile

    whole = bytearray(gguf({"a": ((32, 2), "Q4_0", bytes(36))}))
    place = data.draw(st.integers(0, len(whole) - 1))
    cut = data.draw(st.integers(0, len(whole)))
    whole[place] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "s.gguf", Path(name) / "t.gguf"
        source.write_bytes(bytes(whole[:cut]))
        try:
            requantise(source, target, "Q8_0")
        except EngineError:
            assert [path.name for path in Path(name).iterdir()] == ["s.gguf"]


@pytest.mark.engine
def test_the_real_engine_serves_rewritten_weights(tmp_path: Path) -> None:
    """The embedded model as Q4_0: loads, and still knows what it knew."""
    import json
    from urllib.request import Request, urlopen

    from rackrate.engines import llamacpp
    from rackrate.engines.process import RunningEngine
    from rackrate.engines.weights import find_weights

    llamacpp.install(lambda _: None)
    weights = find_weights("smollm2-135m-instruct:Q4_0", lambda _: None)
    assert weights.weight_format == "Q4_0 from Q4_1"
    command = llamacpp.command(weights, "m", LaunchOptions(slots=1, context_tokens=256))
    body = {
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "max_tokens": 24,
        "temperature": 0,
    }
    with RunningEngine(command, tmp_path / "log") as engine:
        engine.wait_until_ready()
        request = Request(
            command.url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urlopen(request, timeout=60) as answer:
            said = json.load(answer)["choices"][0]["message"]["content"]
    assert "Paris" in said
