"""Whether what a run's file says of a request is a request: a stranger may have written it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from rackrate.runs.records import RequestRecord

MOST_SECONDS = 1e10
"""Either way from a run's start, some 300 years: sums of such times are still exact to microseconds."""
MOST_COUNT = 2**31
"""Counts are kept in 32 bits."""

_NUMBER, _WHOLE, _TEXT = {float, int}, {int}, {str}
_TIMES = ("due_s", "sent_s", "first_byte_s", "first_token_s", "done_s")
_COUNTS = (
    "level", "http_status", "asked_input_tokens", "asked_output_tokens", "input_tokens", "cached_tokens",
    "output_tokens", "turn",
)  # fmt: skip
_LARGE = ("index", "session")
_TEXTS = ("detail", "finish_reason", "text")
_MAY_BE_MISSING = {"first_byte_s", "first_token_s", *_COUNTS, "session", *_TEXTS} - {"level"}
_TYPES: dict[str, set[type]] = {
    **dict.fromkeys(_TIMES, _NUMBER),
    **dict.fromkeys((*_COUNTS, *_LARGE), _WHOLE),
    **dict.fromkeys(("status", *_TEXTS), _TEXT),
    "stagger": {bool},
    "chunk_s": {list, tuple},
}
_NAMED = {
    **dict.fromkeys(_TIMES, "a time in seconds"),
    **dict.fromkeys((*_COUNTS, *_LARGE), "a whole number"),
    **dict.fromkeys(("status", *_TEXTS), "text"),
    "stagger": "true or false",
    "chunk_s": "a list of times in seconds",
}
KEYS = frozenset(field.name for field in fields(RequestRecord))
NEEDED = frozenset(field.name for field in fields(RequestRecord) if field.default is MISSING)

_good: set[tuple[Any, ...]] = set()
"""Keys and types of values, in order, that were looked at and are right; of one program there are a few."""
_MOST_GOOD = 1000


def fault_of(values: Mapping[str, Any]) -> str | None:
    """What is wrong with a request's values, which have its keys; None where nothing is.

    >>> fault_of({"output_tokens": "x"})
    "output_tokens should be a whole number, not 'x'"
    >>> fault_of({"chunk_s": [0.5, 1e300]})
    'chunk_s should be a list of times in seconds, not [0.5, 1e+300]'
    """
    shape = (*values, *map(type, values.values()))
    if shape not in _good:
        for name, value in values.items():
            if type(value) not in _TYPES[name] and not (value is None and name in _MAY_BE_MISSING):
                return _fault(name, value)
        if len(_good) < _MOST_GOOD:
            _good.add(shape)
    for name in _TIMES:
        value = values.get(name)
        if value is not None and not -MOST_SECONDS <= value <= MOST_SECONDS:
            return _fault(name, value)
    for name in _COUNTS:
        value = values.get(name)
        if value is not None and not 0 <= value < MOST_COUNT:
            return _fault(name, value)
    for name in _LARGE:
        value = values.get(name)
        if value is not None and not 0 <= value < 2**63:
            return _fault(name, value)
    chunks = values.get("chunk_s")
    return None if not chunks or _are_times(chunks) else _fault("chunk_s", chunks)


def _are_times(values: Sequence[Any]) -> bool:
    try:
        return min(values) >= -MOST_SECONDS and max(values) <= MOST_SECONDS
    except TypeError:
        return False


def _fault(name: str, value: Any) -> str:
    text = repr(value)
    return f"{name} should be {_NAMED[name]}, not {text if len(text) <= 60 else text[:57] + '...'}"
