"""An OpenAI-compatible server whose timing and faults are known, and which keeps the truth of every request.

In a test: `with ScriptedServer(ttft_s=0.05, itl_s=0.01) as server:` serves on `server.url` from a thread of its own and
logs what it did in `server.log`. By hand: `python tests/scripted_server.py --port 8100 --ttft 0.05 --itl 0.01`.
It listens on 127.0.0.1 only. What it answers is in scripted_answers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self, cast, get_args

from scripted_answers import (
    PER_PACKET,
    PHRASES,
    Json,
    Oddity,
    Script,
    Served,
    chunk,
    error,
    read_request,
    usage_chunk,
    whole_answer,
)

_HOST = "127.0.0.1"
_ENDLESS_BYTES = 256 * 2**20
"""Where even an endless answer ends, if its client does not mind."""
_CUT_S = 0.001
"""Between the two packets of an event that is cut in two."""


@dataclass
class ScriptedServer(Script):
    """A Script, served. A context: entering starts it, leaving stops it and closes every connection."""

    port: int = 0
    """0 takes a free one."""
    log: list[Served] = field(default_factory=list[Served], init=False)
    """The truth of every request for a completion, in the order in which they came."""
    paths: list[str] = field(default_factory=list[str], init=False)
    """Of every request, any page."""
    connections: int = field(default=0, init=False)
    """How many were made."""

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://{_HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._listener = socket.create_server((_HOST, self.port), backlog=1024)
        self.port = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self.turns = asyncio.Semaphore(self.slots) if self.slots is not None else contextlib.nullcontext()
        self._open: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="scripted server")
        self._thread.start()  # connections wait in the listener's backlog until it runs
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, sock=self._listener)
        await self._stop.wait()
        server.close()
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)
        await asyncio.sleep(0)  # lets the transports close

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._open.add(task)
        self.connections += 1
        raw: Any = writer.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio does not, for a listener made elsewhere
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await _Connection(self, reader, writer, self.connections).serve()
        finally:
            self._open.discard(task)
            writer.close()


class _Connection:
    """One connection and the requests that come on it."""

    def __init__(
        self, server: ScriptedServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._number = number

    async def serve(self) -> None:
        """Answers requests until one side closes."""
        if await self._reader.readexactly(1) == b"\x16":  # a TLS handshake, which is answered as real servers do
            self._answer(400, error(PHRASES[400]))
            return
        while await self._serve_one():
            await self._writer.drain()
            if "drops" in self._server.oddities:
                await self._reader.readexactly(1)
                return

    async def _serve_one(self) -> bool:
        """Answers one request; False closes the connection."""
        server = self._server
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        received_s = time.perf_counter()
        path = head[0].split()[1]
        server.paths.append(path)
        whole = True
        if "not-http" in server.oddities:
            self._writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
            return False
        if server.key is not None and headers.get("authorization") != f"Bearer {server.key}":
            self._answer(401, error("Incorrect API key provided"))
        elif path == "/v1/models":
            self._models()
        elif path in {"/v1/chat/completions", "/v1/completions"}:
            whole = await self._completion(Served(received_s, self._number, path, json.loads(body), set()))
        else:
            self._answer(404, error(f"no page {path}"))
        return whole and "closes" not in server.oddities

    def _answer(self, status: int, body: bytes, *headers: str) -> None:
        kind = "application/json" if body[:1] in b"{[" else "text/html"
        head = [f"HTTP/1.1 {status} {PHRASES[status]}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
        self._writer.write("\r\n".join([*head, *headers, "", ""]).encode() + body)

    def _models(self) -> None:
        server, status = self._server, self._server.models_status
        listed = [{"id": name, "object": "model", "owned_by": "scripted"} for name in server.models]
        body = json.dumps({"object": "list", "data": listed}).encode() if status == 200 else error(PHRASES[status])
        extra = [f"Location: {server.url}/elsewhere"] if status == 307 else []
        self._answer(status, body if server.models_body is None else server.models_body, *extra)

    async def _completion(self, served: Served) -> bool:
        """Answers a request for a completion; False closes the connection."""
        server = self._server
        served.oddities = odd = server.oddities_of(served.model, len(server.log))
        server.log.append(served)
        refusal = read_request(served, server)
        served.ended = True
        if served.status != 200:
            extra = {429: [f"Retry-After: {server.retry_after}"], 307: [f"Location: {server.url}/elsewhere"]}
            self._answer(served.status, error(refusal), *extra.get(served.status, []))
        elif "error-in-200" in odd:  # as LM Studio answers what it does not know
            self._answer(200, b'{"error": "Unexpected endpoint or method."}')
        elif "not-streaming" in odd or not served.body.get("stream"):
            await asyncio.sleep(server.ttft_s)
            self._answer(200, whole_answer(served, server))
        else:
            served.ended = False
            async with server.turns:
                return await _Stream(server, served, self._reader, self._writer).write()
        return True


class _Stream:
    """The writing of one streamed answer."""

    def __init__(
        self, script: Script, served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._script = script
        self._served = served
        self._odd = served.oddities
        self._reader = reader
        self._writer = writer
        self._chunked = "unframed" not in served.oddities
        self._newline = b"\r\n" if "crlf" in served.oddities else b"\n"
        waited_s = time.perf_counter() - served.received_s if script.slots is None else 0.0
        self._began_s = asyncio.get_running_loop().time() - waited_s

    async def write(self) -> bool:
        """Writes it, as far as the script has it. False closes the connection."""
        odd, served = self._odd, self._served
        framing = "Transfer-Encoding: chunked\r\n" if self._chunked else ""
        self._writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n{framing}\r\n".encode()
        )
        if "endless" in odd:
            return await self._endless()
        if "stall-first" in odd:
            return await self._stall()
        if served.chat:
            await self._events(chunk(served, role="assistant"))
        if "stall-role" in odd:
            return await self._stall()
        if not await self._tokens():
            return False
        await self._events(chunk(served, finish="stop" if len(served.token_s) < served.asked_tokens else "length"))
        options = cast("Json", served.body.get("stream_options") or {})
        if options.get("include_usage") and "no-usage" not in odd:
            await self._events(usage_chunk(served, self._script))
        if "no-done" not in odd:
            await self._events(b"[DONE]")
        served.ended = True  # before the last byte: once the client has that, the test looks
        self._end()
        return self._chunked

    async def _tokens(self) -> bool:
        """Writes the tokens, each when it is due. False if the answer breaks off half-way."""
        script, served, loop = self._script, self._served, asyncio.get_running_loop()
        tokens = min(script.early_tokens, served.asked_tokens) if "ends-early" in self._odd else served.asked_tokens
        step = script.tokens_per_event * (PER_PACKET if "packets" in self._odd else 1)
        for first in range(0, tokens, step):
            last = min(first + step, tokens)
            # due times count from one moment, so that no delay adds up
            await asyncio.sleep(self._began_s + script.ttft_s + (last - 1) * script.itl_s - loop.time())
            if last > tokens // 2 and not await self._holds():
                return False
            await self._events(
                *(
                    chunk(served, text=" tok" * min(script.tokens_per_event, last - at))
                    for at in range(first, last, script.tokens_per_event)
                )
            )
            served.token_s += [time.perf_counter()] * (last - first)
        return True

    async def _holds(self) -> bool:
        """Whether the answer goes on at its middle; else it is broken off as the script has it."""
        if "stall" in self._odd:
            return await self._stall()
        if "reset" in self._odd:
            # a socket that lingers for no time is reset when it closes
            raw: Any = self._writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if "cut" in self._odd:
            return False
        if "malformed" in self._odd:
            await self._events(b'{"choices": [{"delta": {"conte')
        elif "error-event" in self._odd:
            await self._events(error("the engine ran out of memory"))
        elif "object-error" in self._odd:
            await self._events(b'{"object": "error", "message": "engine died", "code": 500}', b"[DONE]")
        elif "named-error" in self._odd:
            self._packet(b'event: error\ndata: {"message": "upstream overloaded"}\n\n')
            await self._events(b"[DONE]")
        elif "aborts" in self._odd:
            await self._events(chunk(self._served, finish="abort"), b"[DONE]")
        else:
            return True
        self._end()
        return False

    async def _stall(self) -> bool:
        """Writes nothing until the client goes."""
        await self._reader.read()
        return False

    async def _endless(self) -> bool:
        data = chunk(self._served, text=" tok" * 16_000)
        for _ in range(_ENDLESS_BYTES // len(data)):
            await self._events(data)
        return False

    async def _events(self, *data: bytes) -> None:
        """Writes events in one packet, but as the script spells them."""
        end = self._newline * 2
        packet = b"".join(b"data: " + item + end for item in data)
        if "comments" in self._odd:
            packet = b": ping" + end + packet
        if "cut-events" in self._odd:
            middle = len(packet) // 2
            self._packet(packet[:middle])
            await asyncio.sleep(_CUT_S)
            packet = packet[middle:]
        self._packet(packet)
        await self._writer.drain()

    def _packet(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def _end(self) -> None:
        if self._chunked:
            self._writer.write(b"0\r\n\r\n")


def main() -> None:
    """Serves until Ctrl-C."""
    parser = argparse.ArgumentParser(description="An OpenAI-compatible server of known timing, on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--ttft", type=float, default=0.05, help="seconds to the first token")
    parser.add_argument("--itl", type=float, default=0.01, help="seconds between tokens")
    parser.add_argument("--template-tokens", type=int, default=7, help="counted besides the words of a prompt")
    parser.add_argument("--model", action="append", help="served; may be repeated")
    parser.add_argument("--oddity", action="append", choices=get_args(Oddity), default=[], help="may be repeated")
    asked = parser.parse_args()
    with ScriptedServer(
        ttft_s=asked.ttft,
        itl_s=asked.itl,
        oddities=asked.oddity,
        models=asked.model or ["scripted"],
        template_tokens=asked.template_tokens,
        port=asked.port,
    ) as server:
        sys.stderr.write(f"serving {', '.join(server.models)} on {server.url}\n")
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
