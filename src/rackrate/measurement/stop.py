"""Asking a measurement to end, from any thread: what was measured is kept."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable


class Stop:
    """A request to stop, heard while levels are measured; before that, by whoever looks at `requested`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bound: tuple[asyncio.AbstractEventLoop, Callable[[], None]] | None = None
        self._requested = False

    @property
    def requested(self) -> bool:
        """Whether somebody asked."""
        return self._requested

    def request(self) -> None:
        """Asks. May be called from any thread, and more than once."""
        with self._lock:
            self._requested = True
            if self._bound is not None:
                loop, interrupt = self._bound
                loop.call_soon_threadsafe(interrupt)

    def bind(self, loop: asyncio.AbstractEventLoop, interrupt: Callable[[], None]) -> None:
        """While levels are measured: `interrupt` is called in the loop once somebody asks, or has asked before."""
        with self._lock:
            self._bound = loop, interrupt
            if self._requested:
                loop.call_soon_threadsafe(interrupt)

    def release(self, loop: asyncio.AbstractEventLoop) -> None:
        """The levels are over."""
        del loop  # shells that bind signals to it take them off here
        with self._lock:
            self._bound = None
