"""Thin names until every command calls `deliver`."""

from __future__ import annotations

from rackrate.report.study_terminal import tables

aggregate_tables = tables
