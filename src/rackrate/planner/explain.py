"""One row of a plan from FLOPs to dollars: each figure with what it follows from, so that it can be checked by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rackrate.planner.bounds import least_busy_s
from rackrate.planner.plan import Demand, RankedDeployment
from rackrate.steptime.engine_step import bandwidth_b_s
from rackrate.steptime.work import formats_on, linear_work, peak_flop_s
from rackrate.units import GB, GIB, SECONDS_PER_HOUR


@dataclass(frozen=True)
class Step:
    """A figure and what it follows from."""

    what: str
    value: float | None
    unit: str
    how: str


class _Steps:
    """The explanation as it grows: what, value, unit, and how it follows."""

    def __init__(self) -> None:
        self.found: list[Step] = []

    def add(self, what: str, value: float | None, unit: str, how: str) -> None:
        self.found.append(Step(what, value, unit, how))


def explained(row: RankedDeployment, demand: Demand) -> list[Step]:
    """One row from FLOPs to dollars: what, value, unit, and how it follows."""
    steps = _Steps()
    _memory(steps, row, demand)
    _step(steps, row)
    _request(steps, row, demand)
    _machines(steps, row, demand)
    return steps.found


def _memory(steps: _Steps, row: RankedDeployment, demand: Demand) -> None:
    """What lies in memory."""
    fit = row.replica.fit
    steps.add(
        "weights",
        fit.total_weights_bytes / GIB,
        "GiB",
        f"{demand.read.architecture.parameters.total:,} parameters in {fit.weights_format}",
    )
    steps.add("weights on one accelerator", fit.weights_bytes / GIB, "GiB", f"split over {fit.accelerators}")
    steps.add(
        "left for the KV cache", fit.kv_bytes / GIB, "GiB",
        f"{fit.usable_bytes / GIB:.2f} GiB usable - weights - "
        f"{(fit.activation_bytes + fit.overhead_bytes) / GIB:.2f} GiB",
    )  # fmt: skip
    steps.add(
        "KV cache of a replica",
        row.replica.limits.kv_tokens,
        "token",
        f"{fit.kv_bytes_per_token:,.0f} bytes a token and accelerator",
    )


def _step(steps: _Steps, row: RankedDeployment) -> None:
    """What a step of the engine takes: facts of the model and the datasheet, and shares of these that are reached."""
    deployment, step = row.replica.deployment, row.replica.step
    accelerator, parallel, model = deployment.accelerator, deployment.parallel, deployment.model
    formats = formats_on(accelerator, deployment.weights, deployment.kv)
    work = linear_work(model, formats)
    count = parallel.ranks
    bandwidth, peak = bandwidth_b_s(accelerator) * count, peak_flop_s(accelerator, formats)[1] * count

    def reached(what: str, amount: float, seconds: float, rate: float, unit: str) -> None:
        if amount > 0 and seconds > 0:
            share = amount / seconds / rate
            steps.add(f"  reached of the {what}", share * 100, "%", f"fitted, {unit}")

    steps.add("bandwidth", bandwidth / GB, "GB/s", f"{count} x {bandwidth / count / GB:,.0f}, datasheet")
    steps.add(
        "peak of the products", peak / 1e12, "TFLOP/s",
        f"{count} x {peak / count / 1e12:,.4g} with {formats.compute}-bit products, datasheet",
    )  # fmt: skip
    steps.add(
        "bytes that every step reads", work.weight_bytes / GB, "GB",
        f"weights at {formats.weight_bits:g} bits, without the input embedding"
        + (" and routed experts" if work.expert_bytes else "")
        + "; the output layer"
        + (f" and {work.wide_bytes / GB:,.2f} GB that the format spares" if work.wide_bytes else "") + " at 16",
    )  # fmt: skip
    reached("bandwidth", work.weight_bytes, step.weights_s, bandwidth, "by weights")
    steps.add("read the weights once", step.weights_s * 1e3, "ms/step", "bytes / (bandwidth x share)")
    if work.expert_bytes:
        steps.add("bytes of all routed experts", work.expert_bytes / GB, "GB", f"at {formats.weight_bits:g} bits")
        reached("bandwidth", work.expert_bytes, step.experts_s, bandwidth, "by experts")
        steps.add("read all experts once", step.experts_s * 1e3, "ms/step", "bytes / (bandwidth x share)")
        steps.add(
            "experts that a token takes", (1 - step.expert_miss) * 100, "%",
            f"active / routed; t tokens of a step touch 1 - {step.expert_miss:.6g}^t of all",
        )  # fmt: skip
        steps.add(
            "arithmetic that fills all experts' tiles", step.padding_s * 1e3, "ms/step",
            "fitted rows for each expert touched, added to what the tokens take",
        )  # fmt: skip
    flop = work.token_flop + work.wide_token_flop + work.expert_token_flop
    steps.add("arithmetic of a token", flop / 1e9, "GFLOP", "2 FLOP for each weight that it passes")
    reached("peak", flop, step.token_compute_s, peak, "by products")
    steps.add("the same in time", step.token_compute_s * 1e6, "us/token", "FLOP / (peak x share)")
    steps.add("activations, all-reduces", step.token_s * 1e6, "us/token", "bytes moved for a token beside the weights")
    # layers with a window count for the share of a context that they see
    seen = (step.context_s - deployment.step.context_s) / deployment.step.window_context_s if work.window_bytes else 1.0
    context = work.context_bytes + work.window_bytes * seen
    steps.add(
        "bytes of a token of context", context, "byte",
        "its KV cache, all layers"
        + (f"; those with a window read {seen:.0%} of a mean context" if work.window_bytes else ""),
    )  # fmt: skip
    whole = parallel.tensor > work.kv_split  # heads of the cache are copied where ranks outnumber them
    reached("bandwidth", context, step.context_s, bandwidth,
            f"by attention; {parallel.tensor} ranks share {work.kv_split} parts of the cache" if whole
            else "by attention")  # fmt: skip
    steps.add("read a token of context", step.context_s * 1e9, "ns/token", "its bytes / (bandwidth x share)")
    if step.large_batch_context > 1:
        steps.add(
            "the same in large batches", step.context_s * step.large_batch_context * 1e9, "ns/token",
            f"with more than {step.large_batch_over:.0f} sequences the engine takes another kernel",
        )  # fmt: skip
    steps.add("a pair of prompt tokens", step.pair_s * 1e12, "ps/pair", f"{work.pair_flop:,.0f} FLOP of attention")
    steps.add("host, launches, all-reduces", step.step_s * 1e3, "ms/step", "fitted")
    steps.add("  more with prompts in it", step.prefill_step_s * 1e3, "ms/step", "fitted")
    steps.add("per sequence", step.sequence_s * 1e6, "us", "fitted; host, output layer, sampling")
    if step.floor_s:
        steps.add("no step is shorter than", step.floor_s * 1e3, "ms/step", "kernels are launched one by one")
    steps.add("sharpness of the roofline", step.sharpness or None, "", "fitted: dense = (compute^s + memory^s)^(1/s)")


def _request(steps: _Steps, row: RankedDeployment, demand: Demand) -> None:
    """What a request takes: alone, and at least where batches are as full as they get."""
    step, limits, draw = row.replica.step, row.replica.limits, demand.draw
    inputs, outputs = draw.input_tokens.astype(np.float64), draw.output_tokens.astype(np.float64)
    fresh = inputs - np.minimum(draw.cached_tokens, inputs - 1)
    decodes = outputs - 1
    read = decodes * inputs + decodes * outputs / 2
    pairs = fresh * (inputs - fresh) + fresh * (fresh + 1) / 2
    capacity = limits.blocks * limits.block_tokens
    by_slots, by_cache = float(decodes.mean()) / limits.max_num_seqs, float(read.mean()) / capacity
    alone = step.seconds(1, float(inputs.mean()))
    steps.add(
        "a token alone", alone * 1e3, "ms",
        f"dense(1 token) + activations + host + a sequence + {inputs.mean():,.0f} tokens of context",
    )  # fmt: skip
    steps.add(
        "tokens through the layers", float((fresh + decodes).mean()), "token/request",
        f"{fresh.mean():,.2f} of the prompt" + (", cached ones left out," if draw.cached_tokens.any() else "")
        + f" and {decodes.mean():,.2f} after the first, simulated",
    )  # fmt: skip
    steps.add("context read", float(read.mean()), "token/request", "the context of each of its decoding steps, summed")
    steps.add("pairs of prompt tokens", float(pairs.mean()), "pair/request", "each prompt token and those before it")
    steps.add(
        "steps, at least", max(by_slots, by_cache), "step/request",
        f"the tokens after the first over {limits.max_num_seqs} sequences (max_num_seqs)" if by_slots >= by_cache
        else f"context read over the {capacity:,} tokens that the cache holds",
    )  # fmt: skip
    busy = least_busy_s(draw, step, limits)
    steps.add(
        "busy for a request, at least", busy, "s",
        "the larger of arithmetic and memory (steps x weights"
        + (" and one token's experts, and their tiles" if step.experts_s else "")
        + "), + activations + steps x host + sequences (its tokens after the first, and 1) + context + pairs",
    )  # fmt: skip
    steps.add("no replica serves more than", 1 / busy, "request/s", "1 / the above")


def _machines(steps: _Steps, row: RankedDeployment, demand: Demand) -> None:
    """From the capacity of a replica to the price of a token."""
    candidate, fit, outcome = row.candidate, row.replica.fit, row.sized.point.outcome
    steps.add("capacity of a replica", row.capacity, "request/s", f"simulated: the largest rate within {demand.slo}")
    steps.add("asked for at the peak", demand.peak, "request/s", demand.origin)
    steps.add(
        "replicas of a machine",
        candidate.replicas,
        "",
        f"{candidate.offer.accelerator_count} accelerators / {fit.accelerators}",
    )
    steps.add("machines", row.machines, "", "the fewest whose replicas, given equal shares, stay within the SLO")
    steps.add("load of a replica", row.sized.point.rate, "request/s", f"peak / replicas ({row.sized.replicas})")
    tpot, ttft = outcome.tpot.quantile_s(0.95), outcome.ttft.quantile_s(0.95)
    steps.add("p95 TTFT there", None if ttft is None else ttft * 1e3, "ms", "simulated")
    steps.add("p95 TPOT there", None if tpot is None else tpot * 1e3, "ms", "simulated")
    if demand.spares:
        steps.add("spares", demand.spares, "", "asked for")
    usd_h = candidate.cost.usd_h(1.0)
    steps.add("a machine-hour", usd_h, "USD/h", f"{candidate.cost.source}, {candidate.cost.date}")
    steps.add(
        "a month", row.usd_month, "USD", f"{row.machines + demand.spares} x {usd_h:g} x {demand.hours_per_month:g} h"
    )
    steps.add(
        "tokens of a month", demand.tokens_month, "token",
        f"{demand.rate:g}/s x ({demand.mean.inputs:,.1f} + {demand.mean.outputs:,.1f}) x {demand.hours_per_month:g} h "
        f"x {SECONDS_PER_HOUR:g} s",
    )  # fmt: skip
    steps.add("per 1M tokens", row.usd_per_1m, "USD", "the month over its tokens")
