"""A fast OpenAI-compatible server of known timing, for benchmarks: `python benchmarks/scripted.py --port 8100`.

One thread, one core (pin it from outside, with taskset). Write k of an answer is due --ttft-ms + k * --itl-ms after its
request was read, or had a slot where there are few (--slots c makes a queue of c servers with a fixed service time).
A write carries --chunks-per-write events of --tokens-per-chunk tokens each. Both times 0: as fast as the socket takes
it. Sleeps end a little early and the rest is spun away, so a write is as exact as the core is free.

--log FILE keeps the truth: a line of JSON with the settings, then one for each request for a completion, all times [s]
on CLOCK_MONOTONIC (time.perf_counter of any process on this machine):
  connection, accepted_s, read_s (its last byte was read), slot_s, writes_s (one for each write, stamped as the socket
  has taken it), tokens and asked, input_tokens, done_s (None if the client left), status (200 or 400).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import heapq
import select
import signal
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson
from scripted_stream import Answer, Connection, Script, count_words, page, stream, whole

_clock = time.perf_counter
_HOST = "127.0.0.1"
_BURST = 16
"""Writes between two looks at the sockets, so that a request is never read much after it came."""
_IDLE_S = 0.05
_FLUSH_BYTES = 1 << 18
_PR_SET_TIMERSLACK = 29


class Server:
    """Serves a script until it is told to stop."""

    def __init__(self, script: Script, log: BinaryIO | None) -> None:
        self.script = script
        self._log = log
        self._lines: list[bytes] = []
        self._log_bytes = 0
        self._poll = select.epoll()
        self._open: dict[int, Connection] = {}
        self._due: list[tuple[float, int, Answer]] = []
        self._ready: deque[Answer] = deque()
        """Answers whose next write is due now: those without delay."""
        self._waiting: deque[Answer] = deque()
        self._active = 0
        self._count = 0
        self._connections = 0
        self.tokens = 0
        self.requests = 0
        self.stopping = False
        """Set by a signal: between two writes, so that what was written is in the log."""
        self.late_s = 0.0
        """The sum over writes of how long after they were due they were done."""
        self.writes = 0
        self._listener = socket.create_server((_HOST, script.port), backlog=4096)
        self._listener.setblocking(False)
        self._poll.register(self._listener.fileno(), select.EPOLLIN)
        self._models = page(
            orjson.dumps({"object": "list", "data": [{"id": script.model, "object": "model", "owned_by": "scripted"}]})
        )
        if log is not None:
            self._record({name: getattr(script, name) for name in script.__dataclass_fields__})

    def serve(self) -> None:
        """Serves until it is told to stop."""
        poll, due, ready, spin_s = self._poll, self._due, self._ready, self.script.spin_s
        hurries = self.script.ttft_s <= 0  # then it does not sleep between two requests either
        awake_s = 0.0
        while not self.stopping:
            if ready:
                for _ in range(min(_BURST, len(ready))):
                    self._write_turn(ready.popleft())
            now = _clock()
            for _ in range(_BURST):
                if not due or due[0][0] > now:
                    break
                self._write_due(now)
            if not ready and now > awake_s:
                self._sleep(due[0][0] - _clock() - spin_s if due else _IDLE_S)
            events = poll.poll(0)
            if events and hurries:
                awake_s = now + _IDLE_S
            for number, event in events:
                if number == self._listener.fileno():
                    self._accept()
                    continue
                connection = self._open.get(number)
                if connection is None:
                    continue
                if event & select.EPOLLOUT:
                    self._flush(connection)
                if event & ~select.EPOLLOUT:
                    self._read(connection)

    def _sleep(self, longest_s: float) -> None:
        if longest_s <= 0:
            return
        # epoll counts in whole milliseconds, select on it in microseconds
        if not select.select((self._poll,), (), (), longest_s)[0] and longest_s >= _IDLE_S:
            self.write_log()

    # connections
    def _accept(self) -> None:
        for _ in range(64):
            try:
                raw, _ = self._listener.accept()
            except BlockingIOError:
                return
            raw.setblocking(False)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections += 1
            self._open[raw.fileno()] = Connection(self._connections, raw, _clock())
            self._poll.register(raw.fileno(), select.EPOLLIN)

    def _close(self, connection: Connection) -> None:
        number = connection.raw.fileno()
        if number < 0:
            return
        del self._open[number]
        self._poll.unregister(number)
        connection.raw.close()
        if connection.answer is not None:
            self._end(connection.answer, None)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.raw.recv(1 << 14)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        read_s = _clock()
        if not data:
            self._close(connection)
            return
        connection.received += data
        self._take(connection, read_s)

    def _take(self, connection: Connection, read_s: float) -> None:
        """Takes the next whole request from what was read, unless one is under way."""
        received = connection.received
        while connection.answer is None and connection.raw.fileno() >= 0:
            head_end = received.find(b"\r\n\r\n")
            if head_end < 0:
                return
            head = bytes(received[:head_end])
            fields = head.lower()
            at = fields.find(b"\r\ncontent-length:")
            length = int(fields[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if b"\r\ntransfer-encoding:" in fields:
                connection.keep = False
                self._send(
                    connection, page(b'{"error":{"message":"state the length of the body"}}', "411 Length Required")
                )
                return
            if len(received) < head_end + 4 + length:
                if b"\r\nexpect: 100-continue" in fields:
                    self._send(connection, b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            body = bytes(received[head_end + 4 : head_end + 4 + length])
            del received[: head_end + 4 + length]
            first = head.split(b"\r\n", 1)[0].decode("latin-1")
            connection.keep = b"\r\nconnection: close" not in fields and not first.endswith("HTTP/1.0")
            self._request(connection, first.split(" ")[1].split("?")[0], body, read_s)

    def _request(self, connection: Connection, path: str, body: bytes, read_s: float) -> None:
        if path in {"/v1/chat/completions", "/v1/completions"}:
            self.requests += 1
            try:
                self._start(self._asked(connection, path, cast("dict[str, Any]", orjson.loads(body)), read_s))
            except (ValueError, TypeError, AttributeError) as error:
                self._send(connection, page(orjson.dumps({"error": {"message": str(error)}}), "400 Bad Request"))
        elif path == "/v1/models":
            self._send(connection, self._models)
        elif path in {"/health", "/ping"}:
            self._send(connection, page(b"{}"))
        else:
            self._send(connection, page(b'{"error":{"message":"no such page"}}', "404 Not Found"))

    def _asked(self, connection: Connection, path: str, body: dict[str, Any], read_s: float) -> Answer:
        tokens = body.get("max_completion_tokens", body.get("max_tokens"))
        if tokens is None:
            tokens = self.script.output_tokens
        if not isinstance(tokens, int) or tokens < 1:
            raise ValueError("max_tokens must be a positive whole number")
        options = cast("dict[str, Any]", body.get("stream_options") or {})
        return Answer(
            connection=connection,
            path=path,
            read_s=read_s,
            asked=tokens,
            input_tokens=count_words(body) + self.script.template_tokens,
            streamed=bool(body.get("stream")),
            usage=bool(options.get("include_usage")),
        )

    # answers
    def _start(self, answer: Answer) -> None:
        answer.connection.answer = answer
        if self.script.slots is not None and self._active >= self.script.slots:
            self._waiting.append(answer)
            return
        self._begin(answer, answer.read_s)

    def _begin(self, answer: Answer, slot_s: float) -> None:
        script = self.script
        self._active += 1
        answer.slot_s = slot_s
        if answer.streamed:
            head, answer.packets = stream(answer, script, self.requests)
            wait_s = script.ttft_s
            if wait_s > 0:
                self._send(answer.connection, head)
            else:
                answer.packets[0] = memoryview(head + answer.packets[0])
        else:
            answer.packets = [memoryview(whole(answer, script))]
            per_write = script.tokens_per_chunk * script.chunks_per_write
            wait_s = script.ttft_s + script.itl_s * ((answer.asked - 1) // per_write)
        if wait_s <= 0 and script.itl_s <= 0:
            self._ready.append(answer)
        else:
            self._count += 1
            heapq.heappush(self._due, (slot_s + wait_s, self._count, answer))

    def _write_due(self, now: float) -> None:
        due_s, _, answer = self._due[0]
        if not self._write(answer):
            heapq.heappop(self._due)
            return
        self.late_s += now - due_s
        itl_s = self.script.itl_s
        if itl_s <= 0:
            heapq.heappop(self._due)
            self._ready.append(answer)
            return
        self._count += 1
        heapq.heapreplace(self._due, (due_s + itl_s, self._count, answer))

    def _write_turn(self, answer: Answer) -> None:
        """Writes packets in a row, as fast as the socket takes them: `_write`, many times over, in few instructions."""
        connection, packets, stamp = answer.connection, answer.packets, answer.writes_s.append
        if connection.answer is not answer:
            return
        at = len(answer.writes_s)
        last = min(at + self.script.turn_writes, len(packets) - 1)
        if not connection.unsent:
            send = connection.raw.send
            try:
                for packet in packets[at:last]:
                    sent = send(packet)
                    stamp(_clock())
                    if sent < len(packet):
                        self._keep(connection, packet[sent:])
                        break
            except BlockingIOError:
                self._keep(connection, b"")
            except OSError:
                self._close(connection)
                return
            self.writes += len(answer.writes_s) - at
        if connection.unsent or self._write(answer):
            self._ready.append(answer)

    def _write(self, answer: Answer) -> bool:
        """Writes the next packet; whether there is another."""
        connection = answer.connection
        if connection.answer is not answer:
            return False  # the client left
        if connection.unsent and len(connection.unsent) > 1 << 20:
            return True  # it does not read; what is due waits
        at = len(answer.writes_s)
        packet = answer.packets[at]
        if connection.unsent:
            connection.unsent += packet
        else:
            try:
                sent = connection.raw.send(packet)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._close(connection)
                return False
            if sent < len(packet):
                self._keep(connection, packet[sent:])
        answer.writes_s.append(_clock())
        self.writes += 1
        if at + 1 < len(answer.packets):
            return True
        self._end(answer, answer.writes_s[-1])
        return False

    def _end(self, answer: Answer, done_s: float | None) -> None:
        connection = answer.connection
        connection.answer = None
        if answer.slot_s is not None:
            self._active -= 1
        else:
            self._waiting.remove(answer)
        per_write = self.script.tokens_per_chunk * self.script.chunks_per_write if answer.streamed else answer.asked
        tokens = min(answer.asked, len(answer.writes_s) * per_write)
        self.tokens += tokens
        if self._log is not None:
            self._record(
                {
                    "connection": connection.number,
                    "accepted_s": connection.accepted_s,
                    "path": answer.path,
                    "read_s": answer.read_s,
                    "slot_s": answer.slot_s,
                    "writes_s": answer.writes_s,
                    "tokens": tokens,
                    "asked": answer.asked,
                    "input_tokens": answer.input_tokens,
                    "streamed": answer.streamed,
                    "done_s": done_s,
                }
            )
        if self._waiting:
            self._begin(self._waiting.popleft(), _clock())
        if done_s is not None:
            if not connection.keep and not connection.unsent:
                self._close(connection)
            elif connection.received:
                self._take(connection, _clock())

    # sockets
    def _send(self, connection: Connection, data: bytes) -> None:
        if connection.unsent:
            connection.unsent += data
            return
        sent = 0
        with contextlib.suppress(BlockingIOError):
            try:
                sent = connection.raw.send(data)
            except BlockingIOError:
                raise
            except OSError:
                self._close(connection)
                return
        if sent < len(data):
            self._keep(connection, data[sent:])
        elif not connection.keep and connection.answer is None:
            self._close(connection)

    def _keep(self, connection: Connection, rest: bytes | memoryview) -> None:
        """Keeps what the socket did not take, to be written when it can."""
        connection.unsent += rest
        self._poll.modify(connection.raw.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _flush(self, connection: Connection) -> None:
        try:
            sent = connection.raw.send(connection.unsent)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        del connection.unsent[:sent]
        if connection.unsent:
            return
        self._poll.modify(connection.raw.fileno(), select.EPOLLIN)
        if not connection.keep and connection.answer is None:
            self._close(connection)

    # log
    def _record(self, line: dict[str, Any]) -> None:
        text = orjson.dumps(line)
        self._lines.append(text)
        self._log_bytes += len(text)
        if self._log_bytes > _FLUSH_BYTES:
            self.write_log()

    def write_log(self) -> None:
        """Writes what is kept of the log; also done when nothing was to do for 50 ms."""
        if self._log is not None and self._lines:
            self._log.write(b"\n".join([*self._lines, b""]))
            self._log.flush()
            self._lines.clear()
            self._log_bytes = 0


def main() -> None:
    """Serves until Ctrl-C or SIGTERM, then says on standard error what it did."""
    parser = argparse.ArgumentParser(description="A fast OpenAI-compatible server of known timing, on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--ttft-ms", type=float, default=50.0)
    parser.add_argument("--itl-ms", type=float, default=10.0, help="between two writes; 0: no delay")
    parser.add_argument("--tokens-per-chunk", type=int, default=1)
    parser.add_argument("--chunks-per-write", type=int, default=1)
    parser.add_argument("--role", choices=["with-first", "early", "none"], default="with-first")
    parser.add_argument("--slots", type=int, help="answers written at once; others wait")
    parser.add_argument("--model", default="scripted")
    parser.add_argument("--log", type=Path, help="the truth, as lines of JSON")
    asked = parser.parse_args()
    script = Script(
        port=asked.port,
        ttft_s=asked.ttft_ms / 1000,
        itl_s=asked.itl_ms / 1000,
        tokens_per_chunk=asked.tokens_per_chunk,
        chunks_per_write=asked.chunks_per_write,
        role=asked.role,
        slots=asked.slots,
        model=asked.model,
    )
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    gc.disable()  # answers hold no cycles once they end, and a collection is a late write
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(asked.log.open("wb")) if asked.log else None
        try:
            server = Server(script, log)
        except OSError as error:
            raise SystemExit(f"port {script.port}: {error.strerror}") from None
        began_s = _clock()

        def stop(*_: object) -> None:
            server.stopping = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        sys.stderr.write(f"serving {script.model} on http://{_HOST}:{script.port}\n")
        server.serve()
        server.write_log()
        writes = max(1, server.writes)
        sys.stderr.write(
            f"{server.requests} requests, {server.tokens} tokens, {server.writes} writes, on average "
            f"{server.late_s / writes * 1e6:.0f} us late; {time.process_time():.2f} s of CPU in "
            f"{_clock() - began_s:.1f} s\n"
        )


if __name__ == "__main__":
    main()
