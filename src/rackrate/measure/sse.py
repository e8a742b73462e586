"""From the raw bytes of a streamed answer, with the time each piece arrived, to its tokens and usage.

Nothing here runs while bytes arrive: the client keeps (time, bytes) and this decodes them once the answer is in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from rackrate.measure.loose_json import Object, as_list, as_object, as_text, error_text, parse
from rackrate.records import OK

Piece = tuple[float, bytes]
"""Arrival time [s] and the bytes of the body that arrived then."""

_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r)")
_DONE = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event: its data, and when the last byte of that data's line was in."""

    time_s: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a streamed answer amounts to."""

    status: str
    detail: str | None
    chunk_s: tuple[float, ...]
    """When each piece of text, reasoning or tool call arrived; a role or an empty piece is none."""
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    finish_reason: str | None
    text: str


def events(pieces: Sequence[Piece]) -> list[Event]:
    r"""The events of a body, each timed by the piece that completed its data.

    However the bytes are cut, the same data come out. Comments and fields other than data are left out, as is a last
    line without its end (a stream that was cut). Lines end in \n, \r\n or \r, per the HTML standard, 9.2.

    >>> events([(0.1, b"data: {\"a\""), (0.2, b": 1}\n\n"), (0.3, b": ping\n\ndata: [DONE]\n\n")])
    [Event(time_s=0.2, data=b'{"a": 1}'), Event(time_s=0.3, data=b'[DONE]')]
    """
    body = b"".join([piece for _, piece in pieces])
    ends = list(accumulate([len(piece) for _, piece in pieces]))
    found: list[Event] = []
    data: list[bytes] = []
    piece = 0
    time_s = 0.0
    for end, line in _lines(body):
        if not line:
            if data:
                found.append(Event(time_s, data[0] if len(data) == 1 else b"\n".join(data)))
                data = []
        elif line.startswith(b"data:") or line == b"data":
            data.append(line[6:] if line[5:6] == b" " else line[5:])
            while ends[piece] < end:  # in which piece the end of the line's text lies
                piece += 1
            time_s = pieces[piece][0]
    if data:
        # the blank line after the last event never came, but its data did
        found.append(Event(time_s, b"\n".join(data)))
    return found


def _lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Whole lines without their ends, each with where its text ends; what comes after the last end is no line."""
    start = 3 if body.startswith(b"\xef\xbb\xbf") else 0
    if b"\r" in body:
        for match in _LINE.finditer(body, start):
            yield match.end(1), match.group(1)
        return
    lines = body[start:].split(b"\n")
    lines.pop()
    for line in lines:
        start += len(line)
        yield start, line
        start += 1


def decode(pieces: Sequence[Piece]) -> Answer:
    """The tokens, usage and faults of a streamed chat or text completion."""
    chunk_s: list[float] = []
    texts: list[str] = []
    usage: Object = {}
    finish: str | None = None
    finish_s = 0.0
    done = False
    seen = events(pieces)
    for event in seen:
        if event.data == _DONE:
            done = True
            continue
        if not event.data:
            continue
        message = as_object(parse(event.data))
        if not message:
            return _fault("malformed", f"not a JSON object: {_excerpt(event.data)}", chunk_s, texts)
        if message.get("error"):
            return _fault("error-event", error_text(message) or _excerpt(event.data), chunk_s, texts)
        usage = as_object(message.get("usage")) or usage
        choices = as_list(message.get("choices"))
        choice = as_object(choices[0]) if choices else {}
        text = _text(choice)
        if text:
            chunk_s.append(event.time_s)
            texts.append(text)
        if choice.get("finish_reason"):
            finish, finish_s = choice["finish_reason"], event.time_s
    if not seen:
        return _fault("malformed", _excerpt(b"".join(piece for _, piece in pieces)), chunk_s, texts)
    if not (done or finish or usage):
        return _fault("reset", "the stream ended before the answer did", chunk_s, texts)
    output_tokens = _count(usage.get("completion_tokens"))
    if not chunk_s and finish and output_tokens:
        # tokens without text (a special token, half a character) were sent with the end of the answer
        chunk_s.append(finish_s)
    if not chunk_s:
        return _fault("empty", "the answer had no text", chunk_s, texts)
    cached = as_object(usage.get("prompt_tokens_details")).get("cached_tokens")
    return Answer(
        status=OK,
        detail=None,
        chunk_s=tuple(chunk_s),
        input_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_count(cached),
        output_tokens=output_tokens,
        finish_reason=finish if isinstance(finish, str) else None,
        text="".join(texts),
    )


def chunks_so_far(pieces: Sequence[Piece]) -> tuple[float, ...]:
    """When text arrived in an answer that was cut off; what cannot be decoded is left out."""
    return decode(pieces).chunk_s if pieces else ()


def _text(choice: Object) -> str:
    """The text that a choice brings: content, reasoning, refusal, tool call or plain completion."""
    delta = as_object(choice.get("delta"))
    content = delta.get("content")
    if content and isinstance(content, str):
        return content
    for key in ("reasoning_content", "reasoning", "refusal"):
        if text := as_text(delta.get(key)):
            return text
    if delta.get("tool_calls") or delta.get("function_call"):
        return "(tool call)"
    return as_text(choice.get("text"))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _fault(status: str, detail: str, chunk_s: Sequence[float], texts: Sequence[str]) -> Answer:
    return Answer(status, detail, tuple(chunk_s), None, None, None, None, "".join(texts))


def _excerpt(data: bytes, length: int = 120) -> str:
    text = data[: length + 1].decode("utf-8", "replace").strip()
    return text[:length] + "..." if len(text) > length else text
