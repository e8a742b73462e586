"""Wakes the event loop when a request is due, to some tens of microseconds, and at regular short intervals.

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


class _Timer:
    """A timerfd of Linux; `number` is below 0 where there is none.

    perf_counter reads the same clock, so that an absolute time needs no conversion.
    """

    def __init__(self) -> None:
        self.number = -1
        if sys.platform == "linux":
            with contextlib.suppress(OSError, AttributeError):
                self._libc = ctypes.CDLL(None, use_errno=True)
                self.number = self._libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)

    def set(self, value_s: float, interval_s: float = 0.0, *, absolute: bool = False) -> None:
        """Rings at a moment, or so much later, and again after each interval; 0 and 0 is never."""
        # struct itimerspec: interval, then the first moment; each is seconds and nanoseconds
        every, first = int(interval_s * 1e9), int(value_s * 1e9)
        value = (ctypes.c_long * 4)(*divmod(every, 10**9), *divmod(first, 10**9))
        self._libc.timerfd_settime(self.number, _ABSOLUTE if absolute else 0, ctypes.byref(value), None)

    def read(self) -> None:
        """Takes note of a ring."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.number, 8)

    def close(self) -> None:
        """Frees it."""
        if self.number >= 0:
            os.close(self.number)
            self.number = -1


class Alarm:
    """Calls a function once a moment of `time.perf_counter` has come. One moment at a time; use it as a context."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._timer = _Timer()
        if self._timer.number >= 0:
            self._loop.add_reader(self._timer.number, self._ring)

    def set(self, moment_s: float) -> None:
        """Asks for a call at a moment of `time.perf_counter`; one that has gone by is called soon."""
        wait_s = moment_s - time.perf_counter()
        if wait_s <= 0:
            self._loop.call_soon(self._callback)
        elif self._timer.number >= 0:
            self._timer.set(moment_s, absolute=True)
        else:
            self._handle = self._loop.call_later(wait_s, self._callback)

    def _ring(self) -> None:
        self._timer.read()
        self._callback()

    def close(self) -> None:
        """Asks for no more calls."""
        if self._handle is not None:
            self._handle.cancel()
        if self._timer.number >= 0:
            self._loop.remove_reader(self._timer.number)
            self._timer.close()

    def __enter__(self) -> Alarm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Ticks:
    """Calls a function at regular intervals, where the system has a timer as fine as that."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._timer = _Timer()
        self.interval_s = 0.0
        """Between two calls; 0 where there are none."""

    def start(self, interval_s: float) -> bool:
        """Begins, the first call an interval from now. Whether it can be done."""
        if self._timer.number < 0:
            return False
        self._timer.set(interval_s, interval_s)
        if not self.interval_s:
            self._loop.add_reader(self._timer.number, self._ring)
        self.interval_s = interval_s
        return True

    def stop(self) -> None:
        """No more calls until `start`."""
        if self.interval_s:
            self._loop.remove_reader(self._timer.number)
            self._timer.set(0.0)
            self.interval_s = 0.0

    def _ring(self) -> None:
        self._timer.read()
        self._callback()

    def close(self) -> None:
        """Asks for no more calls."""
        self.stop()
        self._timer.close()
