"""Reads YAML documents as types, and says where they are wrong: file, line, column, key."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from rackrate.bounds import FIGURE, shown
from rackrate.errors import UserError, did_you_mean
from rackrate.files.yaml import read_nodes, read_yaml

T = TypeVar("T")


def read_document(path: Path, kind: type[T], context: Mapping[str, Any] | None = None) -> T:
    """The file as a `kind` (a pydantic model, or a type of them such as list[Model]).

    Args:
        path: the file.
        kind: what it should be.
        context: what its validators look names up in, such as the catalogue's energy prices.

    Raises:
        UserError: the first mistake, with file, line, column and key.
    """
    return parse_document(read_yaml(path), kind, path, context)


def parse_document(values: Any, kind: type[T], path: Path, context: Mapping[str, Any] | None = None) -> T:
    """Plain values that were read from `path`, as a `kind`; see `read_document`."""
    if values is None:
        raise UserError(f"{path}:1:1: the file is empty")
    _refuse_absurd_numbers(values, path, [])
    try:
        return TypeAdapter(kind).validate_python(values, context=context)
    except ValidationError as error:
        raise UserError(_first_mistake(error, kind, path)) from None


_EXPONENT = re.compile(r"[-+]?\d{1,40}(\.\d{0,40})?[eE][-+]?\d{1,9}")


def _refuse_absurd_numbers(values: Any, path: Path, where: list[int | str]) -> None:
    """Raises UserError at a number that is none or beyond all that is real, wherever it stands."""
    if isinstance(values, dict):
        for key, value in cast("dict[Any, Any]", values).items():
            _refuse_absurd_numbers(value, path, [*where, str(key)])
    elif isinstance(values, list):
        for index, value in enumerate(cast("list[Any]", values)):
            _refuse_absurd_numbers(value, path, [*where, index])
    elif (isinstance(values, int | float) and not FIGURE.holds(values)) or (
        # YAML takes 1e300 for text, which a model's field would take for a number
        isinstance(values, str) and _EXPONENT.fullmatch(values) and not FIGURE.holds(float(values))
    ):
        line, column = _position(path, where)
        key = ".".join(str(part) for part in where)
        raise UserError(f"{path}:{line}:{column}: {key}: {shown(float(values))} is no figure that could be meant")


def _first_mistake(error: ValidationError, kind: Any, path: Path) -> str:
    # a misspelt key explains the missing one, so it goes first
    mistakes = sorted(error.errors(include_url=False), key=lambda item: item["type"] != "extra_forbidden")
    mistake = mistakes[0]
    # pydantic puts the names of types between keys; the last of an unknown or missing key is always the key itself
    loc = mistake["loc"]
    named = len(loc) - 1 if mistake["type"] in {"extra_forbidden", "missing"} else len(loc)
    where = [part for at, part in enumerate(loc) if at == named or not (isinstance(part, str) and "[" in part)]
    line, column = _position(path, where)
    key = ".".join(str(part) for part in where)
    if mistake["type"] == "extra_forbidden":
        known = _known_keys(kind, where[:-1])
        text = f"unknown key {where[-1]!r}{did_you_mean(str(where[-1]), known)}"
    elif mistake["type"] == "missing":
        text = f"the key {where[-1]!r} is missing"
    else:
        message = mistake["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        if mistake["type"] in {"model_type", "model_attributes_type", "dict_type"}:
            said = f"should be keys with values, not {_short(mistake['input'])}"
            return f"{path}:{line}:{column}: {key + ': ' if key else ''}{said}"
        if mistake["type"] == "value_error":
            # a rule between keys names the one that breaks it first
            line, column = _position(path, [*where, message.split(" ", 1)[0].rstrip(":")])
        if mistake["msg"].startswith("Input should be "):
            message = f"should be {message}, not {_short(mistake['input'])}"
        text = f"{key}: {message}" if key else message
    return f"{path}:{line}:{column}: {text}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _known_keys(kind: Any, where: list[int | str]) -> list[str]:
    """Keys of the model at a place inside a document; nothing where the place is not a model."""
    model = _model_in(kind)
    named = False  # whether the next part is a name that the file chose, of a mapping of documents
    for part in where:
        if named:
            named = False
            continue
        field = model.model_fields.get(str(part)) if model is not None else None
        model = _model_in(field.annotation) if field is not None else model if isinstance(part, int) else None
        named = field is not None and get_origin(_unwrapped(field.annotation)) in {dict, Mapping}
    return [field.alias or name for name, field in model.model_fields.items()] if model is not None else []


def _unwrapped(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _model_in(kind: Any) -> type[BaseModel] | None:
    """The document type inside an annotation such as list[Model] or Model | None."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next((model for arg in get_args(kind) if (model := _model_in(arg)) is not None), None)


def _position(path: Path, where: list[int | str]) -> tuple[int, int]:
    """Line and column (from 1) of the deepest node of the path through the document that exists."""
    try:
        node = read_nodes(path)
    except UserError:
        return 1, 1
    if node is None:
        return 1, 1
    mark = node.start_mark
    for part in where:
        if isinstance(node, yaml.MappingNode):
            match = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if match is None:
                break
            mark, node = match[0].start_mark, match[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            mark = node.start_mark
        else:
            break
    return mark.line + 1, mark.column + 1


def place_of(path: Path, keys: Sequence[str]) -> str:
    """`file:line:column` of the first of these top-level keys that a file has."""
    found = (_position(path, [key]) for key in keys)
    line, column = next((at for at in found if at != (1, 1)), (1, 1))
    return f"{path}:{line}:{column}"


def value_position(path: Path, where: list[int | str], line: int = 0, column: int = 0) -> tuple[int, int]:
    """Line and column (from 1) of a value in a YAML file, or of a place within its text.

    Args:
        path: the file.
        where: keys and indices that lead to the value.
        line: of the place, within a text that is written on several lines; from 0.
        column: likewise.
    """
    found = _position(path, where)
    try:
        node = read_nodes(path)
    except UserError:
        return found
    for part in where:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        else:
            return found
    if not isinstance(node, yaml.ScalarNode):
        return found
    mark = node.start_mark
    if node.style in {"|", ">"} or line:
        return mark.line + 1, mark.column + 1
    quote = 1 if node.style in {"'", '"'} else 0
    return mark.line + 1, mark.column + 1 + quote + column
