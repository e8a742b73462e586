"""An answer's plain values as JSON. What is not finite becomes null, since JSON has no such number."""

from __future__ import annotations

import json
import re
from typing import Any

from rackrate.report.document import Chart, Document
from rackrate.schemas.root import plain

FULL = True
SUFFIXES = (".json",)


def render_view(view: Any) -> str:
    """A view (or a document), indented."""
    import orjson

    options = orjson.OPT_INDENT_2 | (orjson.OPT_PASSTHROUGH_DATACLASS if isinstance(view, Document) else 0)
    values = view if isinstance(view, Document) else plain(view)
    return escaped(orjson.dumps(values, option=options, default=_plain).decode()) + "\n"


def escaped(text: str) -> str:
    r"""JSON of the same values, in which what would do something to a terminal is written by its number.

    >>> print(escaped('{"name": "\u202egnp.exe \x9b2J"}'))
    {"name": "\u202egnp.exe \u009b2J"}
    """
    if text.isascii() and "\x7f" not in text:
        return text
    return re.sub(
        r"[^\x00-\x7e]", lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text
    )


def _plain(value: object) -> object:
    if isinstance(value, Chart):
        return {"name": value.name, "caption": value.caption, "vega_lite": value.spec()}
    return vars(value) if hasattr(value, "__dict__") else str(value)
