"""Ctrl-C and SIGTERM as a request to stop a measurement, while its levels are measured."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from rackrate.measurement.stop import Stop

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SignalStop(Stop):
    """A stop that signals ask for. Before and after the levels, Ctrl-C is Python's own."""

    def bind(self, loop: asyncio.AbstractEventLoop, interrupt: Callable[[], None]) -> None:
        """Hears the signals in the loop, which runs in the main thread."""
        super().bind(loop, interrupt)
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.request)

    def release(self, loop: asyncio.AbstractEventLoop) -> None:
        """Leaves the signals to Python again."""
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
        super().release(loop)
