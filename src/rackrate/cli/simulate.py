"""rackrate simulate: a run of a deployment that need not exist."""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackrate.cli import load_shape as shape
from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.catalog.types import Accelerator, Offer
    from rackrate.metrics.summary import LevelSummary
    from rackrate.models.read_model import ReadModel
    from rackrate.planner.candidates import Replica
    from rackrate.runs.records import Level, RequestRecord, RunHeader
    from rackrate.simulate.capacity import Draw
    from rackrate.simulate.settings import EngineLimits, Fleet
    from rackrate.workload.slo import Slo
    from rackrate.workload.synthetic import SyntheticWorkload

SEARCHED = 10_000
"""Requests of a search for a capacity, and of the levels at it and beyond: a thousand leave 3 % of luck, and end before
queues have grown."""
MOST_TELLING = 20_000
"""Requests of a level that is recorded, at most, unless more are asked for."""
MOST_IN_FLIGHT = 512
"""The highest level of a closed sweep where none are given."""


def simulate(
    model: given.ModelSource,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="ACCELERATOR[xN]",
            help="Where: t4x4, or an offer such as aws/g4dn.12xlarge.",
            show_default="the machine of --calibration",
        ),
    ] = None,
    calibrated: given.Calibrated = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            help="vllm, sglang, tensorrt-llm, llamacpp: whose step times, limits and scheduling.",
            show_default="llamacpp for GGUF, else vllm",
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="bf16, fp8, awq, ...", show_default="as published")
    ] = None,
    tp: Annotated[
        int | None,
        typer.Option("--tp", help="Accelerators of one replica.", show_default="as few as hold the model"),
    ] = None,
    replicas: Annotated[
        int | None, typer.Option("--replicas", help="Behind the router.", show_default="as many as the machine holds")
    ] = None,
    router: Annotated[
        str, typer.Option("--router", help="round-robin, least-loaded or prefix-affine.")
    ] = "round-robin",
    autoscale: Annotated[
        str | None,
        typer.Option(
            "--autoscale", metavar="LEAST:MOST:IN_FLIGHT", help="Replicas that follow the load, such as 1:8:32."
        ),
    ] = None,
    cold_start: Annotated[float, typer.Option("--cold-start", help="Seconds until a new replica serves.")] = 60.0,
    rate: Annotated[
        str | None, typer.Option("--rate", help="Open loop: requests per second, such as 5,10,20.", show_default=False)
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency", "-c", help="Closed loop: in flight, such as 1,8,64.", show_default="1, 2, 4, ..."
        ),
    ] = None,
    slo: Annotated[
        str | None,
        typer.Option(
            "--slo", help="Objectives; without loads, search for the capacity within them.", show_default=False
        ),
    ] = None,
    input_tokens: shape.InputTokens = None,
    output_tokens: shape.OutputTokens = None,
    arrivals: shape.Arrivals = None,
    trace: shape.TraceFile = None,
    longest: shape.Longest = None,
    cached_share: Annotated[
        float, typer.Option("--cached-share", help="Share of each prompt that the prefix cache has.")
    ] = 0.0,
    prefix_cache: Annotated[
        bool, typer.Option("--prefix-cache/--no-prefix-cache", help="Follow the prefix blocks that a trace records.")
    ] = True,
    requests: Annotated[
        int | None,
        typer.Option(
            "--requests",
            help="Requests of a level.",
            show_default="1,000, or 12 x in flight; 10,000 in a search; with --aggregates 1,000,000",
        ),
    ] = None,
    aggregates: Annotated[
        bool,
        typer.Option(
            "--aggregates",
            help="Keep no request, only sums and quantiles: open loops of any length in bounded memory, such as "
            "--requests 100000000.",
        ),
    ] = False,
    max_num_seqs: Annotated[int | None, typer.Option("--max-num-seqs", show_default="the engine's")] = None,
    max_num_batched_tokens: Annotated[
        int | None, typer.Option("--max-num-batched-tokens", show_default="the engine's")
    ] = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write a run directory here.", show_default=False)
    ] = None,
    as_json: given.AsJson = False,
) -> None:
    """Simulate a load on a deployment that need not exist: a run like a measured one, for show, price and report.

    Step times are predicted (docs/predict.md); batching, queues, memory and replicas are simulated step by step
    (docs/simulate.md).
    """
    from dataclasses import replace

    from rackrate.catalog.load import load_catalog
    from rackrate.cli.output import print_json, say
    from rackrate.cli.output import show as print_result
    from rackrate.cli.simulated_load import autoscaler_of, numbers, own_rate, place, workload_of
    from rackrate.errors import UserError
    from rackrate.metrics.summary import saturation, summarise
    from rackrate.models.read_model import read_model
    from rackrate.report.terminal import run_tables
    from rackrate.report.view import run_view
    from rackrate.runs.records import Run
    from rackrate.runs.store import RunWriter
    from rackrate.simulate.compiled import first_use
    from rackrate.simulate.settings import ROUTERS, Fleet
    from rackrate.workload.slo import parse_slo

    if rate is not None and concurrency is not None:
        raise UserError("give --rate (open loop) or --concurrency (closed loop), not both")
    for name, value in (
        ("--requests", requests), ("--replicas", replicas), ("--max-num-seqs", max_num_seqs),
        ("--max-num-batched-tokens", max_num_batched_tokens),
    ):  # fmt: skip
        if value is not None and value < 1:
            raise UserError(f"{name} must be at least 1, got {value}")
    if not 0 <= cached_share < 1:
        raise UserError(f"--cached-share must be at least 0 and below 1, got {cached_share:g}")
    if router not in ROUTERS:
        raise UserError(f"--router is one of {', '.join(ROUTERS)}, not {router!r}")
    rates = numbers(rate, "--rate") if rate is not None else []
    levels = [int(value) for value in numbers(concurrency, "--concurrency")] if concurrency is not None else []
    if any(level < 1 for level in levels):
        raise UserError(f"--concurrency must be whole numbers of at least 1, got {concurrency}")
    objectives = parse_slo(slo) if slo is not None else None
    catalog = load_catalog()
    read = read_model(model, catalog, weights_stated=weights is not None)
    for note in read.reading_notes:
        say(f"note: {note}")
    workload = workload_of(input_tokens, output_tokens, trace, longest, seed)
    if (on is None) == (calibrated is None):
        raise UserError(
            "say where: --on ACCELERATOR[xN], or --calibration of a machine that you measured (one of them)"
        )
    if calibrated is not None:
        served, accelerator = _calibrated(
            calibrated, read, workload, {"--tp": tp, "--weights": weights, "--engine": engine}
        )
        count, offer = served.kind.accelerators, None
    else:
        accelerator, count, offer = place(on or "", catalog)
        served = _replica(
            read, accelerator, count, tp, weights, engine or ("llamacpp" if read.is_gguf else "vllm"), workload
        )
    limits = served.limits
    if max_num_seqs is not None or max_num_batched_tokens is not None:
        limits = replace(
            limits,
            max_num_seqs=max_num_seqs or limits.max_num_seqs,
            max_num_batched_tokens=max_num_batched_tokens or limits.max_num_batched_tokens,
        )
    number = replicas or max(1, count // served.kind.accelerators)
    scaler = autoscaler_of(autoscale, cold_start) if autoscale is not None else None
    fleet = Fleet(number, router, scaler)  # pyright: ignore[reportArgumentType]
    if (first := first_use()) is not None:
        say(first)
    header = _header(read, accelerator, offer, served, fleet, limits, workload, slo, seed)
    if calibrated is not None:
        from rackrate.calibration.document import read_calibration

        known = read_calibration(calibrated)
        header.engine.settings["calibration"] = f"the calibration of {known.run} (measured {known.run_created})"
    pattern = arrivals or ("trace" if trace is not None else "poisson")
    own = own_rate(pattern, arrivals, given=bool(rates or levels), searches=objectives is not None)
    if arrivals is not None and not rates and own is None and (levels or (trace is None and objectives is None)):
        raise UserError(f"--arrivals {arrivals} is of open loops: give --rate")
    if aggregates:
        from rackrate.cli.simulated_stream import Streamed, refuse, streamed_view
        from rackrate.report.simulated_terminal import aggregate_tables

        if workload.trace is not None and not rates and not levels:
            rates = [workload.trace.mean_rate]
        refuse(rates=rates, levels=levels, out=out, workload=workload, prefix_cache=prefix_cache)
        streamed = Streamed(workload, served, limits, fleet, pattern, cached_share, requests or 1_000_000, objectives)
        totals = streamed_view(streamed, rates, header)
        if as_json:
            print_json(totals)
        else:
            print_result(aggregate_tables(totals))
            print_result(_served_note(header))
        return
    work = _Work(workload, served, limits, fleet, pattern, cached_share, prefix_cache, requests, header)
    if own is not None:
        rates, work.requests = [own[0]], requests or own[1]
    elif objectives is not None and not rates and not levels:
        rates = work.search(objectives)
    elif workload.trace is not None and not rates and not levels:
        rates = [workload.trace.mean_rate]  # as recorded
    done = [record for rate in rates for record in work.open_level(rate)]
    if not rates:
        done += work.closed_sweep(levels)
    header.state = "complete"
    if out is not None:
        with RunWriter(out, header) as writer:
            for record in done:
                writer.add(record)
            writer.finish()
        say(f"wrote {out}")
    run = Run(header, done)
    summaries = summarise(run)
    view = run_view(run, summaries, saturation(summaries))
    if as_json:
        print_json(view)
    else:
        print_result(run_tables(view))
        for note in work.notes():
            print_result(note)


def _replica(
    read: ReadModel, accelerator: Accelerator, count: int, tp: int | None, weights: str | None, engine: str,
    workload: SyntheticWorkload,
) -> Replica:  # fmt: skip
    """The replica that was asked for; without --tp, the smallest that holds the model. UserError if none does."""
    from rackrate.errors import UserError
    from rackrate.memory.fit import runnable_format
    from rackrate.models.formats import weight_format
    from rackrate.planner.candidates import kind_of, replica_of

    architecture = read.architecture
    if workload.longest_context > architecture.context_tokens:
        raise UserError(
            f"the longest request has {workload.longest_context:,} tokens in and out, more than the "
            f"{architecture.context_tokens:,} of {architecture.name}'s context; shorten the "
            "lengths, or leave recorded ones out with --longest"
        )
    if tp is not None and (tp < 1 or count % tp):
        raise UserError(f"--tp {tp} does not divide the {count} accelerators of --on")
    form = weight_format(weights).name if weights else runnable_format(architecture, accelerator).name
    reason = ""
    for size in [tp] if tp is not None else [n for n in range(1, count + 1) if count % n == 0]:
        kind = kind_of(accelerator, size, form, engine)
        found = replica_of(kind, read, accelerator, workload.longest_context, mean_context(workload))
        if not isinstance(found, str):
            return found
        reason = found
    raise UserError(f"{architecture.name} ({form}) does not fit: {reason}")


def _calibrated(
    path: Path, read: ReadModel, workload: SyntheticWorkload, settled: dict[str, object]
) -> tuple[Replica, Accelerator]:
    """The replica that a calibration describes. UserError where it is of another model, or an option contradicts it."""
    from rackrate.calibration.document import read_calibration
    from rackrate.calibration.host import host_again
    from rackrate.catalog.load import load_catalog
    from rackrate.cli.output import say
    from rackrate.errors import UserError
    from rackrate.planner.candidates import calibrated_replica

    for name, value in settled.items():
        if value is not None:
            raise UserError(f"{name} is settled by --calibration: leave one of them out")
    known = read_calibration(path)
    if read.listed is None or read.listed.id != known.model:
        raise UserError(f"{path}: is a calibration of {known.model}, not of {read.architecture.name}")
    box = host_again(known, load_catalog())
    if known.caveats:
        say(f"note: calibrated with levels that must not be priced ({', '.join(known.caveats)})")
    say(f"step times: calibration of {known.run} on {known.machine}, measured {known.run_created}")
    served = calibrated_replica(box.deployment, box.slots, read, workload.longest_context, mean_context(workload))
    return served, box.deployment.accelerator


def mean_context(workload: SyntheticWorkload) -> float:
    """Tokens that a decoding request attends to, on average."""
    return workload.input_tokens + workload.output_tokens / 2


def _header(
    read: ReadModel, accelerator: Accelerator, offer: Offer | None, served: Replica, fleet: Fleet, limits: EngineLimits,
    workload: SyntheticWorkload, slo: str | None, seed: int,
) -> RunHeader:  # fmt: skip
    import platform

    from rackrate import __version__
    from rackrate.runs.records import Engine, Gpu, Machine, RunHeader, ServedModel, WorkloadFacts
    from rackrate.units import GIB

    deployment = served.deployment
    gpus = Gpu(
        name=accelerator.name,
        count=served.kind.accelerators * fleet.size,
        memory_bytes=round((accelerator.memory_gib or 0) * GIB) or None,
        accelerator=accelerator.id,
    )
    return RunHeader(
        mode="simulated",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=" ".join(["rackrate", *sys.argv[1:]]),
        rackrate_version=__version__,
        python_version=platform.python_version(),
        state="running",
        model=ServedModel(
            requested=read.architecture.name, catalogue_id=read.listed.id if read.listed is not None else None,
            weight_format=served.kind.weights, parameters=read.architecture.parameters.total,
        ),
        engine=Engine(
            name=deployment.release.engine,
            version=f"{deployment.release.id}, predicted",
            url="simulated",
            settings={
                "tensor_parallel": served.kind.tp, "pipeline_parallel": served.kind.pp,
                "accelerators_each": served.kind.accelerators, "router": fleet.router,
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
            input_tokens=workload.input_tokens, output_tokens=workload.output_tokens, endpoint="completions", seed=seed,
            slo=slo, length_forced="simulation", inputs=str(workload.inputs) if workload.inputs else None,
            outputs=str(workload.outputs) if workload.outputs else None,
            trace=workload.trace.name if workload.trace is not None else None,
        ),
    )  # fmt: skip


def _served_note(header: RunHeader) -> str:
    """What was simulated, in a sentence."""
    from rackrate.report.format import counted

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
        f"{settings['max_num_batched_tokens']:,} tokens a step; {scaled}{counted(replicas, 'replica')} of "
        f"{counted(each, 'accelerator')}; steps filled as {settings['scheduling']} does."
    )


class _Work:
    """Simulates level after level of one run."""

    def __init__(
        self, workload: SyntheticWorkload, served: Replica, limits: EngineLimits, fleet: Fleet, pattern: str,
        cached_share: float, prefix_cache: bool, requests: int | None, header: RunHeader,
    ) -> None:  # fmt: skip
        self.workload, self.served, self.limits, self.fleet = workload, served, limits, fleet
        self.pattern, self.cached_share, self.prefix_cache = pattern, cached_share, prefix_cache
        self.requests, self.header = requests, header
        self.index = 0
        self.telling_s = 0.0
        """How long a level must be to tell whether it is within the SLO that was searched for. [s]"""
        self.tells_from = math.inf
        """From this rate on a level has as many requests as the search had. [1/s]"""
        self.preemptions = self.recomputed = 0
        self.replica_s: list[tuple[str, float, float]] = []
        self.cached = self.input = 0

    def _level(self, level: Level, count: int, pattern: str | None, outputs: int | None = None) -> list[RequestRecord]:
        import numpy as np

        from rackrate.cli.simulated_load import requests_of
        from rackrate.simulate.record import simulate_level
        from rackrate.simulate.settings import Requests

        self.header.levels.append(level)
        sent, name = requests_of(
            self.workload, count, pattern=pattern, rate=level.rate or 1.0,
            level=0 if pattern is not None else level.index,  # rates have common random numbers
            cached_share=self.cached_share, prefix_cache=self.prefix_cache,
        )  # fmt: skip
        if pattern is not None:
            level.arrivals = name
        lengths = np.asarray(sent.output_tokens).copy()
        if outputs is not None:
            lengths[:] = outputs
        elif level.concurrency:
            # as a measurement does it: first requests of evenly spread shares, so that workers do not march in step
            places = np.random.default_rng([self.workload.seed, level.index, 7]).permutation(level.concurrency)
            shares = (places + 0.5) / level.concurrency
            first = lengths[: level.concurrency]
            first[:] = np.maximum(1, np.ceil(first * shares[: len(first)]))
        sent = Requests(
            sent.due_s, sent.input_tokens, lengths, sent.cached_tokens, sent.group, sent.hash_start, sent.hashes,
            sent.hash_tokens,
        )  # fmt: skip
        outcome, records = simulate_level(level, sent, self.served.step, self.limits, self.fleet, self.index)
        self.index += len(records)
        self.preemptions += outcome.preemptions
        self.recomputed += outcome.recomputed_tokens
        self.cached += outcome.cached_tokens
        self.input += outcome.input_tokens
        self.replica_s.append((name, outcome.replica_s, outcome.end_s))
        return records

    def _next(self, kind: str, concurrency: int | None, rate: float | None) -> Level:
        from rackrate.runs.records import Level

        levels = self.header.levels
        return Level(
            index=len(levels),
            kind=kind,  # pyright: ignore[reportArgumentType]
            concurrency=concurrency,
            rate=rate,
            warmed_up=True,
            started_s=(levels[-1].ended_s or 0.0) + 1.0 if levels else 0.0,
        )

    def open_level(self, rate: float) -> list[RequestRecord]:
        """Requests that come at a rate, whatever becomes of them."""
        least = SEARCHED if rate >= self.tells_from else 1000
        number = self.requests or min(max(least, round(self.telling_s * rate)), MOST_TELLING)
        return self._level(self._next("open", None, rate), number, self.pattern)

    def closed_sweep(self, levels: list[int]) -> list[RequestRecord]:
        """So many in flight, one level after the other; where none are given, doubled until gains end; then prefill."""
        from rackrate.measure.sweep import gains_ended
        from rackrate.metrics.summary import saturation, summarise_level

        wanted = levels or [2**n for n in range(MOST_IN_FLIGHT.bit_length())]
        done: list[RequestRecord] = []
        summaries: list[LevelSummary] = []
        for concurrency in wanted:
            level = self._next("closed", concurrency, None)
            # ten requests for each in flight, besides the first ones and those that run out at the end
            records = self._level(level, self.requests or max(200, 12 * concurrency), None)
            done += records
            summaries.append(summarise_level(level, records))
            if not levels and gains_ended([summary.output_tok_s or 0.0 for summary in summaries]):
                break
        best = saturation(summaries)
        if best is not None and best.level.concurrency:
            level = self._next("prefill", best.level.concurrency, None)
            done += self._level(level, 12 * best.level.concurrency, None, outputs=1)
        return done

    def search(self, slo: Slo) -> list[float]:
        """The capacity within an SLO, and the loads of the run: shares of it, and one beyond."""
        from rackrate.errors import UserError
        from rackrate.planner.bounds import idle_words, least_busy_s, missed_when_idle, when_idle
        from rackrate.simulate.capacity import find_capacity, telling_requests

        draw = self._draw()
        if missed_when_idle(draw, slo, self.served.step, self.limits):
            reached = when_idle(draw, slo, self.served.step, self.limits)
            raise UserError(f"no rate is sustained within {slo}: {idle_words(reached)}; loosen --slo")
        guess = 0.5 * self.fleet.size / least_busy_s(draw, self.served.step, self.limits)
        found = find_capacity(draw, slo, self.served.step, self.limits, self.fleet, guess=guess)
        if not found.rate:
            raise UserError(f"no rate is sustained within {slo}, not even one request at a time; loosen --slo")
        if found.at is not None:
            self.telling_s = telling_requests(found.at, slo) / found.rate
        self.tells_from = 0.95 * found.rate
        return [float(f"{found.rate * share:.3g}") for share in (0.25, 0.5, 0.75, 0.9, 0.98, 1.2)]

    def _draw(self) -> Draw:
        """Requests at rate 1 as they will come: the draw of `plan`, for the same seed and arrivals."""
        import numpy as np

        from rackrate.simulate.capacity import Draw
        from rackrate.workload.schedule import draw

        found = draw(self.pattern, 1.0, self.requests or SEARCHED, self.workload)
        inputs, outputs = found.input_tokens.astype(np.int32), found.output_tokens.astype(np.int32)
        return Draw(found.due_s, inputs, outputs, (inputs * self.cached_share).astype(np.int32))

    def notes(self) -> list[str]:
        """What the simulation knows and a measurement does not."""
        found: list[str] = []
        found.append(_served_note(self.header))
        if self.cached:
            found.append(f"Prefix cache: {self.cached / self.input:.1%} of the input tokens were cached.")
        if self.preemptions:
            found.append(
                f"{self.preemptions} preemptions for lack of KV cache; {self.recomputed:,} tokens computed again."
            )
        trace = self.workload.trace
        if self.telling_s and self.prefix_cache and trace is not None and trace.block_ids is not None:
            found.append(
                "The search for the capacity did not follow the trace's prefix blocks, which the loads above do."
            )
        if self.fleet.autoscaler is not None:
            on = sum(seconds for _, seconds, _ in self.replica_s)
            span = sum(end for _, _, end in self.replica_s)
            found.append(f"Replicas on: {on / span:.2f} on average, cold starts included.")
            shortest = min(end for _, _, end in self.replica_s)
            if shortest < 2 * self.fleet.autoscaler.cold_start_s:
                found.append(
                    f"A load lasted {shortest:,.0f} s, and a replica takes {self.fleet.autoscaler.cold_start_s:g} s to "
                    "start: what scaling does is hardly seen. Give more --requests."
                )
        return found
