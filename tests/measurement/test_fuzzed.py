"""What the fuzzer found worth keeping is read as a slow reader reads it; so are a few hundred cases made anew."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from client_fuzzing import by_client, compare, cut, damaged, made
from rackrate.measurement import sse
from rackrate.measurement.answers import Reading, read_alike
from rackrate.measurement.exchange import Exchange
from rackrate.runs.statuses import OK

CORPUS = Path(__file__).with_name("client_corpus.jsonl")
KEPT = [[part.encode("latin-1") for part in json.loads(line)] for line in CORPUS.read_text("utf-8").splitlines()]


def test_the_corpus_is_read_as_a_slow_reader_reads_it() -> None:
    assert len(KEPT) > 40
    ways = {fast.status for fast, _ in map(compare, KEPT) if fast is not None}
    assert {OK, "malformed", "reset", "empty"} <= ways


@pytest.mark.parametrize("seed", range(4))
def test_answers_made_and_damaged_at_random_are_too(seed: int) -> None:
    for number in range(100):
        draw = random.Random(f"{seed}/{number}")
        packets = made(draw)
        compare(damaged(draw, packets) if number % 2 else packets)


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_the_size_of_a_chunk_may_be_cut_anywhere() -> None:
    # the rest of a line of size looks like a smaller chunk that is whole
    event = b'data: {"choices": [{"text": "abc"}]}\n\n'
    inner = b"4\r\nabcd\r\n"
    chunk = event + inner
    raw = b"%x\r\n%b\r\n" % (len(chunk), chunk)
    for place in range(1, len(raw)):
        exchange = Exchange(0.0)
        for packet in (HEAD, raw[:place], raw[place:], b"0\r\n\r\n"):
            exchange.packets.append(packet)
            exchange.packet_times.append(0.0)
            exchange.digest()
        assert exchange.complete
        assert exchange.body == chunk


def usual(texts: list[bytes], size: bytes = b"%x") -> bytes:
    """A whole answer with an event in each chunk."""
    events = [b'data: {"id": "x", "choices": [{"index": 0, "text": "%b"}], "more": null}\n\n' % text for text in texts]
    events += [b'data: {"choices": [{"text": "", "finish_reason": "length"}]}\n\n', b"data: [DONE]\n\n"]
    return b"".join((size % len(event)) + b"\r\n" + event + b"\r\n" for event in events) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [b"%x", b"%X"])
@pytest.mark.parametrize("spread", [1, 12, 60])
def test_most_events_of_a_usual_answer_are_not_parsed(
    monkeypatch: pytest.MonkeyPatch, spread: int, size: bytes
) -> None:
    draw = random.Random(spread)
    # sizes of two and three digits among them, line breaks that are escaped, letters of several bytes
    texts = [draw.choice([b" the", b"a" * draw.randint(1, spread), b"\\n", "é".encode()]) for _ in range(1000)]
    raw = usual([b"x" * 170 + text for text in texts], size)
    parsed: list[bytes] = []
    take = Reading.take

    def count(self: Reading, place: int, data: bytes) -> None:
        parsed.append(data)
        take(self, place, data)

    monkeypatch.setattr(Reading, "take", count)
    answer = sse.read_framed([0.5], [raw])
    assert answer is not None
    assert (len(answer.chunk_s), answer.raw_texts[-1]) == (1000, b"x" * 170 + texts[-1])
    assert len(parsed) < 20


def test_a_text_that_is_no_json_is_not_taken() -> None:
    for bad in (b"\\q", b"\x01", b"\\u12"):
        texts = [b"a", b"b", bad, b"c"]
        body = b"".join(b'data: {"choices": [{"text": "%b"}]}\n\n' % text for text in texts)
        answer = sse.decode([(0.0, body)])
        assert (answer.status, answer.raw_texts) == ("malformed", (b"a", b"b"))


def test_nothing_is_alike_without_a_pattern() -> None:
    assert read_alike(b"data: x\n\n", 0, Reading(), framed=False) == 0


def test_packets_of_a_usual_answer_are_never_unwrapped() -> None:
    packets = cut(random.Random(0), HEAD + usual([b" a"] * 50))
    seen = by_client(packets)
    assert seen is not None
    assert (seen.status, seen.chunks, seen.text) == (OK, 50, " a" * 50)
