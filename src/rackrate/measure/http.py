"""The timed path: one HTTP/1.1 connection that carries one streamed answer at a time.

Bytes are stamped as the event loop hands them over and kept; parsing HTTP framing is left to httptools (llhttp),
JSON is not touched. A client is a set of such connections and one watchman that enforces the timeouts.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

import httptools

from rackrate.errors import EndpointError
from rackrate.measure.sse import Piece, chunks_so_far
from rackrate.records import OK

MAX_BODY_BYTES = 64 * 2**20
"""An answer larger than this is a fault; 100,000 tokens of streamed JSON are about 25 MB."""
_DONE_LINE = re.compile(rb"[\r\n]data: ?\[DONE\]")
_DONE_FIRST = re.compile(rb"data: ?\[DONE\]")
_DONE_LENGTH = len("\ndata: [DONE]")
_DONE_GRACE_S = 1.0
"""How long the end of the HTTP message may lag behind the stream's [DONE] before the connection is given up."""


@dataclass(frozen=True)
class Timeouts:
    """In seconds."""

    connect_s: float = 10.0
    first_token_s: float = 120.0
    gap_s: float = 60.0
    total_s: float = 600.0


@dataclass(frozen=True)
class Target:
    """Where requests go."""

    scheme: str
    host: str
    port: int
    path: str
    """What comes before /v1/..., without a trailing slash."""

    @property
    def url(self) -> str:
        """The base URL, without /v1."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = {"http": 80, "https": 443}[self.scheme]
        return f"{self.scheme}://{host}{'' if self.port == default else f':{self.port}'}{self.path}"

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine's loopback."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")


def parse_url(url: str) -> Target:
    """A base URL, with or without /v1 or /v1/chat/completions behind it.

    >>> parse_url("http://127.0.0.1:8000/v1/").url
    'http://127.0.0.1:8000'

    Raises:
        EndpointError: not an http(s) URL, or one that carries a password.
    """
    if "@" in url:
        # whatever else is wrong, a secret is never repeated
        raise EndpointError("--url holds a password; put the key into an environment variable (see --key-env)")
    if "?" in url:
        raise EndpointError("--url has a query; give the base URL only")
    if "#" in url:
        raise EndpointError(f"--url {url!r} has a query or fragment; give the base URL only")
    try:
        parts: SplitResult = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError as error:
        raise EndpointError(f"--url {url!r} is not a URL ({error})") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise EndpointError(f"--url {url!r} is not an http or https URL, such as http://127.0.0.1:8000")
    if port == 0:
        raise EndpointError(f"--url {url!r} names port 0, on which nobody can listen")
    path = parts.path.rstrip("/")
    for tail in ("/chat/completions", "/completions", "/models"):
        path = path.removesuffix(tail)
    path = path.rstrip("/").removesuffix("/v1")
    return Target(parts.scheme, parts.hostname, port or {"http": 80, "https": 443}[parts.scheme], path)


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
    pieces: list[Piece] = field(default_factory=list[Piece])
    size: int = 0
    tail: bytes = b""
    """The last few bytes, in which the stream's end may have begun."""
    has_token: bool = False
    """Whether the watchman has seen a token in it."""
    status: str = ""
    """OK once answered, else the fault (see records.FAULTS); empty while under way."""
    detail: str | None = None

    @property
    def body(self) -> bytes:
        """All of the body that arrived."""
        return b"".join(piece for _, piece in self.pieces)


def _ends_stream(window: bytes, size: int) -> bool:
    """Whether a line `data: [DONE]` is among the last bytes of a body, of which `size` have come."""
    return bool(_DONE_LINE.search(window) or (len(window) == size and _DONE_FIRST.match(window)))


class _Connection(asyncio.Protocol):
    """One socket. Callbacks named on_* are httptools'."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.parser = httptools.HttpResponseParser(self)
        self.exchange: Exchange | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.now = 0.0
        self.keep_alive = True
        self.framed = False
        """Whether the response says where it ends; if not, the end of the connection ends it."""

    # asyncio
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.now = time.perf_counter()
        exchange = self.exchange
        if exchange is None:
            self.close()  # bytes that nobody asked for
            return
        if exchange.first_byte_s is None:
            exchange.first_byte_s = self.now
        exchange.last_byte_s = self.now
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fail("malformed", "the server wants to speak another protocol")
        except httptools.HttpParserError as error:
            self.fail("malformed", f"not HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.exchange is None:
            return
        self.now = time.perf_counter()
        if exc is None and self.exchange.http_status is not None and not self.framed and self.exchange.pieces:
            self._finish()
        else:
            self.fail("reset", str(exc) if exc else "the server closed the connection")

    # httptools
    def on_message_begin(self) -> None:
        self.framed = False
        self.keep_alive = True

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        match name.lower():
            case b"content-type":
                exchange.content_type = value.decode("latin-1").split(";")[0].strip().lower()
            case b"content-length" | b"transfer-encoding":
                self.framed = True
            case b"retry-after":
                exchange.retry_after = value.decode("latin-1")
            case b"location":
                exchange.location = value.decode("latin-1")
            case _:
                pass

    def on_headers_complete(self) -> None:
        if self.exchange is not None:
            self.exchange.http_status = self.parser.get_status_code()
            self.keep_alive = self.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        exchange.pieces.append((self.now, body))
        exchange.size += len(body)
        window = exchange.tail + body
        if exchange.size > MAX_BODY_BYTES:
            self.fail("oversize", f"more than {MAX_BODY_BYTES >> 20} MiB")
        elif exchange.done_s is None and b"[DONE]" in window and _ends_stream(window, exchange.size):
            exchange.done_s = self.now
        exchange.tail = window[-_DONE_LENGTH:]

    def on_message_complete(self) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.http_status is not None and 100 <= exchange.http_status < 200:
            return  # early hints and the like: the answer proper is still to come
        self._finish()

    # ours
    def _finish(self) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        exchange.status = OK
        if exchange.done_s is None:
            exchange.done_s = self.now
        self._release()

    def fail(self, status: str, detail: str) -> None:
        """Ends the exchange under way with a fault, and the connection with it."""
        exchange = self.exchange
        if exchange is not None:
            exchange.status, exchange.detail = status, detail
            exchange.done_s = time.perf_counter()
            self._release()
        self.close()

    def _release(self) -> None:
        self.exchange = None
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if not self.keep_alive:
            self.close()

    def send(self, request: bytes, exchange: Exchange) -> asyncio.Future[None]:
        """Writes a request; the future is done when the exchange is over. The send is stamped at the write."""
        assert self.transport is not None  # noqa: S101 - the caller looked at `is_open`
        self.parser = httptools.HttpResponseParser(self)
        self.exchange = exchange
        self.waiter = asyncio.get_running_loop().create_future()
        waiter = self.waiter
        exchange.sent_s = time.perf_counter()
        self.transport.write(request)
        return waiter

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent."""
        return self.transport is not None and not self.transport.is_closing()

    def close(self) -> None:
        """Closes the socket at once."""
        if self.transport is not None:
            self.transport.abort()


class Client:
    """Connections to one target. Use it as an async context: leaving it closes them and stops the watchman."""

    def __init__(self, target: Target, api_key: str | None = None, timeouts: Timeouts | None = None) -> None:
        self.target = target
        self.timeouts = timeouts or Timeouts()
        self._api_key = api_key
        self._connections: set[_Connection] = set()
        self._idle: list[_Connection] = []
        self._watchman: asyncio.Task[None] | None = None
        self.reuses = False
        """Whether the server kept the connection open after the last answer."""
        self._tls = ssl.create_default_context() if target.scheme == "https" else None

    async def __aenter__(self) -> Client:
        self._watchman = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._watchman is not None:
            self._watchman.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watchman
        for connection in list(self._connections):
            connection.close()
        await asyncio.sleep(0)  # lets the transports close

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The bytes of a request, ready to be written."""
        target = self.target
        host = f"[{target.host}]" if ":" in target.host else target.host
        lines = [
            f"{method} {target.path}{path} HTTP/1.1",
            f"Host: {host}:{target.port}",
            "User-Agent: rackrate",
            "Accept: text/event-stream, application/json, text/plain",
        ]
        if self._api_key:
            lines.append(f"Authorization: Bearer {self._api_key}")
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    async def exchange(self, request: bytes) -> Exchange:
        """Sends one request and waits for the whole answer. Faults are in the result, never raised.

        A connection that was used before may have been closed by the server just as the request was written: one that
        ends without a single byte is tried once more on a new connection, which is no fault.
        """
        return await self.start(request)

    def start(self, request: bytes) -> Coroutine[Any, Any, Exchange]:
        """As `exchange`, but the request is written before this returns, where an open connection is at hand."""
        connection = self._take()
        if connection is None:
            return self._anew(request)
        exchange = Exchange(started_s=time.perf_counter())
        return self._see_through(connection, connection.send(request, exchange), exchange, request)

    async def _see_through(
        self, connection: _Connection, waiter: asyncio.Future[None], exchange: Exchange, request: bytes
    ) -> Exchange:
        try:
            await waiter
        except asyncio.CancelledError:
            connection.fail("stopped", "the measurement was stopped")
            raise
        self._release(connection)
        if exchange.status == "reset" and exchange.first_byte_s is None:
            return await self._anew(request)
        return exchange

    async def _anew(self, request: bytes) -> Exchange:
        """An exchange on a new connection."""
        exchange = Exchange(started_s=time.perf_counter())
        connection = await self._connect(exchange)
        if connection is None:
            return exchange
        try:
            await connection.send(request, exchange)
        except asyncio.CancelledError:
            connection.fail("stopped", "the measurement was stopped")
            raise
        self._release(connection)
        return exchange

    def _release(self, connection: _Connection) -> None:
        self.reuses = connection.is_open
        if connection.is_open:
            self._idle.append(connection)
        else:
            self._connections.discard(connection)

    async def open_spares(self, wanted: int) -> None:
        """Opens connections until so many are idle, unless the server closes them after each answer anyway."""
        missing = wanted - len(self._idle) if self.reuses else 0
        for connection in await asyncio.gather(*(self._connect(Exchange(0.0)) for _ in range(missing))):
            if connection is not None:
                self._idle.append(connection)

    def abort(self) -> None:
        """Ends every exchange under way with the status `stopped`."""
        for connection in list(self._connections):
            connection.fail("stopped", "the measurement was stopped")

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            self._connections.discard(connection)
        return None

    async def _connect(self, exchange: Exchange) -> _Connection | None:
        loop = asyncio.get_running_loop()
        target, limit = self.target, self.timeouts.connect_s
        try:
            async with asyncio.timeout(limit):
                _, connection = await loop.create_connection(
                    _Connection,
                    target.host,
                    target.port,
                    ssl=self._tls,
                    server_hostname=target.host if self._tls else None,
                )
        except TimeoutError:
            exchange.status, exchange.detail = "timeout-connect", f"no connection within {limit:g} s"
        except ssl.SSLError as error:
            exchange.status, exchange.detail = "tls", str(error.reason or error)
        except UnicodeError:
            exchange.status, exchange.detail = "refused", f"{target.host!r} cannot be the name of a host"
        except OSError as error:
            exchange.status, exchange.detail = "refused", error.strerror or str(error)
        else:
            self._connections.add(connection)
            return connection
        exchange.done_s = time.perf_counter()
        return None

    async def _watch(self) -> None:
        """Looks at every exchange ten times a second and ends those that took too long."""
        limits = self.timeouts
        while True:
            await asyncio.sleep(0.1)
            now = time.perf_counter()
            for connection in list(self._connections):
                exchange = connection.exchange
                if exchange is None or exchange.sent_s is None:
                    continue
                waited = now - exchange.sent_s
                if exchange.done_s is not None:
                    if now - exchange.done_s > _DONE_GRACE_S:
                        done_s = exchange.done_s
                        connection.now, connection.keep_alive = done_s, False
                        connection.on_message_complete()
                elif waited > limits.total_s:
                    connection.fail("timeout-total", f"not done within {limits.total_s:g} s")
                elif waited > limits.first_token_s and not self._has_token(exchange):
                    connection.fail("timeout-first-token", f"no token within {limits.first_token_s:g} s")
                elif exchange.pieces and now - (exchange.last_byte_s or now) > limits.gap_s:
                    if self._has_token(exchange):
                        connection.fail("timeout-gap", f"nothing for {limits.gap_s:g} s")
                    elif waited > limits.first_token_s:
                        connection.fail("timeout-first-token", f"no token within {limits.first_token_s:g} s")

    @staticmethod
    def _has_token(exchange: Exchange) -> bool:
        """Whether text has arrived; a role or a comment is none. Decodes only until the first."""
        if not exchange.has_token and exchange.pieces:
            exchange.has_token = bool(chunks_so_far(exchange.pieces))
        return exchange.has_token
