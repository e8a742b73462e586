"""Thin names that `measure` calls, until it ends in `deliver`."""

from __future__ import annotations

from rackrate.report.terminal import run_tables

comparison_tables = run_tables
