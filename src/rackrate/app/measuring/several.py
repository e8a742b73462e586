"""Measure several engines in turn with the same load, and set them side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate.app.measuring.measurement import job_of, settings_for
from rackrate.app.measuring.request import MeasureRequest, check
from rackrate.app.measuring.started import remember
from rackrate.app.request_json import to_json
from rackrate.errors import EngineError, RunError, UserError
from rackrate.files.writing import write_whole

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.app.side_by_side import SideBySide
    from rackrate.measurement.stop import Stop
    from rackrate.measurement.watching import Watch

REQUEST_FILE = "request.json"
"""What a comparison of engines was asked for, to resume it."""
SCHEMA = "rackrate.comparison-request/1"


@dataclass(frozen=True)
class EnginesMeasured:
    """Runs of engines side by side."""

    directory: Path
    compared: SideBySide
    complete: bool
    """Whether every engine was measured to its end."""


def measure_engines(
    request: MeasureRequest,
    context: Context,
    *,
    watch: Watch | None = None,
    stop: Stop | None = None,
    continued: bool = False,
) -> EnginesMeasured:
    """Measures one engine after the other into the directory, and compares what could be measured.

    An engine that cannot be measured is named, and the others go on. A stop compares what there is.

    Raises:
        EngineError: an engine is named twice, has no such setting, or none could be measured.
        RunError: the directory holds a comparison, and it is not resumed.
    """
    from rackrate.runs.directories import fresh_directory, lock_run

    check(request)
    engines = list(request.engines)
    if len(set(engines)) < len(engines):
        raise EngineError(
            "an engine is named twice; measure its variants apart, and set the runs side by side", field="engines"
        )
    for engine in engines:  # a wrong setting is said before any starts
        settings_for(engine, request.settings, engines)
    directory = request.out or fresh_directory(request.model or "model", context.clock())
    with lock_run(directory):
        if not continued:
            _begin(request, directory, context)
        return _measure_all(request, directory, context, watch, stop)


def _measure_all(
    request: MeasureRequest, directory: Path, context: Context, watch: Watch | None, stop: Stop | None
) -> EnginesMeasured:
    from rackrate.app.side_by_side import SideBySideRequest, side_by_side
    from rackrate.runs.store import HEADER

    engines = list(request.engines)
    done: list[Path] = []
    failures: list[tuple[str, str]] = []
    for number, engine in enumerate(engines, start=1):
        context.notify.note(f"\n{engine} ({number} of {len(engines)})")
        place = directory / engine
        try:
            _measure_one(replace(request, engines=(engine,), out=place, port=None), engines, context, watch, stop)
        except KeyboardInterrupt:
            break
        except UserError as error:
            said = error.named(context.name_field)
            failures.append((engine, said.splitlines()[0]))
            context.notify.note(f"{engine}: {said}")
        if (place / HEADER).exists():
            done.append(place)
            if _state(place) == "interrupted":
                break
    if not done:
        raise EngineError(f"no engine could be measured: {'; '.join(why for _, why in failures) or 'stopped'}")
    compared = side_by_side(SideBySideRequest(tuple(done)), context, failures)
    return EnginesMeasured(directory, compared, all(_state(directory / engine) == "complete" for engine in engines))


def _begin(request: MeasureRequest, directory: Path, context: Context) -> None:
    from rackrate.runs.store import HEADER

    if any((directory / engine / HEADER).exists() for engine in request.engines):
        raise RunError(
            f"{directory} already holds a comparison; resume it ({{resume}} {directory}), or give {{out}} another "
            "directory",
            fields=("resume", "out"),
        )
    asked = to_json(replace(request, out=None))
    path = directory / REQUEST_FILE
    try:
        write_whole(path, json.dumps({"schema": SCHEMA, "request": asked}, indent=2) + "\n", private=True)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror or error})") from None
    remember(directory, asked, context)


def _measure_one(
    request: MeasureRequest, engines: list[str], context: Context, watch: Watch | None, stop: Stop | None
) -> None:
    from rackrate.runs.store import HEADER, read_run

    place = request.out
    assert place is not None  # noqa: S101 - the caller says where
    if place.is_symlink():
        raise RunError(f"{place}: is a link, and nothing is measured into what it leads to; remove it")
    known = read_run(place) if (place / HEADER).exists() else None
    if known is not None and known.header.state == "complete":
        context.notify.note("measured before")
        return
    (engine,) = request.engines
    settings = settings_for(engine, request.settings, engines)
    job_of(request, context, watch=watch, stop=stop, continued=known).measure_engine(
        engine, request.threads, None, settings
    )


def _state(directory: Path) -> str | None:
    """How the run in a directory ended; None where there is none."""
    from rackrate.runs.store import HEADER, read_run

    return read_run(directory).header.state if (directory / HEADER).exists() else None
