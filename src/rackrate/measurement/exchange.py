"""One request and its answer. Packets are kept as they come; the framing of HTTP is taken off once somebody asks.

Chunks that arrived whole are unwrapped here, all other framing is left to httptools (llhttp). Each piece of the body
keeps the moment at which its packet arrived. JSON is not touched: see `sse`, which reads most answers framing and all.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import accumulate
from typing import cast

import httptools

from rackrate.measurement.answers import Answer
from rackrate.measurement.lenient_json import printable
from rackrate.measurement.sse import Piece, read_framed

MAX_BODY_BYTES = 64 * 2**20
"""An answer larger than this is a fault; 100,000 tokens of streamed JSON are about 25 MB."""
MAX_HEAD_BYTES = 256 * 1024
"""Nor is there a head that is larger, provisional answers included."""
_VIEWED_BYTES = 2**12
"""Pieces larger than this are worth a view each."""
_HEAD_END = b"\r\n\r\n"
END = b"data: [DONE]\n\n\r\n0\r\n\r\n"
"""How nearly every streamed answer ends: the stream's own end in a chunk, and the end of a chunked message."""
_AFTER_DONE = len(b"\n\n\r\n0\r\n\r\n")


@dataclass(slots=True, eq=False)
class Exchange:
    """One request and what came back, as raw as it came. Times on `time.perf_counter`.

    Methods named on_* are httptools'.
    """

    started_s: float
    sent_s: float | None = None
    first_byte_s: float | None = None
    last_byte_s: float | None = None
    done_s: float | None = None
    http_status: int | None = None
    content_type: str = ""
    retry_after: str | None = None
    location: str | None = None
    look_s: float = 0.0
    """When the watchman looks at it next though it flows, after the send."""
    has_token: bool = False
    """Whether the watchman has seen a token in it."""
    status: str = ""
    """OK once answered, else the fault (see records.FAULTS); empty while under way."""
    detail: str | None = None
    packets: list[bytes] = field(default_factory=list[bytes])
    """What arrived and still has its framing; the head of the message is never among it for long."""
    packet_times: list[float] = field(default_factory=list[float])
    streams: bool = False
    """Whether a chunked body has begun, so that packets may wait."""
    complete: bool = False
    """Whether the end of the message was seen; what comes after that belongs to nobody."""
    keep_alive: bool = True
    framed: bool = False
    """Whether the response says where it ends; if not, the end of the connection ends it."""
    fault: str | None = None
    """What is wrong with its HTTP."""
    encoding: str = ""
    """Of the content, where it has one."""
    wire_bytes: int = 0
    """Of the packets whose framing was taken off, framing included."""
    _times: list[float] = field(default_factory=list[float])
    _parts: list[bytes] = field(default_factory=list[bytes])
    _fresh: list[bytes] = field(default_factory=list[bytes])
    """What the packet that is being read has brought of the body."""
    _size: int = 0
    _parser: httptools.HttpResponseParser | None = None
    _chunked: bool = False
    _headed: bool = False
    """Whether the head of the answer proper is over."""
    between_chunks: bool = False
    """Whether what was read until now ends where a chunk begins: one that is whole need not pass through llhttp."""
    _now: float = 0.0

    # the body, free of its framing
    @property
    def times(self) -> list[float]:
        """When each of `parts` arrived."""
        self.digest()
        return self._times

    @property
    def parts(self) -> list[bytes]:
        """The body, in pieces as they arrived."""
        self.digest()
        return self._parts

    @property
    def size(self) -> int:
        """Bytes of the body."""
        self.digest()
        return self._size

    @property
    def undressed_bytes(self) -> int:
        """Bytes of the body whose framing was taken off."""
        return self._size

    @property
    def received(self) -> int:
        """Bytes that arrived, as far as is known: those of packets that are kept still have their framing."""
        return self._size + sum(map(len, self.packets))

    @property
    def pieces(self) -> list[Piece]:
        """The body piece by piece, each with its time."""
        return list(zip(self.times, self.parts, strict=True))

    @property
    def body(self) -> bytes:
        """All of the body that arrived."""
        return b"".join(self.parts)

    def joined(self) -> tuple[list[int], bytes]:
        """How long each piece of the body is, and all of it. Where they are large they are not kept besides."""
        lengths, body = list(map(len, self.parts)), self.body
        if len(body) > _VIEWED_BYTES * len(lengths):
            whole = memoryview(body)
            views = [whole[end - length : end] for end, length in zip(accumulate(lengths), lengths, strict=True)]
            self._parts = cast("list[bytes]", views)
        return lengths, body

    def answer(self) -> Answer | None:
        """What it amounts to where it is of the usual kind and was not looked at before; None: see its pieces."""
        if not self.packets or self._parts or not self.between_chunks:
            return None
        answer = read_framed(self.packet_times, self.packets)
        if answer is not None:
            self.packets, self.packet_times, self._parser = [], [], None
        return answer

    @property
    def may_be_done(self) -> bool:
        """Whether it has [DONE] anywhere; looked for without taking the framing off, which would be slow later."""
        return any(b"[DONE]" in b"".join(pieces) for pieces in (self._parts, self.packets))

    def done_line_s(self) -> float | None:
        """When the line `data: [DONE]` was in, if it was."""
        body = self.body
        at = body.find(b"[DONE]")
        while at >= 0 and not _begins_line(body, at):  # it may also be in a text
            at = body.find(b"[DONE]", at + 1)
        if at < 0:
            return None
        end = at + len(b"[DONE]")
        for time_s, part in zip(self._times, self._parts, strict=True):
            end -= len(part)
            if end <= 0:
                return time_s
        raise AssertionError  # pragma: no cover - it lies within the parts

    def end_s(self) -> float | None:
        """When [DONE] was in, where the packets that are kept end as nearly every answer does; else None."""
        packets = self.packets
        last = packets[-1]
        if not (last if len(last) >= len(END) else b"".join(packets[-len(END) :])).endswith(END):
            return None
        at, after = -1, _AFTER_DONE
        while after >= len(packets[at]):
            after -= len(packets[at])
            at -= 1
        return self.packet_times[at]

    # the framing
    def digest(self, *, until_head: bool = False) -> None:
        """Takes the framing off all packets that were kept, each stamped with its own time; or off the head alone."""
        packets, times = self.packets, self.packet_times
        if not packets:
            return
        self.packets, self.packet_times = [], []
        if self.complete or self.fault is not None:
            return
        self.last_byte_s = times[-1]
        for number, data in enumerate(packets):
            if self.between_chunks and self._unwrap(data, times[number]):
                continue
            self._now = times[number]
            self.wire_bytes += len(data)
            rest = self._feed(data)
            if rest and until_head:
                self.packets, self.packet_times = [rest, *packets[number + 1 :]], times[number:]
                return
            if rest:
                self._feed(rest)
            if self.complete or self.fault is not None:
                # bytes that nobody asked for may follow the answer: whole it is, but the connection is not used again
                self.keep_alive = self.keep_alive and self.fault is None and number + 1 == len(packets)
                if self.complete:
                    self.fault = None
                    self._parser = None
                return
            if self.oversize is not None:
                return

    @property
    def unasked_encoding(self) -> str | None:
        """How the server packed its answer, which it was asked not to do; None: it did not."""
        return None if self.encoding in {"", "identity"} else printable(self.encoding)[:40]

    @property
    def oversize(self) -> str | None:
        """What of it is larger than it may be. Much framing about little body, or none, is as endless as a body is."""
        if not self._headed and self.wire_bytes > MAX_HEAD_BYTES:
            return f"a head of more than {MAX_HEAD_BYTES >> 10} KiB"
        if self._size > MAX_BODY_BYTES or self.wire_bytes > 2 * MAX_BODY_BYTES + MAX_HEAD_BYTES:
            return f"more than {MAX_BODY_BYTES >> 20} MiB"
        return None

    def _unwrap(self, data: bytes, time_s: float) -> bool:
        """Takes a packet that is one whole chunk; whether it was."""
        head = data.find(b"\r\n", 1, 8)
        size = data[:head]
        # digits only, and none that `int` would take and HTTP would not: a sign, a space, 0x, an underscore
        if not (head > 0 and size.isalnum() and size[0] != 48 and data.endswith(b"\r\n")):
            return False
        try:
            whole = int(size, 16) == len(data) - head - 4
        except ValueError:
            return False
        if whole:
            self._times.append(time_s)
            self._parts.append(data[head + 2 : -2])
            self._size += len(data) - head - 4
            self.wire_bytes += len(data)
        return whole

    def _feed(self, data: bytes) -> bytes:
        """Has llhttp read a packet. Returns what follows the head, where that is at its end and chunks come next."""
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpResponseParser(self)
        try:
            while not self._headed and (end := data.find(_HEAD_END) + len(_HEAD_END)) >= len(_HEAD_END):
                parser.feed_data(data[:end])
                data = data[end:]
                if self._headed and self.between_chunks and not self.complete:
                    return data
            if data:
                parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fault = "the server wants to speak another protocol"
        except httptools.HttpParserError as error:
            self.fault = f"not HTTP: {error}"
        if self._fresh:
            # in one piece: a chunk may be a byte, and they all arrived at once
            self._times.append(self._now)
            self._parts.append(self._fresh[0] if len(self._fresh) == 1 else b"".join(self._fresh))
            self._fresh = []
        # within the line of a chunk's size the parser has said nothing of it yet
        self.between_chunks = self.between_chunks and data.endswith(b"\r\n")
        return b""

    def on_message_begin(self) -> None:
        if self.complete:
            self.keep_alive = False  # a second answer to one request
            return
        self.framed = self._chunked = False
        self.keep_alive = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.complete:
            return
        match name.lower():
            case b"content-type":
                self.content_type = value.decode("latin-1").split(";")[0].strip().lower()
            case b"content-length":
                self.framed = True
            case b"transfer-encoding":
                self.framed = True
                self._chunked = value.strip().lower() == b"chunked"
            case b"retry-after":
                self.retry_after = value.decode("latin-1")
            case b"content-encoding":
                self.encoding = value.decode("latin-1").strip().lower()
            case b"location":
                self.location = value.decode("latin-1")
            case _:
                pass

    def on_headers_complete(self) -> None:
        if not self.complete and self._parser is not None:
            self.http_status = self._parser.get_status_code()
            self.keep_alive = self._parser.should_keep_alive()
            self._headed = not 100 <= self.http_status < 200
            self.streams = self.between_chunks = self._chunked and self._headed

    def on_chunk_header(self) -> None:
        self.between_chunks = False

    def on_chunk_complete(self) -> None:
        self.between_chunks = True

    def on_body(self, body: bytes) -> None:
        if not self.complete:
            self._fresh.append(body)
            self._size += len(body)

    def on_message_complete(self) -> None:
        if not self._headed:
            return  # early hints and the like: the answer proper is still to come
        self.complete = True

    def since_s(self) -> float | None:
        """When the last packet arrived."""
        return self.packet_times[-1] if self.packet_times else self.last_byte_s

    def end(self, status: str, detail: str | None = None, done_s: float | None = None) -> None:
        """It is over."""
        self.status, self.detail = status, detail
        self.done_s = time.perf_counter() if done_s is None else done_s


def _begins_line(body: bytes, at: int) -> bool:
    """Whether all that stands before a place in its line is `data:`."""
    for field_name in (b"data: ", b"data:"):
        start = at - len(field_name)
        if body.startswith(field_name, max(start, 0)) and start >= 0:
            return start == 0 or body[start - 1] in b"\r\n"
    return False
