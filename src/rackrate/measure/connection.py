"""The timed path: one HTTP/1.1 connection that carries one streamed answer at a time.

While an answer streams, a packet is stamped and kept, and nothing else: of a whole chunk of the transfer coding only
the last bytes are looked at, to see whether the message may end there. Every 32 packets, at the end, or when the
watchman comes by, what was kept is digested: chunks that arrived whole are unwrapped here, all other framing is left to
httptools (llhttp). Each piece of the body keeps the moment at which its packet arrived. JSON is not touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import httptools

from rackrate.measure.sse import Piece
from rackrate.records import OK

MAX_BODY_BYTES = 64 * 2**20
"""An answer larger than this is a fault; 100,000 tokens of streamed JSON are about 25 MB."""
_DIGEST_PACKETS = 32
"""So many packets are kept at most before they are digested: little enough not to delay the stamps of others."""
_LARGE_PACKET = 16 * 1024
"""One that is larger is digested at once, so that an answer that is too large does not grow further."""


@dataclass(slots=True)
class Exchange:
    """One request and what came back, as raw as it came. Times on `time.perf_counter`."""

    started_s: float
    sent_s: float | None = None
    first_byte_s: float | None = None
    last_byte_s: float | None = None
    done_s: float | None = None
    http_status: int | None = None
    content_type: str = ""
    retry_after: str | None = None
    location: str | None = None
    times: list[float] = field(default_factory=list[float])
    """When each of `parts` arrived."""
    parts: list[bytes] = field(default_factory=list[bytes])
    """The body, in pieces as they arrived."""
    size: int = 0
    has_token: bool = False
    """Whether the watchman has seen a token in it."""
    status: str = ""
    """OK once answered, else the fault (see records.FAULTS); empty while under way."""
    detail: str | None = None

    @property
    def pieces(self) -> list[Piece]:
        """The body piece by piece, each with its time."""
        return list(zip(self.times, self.parts, strict=True))

    @property
    def body(self) -> bytes:
        """All of the body that arrived."""
        return b"".join(self.parts)

    def done_line_s(self) -> float | None:
        """When the line `data: [DONE]` was in, if it was."""
        body = self.body
        at = body.find(b"[DONE]")
        while at >= 0 and not _begins_line(body, at):  # it may also be in a text
            at = body.find(b"[DONE]", at + 1)
        if at < 0:
            return None
        end = at + len(b"[DONE]")
        for time_s, part in zip(self.times, self.parts, strict=True):
            end -= len(part)
            if end <= 0:
                return time_s
        raise AssertionError  # pragma: no cover - it lies within the parts


def _begins_line(body: bytes, at: int) -> bool:
    """Whether all that stands before a place in its line is `data:`."""
    for field_name in (b"data: ", b"data:"):
        start = at - len(field_name)
        if body.startswith(field_name, max(start, 0)) and start >= 0:
            return start == 0 or body[start - 1] in b"\r\n"
    return False


class Connection(asyncio.Protocol):
    """One socket. Callbacks named on_* are httptools'."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.exchange: Exchange | None = None
        self.request = b""
        """What was last written, to be tried again if the server had closed the connection by then."""
        self.on_end: Callable[[Connection, Exchange], None] | None = None
        """Told once the exchange under way is over, whatever became of it."""
        self._parser = httptools.HttpResponseParser(self)
        self._now = 0.0
        self._keep_alive = True
        self._framed = False
        """Whether the response says where it ends; if not, the end of the connection ends it."""
        self._streams = False
        """Whether a chunked body is under way, so that packets may wait to be digested."""
        self._between_chunks = False
        """Whether the parser is where a chunk begins: one that is whole need not pass through it."""
        self._complete = False
        """Whether the parser has seen the end of the message; what it sees after that belongs to nobody."""
        self._descriptor: int | None = None
        self._packets: list[bytes] = []
        self._packet_times: list[float] = []

    # asyncio
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if transport.get_extra_info("ssl_object") is None:
            self._descriptor = transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._packets.append(data)
        self._packet_times.append(now)
        # what ends a chunked message is \r\n\r\n, whole or with its last bytes in a packet of their own
        if (
            self._streams
            and 3 < len(data) < _LARGE_PACKET
            and not data.endswith(b"\r\n\r\n")
            and len(self._packets) < _DIGEST_PACKETS
        ):
            return
        exchange = self.exchange
        if exchange is None:
            self.close()  # bytes that nobody asked for
            return
        if exchange.first_byte_s is None:
            exchange.first_byte_s = now
        self.digest()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = self._descriptor = None
        self.digest()
        exchange = self.exchange
        if exchange is None:
            return
        self._now = time.perf_counter()
        if exc is None and exchange.http_status is not None and not self._framed and exchange.parts:
            self._finish()
        else:
            self.fail("reset", str(exc) if exc else "the server closed the connection")

    # httptools
    def on_message_begin(self) -> None:
        if self._complete:
            self._keep_alive = False  # a second answer to one request
            return
        self._framed = False
        self._keep_alive = True

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self.exchange
        if exchange is None or self._complete:
            return
        match name.lower():
            case b"content-type":
                exchange.content_type = value.decode("latin-1").split(";")[0].strip().lower()
            case b"content-length":
                self._framed = True
            case b"transfer-encoding":
                self._framed = True
                self._streams = value.strip().lower() == b"chunked"
            case b"retry-after":
                exchange.retry_after = value.decode("latin-1")
            case b"location":
                exchange.location = value.decode("latin-1")
            case _:
                pass

    def on_headers_complete(self) -> None:
        if self.exchange is not None and not self._complete:
            self.exchange.http_status = self._parser.get_status_code()
            self._keep_alive = self._parser.should_keep_alive()
            self._between_chunks = self._streams

    def on_chunk_header(self) -> None:
        self._between_chunks = False

    def on_chunk_complete(self) -> None:
        self._between_chunks = True

    def on_body(self, body: bytes) -> None:
        exchange = self.exchange
        if exchange is not None and not self._complete:
            exchange.times.append(self._now)
            exchange.parts.append(body)
            exchange.size += len(body)

    def on_message_complete(self) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.http_status is not None and 100 <= exchange.http_status < 200:
            self._streams = False
            return  # early hints and the like: the answer proper is still to come
        self._complete = True

    # ours
    def digest(self) -> None:
        """Takes the framing off all packets that were kept, each stamped with its own time."""
        exchange = self.exchange
        packets, times = self._packets, self._packet_times
        self._packets, self._packet_times = [], []
        if exchange is None or not packets:
            return
        exchange.last_byte_s = times[-1]
        for number, data in enumerate(packets):
            if self._between_chunks:
                head = data.find(b"\r\n", 1, 8)
                size = data[:head]
                # digits only, and none that `int` would take and HTTP would not: a sign, a space, 0x, an underscore
                if head > 0 and size.isalnum() and size[0] != 48 and data.endswith(b"\r\n"):
                    try:
                        whole = int(size, 16) == len(data) - head - 4
                    except ValueError:
                        whole = False
                    if whole:
                        exchange.times.append(times[number])
                        exchange.parts.append(data[head + 2 : -2])
                        exchange.size += len(data) - head - 4
                        continue
            self._now = times[number]
            fault = None
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade:
                fault = "the server wants to speak another protocol"
            except httptools.HttpParserError as error:
                fault = f"not HTTP: {error}"
            if exchange.size > MAX_BODY_BYTES:
                break
            if self._complete:
                # bytes that nobody asked for may follow the answer: whole it is, but the connection is not used again
                self._keep_alive = self._keep_alive and fault is None and number + 1 == len(packets)
                self._finish()
                return
            if fault is not None:
                self.fail("malformed", fault)
                return
        if exchange.size > MAX_BODY_BYTES:
            self.fail("oversize", f"more than {MAX_BODY_BYTES >> 20} MiB")

    def finish_at(self, done_s: float) -> None:
        """Takes the exchange for answered, though its HTTP message has not ended; the connection is not used again."""
        self._now, self._keep_alive = done_s, False
        self._finish()

    def _finish(self) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        exchange.status = OK
        exchange.done_s = exchange.done_line_s() or self._now
        self._release(exchange)

    def fail(self, status: str, detail: str) -> None:
        """Ends the exchange under way with a fault, and the connection with it."""
        self.digest()  # what arrived before the fault is kept; it may even be the end
        exchange = self.exchange
        self._keep_alive = False
        if exchange is not None:
            exchange.status, exchange.detail = status, detail
            exchange.done_s = time.perf_counter()
            self._release(exchange)
        self.close()

    def _release(self, exchange: Exchange) -> None:
        self.exchange = None
        self._streams = self._between_chunks = False
        if not self._keep_alive:
            self.close()
        if self.on_end is not None:
            self.on_end(self, exchange)

    def send(self, request: bytes, exchange: Exchange) -> None:
        """Writes a request on an open connection. The send is stamped at the write."""
        assert self.transport is not None  # noqa: S101 - the caller looked at `is_open`
        self._parser = httptools.HttpResponseParser(self)
        self._complete = False
        self.exchange = exchange
        self.request = request
        self._packets.clear()
        self._packet_times.clear()
        written = 0
        exchange.sent_s = time.perf_counter()
        if self._descriptor is not None:
            # the event loop would hold the bytes back until it has looked at all other sockets
            with contextlib.suppress(OSError):  # which the transport meets as well, and reports
                written = os.write(self._descriptor, request)
        if written < len(request):
            self.transport.write(request[written:])

    @property
    def quiet_since_s(self) -> float | None:
        """When the last packet of the answer under way arrived."""
        if self._packet_times:
            return self._packet_times[-1]
        return self.exchange.last_byte_s if self.exchange is not None else None

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent."""
        return self.transport is not None and not self.transport.is_closing()

    def close(self) -> None:
        """Closes the socket at once."""
        if self.transport is not None:
            self.transport.abort()
