"""The fitted model: which coefficients there are, how groups depart from them, and how both make `Coefficients`.

Every coefficient is a logarithm with a prior. Departures of a group (an accelerator family, an accelerator, an engine,
a machine) are shrunk towards zero by how little its rows say: partial pooling, so that a card with few rows leans on
its family and one with none on all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rackrate.engines.releases import expected_departure, release_by_id
from rackrate.steptime.engine_step import Coefficients

if TYPE_CHECKING:
    from rackrate.engines.spec import EngineRelease


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
    "dequantise_gap_s": Prior(6e-6, 0.7),
    "expert_padding": Prior(8.0, 0.8),
    "weight_only_experts": Prior(0.7, 0.4),
    "unshared_heads": Prior(0.7, 0.4),
    "large_batch_heads": Prior(0.8, 0.8),
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

HOST_SPREADS: dict[str, float] = {
    "host_step_s": 0.7,
    "host_sequence_s": 0.8,
    "host_prefill_s": 0.5,
    "stream_s": 1.0,
    "request_s": 0.25,
}
"""How far the host's times of a release may be from their medians, which are the engine's (`EngineRelease`)."""

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
    "machine": {"host": 0.8, "compute": 0.06, "memory": 0.05},
}
_TERMS: dict[str, tuple[str, ...]] = {
    "memory": ("memory",),
    "compute": ("compute16", "compute8", "compute4"),
    "attention": ("attention_memory", "attention_compute"),
    "unpacking": ("dequantise_memory", "four_bit_memory"),
    "experts": ("experts_compute",),
    "host": ("host_step_s", "host_sequence_s", "host_prefill_s", "stream_s", "rank_s"),
    "latency": ("link_latency_s", "pcie_latency_s"),
    "gaps": ("gap_s", "experts_gap_s", "quantise_gap_s", "dequantise_gap_s"),
    "link": ("link_share", "pcie_share"),
}
_CEILING: dict[str, float] = {
    "compute16": 0.95, "compute8": 0.95, "compute4": 0.95, "memory": 0.98, "four_bit_memory": 1.2,
    "attention_memory": 0.98, "attention_compute": 0.95, "link_share": 0.98, "pcie_share": 0.98,
    "unshared_heads": 1.0, "power_exponent": 0.6,
}  # fmt: skip
"""Shares cannot exceed one: an accelerator's departure stops here."""


_EARLIER_NAMES = {
    "widened_experts": "weight_only_experts", "crowded_heads": "large_batch_heads", "widen_gap_s": "dequantise_gap_s",
}  # fmt: skip


def current_name(name: str) -> str:
    """The name of a coefficient or of a group's departure, where an earlier version wrote it under another.

    >>> current_name("widened_experts"), current_name("box:someone/t4:host"), current_name("memory")
    ('weight_only_experts', 'machine:someone/t4:host', 'memory')
    """
    return f"machine:{name.removeprefix('box:')}" if name.startswith("box:") else _EARLIER_NAMES.get(name, name)


@dataclass(frozen=True)
class Groups:
    """The groups of one deployment. `machine` None: one that no row was seen of."""

    vendor: str
    family: str
    accelerator: str
    release: str
    machine: str | None = None

    def items(self) -> Iterable[tuple[str, str]]:
        """Level and name of each group."""
        yield "family", self.family
        yield "accelerator", self.accelerator
        yield "release", self.release
        if self.vendor != "nvidia":
            yield "vendor", f"{self.vendor} {self.release}"
            yield "kernels", f"{self.family} {self.release}"
        if self.machine is not None:
            yield "machine", self.machine


def parameter_priors(releases: Iterable[str], groups: Iterable[Groups]) -> dict[str, tuple[float, float]]:
    """Every parameter of a fit over these releases and groups: its prior mean (a logarithm) and spread."""
    priors: dict[str, tuple[float, float]] = {}
    for name, prior in SHARED.items():
        priors[name] = (math.log(prior.median), prior.spread)
    for name, spread in HOST_SPREADS.items():
        for release in sorted(set(releases)):
            priors[f"{name}@{release}"] = (math.log(getattr(_release(release).host_times, name)), spread)
    for item in groups:
        for level, group in item.items():
            for term, spread in GROUPS[level].items():
                mean = expected_departure(_release(item.release), item.vendor, term) if level == "vendor" else 0.0
                priors[f"{level}:{group}:{term}"] = (mean, spread)
    return priors


def _release(name: str) -> EngineRelease:
    release = release_by_id(name)
    if release is None:
        raise KeyError(name)
    return release


def coefficients_of(values: Mapping[str, float], release: EngineRelease, groups: Groups) -> Coefficients:
    """The coefficients of a deployment from the logarithms of the fit; what the fit does not know is the prior's
    median."""
    return of_logs(logs_of(values, release, groups))


def logs_of(values: Mapping[str, float], release: EngineRelease, groups: Groups) -> dict[str, float]:
    """The logarithm of each field of `Coefficients`, before shares are stopped at what a share can be."""
    logs = {name: values.get(name, math.log(prior.median)) for name, prior in SHARED.items()}
    for name in HOST_SPREADS:
        logs[name] = values.get(f"{name}@{release.id}", math.log(getattr(release.host_times, name)))
    for level, group in groups.items():
        for term in GROUPS[level]:
            departure = values.get(f"{level}:{group}:{term}")
            if departure is None and level == "vendor":
                departure = expected_departure(release, groups.vendor, term)
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
