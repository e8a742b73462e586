"""The replica that a simulation is of, where it runs, and how the header of its run describes both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.app.simulate_request import SimulateRequest
    from rackrate.catalog.places import Place
    from rackrate.models.read_model import ReadModel
    from rackrate.planner.candidates import Replica
    from rackrate.runs.records import RunHeader
    from rackrate.simulation.settings import EngineLimits, Fleet
    from rackrate.workload.synthetic import SyntheticWorkload


@dataclass(frozen=True)
class Placed:
    """A replica on a machine."""

    replica: Replica
    place: Place
    calibration: str | None = None
    """Whose step times they are, where they were measured."""
    error: float | None = None
    """Half of the 80 % interval of ln(predicted/observed) of its throughput; None: not known."""


def placed(request: SimulateRequest, read: ReadModel, workload: SyntheticWorkload, context: Context) -> Placed:
    """The replica that is asked for, predicted or calibrated.

    Raises:
        UserError: no place or two, a model that does not fit, a calibration of another model.
    """
    from rackrate.catalog.places import place_of
    from rackrate.errors import UserError

    if (request.on is None) == (request.calibration is None):
        raise UserError(
            "say where: {on} ACCELERATOR[xN], or {calibration} of a machine that you measured (one of them)",
            fields=("on", "calibration"),
        )
    if request.calibration is not None:
        return _calibrated(request, read, workload, context)
    place = place_of(request.on or "", context.catalog, otherwise="simulated are machines with GPUs")
    engine = request.engine or ("llamacpp" if read.is_gguf else "vllm")
    replica = _predicted(request, read, place, engine, workload)
    spread = replica.deployment.throughput_spread
    return Placed(replica, place, error=None if spread is None else (spread.high - spread.low) / 2)


def _predicted(
    request: SimulateRequest, read: ReadModel, place: Place, engine: str, workload: SyntheticWorkload
) -> Replica:
    """The replica that was asked for; without `tp`, the smallest that holds the model. UserError if none does."""
    from rackrate.errors import UserError
    from rackrate.memory.fit import runnable_format
    from rackrate.models.formats import weight_format
    from rackrate.planner.candidates import kind_of, replica_of

    architecture, count, tp = read.architecture, place.count, request.tp
    if workload.longest_context > architecture.context_tokens:
        raise UserError(
            f"the longest request has {workload.longest_context:,} tokens in and out, more than the "
            f"{architecture.context_tokens:,} of {architecture.name}'s context; shorten the "
            "lengths, or leave recorded ones out with {longest}",
            field="longest",
        )
    if tp is not None and (tp < 1 or count % tp):
        raise UserError(f"{{tp}} {tp} does not divide the {count} accelerators of {{on}}", fields=("tp", "on"))
    native = runnable_format(architecture, place.accelerator)
    form = (weight_format(request.weights) if request.weights else native).name
    reason = ""
    for size in [tp] if tp is not None else [n for n in range(1, count + 1) if count % n == 0]:
        kind = kind_of(place.accelerator, size, form, engine)
        found = replica_of(kind, read, place.accelerator, workload.longest_context, mean_context(workload))
        if not isinstance(found, str):
            return found
        reason = found
    raise UserError(f"{architecture.name} ({form}) does not fit: {reason}")


def _calibrated(request: SimulateRequest, read: ReadModel, workload: SyntheticWorkload, context: Context) -> Placed:
    """The replica that a calibration describes. UserError where it is of another model, or an option contradicts it."""
    from rackrate.calibration.document import read_calibration
    from rackrate.calibration.host import host_again
    from rackrate.catalog.places import Place
    from rackrate.errors import UserError
    from rackrate.planner.candidates import calibrated_replica
    from rackrate.steptime.own_machine import half_width

    path = request.calibration
    assert path is not None  # noqa: S101 - the caller looked
    for name in ("tp", "weights", "engine"):
        if getattr(request, name) is not None:
            raise UserError(
                f"{{{name}}} is settled by {{calibration}}: leave one of them out", fields=(name, "calibration")
            )
    known = read_calibration(path)
    if read.listed is None or read.listed.id != known.model:
        raise UserError(f"{path}: is a calibration of {known.model}, not of {read.architecture.name}")
    host = host_again(known, context.catalog)
    if known.caveats:
        context.notify.note(f"note: calibrated with levels that must not be priced ({', '.join(known.caveats)})")
    context.notify.note(f"step times: calibration of {known.run} on {known.machine}, measured {known.run_created}")
    replica = calibrated_replica(host.deployment, host.slots, read, workload.longest_context, mean_context(workload))
    place = Place(host.deployment.accelerator, replica.kind.accelerators)
    errors = [math.log(one.predicted / one.measured) for one in known.residuals if one.figure == "output_tok_s"]
    origin = f"the calibration of {known.run} (measured {known.run_created})"
    return Placed(replica, place, origin, half_width("output_tok_s", errors))


def mean_context(workload: SyntheticWorkload) -> float:
    """Tokens that a decoding request attends to, on average."""
    return workload.input_tokens + workload.output_tokens / 2


def header_of(
    where: Placed, read: ReadModel, fleet: Fleet, limits: EngineLimits, workload: SyntheticWorkload,
    request: SimulateRequest, context: Context,
) -> RunHeader:  # fmt: skip
    """The header of a run that begins."""
    from rackrate.economics.served import PREDICTION_ERROR
    from rackrate.runs.records import Engine, Gpu, Machine, RunHeader, ServedModel, WorkloadFacts
    from rackrate.units import GIB

    replica, accelerator, offer = where.replica, where.place.accelerator, where.place.offer
    deployment = replica.deployment
    gpus = Gpu(
        name=accelerator.name,
        count=replica.kind.accelerators * fleet.size,
        memory_bytes=round((accelerator.memory_gib or 0) * GIB) or None,
        accelerator=accelerator.id,
    )
    header = RunHeader(
        mode="simulated",
        created=context.now(),
        command=context.provenance.command,
        rackrate_version=context.provenance.version,
        python_version=context.provenance.python_version,
        state="running",
        model=ServedModel(
            requested=read.architecture.name, catalogue_id=read.listed.id if read.listed is not None else None,
            weight_format=replica.kind.weights, parameters=read.architecture.parameters.total,
        ),
        engine=Engine(
            name=deployment.release.engine,
            version=f"{deployment.release.id}, predicted",
            url="simulated",
            settings={
                "tensor_parallel": replica.kind.tp, "pipeline_parallel": replica.kind.pp,
                "accelerators_each": replica.kind.accelerators, "router": fleet.router,
                "replicas": fleet.size, "least_replicas": fleet.autoscaler.least if fleet.autoscaler else None,
                "max_num_seqs": limits.max_num_seqs, "max_num_batched_tokens": limits.max_num_batched_tokens,
                "kv_tokens": limits.kv_tokens, "scheduling": limits.scheduling,
                "step_times": deployment.source, "distance": deployment.distance,
            },
        ),
        # replicas that take less or more than the offer's machine are not priced as one of it
        machine=Machine(
            origin="stated", gpus=(gpus,),
            offer=offer.id if offer is not None and offer.accelerator_count == gpus.count else None,
        ),
        workload=WorkloadFacts(
            input_tokens=workload.input_tokens, output_tokens=workload.output_tokens, endpoint="completions",
            seed=request.seed, slo=request.slo, length_forced="simulation",
            inputs=str(workload.inputs) if workload.inputs else None,
            outputs=str(workload.outputs) if workload.outputs else None,
            trace=workload.trace.name if workload.trace is not None else None,
        ),
    )  # fmt: skip
    if where.calibration is not None:
        header.engine.settings["calibration"] = where.calibration
    if where.error is not None:
        header.engine.settings[PREDICTION_ERROR] = where.error
    return header


def served_note(header: RunHeader) -> str:
    """What was simulated, in a sentence."""
    settings = header.engine.settings
    replicas, each = int(settings["replicas"] or 1), int(settings["accelerators_each"] or 1)
    least = settings.get("least_replicas")
    scaled = f"{least} to " if least is not None and least != replicas else ""
    origin = (
        f"the step times of {settings['calibration']}"
        if settings.get("calibration")
        else f"predicted step times ({settings['step_times']}; hardware: {settings['distance']})"
    )
    return (
        f"Simulated with {origin}. "
        f"KV cache: {settings['kv_tokens']:,} tokens a replica; at most {settings['max_num_seqs']} sequences, "
        f"{settings['max_num_batched_tokens']:,} tokens a step; {scaled}{replicas:,} replica{'s' * (replicas != 1)} of "
        f"{each:,} accelerator{'s' * (each != 1)}; steps filled as {settings['scheduling']} does."
    )
