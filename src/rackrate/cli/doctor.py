"""rackrate doctor: what this machine has, and what is missing."""

from __future__ import annotations

from pathlib import Path

from rackrate.cli import options as given


def doctor(as_json: given.AsJson = False) -> None:
    """Say what this machine has, what is missing, and what to do about it."""
    from rackrate.cli.output import print_json, show

    rows = _rows()
    if as_json:
        print_json([{"what": what, "state": state, "found": found, "do": todo} for what, state, found, todo in rows])
        return
    from rich.text import Text

    from rackrate.report.tables import plain_table

    styles = {"ok": "green", "missing": "yellow", "none": "dim"}
    table = plain_table("", "state", "found", "what to do", left=["", "state", "found", "what to do"])
    for what, state, found, todo in rows:
        table.add_row(what, Text(state, style=styles[state]), found, todo)
    show(table)


def _rows() -> list[tuple[str, str, str, str]]:
    """(what, ok | missing | none, what was found, what to do)."""
    import platform
    import shutil

    from rackrate import __version__
    from rackrate.catalog.apis import price_list_origin
    from rackrate.catalog.load import load_catalog
    from rackrate.economics.hardware import describe, nearest_offers
    from rackrate.engines import llamacpp
    from rackrate.engines.install import cache_directory, is_installed
    from rackrate.engines.weights import EMBEDDED
    from rackrate.measure.host import detect_machine
    from rackrate.units import GIB

    catalog = load_catalog()
    machine = detect_machine(catalog)
    rows = [
        ("rackrate", "ok", f"{__version__}, Python {platform.python_version()}", ""),
        ("machine", "ok", f"{describe(machine)}; {machine.system}{', virtual' if machine.virtual else ''}", ""),
    ]
    if machine.cpu_architecture is None and not machine.gpus:
        rows.append(("CPU type", "missing", "not recognised", "name the machine with --on OFFER when measuring"))
    if machine.gpus:
        unknown = [gpu.name for gpu in machine.gpus if gpu.accelerator is None]
        todo = f"add {unknown[0]!r} to your own accelerators.yaml" if unknown else ""
        rows.append(
            ("GPU", "missing" if unknown else "ok", ", ".join(f"{g.count} x {g.name}" for g in machine.gpus), todo)
        )
    else:
        rows.append(("GPU", "none", "none found (nvidia-smi, rocm-smi)", "engines run on the CPU"))
    nearest = nearest_offers(machine, catalog.offers.values())
    rows.append(("nearest offers", "ok" if nearest else "missing", ", ".join(offer.id for offer in nearest), ""))
    installed = is_installed(llamacpp.NAME)
    rows.append(
        (
            "llama.cpp",
            "ok" if installed else "missing",
            f"xllamacpp {llamacpp.version()}" if installed else "",
            "" if installed else "rackrate engines install llamacpp",
        )
    )
    for weights in EMBEDDED:
        there = weights.path.exists()
        rows.append(
            (
                f"weights {weights.model}",
                "ok" if there else "missing",
                str(weights.path) if there else "",
                "" if there else "rackrate engines install llamacpp",
            )
        )
    uv = shutil.which("uv")
    rows.append(
        ("uv", "ok" if uv else "none", uv or "not on PATH", "" if uv else "engines are installed with pip instead")
    )
    free = shutil.disk_usage(_existing(cache_directory())).free
    rows.append(
        (
            "disk for engines",
            "ok" if free > GIB else "missing",
            f"{free / GIB:.0f} GiB free at {cache_directory()}",
            "" if free > GIB else "set RACKRATE_CACHE to a larger disk",
        )
    )
    name, released = price_list_origin()
    rows.append(("API prices", "ok", f"{name}, released {released}", ""))
    newest = max(offer.price.date for offer in catalog.offers.values())
    rows.append(
        (
            "catalogue",
            "ok",
            f"{len(catalog.models)} models, {len(catalog.accelerators)} accelerators, {len(catalog.offers)} offers "
            f"(newest price {newest})",
            "",
        )
    )
    rows += [("your catalogue", "ok", str(path), "") for path in catalog.overlays]
    return rows


def _existing(path: Path) -> Path:
    """The nearest directory above that exists."""
    while not path.exists():
        path = path.parent
    return path
