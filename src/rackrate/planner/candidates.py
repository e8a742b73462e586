"""Every way to serve a model on what can be rented: offer x tensor parallelism x number format x engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rackrate.catalog.load import Catalog
from rackrate.catalog.types import Accelerator, Model, Offer
from rackrate.economics.hourly import HourlyCost, PriceKind, has_price, rented
from rackrate.errors import UserError
from rackrate.perf.architecture import Architecture, of_catalogue_model
from rackrate.perf.deployment import Deployment, deploy
from rackrate.perf.engine_memory import engine_memory
from rackrate.perf.memory import Fit, fit, runnable_format
from rackrate.perf.sharding import tp_problem
from rackrate.perf.step_work import Parallel
from rackrate.simulate.settings import EngineLimits
from rackrate.simulate.step import StepCoefficients

ARITHMETIC = {
    "fp32": "fp32", "fp16": "fp16", "bf16": "bf16", "fp8": "fp8", "fp8-block": "fp8", "int8": "int8", "w8a16": "w8a16",
    "w4a16": "w4a16", "awq": "w4a16", "gptq": "w4a16", "nvfp4": "fp4", "mxfp4": "fp4",
}  # fmt: skip
"""Names of weight formats in the memory fit, and what the step-time model calls them."""

MEMORY = {"tensorrt-llm": "vllm"}
"""Engines without memory facts of their own, and whose they are taken to be."""


@dataclass(frozen=True)
class Kind:
    """A deployment without its price: what one replica is."""

    accelerator: str
    tp: int
    weights: str
    engine: str


@dataclass(frozen=True)
class Replica:
    """What one replica of a kind does, as far as is predicted without simulating."""

    kind: Kind
    fit: Fit
    deployment: Deployment
    step: StepCoefficients
    limits: EngineLimits


@dataclass(frozen=True)
class Candidate:
    """A machine at a price, and the replicas that it holds."""

    offer: Offer
    cost: HourlyCost
    kind: Kind
    replicas: int
    """On one machine."""

    @property
    def name(self) -> str:
        """Offer and deployment, for tables."""
        return f"{self.offer.id} {self.kind.weights} tp{self.kind.tp}"


@dataclass(frozen=True)
class Rejected:
    """A candidate that was not priced, and why."""

    candidate: Candidate
    reason: str


def weight_formats(model: Model, accelerator: Accelerator, wanted: Sequence[str]) -> tuple[str, ...]:
    """The formats to try: those that were asked for, else as published, fp8 where there are units, and 4 bits."""
    if wanted:
        return tuple(wanted)
    native = runnable_format(of_catalogue_model(model), accelerator).name
    formats = [native]
    if native in {"bf16", "fp16"}:
        if "fp8" in accelerator.peak_tflops:
            formats.append("fp8")
        formats.append("awq")
    return tuple(dict.fromkeys(formats))


def candidates(
    model: Model,
    catalog: Catalog,
    *,
    kinds: Sequence[PriceKind] = ("on-demand",),
    engines: Sequence[str] = ("vllm",),
    weights: Sequence[str] = (),
    offers: Sequence[str] = (),
) -> Iterator[Candidate]:
    """Every candidate that has a price; whether it fits is not asked yet."""
    architecture = of_catalogue_model(model)
    listed = [catalog.offer(name) for name in offers] if offers else list(catalog.offers.values())
    for offer in listed:
        if offer.accelerator is None:
            continue
        accelerator = catalog.accelerators[offer.accelerator]
        formats = weight_formats(model, accelerator, weights)
        for price_kind in kinds:
            if not has_price(offer, price_kind):
                continue
            cost = rented(offer, price_kind)
            for tp in range(1, offer.accelerator_count + 1):
                if offer.accelerator_count % tp or tp_problem(architecture, tp) is not None:
                    continue
                for form in formats:
                    for engine in engines:
                        kind = Kind(accelerator.id, tp, form, engine)
                        yield Candidate(offer, cost, kind, offer.accelerator_count // tp)


def replica_of(
    kind: Kind, model: Model, architecture: Architecture, accelerator: Accelerator, longest: int, mean_context: float
) -> Replica | str:
    """One replica, or the sentence that says why there cannot be one.

    Args:
        kind: what it is.
        model: what it serves.
        architecture: the same in the words of the memory fit.
        accelerator: on which.
        longest: input and output tokens of the longest request.
        mean_context: tokens that a decoding request attends to, on average.
    """
    memory = engine_memory(MEMORY.get(kind.engine, kind.engine))
    found = fit(architecture, accelerator, tp=kind.tp, weights=kind.weights, context_tokens=longest, engine=memory)
    if not found.fits:
        return found.reasons[0]
    try:
        deployment = deploy(
            model,
            accelerator,
            engine=kind.engine,
            parallel=Parallel(tensor=kind.tp),
            weights=ARITHMETIC.get(kind.weights, "bf16"),
            room=found.kv_tokens,
        )
    except UserError as error:
        return str(error)
    scheduler = deployment.scheduler
    limits = EngineLimits(
        kv_tokens=found.kv_tokens,
        max_num_seqs=scheduler.slots,
        max_num_batched_tokens=max(scheduler.budget, scheduler.slots),
        request_s=deployment.request_s,
    )
    step = StepCoefficients(**deployment.step.simulator_terms(mean_context))
    return Replica(kind, found, deployment, step, limits)
