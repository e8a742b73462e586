"""rackrate measure: loads an engine or an endpoint until it saturates, and writes a run directory."""

from __future__ import annotations

import shlex
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackrate.app.measuring.request import DEFAULT_KEY, DEFAULT_MOST_S, MeasureRequest, ResumeRequest
from rackrate.cli import load_options as shape
from rackrate.cli import options as given
from rackrate.cli.lists import numbers, whole_numbers

if TYPE_CHECKING:
    from rackrate.app.measuring.measurement import Measured
    from rackrate.app.measuring.several import EnginesMeasured
    from rackrate.measurement.plan import SweepPlan
    from rackrate.measurement.sweep import Watcher
    from rackrate.measurement.watching import Meter


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
    max_seconds: Annotated[float, typer.Option("--max-seconds", help="Longest duration of a level.")] = DEFAULT_MOST_S,
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
    ] = DEFAULT_KEY,
    allow_plain_http: given.AllowPlainHttp = False,
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
    out: given.RunDirectory = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", help="Resume a run that was stopped, as it was asked for.", show_default=False),
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
    engines, settings = tuple(engine or ()), tuple(set_ or ())
    if resume is not None:
        _refuse_beside_resume(out=out, levels=concurrency, rates=rate, slo=slo, requests=requests, seconds=seconds)
        named = key_env if key_env != DEFAULT_KEY else None
        lengths = input_tokens, output_tokens, turns, think_time
        again = ResumeRequest(resume, url, engines, model, settings, ray, named, allow_plain_http, trace, *lengths)
        _run(again, json_out)
        return
    levels, rates = whole_numbers(concurrency, "--concurrency"), numbers(rate, "--rate")
    request = MeasureRequest(
        url=url, engines=engines, model=model, input_tokens=input_tokens, output_tokens=output_tokens,
        endpoint=endpoint, levels=levels, max_concurrency=max_concurrency, rates=rates,
        arrivals=arrivals, trace=trace, trace_speedup=trace_speedup, longest=longest, shared_prefix=shared_prefix,
        turns=turns, think_time=think_time, slo=slo, requests=requests, seconds=seconds, max_seconds=max_seconds,
        precision=precision, processes=processes, ray=ray, warmup=warmup, prefill=prefill, seed=seed, on=on,
        key_env=key_env, allow_plain_http=allow_plain_http, threads=threads, port=port, settings=settings,
        timeout=timeout, connect_timeout=connect_timeout, first_token_timeout=first_token_timeout,
        gap_timeout=gap_timeout, keep_answers=keep_answers, out=out,
    )  # fmt: skip
    _run(request, json_out)


def _refuse_beside_resume(**given: object) -> None:
    """Raises UserError where something is given that is no part of resuming a run."""
    from rackrate.errors import UserError

    for name, value in given.items():
        if value is not None:
            raise UserError(
                f"{{resume}} goes on as the run was asked for; leave {{{name}}} out", fields=("resume", name)
            )


def _run(request: MeasureRequest | ResumeRequest, json_out: str | None) -> None:
    """Measures with a live display, hears Ctrl-C, and prints what was measured."""
    from rackrate.app.measuring.handle import run
    from rackrate.app.measuring.measurement import Measured
    from rackrate.cli.output import refuse_unwritable
    from rackrate.cli.signals import SignalStop
    from rackrate.cli.waiting import spinning

    if json_out not in {None, "-"}:
        refuse_unwritable(Path(str(json_out)))

    def display(plan: SweepPlan, meter: Meter | None) -> AbstractContextManager[Watcher]:
        from rackrate.cli.progress import SweepDisplay

        return SweepDisplay(plan, meter)

    stop = SignalStop()
    with spinning() as context:
        found = run(request, context, watch=display, stop=stop)
    if isinstance(found, Measured):
        _report(found, json_out)
    else:
        _report_engines(found, json_out)


def _report_engines(found: EnginesMeasured, json_out: str | None) -> None:
    """Prints the comparison, writes it beside the runs, and says what to do next."""
    from rackrate.cli.output import say, write_text
    from rackrate.report.render import render

    directory, compared = found.directory, found.compared
    write_text(directory / "comparison.json", render(compared, "json"))
    write_text(directory / "comparison.html", render(compared, "html"))
    _print(compared, json_out)
    say(f"\nThe runs and comparison.html are in {directory}. Again: rackrate side-by-side {directory}/*/")
    if not found.complete:
        say(f"What is missing: rackrate measure --resume {shlex.quote(str(directory))}")


def _print(answer: object, json_out: str | None) -> None:
    """Prints the tables, or JSON; where JSON goes to a file, both."""
    from rackrate.cli.output import deliver, write_text
    from rackrate.report.render import render

    if json_out not in {None, "-"}:
        write_text(Path(str(json_out)), render(answer, "json"))
    deliver(answer, as_json=json_out == "-")


def _report(found: Measured, json_out: str | None) -> None:
    """Prints what was measured, and what to do next."""
    from rackrate.app.runs import summarised
    from rackrate.cli.output import say
    from rackrate.errors import EndpointError

    run, directory, answer = found.run, found.directory, summarised(found.run)
    _print(answer, json_out)
    if run.header.state == "failed":
        failed = sum((Counter(level.failed) for level in answer.levels), Counter[str]())
        [(worst, number)] = failed.most_common(1) or [("unknown", 0)]
        raise EndpointError(f"nearly every request failed ({number} x {worst}); the run is kept in {directory}")
    if run.header.state == "interrupted":
        say(f"\nThe run is in {directory}. To go on: rackrate measure --resume {shlex.quote(str(directory))}")
        raise SystemExit(130)  # not typer.Exit, which `main` takes for a Ctrl-C that nobody spoke of
    say(f"\nThe run is in {directory}. Next: rackrate price {shlex.quote(str(directory))}")
