"""The host that a run was measured on, or that a calibration describes, as a deployment of the step-time model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from rackrate.calibration.document import CalibrationFile
from rackrate.calibration.replay import replay, slot_limits
from rackrate.catalog.load import Catalog
from rackrate.catalog.types import Accelerator
from rackrate.engines.releases import scheduler_of
from rackrate.engines.spec import Scheduler
from rackrate.errors import CalibrationError, CatalogError
from rackrate.models.architecture import Architecture, of_catalogue_model
from rackrate.models.formats import format_in_results
from rackrate.runs.records import Run, RunHeader
from rackrate.simulation.settings import EngineLimits
from rackrate.steptime.deployment import Deployment, deploy, find_release
from rackrate.steptime.load import Load
from rackrate.steptime.own_machine import with_logs
from rackrate.steptime.replay import Predicted
from rackrate.steptime.work import Parallel

NOMINAL = "this-cpu"
# Where the catalogue has no datasheet of a CPU: what a core of a server of the last ten years has of memory bandwidth
# and of 16-bit products at the order of magnitude. The calibration's prior is wide enough (a factor of 4.5) to correct
# it.
_CORE_GB_S = 8.0
_CORE_TFLOPS = 0.1


@dataclass(frozen=True)
class CalibratedHost:
    """What a run says of the deployment that it measured."""

    deployment: Deployment
    hardware_known: bool
    machine: str
    slots: EngineLimits | None = None
    """How llama.cpp's server schedules; None for other engines."""

    def replay(self, deployment: Deployment, load: Load) -> Predicted:
        """What a deployment on this host makes of a load."""
        return replay(deployment, load, self.slots)


def host_of(run: Run, catalog: Catalog, tensor_parallel: int | None = None) -> CalibratedHost:
    """The deployment of a run with the fitted coefficients. Raises CalibrationError where facts are missing."""
    header = run.header
    model = _model(header, catalog)
    accelerator, known, machine, count = _accelerator(header, catalog)
    settings = header.engine.settings
    release = find_release(header.engine.name, header.engine.version or "", accelerator.kind == "cpu")
    default = scheduler_of(release, accelerator)
    slots = settings.get("slots")
    scheduler = Scheduler(
        int(slots) if isinstance(slots, int) and slots > 0 else default.slots,
        default.budget, default.mixed, default.reserve_fraction, default.memory_share, default.micro_batch,
    )  # fmt: skip
    kv_capacity = math.inf if accelerator.kind == "cpu" else None  # a CPU's cache is bounded by the slots
    deployment = deploy(
        model, accelerator, engine=release.id, parallel=Parallel(tensor=tensor_parallel or (max(1, count))),
        weights=format_in_results(header.model.weight_format or ""), kv_capacity=kv_capacity, scheduler=scheduler,
    )  # fmt: skip
    return CalibratedHost(deployment, known, machine, slot_limits(deployment, settings))


def _model(header: RunHeader, catalog: Catalog) -> Architecture:
    for name in (header.model.catalogue_id, header.model.requested):
        if name and (found := catalog.known_model(name)) is not None:
            return of_catalogue_model(found, rounded=True)
    raise CalibrationError(
        f"the run's model {header.model.requested!r} is not in the catalogue; add it to models.yaml of an overlay "
        "(docs/catalogue.md), under this name or as an alias"
    )


def _accelerator(header: RunHeader, catalog: Catalog) -> tuple[Accelerator, bool, str, int]:
    """The accelerator, whether its datasheet is known, the machine in words, and how many there are."""
    machine = header.machine
    if machine.gpus:
        gpu = machine.gpus[0]
        try:
            found = catalog.accelerator(gpu.accelerator or gpu.name)
        except CatalogError as error:
            raise CalibrationError(f"the run's GPU: {error}") from None
        return found, True, f"{gpu.count} x {found.name}", gpu.count
    if machine.offer is not None:
        offer = catalog.offer(machine.offer)
        if offer.accelerator is not None:
            found = catalog.accelerators[offer.accelerator]
            return found, True, f"{offer.accelerator_count} x {found.name} ({offer.id})", offer.accelerator_count
    cores = cores_of(header)
    if cores is None:
        raise CalibrationError(
            "nothing is known of the machine that the run ran on; say it when measuring: {on} OFFER", fields=("on",)
        )
    name = f"{cores} cores of {machine.cpu_model or machine.cpu_architecture or 'a CPU'}"
    memory_gib = (machine.memory_bytes or 2**34) / 2**30
    return _nominal(cores, name, machine.cpu_architecture or "cpu", memory_gib), False, name, 1


def cores_of(header: RunHeader) -> int | None:
    """Of the CPU that a run ran on."""
    return header.machine.physical_cores or header.machine.logical_cpus


def _nominal(cores: int, name: str, architecture: str, memory_gib: float) -> Accelerator:
    """A CPU of which there is no datasheet."""
    return Accelerator.model_validate(
        {
            "id": NOMINAL, "name": name, "vendor": "unknown", "kind": "cpu", "cores": cores,
            "architecture": architecture, "memory_gib": memory_gib,
            "bandwidth_gb_s": _CORE_GB_S * cores, "peak_tflops": {"fp16": _CORE_TFLOPS * cores},
            "sources": [{"source": "nominal rates of a core; the calibration measures the real ones", "date": "2026"}],
        }
    )  # fmt: skip


def host_again(known: CalibrationFile, catalog: Catalog) -> CalibratedHost:
    """The host of a calibration, with its coefficients. Raises CalibrationError if it says too little."""
    listed = catalog.known_model(known.model)
    if listed is None:
        raise CalibrationError(f"the calibration's model {known.model!r} is not in the catalogue")
    model = of_catalogue_model(listed, rounded=True)
    if known.hardware_known:
        accelerator = catalog.accelerator(known.accelerator)
    elif known.cores is None:
        raise CalibrationError("an older version wrote this calibration, without the number of cores: calibrate again")
    else:
        accelerator = _nominal(known.cores, known.machine, "cpu", 2**34 / 2**30)
    release = find_release(known.engine)
    default = scheduler_of(release, accelerator)
    deployment = deploy(
        model, accelerator, engine=known.engine, parallel=Parallel(tensor=known.tensor_parallel), weights=known.weights,
        kv_capacity=math.inf if accelerator.kind == "cpu" else None, scheduler=replace(default, slots=known.slots),
    )  # fmt: skip
    deployment = with_logs(deployment, dict(known.coefficients))
    return CalibratedHost(deployment, known.hardware_known, known.machine, slot_limits(deployment, known.settings))
