"""JSON of servers that owe us nothing: whatever is not of the expected shape is nothing."""

from __future__ import annotations

from typing import Any, cast

import orjson

Object = dict[str, Any]


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
    """The sentence inside an OpenAI-style error body; None where there is none.

    >>> error_text({"error": {"message": "no such model"}})
    'no such model'
    """
    error: Any = body.get("error", body.get("detail", body.get("message")))
    return printable(as_text(as_object(error).get("message") or error)) or None


def printable(text: str) -> str:
    r"""What a server said, on one line and without what would move the cursor of a terminal.

    >>> printable("out of\n memory\x1b[2J\x00")
    'out of memory?[2J?'
    """
    return "".join(item if item.isprintable() else "?" for item in " ".join(text.split()))
