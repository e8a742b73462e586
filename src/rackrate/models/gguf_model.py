"""An `Architecture` from a GGUF file's header: shapes from its metadata, parameters and bytes from its tensor table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rackrate.errors import UserError
from rackrate.files import is_there
from rackrate.models.architecture import Architecture, Parameters, RoutedExperts
from rackrate.models.formats import FORMATS
from rackrate.models.gguf_architectures import ARCHITECTURES, NO_DECODERS
from rackrate.models.gguf_caches import Heads, caches_of
from rackrate.models.gguf_header import Tensor, read_gguf_header
from rackrate.models.gguf_keys import GgufKeys

FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K",
    13: "Q3_K", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K", 22: "IQ3_S", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_S", 28: "IQ2_S",
    29: "IQ2_S", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip
"""general.file_type in the words of models.formats (llama.cpp, include/llama.h, llama_ftype); mixes without a format of
their own under their base type. Sizes come from the tensors, so this is a name only."""
_SPLIT = re.compile(r"^(.*)-(\d{5})-of-(\d{5})\.gguf$")


@dataclass(frozen=True)
class GgufModel:
    """What a GGUF file, or all parts of a split one, say."""

    architecture: Architecture
    tensor_bytes: int
    files: tuple[Path, ...]


def read_gguf_model(path: Path) -> GgufModel:
    """The model of a GGUF file. Raises UserError with file and key where the header is wrong or says too little."""
    headers = [read_gguf_header(part) for part in _parts(path)]
    first = next((header for header in headers if "general.architecture" in header.metadata), None)
    if first is None:
        raise UserError(f"{path}: the key general.architecture is missing")
    tensors = [tensor for header in headers for tensor in header.tensors]
    if not tensors:
        raise UserError(f"{path}: there are no tensors in it")
    return GgufModel(
        _architecture(GgufKeys(first), tensors, path),
        sum(tensor.size for tensor in tensors),
        tuple(header.path for header in headers),
    )


def _parts(path: Path) -> list[Path]:
    """All files of a split model, the given one among them."""
    split = _SPLIT.match(path.name)
    if split is None:
        return [path]
    count = int(split[3])
    if not 1 <= count <= 999:
        raise UserError(f"{path}: is named as one of {count} parts, which no model has")
    parts = [path.with_name(f"{split[1]}-{number:05d}-of-{split[3]}.gguf") for number in range(1, count + 1)]
    missing = [part.name for part in parts if not is_there(part)]
    if missing:
        raise UserError(f"{path}: the part {missing[0]} is missing beside it")
    return parts


def _architecture(keys: GgufKeys, tensors: list[Tensor], path: Path) -> Architecture:
    layers, hidden = keys.whole("block_count"), keys.whole("embedding_length")
    heads = keys.whole("attention.head_count")
    family = ARCHITECTURES.get(keys.architecture)
    if family is None:
        why = (
            "writes no text of its own" if keys.architecture in NO_DECODERS
            else "is not known: what its layers keep of a request is not in the file"
        )  # fmt: skip
        raise UserError(f"{path}: the architecture {keys.architecture!r} {why}")
    if family.recurrent == "all":
        heads = heads or 1  # it attends to nothing
    for name, value in (("block_count", layers), ("embedding_length", hidden), ("attention.head_count", heads)):
        if not 1 <= value <= 10**6 or (name == "block_count" and value > 10_000):
            raise UserError(f"{path}: {keys.architecture}.{name} is {value}, which no model has")
    kv_heads = keys.whole("attention.head_count_kv", default=heads) or heads
    head_dim = keys.whole("attention.key_length", default=max(1, hidden // heads))
    value_dim = keys.whole("attention.value_length", default=max(1, hidden // heads))
    vocabulary = keys.whole("vocab_size", default=keys.header.array_lengths.get("tokenizer.ggml.tokens", 0))
    if vocabulary < 1:
        raise UserError(f"{path}: neither {keys.architecture}.vocab_size nor tokenizer.ggml.tokens says the vocabulary")
    experts = keys.whole("expert_count", default=0)
    parameters = _parameters(tensors)
    routed = None
    inner = keys.whole("feed_forward_length", default=0)
    if experts:
        used = keys.whole("expert_used_count", default=1)
        width = keys.whole("expert_feed_forward_length", default=inner)
        moe_layers = (
            sum("ffn_down_exps" in tensor.name and not tensor.name.endswith(".bias") for tensor in tensors) or layers
        )
        biases = sum(tensor.values for tensor in tensors if "_exps" in tensor.name and tensor.name.endswith(".bias"))
        each, biases_each = (total // (moe_layers * experts) for total in (parameters.experts, biases))
        routed = RoutedExperts(experts, used, moe_layers, each, biases_each=biases_each)
        inner = max(inner, used * width + keys.whole("expert_shared_feed_forward_length", default=0))
    file_type = keys.header.metadata.get("general.file_type")
    kind = FILE_TYPES.get(file_type, "") if isinstance(file_type, int) else ""
    plain = {"F32": "fp32", "F16": "fp16", "BF16": "bf16"}
    return Architecture(
        name=path.stem,
        layers=layers,
        hidden_size=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocabulary=vocabulary,
        context_tokens=max(1, keys.whole("context_length", default=2048)),
        widest_feed_forward=inner,
        parameters=parameters,
        caches=caches_of(keys, family, layers, Heads(heads, kv_heads, head_dim, value_dim), hidden),
        experts=routed,
        native_weights=plain.get(kind, kind) or _commonest(tensors),
        origin=str(path),
    )


def _commonest(tensors: list[Tensor]) -> str:
    """The type that holds most weights, where the file does not name its own."""
    totals: dict[str, int] = {}
    for tensor in tensors:
        totals[tensor.type] = totals.get(tensor.type, 0) + tensor.values
    name = max(totals, key=lambda item: totals[item])
    return name if name.lower() in FORMATS else "fp16"


def _parameters(tensors: list[Tensor]) -> Parameters:
    counts: dict[str, int] = {}
    for tensor in tensors:
        kind = _kind(tensor)
        counts[kind] = counts.get(kind, 0) + tensor.values
    return Parameters(**counts)


def _kind(tensor: Tensor) -> str:
    """The kind of parameter, by the tensor's name (llama.cpp, gguf-py/gguf/constants.py)."""
    name = tensor.name
    if name.startswith(("token_embd", "position_embd")):
        return "embedding"
    if name == "output.weight":
        return "head"
    if len(tensor.shape) < 2 or "norm" in name or "conv1d" in name or name.endswith(".bias"):
        return "vectors"
    if "_exps" in name:
        return "experts"
    if "ffn_gate_inp" in name:
        return "router"
    if "ffn_" in name:
        return "feed_forward"
    if "ssm_" in name:
        return "state"
    if re.search(r"attn_(k|v)\.", name):
        return "key_value"
    if re.search(r"attn_(q_a|kv_a_mqa)\.", name):
        return "latent"
    return "attention"
