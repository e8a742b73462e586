"""Measure one server or engine, and wait until it is over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate.app.measuring.request import MeasureRequest, check, timeouts_of
from rackrate.errors import EndpointError, EngineError, RunError
from rackrate.files import is_there
from rackrate.measurement.watching import Follower, Watch

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.app.measuring.job import Job
    from rackrate.engines.settings import Settings
    from rackrate.measurement.plan import SweepPlan
    from rackrate.measurement.stop import Stop
    from rackrate.measurement.watching import Meter
    from rackrate.runs.records import Run


@dataclass(frozen=True)
class Measured:
    """A run as it was kept, complete or not (`run.header.state`)."""

    directory: Path
    run: Run


def measure(
    request: MeasureRequest,
    context: Context,
    *,
    watch: Watch | None = None,
    stop: Stop | None = None,
    continued: Run | None = None,
) -> Measured:
    """Loads a server, or one engine, and keeps every request in a run directory. Waits until it is over.

    Args:
        request: of one URL or one engine; several engines are `several.measure_engines`.
        context: whose listener hears what is waited for.
        watch: makes the display of the levels; None: nobody looks.
        stop: asks it to end; what was measured is kept.
        continued: the run in `request.out` that is resumed (`resume`).

    Raises:
        EndpointError, EngineError, WorkloadError, RunError: a request that cannot be, a server or engine that does not
            serve, a directory that holds a run.
    """
    job = job_of(request, context, watch=watch, stop=stop, continued=continued)
    if request.url is not None:
        from rackrate.measurement.target import parse_url

        target = parse_url(request.url)
        target.refuse_key_in_clear(job.key, allowed=request.allow_plain_http)
        return Measured(job.directory, job.measure_url(target))
    if len(request.engines) != 1:
        raise EngineError("{engines} names several: measure one, or all in turn", field="engines")
    (engine,) = request.engines
    settings = settings_for(engine, request.settings, [engine])
    return Measured(job.directory, job.measure_engine(engine, request.threads, request.port, settings))


def job_of(
    request: MeasureRequest,
    context: Context,
    *,
    watch: Watch | None = None,
    stop: Stop | None = None,
    continued: Run | None = None,
) -> Job:
    """The work that a request comes to; everything that is wrong with it is said here. Raises UserError."""
    from rackrate.app.measuring.job import Job
    from rackrate.app.measuring.load_shape import load_shape, plan_of
    from rackrate.measurement.stop import Stop
    from rackrate.runs.directories import fresh_directory

    check(request)
    timeouts = timeouts_of(request)
    load = load_shape(request)
    plan = plan_of(request, load)
    directory = request.out or fresh_directory(request.model or "model", context.clock())
    if continued is None and _holds_run(directory):
        raise RunError(f"{directory} already holds a run; give {{out}} another directory, or remove it", field="out")
    key = api_key(request.key_env, context)
    stated = context.catalog.offer(request.on) if request.on else None
    return Job(
        context, watch or _unwatched, stop or Stop(), request, load.workload, plan, timeouts, key, directory,
        request.model, stated, request.processes, request.ray, continued,
    )  # fmt: skip


def _unwatched(plan: SweepPlan, meter: Meter | None) -> Follower:
    del plan, meter
    return Follower()


def api_key(name: str, context: Context, *, field: str = "key_env") -> str | None:
    """The API key in a variable, which `field` names; None where that is `measure`'s own, and not set.

    Raises:
        EndpointError: a variable that was named is not set, or holds no key.
    """
    from rackrate.app.measuring.request import DEFAULT_KEY

    key = context.secret(name) or None
    if key is None and (field != "key_env" or name != DEFAULT_KEY):
        raise EndpointError(f"{{{field}}} names {name}, which is not set", field=field)
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise EndpointError(f"the key in {name} has characters that no key has (a space or a line break?)")
    return key


def settings_for(engine: str, assignments: tuple[str, ...], engines: list[str]) -> Settings:
    """What was set for one of the engines: NAME=VALUE for all, ENGINE.NAME=VALUE for that one. Raises EngineError."""
    from rackrate.engines.known import launcher
    from rackrate.engines.settings import read_settings

    own: list[str] = []
    for text in assignments:
        whose, dot, rest = text.partition("=")[0].partition(".")
        if dot and whose in engines:
            if whose == engine:
                own.append(f"{rest}={text.partition('=')[2]}")
        else:
            own.append(text)
    return read_settings(engine, launcher(engine).settings, own)


def _holds_run(directory: Path) -> bool:
    """Whether there is a run in it. What reads runs takes long to import, and a new directory has none."""
    if not is_there(directory):
        return False
    from rackrate.runs.store import HEADER

    return is_there(directory / HEADER)
