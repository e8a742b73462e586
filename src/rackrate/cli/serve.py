"""rackrate serve: an engine for a model at one URL, kept running."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.app.serving import Launchable, ServeRequest


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
    port: Annotated[int, typer.Option("--port", help="Where to listen.")] = 8000,
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
    api_key_env: Annotated[
        str | None,
        typer.Option(
            "--api-key-env", help="Ask for the API key that this variable holds.", show_default="no key is asked for"
        ),
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
    from rackrate.app.serving import ServeRequest, prepare
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import print_text, say
    from rackrate.report.render import render

    request = ServeRequest(
        model=model, engine=engine, host=host, port=port, requests=requests, context_tokens=context, threads=threads,
        settings=tuple(set_ or ()), restarts=restarts, log=log, api_key_env=api_key_env,
    )  # fmt: skip
    launchable = prepare(request, shell_context())
    if print_ and as_json:
        print_text(render(launchable, "json"))
    elif print_:
        print_text(launchable.command.shell + "\n")
    else:
        say(f"{launchable.command.name}: {launchable.why}")
        say(f"$ {launchable.command.shell}")
        _run(launchable, request, quiet=quiet, as_json=as_json)
        say(f"{launchable.command.name} was stopped")


def _run(launchable: Launchable, request: ServeRequest, *, quiet: bool, as_json: bool) -> None:
    """Serves until Ctrl-C or SIGTERM."""
    from rackrate.app.serving import Server
    from rackrate.cli.output import print_text, say
    from rackrate.cli.waiting import spinning
    from rackrate.report.checks_view import serve_view
    from rackrate.report.format import clock
    from rackrate.report.render import render

    command, log = launchable.command, launchable.log
    with spinning() as context:

        def ready(took_s: float) -> None:
            served = f"{command.served_name} is served at {command.url}/v1"
            context.notify.note(f"{served} (ready after {clock(took_s)}; log: {log})")
            if as_json:
                print_text(render(serve_view(launchable, took_s), "json"))

        server = Server(launchable, request, context, ready)

        def stop(_number: int, _frame: object) -> None:
            server.stop()

        previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        end = (lambda: None) if quiet else server.follow_log(lambda line: say(f"  {line}"))
        try:
            server.run()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            end()
