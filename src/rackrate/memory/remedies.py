"""What would make a model fit: more of the same card, a smaller format, a shorter context, another card."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rackrate.catalog.types import Accelerator
from rackrate.engines.spec import EngineMemory
from rackrate.engines.vllm import MEMORY as VLLM
from rackrate.memory.fit import Fit, fit
from rackrate.memory.sharding import parallelisms
from rackrate.models.architecture import Architecture

COUNTS = (1, 2, 4, 8, 16, 32)
"""Accelerators of one replica that machines come with."""
SMALLER = ("fp8", "w4a16")
SMALLER_GGUF = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_S")
"""Formats to try, best quality first."""


@dataclass(frozen=True)
class Remedy:
    """One change after which the model fits."""

    kind: Literal["format", "kv", "context", "count", "accelerator"]
    text: str
    fit: Fit


def smallest_count(
    architecture: Architecture, accelerator: Accelerator, *, weights: str | None = None, kv: str = "auto",
    context_tokens: int | None = None, engine: EngineMemory = VLLM, counts: Iterable[int] = COUNTS,
    weights_file_bytes: float | None = None,
) -> Fit | None:  # fmt: skip
    """The fit on the fewest accelerators that hold the model; None where not even the most do.

    >>> from rackrate.catalog.load import load_catalog
    >>> from rackrate.models.architecture import of_catalogue_model
    >>> llama = of_catalogue_model(load_catalog().model("llama-3-8b-instruct"))
    >>> smallest_count(llama, load_catalog().accelerators["t4"]).accelerators
    2
    """
    for count in counts:
        for tp, pp in parallelisms(architecture, count, engine):
            found = fit(
                architecture, accelerator, tp=tp, pp=pp, weights=weights, kv=kv, context_tokens=context_tokens,
                engine=engine, weights_file_bytes=weights_file_bytes,
            )  # fmt: skip
            if found.fits:
                return found
    return None


def remedies(
    architecture: Architecture, accelerator: Accelerator, failed: Fit, *, weights: str | None, engine: EngineMemory,
    others: Iterable[Accelerator] = (), weights_file_bytes: float | None = None,
) -> tuple[Remedy, ...]:  # fmt: skip
    """Single changes to a deployment that did not fit, each tried: the same call of `fit` says that it then does.

    Args:
        architecture: the model.
        accelerator: of the deployment.
        failed: what `fit` said.
        weights: the format that was asked for; None: as published.
        engine: of the deployment.
        others: accelerators to look for the smallest single one that would do.
        weights_file_bytes: exact size of the weights in that format, where known.
    """
    found: list[Remedy] = []
    context = failed.context_tokens
    tp, pp = failed.tp, failed.pp
    name = f"{tp * pp} x {accelerator.id}" if tp * pp > 1 else f"one {accelerator.id}"
    for form in SMALLER_GGUF if engine.gguf else SMALLER:
        trial = fit(architecture, accelerator, tp=tp, pp=pp, weights=form, context_tokens=context, engine=engine)
        if trial.fits and trial.total_weights_bytes < 0.95 * failed.total_weights_bytes:
            found.append(Remedy("format", f"weights in {form} on {name}", trial))
            break
    if failed.kv_bytes > 0:
        kv = "q8_0" if engine.gguf else "fp8"
        trial = fit(
            architecture, accelerator, tp=tp, pp=pp, weights=weights, kv=kv, context_tokens=context, engine=engine,
            weights_file_bytes=weights_file_bytes,
        )  # fmt: skip
        if trial.fits and trial.kv_format != failed.kv_format:
            found.append(Remedy("kv", f"the KV cache in {kv}", trial))
        if 0 < failed.largest_context < context:
            trial = fit(
                architecture, accelerator, tp=tp, pp=pp, weights=weights, kv=failed.kv_format,
                context_tokens=failed.largest_context, engine=engine, weights_file_bytes=weights_file_bytes,
            )  # fmt: skip
            if trial.fits:
                found.append(Remedy("context", f"requests of at most {failed.largest_context:,} tokens", trial))
    more = smallest_count(
        architecture, accelerator, weights=weights, kv=failed.kv_format, context_tokens=context, engine=engine,
        weights_file_bytes=weights_file_bytes,
    )  # fmt: skip
    if more is not None and more.accelerators != tp * pp:
        found.append(Remedy("count", f"{more.accelerators} x {accelerator.id} ({split_words(more)})", more))
    elif more is not None:
        found.append(Remedy("count", f"{split_words(more)} on the same {more.accelerators} x {accelerator.id}", more))
    single = _smallest_single(architecture, others, weights, context, engine, weights_file_bytes)
    if single is not None and single.accelerator != accelerator.id:
        found.append(Remedy("accelerator", f"one {single.accelerator}", single))
    return tuple(found)


def split_words(item: Fit) -> str:
    """How a replica is split.

    >>> from rackrate.catalog.load import load_catalog
    >>> from rackrate.models.architecture import of_catalogue_model
    >>> llama = of_catalogue_model(load_catalog().model("llama-3-8b-instruct"))
    >>> split_words(fit(llama, load_catalog().accelerators["t4"], tp=2, pp=2))
    'tp 2, pp 2'
    """
    parts = [f"{word} {number}" for word, number in (("tp", item.tp), ("pp", item.pp)) if number > 1]
    return ", ".join(parts) or "one card"


def _smallest_single(
    architecture: Architecture, others: Iterable[Accelerator], weights: str | None, context: int, engine: EngineMemory,
    weights_file_bytes: float | None,
) -> Fit | None:  # fmt: skip
    """The GPU with the least memory that holds the model alone."""
    known = [other for other in others if other.kind == "gpu" and other.memory_gib is not None]
    for card in sorted(known, key=lambda item: (item.memory_gib or 0.0, item.id)):
        trial = fit(
            architecture, card, weights=weights, context_tokens=context, engine=engine,
            weights_file_bytes=weights_file_bytes,
        )  # fmt: skip
        if trial.fits:
            return trial
    return None
