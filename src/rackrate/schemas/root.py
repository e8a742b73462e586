"""What every output is made of: views, which answers become, presenters read, and JSON is dumped from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any, ClassVar, TypeVar, cast

View = TypeVar("View")

OPTIONAL = frozenset({"explained", "ready_s", "log"})
"""Keys that an output has only where they apply."""


def key_of(name: str) -> str:
    """A field's key in JSON: `class_`, which Python cannot call otherwise, is `class`."""
    return name.removesuffix("_")


class Root:
    """What an output begins with: the name and version of its schema, stated with the class."""

    __pydantic_config__: ClassVar[Any] = {"use_attribute_docstrings": True, "alias_generator": key_of}

    schema: ClassVar[str] = ""

    def __init_subclass__(cls, schema: str = "") -> None:
        super().__init_subclass__()
        if schema:
            cls.schema = schema


def made(kind: type[View], /, *sources: object, **given: Any) -> View:
    """A view of answers: each field is what is given or, by its own name, what the first source has that has it.

    Sources have fields or properties: what an answer computes when asked stands written in its view.
    """
    values: dict[str, Any] = {}
    for name in (field.name for field in fields(cast("Any", kind))):
        if name in given:
            values[name] = given[name]
        elif (source := next((source for source in sources if hasattr(source, name)), None)) is not None:
            values[name] = getattr(source, name)
    return kind(**values)


def schema_of(view: Any) -> str:
    """Name and version of its schema: a document that is a file, too, has its own field for it."""
    return str(view.schema if isinstance(view, Root) else view.format)


def plain(value: Any) -> Any:
    """A view as JSON-able values: keys are names of fields, the schema comes first, amounts of money are text."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    if is_dataclass(value) and not isinstance(value, type):
        named = {"schema": value.schema} if isinstance(value, Root) and value.schema else {}
        found = ((field.name, getattr(value, field.name)) for field in fields(value))
        return named | {key_of(name): plain(item) for name, item in found if item is not None or name not in OPTIONAL}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in cast("list[Any]", value)]
    return str(value) if isinstance(value, Decimal) else value
