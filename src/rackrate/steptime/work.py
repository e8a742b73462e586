"""FLOPs and bytes of one engine step, from a model's architecture and its number formats. Facts, nothing fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from rackrate.catalog.types import Accelerator
from rackrate.errors import UserError
from rackrate.models.architecture import Architecture
from rackrate.models.formats import Unquantised, kv_value_bytes, step_format

Compute = Literal["16", "8", "4"]


@dataclass(frozen=True)
class Formats:
    """Number formats of a deployment as its arithmetic sees them."""

    weight_bits: float
    """Per weight of the linear layers, scales included."""
    compute: Compute
    """Width of the matrix products. 16 with fewer weight bits: weights are dequantised first (weight-only)."""
    kv_bytes: float = 2.0
    """Per value of the KV cache."""
    unquantised: Unquantised = "nothing"
    """What of a mixture of experts has 16 bits nevertheless (models/formats.py)."""


@dataclass(frozen=True)
class Parallel:
    """How a replica is spread. `data` replicas share nothing but the load."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    expert: int = 1

    def __post_init__(self) -> None:
        if min(self.tensor, self.pipeline, self.data, self.expert) < 1:
            raise UserError(f"parallel degrees must be at least 1, got {self}")

    @property
    def ranks(self) -> int:
        """Accelerators of one replica."""
        return self.tensor * self.pipeline


def formats_on(accelerator: Accelerator, weights: str, kv: str | None = None) -> Formats:
    """What a weight format means on this accelerator: without units for it, weights are only stored so.

    >>> from rackrate.catalog.load import load_catalog
    >>> formats_on(load_catalog().accelerators["a100-sxm-80gb"], "fp8").compute
    '16'
    >>> formats_on(load_catalog().accelerators["h100-sxm"], "fp8").compute
    '8'
    """
    form = step_format(weights)
    peaks = accelerator.peak_tflops
    compute: Compute = "16"
    if form.family == "fp4" and "fp4" in peaks:
        compute = "4"
    elif (form.family == "fp8" and "fp8" in peaks) or (form.family == "int8" and "int8" in peaks):
        compute = "8"
    return Formats(form.bits, compute, 2.0 if kv is None else kv_value_bytes(kv), form.unquantised)


@dataclass(frozen=True)
class Work:
    """FLOPs and bytes of one step, over all ranks."""

    token_flop: float
    """[FLOP/token] of the linear layers that every token passes, in the deployment's format."""
    wide_token_flop: float
    """[FLOP/token] of those of them that the format spares, in 16 bits."""
    expert_token_flop: float
    """[FLOP/token] of the routed experts that a token takes."""
    head_flop: float
    """[FLOP/sequence] of the output layer."""
    weight_bytes: float
    """[byte] of the weights that every step reads, the output layer and what the format spares among them."""
    wide_bytes: float
    """[byte] of what the format spares, a part of `weight_bytes`."""
    expert_bytes: float
    """[byte] of all routed experts."""
    expert_share: float
    """Share of the routed experts that one token takes; 0 for dense models."""
    activation_bytes: float
    """[byte/token] of activations written and read between kernels that tensor parallelism divides."""
    replicated_bytes: float
    """[byte/token] of those that each rank of tensor parallelism writes and reads whole: the residual and its norms."""
    routed_bytes: float
    """[byte/token] of a token's copies on their way to its experts and back; whole too unless experts are spread."""
    state_bytes: float
    """[byte/sequence] of recurrent state read and written by a decoding step."""
    context_bytes: float
    """[byte/token] of the cache in layers that read all of it."""
    window_bytes: float
    """[byte/token] of the cache in layers that read a window."""
    context_flop: float
    """[FLOP/token] of decode attention over one token of context."""
    pair_flop: float
    """[FLOP/pair] of attention among prompt tokens, all layers that see everything."""
    kv_split: int
    """Ranks over which the cache can be divided: its heads, or 1 for a latent cache."""


def unquantised_parameters(model: Architecture, formats: Formats, linear: float) -> float:
    """Of the `linear` parameters that every token passes, those that a format of experts leaves in 16 bits. [parameter]

    Attention is what dense and shared feed-forwards (three matrices each) leave; the output projection of latent
    attention is no part of it where only attention is spared.
    >>> from rackrate.catalog.load import load_catalog
    >>> from rackrate.models.architecture import of_catalogue_model
    >>> deepseek, llama = (of_catalogue_model(load_catalog().models[i]) for i in ("deepseek-r1", "llama-3-8b-instruct"))
    >>> nvfp4 = Formats(4.5, "4", unquantised="attention")
    >>> round(unquantised_parameters(deepseek, nvfp4, 16.0e9) / 1e9, 1)
    5.1
    >>> unquantised_parameters(llama, nvfp4, 7e9)
    0.0
    """
    if model.experts is None or formats.unquantised == "nothing":
        return 0.0
    if formats.unquantised == "all":
        return linear
    attention = linear - model.parameters.feed_forward
    if model.latent is not None:
        value_dim = model.head_dim - model.rotary_values
        attention -= float(model.layers * model.heads * value_dim * model.hidden_size)
    return min(max(attention, 0.0), linear)


def linear_work(model: Architecture, formats: Formats) -> Work:
    """FLOPs and bytes of a step of this model. Two FLOPs per parameter and token (Kaplan et al. 2020, table 1).

    Embeddings are looked up, not multiplied; the output layer is, for sequences that sample; both stay in 16 bits.
    >>> from rackrate.catalog.load import load_catalog
    >>> from rackrate.models.architecture import of_catalogue_model
    >>> work = linear_work(of_catalogue_model(load_catalog().models["llama-3-8b-instruct"]), Formats(16, "16"))
    >>> round(work.weight_bytes / 1e9, 2), work.context_bytes    # 16.06 GB less the input embedding; 128 KiB a token
    (15.01, 131072.0)
    """
    parts = model.parameters
    head = float(model.vocabulary * model.hidden_size)
    # values of all copies of a token in all layers: between a routed expert's two products, and before and after them
    routed_width = routed_hidden = 0
    expert_share = 0.0
    if model.experts is not None:
        copies = model.experts.layers * model.experts.active
        routed_width = copies * model.expert_inner_width
        routed_hidden = copies * (model.experts.width or model.hidden_size)
        expert_share = model.experts.active / model.experts.routed
    experts = float(min(model.expert_parameters, parts.total))
    embeddings = head if model.tied_embeddings else 2 * head
    linear = max(parts.total - parts.vision - embeddings - experts, 0.0)
    wide = unquantised_parameters(model, formats, linear)
    grouped = [group for group in model.caches if group.kind == "grouped"]
    windowed = sum(group.layers for group in grouped if group.window_tokens is not None)
    latent = model.latent
    if latent is not None:
        full = latent.layers
        per_layer = latent.latent_values * formats.kv_bytes
        # absorbed decode: every head scores over the whole latent vector and sums all of it but the rotary part
        context_flop = 2.0 * model.heads * (2 * latent.latent_values - model.rotary_values) * full
    else:
        full = sum(group.layers for group in grouped) - windowed
        per_layer = 2.0 * model.kv_heads * model.head_dim * formats.kv_bytes
        context_flop = 4.0 * model.heads * model.head_dim * full
    return Work(
        token_flop=2 * (linear - wide),
        wide_token_flop=2 * wide,
        expert_token_flop=2 * experts * expert_share,
        head_flop=2 * head,
        weight_bytes=(linear - wide) * formats.weight_bits / 8 + 2 * wide + 2 * head,
        wide_bytes=2 * wide,
        expert_bytes=experts * formats.weight_bits / 8,
        expert_share=expert_share,
        # about ten tensors of the hidden size are written and read in each layer (Korthikanti et al. 2022, section 4);
        # four of them, around the two norms and residuals, are not divided by tensor parallelism
        activation_bytes=2.0 * 2 * 6 * model.hidden_size * model.layers + 2.0 * 2 * 3 * routed_width,
        replicated_bytes=2.0 * 2 * 4 * model.hidden_size * model.layers,
        # gathered by expert before the first product, weighed and summed after the second
        routed_bytes=2.0 * 2 * 2 * routed_hidden,
        state_bytes=2.0 * sum(group.layers * group.state_bytes for group in model.caches if group.kind == "state"),
        context_bytes=per_layer * full,
        window_bytes=per_layer * windowed,
        context_flop=context_flop,
        pair_flop=4.0 * model.heads * model.head_dim * full,
        kv_split=1 if latent is not None else model.kv_heads,
    )


def peak_flop_s(accelerator: Accelerator, formats: Formats) -> tuple[float, float]:
    """Dense matrix rates: of 16-bit products, and of this deployment's. [FLOP/s]

    Where the catalogue has only the vector rate, the 16-bit rate is taken as twice it: so it is on GeForce cards of the
    Ampere, Ada and Blackwell generations with 32-bit accumulation (NVIDIA Ampere GA102 and Ada whitepapers).
    """
    peaks = cast("dict[str, float]", accelerator.peak_tflops)
    wide = peaks.get("bf16") or peaks.get("fp16")
    if wide is None and "fp32" in peaks:
        wide = peaks["fp32"] * (1 if "fp16" in accelerator.lacks else 2)
    if wide is None:
        raise UserError(f"{accelerator.id}: the catalogue has no peak rate; add peak_tflops in an overlay")
    chosen = wide
    if formats.compute == "8":
        chosen = peaks.get("fp8") or peaks.get("int8") or wide
    elif formats.compute == "4":
        chosen = peaks.get("fp4") or wide
    return wide * 1e12, chosen * 1e12
