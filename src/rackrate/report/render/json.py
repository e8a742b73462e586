"""An answer's plain values as JSON. What is not finite becomes null, since JSON has no such number."""

from __future__ import annotations

import dataclasses
from typing import Any

from rackrate.report.document import Document

FULL = True
SUFFIXES = (".json",)


def render_view(view: Any) -> str:
    """Plain values (or a document), indented."""
    import orjson

    values = dataclasses.asdict(view) if isinstance(view, Document) else view
    return orjson.dumps(values, option=orjson.OPT_INDENT_2, default=str).decode() + "\n"
