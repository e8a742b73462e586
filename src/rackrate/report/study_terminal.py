"""Thin names until every command calls `deliver`."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType

from rackrate.report.present import present
from rackrate.report.render.terminal import renderable


def tables(view: dict[str, Any], **options: Any) -> RenderableType:
    """The view, on a screen."""
    return renderable(present(view, **options))


study_tables = compare_tables = diff_tables = tables
