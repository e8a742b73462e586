"""An answer's plain values as JSON. What is not finite becomes null, since JSON has no such number."""

from __future__ import annotations

from typing import Any

from rackrate.report.document import Chart, Document
from rackrate.schemas.root import plain

FULL = True
SUFFIXES = (".json",)


def render_view(view: Any) -> str:
    """A view (or a document), indented."""
    import orjson

    options = orjson.OPT_INDENT_2 | (orjson.OPT_PASSTHROUGH_DATACLASS if isinstance(view, Document) else 0)
    return (
        orjson.dumps(view if isinstance(view, Document) else plain(view), option=options, default=_plain).decode()
        + "\n"
    )


def _plain(value: object) -> object:
    if isinstance(value, Chart):
        return {"name": value.name, "caption": value.caption, "vega_lite": value.spec()}
    return vars(value) if hasattr(value, "__dict__") else str(value)
