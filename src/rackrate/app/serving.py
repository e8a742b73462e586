"""Serve a model: the engine for the weights and the machine, its settings, and keeping it running."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rackrate import bounds
from rackrate.app.request_json import Request
from rackrate.errors import EngineError

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.engines.process import EngineCommand
    from rackrate.engines.spec import Launch
    from rackrate.engines.weights import Weights


@dataclass(frozen=True)
class ServeRequest(Request):
    """What to serve, and how."""

    NAME: ClassVar[str] = "serve"

    model: str
    """An embedded model, a GGUF file (MODEL:Q4_0 rewrites it), a directory of safetensors, or a hub id."""
    engine: str | None = None
    """None: what fits the weights and the machine."""
    host: str = "127.0.0.1"
    port: bounds.Port = 8000
    requests: bounds.Concurrency = 16
    """Served at once; more wait."""
    context_tokens: bounds.Tokens = 2048
    """Longest input + output of a request. [token]"""
    threads: bounds.Threads | None = None
    """For computing, on a CPU; None: all physical cores."""
    settings: tuple[str, ...] = ()
    """NAME=VALUE of settings of the engine."""
    restarts: bounds.CountFrom0 | None = None
    """After so many restarts it gives up; None: never."""
    log: Path | None = None
    """Where the engine's log goes; None: in the cache directory."""
    api_key_env: str | None = None
    """The name of the variable with the API key that the engine asks for, never the key; None: it asks for none."""


@dataclass(frozen=True)
class Launchable:
    """An engine ready to be started."""

    engine: str
    why: str
    """Why this engine, with these settings."""
    command: EngineCommand
    weights: Weights
    log: Path


def prepare(request: ServeRequest, context: Context) -> Launchable:
    """Chooses the engine, finds the weights, and settles the settings; on GPUs also a format and how many of them.

    Raises:
        EngineError: nothing installed serves such weights, or they do not fit; no such setting.
    """
    from rackrate.engines.choose import choose
    from rackrate.engines.known import launcher
    from rackrate.engines.settings import LaunchOptions, read_settings
    from rackrate.engines.vllm import on_gpu
    from rackrate.memory.gpus_here import settings_on_gpus

    if request.engine is not None:
        engine, why = request.engine.lower(), "as asked for"
    else:
        engine, why = choose(request.model, gpu=on_gpu(), ready=lambda name: launcher(name).is_ready())
    launch = launcher(engine)
    key = _key(request, engine, launch, context)
    settings = read_settings(engine, launch.settings, request.settings)
    weights = launch.find(request.model, context.notify.note, install=False)
    fitted = settings_on_gpus(
        engine, weights.argument, request.requests, request.context_tokens, settings, context.catalog
    )
    options = LaunchOptions(
        slots=request.requests, context_tokens=request.context_tokens, threads=request.threads, host=request.host,
        port=request.port, settings=fitted.settings, key=key,
    )  # fmt: skip
    command = launch.command(weights, weights.model or weights.hub_id or weights.path.stem, options)
    log = request.log or context.cache_dir / "logs" / f"serve-{command.port}.log"
    return Launchable(engine, "; ".join([why, *fitted.notes]), command, weights, log)


def _key(request: ServeRequest, engine: str, launch: Launch, context: Context) -> str | None:
    """The key to ask for. Says so where others could use the model without one. Raises EngineError, EndpointError."""
    from rackrate.app.measuring.measurement import api_key
    from rackrate.engines.known import names_that_take_keys
    from rackrate.measurement.target import Target

    if request.api_key_env is None:
        if not Target("http", request.host, request.port, "").is_loopback:
            context.notify.note(
                f"anyone who reaches {request.host}:{request.port} can use the model and read /metrics: no API key is "
                f"asked for ({context.name_field('api_key_env')} NAME asks for the one in that variable)"
            )
        return None
    if not launch.takes_key:
        raise EngineError(
            f"{engine} takes an API key in its command alone, where every user of the machine sees it: listen on "
            f"127.0.0.1 behind a proxy that asks for the key, or serve with {' or '.join(names_that_take_keys())}"
        )
    return api_key(request.api_key_env, context, field="api_key_env")


class Server:
    """A model that is served until someone stops it: `run` in one thread, `stop` from another or a signal handler."""

    def __init__(
        self, launchable: Launchable, request: ServeRequest, context: Context,
        on_ready: Callable[[float], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """on_ready is called whenever the engine answers, with the seconds that its start took."""
        from rackrate.engines.supervise import Supervisor

        self._launchable, self._request, self._context = launchable, request, context
        what = f"starting {launchable.command.name}"
        self._supervisor = Supervisor(
            launchable.command, launchable.log, context.notify.note,
            lambda waited_s: context.notify.progress(what, waited_s, None), on_ready, request.restarts,
        )  # fmt: skip

    def run(self) -> None:
        """Starts the engine, and again when it dies, after 1, 2, 4, ... at most 60 seconds; returns once stopped.

        No process of the engine outlives this one, however it ends.

        Raises:
            EngineError: it never was ready (of want of memory: with what would fit), or died more often than allowed.
        """
        from rackrate.engines.supervise import OutOfMemoryAtStartError
        from rackrate.memory.what_would_fit import FIELDS, what_would_fit

        try:
            self._supervisor.run()
        except OutOfMemoryAtStartError as error:
            advice = what_would_fit(
                self._launchable.weights.argument, requests=self._request.requests,
                context_tokens=self._request.context_tokens, catalog=self._context.catalog,
            )  # fmt: skip
            raise EngineError(f"{error}\n{advice}", fields=FIELDS) from None

    def stop(self) -> None:
        """Asks it to end; `run` returns once it has."""
        self._supervisor.stopping.set()

    def follow_log(self, show: Callable[[str], None]) -> Callable[[], None]:
        """Shows the lines of the engine's log as they come; the function that is returned ends that."""
        from rackrate.engines.process import open_log
        from rackrate.engines.supervise import follow

        log, done = self._launchable.log, threading.Event()
        open_log(log).close()  # what an earlier one wrote is not shown again
        follower = follow(log, show, done)

        def end() -> None:
            done.set()
            follower.join(2)

        return end
