"""What a use case is handed of the world: the catalogue, the clock, who listens, where to cache, who asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rackrate.catalog.load import Catalog


class Listener(Protocol):
    """Who follows a use case while it works. Called from the thread that the use case runs in."""

    def note(self, text: str) -> None:
        """A line that the user should see now, such as what is assumed or waited for."""
        ...

    def progress(self, what: str, done: float, of: float | None) -> None:
        """How far a long piece of work is; `of` is None where its end is not known."""
        ...


class Silent:
    """A listener that shows nothing."""

    def note(self, text: str) -> None:
        """Drops the line."""

    def progress(self, what: str, done: float, of: float | None) -> None:
        """Drops the figure."""


class Collected:
    """A listener that keeps the notes, for tests and for answers that carry them."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keeps the line."""
        self.notes.append(text)

    def progress(self, what: str, done: float, of: float | None) -> None:
        """Drops the figure."""


@dataclass(frozen=True)
class Provenance:
    """Who asks, for headers and reports."""

    command: str
    """The command line or call, as a person would repeat it."""
    version: str
    """Of rackrate."""
    python_version: str


def _no_secret(name: str) -> str | None:
    del name
    return None


def _as_it_is(field: str) -> str:
    return field


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Context:
    """Everything ambient that a use case needs, passed in by the shell.

    The catalogue is read when it is first asked for: measuring begins before a price is looked up.
    """

    read_catalog: Callable[[], Catalog]
    provenance: Provenance
    cache_dir: Path
    """Where downloads, environments and compiled code are kept."""
    clock: Callable[[], datetime] = _now
    """The time now, with its zone."""
    notify: Listener = field(default_factory=Silent)
    state_dir: Path | None = None
    """Where it is noted what this user began on this machine; None: nowhere."""
    secret: Callable[[str], str | None] = _no_secret
    """The value of a secret by its name, such as an API key's; None where it is not set. Never written anywhere."""

    name_field: Callable[[str], str] = _as_it_is
    """What the shell calls a field, for errors that become notes and parts of answers."""

    @cached_property
    def catalog(self) -> Catalog:
        """The catalogue with the user's overlays. Raises UserError (file, line, key) where one is wrong."""
        return self.read_catalog()

    def now(self) -> str:
        """The time now to the second, ISO 8601 in UTC."""
        return self.clock().astimezone(UTC).isoformat(timespec="seconds")

    def today(self) -> str:
        """The date now, YYYY-MM-DD in UTC."""
        return self.clock().astimezone(UTC).date().isoformat()
