"""Tune: the settings of an engine that make a token cheapest on this machine, searched for and measured."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from rackrate import bounds
from rackrate.app.request_json import Request
from rackrate.errors import EngineError, UserError, WorkloadError
from rackrate.files import read_bytes
from rackrate.files.writing import open_within, write_whole

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.engines.gpus import FoundGpu
    from rackrate.engines.knobs import Space
    from rackrate.tuning.search import Trial, Tuned
    from rackrate.tuning.trial import MeasureTrial

FACTS = "tune.json"
"""In the directory of a search: what it is about."""
_MOST_FACTS = 1 << 20
"""Bytes of it."""


@dataclass(frozen=True)
class TuneRequest(Request):
    """Which engine and model to tune, for which load, for how long."""

    NAME: ClassVar[str] = "tune"

    model: str = "smollm2-135m-instruct"
    engine: str = "llamacpp"
    minutes: bounds.Minutes = 30.0
    """How long it may take in all."""
    slo: str | None = None
    """Only loads within it count."""
    levels: tuple[bounds.Concurrency, ...] = (16,)
    """Requests in flight that each trial is measured at; the best one counts."""
    input_tokens: bounds.Tokens = 128
    output_tokens: bounds.Tokens = 128
    seconds: bounds.SecondsAbove0 = 15.0
    """Of each load of a trial."""
    only: tuple[str, ...] = ()
    """Tune these settings alone; none: all."""
    offers: bounds.Names = ()
    rigs: bounds.Paths = ()
    usd_per_hour: bounds.UsdPerHour | None = None
    seed: bounds.Seed = 0
    out: Path | None = None
    """Where trials go; an earlier search there goes on. None: runs/tune-ENGINE."""

    @property
    def directory(self) -> Path:
        """Where trials go."""
        return self.out or Path("runs") / f"tune-{self.engine}"

    @property
    def facts(self) -> dict[str, Any]:
        """What a search must have in common with an earlier one to resume it."""
        return {
            "engine": self.engine, "model": self.model, "directory": str(self.directory), "slo": self.slo,
            "concurrency": list(self.levels), "input_tokens": self.input_tokens, "output_tokens": self.output_tokens,
            "seconds": self.seconds,
        }  # fmt: skip


@dataclass(frozen=True)
class TuneAnswer:
    """What a search found."""

    tuned: Tuned
    facts: Mapping[str, Any]
    """Engine, model, machine, workload, directory: what it was about."""
    prices: Mapping[str, Any] | None
    """USD per 1M tokens of the defaults and of the winner on a machine; None where it has no price."""

    @property
    def changed(self) -> dict[str, Any]:
        """Settings of the winner that are not the defaults."""
        default = self.tuned.default
        return {name: value for name, value in self.tuned.best.items() if value != default[name]}


def tune(request: TuneRequest, context: Context) -> TuneAnswer:
    """Measures the defaults, then hunches, then what Optuna proposes; what won is measured against the defaults.

    A KeyboardInterrupt ends the search: the answer says what is known, and the same request goes on from there.

    Raises:
        EngineError: the engine is not installed or has nothing to tune, the model does not fit, the defaults cannot be
            measured, or the directory holds another search.
        WorkloadError: a load below one request.
    """
    from rackrate.economics.hardware import describe
    from rackrate.measurement.host import detect_machine
    from rackrate.tuning.search import Search
    from rackrate.tuning.trial import Trials

    if not request.levels:
        raise WorkloadError("{levels} takes whole numbers from 1 on, such as 16 or 8,32", field="levels")
    space = _space(request, context)
    _same_search(request, space)
    trials = Trials(_measured(request, context), request.model, request.directory, with_slo=request.slo is not None)
    search = Search(
        space, trials, request.directory, request.minutes * 60, seed=request.seed,
        on_progress=lambda trial: context.notify.note(_line(trial, space.default)),
    )  # fmt: skip
    context.notify.note(f"{space.size:,} configurations of {len(space.knobs)} settings; {request.minutes:g} minutes")
    tuned = search.run()
    facts = {**request.facts, "machine": describe(detect_machine(context.catalog))}
    return TuneAnswer(tuned, facts, prices(tuned, request, context))


def _line(trial: Trial, default: Mapping[str, Any]) -> str:
    """What a trial gave, in a line."""
    changes = [f"{name}={value}" for name, value in trial.configuration.items() if value != default[name]]
    figure = trial.result.output_tok_s
    result = f"{figure:.1f} output tok/s" if figure else "no figure"
    note = f" [{trial.result.note}]" if trial.result.note else ""
    return f"{trial.number:3d} {trial.kind:8} {result}{note}, {trial.seconds:.0f} s: {' '.join(changes) or 'defaults'}"


def _measured(request: TuneRequest, context: Context) -> MeasureTrial:
    """Measures a trial as `measure` would; what that says goes into a file beside the run."""

    def measure_trial(model: str, settings: Sequence[str], out: Path) -> None:
        from rackrate.app.measuring.measurement import measure
        from rackrate.app.measuring.request import MeasureRequest

        trial = MeasureRequest(
            engines=(request.engine,), model=model, settings=tuple(settings), levels=request.levels, slo=request.slo,
            input_tokens=str(request.input_tokens), output_tokens=str(request.output_tokens), seconds=request.seconds,
            max_seconds=2 * request.seconds, warmup=2, prefill=False, out=out,
        )  # fmt: skip
        run = measure(trial, replace(context, notify=_Log(out / "measure.log"))).run
        if run.header.state == "interrupted":
            raise KeyboardInterrupt
        if run.header.state == "failed":
            raise EngineError("nearly every request failed")

    return measure_trial


class _Log:
    """A listener that writes notes into a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, text: str) -> None:
        """Adds a line."""
        with open_within(self._path, append=True) as file:
            file.write(f"{text}\n".encode(errors="replace"))

    def progress(self, what: str, done: float, of: float | None) -> None:
        """Writes nothing."""


def _space(request: TuneRequest, context: Context) -> Space:
    """What can be tuned here. Raises EngineError."""
    import psutil

    from rackrate.engines.gpus import found_gpus
    from rackrate.engines.knobs import Machine
    from rackrate.engines.known import launcher, listed_engine
    from rackrate.tuning.space import space_of

    engine, highest = request.engine, max(request.levels)
    spec, launch = listed_engine(engine), launcher(engine)
    if not launch.is_ready():
        raise EngineError(f"{spec.label} is not installed: run `{{engines install}} {engine}`", field="engines install")
    gpus = found_gpus() if launch.spreads_over_gpus else ()
    machine = Machine(
        cores=psutil.cpu_count(logical=False) or 1,
        logical=psutil.cpu_count() or 1,
        concurrency=highest,
        gguf=spec.memory is not None and spec.memory.gguf and ":" not in request.model,
        gpus=len(gpus),
        layouts=_layouts(request, gpus, context),
    )
    space = space_of(engine, machine)
    return space.limited(request.only) if request.only else space


def _layouts(request: TuneRequest, gpus: tuple[FoundGpu, ...], context: Context) -> Sequence[str]:
    """How to spread the model over the GPUs, best predicted first; empty, and why, where nothing can be predicted."""
    from rackrate.models.read_model import read_model
    from rackrate.tuning.predicted import predicted_layouts

    if len(gpus) < 2:
        return []
    model, catalog = request.model, context.catalog
    try:
        if len({gpu.name for gpu in gpus}) > 1:
            raise UserError("the GPUs are not alike")
        accelerator = catalog.accelerator(gpus[0].name)
        layouts = predicted_layouts(
            read_model(model, catalog).architecture, accelerator, len(gpus), engine=request.engine,
            memory_bytes=min(gpu.free_bytes for gpu in gpus), concurrency=max(request.levels),
            input_tokens=request.input_tokens, output_tokens=request.output_tokens,
        )  # fmt: skip
    except UserError as error:
        context.notify.note(
            f"nothing is predicted of the layouts, so all are tried ({error.named(context.name_field)})"
        )
        return []
    if not layouts:
        raise EngineError(
            f"{model} does not fit the {len(gpus)} x {accelerator.id} here: "
            f"a memory fit of it on {accelerator.id}x{len(gpus)} says by how much"
        )
    predicted = ", ".join(f"{layout.name} {layout.output_tok_s:,.0f}" for layout in layouts)
    context.notify.note(f"predicted output tok/s of GPUs that share each layer x replicas: {predicted}")
    return [layout.name for layout in layouts]


def _same_search(request: TuneRequest, space: Space) -> None:
    """Keeps what the search is about. Raises EngineError where the directory holds another one."""
    import orjson

    path = request.directory / FACTS
    facts = {**request.facts, "knobs": {knob.name: list(knob.values) for knob in space.knobs}}
    text = orjson.dumps(facts, option=orjson.OPT_INDENT_2)
    plain = orjson.loads(text)
    if os.path.lexists(path):
        try:
            before: Any = orjson.loads(read_bytes(path, _MOST_FACTS, links=False))
        except (OSError, orjson.JSONDecodeError) as error:
            raise EngineError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
        known = cast("dict[str, Any]", before) if isinstance(before, dict) else {}
        others = [name for name in plain if known.get(name) != plain[name]]
        if others:
            raise EngineError(
                f"{request.directory} holds a search with other {', '.join(others)}; give {{out}} another directory, "
                "or remove it",
                field="out",
            )
        return
    try:
        write_whole(path, text + b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None


def prices(tuned: Tuned, request: TuneRequest, context: Context) -> dict[str, Any] | None:
    """USD per 1M tokens of the defaults and of the winner, on the first machine that has a price.

    The winner's is that of the defaults over the gain of the pairs: there is one gain, and both prices are of it. It is
    None where there was no time for pairs.
    """
    import statistics

    from rackrate.app.pricing import PriceRequest, price_run

    found: dict[str, Any] = {}
    blended: list[float] = []
    for run in tuned.default_runs:
        asked = PriceRequest(
            run=Path(run), offers=request.offers, rigs=request.rigs, usd_per_hour=request.usd_per_hour, force=True,
            as_if=bool(request.offers),
        )  # fmt: skip
        try:
            machine = price_run(asked, context).pricing.machines[-1]
        except UserError:
            return None
        blended.append(machine.full.blended_usd)
        found["machine"], found["usd_h"] = machine.cost.name, round(machine.full.usd_h, 4)
    if not blended:
        return None
    default = statistics.fmean(blended)
    gain = 0.0 if tuned.best == tuned.default else tuned.gain
    return {
        **found, "default_usd_per_1m": default,
        "best_usd_per_1m": default / (1 + gain) if gain is not None else None,
    }  # fmt: skip
