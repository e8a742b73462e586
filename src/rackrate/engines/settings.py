"""What can be set on an engine that rackrate starts: names, kinds, and how each is said to the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rackrate.errors import EngineError, did_you_mean

Scalar = str | int | float | bool | None
Settings = Mapping[str, Scalar]

_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def _nothing() -> dict[str, Scalar]:
    return {}


@dataclass(frozen=True, kw_only=True)
class LaunchOptions:
    """What an engine is started for, in the same words for all."""

    slots: int
    """Requests served at once; more wait."""
    context_tokens: int
    """Longest input + output of one request."""
    threads: int | None = None
    """For computing; None: as many as the engine thinks best."""
    host: str = "127.0.0.1"
    port: int | None = None
    """None: a free one."""
    settings: Settings = field(default_factory=_nothing)
    """Over the defaults, by the names of the engine's SETTINGS."""
    key: str | None = field(default=None, repr=False)
    """The API key that it asks of those who ask it; None: none. It never stands in a command, which `ps` shows."""


@dataclass(frozen=True)
class Setting:
    """One thing that can be set."""

    name: str
    kind: Literal["whole", "number", "switch", "word"]
    meaning: str
    words: tuple[str, ...] = ()
    """Of a word: those that are allowed; none allows any."""
    least: float | None = None

    def read(self, text: str) -> Scalar:
        """The value that a text says. Raises EngineError where it says none of this kind."""
        if self.kind == "switch":
            if text.lower() in _TRUE | _FALSE:
                return text.lower() in _TRUE
            raise EngineError(f"{self.name} is on or off, not {text!r}")
        if self.kind == "word":
            if self.words and text not in self.words:
                raise EngineError(f"{self.name} is one of {', '.join(self.words)}, not {text!r}")
            return text
        try:
            value = int(text) if self.kind == "whole" else float(text)
        except ValueError:
            raise EngineError(
                f"{self.name} is a {'whole number' if self.kind == 'whole' else 'number'}, not {text!r}"
            ) from None
        if self.least is not None and not value >= self.least:
            raise EngineError(f"{self.name} is at least {self.least:g}, not {text}")
        return value


def read_settings(engine: str, known: Sequence[Setting], assignments: Sequence[str]) -> dict[str, Scalar]:
    """Settings from `name=value` texts, in the words of one engine.

    >>> read_settings("vllm", [Setting("max_num_seqs", "whole", "requests at once", least=1)], ["max_num_seqs=8"])
    {'max_num_seqs': 8}

    Raises:
        EngineError: no such setting, or no such value.
    """
    by_name = {setting.name: setting for setting in known}
    found: dict[str, Scalar] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise EngineError(f"{{settings}} takes NAME=VALUE, not {text!r}", field="settings")
        name = name.strip().replace("-", "_")
        if name not in by_name:
            raise EngineError(f"{engine} has no setting {name!r}{did_you_mean(name, by_name)}")
        found[name] = by_name[name].read(value.strip())
    return found


def merged(engine: str, known: Sequence[Setting], defaults: Settings, given: Settings | None) -> dict[str, Scalar]:
    """Defaults with what was given laid over them. Raises EngineError where a given name is not known."""
    names = {setting.name for setting in known}
    for name in given or {}:
        if name not in names:
            raise EngineError(f"{engine} has no setting {name!r}{did_you_mean(name, names)}")
    return {**defaults, **(given or {})}


def flags_of(chosen: Settings, names: Mapping[str, str]) -> list[str]:
    """What was set, as the engine's own flags that take a value; what is not set is left out.

    >>> flags_of({"dtype": "auto", "max_num_seqs": 8, "eager": None}, {"max_num_seqs": "--max-seqs", "eager": "--e"})
    ['--max-seqs', '8']
    """
    return [word for name, flag in names.items() if chosen.get(name) is not None for word in (flag, str(chosen[name]))]
