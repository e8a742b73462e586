"""rackrate measure: loads an engine or an endpoint until it saturates, and writes a run directory."""

from __future__ import annotations

import dataclasses
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from rackrate.cli import load_shape as shape

if TYPE_CHECKING:
    from rackrate.cli.measuring import Job
    from rackrate.runs.records import Run
    from rackrate.workload.synthetic import Endpoint

_DEFAULT_KEY = "RACKRATE_API_KEY"
_DEFAULT_MOST_S = 60.0
_CONTINUED_COMPARISON: Literal["comparison"] = "comparison"
_continued: ContextVar[Run | Literal["comparison"] | None] = ContextVar("_continued", default=None)
"""The run that this call goes on with, or that it goes on with a comparison of several."""


def measure(
    url: Annotated[
        str | None,
        typer.Option("--url", help="An OpenAI-compatible server, such as http://127.0.0.1:8000.", show_default=False),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            help="Or an engine to start here: llamacpp, vllm, sglang, transformers, naive; several are compared.",
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
    input_tokens: shape.InputTokens = None,
    output_tokens: shape.OutputTokens = None,
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
    arrivals: shape.Arrivals = None,
    trace: shape.TraceFile = None,
    trace_speedup: shape.Speedup = None,
    longest: shape.Longest = None,
    shared_prefix: shape.Prefix = None,
    turns: shape.Turns = None,
    think_time: shape.ThinkTime = None,
    slo: Annotated[
        str | None,
        typer.Option(
            "--slo",
            help='Find the largest rate within it: "p95 ttft < 1s, p95 tpot < 50ms".',
            show_default=False,
        ),
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(
            "--requests", help="Send exactly so many per level.", show_default="10 x in flight, and --seconds"
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", help="Least duration of a level.", show_default="15, or the whole trace"),
    ] = None,
    max_seconds: Annotated[float, typer.Option("--max-seconds", help="Longest duration of a level.")] = _DEFAULT_MOST_S,
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            help="End a level once throughput and p95 TTFT are known so well (95 % half-width); none: by time alone. "
            "Levels of --requests, --trace and --slo have a length of their own.",
        ),
    ] = "5%",
    processes: Annotated[
        int, typer.Option("--processes", help="Load processes, where one core cannot keep up (`client-bound`).")
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option("--ray", help="Spread them over a Ray cluster: its address, or auto.", show_default=False),
    ] = None,
    warmup: Annotated[int, typer.Option("--warmup", help="Requests before the measurement, not counted.")] = 4,
    prefill: Annotated[
        bool | None,
        typer.Option(
            "--prefill/--no-prefill",
            help="Measure prefill alone at the end, to price input and output apart.",
            show_default="on, but with --requests",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of prompts, lengths and arrivals: all that is drawn.")] = 0,
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
    connect_timeout: Annotated[
        float, typer.Option("--connect-timeout", help="Seconds in which a connection must be made.")
    ] = 10.0,
    first_token_timeout: Annotated[
        float, typer.Option("--first-token-timeout", help="Seconds until an answer's first token, at most.")
    ] = 120.0,
    gap_timeout: Annotated[
        float, typer.Option("--gap-timeout", help="Seconds between two packets of an answer, at most.")
    ] = 60.0,
    keep_answers: Annotated[
        bool, typer.Option("--keep-answers", help="Keep the text of every answer in the run.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run directory.", show_default="runs/MODEL-TIME")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", help="Go on with a run that was stopped, as it was asked for.", show_default=False),
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
    before, and TTFT counts from the moment a request was due. With --slo the rate is searched for. With --trace
    recorded requests are sent. docs/load.md has every shape of load.
    """
    from datetime import UTC, datetime

    from rackrate.cli.measuring import Job
    from rackrate.errors import EndpointError, RunError, WorkloadError
    from rackrate.measure.plan import SweepPlan
    from rackrate.measure.target import Timeouts, parse_url
    from rackrate.runs.directories import fresh_directory
    from rackrate.workload.slo import parse_slo

    if resume is not None:
        _go_on_with(resume)
        return
    if (url is None) == (not engine):
        raise EndpointError("say what to measure: either --url URL, or --engine llamacpp to start one here")
    if endpoint not in {"chat", "completions"}:
        raise WorkloadError(f"--endpoint is chat or completions, not {endpoint!r}")
    timeouts = Timeouts(connect_timeout, first_token_timeout, gap_timeout, timeout)
    levels = _levels(concurrency)
    flags = shape.LoadFlags(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        endpoint=cast("Endpoint", endpoint),
        seed=seed,
        arrivals=arrivals,
        trace=trace,
        speedup=trace_speedup,
        longest=longest,
        prefix=shared_prefix,
        turns=turns,
        think_time=think_time,
        rates=_rates(rate),
        closed=bool(levels),
        searches=slo is not None and rate is None and not levels,
        requests=requests,
        seconds=seconds,
    )
    load = shape.load_shape(flags)
    plan = SweepPlan(
        levels=levels,
        max_concurrency=max_concurrency,
        rates=load.rates,
        arrivals=load.arrivals,
        slo=parse_slo(slo) if slo is not None else None,
        requests=load.requests,
        least_s=load.seconds,
        most_s=max_seconds if max_seconds != _DEFAULT_MOST_S else max(_DEFAULT_MOST_S, load.seconds),
        warmup_requests=warmup,
        prefill=prefill if prefill is not None else requests is None,
        precision=_share(precision),
        keep_answers=keep_answers,
    )
    if processes < 1:
        raise WorkloadError(f"--processes must be at least 1, got {processes}")
    directory = out or fresh_directory(model or "model", datetime.now(UTC))
    if _continued.get() is None and _holds_run(directory):
        raise RunError(f"{directory} already holds a run; give --out another directory, or remove it")
    stated = None
    if on:
        from rackrate.cli.context import user_catalog

        stated = user_catalog().offer(on)
    continued = _continued.get()
    job = Job(load.workload, plan, timeouts, _key(key_env), directory, model, stated, processes, ray)
    if continued != _CONTINUED_COMPARISON:
        job = dataclasses.replace(job, continued=continued)
    if engine and len(engine) > 1:
        _compare(job, engine, threads, set_ or [], json_out)
        return
    if url is not None:
        run = job.measure_url(parse_url(url))
    else:
        name = (engine or [""])[0]
        run = job.measure_engine(name, threads, port, _settings(name, set_ or [], [name]))
    _report(run, directory, json_out)


def _go_on_with(directory: Path) -> None:
    """Measures what is missing of a run, or of a comparison of engines, by the command that it was begun with."""
    from rackrate.cli.side_by_side import COMMAND
    from rackrate.errors import RunError
    from rackrate.runs.store import read_run

    if (directory / COMMAND).exists():
        _measure_as(_command_of(directory / COMMAND), directory, _CONTINUED_COMPARISON)
        return
    if (directory.parent / COMMAND).exists():
        raise RunError(f"{directory} is part of a comparison: rackrate measure --resume {directory.parent}")
    run = read_run(directory)
    if run.header.mode != "measured" or run.header.state == "complete":
        raise RunError(
            f"{directory}: the run is {run.header.mode} and {run.header.state}; there is nothing to go on with"
        )
    _measure_as(run.header.command, directory, run)


def _command_of(path: Path) -> str:
    """The command that began a comparison. Raises RunError where the file is not as rackrate writes it."""
    from rackrate.errors import RunError
    from rackrate.measure.lenient_json import as_object, as_text, parse

    try:
        command = as_text(as_object(parse(path.read_bytes())).get("command"))
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not command.startswith("rackrate measure "):
        raise RunError(f"{path}: it names no `rackrate measure` command to go on with")
    return command


def _measure_as(command_line: str, directory: Path, continued: Run | Literal["comparison"]) -> None:
    import shlex

    from rackrate.errors import RunError

    try:
        words = shlex.split(command_line)[2:]
    except ValueError:
        raise RunError(
            f"{directory}: the command that it was begun with has an open quotation mark: {command_line}"
        ) from None
    if "--resume" in words:  # as versions before 28 November 2026 wrote it over the first command
        raise RunError(
            f"{directory}: its header no longer has the command that it was begun with ({command_line}); put that into "
            "`command` of run.json, or measure anew"
        )
    alone = typer.Typer(add_completion=False)
    alone.command("measure")(measure)
    command = cast("Any", typer.main.get_command(alone))
    with command.make_context("measure", words) as context:
        arguments: dict[str, Any] = {**context.params, "out": directory, "resume": None}
    token = _continued.set(continued)
    try:
        measure(**arguments)
    finally:
        _continued.reset(token)


def _share(text: str) -> float | None:
    from rackrate.errors import WorkloadError

    if text == "none":
        return None
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise WorkloadError(f"--precision takes a share such as 5%, or none, not {text!r}") from None


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
    return read_settings(engine, launcher(engine).settings, own)


def _compare(job: Job, engines: list[str], threads: int | None, said: list[str], json_out: str | None) -> None:
    """Measures several engines in turn with the same workload, and compares them."""
    import shlex
    import sys

    from rackrate.cli.output import print_json, say, show, to_json, write_text
    from rackrate.cli.side_by_side import COMMAND, HTML, compare_engines, is_complete
    from rackrate.errors import EngineError, RunError
    from rackrate.report.comparison_outputs import comparison_tables
    from rackrate.runs.store import HEADER, read_run

    if len(set(engines)) < len(engines):
        raise EngineError(
            "an engine is named twice; measure its variants apart, and compare the runs: rackrate side-by-side"
        )
    settings = {engine: _settings(engine, said, engines) for engine in engines}  # a wrong one is said before any starts

    if _continued.get() is None:
        if any((job.directory / engine / HEADER).exists() for engine in engines):
            raise RunError(
                f"{job.directory} already holds a comparison; go on with it (--resume {job.directory}), or give --out "
                "another directory"
            )
        command = shlex.join(["rackrate", *sys.argv[1:]])
        write_text(
            job.directory / COMMAND, to_json({"schema": "rackrate.comparison-command/1", "command": command}) + "\n"
        )

    def measure_one(engine: str, directory: Path) -> Run:
        known = read_run(directory) if (directory / HEADER).exists() else None
        if known is not None and is_complete(directory):
            say("measured before")
            return known
        own = dataclasses.replace(job, directory=directory, continued=known)
        return own.measure_engine(engine, threads, None, settings[engine])

    view = compare_engines(engines, measure_one, job.directory)
    if json_out == "-":
        print_json(view)
    else:
        if json_out is not None:
            write_text(Path(json_out), to_json(view) + "\n")
        show(comparison_tables(view))
    say(f"\nThe runs and {HTML} are in {job.directory}. Again: rackrate side-by-side {job.directory}/*/")
    if not all(is_complete(job.directory / engine) for engine in engines):
        say(f"What is missing: rackrate measure --resume {job.directory}")


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


def _holds_run(directory: Path) -> bool:
    """Whether there is a run in it. What reads runs takes long to import, and a new directory has none."""
    if not directory.exists():
        return False
    from rackrate.runs.store import HEADER

    return (directory / HEADER).exists()


def _report(run: Run, directory: Path, json_out: str | None) -> None:
    """Prints what was measured, and what to do next."""
    from rackrate.cli.output import print_json, say, show, to_json, write_text
    from rackrate.errors import EndpointError
    from rackrate.metrics.summary import saturation, summarise
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
    if run.header.state == "interrupted":
        say(f"\nThe run is in {directory}. To go on: rackrate measure --resume {directory}")
        raise SystemExit(130)  # not typer.Exit, which `main` takes for a Ctrl-C that nobody spoke of
    say(f"\nThe run is in {directory}. Next: rackrate price {directory}")
