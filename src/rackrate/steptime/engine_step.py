"""How long one engine step takes: physics of a deployment and a few fitted coefficients give a `StepTime`.

A step runs n sequences that decode one token each, with summed context C, and p prompt tokens. Each class of work takes
FLOPs / (peak x efficiency) or bytes / (bandwidth x efficiency); the engine's host adds time per step and per sequence.
`Work` counts the FLOPs and bytes (facts), `Coefficients` are what measurements teach
(steptime/coefficient_file.py reads them), and `engine_step` joins them to the numbers that a simulator evaluates
without knowing models or hardware (simulate/step.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from rackrate.catalog.types import Accelerator
from rackrate.engines.releases import shares_kv_heads, tuned_flop_s
from rackrate.engines.spec import EngineRelease
from rackrate.models.architecture import Architecture
from rackrate.simulation.step import StepTime
from rackrate.steptime.work import Formats, Parallel, linear_work, peak_flop_s
from rackrate.units import GB


@dataclass(frozen=True)
class Coefficients:
    """What measurements teach, for one accelerator and engine; shares of a datasheet's rate unless a unit is named."""

    compute16: float
    """Share of the 16-bit peak that the linear layers reach."""
    compute8: float
    """Share of the 8-bit peak."""
    compute4: float
    """Share of the 4-bit peak."""
    power_exponent: float
    """What a power limit costs: shares of compute go with (W per 16-bit TFLOPS) to this exponent."""
    dequantise_compute: float
    """Factor on compute16 where 8- or 4-bit weights are dequantised before the product."""
    memory: float
    """Share of the bandwidth with which weights are read."""
    dequantise_memory: float
    """Factor on `memory` for weights that are dequantised before the product."""
    four_bit_memory: float
    """Factor on `memory` for weights of about 4 bits: scales and unpacking, natively or not."""
    attention_memory: float
    """Share of the bandwidth with which the KV cache is read."""
    attention_compute: float
    """Share of the 16-bit peak in attention among prompt tokens."""
    sharpness: float
    """Exponent of the roofline; 1 hides nothing, infinity everything."""
    experts_memory: float
    """Factor on `memory` for routed experts."""
    experts_compute: float
    """Factor on compute for routed experts."""
    gap_s: float
    """[s] per layer between the kernels of a captured step."""
    experts_gap_s: float
    """[s] per layer more for routing tokens to experts and back."""
    quantise_gap_s: float
    """[s] per layer more where activations are brought to 8 or 4 bits before each product, kernels of their own."""
    dequantise_gap_s: float
    """[s] per layer more where 8- or 4-bit weights are dequantised: kernels that fuse less, four products a layer."""
    expert_padding: float
    """Rows of padding in the products of each expert that a batch touches: kernels compute whole tiles. [token]"""
    weight_only_experts: float
    """Factor on `experts_compute` where the weights of experts are dequantised."""
    unshared_heads: float
    """Exponent g: attention kernels that do not share key-value heads among query heads read (heads/kv_heads)^g as
    much;
    1 if nothing is found in the cache, 0 if everything."""
    large_batch_heads: float
    """Exponent: where many sequences decode, such kernels take (heads/kv_heads) to this power as long once more."""
    engine_gib: float
    """[GiB] that context, activations and engine take of each accelerator beside weights and cache."""
    launch_s: float
    """[s] per layer to launch its kernels one by one, in engines that capture no graph."""
    logit_passes: float
    """Times that sampling reads or writes the 32-bit logits of a sequence."""
    link_latency_s: float
    """[s] per all-reduce over a fast link (NVLink, Infinity Fabric) of 450 GB/s."""
    link_scaling: float
    """That latency falls with the rate of the link to this power: a newer link is quicker in both."""
    link_share: float
    """Share of a fast link's rate."""
    pcie_latency_s: float
    """[s] more per all-reduce over PCIe."""
    pcie_share: float
    """Share of PCIe's rate."""
    rank_s: float
    """[s] of host more per step for each doubling of the ranks."""
    host_step_s: float
    """[s] of host per step."""
    host_sequence_s: float
    """[s] of host per sequence and step."""
    host_prefill_s: float
    """[s] of host more for a step with prompt tokens: 32 layers launched kernel by kernel."""
    stream_s: float
    """[s] of host per sequence and step more where tokens are streamed to clients: detokenising, HTTP."""
    request_s: float
    """[s] between client and scheduler per request: HTTP, tokenising, streaming. Adds to TTFT only."""

    @classmethod
    def of(cls, values: Mapping[str, float]) -> Coefficients:
        """From a mapping that has every name."""
        return cls(**{name: float(values[name]) for name in COEFFICIENTS})


COEFFICIENTS = tuple(field.name for field in fields(Coefficients))


LARGE_BATCH_HEADS = 512
"""With more sequences x query heads of a rank PagedAttention leaves a context in one piece, for one thread block (vLLM
before 0.8, vllm/attention/ops/paged_attn.py)."""


def experts_touched(routed: int, active: int, tokens: float) -> float:
    """Distinct experts that a batch touches where each token takes `active` of `routed` at random. [expert]

    routed x (1 - (1 - active/routed)^tokens). Real routers are skewed, so that this is an upper bound.
    >>> round(experts_touched(routed=8, active=2, tokens=4), 3)
    5.469
    """
    return routed * (1.0 - (1.0 - active / routed) ** tokens)


def all_reduce_bytes(tensor_parallel: int, hidden: int, value_bytes: float) -> float:
    """Bytes that one rank sends per token in one ring all-reduce. [byte/token]

    2 (N - 1) / N x hidden x b (Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms, 2009).
    >>> all_reduce_bytes(4, 4096, 2)
    12288.0
    """
    return 2 * (tensor_parallel - 1) / tensor_parallel * hidden * value_bytes


def gather_scatter_bytes(replicas: float, hidden: int, value_bytes: float) -> float:
    """Bytes that a replica of attention sends for a token of its own to reach the experts and come back. [byte/token]

    All tokens are gathered by all replicas and the sums scattered back, as vLLM and TensorRT-LLM do unless told
    otherwise (--all2all-backend): 2 (N - 1) x hidden x b.
    >>> gather_scatter_bytes(8, 7168, 2)
    200704.0
    """
    return 2.0 * (replicas - 1) * hidden * value_bytes


@dataclass(frozen=True)
class Rates:
    """What one rank reaches with weights of one format."""

    compute_flop_s: float
    """[FLOP/s] of products; kernels that were not tuned are slower yet."""
    read_b_s: float
    """[byte/s] of weights."""
    weight_only: bool
    """Whether weights are dequantised before the product."""
    peak16_flop_s: float
    """[FLOP/s] of its datasheet in 16 bits."""
    head_share: float
    """Share of that which the output layer, of 16 bits in every format, reaches."""


def rates(accelerator: Accelerator, formats: Formats, known: Coefficients) -> Rates:
    """The rates of one rank. Raises UserError where the accelerator's bandwidth or rates are unknown."""
    peak16, peak = peak_flop_s(accelerator, formats)
    powered = power_ratio(accelerator, peak16) ** known.power_exponent
    weight_only = formats.weight_bits < 16 and formats.compute == "16"
    share = {"16": known.compute16, "8": known.compute8, "4": known.compute4}[formats.compute]
    powered = min(powered, 0.95 / share)
    share *= powered * (known.dequantise_compute if weight_only else 1.0)
    read = known.memory * bandwidth_b_s(accelerator)
    if formats.weight_bits < 6:
        read *= known.four_bit_memory
    elif weight_only:
        read *= known.dequantise_memory
    dies = accelerator.dies
    return Rates(peak * share / dies, read / dies, weight_only, peak16 / dies, min(known.compute16 * powered, 0.95))


def engine_step(  # the one place where facts and fitted numbers meet
    model: Architecture,
    accelerator: Accelerator,
    parallel: Parallel,
    formats: Formats,
    known: Coefficients,
    release: EngineRelease,
    streaming: bool = True,
) -> StepTime:
    """The step of one replica; `streaming` to clients, or offline.

    Raises UserError where the accelerator's bandwidth or rates are unknown.

    Tensor parallelism divides weights, cache and arithmetic; pipeline stages run their micro-batches in turn, so that
    tokens are divided but not the weights that a round reads; expert parallelism divides experts over more ranks.
    """
    work = linear_work(model, formats)
    dies = accelerator.dies  # each a rank of its own
    tp, pp = parallel.tensor * dies, parallel.pipeline
    bandwidth = bandwidth_b_s(accelerator) / dies
    own = rates(accelerator, formats, known)
    wide = rates(accelerator, Formats(16, "16"), known)
    peak16 = own.peak16_flop_s
    tuned = min(1.0, tuned_flop_s(release, accelerator) / peak16)
    expert_ranks = max(parallel.expert, tp)
    token_compute = work.token_flop / own.compute_flop_s + work.wide_token_flop / wide.compute_flop_s
    token_compute /= tuned * tp * pp
    padding = 0.0
    if work.expert_token_flop:
        expert_rate = own.compute_flop_s * known.experts_compute
        expert_rate *= known.weight_only_experts if own.weight_only else 1.0
        expert_token = work.expert_token_flop / (expert_rate * tp * pp)
        token_compute += expert_token
        # each of the routed experts: active of them are the FLOPs of a token; spread over the replicas, too
        padding = known.expert_padding * expert_token / work.expert_share * tp / expert_ranks
    communication, communication_token = communication_s(model, accelerator, parallel, known)
    kv_rate = known.attention_memory * bandwidth * tp * pp
    # replicated KV heads: more ranks than heads hold the same cache twice
    kv_rate *= min(1.0, work.kv_split / tp)
    large_batch_over, large_batch_context = math.inf, 1.0
    if not shares_kv_heads(release, accelerator):
        kv_rate /= (model.heads / model.kv_heads) ** known.unshared_heads
        large_batch_over = LARGE_BATCH_HEADS * tp / model.heads
        large_batch_context = (model.heads / model.kv_heads) ** known.large_batch_heads
    moved = work.activation_bytes / tp + work.replicated_bytes + work.routed_bytes / parallel.expert
    context = max(work.context_bytes / kv_rate, work.context_flop / (peak16 * known.attention_compute * tp * pp))
    gaps = model.layers * (
        known.gap_s
        + (known.experts_gap_s if work.expert_bytes else 0.0)
        + (known.quantise_gap_s if formats.compute != "16" else 0.0)
        + (known.dequantise_gap_s if own.weight_only else 0.0)
    )
    sampling = (
        work.head_flop / (peak16 * own.head_share * tp)
        + known.logit_passes * 4 * model.vocabulary / (known.memory * bandwidth)
        + work.state_bytes / (known.memory * bandwidth * tp * pp)
    )
    # where attention is replicated and experts are spread, all replicas' tokens meet the same experts
    spread_over = parallel.data if parallel.expert > tp else 1
    return StepTime(
        weights_s=((work.weight_bytes - work.wide_bytes) / own.read_b_s + work.wide_bytes / wide.read_b_s) / tp,
        token_compute_s=token_compute,
        context_s=context,
        step_s=known.host_step_s + known.rank_s * math.log2(max(tp, parallel.expert) * pp) + communication + gaps,
        sequence_s=known.host_sequence_s + (known.stream_s if streaming else 0.0) + sampling,
        # activations are written and read in kernels between the products: nothing hides them
        token_s=communication_token + moved / (known.memory * bandwidth * pp),
        experts_s=work.expert_bytes / (own.read_b_s * known.experts_memory * expert_ranks),
        expert_miss=math.exp(spread_over * math.log1p(-work.expert_share)) if work.expert_bytes else 0.0,
        sharpness=max(known.sharpness, 1.0),
        prefill_step_s=known.host_prefill_s * model.layers / 32,
        pair_s=work.pair_flop / (peak16 * known.attention_compute * tp * pp),
        # kernels that are launched one by one, where steps are not captured
        floor_s=0.0 if release.captured else known.launch_s * model.layers,
        micro_step_s=gaps + communication,
        large_batch_over=large_batch_over,
        large_batch_context=large_batch_context,
        padding_s=padding,
        window_context_s=work.window_bytes / kv_rate,
        window_tokens=float(model.window_tokens or 0),
    )


def communication_s(
    model: Architecture, accelerator: Accelerator, parallel: Parallel, known: Coefficients
) -> tuple[float, float]:
    """What ranks take to hear from each other: latencies of a step [s/step], and transfers of a token [s/token].

    Two all-reduces a layer, after attention and after the feed-forward, and hops between pipeline stages.
    """
    dies = accelerator.dies
    tp, pp = parallel.tensor * dies, parallel.pipeline
    world = max(tp, parallel.expert)
    fast = has_fast_link(accelerator, world)
    latency = known.link_latency_s + (0.0 if fast else known.pcie_latency_s)
    if fast:
        latency *= (450 * GB / link_b_s(accelerator, fast)) ** known.link_scaling
    link_rate = link_b_s(accelerator, fast) / dies * (known.link_share if fast else known.pcie_share)
    collectives = 2 * model.layers if world > 1 else 0
    sent = 2 * model.layers * all_reduce_bytes(tp, model.hidden_size, 2)
    if parallel.expert > tp:  # the second is a gather and a scatter among replicas of attention
        collectives = (3 if tp > 1 else 2) * model.layers
        sent = sent / 2 + model.layers * gather_scatter_bytes(parallel.expert / tp, model.hidden_size, 2) / tp
    ranks = math.log2(world * pp)
    return collectives * latency * (1 + ranks) / 2 + (pp - 1) * latency, sent / link_rate / pp


def power_ratio(accelerator: Accelerator, peak16_flop_s: float) -> float:
    """Watts that the card may draw per 16-bit TFLOPS of its datasheet, between a third and four. [W/TFLOPS]

    Below one, clocks fall under matrix products (L4: 72 W for 121 TFLOPS); far above one, the peak is reached (GeForce
    cards, H20). One where the catalogue has no tdp_w.
    """
    if accelerator.tdp_w is None:
        return 1.0
    return min(max(accelerator.tdp_w / (peak16_flop_s / 1e12), 1 / 3), 4.0)


def bandwidth_b_s(accelerator: Accelerator) -> float:
    """Memory bandwidth by the datasheet. [byte/s]"""
    from rackrate.errors import UserError

    if accelerator.bandwidth_gb_s is None:
        raise UserError(
            f"{accelerator.id}: the catalogue has no bandwidth_gb_s; add it in an overlay (docs/catalogue.md)"
        )
    return accelerator.bandwidth_gb_s * GB


def has_fast_link(accelerator: Accelerator, ranks: int) -> bool:
    """Whether the ranks reach each other by more than PCIe. Bridges (NVL cards) join two or four, not eight."""
    link = accelerator.link
    if link is None:
        return False
    name = link.name.lower()
    if name.startswith("pcie"):
        return False
    return not (accelerator.id.endswith("-nvl") and ranks > 4)


def link_b_s(accelerator: Accelerator, fast: bool) -> float:
    """Rate between accelerators of one machine, per direction. PCIe 4 where the catalogue does not say. [byte/s]"""
    if fast and accelerator.link is not None:
        return accelerator.link.gb_s * GB
    return (accelerator.pcie_gb_s or 32.0) * GB
