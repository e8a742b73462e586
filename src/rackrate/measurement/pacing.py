"""Wakes the event loop when a request is due, to some tens of microseconds, and at regular short intervals.

Event loops round their timers to a millisecond, which turns Poisson arrivals into pairs: at 200 a second every sixth
gap would be nought. On Linux a timerfd, which the kernel arms at a nanosecond, is watched like a socket; elsewhere the
loop's own timers are used, and the send lateness that a run reports says what that costs.

A process that sleeps is woken late, most of all on virtual machines: by 0.07 ms in the median and 0.4 ms in one case of
ten where this was written. So an open loop's alarm wakes a little early and looks at the clock until its moment.
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
EARLIEST_S = 0.0005
"""An alarm wakes at most so long before its moment."""
SPUN_SHARE = 0.1
"""Of one core: what an alarm looks at the clock, at most."""
_SAVED_S = 4 * EARLIEST_S
"""Time to look at the clock that was not needed is kept up to here, for moments that follow each other closely."""
_MARGIN_S = 0.00003
"""From the process's waking to its looking at the clock, and some more."""
_STEP_S = 0.00002
_RARE = 0.05
"""How often a sleep may end later than an alarm reckons with."""


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


class Lead:
    """How long before a moment to wake, so as to be awake when it comes: as long as sleeps have ended late lately (all
    but one in twenty), while looking at the clock takes no more than a share of the time.

    >>> lead = Lead(0.1, now_s=0.0)
    >>> round(lead.before(now_s=10.0, moment_s=10.005), 6)
    0.0005
    >>> lead.spent(0.0005)                      # a gap of 5 ms pays for that much
    >>> for _ in range(1000):                   # sleeps that end in time need no lead
    ...     lead.slept(0.0)
    >>> lead.before(now_s=10.005, moment_s=10.01)
    3e-05
    """

    def __init__(self, share: float, now_s: float) -> None:
        self.share = share
        self._late_s = EARLIEST_S - _MARGIN_S
        """Sleeps rarely end later than by this."""
        self._left_s = 0.0
        """What may be spent, up to `_counted_s`."""
        self._counted_s = now_s

    def before(self, now_s: float, moment_s: float) -> float:
        """How long before the moment. [s]"""
        counted_s = max(now_s, moment_s)
        self._left_s = min(self._left_s + (counted_s - self._counted_s) * self.share, _SAVED_S)
        self._counted_s = counted_s
        return max(0.0, min(self._late_s + _MARGIN_S, self._left_s))

    def spent(self, spun_s: float) -> None:
        """The clock was looked at for so long."""
        self._left_s -= spun_s

    def slept(self, late_s: float) -> None:
        """A sleep ended so much after the moment that it was to end at."""
        step_s = (1 - _RARE) * _STEP_S if late_s > self._late_s else -_RARE * _STEP_S
        self._late_s = min(max(0.0, self._late_s + step_s), EARLIEST_S - _MARGIN_S)


class Alarm:
    """Calls a function once a moment of `time.perf_counter` has come. One moment at a time; use it as a context.

    With a share it wakes early, where the system has a timer as fine as that, and looks at the clock meanwhile: at most
    that share of a core. Each of several processes that do so gets its part of the share.
    """

    def __init__(self, callback: Callable[[], None], share: float = 0.0) -> None:
        self._callback = callback
        self._moment_s = self._wake_s = 0.0
        self._lead = Lead(share, time.perf_counter()) if share > 0 else None
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._timer = _Timer()
        if self._timer.number >= 0:
            self._loop.add_reader(self._timer.number, self._ring)

    def set(self, moment_s: float) -> None:
        """Asks for a call at a moment of `time.perf_counter`; one that has gone by is called soon."""
        now_s = time.perf_counter()
        self._moment_s = self._wake_s = moment_s
        if moment_s <= now_s:
            self._loop.call_soon(self._callback)
        elif self._timer.number >= 0:
            if self._lead is not None:
                self._wake_s = max(now_s, moment_s - self._lead.before(now_s, moment_s))
            self._timer.set(self._wake_s, absolute=True)
        else:
            self._handle = self._loop.call_later(moment_s - now_s, self._ring_by_loop)

    def _ring_by_loop(self) -> None:
        if time.perf_counter() < self._moment_s:  # rounded down
            self.set(self._moment_s)
        else:
            self._callback()

    def _ring(self) -> None:
        self._timer.read()
        if self._lead is not None:
            woke_s = now_s = time.perf_counter()
            self._lead.slept(woke_s - self._wake_s)
            while now_s < self._moment_s:
                now_s = time.perf_counter()
            self._lead.spent(now_s - woke_s)
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
