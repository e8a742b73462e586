"""What the events of a streamed answer amount to: its texts, where each stands, the usage, the faults.

Most events of an answer are the same bytes as one that was read as JSON, but for the letters of their text. Those are
not parsed again: their texts are cut out at the places where they must stand, the bytes that such texts would make are
put together, and what was received must be equal to that, byte for byte.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import orjson

from rackrate.measurement.lenient_json import Object, as_list, as_object, as_text, error_text, parse, printable
from rackrate.runs.statuses import BROKEN_OFF, OK

_DONE = b"[DONE]"
_BROKEN_OFF = re.compile("abort|cancel|error|fail|insufficient|timeout|timed_out", re.IGNORECASE)
"""Reasons to finish of an answer that the server broke off: abort and error of vLLM and SGLang, cancelled of gateways,
insufficient_system_resource of DeepSeek, network_error of Z.ai. An answer that is whole ends by stop, length, a tool
call, a filter and the like."""
_STATES_FAULT = re.compile("error|exception|fail", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x1f]")
"""What may not stand in a JSON string."""
_FEWEST, _FEW, _MOST = 8, 128, 256
"""Events, about, that are cut out before they are compared: what follows one that is not alike is cut out in vain."""
_LEARNT_BYTES = 2**16
"""An event so large is not expected again."""
_LIKELY_BYTES = 12
"""Of a text and of a chunk's size."""
_END, _FRAMED_END = b"\n\n", b"\n\n\r\n"
"""What follows the data of an event."""


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


class Reading:
    """What the events of an answer have amounted to so far."""

    def __init__(self) -> None:
        self.places: list[int] = []
        """Where each event that brought text ends, in the bytes that are read."""
        self.texts: list[bytes] = []
        """As they stand in the JSON, escapes and all."""
        self.before = self.after = b""
        """What stood before and after the text of the last event that had one; empty where there is none to go by."""
        self.fault: tuple[str, str] | None = None
        """Its name and what the server said."""
        self.done = False
        self.capitals = False
        """Whether the sizes of chunks are written in capital letters."""
        self.block = _FEW
        """How many events to cut out next."""
        self._usage: Object = {}
        self._finish: Any = None
        self._finish_place = 0
        self._seen = False

    def take(self, place: int, data: bytes, *, named_error: bool = False) -> None:
        """Reads an event that ends at a place as JSON. One that is a fault, or is named an error, sets `fault`."""
        self._seen = True
        if named_error:
            self.take_error(data)
            return
        if data == _DONE:
            self.done = True
        if not data or self.done:  # what follows the end belongs to nobody
            return
        message = as_object(parse(data))
        if len(data) >= _LEARNT_BYTES:
            data = data[:_LEARNT_BYTES]
        if not message:
            self.fault = "malformed", f"not a JSON object: {_excerpt(data)}"
            return
        choices = message.get("choices")
        if message.get("error") or (not choices and _is_error(message)):
            self.take_error(data)
            return
        usage = as_object(message.get("usage"))
        self._usage = usage or self._usage
        if not choices:
            return
        choice = as_object(as_list(choices)[0]) if isinstance(choices, list) else {}
        if choice.get("error"):
            self.fault = "error-event", error_text(choice) or _excerpt(data)
            return
        text = _text(choice)
        finish = choice.get("finish_reason")
        del message, choices, choice
        if text:
            self.places.append(place)
            quoted = orjson.dumps(text)
            del text  # it may be most of the memory that an answer takes
            self.texts.append(quoted[1:-1])
            if not usage and not finish and len(data) < _LEARNT_BYTES:
                self._learn(data, quoted)
        if finish:
            self._finish, self._finish_place = finish, place
            # SGLang's own form of a reason is an object
            reason = as_text(finish) or as_text(as_object(finish).get("type"))
            if _BROKEN_OFF.search(reason):
                said = printable(as_text(as_object(finish).get("message")))
                self.fault = BROKEN_OFF, f"finish_reason {printable(reason)}" + (f": {said}" if said else "")

    def take_error(self, data: bytes) -> None:
        """Reads what the server says is a fault, in whatever form."""
        self.fault = "error-event", error_text(as_object(parse(data))) or _excerpt(data) or "no reason was given"

    def take_rest(self, place: int, line: bytes) -> None:
        """Reads a last line whose end never came: whole it counts; cut off it is a fault, if the answer had ended."""
        data = line[5:].removeprefix(b" ") if line.startswith(b"data:") else b""
        if data == _DONE or as_object(parse(data)):
            self.take(place, data)
        elif data and not _DONE.startswith(data) and (self._finish or self._usage):
            self.fault = "malformed", f"cut off: {_excerpt(data)}"

    def _learn(self, data: bytes, quoted: bytes) -> None:
        """Remembers how an event looks around its text, where that text stands in it once."""
        if data.count(quoted) == 1 and b"\n" not in data and b"\\" not in data:
            at = data.index(quoted)
            self.before = b"data: " + data[: at + 1]
            self.after = data[at + len(quoted) - 1 :]

    @property
    def ended(self) -> bool:
        """Whether the answer said that it was over."""
        return bool(self.done or self._finish or self._usage)

    @property
    def text_at_end(self) -> int | None:
        """The end of the answer, where tokens without text (a special token, half a character) were sent with it."""
        counted = _count(self._usage.get("completion_tokens"))
        return self._finish_place if self._finish and counted else None

    def answer(self, body: bytes, chunk_s: tuple[float, ...]) -> Answer:
        """What it all amounts to, once the body is over; `chunk_s` says when each of `places` was in."""

        def broken(status: str, detail: str) -> Answer:
            return Answer(status, detail, chunk_s, None, None, None, None, tuple(self.texts))

        usage, finish = self._usage, self._finish
        if self.fault is not None:
            return broken(*self.fault)
        if not self._seen:
            return broken("malformed", _excerpt(body))
        if not self.ended:
            return broken("reset", "the stream ended before the answer did")
        if not chunk_s:
            return broken("empty", "the answer had no text")
        cached = as_object(usage.get("prompt_tokens_details")).get("cached_tokens")
        return Answer(
            OK,
            None,
            chunk_s,
            # an answer with text has tokens, and its prompt had some: 0 is no count
            _count(usage.get("prompt_tokens")) or None,
            _count(cached),
            _count(usage.get("completion_tokens")) or None,
            finish if isinstance(finish, str) else None,
            tuple(self.texts),
        )


def read_alike(raw: bytes, start: int, reading: Reading, *, framed: bool) -> int:
    r"""Reads all events from `start` on that differ from the last one that had text in nothing but their text.

    Framed: each is a chunk of HTTP by itself. The bytes are to be UTF-8. Returns where the first event begins that is
    not alike, such as the end of the answer; that may be at `start`.

    >>> reading = Reading()
    >>> event = b'data: {"choices": [{"text": "%b"}]}\n\n'
    >>> body = b"".join(event % text for text in (b"a", b"bc", b"d"))
    >>> reading.take(34, (event % b"a")[6:-2])
    >>> read_alike(body, 36, reading, framed=False) == len(body), reading.texts, reading.places
    (True, [b'a', b'bc', b'd'], [34, 71, 107])
    """
    before = reading.before
    if not before:
        return start
    after = reading.after + (_FRAMED_END if framed else _END)
    end = len(after) - len(reading.after)
    while True:
        head = raw.find(b"\n", start, start + 8) + 1 if framed else start
        if not raw.startswith(before, head):
            return start
        # what is left over would be cut out again by the next round
        most = reading.block * (len(before) + len(after) + _LIKELY_BYTES)
        pieces = raw[start : start + most].split(after)
        pieces.pop()
        lengths = list(map(len, pieces))
        heads = _heads(set(lengths), reading, len(after), framed=framed)
        texts = [piece[len(heads[length]) :] for piece, length in zip(pieces, lengths, strict=True)]
        made = [after] * (3 * len(texts))
        made[::3] = map(heads.__getitem__, lengths)
        made[1::3] = texts
        whole = b"".join(made)
        places = list(accumulate([length + len(after) for length in lengths], initial=start - end))
        good = len(texts)
        if not raw.startswith(whole, start):
            good = bisect_right(places, start + _equal(raw, start, whole) - end) - 1
        good = _sound(texts[:good])
        reading.texts += texts[:good]
        reading.places += places[1 : good + 1]
        start = places[good] + end
        if good < len(texts) or not good:
            reading.block = max(_FEWEST, good * 2)
            return start
        reading.block = min(reading.block * 2, _MOST)


def _heads(lengths: set[int], reading: Reading, after: int, *, framed: bool) -> dict[int, bytes]:
    """What events begin with, by the bytes of each up to the end of its text; `after` more follow.

    The size of a chunk counts what stands between its own line and the chunk's last two bytes.
    """
    before = reading.before
    if not framed:
        return dict.fromkeys(lengths, before)
    form = b"%X\r\n%b" if reading.capitals else b"%x\r\n%b"
    heads: dict[int, bytes] = {}
    for length in lengths:
        size = length + after - 4
        size -= len(b"%x" % (size - len(b"%x" % size)))
        heads[length] = form % (size, before)
    return heads


def _equal(raw: bytes, start: int, made: bytes) -> int:
    """How many bytes from `start` on are equal to those made, found by halves."""
    low, high = 0, min(len(made), len(raw) - start)
    while low < high:
        middle = (low + high + 1) // 2
        if raw[start + low : start + middle] == made[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _sound(texts: list[bytes]) -> int:
    """How many of the texts, from the first on, are the inside of a JSON string and not empty."""
    joined = b"".join(texts)
    if all(texts) and b"\\" not in joined and b'"' not in joined and not _CONTROL.search(joined):
        return len(texts)
    for number, text in enumerate(texts):
        if not text or _CONTROL.search(text):
            return number
        if (b"\\" in text or b'"' in text) and not as_text(parse(b'"' + text + b'"')):
            return number
    return len(texts)


def _is_error(message: Object) -> bool:
    """Whether an event that has neither choices nor an `error` is one all the same.

    vLLM until 0.10 wrote {"object": "error", "message": ..., "code": 500}, FastAPI writes {"detail": ...}.

    >>> _is_error({"object": "error"}), _is_error({"detail": "no such route"}), _is_error({"type": "ping"})
    (True, True, False)
    >>> _is_error({"message": "upstream is full", "code": 529}), _is_error({"message": "queued", "code": 0})
    (True, False)
    """
    if message.get("usage"):
        return False
    if any(_STATES_FAULT.search(as_text(message.get(key))) for key in ("object", "type", "status", "error_type")):
        return True
    codes = (message.get(key) for key in ("code", "status", "status_code", "statusCode"))
    failed = any(isinstance(code, int) and 400 <= code < 600 for code in codes)
    return bool(message.get("detail") or message.get("errors")) or (failed and bool(message.get("message")))


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
    """A number of tokens; None for what is none, such as one below 0 or of more than 31 bits."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def _excerpt(data: bytes, length: int = 120) -> str:
    text = printable(data[: length + 1].decode("utf-8", "replace"))
    return text[:length] + "..." if len(text) > length else text
