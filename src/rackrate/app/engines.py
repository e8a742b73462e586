"""Which engines there are, and making one ready."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from rackrate.app.request_json import Request

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.engines.settings import Setting
    from rackrate.engines.spec import EngineSpec


@dataclass(frozen=True)
class EngineState:
    """An engine, and whether it can be used here."""

    spec: EngineSpec
    state: Literal["ready", "not installed", "by URL"]


@dataclass(frozen=True)
class InstallEngineRequest(Request):
    """Which engine to make ready."""

    NAME: ClassVar[str] = "install-engine"

    engine: str


@dataclass(frozen=True)
class InstalledEngine:
    """An engine that can be started, with weights for it."""

    spec: EngineSpec
    model: str
    """The embedded model, in the form that it serves."""
    seconds: float


def list_engines() -> tuple[EngineState, ...]:
    """The engines that can be measured."""
    from rackrate.engines.known import ENGINES

    return tuple(EngineState(spec, _state(spec)) for spec in ENGINES if spec.needs)


def _state(spec: EngineSpec) -> Literal["ready", "not installed", "by URL"]:
    if spec.launch is None:
        return "by URL"
    return "ready" if spec.launch.is_ready() else "not installed"


def settings_of_engine(engine: str) -> tuple[Setting, ...]:
    """What can be set on an engine. Raises EngineError where rackrate does not start it."""
    from rackrate.engines.known import launcher

    return launcher(engine).settings


def install_engine(request: InstallEngineRequest, context: Context) -> InstalledEngine:
    """Makes an engine's environment, and fetches and converts the embedded weights for it.

    Raises:
        EngineError: rackrate does not start it, or it cannot be had for this machine.
    """
    from rackrate.engines.known import launcher, listed_engine
    from rackrate.engines.weights import EMBEDDED

    began = time.monotonic()
    launch, model = launcher(request.engine), EMBEDDED[0].model
    launch.install(context.notify.note)
    launch.find(model, context.notify.note)
    return InstalledEngine(listed_engine(request.engine), model, time.monotonic() - began)
