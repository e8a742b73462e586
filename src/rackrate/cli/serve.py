"""rackrate serve: an engine for a model at one URL, kept running."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.engines.process import EngineCommand

_DEFAULT_PORT = 8000
SCHEMA = "rackrate.serve/1"


def serve(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="An embedded model, a GGUF file (MODEL:Q4_0 rewrites it), a directory of safetensors, or a hub id.",
        ),
    ] = "smollm2-135m-instruct",
    engine: Annotated[
        str | None,
        typer.Option("--engine", help="llamacpp, vllm, transformers or naive.", show_default="what fits the machine"),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Where to listen; 0.0.0.0 is all interfaces.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Where to listen.")] = _DEFAULT_PORT,
    requests: Annotated[int, typer.Option("--requests", help="Requests served at once; more wait.")] = 16,
    context: Annotated[int, typer.Option("--context", help="Longest input + output of a request, in tokens.")] = 2048,
    threads: Annotated[
        int | None, typer.Option("--threads", help="For computing, on a CPU.", show_default="all physical cores")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the engine; repeatable.", show_default=False),
    ] = None,
    restarts: Annotated[
        int | None, typer.Option("--restarts", help="Give up after so many restarts.", show_default="never")
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", help="Where the engine's log goes.", show_default="in the cache directory")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not stream the engine's log.")] = False,
    print_: Annotated[bool, typer.Option("--print", help="Print the command and stop.")] = False,
    as_json: given.AsJson = False,
) -> None:
    """Serve a model with an OpenAI-compatible API, and keep it running until Ctrl-C.

    Picks the engine for the weights and the machine (on GPUs also a number format that they have, and the fewest that
    hold the requests), prints the command that it runs, waits until it answers, streams its log, and starts it again
    when it dies, after 1, 2, 4, ... at most 60 seconds. No process of the engine outlives this one, however it ends.
    """
    from rackrate.cli.output import print_json, print_text, say
    from rackrate.engines.supervise import OutOfMemoryAtStartError
    from rackrate.errors import EngineError

    for name, value in (("--requests", requests), ("--context", context)):
        if value < 1:
            raise EngineError(f"{name} must be at least 1, got {value}")
    name, why, command, weights = _command(model, engine, host, port, requests, context, threads, set_ or [])
    facts = {
        "schema": SCHEMA,
        "engine": name,
        "why": why,
        "version": command.version,
        "model": command.served_name,
        "url": command.url,
        "weights": weights.argument,
        "weight_format": weights.weight_format,
        "settings": dict(command.settings),
        "environment": dict(command.environment),
        "argv": list(command.argv),
    }
    if print_:
        if as_json:
            print_json(facts)
        else:
            print_text(command.shell + "\n")
        return
    say(f"{command.name}: {why}")
    say(f"$ {command.shell}")
    try:
        _run(command, _log_file(log, command), restarts, quiet=quiet, facts=facts if as_json else None)
    except OutOfMemoryAtStartError as error:
        from rackrate.cli.serving_memory import what_would_fit

        advice = what_would_fit(weights.argument, requests=requests, context=context)
        raise EngineError(f"{error}\n{advice}") from None


def _command(
    model: str,
    engine: str | None,
    host: str,
    port: int,
    requests: int,
    context: int,
    threads: int | None,
    said: list[str],
) -> tuple[str, str, EngineCommand, Any]:
    from rackrate.cli.output import say
    from rackrate.cli.serving_gpus import settings_on_gpus
    from rackrate.engines.choose import choose
    from rackrate.engines.known import launcher
    from rackrate.engines.settings import LaunchOptions, read_settings
    from rackrate.engines.vllm import on_gpu

    if engine is not None:
        name, why = engine.lower(), "as asked for"
    else:
        name, why = choose(model, gpu=on_gpu(), ready=lambda name: launcher(name).is_ready())
    started = launcher(name)
    settings = read_settings(name, started.settings, said)
    weights = started.find(model, say, install=False)
    fitted = settings_on_gpus(name, weights.argument, requests, context, settings)
    why = "; ".join([why, *fitted.notes])
    wanted = LaunchOptions(
        slots=requests, context_tokens=context, threads=threads, host=host, port=port, settings=fitted.settings
    )
    command = started.command(weights, weights.model or weights.hub_id or weights.path.stem, wanted)
    return name, why, command, weights


def _log_file(stated: Path | None, command: EngineCommand) -> Path:
    from rackrate.engines.install import cache_directory

    return stated or cache_directory() / "logs" / f"serve-{command.port}.log"


def _run(command: EngineCommand, log: Path, restarts: int | None, *, quiet: bool, facts: dict[str, Any] | None) -> None:
    from rackrate.cli.output import print_json, say
    from rackrate.cli.progress import waiting
    from rackrate.engines.supervise import Supervisor, follow
    from rackrate.report.format import clock

    with contextlib.ExitStack() as start:
        tick = start.enter_context(waiting(f"starting {command.name}"))

        def ready(took_s: float) -> None:
            start.close()  # the spinner
            say(f"{command.served_name} is served at {command.url}/v1 (ready after {clock(took_s)}; log: {log})")
            if facts is not None:
                print_json({**facts, "ready_s": took_s, "log": str(log)})

        supervisor = Supervisor(command, log, say, tick, ready, restarts)

        def stop(_number: int, _frame: object) -> None:
            supervisor.stopping.set()

        previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        done = threading.Event()
        follower: threading.Thread | None = None
        if not quiet:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_bytes(b"")  # what an earlier one wrote is not shown again
            follower = follow(log, lambda line: print(f"  {line}", file=sys.stderr, flush=True), done)
        try:
            supervisor.run()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            done.set()
            if follower is not None:
                follower.join(2)
    say(f"{command.name} was stopped")
