"""Releases of engines by their published names: whose step times, schedulers and kernels are meant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rackrate.engines import known
from rackrate.engines.spec import OLD_KERNELS, EngineRelease, EngineSpec, PublishedEngine, Scheduler

if TYPE_CHECKING:
    from rackrate.catalog.types import Accelerator


def all_releases() -> Iterator[EngineRelease]:
    """Every release whose step times can be predicted."""
    for spec in known.ENGINES:
        yield from spec.releases


def release_by_id(name: str) -> EngineRelease | None:
    """The release of that id; None where there is none."""
    return next((release for release in all_releases() if release.id == name), None)


def engine_of(release: EngineRelease) -> EngineSpec:
    """The engine of a release. Raises KeyError where it is no known one."""
    for spec in known.ENGINES:
        if any(item.id == release.id for item in spec.releases):
            return spec
    raise KeyError(release.id)


def release_of(engine: str, version: str = "", year: int | None = None, cpu: bool = False) -> EngineRelease | None:
    """The release of an engine by its published name, version, and where that is missing the year. None where unknown.

    Engines' own spellings are looked for first, in the order of the list, then those of programs that behave alike.

    >>> release_of("vLLM", "0.7.3").id, release_of("vllm (V1)").id, release_of("trtllm", "1.0.0rc3").id
    ('vllm-0.4', 'vllm-0.8', 'trtllm-1')
    >>> release_of("vllm", "", 2024).id, release_of("vllm", "0.20.1").id
    ('vllm-0.4', 'vllm-0.20')
    """
    name = engine.lower().strip()
    predicted = [spec for spec in known.ENGINES if spec.releases]
    spec = next(
        (
            spec
            for words in ([spec.spellings for spec in predicted], [spec.kin for spec in predicted])
            for spec, spellings in zip(predicted, words, strict=True)
            if any(word in name for word in spellings)
        ),
        None,
    )
    if spec is None:
        return None
    if spec.release is None:
        return spec.releases[0]
    wanted = spec.release(PublishedEngine(name, version.lower(), year, cpu))
    return next(release for release in spec.releases if release.id == wanted)


def assumed_release(year: int | None) -> EngineRelease:
    """The release of the default engine at that time, for rows that state no known one."""
    release = release_of(known.default_engine(gguf=False), "", year)
    if release is None:
        raise KeyError(known.default_engine(gguf=False))
    return release


def shares_kv_heads(release: EngineRelease, accelerator: Accelerator) -> bool:
    """Whether decode attention reads a key-value head once for all query heads of its group.

    The first PagedAttention kernel (Kwon et al. 2023; vllm/csrc/attention) has one thread block per query head; it
    served ROCm and cards without FlashAttention 2 until vLLM 0.8.
    """
    if not release.first_paged_attention:
        return True
    return accelerator.vendor == "nvidia" and accelerator.architecture not in OLD_KERNELS


def tuned_flop_s(release: EngineRelease, accelerator: Accelerator) -> float:
    """The 16-bit peak that an engine's products were tuned for: a faster device computes no faster. [FLOP/s]"""
    tuned = release.amd_tuned_flop_s if accelerator.vendor == "amd" else None
    return math.inf if tuned is None else tuned


def scheduler_of(release: EngineRelease, accelerator: Accelerator, prompt_tokens: float = 0) -> Scheduler:
    """The engine's own defaults on this accelerator, for prompts of this length."""
    return release.scheduler(accelerator, prompt_tokens)


def expected_departure(release: EngineRelease, vendor: str, term: str) -> float:
    """Where a vendor's accelerators are expected before their rows are seen, as a logarithm; 0 where nothing is."""
    return next((log for of, what, log in release.departures if (of, what) == (vendor, term)), 0.0)
