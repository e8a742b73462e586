"""A context for tests of use cases: the shipped catalogue, a clock that stands still, and a listener that keeps all."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from rackrate.app.context import Collected, Context, Provenance
from rackrate.catalog.load import load_catalog

NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)


class Kept(Collected):
    """Keeps the progress, too."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[str, float, float | None]] = []

    def progress(self, what: str, done: float, of: float | None) -> None:
        self.steps.append((what, done, of))


def context_at(cache: Path) -> tuple[Context, Kept]:
    """A context, and its listener."""
    listener = Kept()
    return Context(load_catalog, Provenance("a test", "0", "3"), cache, lambda: NOW, listener), listener
