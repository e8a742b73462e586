"""The context of a command: the user's catalogue and cache, the clock, and standard error as the listener."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate import __version__
from rackrate.app.context import Context, Listener, Provenance
from rackrate.cli.names import command_line_namer
from rackrate.cli.output import say

if TYPE_CHECKING:
    from rackrate.catalog.load import Catalog

PACE_S = 2.0
"""Seconds between two lines of progress."""


class Spoken:
    """A listener that prints notes on standard error."""

    def note(self, text: str) -> None:
        """Prints a line."""
        say(text)

    def progress(self, what: str, done: float, of: float | None) -> None:
        """Shows nothing: a command that takes long has a display of its own."""


class Paced(Spoken):
    """A listener that also says every two seconds how far it is."""

    def __init__(self, *, timed: bool = True) -> None:
        """Also says how long what is left takes at that pace, where the pace is `timed`: alike all the way."""
        self._timed = timed
        self._began = self._last = time.monotonic()
        self._what = ""

    def progress(self, what: str, done: float, of: float | None) -> None:
        """Prints a line, unless one was printed just now."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._began, self._last = what, now, now
        if not done or now - self._last < PACE_S:
            return
        self._last = now
        text = f"{what}: {done:,.0f}"
        if of is not None:
            text += f" of {of:,.0f}"
            if self._timed:
                text += f", about {(now - self._began) / done * (of - done):,.0f} s left"
        say(text)


def shell_context(notify: Listener | None = None) -> Context:
    """What a command hands to a use case, and who listens: standard error, where no one else is named."""
    from rackrate.engines.install import cache_directory

    return Context(
        read_catalog=user_catalog,
        provenance=Provenance(shlex.join(["rackrate", *sys.argv[1:]]), __version__, platform.python_version()),
        cache_dir=cache_directory(),
        state_dir=_state_directory(),
        notify=notify or Spoken(),
        secret=os.environ.get,
        name_field=command_line_namer(),
    )


def _state_directory() -> Path:
    """RACKRATE_STATE, else the user's state directory."""
    if named := os.environ.get("RACKRATE_STATE"):
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_state_path("rackrate")


def user_catalog() -> Catalog:
    """The catalogue with the user's files: of the configuration directory, then of each directory of RACKRATE_CATALOG.

    Raises:
        UserError: RACKRATE_CATALOG (separated as PATH is) names what is no directory, or a file is wrong.
    """
    import platformdirs

    from rackrate.catalog.load import load_user_catalog

    return load_user_catalog(platformdirs.user_config_path("rackrate"), os.environ.get("RACKRATE_CATALOG"))
