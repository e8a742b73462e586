"""Calibration: the one arrow back. A measured run of one's own endpoint refits the coefficients of its step time.

A run's levels become the loads that the step-time model replays (`points_of`); the coefficients that agree with them
best are written beside the run, and price or verify any other load of the same box
(steptime/own_machine.py has the arithmetic).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from rackrate.calibration.replay import recorded, replay, slot_limits
from rackrate.catalog.load import load_catalog
from rackrate.catalog.types import Accelerator, Model
from rackrate.errors import CalibrationError, CatalogError
from rackrate.metrics.summary import CAVEATS, LevelSummary
from rackrate.runs.records import Run, RunHeader
from rackrate.simulate.settings import EngineLimits
from rackrate.steptime.deployment import Deployment, deploy, find_release
from rackrate.steptime.engine_releases import ENGINE_RELEASES, Scheduler, scheduler_of
from rackrate.steptime.load import Load, Observed
from rackrate.steptime.own_machine import Calibrated, calibrate_box, known_coefficients, with_logs
from rackrate.steptime.replay import Predicted
from rackrate.steptime.work import Parallel

FILE = "calibration.json"
SCHEMA = "rackrate.calibration/2"
FEWEST_LEVELS = 3
HARMLESS = frozenset({"batch-1", "finite-burst"})
"""Names of CAVEATS that do not spoil a calibration: one request at a time is a load like any other."""

NOMINAL = "this-cpu"
# Where the catalogue has no datasheet of a CPU: what a core of a server of the last ten years has of memory bandwidth
# and of 16-bit products at the order of magnitude. The calibration's prior is wide enough (a factor of 4.5) to correct
# it.
_CORE_GB_S = 8.0
_CORE_TFLOPS = 0.1


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Residual(_Document):
    """How a measured figure and its prediction differ after the calibration."""

    load: str
    figure: str
    measured: float
    predicted: float


class CalibrationFile(_Document):
    """calibration.json: a box's coefficients and where they are from."""

    format: Annotated[str, Field(alias="schema")] = SCHEMA
    created: str
    command: str
    rackrate_version: str
    run: str
    run_created: str
    model: str
    accelerator: str
    machine: str
    hardware_known: bool
    """False where the catalogue has no datasheet of the hardware: rates are this box's own, of a nominal peak."""
    engine: str
    weights: str
    tensor_parallel: int
    slots: int
    threads: int | None
    coefficients: dict[str, float]
    """Natural logarithms, by name of steptime.engine_step.Coefficients."""
    spreads: dict[str, float]
    residuals: tuple[Residual, ...]
    cores: int | None = None
    """Of a CPU that the catalogue has no datasheet of."""
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    """What the engine was started with, as far as is known."""
    caveats: Annotated[tuple[str, ...], Field(validation_alias=AliasChoices("caveats", "validity"))] = ()
    """Names of CAVEATS of levels that were used with --force."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


@dataclass(frozen=True)
class CalibratedHost:
    """What a run says of the deployment that it measured."""

    deployment: Deployment
    hardware_known: bool
    machine: str
    slots: EngineLimits | None = None
    """How llama.cpp's server schedules; None for other engines."""

    def replay(self, deployment: Deployment, load: Load) -> Predicted:
        """What a deployment on this box makes of a load."""
        return replay(deployment, load, self.slots)


def refusal(levels: Sequence[LevelSummary]) -> str | None:
    """Why a run cannot be calibrated with, in a sentence; None where it can."""
    loads = [level for level in levels if level.output_tok_s]
    sound = [level for level in loads if set(level.caveats) <= HARMLESS]
    if len(sound) >= FEWEST_LEVELS:
        return None
    names = sorted({name for level in loads for name in level.caveats if name not in HARMLESS})
    if not loads:
        return "no level of the run was served"
    if names:
        named = "; ".join(f"{name}: {CAVEATS[name]}" for name in names)
        return (
            f"{len(sound)} of its {len(loads)} loads can be trusted and at least {FEWEST_LEVELS} are needed ({named}); "
            "measure again, or --force it"
        )
    return (
        f"it has {len(loads)} loads and at least {FEWEST_LEVELS} are needed; measure 6 to 10, such as -c 1,2,4,8,16,32"
    )


def points_of(
    levels: Sequence[LevelSummary], run: Run | None = None, *, force: bool = False
) -> list[tuple[LevelSummary, Load, Observed]]:
    """The loads of a run as the model replays them, with what was measured: its own requests where they are at hand."""
    by_index = {} if run is None else {level.index: level for level in run.header.levels}
    points: list[tuple[LevelSummary, Load, Observed]] = []
    for level in levels:
        if not level.output_tok_s or not level.mean_input_tokens or not level.mean_output_tokens:
            continue
        if not force and not set(level.caveats) <= HARMLESS:
            continue
        prompt = level.mean_input_tokens - (level.mean_cached_tokens or 0.0)
        load = _load(level, max(prompt, 1.0))
        if load is None:
            continue
        if run is not None and level.index in by_index:
            load = recorded(load, by_index[level.index], level, run.requests)
        short = level.mean_output_tokens < 1.5
        tpot = None if short or level.tpot is None else level.tpot.p50
        ttft = None if level.ttft is None else level.ttft.p50
        points.append((level, load, Observed(level.output_tok_s, tpot, ttft)))
    return points


def _load(level: LevelSummary, prompt: float) -> Load | None:
    output = level.mean_output_tokens or 1.0
    if level.kind in {"closed", "prefill"} and level.concurrency is not None:
        streams = level.concurrency
        return Load("closed", streams, max(8 * streams, 24), prompt, output, whole=False, staggered=True)
    if level.kind == "open" and level.rate is not None and level.window_start_s is not None:
        length = (level.window_end_s or 0.0) - level.window_start_s
        count = max(round(level.rate * length), 20)
        return Load("poisson", level.rate, count, prompt, output)
    return None


def label(level: LevelSummary) -> str:
    """A load in a few words."""
    lengths = f"{level.mean_input_tokens or 0:.0f} in, {level.mean_output_tokens or 0:.0f} out"
    if level.kind == "open":
        return f"{level.rate:g}/s, {lengths}"
    return f"{level.concurrency} in flight, {lengths}" + (" (prefill)" if level.kind == "prefill" else "")


def host_of(run: Run, tensor_parallel: int | None = None) -> CalibratedHost:
    """The deployment of a run with the fitted coefficients. Raises CalibrationError where facts are missing."""
    header = run.header
    model = _model(header)
    accelerator, known, machine, count = _accelerator(header)
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
        weights=_weights(header, model), box=None, kv_capacity=kv_capacity, scheduler=scheduler,
    )  # fmt: skip
    return CalibratedHost(deployment, known, machine, slot_limits(deployment, settings))


def _model(header: RunHeader) -> Model:
    catalog = load_catalog()
    for name in (header.model.catalogue_id, header.model.requested):
        if name and (found := catalog.known_model(name)) is not None:
            return found
    raise CalibrationError(
        f"the run's model {header.model.requested!r} is not in the catalogue; add it to models.yaml of an overlay "
        "(docs/catalogue.md), under this name or as an alias"
    )


def _accelerator(header: RunHeader) -> tuple[Accelerator, bool, str, int]:
    """The accelerator, whether its datasheet is known, the machine in words, and how many there are."""
    machine = header.machine
    catalog = load_catalog()
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
    cores = _cores(header)
    if cores is None:
        raise CalibrationError("nothing is known of the machine that the run ran on; say it when measuring: --on OFFER")
    name = f"{cores} cores of {machine.cpu_model or machine.cpu_architecture or 'a CPU'}"
    memory_gib = (machine.memory_bytes or 2**34) / 2**30
    return _nominal(cores, name, machine.cpu_architecture or "cpu", memory_gib), False, name, 1


def _cores(header: RunHeader) -> int | None:
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


_FORMATS = {
    "q4_0": "q4_0", "q4": "q4_k", "q5": "q5_k", "q6": "q6_k", "q8": "q8_0", "f16": "bf16",
    "fp16": "bf16", "bf16": "bf16", "fp8": "fp8",
}  # fmt: skip


def _weights(header: RunHeader, model: Model) -> str | None:
    text = (header.model.weight_format or "").lower()
    return next((name for prefix, name in _FORMATS.items() if text.startswith(prefix)), None)


def calibrate(box: CalibratedHost, points: Sequence[tuple[LevelSummary, Load, Observed]]) -> Calibrated:
    """The box's own coefficients."""
    return calibrate_box(
        box.deployment,
        [(load, observed) for _, load, observed in points],
        unknown_hardware=not box.hardware_known,
        replay=box.replay,
    )


def to_file(
    run: Run,
    directory: Path,
    box: CalibratedHost,
    calibrated: Calibrated,
    points: Sequence[tuple[LevelSummary, Load, Observed]],
    *,
    created: str,
    command: str,
    version: str,
) -> CalibrationFile:
    """The document to write beside the run."""
    threads = run.header.engine.settings.get("threads")
    residuals: list[Residual] = []
    for index, figure, error in calibrated.residuals:
        level, _, observed = points[index]
        measured = float(getattr(observed, figure))
        residuals.append(
            Residual(load=label(level), figure=figure, measured=measured, predicted=measured * math.exp(error))
        )
    deployment = box.deployment
    return CalibrationFile(
        created=created,
        command=command,
        rackrate_version=version,
        run=directory.name,
        run_created=run.header.created,
        model=deployment.model.id,
        accelerator=deployment.accelerator.id,
        machine=box.machine,
        hardware_known=box.hardware_known,
        engine=deployment.release.id,
        weights=deployment.weights,
        tensor_parallel=deployment.parallel.tensor,
        slots=deployment.scheduler.slots,
        threads=threads if isinstance(threads, int) else None,
        coefficients={name: round(value, 6) for name, value in calibrated.logs.items()},
        spreads={name: round(value, 4) for name, value in calibrated.spreads.items()},
        residuals=tuple(residuals),
        cores=_cores(run.header),
        settings=run.header.engine.settings,
        caveats=tuple(
            sorted(
                {name for level, _, _ in points for name in level.caveats if name not in HARMLESS}
                | ({"simulated"} if run.header.mode == "simulated" else set())
            )
        ),
    )


def read_calibration(path: Path) -> CalibrationFile:
    """A calibration file, or the one in a run's directory. Raises CalibrationError."""
    file = path / FILE if path.is_dir() else path
    try:
        return CalibrationFile.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CalibrationError(f"{file}: no such file; `rackrate calibrate RUN` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{file}: cannot be read ({error})") from None
    except ValidationError as error:
        mistake = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in mistake["loc"]) or "the whole"
        raise CalibrationError(f"{file}: not a calibration: {where}: {mistake['msg']}") from None


def apply(known: CalibrationFile, box: CalibratedHost) -> Calibrated:
    """The box of another run with the coefficients of a calibration. Raises CalibrationError where it is another
    box."""
    deployment = box.deployment
    for what, theirs, ours in (
        ("model", known.model, deployment.model.id),
        ("accelerator", known.accelerator, deployment.accelerator.id),
        ("engine", known.engine, deployment.release.id),
        ("weight format", known.weights, deployment.weights),
        ("machine", known.machine, box.machine),
    ):
        if theirs != ours:
            raise CalibrationError(f"the calibration is of another {what}: {theirs}, and the run is of {ours}")
    unknown = set(known.coefficients) - set(vars(known_coefficients(deployment)))
    if unknown:
        raise CalibrationError(
            f"the calibration has coefficients that this version does not: {', '.join(sorted(unknown))}"
        )
    residuals = tuple(
        (index, residual.figure, math.log(residual.predicted / residual.measured))
        for index, residual in enumerate(known.residuals)
    )
    return Calibrated(
        with_logs(deployment, dict(known.coefficients)), dict(known.coefficients), dict(known.spreads), residuals
    )


def host_again(known: CalibrationFile) -> CalibratedHost:
    """The box that a calibration describes, with its coefficients. Raises CalibrationError where it says too little."""
    catalog = load_catalog()
    model = catalog.known_model(known.model)
    if model is None:
        raise CalibrationError(f"the calibration's model {known.model!r} is not in the catalogue")
    if known.hardware_known:
        accelerator = catalog.accelerator(known.accelerator)
    elif known.cores is None:
        raise CalibrationError("an older version wrote this calibration, without the number of cores: calibrate again")
    else:
        accelerator = _nominal(known.cores, known.machine, "cpu", 2**34 / 2**30)
    release = ENGINE_RELEASES[known.engine]
    default = scheduler_of(release, accelerator)
    deployment = deploy(
        model, accelerator, engine=known.engine, parallel=Parallel(tensor=known.tensor_parallel), weights=known.weights,
        kv_capacity=math.inf if accelerator.kind == "cpu" else None, scheduler=replace(default, slots=known.slots),
    )  # fmt: skip
    deployment = with_logs(deployment, dict(known.coefficients))
    return CalibratedHost(deployment, known.hardware_known, known.machine, slot_limits(deployment, known.settings))


_UNITS = {"_s": "s", "_gib": "GiB"}


def describe(known: CalibrationFile) -> list[tuple[str, str, str, str]]:
    """Name, value with unit, and the ends of the 80 % interval, of each coefficient."""
    listed: list[tuple[str, str, str, str]] = []
    for name, log in known.coefficients.items():
        wide = 1.2816 * known.spreads.get(name, 0.0)
        unit = next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")
        values = [math.exp(log), math.exp(log - wide), math.exp(log + wide)]
        texts = [f"{value * 1e6:.3g} us" if unit == "s" else f"{value:.3g}" for value in values]
        listed.append((name, texts[0], texts[1], texts[2]))
    return listed


@dataclass(frozen=True)
class Check:
    """One measured figure beside its prediction."""

    load: str
    figure: str
    measured: float
    predicted: float
    low: float | None
    high: float | None
    caveats: tuple[str, ...]

    @property
    def covered(self) -> bool | None:
        """Whether the interval has the measurement."""
        return None if self.low is None or self.high is None else self.low <= self.measured <= self.high


def verify(known: CalibrationFile, run: Run, levels: Sequence[LevelSummary]) -> list[Check]:
    """Every figure of a run beside what the calibration predicts. Levels with faults are compared and named."""
    box = host_of(run, known.tensor_parallel)
    calibrated = apply(known, box)
    checks: list[Check] = []
    for level, load, observed in points_of(levels, run, force=True):
        predicted = calibrated.predict(load, box.replay)
        for name in ("output_tok_s", "tpot_s", "ttft_s"):
            measured = getattr(observed, name)
            if measured is None or name not in predicted:
                continue
            item = predicted[name]
            faults = tuple(fault for fault in level.caveats if fault not in HARMLESS)
            checks.append(Check(label(level), name, float(measured), item.value, item.low, item.high, faults))
    return checks


def verification_view(known: CalibrationFile, run: str, checks: Sequence[Check]) -> dict[str, Any]:
    """Plain values of `verify --json`, schema rackrate.verify/2."""
    errors: dict[str, dict[str, float | int]] = {}
    for name in ("output_tok_s", "tpot_s", "ttft_s"):
        ratios = sorted(abs(math.log(check.predicted / check.measured)) for check in checks if check.figure == name)
        if ratios:
            middle = (ratios[(len(ratios) - 1) // 2] + ratios[len(ratios) // 2]) / 2
            covered = sum(bool(check.covered) for check in checks if check.figure == name)
            errors[name] = {"count": len(ratios), "median": middle, "largest": ratios[-1], "covered": covered}
    return {
        "schema": "rackrate.verify/2",
        "calibration": {"run": known.run, "created": known.created, "machine": known.machine, "model": known.model},
        "run": run,
        "checks": [{**asdict(check), "covered": check.covered} for check in checks],
        "errors": errors,
    }
