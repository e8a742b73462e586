"""The context of a command: the user's catalogue and cache, the clock, and standard error as the listener."""

from __future__ import annotations

import platform
import shlex
import sys
from typing import TYPE_CHECKING

from rackrate import __version__
from rackrate.app.context import Context, Provenance
from rackrate.cli.output import say

if TYPE_CHECKING:
    from rackrate.catalog.load import Catalog


class Spoken:
    """A listener that prints notes on standard error."""

    def note(self, text: str) -> None:
        """Prints a line."""
        say(text)

    def progress(self, what: str, done: float, of: float | None) -> None:
        """Shows nothing: a command that takes long has a display of its own."""


def shell_context() -> Context:
    """What a command hands to a use case."""
    from rackrate.engines.install import cache_directory

    return Context(
        read_catalog=_catalog,
        provenance=Provenance(shlex.join(["rackrate", *sys.argv[1:]]), __version__, platform.python_version()),
        cache_dir=cache_directory(),
        notify=Spoken(),
    )


def _catalog() -> Catalog:
    from rackrate.catalog.load import load_catalog

    return load_catalog()
