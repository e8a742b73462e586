"""What the scripted server does with a request: its script, the oddities that it knows, and the truth that it keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Json = dict[str, Any]

Oddity = Literal[
    "status-401", "status-404", "status-429", "status-500", "status-503", "redirect",
    # the whole answer
    "not-http", "not-streaming", "error-in-200", "closes", "drops", "unframed", "endless",
    # what it refuses with 400
    "strict", "only-max-completion-tokens", "no-stream-options",
    # usage and length
    "no-usage", "cached", "ends-early",
    # half-way through the tokens
    "reset", "cut", "stall", "malformed", "error-event", "aborts", "object-error", "named-error",
    # before the first token: no byte of the body, or the role alone
    "stall-first", "stall-role",
    # spellings that are right
    "crlf", "comments", "cut-events", "packets", "reasoning", "no-done",
]  # fmt: skip
"""Faults and habits of servers in the field. Several may hold at once.

`closes` ends the connection after each answer and `drops` at the second request on it; neither says so beforehand.
These two and `not-http` are the server's own and cannot be chosen by a request.
"""

PER_PACKET = 4
"""Events that the oddity `packets` writes at once."""
PHRASES = {
    200: "OK", 307: "Temporary Redirect", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found",
    429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip
_KNOWN_KEYS = {"model", "messages", "prompt", "stream", "stream_options", "max_tokens", "temperature", "seed"}


@dataclass
class Script:
    """When a server writes what. Token k of an answer is due ttft_s + k * itl_s after its request was read (or had a
    slot, if there are few)."""

    ttft_s: float = 0.02
    itl_s: float = 0.005
    oddities: Sequence[Oddity] = ()
    """Of every answer; a request whose model is named by oddities, such as `crlf+no-usage`, chooses its own."""
    spared: int = 0
    """So many requests for a completion are answered without oddities first."""
    every: int = 1
    """From then on, oddities befall each request of so many."""
    in_turn: bool = False
    """Whether they befall requests one after the other, and not all at once."""
    models: Sequence[str] = ("scripted",)
    models_status: int = 200
    models_body: bytes | None = None
    """Of /v1/models, in place of the list."""
    slots: int | None = None
    """So many answers are written at once; other requests wait for their turn."""
    retry_after: str = "7"
    """Of answers 429."""
    key: str | None = None
    """What clients must send, or be refused with 401."""
    template_tokens: int = 7
    """Prompt tokens that are counted besides the words."""
    context_tokens: int | None = None
    """Longer prompts are refused with 400."""
    tokens_per_event: int = 1
    early_tokens: int = 3
    """Where the oddity `ends-early` ends."""

    def __post_init__(self) -> None:
        for oddity in self.oddities:
            if oddity not in get_args(Oddity):
                raise ValueError(f"no oddity is called {oddity!r}")

    def oddities_of(self, model: str, position: int) -> set[str]:
        """What befalls the completion request of that position, counted from 0."""
        named = model.split("+")
        if set(named) <= set(get_args(Oddity)):
            return set(named)
        turn, rest = divmod(position - self.spared, self.every)
        if turn < 0 or rest or not self.oddities:
            return set()
        return {self.oddities[turn % len(self.oddities)]} if self.in_turn else set(self.oddities)


@dataclass
class Served:
    """The truth about one completion request. Times on `time.perf_counter`."""

    received_s: float
    """When the last byte of the request had been read."""
    connection: int
    path: str
    body: Json
    oddities: set[str]
    prompt_tokens: int = 0
    asked_tokens: int = 0
    token_s: list[float] = field(default_factory=list[float])
    """When the last byte of each token's event was written."""
    status: int = 200
    ended: bool = False
    """Whether the answer was written to its end, as the script has it."""

    @property
    def chat(self) -> bool:
        """Whether it is a chat completion."""
        return self.path.endswith("/chat/completions")

    @property
    def model(self) -> str:
        """The model asked for."""
        return str(self.body.get("model"))

    @property
    def ttft_s(self) -> float:
        """From the request read to the first token written."""
        return self.token_s[0] - self.received_s


def read_request(served: Served, script: Script) -> str:
    """Fills in what was asked and the status of the answer; returns why it is refused, if it is."""
    body, odd = served.body, served.oddities
    texts = [str(message["content"]) for message in body["messages"]] if served.chat else [str(body["prompt"])]
    served.prompt_tokens = script.template_tokens + sum(len(text.split()) for text in texts)
    served.asked_tokens = int(body.get("max_tokens", body.get("max_completion_tokens", 16)))
    status = next((oddity for oddity in odd if oddity.startswith("status-")), None)
    if status is not None or "redirect" in odd:
        served.status = int(status.removeprefix("status-")) if status else 307
        return PHRASES[served.status]
    unknown = sorted(set(body) - _known_keys(served))
    if unknown:
        served.status = 400
        return f"Unrecognized request argument supplied: {unknown[0]}"
    if script.context_tokens is not None and served.prompt_tokens > script.context_tokens:
        served.status = 400
        return f"the context of {script.context_tokens} tokens is too short for {served.prompt_tokens}"
    return ""


def _known_keys(served: Served) -> set[str]:
    odd, known = served.oddities, set(_KNOWN_KEYS)
    if "only-max-completion-tokens" in odd:
        known = known - {"max_tokens"} | {"max_completion_tokens"}
    elif "strict" not in odd:
        known |= set(served.body)
    return known - {"stream_options"} if "no-stream-options" in odd else known


def error(message: str) -> bytes:
    """An error body as OpenAI words it."""
    return json.dumps({"error": {"message": message, "type": "scripted_error"}}).encode()


def usage(served: Served, script: Script) -> Json:
    """The counts that end an answer."""
    counts: Json = {
        "prompt_tokens": served.prompt_tokens,
        "completion_tokens": len(served.token_s),
        "total_tokens": served.prompt_tokens + len(served.token_s),
    }
    if "cached" in served.oddities:
        counts["prompt_tokens_details"] = {"cached_tokens": script.template_tokens}
    return counts


def whole_answer(served: Served, script: Script) -> bytes:
    """The answer of a server that does not stream."""
    text = " tok" * served.asked_tokens
    choice: Json = {"index": 0, "finish_reason": "length"}
    choice |= {"message": {"role": "assistant", "content": text}} if served.chat else {"text": text}
    return json.dumps({"object": "completion", "choices": [choice], "usage": usage(served, script)}).encode()


def chunk(served: Served, text: str | None = None, finish: str | None = None, role: str | None = None) -> bytes:
    """The JSON of one chunk of a streamed answer."""
    choice: Json = {"index": 0, "finish_reason": finish}
    if not served.chat:
        choice["text"] = text or ""
    elif role is not None:
        choice["delta"] = {"role": role, "content": ""}
    elif text is None:
        choice["delta"] = {}
    else:
        choice["delta"] = {"reasoning_content" if "reasoning" in served.oddities else "content": text}
    values: Json = {"id": "scripted", "object": "chunk", "model": served.model, "choices": [choice], "usage": None}
    return json.dumps(values).encode()


def usage_chunk(served: Served, script: Script) -> bytes:
    """The last chunk of an answer whose request asked for usage."""
    return json.dumps({"id": "scripted", "object": "chunk", "choices": [], "usage": usage(served, script)}).encode()
