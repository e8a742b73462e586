"""What would fit this machine's memory, where an engine ran out of it at its start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rackrate.units import GIB

if TYPE_CHECKING:
    from rackrate.catalog.load import Catalog

FIELDS = ("requests", "context_tokens")
"""What the advice names in braces."""


def what_would_fit(model: str, *, requests: int, context_tokens: int, catalog: Catalog) -> str:
    """A sentence: what the weights and the KV cache take, and the largest load that fits what is free.

    Names of fields are in braces, as in a UserError's message.
    """
    from rackrate.engines.gpus import found_gpus
    from rackrate.errors import UserError
    from rackrate.memory.kv_cache import request_bytes
    from rackrate.models.formats import weight_format
    from rackrate.models.read_model import read_model
    from rackrate.models.weight_sizes import weight_bytes

    ask = "ask for fewer {requests} or a shorter {context_tokens}, or serve a smaller number format"
    try:
        read = read_model(model, catalog)
        architecture = read.architecture
    except UserError as error:
        return f"It ran out of memory, and what would fit cannot be said ({error}): {ask}."
    weights = read.weights_file_bytes or weight_bytes(architecture, weight_format(architecture.native_weights))
    if gpus := found_gpus():
        free = min(gpu.free_bytes for gpu in gpus) / GIB
        return (
            f"It ran out of memory on {len(gpus)} x {gpus[0].name} with {free:.1f} GiB free each: a memory "
            f"fit of {model} says what does fit; {ask}."
        )

    free = free_bytes()

    def needed(number: int, tokens: int) -> float:
        return weights + number * request_bytes(architecture.caches, tokens, 2.0, 1, 1)

    head = (
        f"It ran out of memory: weights of {weights / GIB:.2f} GiB and a KV cache of "
        f"{(needed(requests, context_tokens) - weights) / GIB:.2f} GiB ({requests} requests of {context_tokens} tokens)"
        f" on a machine with {free / GIB:.1f} GiB free"
    )
    most = next((number for number in _halves(requests) if needed(number, context_tokens) < 0.9 * free), 0)
    if most == requests:
        return f"{head}; by these figures it fits, so the engine needs more besides: {ask}."
    if most:
        return f"{head}. {most} requests of that length would fit: {{requests}} {most}."
    shorter = next((tokens for tokens in _halves(context_tokens) if needed(1, tokens) < 0.9 * free), 0)
    if shorter:
        return f"{head}. One request of {shorter} tokens would fit: {{requests}} 1 {{context_tokens}} {shorter}."
    return f"{head}. The weights alone do not fit: {ask}."


def free_bytes() -> int:
    """Memory that a process here may take: what is free, within the limits of the shell and of the container."""
    import contextlib
    import sys
    from pathlib import Path

    import psutil

    limits = [psutil.virtual_memory().available]
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    if sys.platform != "win32":
        import resource

        limits += [limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit != resource.RLIM_INFINITY]
    return min(limits)


def _halves(number: int) -> list[int]:
    """A number, its half, its quarter, ... down to 1."""
    found: list[int] = []
    while number >= 1:
        found.append(number)
        number //= 2
    return found
