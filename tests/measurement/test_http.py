"""The client against servers of known faults, habits and timing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import statistics
from collections.abc import Coroutine, Iterator
from typing import Any, NoReturn, TypeVar

import pytest
import uvloop

from rackrate.errors import EndpointError
from rackrate.measurement import exchange as body_limit
from rackrate.measurement import http
from rackrate.measurement.exchange import Exchange
from rackrate.measurement.http import Client
from rackrate.measurement.loops import classify_exchange
from rackrate.measurement.sse import decode
from rackrate.measurement.target import Timeouts, parse_url
from rackrate.runs.statuses import FAULTS, OK
from scripted_answers import Oddity
from scripted_server import ScriptedServer

T = TypeVar("T")

CHAT = "/v1/chat/completions"
TOKENS = 8
QUICK = Timeouts(connect_s=2.0, first_token_s=0.3, gap_s=0.2, total_s=2.0)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
WHOLE = b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n'
END = b"data: [DONE]\n\n"


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs it on the loop that measurements use."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def body(model: str = "scripted", tokens: int = TOKENS) -> bytes:
    """A request for a streamed chat completion."""
    values = {
        "model": model,
        "messages": [{"role": "user", "content": "one two three"}],
        "stream": True,
        "max_tokens": tokens,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(values).encode()


def ask(
    url: str, model: str = "scripted", *, times: int = 1, tokens: int = TOKENS, timeouts: Timeouts = QUICK
) -> list[Exchange]:
    """So many requests, one after the other, on one client."""

    async def go() -> list[Exchange]:
        async with Client(parse_url(url), None, timeouts) as client:
            request = client.request("POST", CHAT, body(model, tokens))
            return [await client.exchange(request) for _ in range(times)]

    return run(go())


def ask_raw(*parts: bytes | float, times: int = 1, timeouts: Timeouts = QUICK) -> list[Exchange]:
    """Requests to a server that answers each connection with these bytes, waits where a number stands, and closes."""
    over = asyncio.Event()
    open_now: set[asyncio.Task[None] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            for part in parts:
                if isinstance(part, bytes):
                    writer.write(part)
                    await writer.drain()
                else:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(over.wait(), part)
            writer.close()
            await writer.wait_closed()

    async def go() -> list[Exchange]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with Client(parse_url(f"http://127.0.0.1:{port}"), None, timeouts) as client:
            exchanges = [await client.exchange(client.request("GET", "/")) for _ in range(times)]
        over.set()
        server.close()
        await asyncio.gather(*filter(None, open_now))
        return exchanges

    return run(go())


def chunked(*data: bytes, end: bool = True) -> bytes:
    """Data in the chunks of HTTP."""
    return b"".join(b"%x\r\n%b\r\n" % (len(item), item) for item in data) + (b"0\r\n\r\n" if end else b"")


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """A server whose requests choose their oddity by the model's name."""
    with ScriptedServer(ttft_s=0.01, itl_s=0.002) as running:
        yield running


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("localhost:8000/v1", "http://localhost:8000"),
        ("http://h:1/v1/chat/completions", "http://h:1"),
        ("http://h:1/v1/completions/", "http://h:1"),
        ("http://h:1/v1/models", "http://h:1"),
        ("http://h:1/proxy/v1/", "http://h:1/proxy"),
        ("http://h:1/v1/proxy", "http://h:1/v1/proxy"),
        ("HTTPS://Api.Example/v1", "https://api.example"),
        ("https://api.example:443", "https://api.example"),
        ("https://api.example:80", "https://api.example:80"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
    ],
)
def test_a_url_is_read_with_or_without_its_tail(given: str, url: str) -> None:
    assert parse_url(given).url == url
    assert parse_url(parse_url(given).url) == parse_url(given)


@pytest.mark.parametrize(
    ("given", "loopback"),
    [("localhost", True), ("127.0.0.53:1", True), ("[::1]:8", True), ("10.0.0.1", False)],
)
def test_loopback_is_this_machine(given: str, loopback: bool) -> None:
    assert parse_url(given).is_loopback is loopback


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "not an http or https URL"),
        ("http://", "not an http or https URL"),
        ("ftp://h/", "not an http or https URL"),
        ("file:///etc/passwd", "not an http or https URL"),
        ("http://h:99999", "is not a URL"),
        ("http://h:port", "is not a URL"),
        ("http://[::1", "is not a URL"),
    ],
)
def test_what_is_no_url_is_refused_with_its_name(given: str, said: str) -> None:
    with pytest.raises(EndpointError, match=said) as caught:
        parse_url(given)
    assert repr(given) in str(caught.value)


@pytest.mark.parametrize("given", ["http://user:secret@h:1", "http://secret@h", "https://user:secret@h/v1"])
def test_a_password_is_refused_and_not_repeated(given: str) -> None:
    with pytest.raises(EndpointError, match="key_env") as caught:
        parse_url(given)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    ["http://user:secret@h:99999", "ftp://user:secret@h", "http://user:secret@", "http://h/v1?api_key=secret"],
)
def test_a_secret_is_not_repeated_where_something_else_is_wrong_too(given: str) -> None:
    with pytest.raises(EndpointError) as caught:
        parse_url(given)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("given", ["http://h:1/v1?model=x", "http://h:1/v1#top"])
def test_a_query_is_refused(given: str) -> None:
    with pytest.raises(EndpointError, match="query"):
        parse_url(given)


def test_port_zero_is_refused() -> None:
    with pytest.raises(EndpointError, match="port 0"):  # and port 80 is not measured in its place
        parse_url("http://127.0.0.1:0")


@pytest.mark.parametrize(
    ("oddity", "status", "http_status"),
    [
        ("status-401", "http-4xx", 401),
        ("status-404", "http-4xx", 404),
        ("status-429", "http-429", 429),
        ("status-500", "http-5xx", 500),
        ("status-503", "http-5xx", 503),
        ("redirect", "http-3xx", 307),
        ("not-streaming", "not-streaming", 200),
        ("reset", "reset", 200),
        ("cut", "reset", 200),
        ("unframed+cut", "reset", 200),
        ("stall", "timeout-gap", 200),
        ("stall-first", "timeout-first-token", 200),
        ("malformed", "malformed", 200),
        ("error-event", "error-event", 200),
        ("object-error", "error-event", 200),
        ("named-error", "error-event", 200),
        ("aborts", "broken-off", 200),
    ],
)
def test_each_fault_has_its_name(server: ScriptedServer, oddity: str, status: str, http_status: int) -> None:
    (exchange,) = ask(server.url, oddity)
    answer = classify_exchange(exchange)
    assert answer.status == status
    assert exchange.http_status == http_status
    assert status in FAULTS
    assert answer.detail
    assert answer.output_tokens is None
    assert exchange.done_s is not None
    # tokens that arrived before the fault are kept, and no others
    assert len(answer.chunk_s) == len(server.log[-1].token_s)


def test_a_stall_after_the_role_is_a_missing_first_token(server: ScriptedServer) -> None:
    # a server under load may send the role at once and the first token after the gap limit
    (exchange,) = ask(server.url, "stall-role")
    assert classify_exchange(exchange).status == "timeout-first-token"
    assert exchange.sent_s is not None
    assert exchange.done_s is not None
    assert exchange.done_s - exchange.sent_s > QUICK.first_token_s > QUICK.gap_s


def test_an_answer_that_takes_too_long_is_stopped(server: ScriptedServer) -> None:
    (exchange,) = ask(server.url, tokens=1000, timeouts=Timeouts(total_s=0.2))
    answer = classify_exchange(exchange)
    assert answer.status == "timeout-total"
    assert 0 < len(answer.chunk_s) < 1000


def test_the_servers_own_words_are_kept(server: ScriptedServer) -> None:
    assert classify_exchange(ask(server.url, "status-503")[0]).detail == "503 Service Unavailable"
    assert classify_exchange(ask(server.url, "error-event")[0]).detail == "the engine ran out of memory"
    assert ask(server.url, "status-429")[0].retry_after == "7"
    assert ask(server.url, "redirect")[0].location == f"{server.url}/elsewhere"


def test_not_http_is_malformed() -> None:
    with ScriptedServer(oddities=["not-http"]) as strange:
        (exchange,) = ask(strange.url)
    assert exchange.status == "malformed"
    assert "not HTTP" in (exchange.detail or "")


def test_nobody_there_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    (exchange,) = ask(url)
    assert exchange.status == "refused"
    assert exchange.sent_s is None
    assert exchange.done_s is not None


@pytest.mark.parametrize("host", ["a..b", "x" * 70])
def test_a_name_that_no_host_can_have_is_refused(host: str) -> None:
    # the loop raises UnicodeError, which is no OSError
    (exchange,) = ask(f"http://{host}:8000")
    assert exchange.status == "refused"


def test_https_to_a_server_that_speaks_http_is_a_tls_fault(server: ScriptedServer) -> None:
    (exchange,) = ask(server.url.replace("http:", "https:"))
    assert exchange.status == "tls"


def test_no_connection_in_time() -> None:
    async def never(*_: object, **__: object) -> NoReturn:
        await asyncio.Event().wait()
        raise AssertionError

    async def go() -> Exchange:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio.get_running_loop(), "create_connection", never)
            async with Client(parse_url("127.0.0.1:1"), None, Timeouts(connect_s=0.02)) as client:
                return await client.exchange(client.request("GET", "/"))

    exchange = asyncio.run(go())  # uvloop's own attributes cannot be replaced
    assert exchange.status == "timeout-connect"


RIGHT: list[Oddity | str] = [
    "scripted", "crlf", "comments", "cut-events", "packets", "reasoning", "no-done", "unframed", "cached", "no-usage",
    "strict", "crlf+comments+cut-events+unframed", "crlf+packets+no-done+cached",
]  # fmt: skip


@pytest.mark.parametrize("oddity", RIGHT)
def test_no_spelling_of_a_whole_answer_is_a_fault(server: ScriptedServer, oddity: str) -> None:
    (exchange,) = ask(server.url, oddity)
    answer = classify_exchange(exchange)
    truth = server.log[-1]
    assert truth.ended
    assert (answer.status, answer.detail) == (OK, None)
    assert len(answer.chunk_s) == TOKENS
    assert answer.text == " tok" * TOKENS
    counted = None if "no-usage" in oddity else (truth.prompt_tokens, TOKENS)
    assert (answer.input_tokens, answer.output_tokens) == (counted or (None, None))
    assert answer.cached_tokens == (server.template_tokens if "cached" in oddity else None)


def test_an_answer_that_ends_early_is_whole(server: ScriptedServer) -> None:
    answer = classify_exchange(ask(server.url, "ends-early")[0])
    assert (answer.status, answer.finish_reason, answer.output_tokens) == (OK, "stop", server.early_tokens)


def test_one_connection_carries_request_after_request() -> None:
    with ScriptedServer(ttft_s=0.0, itl_s=0.0) as server:
        assert [exchange.status for exchange in ask(server.url, times=50)] == [OK] * 50
        assert server.connections == 1


@pytest.mark.parametrize("habit", ["closes", "drops"])
def test_a_connection_that_was_closed_between_requests_is_no_fault(habit: Oddity) -> None:
    with ScriptedServer(ttft_s=0.0, itl_s=0.0, oddities=[habit]) as server:
        exchanges = ask(server.url, times=100)
        assert [classify_exchange(exchange).status for exchange in exchanges] == [OK] * 100
        assert len(server.log) == 100
        assert server.connections == 100


def test_requests_at_once_have_a_connection_each_and_keep_it() -> None:
    async def go(url: str) -> list[Exchange]:
        async with Client(parse_url(url), None, QUICK) as client:
            request = client.request("POST", CHAT, body())
            rounds = [await asyncio.gather(*(client.exchange(request) for _ in range(6))) for _ in range(3)]
        return [exchange for round_ in rounds for exchange in round_]

    with ScriptedServer(ttft_s=0.02, itl_s=0.001) as server:
        assert [classify_exchange(exchange).status for exchange in run(go(server.url))] == [OK] * 18
        assert server.connections == 6


def test_a_new_connection_that_ends_without_a_byte_is_a_reset() -> None:
    (exchange,) = ask_raw()
    assert exchange.status == "reset"
    assert exchange.first_byte_s is None


def test_an_endless_answer_is_stopped(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "MAX_BODY_BYTES", 2**20)
    (exchange,) = ask(server.url, "endless")
    assert exchange.status == "oversize"
    assert exchange.detail == "more than 1 MiB"
    assert 2**20 < exchange.size < 2 * 2**20


def test_an_answer_as_large_as_may_be_is_whole(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    size = ask(server.url)[0].size
    monkeypatch.setattr(body_limit, "MAX_BODY_BYTES", size)
    assert ask(server.url)[0].status == OK
    monkeypatch.setattr(body_limit, "MAX_BODY_BYTES", size - 1)
    assert ask(server.url)[0].status == "oversize"


def test_the_key_is_sent_and_its_want_is_refused() -> None:
    async def go(url: str, key: str | None) -> int | None:
        async with Client(parse_url(url), key, QUICK) as client:
            return (await client.exchange(client.request("POST", CHAT, body()))).http_status

    with ScriptedServer(key="sesame", ttft_s=0.0, itl_s=0.0) as server:
        assert [run(go(server.url, key)) for key in ("sesame", "wrong", None)] == [200, 401, 401]


def test_abort_ends_what_is_under_way_as_stopped() -> None:
    async def go(url: str) -> list[Exchange]:
        async with Client(parse_url(url), None, QUICK) as client:
            request = client.request("POST", CHAT, body(tokens=1000))
            under_way = [asyncio.create_task(client.exchange(request)) for _ in range(3)]
            await asyncio.sleep(0.1)
            client.abort()
            return await asyncio.wait_for(asyncio.gather(*under_way), 0.1)

    with ScriptedServer(ttft_s=0.01, itl_s=0.002) as server:
        answers = [classify_exchange(exchange) for exchange in run(go(server.url))]
    assert [answer.status for answer in answers] == ["stopped"] * 3
    assert all(answer.chunk_s for answer in answers)


@pytest.mark.timed
@pytest.mark.parametrize("at_once", [1, 8])
def test_times_are_the_servers_own_within_milliseconds(at_once: int) -> None:
    async def go(url: str) -> list[list[Exchange]]:
        async with Client(parse_url(url)) as client:
            request = client.request("POST", CHAT, body())
            return [list(await asyncio.gather(*(client.exchange(request) for _ in range(at_once)))) for _ in range(12)]

    with ScriptedServer(ttft_s=0.03, itl_s=0.01) as server:
        rounds = run(go(server.url))
        truths = [server.log[start : start + at_once] for start in range(0, len(server.log), at_once)]
    first_s: list[float] = []
    gap_s: list[float] = []
    for exchanges, served in zip(rounds, truths, strict=True):
        seen_s = [(decode(exchange.pieces).chunk_s, exchange.sent_s) for exchange in exchanges]
        seen_ttft_s = statistics.median(times[0] - (sent_s or 0.0) for times, sent_s in seen_s)
        first_s.append(seen_ttft_s - statistics.median(truth.ttft_s for truth in served))
        seen_gap_s = statistics.median((times[-1] - times[0]) / (TOKENS - 1) for times, _ in seen_s)
        true_gap_s = statistics.median((item.token_s[-1] - item.token_s[0]) / (TOKENS - 1) for item in served)
        gap_s.append(seen_gap_s - true_gap_s)
    assert abs(statistics.median(first_s)) < 0.005
    assert abs(statistics.median(gap_s)) < 0.002
    # the truth itself: written when it was due, or later where the machine was busy
    assert all(item.ttft_s > 0.029 and item.token_s[-1] - item.received_s > 0.099 for truth in truths for item in truth)


def test_times_of_a_request_are_in_order(server: ScriptedServer) -> None:
    (exchange,) = ask(server.url)
    assert exchange.sent_s is not None
    assert exchange.first_byte_s is not None
    assert exchange.last_byte_s is not None
    assert exchange.done_s is not None
    times = [exchange.started_s, exchange.sent_s, exchange.first_byte_s, *(time_s for time_s, _ in exchange.pieces)]
    assert times == sorted(times)
    assert times[-1] == exchange.done_s
    assert exchange.done_s <= exchange.last_byte_s


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n", HEAD])
def test_a_body_that_its_connection_ends_is_whole(head: bytes) -> None:
    (exchange,) = ask_raw(head + b"\r\n", WHOLE, END)
    assert (exchange.status, exchange.body) == (OK, WHOLE + END)


def test_a_body_shorter_than_announced_is_a_reset() -> None:
    (exchange,) = ask_raw(HEAD + b"Content-Length: 1000\r\n\r\n", WHOLE)
    assert exchange.status == "reset"


def test_a_server_that_says_it_closes_is_asked_on_a_new_connection() -> None:
    parts = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n", chunked(WHOLE, END)
    assert [exchange.status for exchange in ask_raw(*parts, times=5)] == [OK] * 5


def test_continue_is_not_the_answer() -> None:
    (exchange,) = ask_raw(b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + b"Content-Length: 14\r\n\r\n" + END)
    assert (exchange.status, exchange.http_status, exchange.body) == (OK, 200, END)


def test_early_hints_are_not_the_answer() -> None:
    (exchange,) = ask_raw(b"HTTP/1.1 103 Early Hints\r\n\r\n", HEAD + b"Content-Length: 14\r\n\r\n" + END)
    assert (exchange.status, exchange.http_status, exchange.body) == (OK, 200, END)


def test_an_upgrade_that_nobody_asked_for_is_a_fault() -> None:
    # httptools raises HttpParserUpgrade, which is no HttpParserError
    (exchange,) = ask_raw(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 0.05)
    assert exchange.status == "malformed"


def test_done_ends_an_answer_whose_http_message_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_DONE_GRACE_S", 0.1)
    (exchange,) = ask_raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunked(WHOLE, END, end=False), 5.0)
    assert exchange.status == OK
    assert exchange.done_s == exchange.last_byte_s
    assert classify_exchange(exchange).status == OK


@pytest.mark.parametrize("place", range(1, len(END)))
def test_done_is_seen_wherever_it_is_cut(place: int) -> None:
    parts = chunked(WHOLE, END[:place], end=False), 0.005, chunked(END[place:], end=False), 0.005, chunked(b": bye\n\n")
    (exchange,) = ask_raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *parts)
    assert exchange.status == OK
    last = 0 if place >= len(END.rstrip()) else 1  # a packet of several chunks is one piece
    assert exchange.done_s == exchange.pieces[last][0] < exchange.pieces[-1][0]


SAID = b'data: {"choices": [{"delta": {"content": "it ends with data: [DONE]"}}]}\n\n'


def test_done_within_a_text_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_DONE_GRACE_S", 0.1)
    parts = chunked(SAID, end=False), 0.15, chunked(SAID, end=False), 0.15, chunked(WHOLE, END)
    (exchange,) = ask_raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *parts)
    assert len(classify_exchange(exchange).chunk_s) == 3


@pytest.mark.parametrize("place", range(SAID.index(b"data: [DONE]"), len(SAID)))
def test_done_within_a_text_is_not_the_end_wherever_it_is_cut(place: int) -> None:
    # the bytes that are kept of the piece before may begin with `data:`, and are no beginning of a line for that
    parts = chunked(SAID[:place], end=False), 0.005, chunked(SAID[place:], end=False), 0.005, chunked(WHOLE, END)
    (exchange,) = ask_raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *parts)
    assert exchange.done_s == exchange.pieces[-1][0]


def test_a_coding_that_nobody_asked_for_is_a_fault() -> None:
    (exchange,) = ask_raw(HEAD + b"Content-Encoding: gzip\r\n\r\n", b"\x1f\x8b\x08\x00")
    answer = classify_exchange(exchange)
    assert (answer.status, answer.detail) == (
        "malformed", "its content is encoded as gzip, which was not asked for"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True), ("LOCALHOST", True), ("127.0.0.1", True), ("127.9.9.9", True), ("[::1]", True),
        ("[::ffff:127.0.0.1]", True), ("127.evil.example", False), ("localhost.evil.example", False),
        ("192.0.2.1", False), ("[2001:db8::1]", False), ("2130706433", False),
    ],
)  # fmt: skip
def test_this_machine_is_known_by_its_address(host: str, here: bool) -> None:
    assert parse_url(f"http://{host}:8000").is_loopback is here
