"""The work of a measurement: starts or finds the server, asks it what must be known, loads it, keeps the run."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rackrate.app.measuring.load_shape import check_lengths
from rackrate.app.request_json import to_json
from rackrate.measurement.watching import Meter

if TYPE_CHECKING:
    import psutil

    from rackrate.app.context import Context
    from rackrate.app.measuring.request import MeasureRequest
    from rackrate.catalog.load import Catalog
    from rackrate.catalog.types import Offer
    from rackrate.engines.process import RunningEngine
    from rackrate.engines.settings import Settings
    from rackrate.files.locks import DirectoryLock
    from rackrate.measurement.host import CpuAccount
    from rackrate.measurement.plan import SweepPlan
    from rackrate.measurement.probe import Probe
    from rackrate.measurement.stop import Stop
    from rackrate.measurement.sweep import Done, Outcome
    from rackrate.measurement.target import Target, Timeouts
    from rackrate.measurement.watching import Watch
    from rackrate.measurement.worker_pool import WorkerPool
    from rackrate.runs.records import Engine, Machine, Run, RunHeader, ServedModel
    from rackrate.workload.synthetic import SyntheticWorkload


@dataclass(frozen=True)
class Started:
    """An engine that was started here."""

    process: RunningEngine
    engine: Engine
    served: ServedModel


@dataclass
class Job:
    """One run to measure, with what was asked for."""

    context: Context
    watch: Watch
    stop: Stop
    request: MeasureRequest
    workload: SyntheticWorkload
    plan: SweepPlan
    timeouts: Timeouts
    key: str | None
    directory: Path
    model: str | None
    stated: Offer | None
    processes: int
    ray: str | None
    continued: Run | None = None
    """The run that is resumed."""

    def measure_engine(self, name: str, threads: int | None, port: int | None, settings: Settings | None = None) -> Run:
        """Starts an engine here, measures it, stops it."""
        from rackrate.engines.known import launcher
        from rackrate.engines.process import RunningEngine
        from rackrate.engines.settings import LaunchOptions
        from rackrate.engines.weights import EMBEDDED
        from rackrate.errors import WorkloadError
        from rackrate.measurement.target import parse_url
        from rackrate.memory.gpus_here import settings_on_gpus
        from rackrate.runs.directories import lock_run
        from rackrate.runs.records import Engine, ServedModel

        started = launcher(name)
        requested = self.model or EMBEDDED[0].model
        weights = started.find(requested, self.context.notify.note, install=False)
        alias = weights.model or weights.path.stem
        longest = self.workload.longest_context
        slots = self.plan.max_concurrency if self.plan.rates or self.plan.slo else max(self.plan.concurrencies)
        on_gpus = settings_on_gpus(name, weights.argument, slots, longest + 64, settings or {}, self.context.catalog)
        for note in on_gpus.notes:
            self.context.notify.note(note)
        wanted = LaunchOptions(
            slots=slots, context_tokens=longest + 64, threads=threads, port=port, settings=on_gpus.settings
        )
        command = started.command(weights, alias, wanted)
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
        known = self.context.catalog.known_model(weights.model) if weights.model is not None else None
        if known is not None and known.context_tokens < longest:
            raise WorkloadError(
                f"{alias} takes {known.context_tokens} tokens, prompt and answer; the longest request asked for has "
                f"{longest}: ask for fewer tokens or turns, or leave a trace's longest out with {{longest}}",
                field="longest",
            )
        with (
            lock_run(self.directory) as lock,
            RunningEngine(command, self.directory / "engine.log", append=self.continued is not None) as running,
        ):
            what = f"starting {command.name} with {alias}"
            self._while_starting(what, 0.0)
            running.wait_until_ready(on_wait=lambda waited_s: self._while_starting(what, waited_s))
            self.model = command.served_name
            return self._run(parse_url(command.url), Started(running, engine, served), lock)

    def _while_starting(self, what: str, waited_s: float) -> None:
        from rackrate.errors import EngineError

        self.context.notify.progress(what, waited_s, None)
        if self.stop.requested:
            raise EngineError("stopped before the engine was ready; nothing was measured")

    def measure_url(self, target: Target) -> Run:
        """Measures a server that runs already."""
        from rackrate.runs.directories import lock_run

        # a run that is resumed may be under way; a new directory is not made before the server has answered
        return self._run(target, None, lock_run(self.directory) if self.continued is not None else None)

    def _find_machine(self, target: Target) -> tuple[Machine, psutil.Process | None]:
        """The machine behind a URL, and the server's process where that is this one."""
        from rackrate.measurement.host import detect_machine, listener, stated_machine
        from rackrate.runs.records import Machine

        process = listener(target.port) if target.is_loopback else None
        if self.stated is not None:
            return stated_machine(self.stated), process
        return detect_machine(self.context.catalog) if process is not None else Machine(origin="unknown"), process

    def _run(self, target: Target, started: Started | None, lock: DirectoryLock | None) -> Run:
        import asyncio

        import uvloop

        with (
            lock or contextlib.nullcontext(),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            return runner.run(self._measure(target, started, lock))

    async def _measure(self, target: Target, started: Started | None, lock: DirectoryLock | None) -> Run:
        from threading import Thread

        from rackrate.measurement.http import Client
        from rackrate.measurement.probe import probe

        ours = started.process if started is not None else None
        ahead = Thread(target=_import_ahead)

        def server_is_there(text: str) -> None:
            self.context.notify.note(text)
            ahead.start()

        async with Client(target, self.key, self.timeouts) as client:
            # before all that takes long to import: what is wrong with the server is said at once
            found = await probe(client, self.workload, self.model, server_is_there)
            ahead.join()
            check_lengths(self.workload, found.length, self.context.notify)
            from contextlib import AsyncExitStack

            import psutil

            from rackrate.app.measuring.started import remember
            from rackrate.errors import EngineError
            from rackrate.measurement.energy import PowerMeter, find_source
            from rackrate.measurement.host import CpuAccount, detect_machine
            from rackrate.measurement.identify import identify
            from rackrate.measurement.server_side import find_server_side
            from rackrate.measurement.sweep import NOTHING, sweep
            from rackrate.runs.records import Engine, ServedModel
            from rackrate.runs.store import RunWriter, read_run

            if started is None:
                name, version = await identify(client, found.served)
                engine, served = Engine(name=name, version=version, url=target.url), ServedModel(requested=found.model)
                machine, process = self._find_machine(target)
            else:
                engine, served = started.engine, started.served
                machine, process = detect_machine(self.context.catalog), psutil.Process(started.process.pid)
            account = CpuAccount(process)
            self._complete_model(served, found, self.context.catalog)
            header = self._header(served, engine, machine, found)
            continued = self.continued
            done = _what_is_done(continued, header, self.context.now()) if continued is not None else NOTHING
            async with AsyncExitStack() as stack:
                writer = stack.enter_context(RunWriter(self.directory, header, continued, lock))
                if continued is None and header.request is not None:
                    remember(self.directory, header.request, self.context)
                pool = None
                if self.processes > 1 or self.ray is not None:
                    pool = await stack.enter_async_context(await self._pool(target, found, account, header, done))
                shown = self.watch(self.plan, _meter(machine, self.context.catalog))
                power = find_source() if process is not None else None
                with shown as watcher, PowerMeter(power, watcher) as display:
                    counters = await find_server_side(client, engine.name, self.context.notify.note)
                    outcome = await sweep(
                        client,
                        found,
                        self.workload,
                        self.plan,
                        writer,
                        account,
                        display,
                        (lambda: ours.alive) if ours else lambda: True,
                        counters,
                        pool,
                        done,
                        self.stop,
                    )
                display.write(self.directory)
                header.state, header.stopped_because = _ending(outcome, ours)
                writer.finish()
        if outcome == "engine-died" and ours is not None:
            raise EngineError(
                f"{ours.exit_report('while it was measured')}\nwhat was measured until then is in {self.directory}"
            )
        return read_run(self.directory)

    async def _pool(
        self, target: Target, found: Probe, account: CpuAccount, header: RunHeader, done: Done
    ) -> WorkerPool:
        """Several load processes, here or on the machines of a Ray cluster."""
        import asyncio

        from rackrate.measurement.worker_pool import ProcessChannel, WorkerChannel, WorkerPool

        channels: list[WorkerChannel] = []
        if self.ray is not None:
            from rackrate.measurement.ray_channels import start_channels

            remote = await start_channels(self.ray, self.processes)
            header.clock_uncertainty_s = max(channel.uncertainty_s for channel in remote)
            channels.extend(remote)
        else:
            channels.extend(await asyncio.gather(*(ProcessChannel.start() for _ in range(self.processes))))
        header.processes = len(channels)
        return WorkerPool(
            channels, target, self.key, self.timeouts, found, self.workload, account, self.plan.slo,
            done.elapsed_s, done.requests, keep_answers=self.plan.keep_answers,
        )  # fmt: skip

    def _complete_model(self, served: ServedModel, found: Probe, catalog: Catalog) -> None:
        """What the server says of its model, and the catalogue's entry for it."""
        from rackrate.measurement.lenient_json import as_object, as_text

        served.requested = found.model
        known = catalog.known_model(found.model) if served.catalogue_id is None else None
        served.catalogue_id = served.catalogue_id or (known.id if known else None)
        meta = as_object(found.served.get("meta"))  # llama.cpp tells
        served.weight_format = served.weight_format or as_text(meta.get("ftype")) or None
        parameters = meta.get("n_params")
        served.parameters = parameters if isinstance(parameters, int) else None

    def _header(self, served: ServedModel, engine: Engine, machine: Machine, found: Probe) -> RunHeader:
        from rackrate.runs.records import RunHeader, WorkloadFacts

        work, talk = self.workload, self.workload.conversations
        return RunHeader(
            created=self.context.now(),
            command=self.context.provenance.command,
            rackrate_version=self.context.provenance.version,
            python_version=self.context.provenance.python_version,
            request=to_json(replace(self.request, out=None)),
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
                inputs=str(work.inputs) if work.inputs is not None else None,
                outputs=str(work.outputs) if work.outputs is not None else None,
                trace=work.trace.name if work.trace is not None else None,
                shared_prefix=str(work.prefix) if work.prefix is not None else None,
                turns=str(talk.turns) if talk is not None else None,
                think_s=str(talk.think_s) if talk is not None else None,
            ),
        )


def _import_ahead() -> None:
    """What is needed once the server has answered: it takes longer to import than most servers to answer."""
    for name in (
        "psutil",
        "rackrate.measurement.sweep",
        "rackrate.catalog.load",
        "rackrate.engines.known",
        "rackrate.economics.hardware",
    ):
        with contextlib.suppress(Exception):  # who needs it imports it again, and hears what is wrong
            importlib.import_module(name)


def _what_is_done(run: Run, header: RunHeader, now: str) -> Done:
    """What a run that is resumed has; takes its facts over into the new header."""
    from rackrate.errors import RunError
    from rackrate.measurement.sweep import Done
    from rackrate.metrics.summary import summarise

    old = run.header
    if old.model.requested != header.model.requested:
        raise RunError(f"the run was of {old.model.requested}, the server serves {header.model.requested}")
    for level in old.levels:
        if level.ended_because not in {"requests", "time", "precision", "hopeless"}:
            level.superseded = True
    header.created, header.command, header.levels = old.created, old.command, old.levels
    header.request = old.request
    header.resumed = (*old.resumed, now)
    elapsed_s, numbers = max((level.ended_s or level.started_s for level in old.levels), default=0.0), 0
    for request in run.requests:
        elapsed_s, numbers = max(elapsed_s, request.done_s), max(numbers, request.index + 1)
    return Done(tuple(summarise(run)), elapsed_s, numbers)


def _meter(machine: Machine, catalog: Catalog) -> Meter | None:
    """What the machine under load costs: the cheapest offer of the same hardware, or else of the nearest."""
    from rackrate.economics.hardware import matching, nearest_offers
    from rackrate.economics.hourly import rented

    offers = catalog.offers.values()
    same = matching(machine, offers)
    offer = next(iter(same or nearest_offers(machine, catalog)), None)
    if offer is None:
        return None
    cost = rented(offer)
    usd_h = cost.usd_h(1.0)
    near = "" if same else "nearest offer "
    return Meter(usd_h, f"{near}{offer.id}, ${usd_h:.4g}/h listed {cost.date}")


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
