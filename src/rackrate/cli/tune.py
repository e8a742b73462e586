"""rackrate tune: the settings of an engine that make a token cheapest here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.engines.gpus import FoundGpu
    from rackrate.tuning.search import Search, Trial, Tuned

FACTS = "tune.json"


def tune(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="An embedded model, a GGUF file, or a directory of safetensors.")
    ] = "smollm2-135m-instruct",
    engine: Annotated[str, typer.Option("--engine", help="llamacpp, vllm, transformers or sglang.")] = "llamacpp",
    minutes: Annotated[float, typer.Option("--minutes", help="How long it may take in all.")] = 30.0,
    slo: Annotated[
        str | None,
        typer.Option("--slo", help='Only loads within it count: "p95 ttft < 1s".', show_default=False),
    ] = None,
    concurrency: Annotated[
        str, typer.Option("--concurrency", "-c", help="Loads that each trial is measured at; the best one counts.")
    ] = "16",
    input_tokens: Annotated[int, typer.Option("--input-tokens", help="Input tokens per request.")] = 128,
    output_tokens: Annotated[int, typer.Option("--output-tokens", help="Output tokens per request.")] = 128,
    seconds: Annotated[float, typer.Option("--seconds", help="Of each load of a trial.")] = 15.0,
    only: Annotated[
        str | None, typer.Option("--only", help="Tune these alone, such as weights,threads.", show_default="all")
    ] = None,
    offer: given.Offers = None,
    own: given.Own = None,
    usd_per_hour: given.UsdPerHour = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the search.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Where trials go; an earlier search there goes on.", show_default="runs/tune-ENGINE"
        ),
    ] = None,
    as_json: given.AsJson = False,
) -> None:
    """Search the settings of an engine for the lowest USD per 1M tokens on this machine.

    The defaults are measured first, then hunches, then what Optuna proposes. With a third of the time left, the winner
    and the defaults are measured in turn, and the winner without each of its settings: a search that did not beat the
    defaults says so. Ctrl-C reports what is known; the same command goes on from there. The machine should do nothing
    else meanwhile.
    """
    from rackrate.cli.output import print_json, show
    from rackrate.errors import EngineError
    from rackrate.report.tuning import tuning_tables, tuning_view
    from rackrate.tuning.search import Search
    from rackrate.tuning.trial import Trials

    if not 0 < minutes <= 7 * 24 * 60:
        raise EngineError(f"--minutes must be above 0 and at most a week, got {minutes:g}")
    levels = _levels(concurrency)
    directory = out or Path("runs") / f"tune-{engine}"
    facts = {
        "engine": engine, "model": model, "directory": str(directory), "slo": slo, "concurrency": levels,
        "input_tokens": input_tokens, "output_tokens": output_tokens, "seconds": seconds,
    }  # fmt: skip
    space = _space(engine, model, max(levels), only, (input_tokens, output_tokens))
    _same_search(directory, {**facts, "knobs": {knob.name: list(knob.values) for knob in space.knobs}})
    trials = Trials(engine, model, levels, input_tokens, output_tokens, seconds, 2 * seconds, slo, directory)
    search = Search(space, trials, directory, minutes * 60, seed=seed)
    tuned = _run(search)
    prices = _prices(tuned, offer or (), own or (), usd_per_hour)
    view = tuning_view(tuned, {**facts, "machine": _machine()}, prices)
    if as_json:
        print_json(view)
    else:
        show(tuning_tables(view))
        _next(view, directory)


def _run(search: Search) -> Tuned:
    from rackrate.cli.output import say

    known = len(search.trials)
    say(f"{search.space.size:,} configurations of {len(search.space.knobs)} settings; {search.budget_s / 60:g} minutes")

    def on_progress(trial: Trial) -> None:
        changes = [
            f"{name}={value}" for name, value in trial.configuration.items() if value != search.space.default[name]
        ]
        figure = trial.result.output_tok_s
        result = f"{figure:.1f} output tok/s" if figure else "no figure"
        note = f" [{trial.result.note}]" if trial.result.note else ""
        say(
            f"{trial.number:3d} {trial.kind:8} {result}{note}, {trial.seconds:.0f} s: {' '.join(changes) or 'defaults'}"
        )

    search.on_progress = on_progress
    tuned = search.run()
    if known:
        say(f"{known} trials were known from before")
    return tuned


def _levels(text: str) -> list[int]:
    from rackrate.errors import WorkloadError

    try:
        levels = [int(part) for part in text.split(",")]
    except ValueError:
        levels = [0]
    if min(levels) < 1:
        raise WorkloadError(f"--concurrency takes whole numbers such as 16 or 8,32, not {text!r}")
    return levels


def _space(engine: str, model: str, highest: int, only: str | None, lengths: tuple[int, int]) -> Any:
    import psutil

    from rackrate.engines.gpus import found_gpus
    from rackrate.engines.knobs import Machine
    from rackrate.engines.known import launcher, listed_engine
    from rackrate.errors import EngineError
    from rackrate.tuning.space import space_of

    spec, launch = listed_engine(engine), launcher(engine)
    if not launch.is_ready():
        raise EngineError(f"{spec.label} is not installed: run `rackrate engines install {engine}`")
    gpus = found_gpus() if launch.spreads_over_gpus else ()
    machine = Machine(
        cores=psutil.cpu_count(logical=False) or 1,
        logical=psutil.cpu_count() or 1,
        concurrency=highest,
        gguf=engine == "llamacpp" and ":" not in model,
        gpus=len(gpus),
        layouts=_layouts(engine, model, gpus, highest, lengths),
    )
    space = space_of(engine, machine)
    return space.limited([name.strip() for name in only.split(",")]) if only else space


def _layouts(
    engine: str, model: str, gpus: tuple[FoundGpu, ...], concurrency: int, lengths: tuple[int, int]
) -> list[str]:
    """How to spread the model over the GPUs, best predicted first; empty, and why, where nothing can be predicted."""
    from rackrate.catalog.load import load_catalog
    from rackrate.cli.output import say
    from rackrate.errors import EngineError, UserError
    from rackrate.models.read_model import read_model
    from rackrate.tuning.predicted import predicted_layouts

    if len(gpus) < 2:
        return []
    try:
        if len({gpu.name for gpu in gpus}) > 1:
            raise UserError("the GPUs are not alike")
        catalog = load_catalog()
        accelerator = catalog.accelerator(gpus[0].name)
        layouts = predicted_layouts(
            read_model(model, catalog).architecture, accelerator, len(gpus), engine=engine,
            memory_bytes=min(gpu.free_bytes for gpu in gpus), concurrency=concurrency, input_tokens=lengths[0],
            output_tokens=lengths[1],
        )  # fmt: skip
    except UserError as error:
        say(f"nothing is predicted of the layouts, so all are tried ({error})")
        return []
    if not layouts:
        raise EngineError(
            f"{model} does not fit the {len(gpus)} x {accelerator.id} here: "
            f"`rackrate fit {model} --on {accelerator.id}x{len(gpus)}` says by how much"
        )
    on_progress = ", ".join(f"{layout.name} {layout.output_tok_s:,.0f}" for layout in layouts)
    say(f"predicted output tok/s of GPUs that share each layer x replicas: {on_progress}")
    return [layout.name for layout in layouts]


def _machine() -> str:
    from rackrate.catalog.load import load_catalog
    from rackrate.economics.hardware import describe
    from rackrate.measure.host import detect_machine

    return describe(detect_machine(load_catalog()))


def _same_search(directory: Path, facts: dict[str, Any]) -> None:
    """Refuses to go on with a search that was about something else."""
    import json

    from rackrate.cli.output import to_json, write_text
    from rackrate.errors import EngineError

    path = directory / FACTS
    plain = json.loads(to_json(facts))
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        apart = [name for name in plain if before.get(name) != plain[name]]
        if apart:
            raise EngineError(
                f"{directory} holds a search with other {', '.join(apart)}; give --out another directory, or remove it"
            )
        return
    write_text(path, to_json(facts) + "\n")


def _prices(tuned: Tuned, offers: Any, rigs: Any, usd_per_hour: float | None) -> dict[str, Any] | None:
    """USD per 1M tokens of the defaults and of the winner, on the first machine that has a price."""
    from rackrate.app.pricing import PriceRequest, price_run
    from rackrate.cli.context import shell_context
    from rackrate.errors import UserError

    found: dict[str, Any] = {}
    for name, configuration in (("default", tuned.default), ("best", tuned.best)):
        numbers = [trial for trial in tuned.trials if trial.configuration == configuration and trial.result.counts]
        if not numbers:
            return None
        last = max(numbers, key=lambda trial: trial.number)
        request = PriceRequest(
            run=Path(last.result.run or ""), offers=tuple(offers), rigs=tuple(rigs), usd_per_hour=usd_per_hour,
            force=True, as_if=bool(offers),
        )  # fmt: skip
        try:
            machine = price_run(request, shell_context()).pricing.machines[-1]
        except UserError:
            return None
        found[f"{name}_usd_per_1m"] = machine.full.blended_usd
        found["machine"], found["usd_h"] = machine.cost.name, round(machine.full.usd_h, 4)
    return found


def _next(view: dict[str, Any], directory: Path) -> None:
    from rackrate.cli.output import say
    from rackrate.engines.knobs import AS_THEY_ARE, WEIGHTS
    from rackrate.tuning.space import as_options

    changed = view["changed"]
    if not changed:
        return
    weights = changed.get(WEIGHTS, AS_THEY_ARE)
    model = view["model"] if weights == AS_THEY_ARE else f"{view['model']}:{weights}"
    sets = " ".join(as_options(changed))
    say(f"\nServe with it: rackrate serve {model} --engine {view['engine']} {sets}".rstrip())
    if weights != AS_THEY_ARE:
        say(f"What the number format lost: rackrate quality {model} --reference {view['model']}")
    say(f"The trials are in {directory}; the same command goes on from there.")
