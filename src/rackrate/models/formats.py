"""Number formats of weights and of the KV cache: exact bits per weight, and what a card needs to run them.

A quantised format stores blocks of weights with a scale; the scale is counted. Engines keep some parts in 16 bits
(embeddings, output matrix, routers, norms): weight_sizes.py knows which. Sources of the bit counts: the formats' own
definitions ([ggml]_ block structures, [mx]_, [nvfp4]_, [gptq]_, [dsv3]_).

.. [ggml] github.com/ggml-org/llama.cpp, ggml/src/ggml-common.h (block_q4_0, block_q4_K, ...)
.. [mx] Open Compute Project, OCP Microscaling Formats (MX) v1.0, 2023: 32 values share one 8-bit scale
.. [nvfp4] NVIDIA, "Introducing NVFP4", 2025: 16 values share one 8-bit scale
.. [gptq] github.com/AutoGPTQ/AutoGPTQ, qlinear: per group of 128 one fp16 scale and one 4-bit zero point
.. [dsv3] arXiv:2412.19437, section 3.3: one fp32 scale per 128 x 128 block
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rackrate.catalog.types import Accelerator, NumberFormat
from rackrate.errors import UserError, did_you_mean

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
    step_name: str | None = None
    """The format with which step times count it (`step_format`), where that is another: measurements are published of
    int4, not of AWQ and GPTQ apart."""

    @property
    def title(self) -> str:
        """Name with bits per weight."""
        return self.name if self.family == "plain" else f"{self.name} ({self.bits:g} bits)"


def _gguf(
    name: str, base: str, head: str = "Q6_K", mix: tuple[str, str] | None = None, step_name: str | None = None
) -> WeightFormat:
    """A file type of llama-quantize: matrices and token embedding in the base type, the output matrix in another."""
    bits = ggml_bits(base)
    return WeightFormat(
        name, "gguf", bits, other_bits=32.0, vector_bits=32.0, arithmetic="fp16", embedding_bits=bits,
        head_bits=ggml_bits(head), mix=mix, step_name=step_name,
    )  # fmt: skip


_FORMATS = (
    WeightFormat("fp32", "plain", 32, 32, 32, arithmetic="fp32"),
    WeightFormat("fp16", "plain", 16, arithmetic="fp16"),
    WeightFormat("bf16", "plain", 16),
    WeightFormat("fp8", "fp8", 8, arithmetic="fp8"),
    WeightFormat("fp8-block", "fp8", grouped_bits(8, 128 * 128, 32), arithmetic="fp8", step_name="fp8"),
    WeightFormat("int8", "int8", 8, arithmetic="int8"),
    WeightFormat("w4a16", "w4a16", grouped_bits(4, 128, 16, 4)),
    WeightFormat("awq", "w4a16", grouped_bits(4, 128, 16, 4), arithmetic="fp16", step_name="w4a16"),
    WeightFormat("gptq", "w4a16", grouped_bits(4, 128, 16, 4), arithmetic="fp16", step_name="w4a16"),
    WeightFormat("w8a16", "w4a16", grouped_bits(8, 128, 16)),
    WeightFormat("nvfp4", "fp4", grouped_bits(4, 16, 8), unquantised="attention", arithmetic="fp4", step_name="fp4"),
    WeightFormat("mxfp4", "fp4", grouped_bits(4, 32, 8), unquantised="all", arithmetic="fp4"),
    WeightFormat("nf4", "bnb", grouped_bits(4, 64, 8 + 32 / 256)),
    _gguf("Q4_0", "Q4_0", step_name="q4_0"),
    _gguf("Q4_1", "Q4_1"),
    _gguf("Q5_0", "Q5_0"),
    _gguf("Q5_1", "Q5_1"),
    _gguf("Q8_0", "Q8_0", "Q8_0", step_name="q8_0"),
    _gguf("Q3_K_S", "Q3_K", step_name="q3_k"),
    _gguf("Q4_K_S", "Q4_K", mix=("Q5_K", "first"), step_name="q4_k"),
    _gguf("Q4_K_M", "Q4_K", mix=("Q6_K", "spread"), step_name="q4_k"),
    _gguf("Q5_K_S", "Q5_K", step_name="q5_k"),
    _gguf("Q5_K_M", "Q5_K", mix=("Q6_K", "spread"), step_name="q5_k"),
    _gguf("Q6_K", "Q6_K", step_name="q6_k"),
)
_TYPES = tuple(
    _gguf(name, name)
    for name in GGML_BLOCKS
    if name[0] in "QIT" and not name.startswith(("I8", "I16", "I32", "I64", "Q8_1", "Q8_K"))
)
"""Every quantised ggml type as a file of that type; files' mixes differ a little, their own headers are exact."""
FORMATS: dict[str, WeightFormat] = {kind.name.lower(): kind for kind in (*_TYPES, *_FORMATS)}
"""Every weight format by its name in lower case."""

_STEP_FORMATS = {
    form.name: form
    for form in (
        # groups of 128 with 16-bit scales and offsets (AWQ, GPTQ); groups of 16 with 8-bit scales (NVFP4)
        WeightFormat("w4a16", "w4a16", 4.25), WeightFormat("int4", "w4a16", 4.25), WeightFormat("w8a16", "w4a16", 8),
        WeightFormat("w8a8", "int8", 8), WeightFormat("fp4", "fp4", 4.5, unquantised="attention"),
        # the mixtures of llama.cpp for 8B models (its tools/quantize/README.md)
        WeightFormat("q2_k", "gguf", 3.35), WeightFormat("q3_k", "gguf", 3.91), WeightFormat("q4_0", "gguf", 4.55),
        WeightFormat("q4_k", "gguf", 4.85), WeightFormat("q5_k", "gguf", 5.69), WeightFormat("q6_k", "gguf", 6.56),
        WeightFormat("q8_0", "gguf", 8.5),
    )
}  # fmt: skip
"""Formats as step times count them, where that is coarser: bits per weight of the linear layers, scales included."""

NATIVE_FORMATS = {
    "fp32": "fp32", "fp16": "fp16", "bf16": "bf16", "fp8": "fp8-block", "fp4": "mxfp4", "int4": "w4a16-g32-experts",
    "int8": "int8",
}  # fmt: skip
"""The catalogue's number formats of weights as weight formats."""


@dataclass(frozen=True)
class Spelling:
    """How others write a weight format, by who writes. Patterns are regular expressions of lower-case text."""

    form: str
    """Name of the weight format (`weight_format`), or of the coarser one of step times (`step_format`)."""
    users: tuple[str, ...] = ()
    """Whole words, of people and of frameworks for a dtype."""
    config: tuple[str, ...] = ()
    """quant_method, quant_algo, or the layout of compressed-tensors in a config.json, where the word decides alone."""
    repository: str = ""
    """Pattern of how the name of a repository ends."""
    results: str = ""
    """Pattern of what tables of published measurements and the records of runs contain."""


SPELLINGS: tuple[Spelling, ...] = (
    Spelling("q2_k", results="q2_k|iq2"),
    Spelling("q3_k", results="q3_k|iq3"),
    Spelling("q4_k", results="q4_k|iq4|q4_1"),
    Spelling("q4_0", results="q4_0"),
    Spelling("q5_k", results="q5"),
    Spelling("q6_k", results="q6"),
    Spelling("q8_0", results="q8"),
    Spelling("q4_k_m", users=("q4_k",)),
    Spelling("q5_k_m", users=("q5_k",)),
    Spelling("mxfp4", config=("mxfp4",), repository="mxfp4", results="mxfp4"),
    Spelling(
        "nvfp4", users=("fp4",), config=("nvfp4", "nvfp4-awq", "w4a8-nvfp4-fp8"), repository="nvfp4|fp4",
        results="fp4|w4a4",
    ),
    Spelling("awq", repository=r"awq(?:[-_.]int4)?"),
    Spelling("gptq", repository=r"gptq(?:[-_.]?int4)?"),
    Spelling(
        "w4a16", users=("int4", "w4"), config=("w4a16-awq", "w4a8-awq"), repository="w4a16|int4",
        results=r"w4a16|awq|gptq|int4|uint4|4-?bit|q4|marlin|exl2|[34]\.\d*bpw|exllama|compressed-tensors int4",
    ),
    Spelling("w8a16", repository=r"gptq[-_.]?int8|w8a16", results="w8a16"),
    Spelling("int8", users=("w8a8",), config=("int8-sq", "w8a8-sq-per-channel"), repository="w8a8|int8"),
    Spelling("w8a8", results="w8a8|int8|smooth"),
    Spelling(
        "fp8", users=("e4m3", "fp8-e4m3"), config=("fp8", "fbgemm-fp8", "fp8-per-channel-per-token"),
        repository=r"fp8(?:[-_.](?:dynamic|kv))?", results="fp8|w8fp8|e4m3",
    ),
    Spelling("fp8-block", config=("fp8-pb-wo", "fp8-block")),
    Spelling("w8a16", results=r"8-?bit"),
    Spelling("fp32", users=("float32", "f32"), results=r"fp32|float32|\bf32"),
    Spelling("bf16", users=("bfloat16",), results=r"bf16|bfloat16"),
    Spelling("fp16", users=("float16", "half", "f16"), results=r"fp16|float16|half|\bf16"),
    Spelling("nf4", users=("bnb", "bitsandbytes")),
)  # fmt: skip
"""Every spelling, in the order in which patterns are tried: what contains another comes first."""

_OTHER_NAMES = {word: spelling.form for spelling in SPELLINGS for word in spelling.users}


def format_in_config(word: str) -> str | None:
    """The weight format that a word of a config.json decides alone; None where it does not.

    >>> format_in_config("NVFP4_AWQ"), format_in_config("mxfp4-pack-quantized"), format_in_config("gptq")
    ('nvfp4', 'mxfp4', None)
    """
    key = word.lower().replace("_", "-").removesuffix("-pack-quantized")
    return next((spelling.form for spelling in SPELLINGS if key in spelling.config), None)


def dtype_format(dtype: str) -> str | None:
    """The format of 16 or 32 bits that frameworks call a dtype; None for another.

    >>> dtype_format("torch.bfloat16"), dtype_format("float8_e4m3fn")
    ('bf16', None)
    """
    name = dtype.removeprefix("torch.")
    form = FORMATS.get(_OTHER_NAMES.get(name, name))
    return form.name if form is not None and form.family == "plain" else None


def repository_formats(name: str) -> Iterator[tuple[str, str]]:
    """What the end of a repository's name may say: what is before it, and the weight format.

    >>> list(repository_formats("Qwen2.5-32B-Instruct-GPTQ-Int8"))
    [('Qwen2.5-32B-Instruct', 'w8a16'), ('Qwen2.5-32B-Instruct-GPTQ', 'int8')]
    """
    for spelling in SPELLINGS:
        ending = rf"(.+?)[-_.](?:quantized[-_.])?(?:{spelling.repository})"
        if spelling.repository and (found := re.fullmatch(ending, name, re.IGNORECASE)):
            yield found[1], spelling.form


def format_in_results(text: str) -> str | None:
    """The format that a published row or the record of a run states, as step times count it; None where none is stated.

    >>> format_in_results("fp16/bf16 (native; see repo)"), format_in_results("awq-int4 (marlin)"), format_in_results("")
    ('bf16', 'w4a16', None)
    >>> format_in_results("Q4_0 from Q4_1")
    'q4_0'
    """
    lowered = text.lower().split(" from ")[0]
    found = next((item.form for item in SPELLINGS if item.results and re.search(item.results, lowered)), None)
    return None if found is None else "bf16" if weight_format(found).bits == 16 else step_name(found)


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


def step_format(name: str) -> WeightFormat:
    """A weight format as step times count it. Raises UserError as `weight_format`.

    >>> step_format("q4_k").bits, step_format("fp8").bits
    (4.85, 8)
    """
    return _STEP_FORMATS.get(name.lower()) or weight_format(name)


def step_name(name: str) -> str:
    """The name under which step times know a weight format.

    >>> step_name("AWQ"), step_name("Q4_K_M"), step_name("q4_k"), step_name("w4a16-g32")
    ('w4a16', 'q4_k', 'q4_k', 'w4a16-g32')
    """
    if name.lower() in _STEP_FORMATS:
        return name.lower()
    form = weight_format(name)
    return form.step_name or form.name


def native_step_name(native: str) -> str:
    """The same of the format that a model is published in; what has 16 bits is bf16.

    >>> native_step_name("fp16"), native_step_name("fp8-block"), native_step_name("mxfp4")
    ('bf16', 'fp8', 'mxfp4')
    """
    form = weight_format(native)
    if form.bits == 16:
        return "bf16"
    # step times tell published mixtures of experts from those that were quantised afterwards
    return form.name if form.unquantised == "all" else form.step_name or form.name


def kv_value_bytes(name: str) -> float:
    """Bytes of one cached value in a KV format. [byte] Raises UserError with the known ones.

    >>> kv_value_bytes("fp8"), kv_value_bytes("q8_0")
    (1.0, 1.0625)
    """
    key = _OTHER_NAMES.get(name.lower(), name.lower())
    if key not in KV_FORMATS:
        raise UserError(f"no KV cache format is called {name!r} (known: {', '.join(KV_FORMATS)})")
    return KV_FORMATS[key]


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
