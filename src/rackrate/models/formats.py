"""Number formats of weights and of the KV cache: exact bits per weight, and what a card needs to run them.

A quantised format stores blocks of weights with a scale; the scale is counted. Engines keep some parts in 16 bits
(embeddings, output matrix, routers, norms): `weight_bytes` knows which. Sources of the bit counts: the formats' own
definitions ([ggml]_ block structures, [mx]_, [nvfp4]_, [gptq]_, [dsv3]_).

.. [ggml] github.com/ggml-org/llama.cpp, ggml/src/ggml-common.h (block_q4_0, block_q4_K, ...)
.. [mx] Open Compute Project, OCP Microscaling Formats (MX) v1.0, 2023: 32 values share one 8-bit scale
.. [nvfp4] NVIDIA, "Introducing NVFP4", 2025: 16 values share one 8-bit scale
.. [gptq] github.com/AutoGPTQ/AutoGPTQ, qlinear: per group of 128 one fp16 scale and one 4-bit zero point
.. [dsv3] arXiv:2412.19437, section 3.3: one fp32 scale per 128 x 128 block
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from rackrate.catalog.types import Accelerator, NumberFormat
from rackrate.errors import UserError, did_you_mean
from rackrate.models.architecture import Architecture

GGML_BLOCKS: dict[str, tuple[int, int]] = {
    "F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "F64": (1, 8), "I8": (1, 1), "I16": (1, 2), "I32": (1, 4),
    "I64": (1, 8), "Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34),
    "Q8_1": (32, 36), "Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144), "Q5_K": (256, 176),
    "Q6_K": (256, 210), "Q8_K": (256, 292), "IQ1_S": (256, 50), "IQ1_M": (256, 56), "IQ2_XXS": (256, 66),
    "IQ2_XS": (256, 74), "IQ2_S": (256, 82), "IQ3_XXS": (256, 98), "IQ3_S": (256, 110), "IQ4_NL": (32, 18),
    "IQ4_XS": (256, 136), "TQ1_0": (256, 54), "TQ2_0": (256, 66), "MXFP4": (32, 17), "NVFP4": (64, 36),
}  # fmt: skip
"""ggml's tensor types: weights per block, bytes per block."""


def ggml_bits(tensor_type: str) -> float:
    """Bits per weight of a ggml tensor type, its scales counted. [bit]

    >>> ggml_bits("Q4_0"), ggml_bits("Q4_K"), ggml_bits("Q6_K"), ggml_bits("Q8_0")
    (4.5, 4.5, 6.5625, 8.5)
    """
    weights, size = GGML_BLOCKS[tensor_type]
    return 8 * size / weights


def grouped_bits(bits: float, group: int, scale_bits: float, zero_bits: float = 0.0) -> float:
    """Bits per weight where `group` weights share a scale and perhaps a zero point. [bit]

    >>> grouped_bits(4, 128, 16, 4)    # AWQ and GPTQ with groups of 128
    4.15625
    >>> grouped_bits(4, 32, 8)    # MXFP4
    4.25
    """
    return bits + (scale_bits + zero_bits) / group


Family = Literal["plain", "fp8", "int8", "w4a16", "fp4", "bnb", "gguf"]


Unquantised = Literal["nothing", "attention", "all"]
"""What a mixture of experts keeps in 16 bits: nothing; its attention, as NVIDIA publishes NVFP4 (exclude_modules of
their hf_quant_config.json; of latent attention the output projection is quantised); or all but the routed experts, as
MXFP4 (gpt-oss) and int4 (Kimi) are published."""


@dataclass(frozen=True)
class WeightFormat:
    """How weights are kept. Bits are per weight, scales counted."""

    name: str
    family: Family
    bits: float
    """Of the matrices that the format quantises."""
    other_bits: float = 16.0
    """Of embeddings, output matrix, router, vision tower."""
    vector_bits: float = 16.0
    """Of norms, biases and the like."""
    unquantised: Unquantised = "nothing"
    """What of a mixture of experts stays in 16 bits, besides embeddings and router."""
    arithmetic: NumberFormat = "bf16"
    """The matrix units that its own kernels use."""
    embedding_bits: float | None = None
    head_bits: float | None = None
    mix: tuple[str, str] | None = None
    """GGUF mixes: ggml types of the more exact half of value and down projections; see `_mixed_share`."""

    @property
    def title(self) -> str:
        """Name with bits per weight."""
        return self.name if self.family == "plain" else f"{self.name} ({self.bits:g} bits)"


def _gguf(name: str, base: str, head: str = "Q6_K", mix: tuple[str, str] | None = None) -> WeightFormat:
    """A file type of llama-quantize: matrices and token embedding in the base type, the output matrix in another."""
    bits = ggml_bits(base)
    return WeightFormat(
        name, "gguf", bits, other_bits=32.0, vector_bits=32.0, arithmetic="fp16", embedding_bits=bits,
        head_bits=ggml_bits(head), mix=mix,
    )  # fmt: skip


_FORMATS = (
    WeightFormat("fp32", "plain", 32, 32, 32, arithmetic="fp32"),
    WeightFormat("fp16", "plain", 16, arithmetic="fp16"),
    WeightFormat("bf16", "plain", 16),
    WeightFormat("fp8", "fp8", 8, arithmetic="fp8"),
    WeightFormat("fp8-block", "fp8", grouped_bits(8, 128 * 128, 32), arithmetic="fp8"),
    WeightFormat("int8", "int8", 8, arithmetic="int8"),
    WeightFormat("w4a16", "w4a16", grouped_bits(4, 128, 16, 4)),
    WeightFormat("awq", "w4a16", grouped_bits(4, 128, 16, 4), arithmetic="fp16"),
    WeightFormat("gptq", "w4a16", grouped_bits(4, 128, 16, 4), arithmetic="fp16"),
    WeightFormat("w8a16", "w4a16", grouped_bits(8, 128, 16)),
    WeightFormat("nvfp4", "fp4", grouped_bits(4, 16, 8), unquantised="attention", arithmetic="fp4"),
    WeightFormat("mxfp4", "fp4", grouped_bits(4, 32, 8), unquantised="all", arithmetic="fp4"),
    WeightFormat("nf4", "bnb", grouped_bits(4, 64, 8 + 32 / 256)),
    _gguf("Q4_0", "Q4_0"),
    _gguf("Q4_1", "Q4_1"),
    _gguf("Q5_0", "Q5_0"),
    _gguf("Q5_1", "Q5_1"),
    _gguf("Q8_0", "Q8_0", "Q8_0"),
    _gguf("Q3_K_S", "Q3_K"),
    _gguf("Q4_K_S", "Q4_K", mix=("Q5_K", "first")),
    _gguf("Q4_K_M", "Q4_K", mix=("Q6_K", "spread")),
    _gguf("Q5_K_S", "Q5_K"),
    _gguf("Q5_K_M", "Q5_K", mix=("Q6_K", "spread")),
    _gguf("Q6_K", "Q6_K"),
)
_TYPES = tuple(
    _gguf(name, name)
    for name in GGML_BLOCKS
    if name[0] in "QIT" and not name.startswith(("I8", "I16", "I32", "I64", "Q8_1", "Q8_K"))
)
"""Every quantised ggml type as a file of that type; files' mixes differ a little, their own headers are exact."""
FORMATS: dict[str, WeightFormat] = {kind.name.lower(): kind for kind in (*_TYPES, *_FORMATS)}
"""Every weight format by its name in lower case."""

_OTHER_NAMES = {
    "float32": "fp32", "float16": "fp16", "half": "fp16", "bfloat16": "bf16", "f32": "fp32", "f16": "fp16",
    "e4m3": "fp8", "fp8-e4m3": "fp8", "w8a8": "int8", "int4": "w4a16", "w4": "w4a16", "fp4": "nvfp4",
    "bnb": "nf4", "bitsandbytes": "nf4", "q4_k": "q4_k_m", "q5_k": "q5_k_m",
}  # fmt: skip

KV_FORMATS: dict[str, float] = {
    "fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "int8": 1.0,
    **{name.lower(): ggml_bits(name) / 8 for name in ("Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")},
}  # fmt: skip
"""Bytes per cached value, by format. [byte]"""


def weight_format(name: str) -> WeightFormat:
    """A weight format by name, in any case. Raises UserError with the nearest names.

    Weight-only formats may name their group: w4a16-g32, and w4a16-g32-experts where only routed experts have it.

    >>> weight_format("AWQ").bits, weight_format("q4_K_M").bits, weight_format("w4a16-g32").bits
    (4.15625, 4.5, 4.5)
    """
    key = name.lower()
    found = FORMATS.get(_OTHER_NAMES.get(key, key)) or _grouped_format(key)
    if found is None:
        raise UserError(
            f"no weight format is called {name!r}{did_you_mean(name, [form.name for form in _FORMATS])} "
            f"(known: {', '.join(form.name for form in _FORMATS)})"
        )
    return found


def _grouped_format(name: str) -> WeightFormat | None:
    """w4a16-g32 and the like: symmetric, a 16-bit scale per group and no zero point (compressed-tensors)."""
    found = re.fullmatch(r"w([48])a16-g(\d{1,4})(-experts)?", name)
    if found is None or int(found[2]) < 8:
        return None
    return WeightFormat(
        name, "w4a16", grouped_bits(int(found[1]), int(found[2]), 16), unquantised="all" if found[3] else "nothing"
    )


def kv_value_bytes(name: str) -> float:
    """Bytes of one cached value in a KV format. [byte] Raises UserError with the known ones.

    >>> kv_value_bytes("fp8"), kv_value_bytes("q8_0")
    (1.0, 1.0625)
    """
    key = _OTHER_NAMES.get(name.lower(), name.lower())
    if key not in KV_FORMATS:
        raise UserError(f"no KV cache format is called {name!r} (known: {', '.join(KV_FORMATS)})")
    return KV_FORMATS[key]


def weight_bytes(architecture: Architecture, form: WeightFormat) -> float:
    """Bytes of all weights of a model in a format. [byte]

    >>> from rackrate.catalog.load import load_catalog
    >>> from rackrate.models.architecture import of_catalogue_model
    >>> llama = of_catalogue_model(load_catalog().model("llama-3-8b-instruct"))
    >>> weight_bytes(llama, weight_format("fp16")) / 1e9    # the 16.1 GB of Llama-3-8B
    16.060522496
    """
    return sum(bytes_by_kind(architecture, form).values())


def bytes_by_kind(architecture: Architecture, form: WeightFormat) -> dict[str, float]:
    """Bytes of each kind of parameter (the fields of `Parameters`) in a format. [byte]"""
    counts = architecture.parameters
    moe = architecture.experts is not None
    mixed = _mixed_bits(architecture, form)
    unquantised = form.unquantised if moe else "nothing"
    quantised, values = (form.bits, mixed) if unquantised == "nothing" else (form.other_bits, form.other_bits)
    forward, forward_values = (form.other_bits, form.other_bits) if unquantised == "all" else (form.bits, mixed)
    embedding_bits = form.embedding_bits if form.embedding_bits is not None else form.other_bits
    head_bits = form.head_bits if form.head_bits is not None else form.other_bits
    if form.family == "gguf" and architecture.hidden_size % 256 and head_bits == ggml_bits("Q6_K"):
        head_bits = ggml_bits("Q8_0")  # rows that are no multiple of 256 cannot be Q6_K
    tied = counts.head == 0
    bits = {
        "embedding": head_bits if tied and form.head_bits is not None else embedding_bits,
        "head": head_bits,
        "attention": quantised,
        "key_value": (quantised + values) / 2,  # keys in the base type, values in the mix
        "latent": quantised,
        "state": quantised,
        "feed_forward": _feed_forward_bits(forward, forward_values, architecture.gated),
        "experts": _feed_forward_bits(form.bits, mixed, architecture.gated),
        "router": form.other_bits,
        "vectors": form.vector_bits,
        "vision": 16.0,
    }
    return {kind: getattr(counts, kind) * bits[kind] / 8 for kind in bits}


def bits_per_weight(architecture: Architecture, form: WeightFormat) -> float:
    """Bits per weight over the whole model. [bit]

    llama.cpp's own table gives 4.8944 for Llama-3.1-8B in Q4_K_M (tools/quantize/README.md).

    >>> from rackrate.catalog.load import load_catalog
    >>> from rackrate.models.architecture import of_catalogue_model
    >>> llama = of_catalogue_model(load_catalog().model("llama-3.1-8b-instruct"))
    >>> round(bits_per_weight(llama, weight_format("Q4_K_M")), 2)
    4.89
    """
    return 8 * weight_bytes(architecture, form) / architecture.parameters.total


def _feed_forward_bits(base: float, mixed: float, gated: bool) -> float:
    """Average of gate, up (in the base type) and down projections (in the mix)."""
    matrices = 3 if gated else 2
    return ((matrices - 1) * base + mixed) / matrices


def _mixed_bits(architecture: Architecture, form: WeightFormat) -> float:
    """Bits of value and down projections on average over the layers."""
    if form.mix is None:
        return form.bits
    better, where = form.mix
    share = _mixed_share(architecture.layers, where)
    return share * ggml_bits(better) + (1 - share) * form.bits


def _mixed_share(layers: int, where: str) -> float:
    """Share of layers in which llama-quantize spends more bits. [1]

    `first`: the first eighth. `spread`: the first and last eighth and every third between (`use_more_bits` in
    llama.cpp, src/llama-quant.cpp).

    >>> _mixed_share(32, "spread"), _mixed_share(32, "first")
    (0.5, 0.125)
    """
    eighth = layers // 8
    if where == "first":
        return eighth / layers
    chosen = sum(i < eighth or i >= 7 * layers // 8 or (i - eighth) % 3 == 2 for i in range(layers))
    return chosen / layers


_VLLM_OLDEST: dict[Family, tuple[str, ...]] = {
    "fp8": ("volta", "pascal"),
    "int8": ("volta", "pascal"),
    "w4a16": ("volta", "pascal"),
    "fp4": ("turing", "volta", "pascal"),
    "bnb": ("pascal",),
}
"""Architectures on which vLLM has no kernel for a family of formats, weight-only ones included.
Sources: docs.vllm.ai v0.15.1, "Supported Hardware" of quantization, and v0.32.0, "FP8 W8A8", which adds weight-only
fp8 on Turing. No source was found for 4-bit floats before Ampere."""


@dataclass(frozen=True)
class Support:
    """Whether a card can run a format, and how."""

    runs: bool
    native: bool
    """Its matrix units compute in the format; otherwise weights are unpacked to 16 bits on the fly."""
    lacks: NumberFormat | None
    note: str | None


def support(form: WeightFormat, accelerator: Accelerator) -> Support:
    """Whether an accelerator runs a weight format: in its own units, weight-only, or not at all.

    >>> from rackrate.catalog.load import load_catalog
    >>> cards = load_catalog().accelerators
    >>> support(weight_format("fp8"), cards["t4"]).runs, support(weight_format("fp8"), cards["t4"]).native
    (True, False)
    """
    lacks = form.arithmetic if form.arithmetic in accelerator.lacks else None
    name = accelerator.id
    if form.family == "gguf" or accelerator.kind == "cpu":
        return Support(runs=True, native=lacks is None, lacks=lacks, note=None)
    if form.family == "plain":
        if lacks is None or form.name == "fp32":
            return Support(runs=True, native=lacks is None, lacks=lacks, note=None)
        if form.name == "bf16" and "fp16" not in accelerator.lacks:
            return Support(
                runs=False, native=False, lacks=lacks, note=f"{name} has no bf16 units: serve in fp16, of the same size"
            )
        return Support(
            runs=True, native=False, lacks=lacks, note=f"{name} has no {lacks} units: computed in fp32, slowly"
        )
    if accelerator.architecture in _VLLM_OLDEST.get(form.family, ()):
        return Support(
            runs=False,
            native=False,
            lacks=lacks,
            note=f"{form.name} has no kernels for {accelerator.architecture} ({name})",
        )
    if lacks is not None and form.family in {"fp8", "fp4", "int8"}:
        return Support(
            runs=True, native=False, lacks=lacks,
            note=f"{name} has no {lacks} units: {form.name} saves memory only, it is computed in 16 bits",
        )  # fmt: skip
    return Support(runs=True, native=True, lacks=None, note=None)
