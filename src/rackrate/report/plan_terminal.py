"""Thin names until every command calls `deliver`."""

from __future__ import annotations

from typing import Any

from rich.console import Group

from rackrate.report.study_terminal import tables

plan_tables = tables


def explanation_table(*_: Any) -> Group:
    """Nothing: the plan's own document has it."""
    return Group()
