"""Every way to serve a model on what can be rented: offer x tensor parallelism x number format x engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rackrate.catalog.load import Catalog
from rackrate.catalog.types import Accelerator, Offer
from rackrate.economics.hourly import HourlyCost, PriceKind, has_price, rented
from rackrate.engines.releases import engine_of
from rackrate.errors import UserError
from rackrate.memory.engine_memory import engine_memory
from rackrate.memory.fit import Fit, fit, runnable_format
from rackrate.memory.sharding import tp_problem
from rackrate.models.formats import step_name, weight_format
from rackrate.models.read_model import ReadModel
from rackrate.simulation.settings import EngineLimits
from rackrate.simulation.step import StepTime
from rackrate.steptime.deployment import Deployment, deploy
from rackrate.steptime.work import Parallel


@dataclass(frozen=True)
class ReplicaSpec:
    """A deployment without its price: what one replica is."""

    accelerator: str
    tp: int
    weights: str
    engine: str
    pp: int = 1
    """Pipeline stages: engines that do not split matrices (llama.cpp) share the layers instead."""

    @property
    def accelerators(self) -> int:
        """Of one replica."""
        return self.tp * self.pp

    @property
    def split(self) -> str:
        """How the replica is split, in a word.

        >>> ReplicaSpec("t4", 2, "fp16", "vllm").split, ReplicaSpec("t4", 1, "Q4_0", "llamacpp", 2).split
        ('tp2', 'pp2')
        """
        return f"pp{self.pp}" if self.pp > 1 else f"tp{self.tp}"


@dataclass(frozen=True)
class Replica:
    """What one replica of a kind does, as far as is predicted without simulating."""

    kind: ReplicaSpec
    fit: Fit
    deployment: Deployment
    step: StepTime
    limits: EngineLimits


@dataclass(frozen=True)
class Candidate:
    """A machine at a price, and the replicas that it holds."""

    offer: Offer
    cost: HourlyCost
    kind: ReplicaSpec
    replicas: int
    """On one machine."""

    @property
    def name(self) -> str:
        """Offer and deployment, for tables."""
        return f"{self.offer.id} {self.kind.weights} {self.kind.split}"


@dataclass(frozen=True)
class Rejected:
    """A candidate that was not priced, and why."""

    candidate: Candidate
    reason: str


def weight_formats(
    read: ReadModel, accelerator: Accelerator, wanted: Sequence[str], engine: str = "vllm"
) -> tuple[str, ...]:
    """The formats to try: those that were asked for, else as published, fp8 where there are units, and 4 bits.

    Of llama.cpp: as published, 8 and 4 bits of its own. A GGUF file is served as it is.
    """
    if wanted:
        return tuple(weight_format(item).name for item in wanted)
    native = runnable_format(read.architecture, accelerator)
    formats = [native.name]
    if native.name in {"bf16", "fp16"} and not read.is_gguf:
        if not engine_memory(engine).splits_matrices:
            formats += ["Q8_0", "Q4_K_M"]
        else:
            if "fp8" in accelerator.peak_tflops:
                formats.append("fp8")
            formats.append("awq")
    return tuple(dict.fromkeys(formats))


def candidates(
    read: ReadModel,
    catalog: Catalog,
    *,
    kinds: Sequence[PriceKind] = ("on-demand",),
    engines: Sequence[str] = ("vllm",),
    weights: Sequence[str] = (),
    offers: Sequence[str] = (),
) -> Iterator[Candidate]:
    """Every candidate that has a price; whether it fits is not asked yet."""
    listed = [catalog.offer(name) for name in offers] if offers else list(catalog.offers.values())
    for offer in listed:
        if offer.accelerator is None:
            continue
        accelerator = catalog.accelerators[offer.accelerator]
        for price_kind in kinds:
            if not has_price(offer, price_kind):
                continue
            cost = rented(offer, price_kind)
            for size in range(1, offer.accelerator_count + 1):
                if offer.accelerator_count % size:
                    continue
                for engine in engines:
                    splits = engine_memory(engine).splits_matrices
                    if splits and tp_problem(read.architecture, size) is not None:
                        continue
                    for form in weight_formats(read, accelerator, weights, engine):
                        kind = kind_of(accelerator, size, form, engine)
                        yield Candidate(offer, cost, kind, offer.accelerator_count // size)


def kind_of(accelerator: Accelerator, size: int, form: str, engine: str) -> ReplicaSpec:
    """A replica over so many accelerators, split as the engine can."""
    if engine_memory(engine).splits_matrices:
        return ReplicaSpec(accelerator.id, size, form, engine)
    return ReplicaSpec(accelerator.id, 1, form, engine, size)


def replica_of(
    kind: ReplicaSpec, read: ReadModel, accelerator: Accelerator, longest: int, mean_context: float
) -> Replica | str:
    """One replica, or the sentence that says why there cannot be one.

    Args:
        kind: what it is.
        read: what it serves.
        accelerator: on which.
        longest: input and output tokens of the longest request.
        mean_context: tokens that a decoding request attends to, on average.
    """
    as_published = kind.weights == runnable_format(read.architecture, accelerator).name
    found = fit(
        read.architecture, accelerator, tp=kind.tp, pp=kind.pp, weights=None if as_published else kind.weights,
        context_tokens=longest, engine=engine_memory(kind.engine),
        weights_file_bytes=read.weights_file_bytes if as_published else None,
    )  # fmt: skip
    if not found.fits:
        return found.reasons[0]
    try:
        deployment = deploy(
            read.architecture,
            accelerator,
            engine=kind.engine,
            parallel=Parallel(tensor=kind.tp, pipeline=kind.pp),
            weights=step_name(kind.weights),
            kv=None if found.kv_format in {"bf16", "fp16"} else found.kv_format,
            kv_capacity=found.kv_tokens,
        )
    except UserError as error:
        return str(error)
    return Replica(
        kind, found, deployment, deployment.step.at_mean_context(mean_context), limits_of(deployment, found, longest)
    )


def limits_of(deployment: Deployment, fit: Fit, longest: int) -> EngineLimits:
    """What bounds a batch, by the engine's defaults and the memory that is left.

    llama.cpp's server has as many slots as hold the longest request, up to its most; each has its own share of the
    cache, in steps of 256 tokens.
    """
    scheduler = deployment.scheduler
    if not scheduler.micro_batch:
        alone = engine_memory(deployment.release.engine).max_requests == 1
        most = 1 if alone else scheduler.slots  # transformers serves one request after the other
        return EngineLimits(
            kv_tokens=fit.kv_tokens,
            max_num_seqs=most,
            max_num_batched_tokens=longest if alone else max(scheduler.budget, scheduler.slots),
            request_s=deployment.request_s,
        )
    slots = max(1, min(scheduler.slots, fit.requests_of(longest)))
    return EngineLimits(
        kv_tokens=slots * -(-longest // 256) * 256,
        max_num_seqs=slots,
        max_num_batched_tokens=scheduler.budget,
        request_s=deployment.request_s,
        scheduling="llama.cpp",
        micro_batch_tokens=scheduler.micro_batch,
    )


def calibrated_replica(
    deployment: Deployment, slots: EngineLimits | None, read: ReadModel, longest: int, mean_context: float
) -> Replica:
    """One replica of a machine whose step time was calibrated.

    Args:
        deployment: with the machine's own coefficients.
        slots: how its llama.cpp server schedules; None for other engines.
        read: what it serves.
        longest: input and output tokens of the longest request; slots are made as long.
        mean_context: tokens that a decoding request attends to, on average.
    """
    accelerator, parallel = deployment.accelerator, deployment.parallel
    engine = engine_of(deployment.release).name
    kind = ReplicaSpec(accelerator.id, parallel.tensor, deployment.weights, engine, parallel.pipeline)
    found = fit(
        read.architecture, accelerator, tp=kind.tp, pp=kind.pp, weights=deployment.weights, context_tokens=longest,
        engine=engine_memory(engine),
    )  # fmt: skip
    limits = limits_of(deployment, found, longest)
    if slots is not None:
        each = max(slots.kv_tokens // slots.max_num_seqs, -(-longest // 256) * 256)
        limits = replace(slots, kv_tokens=each * slots.max_num_seqs, request_s=deployment.request_s)
    return Replica(kind, found, deployment, deployment.step.at_mean_context(mean_context), limits)
