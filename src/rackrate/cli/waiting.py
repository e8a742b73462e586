"""What is waited for, shown on standard error: a spinner on a terminal, a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from rackrate.cli.context import shell_context
from rackrate.cli.output import console, say

if TYPE_CHECKING:
    from rackrate.app.context import Context


@contextmanager
def waiting(text: str) -> Generator[Callable[[float], None]]:
    """Shows that something is waited for; the yielded function takes the seconds waited so far."""
    if not sys.stderr.isatty():
        say(text)
        yield lambda _: None
        return
    from rich.text import Text

    from rackrate.report.format import clock
    from rackrate.text import plain

    text = plain(text)
    screen = console(error=True)

    with screen.status(Text(text)) as status:
        yield lambda waited_s: status.update(Text(f"{text} ({clock(waited_s)})"))


class Spinner:
    """A listener that shows what is worked on, and for how long."""

    def __init__(self) -> None:
        self._shown = ExitStack()
        self._what: str | None = None
        self._waited: Callable[[float], None] = lambda _: None
        self._began_s = 0.0

    def note(self, text: str) -> None:
        """Prints a line in place of what is shown."""
        self.close()
        say(text)

    def progress(self, what: str, done: float, of: float | None) -> None:
        """Shows the work, and the seconds since it began."""
        if what != self._what:
            self.close()
            self._what, self._began_s = what, time.monotonic()
            self._waited = self._shown.enter_context(waiting(what))
        self._waited(time.monotonic() - self._began_s)

    def close(self) -> None:
        """Shows nothing any more."""
        self._shown.close()
        self._what = None


@contextmanager
def spinning() -> Generator[Context]:
    """The context of a command that waits long, and shows for what."""
    spinner = Spinner()
    try:
        yield shell_context(spinner)
    finally:
        spinner.close()
