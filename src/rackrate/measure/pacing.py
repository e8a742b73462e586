"""Wakes the event loop when a request is due, to some tens of microseconds.

Event loops round their timers to a millisecond, which turns Poisson arrivals into pairs: at 200 a second every sixth
gap would be nought. On Linux a timerfd, which the kernel arms at a nanosecond, is watched like a socket; elsewhere the
loop's own timers are used, and the send lateness that a run reports says what that costs.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Callable

_ABSOLUTE = 1
_NONBLOCK_CLOEXEC = 0o2004000
_CLOCK_MONOTONIC = 1


class Alarm:
    """Calls a function once a moment of `time.perf_counter` has come. One moment at a time; use it as a context."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._libc: ctypes.CDLL | None = None
        self._fd = -1
        # on Linux perf_counter reads CLOCK_MONOTONIC, so that an absolute time needs no conversion
        if sys.platform == "linux":
            with contextlib.suppress(OSError, AttributeError):
                libc = ctypes.CDLL(None, use_errno=True)
                self._fd = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
                self._libc = libc if self._fd >= 0 else None
        if self._libc is not None:
            self._loop.add_reader(self._fd, self._ring)

    def set(self, moment_s: float) -> None:
        """Asks for a call at a moment of `time.perf_counter`; one that has gone by is called soon."""
        wait_s = moment_s - time.perf_counter()
        if wait_s <= 0:
            self._loop.call_soon(self._callback)
        elif self._libc is not None:
            nanoseconds = int(moment_s * 1e9)
            # struct itimerspec: interval (none), then the moment; each is seconds and nanoseconds
            value = (ctypes.c_long * 4)(0, 0, nanoseconds // 10**9, nanoseconds % 10**9)
            self._libc.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(value), None)
        else:
            self._handle = self._loop.call_later(wait_s, self._callback)

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 8)
        self._callback()

    def close(self) -> None:
        """Asks for no more calls."""
        if self._handle is not None:
            self._handle.cancel()
        if self._libc is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._libc = None

    def __enter__(self) -> Alarm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
