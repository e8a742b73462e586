"""What recorded requests are like, as plain JSON-able values."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rackrate.app.traces import DescribedTrace

SCHEMA = "rackrate.trace-summary/1"

Json = dict[str, Any]


def trace_view(found: DescribedTrace) -> Json:
    """What `--json` prints."""
    return {
        "schema": SCHEMA,
        "origin": "recorded",
        "file": str(found.file),
        "layout": found.layout,
        **asdict(found.summary),
    }
