"""Thin names until every command calls `deliver`."""

from __future__ import annotations

from functools import partial

from rackrate.report.render import render

study_report = partial(render, to="html")
compare_report = partial(render, to="html")
