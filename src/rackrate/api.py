"""The Python API: a function for each question, the same as the commands of their names.

    import rackrate

    pricing = rackrate.price("runs/gpu", offers=["aws/g4dn.12xlarge"], utilisation=0.3)
    pricing.machines[0].at_load.blended_usd       # USD per 1M tokens

Each takes a request of `rackrate.app` or the fields of it as keyword arguments, its subject first. Lists may be given
for tuples, a single value for a list of one, and numbers for specs (`tokens_per_month=2e9`). Each returns a typed
answer: SI units, tokens and USD; None is not known, never 0. Notebooks show answers as `rackrate` prints them.

All raise `rackrate.errors.UserError`, in a sentence, for what the user can mend, and `TypeError` for fields that a
request does not have. Notes go to the logger `rackrate`. The environment is read as the commands read it
(RACKRATE_CATALOG, RACKRATE_CACHE); a `context` takes its place.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args, get_origin

from rackrate import __version__
from rackrate.app.context import Context, Provenance
from rackrate.app.request_json import Request, from_json, hints_of
from rackrate.errors import did_you_mean

if TYPE_CHECKING:
    from rackrate.app.checking import FitRequest, Fits
    from rackrate.app.comparing import Compared, CompareRequest
    from rackrate.app.fleet_request import FleetRequest
    from rackrate.app.fleets import PricedFleet
    from rackrate.app.measuring.measurement import Measured
    from rackrate.app.measuring.request import MeasureRequest
    from rackrate.app.plan_request import PlanRequest
    from rackrate.app.planning import Planned
    from rackrate.app.pricing import PriceRequest
    from rackrate.app.runs import LoadedRun, LoadRequest
    from rackrate.app.simulate_request import SimulateRequest
    from rackrate.app.simulating import SimulatedRun
    from rackrate.app.studying import StudyRequest
    from rackrate.catalog.load import Catalog
    from rackrate.economics.pricing import Pricing
    from rackrate.studies.results import StudyResult

R = TypeVar("R", bound=Request)
A = TypeVar("A")

logger = logging.getLogger("rackrate")


def load(run: str | Path | LoadRequest, /, *, context: Context | None = None) -> LoadedRun:
    """A run with the metrics of each load: token/s, request/s, seconds; measured, simulated or imported.

    Raises:
        RunError: the directory holds no run that can be read.
    """
    from rackrate.app import runs

    return _shown(runs.load(_request(runs.LoadRequest, "run", run, {}), context or default_context()))


def price(run: str | Path | PriceRequest | None = None, /, *, context: Context | None = None, **fields: Any) -> Pricing:
    """USD per 1M tokens of a run, or of a stated `tokens_per_second`, on each machine and beside APIs.

    Every price has its source and date: offers of the catalogue, files of owned machines, genai-prices for APIs.

    Args:
        run: a run directory; or a request.
        context: the world; None: the user's.
        fields: of `PriceRequest`.

    Raises:
        RunError: the run cannot be read, or nothing was served.
        PriceError: a figure that is not the machine's capacity without `force`, another machine without `as_if`.
        CatalogError: an offer, model or API that is not known.
    """
    from rackrate.app import pricing

    return _shown(pricing.price(_request(pricing.PriceRequest, "run", run, fields), context or default_context()))


def compare(
    run: str | Path | CompareRequest | None = None, /, *, context: Context | None = None, **fields: Any
) -> Compared:
    """Machines and APIs ranked by USD per month for the same requests, with 80 % intervals (seeded draws).

    Args:
        run: a run directory; or a request.
        context: the world; None: the user's.
        fields: of `CompareRequest`.

    Raises:
        RunError, PriceError, CatalogError: as `price`; a volume, discount or ratio that cannot be.
    """
    from rackrate.app import comparing

    asked = _request(comparing.CompareRequest, "run", run, fields)
    return _shown(comparing.compare(asked, context or default_context()))


def plan(model: str | Path | PlanRequest, /, *, context: Context | None = None, **fields: Any) -> Planned:
    """Every way to serve a model at a `traffic` and SLO, ranked by USD per month, before anything is rented.

    Step times are predicted by coefficients that were fitted to published measurements (docs/validation.md says how
    far off they are), or by your own calibration. An empty ranking says why in `refusal`.

    Args:
        model: a catalogue name or hub id, or the path of a model's files; or a request.
        context: the world; None: the user's.
        fields: of `PlanRequest`; `traffic` must be given.

    Raises:
        UserError: a field that is wrong, or traffic that cannot be read.
    """
    from rackrate.app import planning
    from rackrate.app.plan_request import PlanRequest

    return _shown(planning.plan(_request(PlanRequest, "model", model, fields), context or default_context()))


def simulate(model: str | Path | SimulateRequest, /, *, context: Context | None = None, **fields: Any) -> SimulatedRun:
    """A run like a measured one, request by request: continuous batching at predicted step times.

    It is kept nowhere; `rackrate.runs.store.write_run` writes it. The step times are those of `plan`.

    Args:
        model: a catalogue name or hub id, or the path of a model's files; or a request.
        context: the world; None: the user's.
        fields: of `SimulateRequest`; `on` or `calibration` says where. Rates in request/s, lengths in tokens.

    Raises:
        UserError: options that do not go together, a model that does not fit, an SLO that nothing meets.
    """
    from rackrate.app import simulating
    from rackrate.app.simulate_request import SimulateRequest

    return _shown(simulating.simulate(_request(SimulateRequest, "model", model, fields), context or default_context()))


def fit(model: str | Path | FitRequest, /, *, context: Context | None = None, **fields: Any) -> Fits:
    """Whether a model fits machines, by how many bytes, and how many requests beside it; else what would fit.

    Weights, KV cache and working memory by the formulas of docs/fit.md.

    Args:
        model: a catalogue name or hub id, or the path of a model's files; or a request.
        context: the world; None: the user's.
        fields: of `FitRequest`; without `on`, every GPU of the catalogue.

    Raises:
        UserError: an unknown model, machine, format or engine, or ranks that are not those of the machine.
    """
    from rackrate.app import checking

    return _shown(checking.fits(_request(checking.FitRequest, "model", model, fields), context or default_context()))


def fleet(
    run: str | Path | FleetRequest | None = None, /, *, context: Context | None = None, **fields: Any
) -> PricedFleet:
    """What a fleet for a `traffic` costs, USD per month and per 1M tokens: fixed, following the load, or mixed.

    Args:
        run: a run of one replica; or a request. Without it, `capacity` or `models` says what replicas can do.
        context: the world; None: the user's.
        fields: of `FleetRequest`.

    Raises:
        RunError, PriceError: as `price`; a policy that cannot be.
        WorkloadError: no traffic, or traffic that cannot be.
    """
    from rackrate.app import fleets
    from rackrate.app.fleet_request import FleetRequest

    return _shown(fleets.price(_request(FleetRequest, "run", run, fields), context or default_context()))


def study(file: str | Path | StudyRequest, /, *, context: Context | None = None, **fields: Any) -> StudyResult:
    """A study's claims with their verdicts, and its questions with a ranking and 80 % intervals, in USD per month.

    Args:
        file: a study, as YAML; or a request.
        context: the world; None: the user's.
        fields: of `StudyRequest`.

    Raises:
        UserError: a mistake in the file (with file, line and column), or a date that is none.
    """
    from rackrate.app import studying

    asked = _request(studying.StudyRequest, "file", file, fields)
    return _shown(studying.evaluate(asked, context or default_context()))


def measure(url: str | MeasureRequest | None = None, /, *, context: Context | None = None, **fields: Any) -> Measured:
    """Loads a server by its URL, or an engine that is started here, and keeps a run. Waits until it is over.

    Args:
        url: `http://HOST:PORT`; or a request. Without it, `engines` names one engine.
        context: the world; None: the user's.
        fields: of `MeasureRequest`. Durations in seconds, rates in request/s, lengths in tokens.

    Raises:
        UserError: a request that cannot be, a server or engine that does not serve, a directory that holds a run.
    """
    import asyncio

    from rackrate.app.measuring.handle import start_one
    from rackrate.app.measuring.measurement import measure
    from rackrate.app.measuring.request import MeasureRequest

    asked, world = _request(MeasureRequest, "url", url, fields), context or default_context()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _shown(measure(asked, world))
    return _shown(
        start_one(asked, world).result()
    )  # a notebook's loop runs already: the measurement has one of its own


async def ameasure(
    url: str | MeasureRequest | None = None, /, *, context: Context | None = None, **fields: Any
) -> Measured:
    """As `measure`, beside what else the event loop does.

    Cancelling it ends the load and waits until what was measured is kept, as an interrupted run; cancelling it twice
    does not wait.

    Raises:
        UserError: as `measure`.
    """
    import asyncio

    from rackrate.app.measuring.handle import start_one
    from rackrate.app.measuring.request import MeasureRequest

    measurement = start_one(_request(MeasureRequest, "url", url, fields), context or default_context())
    ended = asyncio.ensure_future(asyncio.to_thread(measurement.result))
    try:
        return _shown(await asyncio.shield(ended))
    except asyncio.CancelledError:
        measurement.stop()
        await asyncio.wait([ended])
        ended.exception()  # was heard: the caller left
        raise


class Logged:
    """A listener that hands notes to the logger `rackrate`."""

    def note(self, text: str) -> None:
        """Logs a line."""
        logger.info("%s", text)

    def progress(self, what: str, done: float, of: float | None) -> None:
        """Shows nothing."""


def default_context() -> Context:
    """The user's catalogue and cache, the clock, and the logger `rackrate` as the listener."""
    from rackrate.engines.install import cache_directory

    return Context(
        read_catalog=_catalog,
        provenance=Provenance("rackrate.api", __version__, platform.python_version()),
        cache_dir=cache_directory(),
        notify=Logged(),
        secret=os.environ.get,
    )


def _catalog() -> Catalog:
    """As the commands read it: the user's files are laid over what ships."""
    import platformdirs

    from rackrate.catalog.load import load_user_catalog

    return load_user_catalog(platformdirs.user_config_path("rackrate"), os.environ.get("RACKRATE_CATALOG"))


def _request(kind: type[R], subject: str, first: object, fields: Mapping[str, Any]) -> R:
    """The request itself, or one of its subject and further fields.

    Raises:
        TypeError: a field that it does not have, another kind of request, or fields beside a request.
        UserError: a value that a field cannot have.
    """
    if isinstance(first, Request):
        if not isinstance(first, kind) or fields:
            raise TypeError(f"give a {kind.__name__}, or fields of it, not both or another request")
        return first
    known = [field.name for field in dataclasses.fields(kind)]
    unknown = next((name for name in fields if name not in known), None)
    if unknown is not None:
        raise TypeError(f"{kind.NAME}: there is no field {unknown!r}{did_you_mean(unknown, known)}")
    values = dict(fields) if first is None else {subject: first, **fields}
    hints = hints_of(kind)
    return from_json(kind, {name: _as_asked(value, hints[name]) for name, value in values.items()})


def _as_asked(value: object, hint: Any) -> object:
    """One value for a tuple of one, and a number or a path for its text.

    >>> _as_asked("aws/g5.xlarge", tuple[str, ...]), _as_asked(2e9, str | None), _as_asked(2, float)
    (('aws/g5.xlarge',), '2000000000.0', 2)
    """
    if get_origin(hint) is Annotated:
        return _as_asked(value, get_args(hint)[0])
    if get_origin(hint) is tuple:
        items = cast("list[object]", value) if isinstance(value, list | tuple) else [value]
        return tuple(_as_asked(item, get_args(hint)[0]) for item in items)
    kinds = {hint, *get_args(hint)}
    if str in kinds and isinstance(value, int | float | Path) and not kinds & {int, float, Path}:
        return str(value)
    return value


def _shown(answer: A) -> A:
    """The answer, which a notebook shows: use cases know no output, so that this shell gives their answers one."""
    kind = type(answer)
    if not hasattr(kind, "_repr_html_"):
        kind._repr_html_ = _page  # pyright: ignore[reportAttributeAccessIssue]
    return answer


def _page(answer: object) -> str:
    """A page in a frame of its own, so that neither its styles nor a notebook's touch the other."""
    import html

    from rackrate.report.present import present
    from rackrate.report.render import render

    page = html.escape(render(present(answer), "html"))
    return f'<iframe srcdoc="{page}" style="width: 100%; height: 36em; border: 0"></iframe>'
