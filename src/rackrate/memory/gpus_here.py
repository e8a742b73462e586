"""How an engine serves a model on the GPUs of this machine: a number format that they have, over as few as hold it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rackrate.catalog.load import Catalog
    from rackrate.catalog.types import Accelerator
    from rackrate.engines.gpus import FoundGpu
    from rackrate.engines.settings import Settings
    from rackrate.models.read_model import ReadModel


@dataclass(frozen=True)
class GpuSettings:
    """What to set, and why."""

    settings: Settings = field(default_factory=dict[str, "str | int | float | bool | None"])
    notes: tuple[str, ...] = ()


def settings_on_gpus(
    engine: str, model: str, requests: int, context_tokens: int, given: Settings, catalog: Catalog
) -> GpuSettings:
    """The settings for the GPUs that the drivers of this machine list, those that the user gave over them.

    Raises:
        EngineError: the model does not fit them; says by how much, and what would.
    """
    from rackrate.engines.gpus import found_gpus
    from rackrate.engines.known import find_engine

    spec = find_engine(engine)
    if spec is None or spec.launch is None or not spec.launch.spreads_over_gpus:
        return GpuSettings(given)
    chosen = choose_settings(engine, model, found_gpus(), requests, context_tokens, catalog, _own_format(given))
    return GpuSettings({**chosen.settings, **given}, chosen.notes)


def _own_format(settings: Settings) -> str | None:
    """The number format of weights that the user asked the engine for; None: as published."""
    named = settings.get("quantisation") or settings.get("dtype")
    return None if named in {None, "auto"} else {"bfloat16": "bf16", "float16": "fp16"}.get(str(named), str(named))


def choose_settings(
    engine: str,
    model: str,
    gpus: tuple[FoundGpu, ...],
    requests: int,
    context_tokens: int,
    catalog: Catalog,
    weights: str | None = None,
) -> GpuSettings:
    """As settings_on_gpus, for stated GPUs.

    The fewest tensor-parallel ranks whose caches hold `requests` of `context_tokens`, or else the most that fit at all.
    A model whose shape cannot be read, such as one named by its hub id, is left to the engine; so are unknown cards.
    """
    from rackrate.errors import CatalogError, UserError
    from rackrate.models.formats import weight_format
    from rackrate.models.read_model import read_model

    if not gpus:
        return GpuSettings()
    if len({gpu.name for gpu in gpus}) > 1:
        return GpuSettings(notes=("the GPUs are not alike: the engine chooses by itself",))
    try:
        accelerator = catalog.accelerator(gpus[0].name)
    except CatalogError:
        return GpuSettings(notes=(f"{gpus[0].name} is not in the catalogue: the engine chooses by itself",))
    halved: Settings = {"dtype": "float16"} if "bf16" in accelerator.lacks else {}
    lacks = (f"{accelerator.id} has no bf16 units: served in fp16",) if halved else ()
    try:
        read = read_model(model, catalog, weights_stated=weights is not None)
        if weights is not None:
            weight_format(weights)
    except UserError as error:
        return GpuSettings(halved, (*lacks, f"whether it fits was not looked at ({error})"))
    return _over_ranks(engine, read, accelerator, gpus, requests, context_tokens, weights, GpuSettings(halved, lacks))


def _over_ranks(
    engine: str, read: ReadModel, accelerator: Accelerator, gpus: tuple[FoundGpu, ...], requests: int,
    context_tokens: int, weights: str | None, so_far: GpuSettings,
) -> GpuSettings:  # fmt: skip
    from rackrate.errors import EngineError
    from rackrate.memory.engine_memory import engine_memory
    from rackrate.memory.fit import fit
    from rackrate.memory.remedies import remedies
    from rackrate.memory.sharding import tp_problem
    from rackrate.units import GIB

    memory = engine_memory(engine)
    free = min(gpu.free_bytes for gpu in gpus)
    file_bytes = read.weights_file_bytes if weights is None else None
    fits = [
        fit(
            read.architecture, accelerator, tp=tp, context_tokens=context_tokens, weights=weights, engine=memory,
            memory_bytes=free, weights_file_bytes=file_bytes,
        )
        for tp in range(1, len(gpus) + 1)
        if tp_problem(read.architecture, tp) is None
    ]  # fmt: skip
    good = [fit for fit in fits if fit.fits]
    if not good:
        failed = fits[-1]
        others = remedies(
            read.architecture, accelerator, failed, weights=weights, engine=memory, weights_file_bytes=file_bytes
        )
        would = f" It would fit with {others[0].text}." if others else ""
        raise EngineError(
            f"{read.architecture.name} does not fit the {len(gpus)} x {accelerator.id} here "
            f"({free / GIB:.1f} GiB free each): {'; '.join(failed.reasons)}.{would}"
        )
    chosen = next((item for item in good if item.requests >= requests), good[-1])
    note = (
        f"{accelerator.id} x {chosen.tp}: {chosen.weights_bytes / GIB:.1f} GiB of weights each, and KV cache for "
        f"{chosen.requests:,} requests of {context_tokens:,} tokens (predicted)"
    )
    if chosen.requests < requests:
        note += f"; more than that of the {requests} asked for will wait"
    if (replicas := len(gpus) // chosen.tp) > 1:
        note += f"; the setting data_parallel={replicas} serves {replicas} replicas on all {len(gpus)} GPUs"
    ranks: Settings = {"tensor_parallel": chosen.tp} if chosen.tp > 1 else {}
    return GpuSettings({**so_far.settings, **ranks}, (*so_far.notes, note))
