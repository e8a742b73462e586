"""Headers of GGUF files, written by the format's definition (docs/gguf.md of ggml)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10
Value = int | float | bool | str | Sequence[int] | Sequence[str]
Tensors = Sequence[tuple[str, tuple[int, ...], int]]


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value_bytes(value: Value) -> bytes:
    """Type and value, as docs/gguf.md of ggml lays them out."""
    if isinstance(value, bool):
        return struct.pack("<IB", BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", U32, value)
    if isinstance(value, float):
        return struct.pack("<If", F32, value)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + text(value)
    if value and isinstance(value[0], str):
        return struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(text(str(item)) for item in value)
    return struct.pack("<IIQ", ARRAY, I32, len(value)) + b"".join(struct.pack("<i", int(item)) for item in value)


def gguf(metadata: dict[str, Value], tensors: Tensors, version: int = 3) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, value in metadata.items():
        head += text(key) + value_bytes(value)
    for name, shape, kind in tensors:
        head += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        head += struct.pack("<IQ", kind, 0)
    return head


LLAMA: dict[str, Value] = {
    "general.architecture": "llama", "general.file_type": 7, "llama.block_count": 2, "llama.context_length": 1024,
    "llama.embedding_length": 256, "llama.feed_forward_length": 512, "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2, "tokenizer.ggml.tokens": ["a", "b", "c"], "llama.vocab_size": 320,
    "general.quantized": True, "llama.rope.freq_base": 10000.0,
}  # fmt: skip
LAYER = [
    ("attn_norm.weight", (256,), 0), ("attn_q.weight", (256, 256), 8), ("attn_k.weight", (256, 128), 8),
    ("attn_v.weight", (256, 128), 8), ("attn_output.weight", (256, 256), 8), ("ffn_gate.weight", (256, 512), 8),
    ("ffn_up.weight", (256, 512), 8), ("ffn_down.weight", (512, 256), 8), ("ffn_norm.weight", (256,), 0),
]  # fmt: skip
TENSORS: Tensors = [
    ("token_embd.weight", (256, 320), 8),
    *((f"blk.{number}.{name}", shape, kind) for number in range(2) for name, shape, kind in LAYER),
    ("output_norm.weight", (256,), 0),
    ("output.weight", (256, 320), 8),
]
