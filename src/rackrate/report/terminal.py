"""Thin names that `measure` calls, until it ends in `deliver`."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType

from rackrate.report.present import present
from rackrate.report.render.terminal import renderable


def run_tables(view: dict[str, Any]) -> RenderableType:
    """The view, on a screen."""
    return renderable(present(view))
