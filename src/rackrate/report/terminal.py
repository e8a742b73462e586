"""Thin names of what is now in `render.terminal`, until every command calls `deliver`."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType

from rackrate.report.present import present
from rackrate.report.render.terminal import renderable


def run_tables(view: dict[str, Any]) -> RenderableType:
    """A run."""
    return renderable(present(view))


def pricing_tables(view: dict[str, Any], *, sources: bool = False, api_rows: int | None = 8) -> RenderableType:
    """A price."""
    return renderable(present(view, sources=sources, all_apis=api_rows is None))
