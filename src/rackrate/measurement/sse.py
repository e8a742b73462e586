"""From the raw bytes of a streamed answer, with the time each piece arrived, to its events and what they amount to.

Nothing here runs while bytes arrive: the client keeps (time, bytes) and this decodes them once the answer is in. What
servers send that do nothing unusual is read in bulk (see `answers`), whole packets with their HTTP framing included;
whatever is not quite of that kind is read by the book.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from codecs import getincrementaldecoder
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import sub

from rackrate.measurement.answers import Answer, Reading, read_alike

Piece = tuple[float, bytes]
"""Arrival time [s] and the bytes of the body that arrived then."""

_DECODED_BYTES = 2**20
_LEAST_BYTES = len(b"data:{}")
"""Two places are further apart than that."""
_LINE = re.compile(rb"([^\r\n]*+)(?:\r\n|\n|\r)")
_ERROR_NAMES = {b"event: error", b"event:error"}
_ERROR_LINE = re.compile(rb"(?:^|[\r\n])error:([^\r\n]+)")
"""llama.cpp until 2025 wrote an error as a field of this name, without data."""
_NAMED_LINES = 4
"""How many lines before its data are looked at for the name of an event: id, retry and comments may stand between."""
_SHORT_LINE = re.compile(rb"([^\n]*+)\n")


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event: its data, and when the last byte of that data's line was in."""

    time_s: float
    data: bytes


def events(pieces: Sequence[Piece]) -> list[Event]:
    r"""The events of a body, each timed by the piece that completed its data.

    However the bytes are cut, the same data come out. Comments and fields other than data are left out, as is a last
    line without its end (a stream that was cut). Lines end in \n, \r\n or \r, per the HTML standard, 9.2.

    >>> events([(0.1, b"data: {\"a\""), (0.2, b": 1}\n\n"), (0.3, b": ping\n\ndata: [DONE]\n\n")])
    [Event(time_s=0.2, data=b'{"a": 1}'), Event(time_s=0.3, data=b'[DONE]')]
    """
    times, ends = [time_s for time_s, _ in pieces], list(accumulate(len(part) for _, part in pieces))
    found = list(_events(b"".join(part for _, part in pieces)))
    return list(map(Event, _stamped([end for end, _, _ in found], times, ends), [data for _, data, _ in found]))


def _stamped(places: Sequence[int], times: Sequence[float], ends: Sequence[int]) -> list[float]:
    """When the bytes before each of some places were in, where the n-th piece ends at `ends[n]`; places go up.

    >>> _stamped([3, 5, 6, 9], times=[0.1, 0.2, 0.3], ends=[5, 6, 9])
    [0.1, 0.1, 0.2, 0.3]
    """
    if len(ends) * 2 > len(places):
        # nearly always each packet has one place, as far from its end as the others are from theirs
        first = bisect_left(ends, places[0]) if places else 0
        last = first + len(places)
        rests = set(map(sub, ends[first:last], places))
        if last <= len(ends) and len(rests) == 1 and max(rests) < _LEAST_BYTES:
            return list(times[first:last])
        return [times[bisect_left(ends, place)] for place in places]
    stamped: list[float] = []
    for time_s, end in zip(times, ends, strict=True):
        stamped += [time_s] * (bisect_right(places, end, len(stamped)) - len(stamped))
    return stamped


def _events(body: bytes, start: int = 0) -> Iterator[tuple[int, bytes, bool]]:
    """The data of the events of a body from a place on: where the text of its last line ends, the data, and whether the
    event is named an error.
    """
    if start == 0 and body.startswith(b"\xef\xbb\xbf"):
        start = 3
    line_of = _LINE.match if body.find(b"\r", start) >= 0 else _SHORT_LINE.match
    start = _next_data(body, start)
    while start < len(body):
        data: list[bytes] = []
        place = start
        is_error = _names_error(body, start)
        # one event: up to its blank line
        while (match := line_of(body, start)) is not None:
            end, start = match.end(1), match.end()
            line = match[1]
            if not line:
                break
            if line.startswith(b"data:") or line == b"data":
                data.append(line[6:] if line[5:6] == b" " else line[5:])
                place = end
            elif line in _ERROR_NAMES:
                is_error = True
        if data:  # the blank line after the last event may never have come, but its data did
            yield place, data[0] if len(data) == 1 else b"\n".join(data), is_error
        if match is None:
            return  # what comes after the last line's end is no line
        start = _next_data(body, start)


def _names_error(body: bytes, start: int) -> bool:
    """Whether one of the lines before a place names the event that this line is of an error."""
    for _ in range(_NAMED_LINES):
        end = start - 1
        if body[max(end - 1, 0) : start] == b"\r\n":
            end -= 1
        start = max(body.rfind(b"\n", 0, max(end, 0)), body.rfind(b"\r", 0, max(end, 0))) + 1
        if end <= start:
            return False
        if body[start:end] in _ERROR_NAMES:
            return True
    return False


def _next_data(body: bytes, start: int) -> int:
    """Where the next line begins that may be one of data, from the beginning of a line on.

    Nothing else begins an event, and a server may send blank lines for ever, or comments.
    """
    at = body.find(b"data", start)
    while at > start and body[at - 1] not in b"\r\n":
        at = body.find(b"data", at + 4)
    return at if at >= 0 else len(body)


def decode(pieces: Sequence[Piece]) -> Answer:
    """The tokens, usage and faults of a streamed chat or text completion, given piece by piece."""
    return decode_parts([time_s for time_s, _ in pieces], [part for _, part in pieces])


def decode_parts(times: Sequence[float], parts: Sequence[bytes]) -> Answer:
    """As `decode`; the n-th of `parts` arrived at the n-th of `times`."""
    return decode_body(times, list(map(len, parts)), b"".join(parts))


def decode_body(times: Sequence[float], lengths: Sequence[int], body: bytes) -> Answer:
    """As `decode`; so many bytes of the body arrived at each of `times`."""
    reading = Reading()
    start = 0
    if b"\r" not in body and (body.isascii() or _is_utf8(body)):
        start = _read_plain(body, reading)
    if reading.fault is None and start < len(body):
        for place, data, is_error in _events(body, start):
            reading.take(place, data, named_error=is_error)
            if reading.fault is not None or reading.done:
                break
    if reading.fault is None and not reading.done:
        reading.take_rest(len(body), body[max(body.rfind(b"\n"), body.rfind(b"\r")) + 1 :])
    if reading.fault is None and not reading.ended and (error := _ERROR_LINE.search(body)):
        reading.take_error(error[1])
    return _amount(reading, body, times, lengths)


def _amount(reading: Reading, body: bytes, times: Sequence[float], lengths: Sequence[int]) -> Answer:
    """What was read, with the times at which its texts were in."""
    if not reading.places and reading.fault is None and reading.text_at_end is not None:
        reading.places.append(reading.text_at_end)
    return reading.answer(body, tuple(_stamped(reading.places, times, list(accumulate(lengths)))))


def _read_plain(body: bytes, reading: Reading) -> int:
    """Reads events of one data line each, divided by one empty line: what servers send that do nothing unusual.

    Returns where the first event begins that is to be read by the book; the end of the body where none is.
    """
    start = 0
    while (end := body.find(b"\n\n", start)) >= 0:
        if not body.startswith(b"data: ", start) or body.find(b"\n", start, end) >= 0:
            break
        reading.take(end, body[start + 6 : end])
        start = end + 2
        if reading.fault is not None or reading.done:
            break
        start = read_alike(body, start, reading, framed=False)
    return start


def read_framed(times: Sequence[float], packets: Sequence[bytes]) -> Answer | None:
    """The answer in packets that still have their framing, where all of it is plain: each event a chunk of its own, one
    data line each, [DONE] the last of them, then the end of the message. None where anything is otherwise.
    """
    raw = b"".join(packets)
    if not (raw.isascii() or _is_utf8(raw)):
        return None
    reading = Reading()
    start = 0
    while not reading.done:
        head = raw.find(b"\r\n", start, start + 8)
        size = raw[start:head]
        # digits only, and none that `int` would take and HTTP would not: a sign, a space, 0x, an underscore
        if head < 0 or not size.isalnum() or size[0] == 48:
            return None
        try:
            end = head + 2 + int(size, 16)
        except ValueError:
            return None
        reading.capitals = reading.capitals or size != size.lower()
        data = raw[head + 8 : end - 2]
        plain = raw.startswith(b"data: ", head + 2) and raw.startswith(b"\n\n\r\n", end - 2)
        if not plain or b"\n" in data or b"\r" in data:
            return None
        reading.take(end - 2, data)
        if reading.fault is not None:
            return None
        start = read_alike(raw, end + 2, reading, framed=True)
    return _amount(reading, raw, times, list(map(len, packets))) if raw[start:] == b"0\r\n\r\n" else None


def _is_utf8(body: bytes) -> bool:
    decoder = getincrementaldecoder("utf-8")()
    try:
        for at in range(0, len(body), _DECODED_BYTES):  # its text may be twice as large as it is
            decoder.decode(body[at : at + _DECODED_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def chunks_so_far(times: Sequence[float], parts: Sequence[bytes]) -> tuple[float, ...]:
    """When text arrived in an answer that was cut off; what cannot be decoded is left out."""
    return decode_parts(times, parts).chunk_s if parts else ()
