"""The timed path: one HTTP/1.1 connection that carries one streamed answer at a time.

While an answer streams, a packet is stamped and kept, and nothing else: of a chunked message only the last bytes are
looked at, to see whether it may end there. One that ends as nearly all do ends the exchange, framing and all; the rest
is for whoever reads it (see `exchange` and `sse`), once there is time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from typing import cast

from rackrate.measurement import exchange as limits
from rackrate.measurement.exchange import Exchange
from rackrate.measurement.reader import Reader
from rackrate.runs.statuses import OK

_KEPT_BYTES = 256 * 1024
"""So much is kept at most before the framing is taken off: little enough not to delay the stamps of others."""


class Connection(asyncio.Protocol):
    """One socket."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.exchange: Exchange | None = None
        self.request = b""
        """What was last written, to be tried again if the server had closed the connection by then."""
        self.on_end: Callable[[Connection, Exchange], None] | None = None
        """Told once the exchange under way is over, whatever became of it."""
        self._streams = False
        """Whether packets of the exchange under way may wait."""
        self._kept = 0
        self._descriptor: int | None = None
        self._reader: Reader | None = None

    # asyncio
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if transport.get_extra_info("ssl_object") is None:
            self._descriptor = transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        self.take(data, time.perf_counter())

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost(exc)

    # the reader's
    def read_by(self, reader: Reader) -> None:
        """Has a reader take in what arrives, where the bytes are the socket's own: those of TLS are not."""
        if self.transport is not None and self._descriptor is not None:
            self.transport.pause_reading()
            self._reader = reader
            reader.add(self._descriptor, self)

    def take(self, data: bytes, time_s: float) -> None:
        """Bytes that arrived at a moment."""
        exchange = self.exchange
        if exchange is None:
            self.close()  # bytes that nobody asked for
            return
        exchange.packets.append(data)
        exchange.packet_times.append(time_s)
        if self._streams:
            self._kept += len(data)
            # what ends a chunked message is \r\n\r\n, whole or with its last bytes in a packet of their own
            if len(data) > 3 and not data.endswith(b"\r\n\r\n") and self._kept < _KEPT_BYTES:
                return
        elif exchange.first_byte_s is None:
            exchange.first_byte_s = time_s
        self._look(exchange)

    def lost(self, error: Exception | None) -> None:
        """The server has closed the connection, or it has failed."""
        self.close()
        self.transport = self._descriptor = None
        self.digest()
        exchange = self.exchange
        if exchange is None:
            return
        if error is None and exchange.http_status is not None and not exchange.framed and exchange.parts:
            self._finish(exchange, time.perf_counter())
        else:
            said = error.strerror if isinstance(error, OSError) else None
            self.fail("reset", said or str(error or "") or "the server closed the connection")

    # ours
    def digest(self) -> None:
        """Takes the framing off all packets that were kept, and sees whether that was the end."""
        if self.exchange is not None:
            self.exchange.digest()
            self._judge(self.exchange)

    def _look(self, exchange: Exchange) -> None:
        """Sees whether the packets that were kept are the end of an answer."""
        if not self._streams:
            exchange.digest(until_head=True)
            self._streams = exchange.streams
            if not exchange.packets:
                self._judge(exchange)
                return
            self._kept = len(exchange.packets[0])
            if self._kept > 3 and not exchange.packets[0].endswith(b"\r\n\r\n") and self._kept < _KEPT_BYTES:
                return
        if exchange.between_chunks and self._kept <= limits.MAX_BODY_BYTES:
            done_s = exchange.end_s()
            if done_s is not None:
                exchange.last_byte_s = exchange.packet_times[-1]
                self._release(exchange, OK, None, done_s)
                return
        self.digest()

    def _judge(self, exchange: Exchange) -> None:
        self._kept = 0
        if (oversize := exchange.oversize) is not None:
            self.fail("oversize", oversize)
        elif exchange.complete:
            self._finish(exchange, exchange.last_byte_s)
        elif exchange.fault is not None:
            self.fail("malformed", exchange.fault)

    def finish_at(self, done_s: float) -> None:
        """Takes the exchange for answered, though its HTTP message has not ended; the connection is not used again."""
        if self.exchange is not None:
            self.exchange.keep_alive = False
            self._finish(self.exchange, done_s)

    def _finish(self, exchange: Exchange, last_s: float | None) -> None:
        self._release(exchange, OK, None, exchange.done_line_s() or last_s)

    def fail(self, status: str, detail: str) -> None:
        """Ends the exchange under way with a fault, and the connection with it."""
        if self.exchange is not None and self.exchange.packets:
            self.digest()  # what arrived before the fault is kept; it may even be the end
        exchange = self.exchange
        if exchange is not None:
            exchange.keep_alive = False
            self._release(exchange, status, detail, None)
        self.close()

    def _release(self, exchange: Exchange, status: str, detail: str | None, done_s: float | None) -> None:
        exchange.end(status, detail, done_s)
        self.exchange = None
        self._streams = False
        self._kept = 0
        if not exchange.keep_alive:
            self.close()
        if self.on_end is not None:
            self.on_end(self, exchange)

    def send(self, request: bytes, exchange: Exchange) -> None:
        """Writes a request on an open connection. The send is stamped at the write."""
        assert self.transport is not None  # noqa: S101 - the caller looked at `is_open`
        self.exchange = exchange
        self.request = request
        written = 0
        exchange.sent_s = time.perf_counter()
        if self._descriptor is not None:
            # the event loop would hold the bytes back until it has looked at all other sockets
            with contextlib.suppress(OSError):  # which the transport meets as well, and reports
                written = os.write(self._descriptor, request)
        if written < len(request):
            self.transport.write(request[written:])

    @property
    def held_bytes(self) -> int:
        """What is kept of the answer under way, about."""
        return self._kept + self.exchange.undressed_bytes if self.exchange is not None else 0

    @property
    def quiet_since_s(self) -> float | None:
        """When the last packet of the answer under way arrived."""
        return self.exchange.since_s() if self.exchange is not None else None

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent."""
        return self.transport is not None and not self.transport.is_closing()

    def close(self) -> None:
        """Closes the socket at once."""
        if self._reader is not None and self._descriptor is not None:
            self._reader.remove(self._descriptor)
            self._reader = None
        if self.transport is not None:
            self.transport.abort()
