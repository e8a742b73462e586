"""Thin names until every command calls `deliver`."""

from __future__ import annotations

from functools import partial

from rackrate.report.render import render
from rackrate.report.study_terminal import tables

comparison_tables = tables
comparison_html = partial(render, to="html")
comparison_markdown = partial(render, to="markdown")
