"""The fitted model: which coefficients there are, how groups depart from them, and how both make `Coefficients`.

Every coefficient is a logarithm with a prior. Departures of a group (an accelerator family, an accelerator, an engine,
a box) are shrunk towards zero by how little its rows say: partial pooling, so that a card with few rows leans on its
family and one with none on all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rackrate.steptime.engine_step import Coefficients

if TYPE_CHECKING:
    from rackrate.steptime.engine_releases import EngineRelease


@dataclass(frozen=True)
class Prior:
    """Median and spread (standard deviation of the logarithm) before any row is seen."""

    median: float
    spread: float


# Medians: shares that vendors' own kernels are known to reach (CUTLASS and FlashAttention papers; nvbandwidth), times
# from profiles of the engines. They are weak: rows decide.
SHARED: dict[str, Prior] = {
    "compute16": Prior(0.65, 0.25),
    "compute8": Prior(0.50, 0.3),
    "compute4": Prior(0.40, 0.3),
    "power_exponent": Prior(0.2, 0.5),
    "dequantise_compute": Prior(0.8, 0.3),
    "memory": Prior(0.80, 0.15),
    "dequantise_memory": Prior(0.9, 0.1),
    "four_bit_memory": Prior(0.85, 0.15),
    "attention_memory": Prior(0.60, 0.3),
    "attention_compute": Prior(0.35, 0.4),
    "sharpness": Prior(3.0, 0.4),
    "experts_memory": Prior(0.7, 0.3),
    "experts_compute": Prior(0.6, 0.4),
    "gap_s": Prior(10e-6, 0.7),
    "experts_gap_s": Prior(15e-6, 0.7),
    "quantise_gap_s": Prior(6e-6, 0.7),
    "widen_gap_s": Prior(6e-6, 0.7),
    "expert_padding": Prior(8.0, 0.8),
    "widened_experts": Prior(0.7, 0.4),
    "unshared_heads": Prior(0.7, 0.4),
    "crowded_heads": Prior(0.8, 0.8),
    "engine_gib": Prior(3.0, 0.4),
    "launch_s": Prior(80e-6, 0.7),
    "logit_passes": Prior(6.0, 0.8),
    "link_latency_s": Prior(15e-6, 0.6),
    "link_scaling": Prior(0.3, 0.7),
    "link_share": Prior(0.5, 0.4),
    "pcie_latency_s": Prior(12e-6, 0.6),
    "pcie_share": Prior(0.4, 0.5),
    "rank_s": Prior(2e-4, 1.0),
}

BY_RELEASE: dict[str, dict[str, Prior]] = {
    "host_step_s": {
        "vllm-0.4": Prior(3e-3, 0.7),
        "vllm-0.8": Prior(1.5e-3, 0.7),
        "vllm-0.20": Prior(1e-3, 0.7),
        "sglang": Prior(1e-3, 0.7),
        "trtllm-0": Prior(7e-4, 0.7),
        "trtllm-1": Prior(7e-4, 0.7),
        "tgi": Prior(2e-3, 0.7),
        "deepspeed-mii": Prior(3e-3, 0.7),
        "llamacpp-gpu": Prior(
            1.5e-3, 0.7
        ),  # launches, after NVIDIA's post on CUDA graphs in llama.cpp (2024-08), from memory
        "llamacpp-cpu": Prior(3e-4, 0.7),
        "transformers": Prior(5e-3, 0.7),
    },
    "host_sequence_s": {
        "vllm-0.4": Prior(8e-5, 0.8),
        "vllm-0.8": Prior(2e-5, 0.8),
        "vllm-0.20": Prior(1e-5, 0.8),
        "sglang": Prior(1e-5, 0.8),
        "trtllm-0": Prior(5e-6, 0.8),
        "trtllm-1": Prior(5e-6, 0.8),
        "tgi": Prior(3e-5, 0.8),
        "deepspeed-mii": Prior(8e-5, 0.8),
        "llamacpp-gpu": Prior(5e-5, 0.8),
        "llamacpp-cpu": Prior(1e-4, 0.8),
        "transformers": Prior(1e-4, 0.8),
    },
    "host_prefill_s": {
        "vllm-0.4": Prior(5e-3, 0.5),
        "vllm-0.8": Prior(3e-3, 0.5),
        "vllm-0.20": Prior(2e-3, 0.5),
        "sglang": Prior(3e-3, 0.5),
        "trtllm-0": Prior(2e-3, 0.5),
        "trtllm-1": Prior(2e-3, 0.5),
        "tgi": Prior(5e-3, 0.5),
        "deepspeed-mii": Prior(5e-3, 0.5),
        "llamacpp-gpu": Prior(1e-3, 0.5),
        "llamacpp-cpu": Prior(1e-3, 0.5),
        "transformers": Prior(5e-3, 0.5),
    },
    "stream_s": {
        "vllm-0.4": Prior(8e-5, 1.0),
        "vllm-0.8": Prior(2e-5, 1.0),
        "vllm-0.20": Prior(1e-5, 1.0),
        "sglang": Prior(1e-5, 1.0),
        "trtllm-0": Prior(1e-5, 1.0),
        "trtllm-1": Prior(1e-5, 1.0),
        "tgi": Prior(1e-5, 1.0),
        "deepspeed-mii": Prior(5e-5, 1.0),
        "llamacpp-gpu": Prior(2e-6, 1.0),
        "llamacpp-cpu": Prior(2e-6, 1.0),
        "transformers": Prior(1e-5, 1.0),
    },
    "request_s": {
        "vllm-0.4": Prior(8e-3, 0.25),
        "vllm-0.8": Prior(8e-3, 0.25),
        "vllm-0.20": Prior(6e-3, 0.25),
        "sglang": Prior(8e-3, 0.25),
        "trtllm-0": Prior(5e-3, 0.25),
        "trtllm-1": Prior(5e-3, 0.25),
        "tgi": Prior(8e-3, 0.25),
        "deepspeed-mii": Prior(8e-3, 0.25),
        "llamacpp-gpu": Prior(5e-3, 0.25),
        "llamacpp-cpu": Prior(5e-3, 0.25),
        "transformers": Prior(5e-3, 0.25),
    },
}

# Which groups may depart in what, and how far before their rows are seen.
GROUPS: dict[str, dict[str, float]] = {
    "family": {"memory": 0.03, "compute": 0.05, "attention": 0.06, "link": 0.1, "latency": 0.1},
    "accelerator": {"memory": 0.03, "compute": 0.03, "attention": 0.03, "link": 0.03, "latency": 0.03},
    # kernels that an engine of its time had not tuned for a vendor
    "vendor": {"compute": 0.5, "memory": 0.15, "attention": 0.2, "experts": 0.5, "link": 0.3, "latency": 0.4},
    "kernels": {"compute": 0.2, "memory": 0.1, "attention": 0.2, "experts": 0.3},
    # all-reduces by NCCL's or RCCL's rings, or by the engine's own one-shot kernels; kernels fused or not; packed
    # weights read by Marlin's kernels, or by those of llama.cpp, whose blocks were made for it
    "release": {"latency": 0.6, "gaps": 0.15, "unpacking": 0.15},
    "box": {"host": 0.8, "compute": 0.06, "memory": 0.05},
}
MEANS: dict[str, float] = {"vendor:amd vllm-0.4:compute": -0.4}
"""Where a departure is expected before its rows are seen. MI300X reached 620 of 1307 TFLOPS of its datasheet where H100
reached 720 of 989 (SemiAnalysis, MI300X against H100 and H200, 2024-12, bf16 products of 2024's libraries)."""
_TERMS: dict[str, tuple[str, ...]] = {
    "memory": ("memory",),
    "compute": ("compute16", "compute8", "compute4"),
    "attention": ("attention_memory", "attention_compute"),
    "unpacking": ("dequantise_memory", "four_bit_memory"),
    "experts": ("experts_compute",),
    "host": ("host_step_s", "host_sequence_s", "host_prefill_s", "stream_s", "rank_s"),
    "latency": ("link_latency_s", "pcie_latency_s"),
    "gaps": ("gap_s", "experts_gap_s", "quantise_gap_s", "widen_gap_s"),
    "link": ("link_share", "pcie_share"),
}
_CEILING: dict[str, float] = {
    "compute16": 0.95, "compute8": 0.95, "compute4": 0.95, "memory": 0.98, "four_bit_memory": 1.2,
    "attention_memory": 0.98, "attention_compute": 0.95, "link_share": 0.98, "pcie_share": 0.98,
    "unshared_heads": 1.0, "power_exponent": 0.6,
}  # fmt: skip
"""Shares cannot exceed one: an accelerator's departure stops here."""


@dataclass(frozen=True)
class Groups:
    """The groups of one deployment. `box` None: a machine that no row was seen of."""

    vendor: str
    family: str
    accelerator: str
    release: str
    box: str | None = None

    def items(self) -> Iterable[tuple[str, str]]:
        """Level and name of each group."""
        yield "family", self.family
        yield "accelerator", self.accelerator
        yield "release", self.release
        if self.vendor != "nvidia":
            yield "vendor", f"{self.vendor} {self.release}"
            yield "kernels", f"{self.family} {self.release}"
        if self.box is not None:
            yield "box", self.box


def parameter_priors(releases: Iterable[str], groups: Iterable[Groups]) -> dict[str, tuple[float, float]]:
    """Every parameter of a fit over these releases and groups: its prior mean (a logarithm) and spread."""
    priors: dict[str, tuple[float, float]] = {}
    for name, prior in SHARED.items():
        priors[name] = (math.log(prior.median), prior.spread)
    for name, by_release in BY_RELEASE.items():
        for release in sorted(set(releases)):
            priors[f"{name}@{release}"] = (math.log(by_release[release].median), by_release[release].spread)
    for item in groups:
        for level, group in item.items():
            for term, spread in GROUPS[level].items():
                name = f"{level}:{group}:{term}"
                priors[name] = (MEANS.get(name, 0.0), spread)
    return priors


def coefficients_of(values: Mapping[str, float], release: EngineRelease, groups: Groups) -> Coefficients:
    """The coefficients of a deployment from the logarithms of the fit; what the fit does not know is the prior's
    median."""
    return of_logs(logs_of(values, release, groups))


def logs_of(values: Mapping[str, float], release: EngineRelease, groups: Groups) -> dict[str, float]:
    """The logarithm of each field of `Coefficients`, before shares are stopped at what a share can be."""
    logs = {name: values.get(name, math.log(prior.median)) for name, prior in SHARED.items()}
    for name, by_release in BY_RELEASE.items():
        logs[name] = values.get(f"{name}@{release.id}", math.log(by_release[release.id].median))
    for level, group in groups.items():
        for term in GROUPS[level]:
            name = f"{level}:{group}:{term}"
            departure = values.get(name, MEANS.get(name, 0.0))
            if departure:
                for field in _TERMS[term]:
                    logs[field] += departure
    return logs


def of_logs(logs: Mapping[str, float]) -> Coefficients:
    """Coefficients from logarithms; shares stop at what a share can be."""
    return Coefficients.of({name: min(math.exp(log), _CEILING.get(name, math.inf)) for name, log in logs.items()})


def fields_of(parameter: str, release: str, groups: Groups) -> tuple[str, ...]:
    """The fields of `Coefficients` whose logarithm a parameter moves for a deployment; none if it has no part in it."""
    if ":" in parameter:
        level, group, term = parameter.split(":")
        return _TERMS[term] if (level, group) in set(groups.items()) else ()
    name, _, of_release = parameter.partition("@")
    return (name,) if of_release in {"", release} else ()
