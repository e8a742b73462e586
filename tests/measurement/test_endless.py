"""Servers that never stop: what they send is bounded, and nobody else's request pays for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from rackrate.measurement import exchange as limits
from rackrate.measurement import http
from rackrate.measurement.answers import Answer
from rackrate.measurement.exchange import Exchange
from rackrate.measurement.http import Client
from rackrate.measurement.loops import classify_exchange
from rackrate.measurement.target import Timeouts, parse_url
from rackrate.runs.statuses import OK
from scripted_server import ScriptedServer

T = TypeVar("T")

PATIENT = Timeouts(connect_s=10.0, first_token_s=60.0, gap_s=60.0, total_s=60.0)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
TOKEN = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
WHOLE = b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs it on the loop that measurements use."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def chunk(data: bytes) -> bytes:
    """Data in a chunk of HTTP."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def ask_endless(first: bytes, again: bytes, pause_s: float = 0.0, *, others: int = 0) -> list[Exchange]:
    """A request to a server that sends some bytes, and then others again and again until the client hangs up.

    Before it so many others are sent, whose answers are a token, then another at the end.
    """
    finished, under_way = asyncio.Event(), asyncio.Event()
    asked = 0
    tasks: set[asyncio.Task[None] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        tasks.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            asked += 1
            if asked >= others:
                under_way.set()
            if asked <= others:
                writer.write(CHUNKED + chunk(TOKEN))
                await finished.wait()
                writer.write(chunk(WHOLE) + b"0\r\n\r\n")
                await writer.drain()
            else:
                writer.write(first)
                while not writer.is_closing():
                    writer.write(again)
                    await writer.drain()
                    await asyncio.sleep(pause_s)
        writer.close()

    async def go() -> list[Exchange]:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with Client(parse_url(f"http://127.0.0.1:{port}"), None, PATIENT) as client:
                request = client.request("GET", "/")
                before = [asyncio.create_task(client.exchange(request)) for _ in range(others)]
                if others:
                    await under_way.wait()
                endless = await client.exchange(request)
                finished.set()
                exchanges = [endless, *(await asyncio.gather(*before))]
            await asyncio.gather(*filter(None, tasks))
            return exchanges

    return run(go())


@pytest.mark.parametrize(
    ("first", "again"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65536, id="value of a header"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000, id="headers"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, id="provisional answers"),
        pytest.param(CHUNKED, chunk(b"x" * 65536), id="line"),
        pytest.param(CHUNKED, chunk(b"\n" * 65536), id="blank lines"),
        pytest.param(CHUNKED, chunk(b": ping\n\n"), id="comments"),
        pytest.param(CHUNKED, chunk(TOKEN) * 100, id="tokens"),
        pytest.param(CHUNKED, b"1\r\na\r\n" * 10000, id="chunks of a byte"),
        pytest.param(CHUNKED + b"5;", b"x" * 65536, id="extension of a chunk"),
        pytest.param(CHUNKED + chunk(WHOLE) + b"0\r\n", b"X: y\r\n" * 1000, id="trailers"),
        pytest.param(HEAD + b"\r\n", b"data\n" * 10000, id="body without a length"),
    ],
)
def test_whatever_is_endless_is_stopped(first: bytes, again: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BODY_BYTES", 2**20)
    (exchange,) = ask_endless(first, again)
    assert classify_exchange(exchange).status == "oversize"
    assert exchange.size <= 2 * 2**20
    # a piece for each packet, however small the chunks are
    assert len(exchange.parts) <= 2**20 // 4


def test_the_largest_of_many_answers_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_ALL_BYTES", 2**20)
    endless, *others = ask_endless(CHUNKED, chunk(b"x" * 65536), pause_s=0.001, others=3)
    assert (endless.status, endless.detail) == ("oversize", "the largest of answers that took more than 1 MiB together")
    assert [classify_exchange(other).status for other in others] == [OK] * 3


def test_comments_after_the_end_do_not_hold_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_DONE_GRACE_S", 0.1)
    (exchange,) = ask_endless(CHUNKED + chunk(WHOLE), chunk(b": ping\n\n"), pause_s=0.01)
    answer: Answer = classify_exchange(exchange)
    assert (answer.status, len(answer.chunk_s)) == (OK, 1)
    assert exchange.done_s == answer.chunk_s[0]


def test_silence_of_the_clients_own_is_none_of_the_servers() -> None:
    async def go(url: str) -> Exchange:
        loop = asyncio.get_running_loop()
        timeouts = Timeouts(connect_s=10.0, first_token_s=60.0, gap_s=1.0, total_s=60.0)
        async with Client(parse_url(url), None, timeouts) as client:
            body = b'{"model": "scripted", "messages": [{"content": "a"}], "stream": true, "max_tokens": 60}'
            loop.call_later(0.5, time.sleep, 1.6)  # such as an answer that takes long to read
            return await client.exchange(client.request("POST", "/v1/chat/completions", body))

    with ScriptedServer(ttft_s=0.01, itl_s=0.05) as server:
        assert classify_exchange(run(go(server.url))).status == OK


def one_piece(size: int) -> tuple[Exchange, bytes]:
    """An answer of one event, as it is before it is read."""
    pieces = [b'data: {"choices":[{"delta":{"content":"', *[b"a" * 2**16] * (size // 2**16), b'"}}]}\n\n']
    pieces.append(b"data: [DONE]\n\n")
    exchange = Exchange(0.0)
    exchange.packets = [HEAD + b"Connection: close\r\n\r\n", *pieces]
    exchange.packet_times = [float(number) for number in range(len(exchange.packets))]
    exchange.digest()
    exchange.end(OK)
    return exchange, b"".join(pieces)


def test_an_answer_in_one_piece_keeps_its_times_and_its_bytes() -> None:
    exchange, body = one_piece(2**21)
    times = list(exchange.times)
    answer = classify_exchange(exchange)
    assert (answer.status, len(answer.raw_texts[0])) == (OK, 2**21)
    assert answer.chunk_s == (2**21 / 2**16 + 2,)
    assert (exchange.body, exchange.times) == (body, times)
    assert classify_exchange(exchange) == answer


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is in kilobytes on Linux")
def test_an_answer_in_one_piece_is_not_held_many_times_over() -> None:
    code = """
import resource
from test_endless import classify_exchange, one_piece

exchange, _ = one_piece(2**25)
del _
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert classify_exchange(exchange).status == "ok"
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 2**25)
"""
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path])
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(ran.stdout) < 4  # the event, its text as a string and as JSON; the body was there before
