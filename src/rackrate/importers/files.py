"""Files of other tools: JSON (one object, a list of them, or an object a line), or a table in CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import orjson

from rackrate.errors import RunError
from rackrate.files import is_regular, read_bytes
from rackrate.importers.results import Object

MOST_RESULTS = 4 << 30
"""Bytes of a file of results; it is held whole, and guidellm writes some 2 kB a request."""


@dataclass(frozen=True)
class ResultFile:
    """What a file holds; nothing where it is JSON of another kind."""

    path: Path
    values: Object
    """Of the whole file; empty where it is an object a line, or a list of objects."""
    lines: Sequence[Object]
    """Its objects, one where the file is one."""

    def beside(self, name: str) -> ResultFile | None:
        """The file of that name in the same directory; None where there is none."""
        other = self.path.parent / name
        return read_file(other) if is_regular(other) else None

    def names_beside(self) -> list[str]:
        """Names of what lies in the same directory."""
        try:
            return sorted(path.name for path in self.path.parent.iterdir())
        except OSError:
            return []

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
        data = read_bytes(path, MOST_RESULTS)
    except FileNotFoundError:
        raise RunError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise RunError(f"{path}: is a directory; name the file of results in it") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not data.strip():
        raise RunError(f"{path}: is empty")
    if path.suffix.lower() == ".csv":
        return ResultFile(path, {}, _rows(path, data))
    try:
        whole = _parsed(data)
    except orjson.JSONDecodeError as error:
        lines = data.splitlines()
        if len(lines) < 2 or not _is_json(lines[0]):
            raise RunError(f"{path}:{error.lineno}:{error.colno}: not JSON, or cut off there ({error.msg})") from None
        return ResultFile(path, {}, _lines(path, lines))
    if isinstance(whole, list):
        entries = cast("list[Any]", whole)
        return ResultFile(path, {}, entries if all(isinstance(entry, dict) for entry in entries) else [])
    if not isinstance(whole, dict):
        return ResultFile(path, {}, [])
    return ResultFile(path, cast("Object", whole), [cast("Object", whole)])


def _lines(path: Path, lines: list[bytes]) -> list[Object]:
    found: list[Object] = []
    for position, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value: Any = _parsed(line)
        except orjson.JSONDecodeError as error:
            raise RunError(f"{path}:{position}: not JSON, or cut off there ({error.msg})") from None
        if isinstance(value, dict):
            found.append(cast("Object", value))
    return found


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(_parsed(line), dict)
    except orjson.JSONDecodeError:
        return False


def _parsed(data: bytes) -> Any:
    """JSON, or what Python writes for it: a bare NaN or Infinity is no figure, hence None.

    >>> _parsed(b'{"mean_tpot_ms": NaN, "request_rate": Infinity, "completed": 3}')
    {'mean_tpot_ms': None, 'request_rate': None, 'completed': 3}

    Raises:
        orjson.JSONDecodeError: it is neither.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if b"NaN" not in data and b"Infinity" not in data:
            raise
        try:
            return json.loads(data, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            raise error from None


def _rows(path: Path, data: bytes) -> list[Object]:
    """The rows of a table with names at its top, each cell as a number where it is one; empty cells are left out."""
    try:
        table = csv.DictReader(data.decode("utf-8-sig").splitlines())
        return [
            {name: _cell(cell) for name, cell in row.items() if name and isinstance(cell, str) and cell}
            for row in table
        ]
    except UnicodeDecodeError:
        raise RunError(f"{path}: is not text") from None
    except csv.Error as error:
        raise RunError(f"{path}: not a table of comma-separated values ({error})") from None


def _cell(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
