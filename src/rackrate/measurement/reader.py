"""Reads all sockets that have something in one go, each packet with the moment at which the kernel took it in.

Linux stamps what arrives, so that reading a packet a little later costs no exactness. While packets come fast, sockets
are therefore looked at every millisecond or so instead of at every packet: waking up takes more CPU than reading.
Other systems, and TLS, leave reading to the event loop and stamp what it hands over.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
import sys
import time
from typing import Protocol

from rackrate.measurement.pacing import Ticks

READS_AT_ONCE = sys.platform == "linux"
SHARE = 0.002
"""Of an answer's time: so much passes between two looks at busy sockets, and the next request of a stream is sent later
by half of it, on average."""
LEAST_S, MOST_S = 0.00025, 0.002
"""Between two looks; where answers are so quick that it would have to be less, every packet wakes the client."""
_FEWEST = 8
"""With fewer sockets every packet does: there is little to save."""
_QUICK, _EMPTY = 4, 16
"""Packets in a row after which looking begins, and looks in vain in a row that end it: tokens may come in bursts, all
streams in step."""
_SLOWLY = 0.2
"""How much of a longer answer counts."""
_MUCH = 1.2
"""A change by less leaves the interval as it is."""
_HOLD_S = 0.0004
"""So long before a request is due nothing is read, but not twice in a row."""
_OVERDUE_S = 0.005
"""A request that was due longer ago is the last of its level."""
_PACKET_BYTES = 1 << 16
_STEP_NS = 50_000
"""The distance of the two clocks moves by more only where somebody sets the time."""
_TIMESTAMPNS = 35
"""SO_TIMESTAMPNS of Linux, which the socket module does not name."""
_STAMP = struct.Struct("@ll")


class Receiver(Protocol):
    """What has a socket."""

    def take(self, data: bytes, time_s: float) -> None:
        """Bytes arrived at a moment of `time.perf_counter`."""
        ...

    def lost(self, error: OSError | None) -> None:
        """The other side has closed the connection, or it failed."""
        ...


class Reader:
    """The sockets of a client, on the running event loop; `close` ends it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._poll = select.epoll()
        self._open: dict[int, tuple[socket.socket, Receiver]] = {}
        self._ticks = Ticks(self.look)
        self._read_s = 0.0
        """When sockets were last read."""
        self._typical_s: float | None = None
        """What an answer takes: of the quickest lately."""
        self._quick = self._empty = 0
        """Packets in a row that came soon after the one before, and looks in a row that found nothing."""
        self._held = False
        """Whether the last look was left out."""
        self._distance_ns = _distance_ns()
        self.hold_s = 0.0
        """When the next request is due, on `time.perf_counter`; nothing is read just before."""
        self._loop.add_reader(self._poll.fileno(), self._wake)

    def add(self, number: int, receiver: Receiver) -> None:
        """Reads a socket, by its descriptor, until `remove`."""
        handle = socket.socket(fileno=number)  # for its calls alone: the descriptor is somebody else's
        with contextlib.suppress(OSError):  # what has no stamp is stamped as it is read
            handle.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
        self._open[number] = handle, receiver
        self._poll.register(number, select.EPOLLIN)

    def remove(self, number: int) -> None:
        """Reads it no more; to be called before it is closed."""
        if number in self._open:
            handle, _ = self._open.pop(number)
            self._poll.unregister(number)
            handle.detach()

    def close(self) -> None:
        """Ends it."""
        for number in list(self._open):
            self.remove(number)
        self._ticks.close()
        self._loop.remove_reader(self._poll.fileno())
        self._poll.close()

    def answered(self, duration_s: float) -> None:
        """An answer took so long."""
        typical_s = self._typical_s
        if typical_s is None or duration_s < typical_s:
            self._typical_s = duration_s
        else:
            self._typical_s = typical_s + (duration_s - typical_s) * _SLOWLY
        now_s, interval_s = self._ticks.interval_s, self.interval_s
        if not now_s:
            return
        if interval_s < now_s / _MUCH:
            self._watch()
        elif interval_s > now_s * _MUCH:
            self._ticks.start(interval_s)

    @property
    def interval_s(self) -> float:
        """From one look at busy sockets to the next."""
        return MOST_S if self._typical_s is None else min(self._typical_s * SHARE, MOST_S)

    def _wake(self) -> None:
        """A socket has something, and nobody looks regularly."""
        before_s, self._read_s = self._read_s, time.perf_counter()
        self._read()
        interval_s = self.interval_s
        self._quick = self._quick + 1 if self._read_s - before_s < interval_s else 0
        busy = self._quick >= _QUICK and len(self._open) >= _FEWEST
        if busy and interval_s >= LEAST_S and self._ticks.start(interval_s):
            self._empty = 0
            self._loop.remove_reader(self._poll.fileno())

    def _watch(self) -> None:
        """Every packet wakes the client from now on."""
        self._ticks.stop()
        self._quick = 0
        self._loop.add_reader(self._poll.fileno(), self._wake)

    @property
    def looks(self) -> bool:
        """Whether sockets are looked at every so often, whether or not they have something."""
        return self._ticks.interval_s > 0

    def look(self) -> None:
        """Reads what there is, unless a request is due."""
        now_s = time.perf_counter()
        if -_OVERDUE_S < self.hold_s - now_s < _HOLD_S and not self._held:
            self._held = True
            return
        self._held = False
        self._read_s = now_s
        self._empty = 0 if self._read() else self._empty + 1
        if self._empty > _EMPTY:
            self._watch()

    def catch_up(self) -> None:
        """Reads what there is, after a time in which nobody could."""
        self._read()

    def _read(self) -> bool:
        """Takes what there is, a piece from each socket. Whether there was anything."""
        ready = self._poll.poll(0)
        if not ready:
            return False
        distance_ns = self._distance_ns
        stamped = True
        if abs(time.time_ns() - time.perf_counter_ns() - distance_ns) > _STEP_NS:
            # somebody else had the processor between the two, or the time was set: then stamps say nothing for now
            self._distance_ns = _distance_ns()
            stamped = abs(self._distance_ns - distance_ns) < _STEP_NS
        unpack, clock = _STAMP.unpack, time.perf_counter
        for number, _ in ready:
            found = self._open.get(number)
            if found is None:
                continue  # closed meanwhile
            handle, receiver = found
            try:
                data, control, _, _ = handle.recvmsg(_PACKET_BYTES, _CONTROL_BYTES)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                receiver.lost(error)
                continue
            if not data:
                receiver.lost(None)
            elif control and stamped:
                seconds, nanoseconds = unpack(control[0][2])
                receiver.take(data, (seconds * 1_000_000_000 + nanoseconds - distance_ns) * 1e-9)
            else:
                receiver.take(data, clock())
        return True


_CONTROL_BYTES = socket.CMSG_SPACE(_STAMP.size) if hasattr(socket, "CMSG_SPACE") else 0


def _distance_ns() -> int:
    """How far the clock of the kernel's stamps is ahead of `time.perf_counter`. [ns]"""
    best = distance = 10**18
    for _ in range(10):
        before, real, after = time.perf_counter_ns(), time.time_ns(), time.perf_counter_ns()
        if after - before < best:
            best, distance = after - before, real - (before + after) // 2
    return distance
