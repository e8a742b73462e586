"""JSON of servers that owe us nothing: whatever is not of the expected shape is nothing."""

from __future__ import annotations

from typing import Any, cast

import orjson

from rackrate.text import plain

Object = dict[str, Any]

_SAYS = ("message", "msg", "detail", "error", "type")
"""Where the words of an error stand, the best first."""


def as_object(value: Any) -> Object:
    """A JSON object, or an empty one.

    >>> as_object({"a": 1}), as_object([1]), as_object(None)
    ({'a': 1}, {}, {})
    """
    return cast("Object", value) if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """A JSON array, or an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """A JSON string, or an empty one."""
    return value if isinstance(value, str) else ""


def parse(data: bytes) -> Any:
    """The value, or None where the bytes are not JSON."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def error_text(body: Object) -> str | None:
    """The sentence inside an error body, in OpenAI's form or one like it; None where there is none.

    >>> error_text({"error": {"message": "no such model"}}), error_text({"object": "error", "message": "engine died"})
    ('no such model', 'engine died')
    >>> error_text({"detail": [{"loc": ["body"], "msg": "field required"}]})
    'field required'
    """
    errors = (body.get(key) for key in ("error", "errors", "detail", "message", "msg"))
    error: Any = next((found for found in errors if found and not isinstance(found, bool)), None)
    error = next(iter(as_list(error)), error)
    inner = as_object(error)
    return printable(as_text(error) or next(filter(None, (as_text(inner.get(key)) for key in _SAYS)), "")) or None


def printable(text: str) -> str:
    r"""What a server said, on one line and without what would move the cursor of a terminal.

    >>> printable("out of\n memory\x1b[2J\x00")
    'out of memory?[2J?'
    """
    return " ".join(plain(text).split())
