"""How large the weights of a model are in a format: bytes by kind of parameter, bits per weight."""

from __future__ import annotations

from rackrate.models.architecture import Architecture
from rackrate.models.formats import WeightFormat, ggml_bits


def weight_bytes(architecture: Architecture, form: WeightFormat) -> float:
    """Bytes of all weights of a model in a format. [byte]

    >>> from rackrate.catalog.load import load_catalog
    >>> from rackrate.models.architecture import of_catalogue_model
    >>> from rackrate.models.formats import weight_format
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
    >>> from rackrate.models.formats import weight_format
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
