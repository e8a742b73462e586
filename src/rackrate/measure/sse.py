"""From the raw bytes of a streamed answer, with the time each piece arrived, to its tokens and usage.

Nothing here runs while bytes arrive: the client keeps (time, bytes) and this decodes them once the answer is in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import orjson

from rackrate.measure.loose_json import Object, as_list, as_object, as_text, error_text, parse
from rackrate.records import OK

Piece = tuple[float, bytes]
"""Arrival time [s] and the bytes of the body that arrived then."""

_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r)")
_DONE = b"[DONE]"
_CONTROL = re.compile(rb"[\x00-\x1f]")
"""What may not stand in a JSON string."""


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
    raw_texts: tuple[bytes, ...] = ()
    """The text of each chunk as it stands in the JSON, escapes and all."""

    @property
    def text(self) -> str:
        """All of the text."""
        return as_text(parse(b'"' + b"".join(self.raw_texts) + b'"'))


def events(pieces: Sequence[Piece]) -> list[Event]:
    r"""The events of a body, each timed by the piece that completed its data.

    However the bytes are cut, the same data come out. Comments and fields other than data are left out, as is a last
    line without its end (a stream that was cut). Lines end in \n, \r\n or \r, per the HTML standard, 9.2.

    >>> events([(0.1, b"data: {\"a\""), (0.2, b": 1}\n\n"), (0.3, b": ping\n\ndata: [DONE]\n\n")])
    [Event(time_s=0.2, data=b'{"a": 1}'), Event(time_s=0.3, data=b'[DONE]')]
    """
    parts = [part for _, part in pieces]
    return list(_events([time_s for time_s, _ in pieces], list(accumulate(map(len, parts))), b"".join(parts)))


def _events(times: Sequence[float], ends: Sequence[int], body: bytes) -> Iterator[Event]:
    """The events of a body whose n-th piece ends at `ends[n]` and arrived at `times[n]`."""
    data: list[bytes] = []
    piece = 0
    time_s = 0.0
    for end, line in _lines(body):
        if not line:
            if data:
                yield Event(time_s, data[0] if len(data) == 1 else b"\n".join(data))
                data = []
        elif line.startswith(b"data:") or line == b"data":
            data.append(line[6:] if line[5:6] == b" " else line[5:])
            while ends[piece] < end:  # in which piece the end of the line's text lies
                piece += 1
            time_s = times[piece]
    if data:
        # the blank line after the last event never came, but its data did
        yield Event(time_s, b"\n".join(data))


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
    """The tokens, usage and faults of a streamed chat or text completion, given piece by piece."""
    return decode_parts([time_s for time_s, _ in pieces], [part for _, part in pieces])


def decode_parts(times: Sequence[float], parts: Sequence[bytes]) -> Answer:
    """As `decode`; the n-th of `parts` arrived at the n-th of `times`."""
    body = b"".join(parts)
    ends = list(accumulate(map(len, parts)))
    reading = _Reading()
    start = 0
    if b"\r" not in body and (body.isascii() or _is_utf8(body)):
        start = _decode_plain(times, ends, body, reading)
        if _CONTROL.search(b"".join(reading.texts)):  # no JSON: to be found where it stands
            reading, start = _Reading(), 0
    if reading.fault is None and start < len(body):
        shifted = [end - start for end in ends] if start else ends
        for event in _events(times, shifted, body[start:] if start else body):
            reading.take(event)
            if reading.fault is not None:
                break
    return reading.fault or reading.answer(body)


def _decode_plain(times: Sequence[float], ends: Sequence[int], body: bytes, reading: _Reading) -> int:
    """Reads events of one data line each, divided by one empty line: what servers send that do nothing unusual.

    Most events are the same bytes as one that was read as JSON, but for the letters of their text; those are not parsed
    again. Returns where the first event begins that is to be read by the book; the end of the body where none is.
    """
    blocks = body.split(b"\n\n")
    blocks.pop()  # empty, or an event whose end never came
    start, piece, chunk_s, texts = 0, 0, reading.chunk_s, reading.texts
    for block in blocks:
        end = start + len(block)
        while ends[piece] < end:
            piece += 1
        if block.startswith(reading.before) and block.endswith(reading.after):
            text = block[reading.left : reading.right]
            if text and b"\\" not in text and b'"' not in text:
                chunk_s.append(times[piece])
                texts.append(text)
                start = end + 2
                continue
        if not block.startswith(b"data: ") or b"\n" in block:
            return start
        reading.take(Event(times[piece], block[6:]))
        if reading.fault is not None:
            return start
        start = end + 2
    return start


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Reading:
    """What the events of an answer have amounted to so far."""

    def __init__(self) -> None:
        self.chunk_s: list[float] = []
        self.texts: list[bytes] = []
        """As they stand in the JSON, escapes and all."""
        self.before, self.after = b"\r", b"\r"
        """What stood before and after the text of the last event that had one; to begin with, what no event has."""
        self.left, self.right = 1, -1
        self.fault: Answer | None = None
        self._usage: Object = {}
        self._finish: str | None = None
        self._finish_s = 0.0
        self._done = False
        self._seen = False

    def take(self, event: Event) -> None:
        """Reads an event as JSON. One that is a fault sets `fault`."""
        self._seen = True
        if event.data == _DONE:
            self._done = True
            return
        if not event.data:
            return
        message = as_object(parse(event.data))
        if not message:
            self.fault = self._broken("malformed", f"not a JSON object: {_excerpt(event.data)}")
            return
        if message.get("error"):
            self.fault = self._broken("error-event", error_text(message) or _excerpt(event.data))
            return
        usage = as_object(message.get("usage"))
        self._usage = usage or self._usage
        choices = as_list(message.get("choices"))
        choice = as_object(choices[0]) if choices else {}
        text = _text(choice)
        finish = choice.get("finish_reason")
        if text:
            self.chunk_s.append(event.time_s)
            quoted = orjson.dumps(text)
            self.texts.append(quoted[1:-1])
            if not usage and not finish:
                self._learn(event.data, quoted)
        if finish:
            self._finish, self._finish_s = finish, event.time_s

    def _learn(self, data: bytes, quoted: bytes) -> None:
        """Remembers how an event looks around its text, where that text stands in it once."""
        if data.count(quoted) == 1 and b"\n" not in data:
            at = data.index(quoted)
            self.before = b"data: " + data[: at + 1]
            self.after = data[at + len(quoted) - 1 :]
            self.left, self.right = len(self.before), -len(self.after)

    def _broken(self, status: str, detail: str) -> Answer:
        return Answer(status, detail, tuple(self.chunk_s), None, None, None, None, tuple(self.texts))

    def answer(self, body: bytes) -> Answer:
        """What it all amounts to, once the body is over."""
        usage, finish, chunk_s = self._usage, self._finish, self.chunk_s
        if not self._seen:
            return self._broken("malformed", _excerpt(body))
        if not (self._done or finish or usage):
            return self._broken("reset", "the stream ended before the answer did")
        output_tokens = _count(usage.get("completion_tokens"))
        if not chunk_s and finish and output_tokens:
            # tokens without text (a special token, half a character) were sent with the end of the answer
            chunk_s.append(self._finish_s)
        if not chunk_s:
            return self._broken("empty", "the answer had no text")
        cached = as_object(usage.get("prompt_tokens_details")).get("cached_tokens")
        return Answer(
            status=OK,
            detail=None,
            chunk_s=tuple(chunk_s),
            input_tokens=_count(usage.get("prompt_tokens")),
            cached_tokens=_count(cached),
            output_tokens=output_tokens,
            finish_reason=finish if isinstance(finish, str) else None,
            raw_texts=tuple(self.texts),
        )


def chunks_so_far(times: Sequence[float], parts: Sequence[bytes]) -> tuple[float, ...]:
    """When text arrived in an answer that was cut off; what cannot be decoded is left out."""
    return decode_parts(times, parts).chunk_s if parts else ()


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


def _excerpt(data: bytes, length: int = 120) -> str:
    text = data[: length + 1].decode("utf-8", "replace").strip()
    return text[:length] + "..." if len(text) > length else text
