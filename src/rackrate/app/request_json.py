"""Requests to and from JSON: what a run's header keeps, what resume reads, and what a page or a job would send."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from rackrate.errors import UserError

T = TypeVar("T", bound="Request")


@dataclasses.dataclass(frozen=True)
class Request:
    """A typed question. Subclasses are frozen dataclasses whose fields are plain values, tuples and paths."""

    NAME: ClassVar[str]
    """What the request is called in JSON, such as `price`."""


def to_json(request: Request) -> dict[str, Any]:
    """Plain values under the request's name; values that are the default are left out."""
    from pydantic import TypeAdapter

    values = TypeAdapter(type(request)).dump_python(request, mode="json", exclude_defaults=True)
    return {"request": request.NAME, **values}


def from_json(kind: type[T], values: Mapping[str, Any]) -> T:
    """A request from plain values.

    Raises:
        UserError: another request, an unknown key, a value of the wrong type.
    """
    from pydantic import TypeAdapter, ValidationError

    given = dict(values)
    name = given.pop("request", kind.NAME)
    if name != kind.NAME:
        raise UserError(f"the request is {name!r}, not {kind.NAME!r}")
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise UserError(f"{kind.NAME}: the request has keys that this version does not know: {', '.join(unknown)}")
    try:
        return TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        mistake = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in mistake["loc"])
        raise UserError(
            f"{kind.NAME}: {where}: {mistake['msg']}", field=str(mistake["loc"][0]) if where else None
        ) from None
