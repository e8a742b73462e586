"""Thin names until every command calls `deliver`."""

from __future__ import annotations

from typing import Any

from rackrate.report.render import render


def plan_report(view: dict[str, Any], explanation: list[dict[str, Any]]) -> str:
    """A plan's page."""
    return render(view, "html", explanation=explanation)
