"""Documents as text: one module an output, listed in `FORMATS`.

Each module has `render(document) -> str`, `FULL` (whether it shows all that is known, or what fits a screen) and
`SUFFIXES` (of files that are written so). A new output is a module and a line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from rackrate.errors import UserError, did_you_mean
from rackrate.report.document import Document
from rackrate.report.present import present, view_of

FORMATS: dict[str, str] = {
    "html": "rackrate.report.render.html",
    "markdown": "rackrate.report.render.markdown",
    "json": "rackrate.report.render.json",
    "csv": "rackrate.report.render.csv",
    "terminal": "rackrate.report.render.terminal",
}
"""Outputs, and the module of each."""


def render(answer: object, to: str, **options: Any) -> str:
    """An answer, its plain values or its document, as text.

    Args:
        answer: what a use case gave, the plain values of it (with their `schema`), or a `Document`.
        to: one of FORMATS.
        options: of the answer's presenter.
    """
    output = _module(to)
    if hasattr(output, "render_view"):
        return str(output.render_view(answer if isinstance(answer, Document) else view_of(answer)))
    document = answer if isinstance(answer, Document) else present(answer, full=output.FULL, **options)
    return str(output.render(document))


def format_of(path: Path, allowed: Mapping[str, str] = FORMATS) -> str:
    """The output that a file's ending asks for. Raises UserError where there is none."""
    for name in allowed:
        if path.suffix.lower() in _module(name).SUFFIXES:
            return name
    endings = [suffix for name in allowed for suffix in _module(name).SUFFIXES[:1]]
    raise UserError(f"{path}: give a name that ends in {', '.join(endings[:-1])} or {endings[-1]}", field="out")


def format_named(name: str) -> str:
    """The output of that name or ending (`md`, `html`). Raises UserError where there is none."""
    for known in FORMATS:
        suffixes = _module(known).SUFFIXES
        if suffixes and (name.lower() == known or f".{name.lower()}" in suffixes):
            return known
    names = [_module(known).SUFFIXES[0].lstrip(".") for known in FORMATS if _module(known).SUFFIXES]
    raise UserError(f"{{format}} is one of {', '.join(names)}, not {name!r}{did_you_mean(name, names)}", field="format")


def _module(name: str) -> ModuleType:
    return import_module(FORMATS[name])
