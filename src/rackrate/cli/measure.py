"""rackrate measure: loads an engine or an endpoint until it saturates, and writes a run directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    import psutil

    from rackrate.catalog.load import Catalog
    from rackrate.catalog.types import Offer
    from rackrate.engines.process import RunningEngine
    from rackrate.measure.energy import Source
    from rackrate.measure.http import Target, Timeouts
    from rackrate.measure.probe import Probe
    from rackrate.measure.sweep import Outcome, SweepPlan
    from rackrate.records import Engine, Machine, Run, RunHeader, ServedModel
    from rackrate.workload.synthetic import Endpoint, SyntheticWorkload

_DEFAULT_KEY = "RACKRATE_API_KEY"
_DEFAULT_MOST_S = 120.0


def measure(
    url: Annotated[
        str | None,
        typer.Option("--url", help="An OpenAI-compatible server, such as http://127.0.0.1:8000.", show_default=False),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            help="Or an engine to start here: llamacpp, vllm, transformers, naive; several are compared.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="The model's name at the server; for an engine, an embedded model or a GGUF file.",
            show_default="the only one served",
        ),
    ] = None,
    input_tokens: Annotated[
        int, typer.Option("--input-tokens", help="Input tokens per request, as the server counts them.")
    ] = 128,
    output_tokens: Annotated[int, typer.Option("--output-tokens", help="Output tokens per request.")] = 128,
    endpoint: Annotated[str, typer.Option("--endpoint", help="chat or completions.")] = "chat",
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency",
            "-c",
            help="Requests in flight, one level each: 8 or 1,8,32.",
            show_default="1, 2, 4, ... until gains end",
        ),
    ] = None,
    max_concurrency: Annotated[int, typer.Option("--max-concurrency", help="Where doubling ends at the latest.")] = 64,
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate",
            help="Instead: arrivals per second of an open loop, one level each: 20 or 5,10,20.",
            show_default=False,
        ),
    ] = None,
    arrivals: Annotated[
        str, typer.Option("--arrivals", help="With --rate: poisson, constant, or gamma:CV for bursts.")
    ] = "poisson",
    slo: Annotated[
        str | None,
        typer.Option(
            "--slo",
            help='Find the largest Poisson rate within it: "p95 ttft < 1s, p95 tpot < 50ms".',
            show_default=False,
        ),
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(
            "--requests", help="Send exactly so many per level.", show_default="10 x in flight, and --seconds"
        ),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Least duration of a level.")] = 15.0,
    max_seconds: Annotated[float, typer.Option("--max-seconds", help="Longest duration of a level.")] = _DEFAULT_MOST_S,
    warmup: Annotated[int, typer.Option("--warmup", help="Requests before the measurement, not counted.")] = 4,
    prefill: Annotated[
        bool | None,
        typer.Option(
            "--prefill/--no-prefill",
            help="Measure prefill alone at the end, to price input and output apart.",
            show_default="on, but with --requests",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the prompts.")] = 0,
    on: Annotated[
        str | None,
        typer.Option(
            "--on", help="The machine behind a remote URL, as an offer's id: aws/g5.xlarge.", show_default=False
        ),
    ] = None,
    key_env: Annotated[
        str, typer.Option("--key-env", help="Environment variable that holds the API key.")
    ] = _DEFAULT_KEY,
    threads: Annotated[
        int | None,
        typer.Option("--threads", help="Of an engine started here.", show_default="all physical cores"),
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Of an engine started here.", show_default="a free one")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the engine (`engines settings NAME` lists them); ENGINE.NAME=VALUE for one of several.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds in which a request must be done.")] = 600.0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run directory.", show_default="runs/MODEL-TIME")
    ] = None,
    json_out: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Also write the summary as JSON; - is standard output.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Load a server until it saturates, and record every request in a run directory.

    A closed-loop sweep: 1, 2, 4, ... requests in flight until two doublings in a row gain less than 5 %. Ctrl-C keeps
    what was measured. With --rate the loop is open: requests are sent when they are due, whatever became of those
    before, and TTFT counts from the moment a request was due. With --slo the rate is searched for.
    """
    from rackrate.catalog.load import load_catalog
    from rackrate.errors import EndpointError, RunError, WorkloadError
    from rackrate.measure.http import Timeouts, parse_url
    from rackrate.measure.sweep import SweepPlan
    from rackrate.run_store import HEADER
    from rackrate.workload.slo import parse_slo
    from rackrate.workload.synthetic import SyntheticWorkload

    if (url is None) == (not engine):
        raise EndpointError("say what to measure: either --url URL, or --engine llamacpp to start one here")
    if endpoint not in {"chat", "completions"}:
        raise WorkloadError(f"--endpoint is chat or completions, not {endpoint!r}")
    if not timeout > 0:
        raise WorkloadError(f"--timeout must be above 0 seconds, got {timeout:g}")
    workload = SyntheticWorkload(input_tokens, output_tokens, cast("Endpoint", endpoint), seed)
    plan = SweepPlan(
        levels=_levels(concurrency),
        max_concurrency=max_concurrency,
        rates=_rates(rate),
        arrivals=arrivals,
        slo=parse_slo(slo) if slo is not None else None,
        requests=requests,
        least_s=seconds,
        most_s=max_seconds if max_seconds != _DEFAULT_MOST_S else max(_DEFAULT_MOST_S, seconds),
        warmup_requests=warmup,
        prefill=prefill if prefill is not None else requests is None,
    )
    directory = out or _fresh_directory(model or "model")
    if (directory / HEADER).exists():
        raise RunError(f"{directory} already holds a run; give --out another directory, or remove it")
    stated = load_catalog().offer(on) if on else None
    timeouts = Timeouts(first_token_s=min(120.0, timeout), gap_s=min(60.0, timeout), total_s=timeout)
    job = _Job(workload, plan, timeouts, _key(key_env), directory, model, stated)
    if engine and len(engine) > 1:
        _compare(job, engine, threads, set_ or [], json_out)
        return
    if url is not None:
        run = job.measure_url(parse_url(url))
    else:
        name = (engine or [""])[0]
        run = job.measure_engine(name, threads, port, _settings(name, set_ or [], [name]))
    _report(run, directory, json_out)


def _settings(engine: str, said: list[str], all_engines: list[str]) -> dict[str, Any]:
    """What was set for one of the engines: NAME=VALUE for all, ENGINE.NAME=VALUE for that one."""
    from rackrate.engines.known import launcher
    from rackrate.engines.settings import read_settings

    own: list[str] = []
    for text in said:
        whose, dot, rest = text.partition("=")[0].partition(".")
        if dot and whose in all_engines:
            if whose == engine:
                own.append(f"{rest}={text.partition('=')[2]}")
        else:
            own.append(text)
    return read_settings(engine, launcher(engine).SETTINGS, own)


def _compare(job: _Job, engines: list[str], threads: int | None, said: list[str], json_out: str | None) -> None:
    """Measures several engines in turn with the same workload, and compares them."""
    import dataclasses

    from rackrate.cli.compare import HTML, compare_engines
    from rackrate.cli.output import print_json, say, show, to_json, write_text
    from rackrate.errors import EngineError
    from rackrate.report.comparison_outputs import comparison_tables

    if len(set(engines)) < len(engines):
        raise EngineError(
            "an engine is named twice; measure its variants apart, and compare the runs: rackrate compare"
        )
    settings = {engine: _settings(engine, said, engines) for engine in engines}  # a wrong one is said before any starts

    def one(engine: str, directory: Path) -> Run:
        return dataclasses.replace(job, directory=directory).measure_engine(engine, threads, None, settings[engine])

    view = compare_engines(engines, one, job.directory)
    if json_out == "-":
        print_json(view)
    else:
        if json_out is not None:
            write_text(Path(json_out), to_json(view) + "\n")
        show(comparison_tables(view))
    say(f"\nThe runs and {HTML} are in {job.directory}. Again: rackrate compare {job.directory}/*/")


def _key(variable: str) -> str | None:
    import os

    from rackrate.errors import EndpointError

    if variable != _DEFAULT_KEY and variable not in os.environ:
        raise EndpointError(f"--key-env names {variable}, which is not set")
    key = os.environ.get(variable) or None
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise EndpointError(f"the key in {variable} has characters that no key has (a space or a line break?)")
    return key


def _levels(text: str | None) -> tuple[int, ...]:
    from rackrate.errors import WorkloadError

    if text is None:
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise WorkloadError(f"--concurrency takes whole numbers such as 8 or 1,8,32, not {text!r}") from None


def _rates(text: str | None) -> tuple[float, ...]:
    from rackrate.errors import WorkloadError

    if text is None:
        return ()
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise WorkloadError(f"--rate takes numbers such as 20 or 5,10,20, not {text!r}") from None


def _fresh_directory(model: str) -> Path:
    import re
    from datetime import UTC, datetime

    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(model).stem if model.endswith(".gguf") else model).strip("-")
    return Path("runs") / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


@dataclass
class _Job:
    """One call of `measure`, with what was asked for."""

    workload: SyntheticWorkload
    plan: SweepPlan
    timeouts: Timeouts
    key: str | None
    directory: Path
    model: str | None
    stated: Offer | None

    def measure_engine(
        self, name: str, threads: int | None, port: int | None, settings: dict[str, Any] | None = None
    ) -> Run:
        """Starts an engine here, measures it, stops it."""
        from rackrate.catalog.load import load_catalog
        from rackrate.cli.output import say
        from rackrate.cli.progress import waiting
        from rackrate.engines.known import launcher
        from rackrate.engines.process import RunningEngine
        from rackrate.engines.weights import EMBEDDED
        from rackrate.measure.host import detect_machine
        from rackrate.measure.http import parse_url
        from rackrate.records import Engine, ServedModel

        started = launcher(name)
        requested = self.model or EMBEDDED[0].model
        weights = started.find(requested, say, install=False)
        alias = weights.model or weights.path.stem
        command = started.command(
            weights,
            alias,
            slots=self.plan.max_concurrency if self.plan.rates or self.plan.slo else max(self.plan.concurrencies),
            context_tokens=self.workload.input_tokens + self.workload.output_tokens + 64,
            threads=threads,
            port=port,
            settings=settings,
        )
        served = ServedModel(
            requested=alias,
            catalogue_id=weights.model,
            weights_file=weights.path.name,
            weights_sha256=weights.sha256,
            weight_format=weights.weight_format,
        )
        engine = Engine(
            name=command.name,
            version=command.version,
            url=command.url,
            settings=dict(command.settings),
            started_by_us=True,
        )
        machine = detect_machine(load_catalog())
        with RunningEngine(command, self.directory / "engine.log") as running:
            with waiting(f"starting {command.name} with {alias}") as tick:
                running.wait_until_ready(tick=tick)
            self.model = command.served_name
            return self._run(parse_url(command.url), served, engine, machine, running)

    def measure_url(self, target: Target) -> Run:
        """Measures a server that runs already."""
        from rackrate.catalog.load import load_catalog
        from rackrate.measure.host import detect_machine, listener, stated_machine
        from rackrate.records import Engine, Machine, ServedModel

        catalog = load_catalog()
        process = listener(target.port) if target.is_loopback else None
        machine = Machine(origin="unknown")
        if self.stated is not None:
            machine = stated_machine(self.stated)
        elif process is not None:
            machine = detect_machine(catalog)
        served = ServedModel(requested=self.model or "")
        engine = Engine(name="unknown engine", url=target.url)
        return self._run(target, served, engine, machine, process)

    def _run(
        self,
        target: Target,
        served: ServedModel,
        engine: Engine,
        machine: Machine,
        process: RunningEngine | psutil.Process | None,
    ) -> Run:
        import asyncio

        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                return runner.run(self._measure(target, served, engine, machine, process))
            except KeyboardInterrupt:
                raise typer.Abort from None  # before there is anything to keep

    async def _measure(
        self,
        target: Target,
        served: ServedModel,
        engine: Engine,
        machine: Machine,
        process: RunningEngine | psutil.Process | None,
    ) -> Run:
        import psutil

        from rackrate.catalog.load import load_catalog
        from rackrate.cli.output import say
        from rackrate.cli.progress import SweepDisplay
        from rackrate.engines.metric_names import METRIC_NAMES
        from rackrate.engines.process import RunningEngine
        from rackrate.errors import EngineError
        from rackrate.measure.energy import PowerMeter
        from rackrate.measure.host import CpuAccount
        from rackrate.measure.http import Client
        from rackrate.measure.identify import identify
        from rackrate.measure.probe import probe
        from rackrate.measure.server_side import ServerSide
        from rackrate.measure.sweep import sweep
        from rackrate.run_store import RunWriter, read_run

        ours = process if isinstance(process, RunningEngine) else None
        account = CpuAccount(psutil.Process(process.pid) if process is not None else None)
        async with Client(target, self.key, self.timeouts) as client:
            found = await probe(client, self.workload, self.model, say)
            found.length.words_for(self.workload.input_tokens)
            if ours is None:
                engine.name, engine.version = await identify(client, found.served)
            self._complete_model(served, found, load_catalog())
            header = self._header(served, engine, machine, found)
            with RunWriter(self.directory, header) as writer:
                with SweepDisplay(self.plan) as shown, PowerMeter(_sensors(process), shown) as display:
                    names = METRIC_NAMES.get(engine.name)
                    outcome = await sweep(
                        client,
                        found,
                        self.workload,
                        self.plan,
                        writer,
                        account,
                        display,
                        (lambda: ours.alive) if ours else lambda: True,
                        ServerSide(client, names) if names else None,
                    )
                display.write(self.directory)
                header.state, header.stopped_because = _ending(outcome, ours)
                writer.finish()
        if outcome == "engine-died" and ours is not None:
            raise EngineError(
                f"{ours.obituary('while it was measured')}\nwhat was measured until then is in {self.directory}"
            )
        return read_run(self.directory)

    def _complete_model(self, served: ServedModel, found: Probe, catalog: Catalog) -> None:
        """What the server says of its model, and the catalogue's entry for it."""
        from rackrate.measure.loose_json import as_object, as_text

        served.requested = found.model
        known = catalog.known_model(found.model) if served.catalogue_id is None else None
        served.catalogue_id = served.catalogue_id or (known.id if known else None)
        meta = as_object(found.served.get("meta"))  # llama.cpp tells
        served.weight_format = served.weight_format or as_text(meta.get("ftype")) or None
        parameters = meta.get("n_params")
        served.parameters = parameters if isinstance(parameters, int) else None

    def _header(self, served: ServedModel, engine: Engine, machine: Machine, found: Probe) -> RunHeader:
        import platform
        import shlex
        import sys
        from datetime import UTC, datetime

        from rackrate import __version__
        from rackrate.records import RunHeader, WorkloadFacts

        return RunHeader(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=shlex.join(["rackrate", *sys.argv[1:]]),
            rackrate_version=__version__,
            python_version=platform.python_version(),
            state="running",
            model=served,
            engine=engine,
            machine=machine,
            workload=WorkloadFacts(
                input_tokens=self.workload.input_tokens,
                output_tokens=self.workload.output_tokens,
                endpoint=self.workload.endpoint,
                seed=self.workload.seed,
                slo=str(self.plan.slo) if self.plan.slo is not None else None,
                length_forced=found.length_forced,
                prompt_fixed_tokens=found.length.fixed,
                prompt_tokens_per_word=found.length.per_word,
            ),
        )


def _sensors(process: object) -> Source | None:
    """This machine's power sensors, if what is measured runs here."""
    from rackrate.measure.energy import find_source

    return find_source() if process is not None else None


def _ending(outcome: Outcome, engine: RunningEngine | None) -> tuple[Any, str | None]:
    match outcome:
        case "complete":
            return "complete", None
        case "interrupted":
            return "interrupted", "stopped by the user"
        case "engine-died":
            return "failed", "the engine died" if engine else "the server is gone"
        case "errors":
            return "failed", "nearly every request failed"


def _report(run: Run, directory: Path, json_out: str | None) -> None:
    """Prints what was measured, and what to do next."""
    from rackrate.cli.output import print_json, say, show, to_json, write_text
    from rackrate.errors import EndpointError
    from rackrate.metrics import saturation, summarise
    from rackrate.report.terminal import run_tables
    from rackrate.report.view import run_view

    levels = summarise(run)
    view = run_view(run, levels, saturation(levels))
    if json_out == "-":
        print_json(view)
    else:
        if json_out is not None:
            write_text(Path(json_out), to_json(view) + "\n")
        show(run_tables(view))
    if run.header.state == "failed":
        failed = view["requests"]["failed"]
        worst = max(failed, key=failed.get) if failed else "unknown"
        raise EndpointError(
            f"nearly every request failed ({failed.get(worst, 0)} x {worst}); the run is kept in {directory}"
        )
    say(f"\nThe run is in {directory}. Next: rackrate price {directory}")
    if run.header.state == "interrupted":
        raise typer.Exit(130)
