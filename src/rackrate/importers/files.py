"""Files of other tools as JSON: one object, or an object a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import orjson

from rackrate.errors import RunError
from rackrate.importers.results import Object


@dataclass(frozen=True)
class ResultFile:
    """What a file holds; nothing where it is JSON of another kind."""

    path: Path
    values: Object
    """Of the whole file; empty where it is an object a line."""
    lines: Sequence[Object]
    """Its objects, one where the file is one."""

    def beside(self, name: str) -> ResultFile | None:
        """The file of that name in the same directory; None where there is none."""
        other = self.path.parent / name
        return read_file(other) if other.is_file() else None

    def values_beside(self, name: str, fits: Callable[[Object], bool]) -> Object:
        """The object in the file of that name beside; empty where it is not there or not what it should be."""
        other = self.beside(name)
        return other.values if other is not None and fits(other.values) else {}


def read_file(path: Path) -> ResultFile:
    """A file as one object, or else as an object a line.

    Raises:
        RunError: it cannot be read, or is not JSON.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise RunError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise RunError(f"{path}: is a directory; name the file of results in it") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not data.strip():
        raise RunError(f"{path}: is empty")
    try:
        whole = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        lines = data.splitlines()
        if len(lines) < 2 or not _is_json(lines[0]):
            raise RunError(f"{path}:{error.lineno}:{error.colno}: not JSON, or cut off there ({error.msg})") from None
        return ResultFile(path, {}, _lines(path, lines))
    if not isinstance(whole, dict):
        return ResultFile(path, {}, [])
    return ResultFile(path, cast("Object", whole), [cast("Object", whole)])


def _lines(path: Path, lines: list[bytes]) -> list[Object]:
    found: list[Object] = []
    for position, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value: Any = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise RunError(f"{path}:{position}: not JSON, or cut off there ({error.msg})") from None
        if isinstance(value, dict):
            found.append(cast("Object", value))
    return found


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False
