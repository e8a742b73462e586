"""What this machine has, what is missing, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.runs.records import Machine


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for."""

    what: str
    state: Literal["ok", "missing", "none"]
    found: str = ""
    todo: str = ""
    """Names of fields are in braces, as in a UserError's message."""
    install: str | None = None
    """The engine that is to be installed."""


def examine(context: Context) -> tuple[Finding, ...]:
    """Everything that measuring and pricing on this machine hang on."""
    from rackrate.measurement.host import detect_machine

    machine = detect_machine(context.catalog)
    return (*_machine(machine, context), *_engines(), *_tools(context), *_prices(context))


def _machine(machine: Machine, context: Context) -> Iterator[Finding]:
    from rackrate.economics.hardware import describe, nearest_offers

    yield Finding("rackrate", "ok", f"{context.provenance.version}, Python {context.provenance.python_version}")
    virtual = ", virtual" if machine.virtual else ""
    yield Finding("machine", "ok", f"{describe(machine)}; {machine.system}{virtual}")
    if machine.cpu_architecture is None and not machine.gpus:
        yield Finding("CPU type", "missing", "not recognised", "name the machine with {on} OFFER when measuring")
    if machine.gpus:
        unknown = [gpu.name for gpu in machine.gpus if gpu.accelerator is None]
        todo = f"add {unknown[0]!r} to your own accelerators.yaml" if unknown else ""
        found = ", ".join(f"{gpu.count} x {gpu.name}" for gpu in machine.gpus)
        yield Finding("GPU", "missing" if unknown else "ok", found, todo)
    else:
        yield Finding("GPU", "none", "none found (nvidia-smi, rocm-smi)", "engines run on the CPU")
    nearest = nearest_offers(machine, context.catalog)
    yield Finding("nearest offers", "ok" if nearest else "missing", ", ".join(offer.id for offer in nearest))


def _engines() -> Iterator[Finding]:
    """The embedded engine and its weights."""
    from rackrate.engines import llamacpp
    from rackrate.engines.install import is_installed
    from rackrate.engines.weights import EMBEDDED

    if is_installed(llamacpp.NAME):
        yield Finding(llamacpp.TITLE, "ok", f"xllamacpp {llamacpp.version()}")
    else:
        yield Finding(llamacpp.TITLE, "missing", install=llamacpp.NAME)
    for weights in EMBEDDED:
        what = f"weights {weights.model}"
        if weights.path.exists():
            yield Finding(what, "ok", str(weights.path))
        else:
            yield Finding(what, "missing", install=llamacpp.NAME)


def _tools(context: Context) -> Iterator[Finding]:
    import shutil

    from rackrate.units import GIB

    uv = shutil.which("uv")
    yield (
        Finding("uv", "ok", uv)
        if uv
        else Finding("uv", "none", "not on PATH", "engines are installed with pip instead")
    )
    free = shutil.disk_usage(_existing(context.cache_dir)).free
    todo = "" if free > GIB else "set RACKRATE_CACHE to a larger disk"
    found = f"{free / GIB:.0f} GiB free at {context.cache_dir}"
    yield Finding("disk for engines", "missing" if todo else "ok", found, todo)


def _prices(context: Context) -> Iterator[Finding]:
    from rackrate.catalog.apis import price_list_origin
    from rackrate.catalog.types import ages

    catalog = context.catalog
    name, released = price_list_origin()
    yield Finding("API prices", "ok", f"{name}, released {released}")
    oldest, median, newest = ages(offer.price.date for offer in catalog.offers.values())
    yield Finding(
        "catalogue", "ok",
        f"{len(catalog.models)} models, {len(catalog.accelerators)} accelerators, {len(catalog.offers)} offers "
        f"(prices of {oldest} to {newest}, median {median})",
    )  # fmt: skip
    for path in catalog.overlays:
        yield Finding("your catalogue", "ok", str(path))


def _existing(path: Path) -> Path:
    """The nearest directory above that exists."""
    while not path.exists():
        path = path.parent
    return path
