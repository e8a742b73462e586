"""Requests: valid from birth, and to and from JSON: what a run's header keeps, what resume reads, what a page sends."""

from __future__ import annotations

import dataclasses
import math
import numbers
import os
import types
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from rackrate.bounds import Bounds, Distinct, shown
from rackrate.errors import UserError

T = TypeVar("T", bound="Request")

LONGEST_NAME = 255
"""Bytes of a file's or directory's name, on Linux (NAME_MAX of limits.h), macOS and Windows."""


@dataclasses.dataclass(frozen=True)
class Request:
    """A typed question. Subclasses are frozen dataclasses whose fields are plain values, tuples and paths.

    Each value is checked by the type of its field, and by the bounds that annotate it, whoever makes the request:
    a list does for a tuple, text for a path and a whole number for any.

    Raises:
        UserError: a value that its field cannot have; `field` names it.
    """

    NAME: ClassVar[str] = "request"
    """What the request is called in JSON, such as `price`."""

    def __post_init__(self) -> None:
        """Checks every field."""
        for name, hint in hints_of(type(self)).items():
            given = getattr(self, name)
            value = _checked(given, hint, name)
            if value is not given:
                object.__setattr__(self, name, value)


@cache
def hints_of(kind: type[Request]) -> dict[str, Any]:
    """The type of each field, with its bounds."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def to_json(request: Request) -> dict[str, Any]:
    """Plain values under the request's name; values that are the default are left out."""
    values = {
        field.name: _plain(value)
        for field in dataclasses.fields(request)
        if (value := getattr(request, field.name)) != field.default
    }
    return {"request": request.NAME, **values}


def from_json(kind: type[T], values: Mapping[str, Any]) -> T:
    """A request from plain values.

    Raises:
        UserError: another request, an unknown key, one that is missing, a value that its field cannot have.
    """
    if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UserError(f"a request is kept as names with values, not {shown(values)}")
    given = dict(values)
    name = given.pop("request", kind.NAME)
    if name != kind.NAME:
        raise UserError(f"the request is {shown(name)}, not {kind.NAME!r}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(given) - set(fields))
    if unknown:
        raise UserError(f"{kind.NAME}: the request has keys that this version does not know: {', '.join(unknown)}")
    for field in fields.values():
        if field.name not in given and field.default is dataclasses.MISSING:
            raise UserError(f"{kind.NAME}: say the {{{field.name}}}", field=field.name)
    return kind(**given)


def _plain(value: object) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in cast("tuple[object, ...]", value)]
    return str(value) if isinstance(value, Path) else value


def _checked(value: object, hint: Any, field: str) -> Any:
    """The value as its field has it. Raises UserError, which names the field."""
    origin = get_origin(hint)
    if origin is Annotated:
        kind, *limits = get_args(hint)
        found = _PLAIN[kind](value, field) if kind in _PLAIN else _checked(value, kind, field)
        for limit in limits:
            if isinstance(limit, Bounds | Distinct):
                limit.check(found, field)
        return found
    if origin in {Union, types.UnionType}:
        (kind,) = (other for other in get_args(hint) if other is not type(None))
        return None if value is None else _checked(value, kind, field)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{{{field}}} is a list, got {shown(value)}", field=field)
        return tuple(_checked(item, get_args(hint)[0], field) for item in cast("list[object]", value))
    found = _PLAIN[hint](value, field)
    if hint is float and not math.isfinite(found):
        raise UserError(f"{{{field}}} is a number, got {shown(value)}", field=field)
    return found


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"{{{field}}} is text, got {shown(value)}", field=field)
    if "\0" in value:
        raise UserError(f"{{{field}}} has a NUL in it: {shown(value)}", field=field)
    if not value.strip():
        raise UserError(f"{{{field}}} is empty; leave it out, or say what it is", field=field)
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise UserError(
            f"{{{field}}} has bytes that are not UTF-8: {shown(value.encode(errors='replace'))}", field=field
        )
    return value


def _path(value: object, field: str) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise UserError(f"{{{field}}} is a path, got {shown(value)}", field=field)
    _text(os.fspath(cast("str | os.PathLike[str]", value)), field)
    path = Path(cast("str | os.PathLike[str]", value))
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
        raise UserError(
            f"{{{field}}} has a name of more than {LONGEST_NAME} bytes, which no disk takes: {shown(str(path))}",
            field=field,
        )
    return path


def _flag(value: object, field: str) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"{{{field}}} is true or false, got {shown(value)}", field=field)
    return value


def _number(value: object, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise UserError(f"{{{field}}} is a number, got {shown(value)}", field=field)
    try:
        return float(value)
    except OverflowError:
        return math.inf  # past the bounds on either side


def _whole(value: object, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or value % 1 != 0:
        raise UserError(f"{{{field}}} is a whole number, got {shown(value)}", field=field)
    return int(float(value)) if not isinstance(value, numbers.Integral) else int(value)


_PLAIN: dict[Any, Callable[[object, str], Any]] = {
    str: _text, Path: _path, bool: _flag, float: _number, int: _whole,
}  # fmt: skip
