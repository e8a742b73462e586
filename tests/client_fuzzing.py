"""Answers of every kind, cut and damaged at random; what the client makes of them, and what a slow reader does.

The slow reader shares only the meaning of one event's JSON with the client: every byte goes through llhttp, every line
is read by itself. `tools/fuzz_client.py` runs this for as long as is asked.
"""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import dataclass
from typing import Any, cast

import httptools

from rackrate.measurement import exchange as exchanges
from rackrate.measurement.answers import Answer, Reading
from rackrate.measurement.connection import Connection
from rackrate.measurement.exchange import Exchange
from rackrate.measurement.loops import classify_exchange
from rackrate.runs.statuses import FAULTS, OK

TEXTS = (
    " the", " a", "international", "é", "🙂", "\n", '"', "\\", " tab\t", "data: [DONE]", "content", "", " x" * 40, "7",
    "\u2028", "}]}",
)  # fmt: skip


class _Transport:
    """As much of a socket as a connection asks for."""

    def __init__(self) -> None:
        self.closed = False

    def get_extra_info(self, _: str) -> object:
        return self

    def write(self, _: bytes) -> None:
        """Goes nowhere."""

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class Seen:
    """What became of an answer."""

    status: str
    detail: str | None
    chunks: int
    tokens: tuple[int | None, int | None, int | None]
    text: str
    finish: str | None
    places: tuple[int, ...]
    """In which packet each chunk's text ended."""


def _seen(answer: Answer, moments: list[float]) -> Seen:
    places = tuple(moments.index(time_s) for time_s in answer.chunk_s)
    tokens = answer.input_tokens, answer.cached_tokens, answer.output_tokens
    return Seen(answer.status, answer.detail, len(places), tokens, answer.text, answer.finish_reason, places)


def by_client(packets: list[bytes]) -> Seen | None:
    """What the client makes of packets, after which the server closes; None where the connection was closed by then."""
    moments: list[float] = []
    clock = iter(range(10**9))

    class Clock:
        @staticmethod
        def perf_counter() -> float:
            return float(next(clock))

    connection = Connection()
    transport = _Transport()
    connection.connection_made(cast("Any", transport))
    ended: list[Exchange] = []
    connection.on_end = lambda _, exchange: ended.append(exchange)
    exchange = Exchange(0.0)
    connection.send(b"", exchange)
    real = exchanges.time, _connection.time
    exchanges.time = _connection.time = cast("Any", Clock)
    try:
        for packet in packets:
            if ended:
                break
            at = next(clock)
            moments.append(float(at + 1))
            connection.data_received(packet)
        if not ended:
            connection.connection_lost(None)
    finally:
        exchanges.time, _connection.time = real
    assert ended == [exchange]
    assert connection.exchange is None
    answer = classify_exchange(exchange)
    assert answer.status in {OK, *FAULTS}
    return _seen(answer, moments)


def by_the_book(packets: list[bytes]) -> Seen | None:
    """What a slow reader makes of them; None where it cannot say (see the code)."""
    book = _Book()
    parser = book.parser = httptools.HttpResponseParser(book)
    fault: str | None = None
    for number, packet in enumerate(packets):
        book.packet = number
        try:
            parser.feed_data(packet)
        except httptools.HttpParserUpgrade:
            fault = "the server wants to speak another protocol"
        except httptools.HttpParserError as error:
            fault = f"not HTTP: {error}"
        if book.complete or fault is not None:
            break
    whole = b"".join(packets)
    if not book.complete and exchanges.END in whole:
        return None  # taken for its end, whatever HTTP says
    if book.complete:
        status, detail = OK, None
    elif fault is not None:
        status, detail = "malformed", fault
    elif book.status is not None and not book.framed and book.body:
        status, detail = OK, None
    else:
        status, detail = "reset", "the server closed the connection"
    if status == OK and ((book.status or 0) >= 300 or book.kind == "application/json"):
        return None  # no stream: judged by its head
    reading = Reading()
    for place, data in _events(b"".join(byte for _, byte in book.body)):
        reading.take(place, data)
        if reading.fault is not None:
            break
    body = b"".join(byte for _, byte in book.body)
    if reading.fault is None and not reading.done:
        reading.take_rest(len(body), body.replace(b"\r", b"\n").split(b"\n")[-1])
    if not reading.places and reading.fault is None and reading.text_at_end is not None:
        reading.places.append(reading.text_at_end)
    ends: list[int] = []
    for number, part in book.body:
        ends += [number] * len(part)
    moments = tuple(float(ends[max(place - 1, 0)]) for place in reading.places)
    answer = reading.answer(body, moments)
    if status != OK:
        answer = Answer(status, detail, answer.chunk_s if book.body else (), None, None, None, None)
    return _seen(answer, [float(number) for number in range(len(packets))])


class _Book:
    """What llhttp says of an answer."""

    def __init__(self) -> None:
        self.body: list[tuple[int, bytes]] = []
        self.packet = 0
        self.complete = self.framed = False
        self.status: int | None = None
        self.kind = ""
        self.parser: httptools.HttpResponseParser | None = None

    def on_message_begin(self) -> None:
        if not self.complete:
            self.framed = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.complete:
            return
        if name.lower() in {b"content-length", b"transfer-encoding"}:
            self.framed = True
        if name.lower() == b"content-type":
            self.kind = value.decode("latin-1").split(";")[0].strip().lower()

    def on_headers_complete(self) -> None:
        if self.parser is not None and not self.complete:
            self.status = self.parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if not self.complete:
            self.body.append((self.packet, body))

    def on_message_complete(self) -> None:
        self.complete = self.complete or not 100 <= (self.status or 0) < 200


def _events(body: bytes) -> list[tuple[int, bytes]]:
    """Events with where the last line of data ends (HTML standard, 9.2.6), a byte at a time."""
    found: list[tuple[int, bytes]] = []
    data: list[bytes] = []
    start = place = 3 if body.startswith(b"\xef\xbb\xbf") else 0
    line_start = start
    at = start
    while at < len(body):
        if body[at] not in {10, 13}:
            at += 1
            continue
        name, _, value = body[line_start:at].partition(b":")
        if name == b"data" and at > line_start:
            data.append(value.removeprefix(b" "))
            place = at
        elif at == line_start and data:
            found.append((place, b"\n".join(data)))
            data = []
        at += 2 if body[at : at + 2] == b"\r\n" else 1
        line_start = at
    return [*found, (place, b"\n".join(data))] if data else found


def made(draw: random.Random) -> list[bytes]:
    """An answer as some server might write it, in packets."""
    chat = draw.random() < 0.7
    odd = draw.random() < 0.4
    name = "m" * draw.choice([1, 8, 30, 60, 100])
    end = draw.choice(["\n", "\n", "\n", "\r\n"])
    events: list[str] = []

    def event(choices: list[Any], **further: Any) -> None:
        message = {"id": name, "object": "chunk", "choices": choices, **further}
        text = json.dumps(message, ensure_ascii=draw.random() < 0.3, separators=(",", ":"))
        if odd and draw.random() < 0.1:
            events.append(draw.choice([": ping", "event: x", "id: 7", "data: ", "data:"]) + end * draw.choice([1, 2]))
        events.append(f"data: {text}{end}{end}")

    if draw.random() < 0.5:
        event([{"index": 0, "delta": {"role": "assistant", "content": ""}}])
    for _ in range(draw.choice([1, 3, 20, 90])):
        text = draw.choice(TEXTS) if odd else draw.choice(TEXTS[:6])
        event([{"index": 0, "delta": {"content": text}} if chat else {"index": 0, "text": text}])
    event([{"index": 0, "delta": {}, "finish_reason": draw.choice(["stop", "length", 7])}])
    if draw.random() < 0.8:
        event([], usage={"prompt_tokens": 3, "completion_tokens": len(events)})
    if draw.random() < 0.9:
        events.append(f"data: [DONE]{end}{end}")
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    style = draw.choice(["each", "each", "each", "several", "anyhow", "length", "close"])
    body = "".join(events).encode()
    size = draw.choice([b"%x", b"%x", b"%X", b"0%x"])
    match style:
        case "length":
            raw = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        case "close":
            raw = f"{head}Connection: close\r\n\r\n".encode() + body
        case _:
            chunks = [event.encode() for event in events]
            if style == "several":
                chunks = [b"".join(chunks[at : at + 5]) for at in range(0, len(chunks), 5)]
            elif style == "anyhow":
                cuts = sorted({0, len(body), *(draw.randrange(len(body)) for _ in range(8))})
                chunks = [body[a:b] for a, b in itertools.pairwise(cuts)]
            framed = [(size % len(chunk)) + b"\r\n" + chunk + b"\r\n" for chunk in chunks if chunk]
            raw = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + b"".join(framed) + b"0\r\n\r\n"
    return cut(draw, raw)


def cut(draw: random.Random, raw: bytes) -> list[bytes]:
    """Bytes in packets: at the ends of chunks, or anywhere."""
    match draw.randrange(4):
        case 0:
            return [raw]
        case 1:
            parts = raw.split(b"\n\n\r\n")
            return [item for item in [*(part + b"\n\n\r\n" for part in parts[:-1]), parts[-1]] if item]
        case 2:
            step = draw.choice([1, 7, 100, 1000, 4096])
            return (
                [raw[at : at + step] for at in range(0, len(raw), max(step, len(raw) // 300))]
                if step > 50
                else [raw[at : at + step] for at in range(0, len(raw), step)][:4000]
            )
        case _:
            places = sorted({0, len(raw), *(draw.randrange(len(raw) + 1) for _ in range(draw.choice([1, 4, 30])))})
            return [raw[a:b] for a, b in itertools.pairwise(places) if b > a]


def damaged(draw: random.Random, packets: list[bytes]) -> list[bytes]:
    """Packets of an answer with a few bytes changed, lost, doubled or put in, and cut anew."""
    raw = bytearray(b"".join(packets))
    for _ in range(draw.choice([1, 1, 2, 5])):
        at = draw.randrange(len(raw) + 1)
        span = draw.choice([1, 1, 2, 5, 50])
        match draw.randrange(5):
            case 0 if at < len(raw):
                raw[at] = draw.choice([0, 9, 10, 13, 32, 34, 48, 92, 123, 255, draw.randrange(256)])
            case 1:
                del raw[at : at + span]
            case 2:
                raw[at:at] = raw[at : at + span]
            case 3:
                raw[at:at] = draw.choice(
                    [
                        b"\r\n",
                        b"\n\n",
                        b"\r",
                        b"data: ",
                        b"data: [DONE]\n\n",
                        b"0\r\n\r\n",
                        b'"',
                        b"\\",
                        b"\xc3",
                        b"\x01",
                    ]
                )
            case _:
                other = draw.randrange(len(raw) + 1)
                raw[at:at] = raw[other : other + span]
    return cut(draw, bytes(raw)) if raw else packets


def compare(packets: list[bytes]) -> tuple[Seen | None, Seen | None]:
    """Both readings, once they are found to agree."""
    fast, slow = by_client(packets), by_the_book(packets)
    if slow is not None and fast is not None:
        assert fast == slow, (packets, fast, slow)
    return fast, slow


from rackrate.measurement import connection as _connection  # noqa: E402 - its clock is set above


def way(packets: list[bytes]) -> tuple[object, ...]:
    """In which way a case ends, roughly: the corpus keeps one of each."""
    fast, slow = by_client(packets), by_the_book(packets)
    assert fast is not None
    # what the server said is as many ways as there are damages
    kinds = ("not HTTP", "not a JSON object", "the ")
    detail = next((kind for kind in kinds if (fast.detail or "").startswith(kind)), "")
    return (
        fast.status,
        detail,
        slow is None,
        min(fast.chunks, 3),
        fast.tokens[2] is None,
        fast.finish is None,
        len(set(fast.places)) > 1,
    )
