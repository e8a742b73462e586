"""Connections to one target, kept open from request to request, and the watchman that enforces the timeouts."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable

from rackrate.measurement.connection import Connection
from rackrate.measurement.exchange import Exchange
from rackrate.measurement.reader import READS_AT_ONCE, Reader
from rackrate.measurement.sse import chunks_so_far
from rackrate.measurement.target import Target, Timeouts

_DONE_GRACE_S = 1.0
"""How long the end of the HTTP message may lag behind the stream's [DONE] before the connection is given up."""
_WATCH_S = 0.1
_WATCH_AT_ONCE = 16
"""Exchanges are looked at in one go: some 30 us."""
_MANY = 16
"""A server that keeps so many connections open has no thread for each, which an idle one would take from a request."""
_SPARES = 4
"""Idle connections that are opened ahead. Opening one takes 0.4 ms, by which its request would be late."""
_LOOK_AGAIN = 2.0
"""A stream that flows is looked at again once it has lasted so many times as long: comments may follow [DONE] for
ever."""
_ALL_BYTES = 2**30
"""What all answers under way may take. Beyond, the largest is a fault: no other could be held to its own limit."""
_QUIET_S = 0.2
"""A stream that was silent for so long is looked at by the watchman; one that flows tells by itself when it ends."""

Done = Callable[[Exchange], None]


class Client:
    """Connections to one target. Use it as an async context: leaving it closes them and stops the watchman."""

    def __init__(self, target: Target, api_key: str | None = None, timeouts: Timeouts | None = None) -> None:
        self.target = target
        self.timeouts = timeouts or Timeouts()
        self._api_key = api_key
        self._heads: dict[tuple[str, str], bytes] = {}
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []
        self._waiting: dict[Connection, Done] = {}
        self._connecting: set[asyncio.Task[None]] = set()
        self._opening = 0
        """Connections that are being opened ahead."""
        self._spares_fail = False
        """Whether one could not be opened: the next request will say why."""
        self._watchman: asyncio.Task[None] | None = None
        self.reader: Reader | None = None
        """Takes in what arrives, where the system can tell when it did."""
        self.reuses = False
        """Whether the server kept the connection open after the last answer."""
        self._tls: ssl.SSLContext | None = ssl.create_default_context() if target.scheme == "https" else None

    async def __aenter__(self) -> Client:
        if READS_AT_ONCE:
            self.reader = Reader()
        self._watchman = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._watchman is not None:
            self._watchman.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watchman
        self.abort()
        for connection in list(self._connections):
            connection.close()
        if self.reader is not None:
            self.reader.close()
            self.reader = None
        await asyncio.sleep(0)  # lets the transports close

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The bytes of a request, ready to be written."""
        head = self._heads.get((method, path))
        if head is None:
            head = self._heads[method, path] = self._head(method, path)
        if not body:
            return head + b"\r\n"
        return b"%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body)

    def _head(self, method: str, path: str) -> bytes:
        """The lines that all requests for a page begin with."""
        target = self.target
        host = f"[{target.host}]" if ":" in target.host else target.host
        lines = [
            f"{method} {target.path}{path} HTTP/1.1",
            f"Host: {host}:{target.port}",
            "User-Agent: rackrate",
            "Accept: text/event-stream, application/json, text/plain",
            "Accept-Encoding: identity",
        ]
        if self._api_key:
            lines.append(f"Authorization: Bearer {self._api_key}")
        return "\r\n".join([*lines, ""]).encode("latin-1")

    def post(self, request: bytes, done: Done) -> None:
        """Sends a request, and calls `done` once with the whole answer. Faults are in the exchange, never raised.

        Where an open connection is at hand the request is written before this returns. A connection that was used
        before may have been closed by the server just as the request was written: one that ends without a single byte
        is tried once more on a new connection, which is no fault.
        """
        connection = self._take()
        if connection is None:
            self._anew(request, done)
        else:
            self._waiting[connection] = done
            connection.on_end = self._ended_used
            connection.send(request, Exchange(started_s=time.perf_counter()))

    async def exchange(self, request: bytes) -> Exchange:
        """As `post`, and waits for the answer."""
        future: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()
        self.post(request, lambda exchange: None if future.done() else future.set_result(exchange))
        return await future

    def _anew(self, request: bytes, done: Done) -> None:
        """Sends a request on a new connection."""
        exchange = Exchange(started_s=time.perf_counter())

        async def connect() -> None:
            connection = await self._connect(exchange)
            if connection is None:
                done(exchange)
                return
            self._waiting[connection] = done
            connection.on_end = self._ended
            connection.send(request, exchange)

        def over(task: asyncio.Task[None]) -> None:
            self._connecting.discard(task)
            if task.cancelled():
                exchange.status, exchange.detail = "stopped", "the measurement was stopped"
                exchange.done_s = time.perf_counter()
                done(exchange)

        task = asyncio.get_running_loop().create_task(connect())
        self._connecting.add(task)
        task.add_done_callback(over)

    def _ended_used(self, connection: Connection, exchange: Exchange) -> None:
        """What becomes of an exchange on a connection that had been used before."""
        if exchange.status == "reset" and exchange.first_byte_s is None:
            done = self._waiting.pop(connection)
            self._put_back(connection)
            self._anew(connection.request, done)
        else:
            self._ended(connection, exchange)

    def _ended(self, connection: Connection, exchange: Exchange) -> None:
        done = self._waiting.pop(connection)
        if self.reader is not None and exchange.done_s is not None:
            self.reader.answered(exchange.done_s - exchange.started_s)
        self._put_back(connection)
        done(exchange)

    def _put_back(self, connection: Connection) -> None:
        self.reuses = connection.is_open
        if self.reuses:
            self._idle.append(connection)
        else:
            self._connections.discard(connection)

    def hold_until(self, due_s: float) -> None:
        """Something is to be sent at this moment of `time.perf_counter`: nothing is read just before."""
        if self.reader is not None:
            self.reader.hold_s = due_s

    async def open_spares(self, wanted: int) -> None:
        """Opens connections until so many are idle, unless the server closes them after each answer anyway."""
        missing = wanted - len(self._idle) if self.reuses else 0
        for connection in await asyncio.gather(*(self._connect(Exchange(0.0)) for _ in range(missing))):
            if connection is not None:
                self._idle.append(connection)

    @property
    def wants_spare(self) -> bool:
        """Whether another connection should be opened ahead: so many are in use that more will be, and few are left."""
        return (
            self.reuses
            and not self._spares_fail
            and len(self._connections) >= _MANY
            and len(self._idle) + self._opening < _SPARES
        )

    def open_spare(self) -> None:
        """Begins to open a connection. It is used once no other is idle."""
        self._opening += 1
        task = asyncio.get_running_loop().create_task(self._open_spare())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _open_spare(self) -> None:
        try:
            connection = await self._connect(Exchange(0.0))
        finally:
            self._opening -= 1
        if connection is not None:
            self._idle.insert(0, connection)
        else:
            self._spares_fail = True

    def abort(self) -> None:
        """Ends every exchange under way with the status `stopped`."""
        for connection in list(self._connections):
            connection.fail("stopped", "the measurement was stopped")
        for task in list(self._connecting):
            task.cancel()

    def _take(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            self._connections.discard(connection)
        return None

    async def _connect(self, exchange: Exchange) -> Connection | None:
        loop = asyncio.get_running_loop()
        target, limit = self.target, self.timeouts.connect_s
        try:
            async with asyncio.timeout(limit):
                _, connection = await loop.create_connection(
                    Connection,
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
            if self.reader is not None:
                connection.read_by(self.reader)
            return connection
        exchange.done_s = time.perf_counter()
        return None

    async def _watch(self) -> None:
        """Looks at every exchange ten times a second and ends those that took too long."""
        skipped = False
        while True:
            due_s = time.perf_counter() + _WATCH_S
            await asyncio.sleep(_WATCH_S)
            # what this process had no time to read is no silence of the server's
            late = time.perf_counter() - due_s > _WATCH_S
            if late and self.reader is not None:
                self.reader.catch_up()
            skipped = late and not skipped and self._tls is not None
            if skipped:
                continue  # the event loop reads TLS, and comes to it first
            held_bytes = 0
            for number, connection in enumerate(list(self._connections), start=1):
                exchange = connection.exchange
                if exchange is not None and exchange.sent_s is not None:
                    self._watch_one(connection, exchange, exchange.sent_s, time.perf_counter())
                    held_bytes += connection.held_bytes
                if number % _WATCH_AT_ONCE == 0:
                    await asyncio.sleep(0)  # a request may be due
            if held_bytes > _ALL_BYTES:
                self._hold_to_memory()

    def _hold_to_memory(self) -> None:
        """Ends the largest answer under way if all take too much together."""
        if sum(connection.held_bytes for connection in self._connections) > _ALL_BYTES:
            largest = max(self._connections, key=lambda connection: connection.held_bytes)
            largest.fail("oversize", f"the largest of answers that took more than {_ALL_BYTES >> 20} MiB together")

    def _watch_one(self, connection: Connection, exchange: Exchange, sent_s: float, now: float) -> None:
        limits = self.timeouts
        waited = now - sent_s
        heard_s = connection.quiet_since_s
        quiet = now - heard_s if heard_s is not None else 0.0
        due = waited > max(exchange.look_s, _DONE_GRACE_S)
        looks = due and exchange.may_be_done
        if quiet > min(_QUIET_S, limits.gap_s) or waited > limits.first_token_s or looks:
            connection.digest()
            if connection.exchange is not exchange:
                return
        if due:
            exchange.look_s = waited * _LOOK_AGAIN
        done_s = exchange.done_line_s() if looks or quiet > _DONE_GRACE_S else None
        if done_s is not None and now - done_s > _DONE_GRACE_S:
            connection.finish_at(done_s)
        elif waited > limits.total_s:
            connection.fail("timeout-total", f"not done within {limits.total_s:g} s")
        elif waited > limits.first_token_s and not self._has_token(exchange):
            connection.fail("timeout-first-token", f"no token within {limits.first_token_s:g} s")
        elif quiet > limits.gap_s and exchange.parts:
            if self._has_token(exchange):
                connection.fail("timeout-gap", f"nothing for {limits.gap_s:g} s")
            elif waited > limits.first_token_s:
                connection.fail("timeout-first-token", f"no token within {limits.first_token_s:g} s")

    @staticmethod
    def _has_token(exchange: Exchange) -> bool:
        """Whether text has arrived; a role or a comment is none. Decodes only until the first."""
        if not exchange.has_token and exchange.parts:
            exchange.has_token = bool(chunks_so_far(exchange.times, exchange.parts))
        return exchange.has_token
