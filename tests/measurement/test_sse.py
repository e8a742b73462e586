"""Server-sent events and what they amount to, against a reader of the standard written here, byte by byte."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rackrate.measurement.answers import Answer
from rackrate.measurement.sse import Event, Piece, decode, events
from rackrate.runs.statuses import FAULTS, OK

Draw = Callable[[st.SearchStrategy[Any]], Any]

LINE_ENDS = (b"\n", b"\r\n", b"\r")
DONE = b"[DONE]"
USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}


def reference(pieces: Sequence[Piece]) -> list[tuple[float, bytes]]:
    """The data of each event and the time of the last byte of its last data line (HTML standard, 9.2.6).

    Unlike the standard, an event whose blank line never came counts, if its data line was ended.
    """
    stamped = [(time_s, byte) for time_s, piece in pieces for byte in piece]
    if bytes(byte for _, byte in stamped[:3]) == b"\xef\xbb\xbf":
        stamped = stamped[3:]
    found: list[tuple[float, bytes]] = []
    data: list[bytes] = []
    line, line_s, data_s = b"", 0.0, 0.0
    previous = 0
    for time_s, byte in stamped:
        if byte == 10 and previous == 13:
            pass  # the second half of a CRLF
        elif byte in {10, 13}:
            name, _, value = line.partition(b":")
            if name == b"data" and line:
                data.append(value.removeprefix(b" "))
                data_s = line_s
            elif not line and data:
                found.append((data_s, b"\n".join(data)))
                data = []
            line = b""
        else:
            line, line_s = line + bytes([byte]), time_s
        previous = byte
    return [*found, (data_s, b"\n".join(data))] if data else found


def cut(body: bytes, places: Sequence[int]) -> list[Piece]:
    """A body in pieces that arrived at 1, 2, 3, ... s."""
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [(float(n + 1), body[start:end]) for n, (start, end) in enumerate(itertools.pairwise(edges))]


def chat(text: str | None = None, *, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """A chunk of a chat completion."""
    if text is not None:
        delta["content"] = text
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def stream(*messages: Any, done: bool = True, end: bytes = b"\n") -> bytes:
    """The body of a streamed answer: JSON values, or bytes as they are."""
    data = [message if isinstance(message, bytes) else json.dumps(message).encode() for message in messages]
    return b"".join(b"data: " + item + end * 2 for item in [*data, *([DONE] if done else [])])


def at_once(*messages: Any, done: bool = True) -> Answer:
    """What an answer amounts to that arrived in one piece."""
    return decode([(1.0, stream(*messages, done=done))])


@st.composite
def bodies(draw: Draw) -> bytes:
    """Bodies made of the lines that matter, ended in all three ways."""
    text = st.binary(min_size=1, max_size=8).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b"") or b"x")
    line = st.one_of(
        text.map(lambda value: b"data: " + value),
        text.map(lambda value: b"data:" + value),
        text.map(lambda value: b": " + value),
        text.map(lambda value: b"event: " + value),
        st.sampled_from(
            [b"", b"", b"", b"data:", b"data: ", b"id: 7", b"retry: 10", b":", b"database: x", b" data: x", b"Data: x"]
        ),
    )
    lines: list[bytes] = draw(st.lists(st.tuples(line, st.sampled_from(LINE_ENDS)).map(b"".join), max_size=20))
    start: bytes = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    tail: bytes = draw(st.sampled_from([b"", b"data: cut"]))
    return start + b"".join(lines) + tail


CUTS = st.lists(st.integers(min_value=0, max_value=10_000), max_size=12)


@given(bodies(), CUTS)
@example(b"data: a\r\n\r\n", [8])
@example(b"data: a\n\n", [7])
@example(b"data: a\n\n", [3, 3, 3])
def test_events_are_those_of_the_standard_however_the_bytes_are_cut(body: bytes, places: list[int]) -> None:
    pieces = cut(body, places)
    assert [(event.time_s, event.data) for event in events(pieces)] == reference(pieces)


@given(bodies(), CUTS)
def test_data_do_not_depend_on_the_cuts(body: bytes, places: list[int]) -> None:
    assert [event.data for event in events(cut(body, places))] == [event.data for event in events([(0.0, body)])]


@pytest.mark.parametrize("end", LINE_ENDS)
def test_each_line_end_ends_a_line(end: bytes) -> None:
    body = b"data: a" + end + b"data:b" + end + end + b"data: c" + end + end
    assert [event.data for event in events([(0.0, body)])] == [b"a\nb", b"c"]


def test_an_event_is_timed_by_the_last_byte_of_its_data_not_by_its_blank_line() -> None:
    pieces = [(1.0, b"data: a"), (2.0, b"\n"), (3.0, b"\ndata: b\nda"), (4.0, b"ta: c\n"), (5.0, b"\n")]
    assert events(pieces) == [Event(1.0, b"a"), Event(4.0, b"b\nc")]


def test_the_standards_own_example() -> None:
    # HTML standard, 9.2.6: a field name alone is that field with an empty value
    body = b"data\n\ndata\ndata\n\ndata:\n\n"
    assert [event.data for event in events([(0.0, body)])] == [b"", b"\n", b""]


TEXTS = st.one_of(st.text(min_size=1, max_size=6), st.sampled_from(["data: [DONE]", "\n\n", "\r", " ", "é", "🙂"]))


@given(st.lists(TEXTS, min_size=1, max_size=12), CUTS, st.sampled_from(LINE_ENDS), st.booleans())
def test_an_answer_is_the_same_however_it_is_cut(texts: list[str], places: list[int], end: bytes, role: bool) -> None:
    messages = [*([chat("", role="assistant")] if role else []), *map(chat, texts), chat(finish="length")]
    body = stream(*messages, {"choices": [], "usage": USAGE}, end=end)
    pieces = cut(body, places)
    answer = decode(pieces)
    whole = decode([(1.0, body)])
    times = {data: time_s for time_s, data in reference(pieces)}

    assert answer.text == whole.text == "".join(texts)
    assert answer.chunk_s == tuple(
        time_s for time_s, data in reference(pieces) if data != DONE and _text_of(json.loads(data))
    )
    assert len(answer.chunk_s) == len(texts)
    assert max(answer.chunk_s) <= times[DONE]
    assert (answer.status, answer.input_tokens, answer.output_tokens) == (OK, 12, 3)
    assert answer.finish_reason == "length"


def _text_of(message: dict[str, Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in message["choices"])


@given(st.lists(st.tuples(st.floats(0, 10), st.binary(max_size=200)), max_size=6))
@example([(0.0, b"data: \xff\xfe\n\n")])
@example([(0.0, b'data: {"choices": [[]]}\n\n')])
@example([(0.0, b'data: {"choices": {"0": 1}, "usage": [1], "error": 0}\n\n')])
def test_arbitrary_bytes_give_a_known_status(pieces: list[Piece]) -> None:
    assert decode(pieces).status in {OK, *FAULTS}


KEYS = st.sampled_from(
    ["choices", "delta", "content", "text", "usage", "error", "message", "detail", "finish_reason", "tool_calls",
     "reasoning", "completion_tokens", "prompt_tokens", "prompt_tokens_details", "cached_tokens", "x"]
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(KEYS, VALUES, min_size=1), max_size=4))
def test_json_of_any_shape_gives_a_known_status(messages: list[dict[str, Any]]) -> None:
    answer = decode([(1.0, stream(*messages))])
    assert answer.status in {OK, *FAULTS}
    for count in (answer.input_tokens, answer.cached_tokens, answer.output_tokens):
        assert count is None or count >= 0


def test_a_tool_call_of_any_depth_is_read() -> None:
    # orjson reads 1024 levels, but writes 254
    deep = "[" * 300 + "]" * 300
    body = b'data: {"choices": [{"delta": {"tool_calls": [' + deep.encode() + b"]}}]}\n\ndata: [DONE]\n\n"
    assert len(decode([(1.0, body)]).chunk_s) == 1


def test_usage_in_a_last_chunk_of_its_own() -> None:
    usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 5}}
    answer = at_once(chat("a"), chat(finish="stop"), {"choices": [], "usage": usage})
    assert (answer.input_tokens, answer.cached_tokens, answer.output_tokens) == (12, 5, 3)
    assert answer.finish_reason == "stop"


def test_a_null_usage_neither_counts_nor_hides_one() -> None:
    none = at_once({**chat("a"), "usage": None}, {**chat(finish="stop"), "usage": None})
    assert (none.status, none.input_tokens, none.output_tokens) == (OK, None, None)
    before = at_once(chat("a"), {"choices": [], "usage": USAGE}, {"choices": [], "usage": None})
    assert before.output_tokens == 3


def test_the_last_of_several_usages_counts() -> None:
    answer = at_once({**chat("a"), "usage": {**USAGE, "completion_tokens": 1}}, {**chat("b"), "usage": USAGE})
    assert answer.output_tokens == 3


@pytest.mark.parametrize("value", [-1, True, "3", 2.5, None, [3]])
def test_a_count_that_is_none_is_no_count(value: object) -> None:
    answer = at_once(chat("a"), {"choices": [], "usage": {"completion_tokens": value, "prompt_tokens": 1}})
    assert (answer.status, answer.output_tokens, answer.input_tokens) == (OK, None, 1)


def test_a_role_or_an_empty_piece_is_no_token() -> None:
    pieces: list[Piece] = [
        (1.0, stream(chat("", role="assistant"), done=False)),
        (2.0, stream(chat(""), done=False)),
        (3.0, stream(chat("a"), done=False)),
        (4.0, stream(chat(finish="stop"))),
    ]
    assert decode(pieces).chunk_s == (3.0,)


@pytest.mark.parametrize(
    "message",
    [
        chat("a"),
        chat(reasoning_content="a"),
        chat(reasoning="a"),
        chat(refusal="a"),
        chat(content=None, reasoning_content="a"),
        chat(tool_calls=[{"index": 0, "function": {"arguments": "{"}}]),
        chat(function_call={"name": "f"}),
        {"choices": [{"index": 0, "text": "a", "finish_reason": None}]},
    ],
)
def test_every_kind_of_text_is_a_token(message: dict[str, Any]) -> None:
    assert decode([(2.5, stream(message))]).chunk_s == (2.5,)


def test_a_missing_done_is_no_fault_where_the_answer_was_finished() -> None:
    assert at_once(chat("a"), chat(finish="length"), done=False).status == OK
    assert at_once(chat("a"), {"choices": [], "usage": USAGE}, done=False).status == OK


def test_an_answer_that_breaks_off_is_a_reset_and_keeps_its_tokens() -> None:
    answer = at_once(chat("a"), chat("b"), done=False)
    assert (answer.status, len(answer.chunk_s), answer.text) == ("reset", 2, "ab")


def test_an_answer_without_text_is_empty() -> None:
    assert at_once(chat("", role="assistant"), chat(finish="stop")).status == "empty"
    assert at_once().status == "empty"


def test_counted_tokens_without_text_came_with_the_end() -> None:
    pieces = [(1.0, stream(chat("", role="assistant"), done=False)), (2.0, stream(chat(finish="stop"), done=False))]
    answer = decode([*pieces, (3.0, stream({"choices": [], "usage": {**USAGE, "completion_tokens": 1}}))])
    assert (answer.status, answer.chunk_s, answer.output_tokens) == (OK, (2.0,), 1)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ({"message": "out of memory", "code": 500}, "out of memory"),
        ("out of memory", "out of memory"),
        ({"code": 500}, '{"error": {"code": 500}}'),
        ([{"message": "out of memory"}], "out of memory"),
    ],
)
def test_an_error_event_is_a_fault_with_the_servers_words(error: object, said: str) -> None:
    answer = at_once(chat("a"), {"error": error}, chat("b"))
    assert (answer.status, answer.detail) == ("error-event", said)
    assert answer.text == "a"
    assert answer.output_tokens is None


@pytest.mark.parametrize(
    ("event", "said"),
    [
        # vLLM until 0.10
        ({"object": "error", "message": "engine died", "type": "InternalServerError", "code": 500}, "engine died"),
        ({"detail": "engine died"}, "engine died"),
        ({"detail": [{"loc": ["body"], "msg": "engine died"}]}, "engine died"),
        ({"errors": [{"message": "engine died"}]}, "engine died"),
        ({"type": "error", "message": "engine died"}, "engine died"),
        ({"message": "engine died", "status_code": 503}, "engine died"),
        ({"error": {"type": "overloaded"}}, "overloaded"),
        # a gateway's, within the choice
        ({"choices": [{"delta": {}, "finish_reason": "error", "error": {"message": "engine died"}}]}, "engine died"),
    ],
)
def test_errors_of_other_shapes_are_faults_too(event: dict[str, Any], said: str) -> None:
    answer = at_once(chat("a"), event, {"choices": [], "usage": USAGE})
    assert (answer.status, answer.detail) == ("error-event", said)
    assert answer.text == "a"


@pytest.mark.parametrize("event", [{"type": "ping"}, {"message": "queued", "code": 0}, {"id": 3, "model": "m"}])
def test_events_that_are_no_answer_are_no_errors(event: dict[str, Any]) -> None:
    assert at_once(chat("a"), event, chat("b"), chat(finish="stop"), {"choices": [], "usage": USAGE}).text == "ab"


@pytest.mark.parametrize(
    "event",
    [
        b'event: error\ndata: {"message": "full"}\n\n',
        b'data: {"message": "full"}\nevent: error\n\n',
        b'event: error\r\nid: 3\r\n: note\r\ndata: {"message": "full"}\r\n\r\n',
        b'event:error\rretry: 10\rdata: {"message": "full"}\r\r',
        b"event: error\ndata: full\n\n",
        # llama.cpp until 2025: a field of its own
        b'error: {"code": 500, "message": "full"}\n\n',
    ],
)
def test_an_event_named_error_is_a_fault(event: bytes) -> None:
    answer = decode([(1.0, stream(chat("a"), done=False)), (2.0, event)])
    assert (answer.status, answer.detail, answer.text) == ("error-event", "full", "a")


def test_the_name_of_another_event_or_a_text_is_no_error() -> None:
    whole = stream(chat("event: error"), chat("b"), chat(finish="stop"))
    assert decode([(1.0, b"event: error\n\n" + whole)]).status == OK  # without data it is no event
    assert decode([(1.0, b"event: message\n" + whole)]).status == OK


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("abort", "finish_reason abort"),
        ("error", "finish_reason error"),
        ("insufficient_system_resource", "finish_reason insufficient_system_resource"),
        ({"type": "abort", "message": "out of memory"}, "finish_reason abort: out of memory"),
    ],
)
def test_an_answer_that_the_server_broke_off_is_a_fault(reason: Any, said: str) -> None:
    end: dict[str, Any] = {"choices": [{"delta": {}, "finish_reason": reason}], "usage": USAGE}
    answer = at_once(chat("a"), end)
    assert (answer.status, answer.detail) == ("broken-off", said)
    assert (answer.text, answer.output_tokens) == ("a", None)


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter", "eos_token", {"type": "length"}])
def test_other_ends_of_an_answer_are_whole(reason: Any) -> None:
    assert at_once(chat("a"), {"choices": [{"delta": {}, "finish_reason": reason}]}).status == OK


def test_a_null_error_is_none() -> None:
    assert at_once({**chat("a"), "error": None}, chat(finish="stop")).status == OK


@pytest.mark.parametrize("data", [b'{"choices": [', b"[]", b"null", b'"text"', b"{}", b"oops"])
def test_data_that_are_no_json_object_are_malformed_and_quoted(data: bytes) -> None:
    answer = at_once(chat("a"), data, chat("b"))
    assert answer.status == "malformed"
    assert answer.detail is not None
    assert data.decode() in answer.detail
    assert answer.text == "a"


def test_a_body_without_events_is_malformed_and_quoted_in_part() -> None:
    answer = decode([(1.0, b"<html>" + b"x" * 1000)])
    assert answer.status == "malformed"
    assert answer.detail is not None
    assert answer.detail.startswith("<html>")
    assert len(answer.detail) < 200


def test_what_follows_the_end_belongs_to_nobody() -> None:
    answer = decode([(1.0, stream(chat("a", finish="stop"))), (2.0, stream(chat("late"), b'{"error": "late"}'))])
    assert (answer.status, answer.chunk_s, answer.text) == (OK, (1.0,), "a")


@pytest.mark.parametrize(
    ("rest", "status", "output_tokens"),
    [
        (b"", OK, None),
        (b"data: [DONE]", OK, None),
        (b"data: [DO", OK, None),
        (b": bye", OK, None),
        (b'data: {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 3}}', OK, 3),
        (b'data: {"choices": [], "usage": {"prompt_tokens": 12, "compl', "malformed", None),
    ],
)
def test_a_last_line_without_its_end_counts_if_it_is_whole(rest: bytes, status: str, output_tokens: int | None) -> None:
    answer = decode([(1.0, stream(chat("a", finish="stop"), done=False) + rest)])
    assert (answer.status, answer.output_tokens) == (status, output_tokens)


def test_an_answer_that_had_not_ended_and_is_cut_off_within_a_line_is_a_reset() -> None:
    assert decode([(1.0, stream(chat("a"), done=False) + b'data: {"choi')]).status == "reset"


def test_no_tokens_is_no_count_of_an_answer_that_has_text() -> None:
    usage: dict[str, Any] = {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}
    answer = at_once(chat("a", finish="stop"), usage)
    assert (answer.status, answer.input_tokens, answer.output_tokens) == (OK, None, None)


def test_what_a_server_says_does_not_move_the_cursor() -> None:
    assert at_once({"error": {"message": "\x1b[2Jboom\n"}}).detail == "?[2Jboom"
    assert at_once(b"\x1b[2J").detail == "not a JSON object: ?[2J"
