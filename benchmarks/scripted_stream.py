"""What the benchmarks' server writes: an answer as bytes, made once, so that writing a token is one call."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

_WORDS = (
    "time year work life hand part eyes week case fact area home book word room idea head side kind line city name"
    " team hour game door face laws body back ages road news form view mind land foot tree star song wind rain snow"
    " fire gold iron salt milk corn rice fish bird wolf bear lion frog seed leaf root hill lake moon wave"
)
"""Sixty-four words of four letters: events of one answer are equally long, so that an answer is one join."""


@dataclass(frozen=True)
class Script:
    """What the server does."""

    port: int = 8100
    ttft_s: float = 0.05
    itl_s: float = 0.01
    tokens_per_chunk: int = 1
    chunks_per_write: int = 1
    role: str = "with-first"
    """When the chunk that has only the role is written: with the first token, as soon as the request is read
    (early), or never (none)."""
    slots: int | None = None
    """So many answers are written at once; others wait their turn."""
    model: str = "scripted"
    output_tokens: int = 64
    """Of a request that states no limit."""
    template_tokens: int = 7
    """Counted besides the words of a prompt."""
    turn_writes: int = 64
    """Without delays, so many writes to one answer come in a row before the next answer has its turn."""
    spin_s: float = 200e-6
    """So long before a write is due, sleeping ends and spinning begins."""


@dataclass(eq=False, slots=True)
class Connection:
    """A client's socket, what was read of it and what could not yet be written."""

    number: int
    raw: socket.socket
    accepted_s: float
    received: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    answer: Answer | None = None
    keep: bool = True


@dataclass(eq=False, slots=True)
class Answer:
    """One completion under way."""

    connection: Connection
    path: str
    read_s: float
    asked: int
    input_tokens: int
    streamed: bool
    usage: bool
    slot_s: float | None = None
    packets: list[memoryview] = field(default_factory=list[memoryview])
    writes_s: list[float] = field(default_factory=list[float])
    status: int = 200


def count_words(body: dict[str, Any]) -> int:
    """The words of a prompt: what this server calls its tokens."""
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        return len(prompt.split())
    if isinstance(prompt, list):
        return len(cast("list[Any]", prompt))  # token ids
    count = 0
    for message in cast("list[dict[str, Any]]", body.get("messages") or []):
        content = message.get("content")
        if isinstance(content, str):
            count += len(content.split())
        else:
            for part in cast("list[dict[str, Any]]", content or []):
                count += len(str(part.get("text", "")).split())
    return count


def page(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status.encode(), len(body), body,
    )  # fmt: skip


def _framed(data: bytes) -> bytes:
    event = b"data: %b\n\n" % data
    return b"%x\r\n%b\r\n" % (len(event), event)


def stream(answer: Answer, script: Script, number: int) -> tuple[bytes, list[memoryview]]:
    """What opens a streamed answer at once, and each of its writes."""
    chat = answer.path == "/v1/chat/completions"
    known = b'{"id":"%b-%08x","object":"%b","created":%d,"model":"%b","choices":[' % (
        b"chatcmpl" if chat else b"cmpl", number, b"chat.completion.chunk" if chat else b"text_completion",
        int(time.time()), script.model.encode(),
    )  # fmt: skip
    ending = b"}]}"
    opened = b'{"index":0,"delta":{"content":"' if chat else b'{"index":0,"text":"'
    closed = b'"},"logprobs":null,"finish_reason":null' if chat else b'","logprobs":null,"finish_reason":null'
    per_chunk, per_write = script.tokens_per_chunk, script.tokens_per_chunk * script.chunks_per_write
    text_length = 5 * per_chunk
    length = len(b"data: ") + len(known) + len(opened) + text_length + len(closed) + len(ending) + 2
    before = b"%x\r\ndata: %b%b" % (length, known, opened)
    after = b"%b%b\n\n\r\n" % (closed, ending)
    whole, rest = divmod(answer.asked, per_chunk)
    texts = _texts(per_chunk, whole)
    body = before + (after + before).join(texts) + after if whole else b""
    size = len(before) + text_length + len(after)
    if rest:
        body += _framed(known + opened + _texts(rest, 1)[0] + closed + ending)
    step = size * script.chunks_per_write
    view = memoryview(body)
    writes = -(-answer.asked // per_write)
    packets = [view[at * step : (at + 1) * step] for at in range(writes)]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    role = known + b'{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null' + ending
    if chat and script.role == "early":
        head += _framed(role)
    elif chat and script.role == "with-first":
        packets[0] = memoryview(_framed(role) + packets[0])
    last = known + (
        b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"' if chat
        else b'{"index":0,"text":"","logprobs":null,"finish_reason":"length"'
    ) + ending  # fmt: skip
    tail = _framed(last)
    if answer.usage:
        tail += _framed(known + b'],"usage":%b}' % orjson.dumps(_usage(answer)))
    packets[-1] = memoryview(bytes(packets[-1]) + tail + _framed(b"[DONE]") + b"0\r\n\r\n")
    return head, packets


_text_cache: dict[tuple[int, int], list[bytes]] = {}


def _texts(per_chunk: int, chunks: int) -> list[bytes]:
    found = _text_cache.get((per_chunk, chunks))
    if found is None:
        known = _WORDS.split()
        words = [b" " + known[at % len(known)].encode() for at in range(per_chunk * chunks)]
        found = [b"".join(words[at : at + per_chunk]) for at in range(0, len(words), per_chunk)]
        _text_cache[per_chunk, chunks] = found
    return found


def _usage(answer: Answer) -> dict[str, int]:
    return {
        "prompt_tokens": answer.input_tokens,
        "total_tokens": answer.input_tokens + answer.asked,
        "completion_tokens": answer.asked,
    }


def whole(answer: Answer, script: Script) -> bytes:
    """The answer to a request that does not stream."""
    text = b"".join(_texts(1, answer.asked)).decode()
    chat = answer.path == "/v1/chat/completions"
    choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
    choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    kind = "chat.completion" if chat else "text_completion"
    return page(
        orjson.dumps(
            {
                "id": "cmpl-0", "object": kind, "created": int(time.time()), "model": script.model,
                "choices": [choice], "usage": _usage(answer),
            }
        )
    )  # fmt: skip
