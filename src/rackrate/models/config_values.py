"""Values of somebody's config.json: found under any of their usual names, checked, and named when they are wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rackrate.errors import UserError
from rackrate.files import read_text, reason

LARGEST_CONFIG_BYTES = 8 * 2**20
"""The longest published config.json (with lists of unquantised modules) has under 1 MB."""
LARGEST_COUNT = 10**9
"""No count of a config.json (vocabulary, context, width) comes near."""


def read_json(path: Path, limit: int = LARGEST_CONFIG_BYTES) -> dict[str, Any]:
    """A JSON object from a file. Raises UserError where it cannot be read, is too long, or is no object."""
    try:
        values = json.loads(read_text(path, "utf-8-sig", limit))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from None
    except (OSError, ValueError) as error:  # no UTF-8, or a number of thousands of digits
        raise UserError(f"{path}: cannot be read ({reason(error)})") from None
    except RecursionError:
        raise UserError(f"{path}: not valid JSON: nested too deeply") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: should hold a JSON object, not a {type(values).__name__}")
    return cast("dict[str, Any]", values)


@dataclass(frozen=True)
class ConfigValues:
    """A config's values with the name of its file, for messages."""

    file: str
    values: Mapping[str, Any]
    prefix: str = ""

    def nested(self, name: str) -> ConfigValues | None:
        """The object under a key; None where there is none."""
        inner = self.values.get(name)
        if isinstance(inner, dict):
            return ConfigValues(self.file, cast("dict[str, Any]", inner), f"{self.prefix}{name}.")
        return None

    def _first(self, names: Iterable[str]) -> tuple[str, Any] | None:
        return next(((name, self.values[name]) for name in names if self.values.get(name) is not None), None)

    def whole(self, name: str, *others: str, default: int | None = None, least: int = 1) -> int:
        """A whole number under the first of these keys that is there.

        Raises:
            UserError: none is there and no default is given, or it is no whole number from `least` up.
        """
        found = self._first((name, *others))
        if found is None:
            if default is None:
                hint = f" (or {', '.join(others)})" if others else ""
                raise UserError(f"{self.file}: the key {self.prefix}{name}{hint} is missing")
            return default
        name, value = found
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST_COUNT:
            shown = repr(value) if len(repr(value)) <= 40 else repr(value)[:37] + "..."
            allowed = f"a whole number from {least} to {LARGEST_COUNT:,}"
            raise UserError(f"{self.file}: {self.prefix}{name} should be {allowed}, not {shown}")
        return value

    def optional(self, name: str, *others: str, least: int = 1) -> int | None:
        """The same; None where no key is there."""
        return None if self._first((name, *others)) is None else self.whole(name, *others, least=least)

    def listed(self, name: str) -> list[Any] | None:
        """A list of anything; None where there is none."""
        value = self.values.get(name)
        return cast("list[Any]", value) if isinstance(value, list) else None

    def flag(self, *names: str, default: bool = False) -> bool:
        """A true or false under the first of these keys that is there."""
        found = self._first(names)
        if found is None:
            return default
        if not isinstance(found[1], bool):
            raise UserError(f"{self.file}: {self.prefix}{found[0]} should be true or false, not {found[1]!r}")
        return found[1]

    def text(self, *names: str) -> str | None:
        """A text under the first of these keys that holds one."""
        return next((self.values[name] for name in names if isinstance(self.values.get(name), str)), None)

    def words(self, name: str, length: int) -> list[str] | None:
        """A list with a word for each of `length` layers; None where there is none."""
        value = self.values.get(name)
        if not isinstance(value, list):
            return None
        listed = cast("list[Any]", value)
        if len(listed) != length or not all(isinstance(entry, str) for entry in listed):
            raise UserError(f"{self.file}: {self.prefix}{name} should list a word for each of the {length} layers")
        return cast("list[str]", listed)
