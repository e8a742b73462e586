"""The benchmarks' server keeps its word: what it writes is what it logs, however requests come."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from rackrate.measurement.sse import decode

SERVER = Path(__file__).parents[1] / "benchmarks" / "scripted.py"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it waits with epoll")


@contextmanager
def serving(log: Path, *options: str) -> Generator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = cast("int", free.getsockname()[1])
    words = [sys.executable, str(SERVER), "--port", str(port), "--log", str(log), *options]
    process = subprocess.Popen(words, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"serving")
    try:
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=20)[1]
        assert process.returncode == 0, said


def body(tokens: int, **more: Any) -> bytes:
    messages = [{"role": "user", "content": "one two three"}]
    return json.dumps({"model": "m", "messages": messages, "max_tokens": tokens, **more}).encode()


def ask(connection: HTTPConnection, data: bytes, path: str = "/v1/chat/completions") -> tuple[int, bytes]:
    connection.request("POST", path, data, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def truth(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()[1:]]


@pytest.mark.parametrize(
    ("options", "writes"),
    [
        (("--ttft-ms", "30", "--itl-ms", "5"), 10),
        (("--ttft-ms", "30", "--itl-ms", "5", "--tokens-per-chunk", "4"), 3),
        (("--ttft-ms", "30", "--itl-ms", "5", "--chunks-per-write", "3"), 4),
        (("--ttft-ms", "30", "--itl-ms", "5", "--role", "early"), 10),
        (("--ttft-ms", "0", "--itl-ms", "0"), 10),
        (("--ttft-ms", "0", "--itl-ms", "0", "--chunks-per-write", "16"), 1),
    ],
)
def test_an_answer_is_what_was_asked_and_logged(options: tuple[str, ...], writes: int, tmp_path: Path) -> None:
    log = tmp_path / "truth"
    with serving(log, *options) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        took = 0.0
        for _ in range(3):
            began = time.perf_counter()
            status, data = ask(connection, body(10, stream=True, stream_options={"include_usage": True}))
            took = time.perf_counter() - began
            answer = decode([(0.0, data)])
            assert status == 200
            assert (answer.status, answer.output_tokens, answer.finish_reason) == ("ok", 10, "length")
            assert len(answer.text.split()) == 10
            assert answer.input_tokens == 3 + 7
        connection.close()
    rows = truth(log)
    assert len(rows) == 3
    assert {row["connection"] for row in rows} == {1}, "the connection was kept"
    for row in rows:
        assert (row["tokens"], len(row["writes_s"])) == (10, writes)
        assert row["accepted_s"] <= row["read_s"] <= row["writes_s"][0]
        assert row["done_s"] == row["writes_s"][-1]
    due = 0.03 + 0.005 * (writes - 1) if options[1] != "0" else 0.0
    assert all(row["done_s"] - row["read_s"] >= due for row in rows), "nothing is written before it is due"
    assert took >= due


def test_few_slots_make_a_queue_in_order_of_arrival(tmp_path: Path) -> None:
    log = tmp_path / "truth"
    with serving(log, "--ttft-ms", "20", "--itl-ms", "10", "--slots", "1") as port:
        connections = [HTTPConnection("127.0.0.1", port, timeout=10) for _ in range(4)]
        for connection in connections:
            connection.request("POST", "/v1/chat/completions", body(3, stream=True))
            time.sleep(0.005)
        for connection in connections:
            assert b"[DONE]" in connection.getresponse().read()
            connection.close()
    rows = truth(log)
    assert [row["connection"] for row in rows] == [1, 2, 3, 4]
    for before, after in pairwise(rows):
        assert after["slot_s"] >= before["done_s"]
        assert after["done_s"] - after["slot_s"] >= 0.04


def test_pages_faults_and_answers_in_one_piece(tmp_path: Path) -> None:
    log = tmp_path / "truth"
    with serving(log, "--ttft-ms", "1", "--itl-ms", "1") as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/v1/models")
        assert json.loads(connection.getresponse().read())["data"][0]["id"] == "scripted"
        status, data = ask(connection, body(5))
        assert (status, json.loads(data)["usage"]["completion_tokens"]) == (200, 5)
        status, data = ask(connection, b'{"prompt": "a b", "max_tokens": 2}', "/v1/completions")
        assert (status, json.loads(data)["choices"][0]["text"]) == (200, " time year")
        assert ask(connection, b"{")[0] == 400
        assert ask(connection, body(0))[0] == 400
        assert ask(connection, b"{}", "/nowhere")[0] == 404
        connection.close()
        # two requests in one packet, and one that arrives byte by byte
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            item = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body(2)), body(2))
            raw.sendall(item + item)
            for at in range(len(item)):
                raw.sendall(item[at : at + 1])
            raw.sendall(item.replace(b"HTTP/1.1", b"HTTP/1.0"))
            received = b"".join(iter(lambda: raw.recv(65536), b""))
        assert received.count(b"200 OK") == 4
        # a client that leaves
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            data = body(5000, stream=True)
            raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))
            raw.recv(100)
        time.sleep(0.1)
    rows = truth(log)
    assert [row["done_s"] is None for row in rows] == [False] * 6 + [True]


def test_a_slow_reader_gets_every_byte(tmp_path: Path) -> None:
    log = tmp_path / "truth"
    with serving(log, "--ttft-ms", "0", "--itl-ms", "0", "--chunks-per-write", "8") as port:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            data = body(60_000, stream=True, stream_options={"include_usage": True})
            raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))
            time.sleep(0.3)
            received = b""
            while not received.endswith(b"0\r\n\r\n"):
                received += raw.recv(1 << 16)
        assert received.count(b'"content":" ') == 60_000
    assert [row["tokens"] for row in truth(log)] == [60_000]
