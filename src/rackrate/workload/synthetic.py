"""What each request asks for: its lengths, what it shares with others, and whether it is a turn of a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rackrate.errors import WorkloadError
from rackrate.workload.distributions import Distribution

if TYPE_CHECKING:
    from rackrate.workload.traces import Trace

Endpoint = Literal["chat", "completions"]


@dataclass(frozen=True)
class SharedPrefix:
    """A text with which prompts begin: a system prompt."""

    tokens: int
    share: float = 1.0
    """Of the requests, those that have it, 0 to 1."""

    def __post_init__(self) -> None:
        if self.tokens < 1 or not 0 < self.share <= 1:
            raise WorkloadError(
                "{shared_prefix} takes a number of tokens, and the share of requests from 0 to 1, such as 256:0.8, "
                f"got {self}",
                field="shared_prefix",
            )

    def __str__(self) -> str:
        return str(self.tokens) if self.share == 1 else f"{self.tokens}:{self.share:g}"


@dataclass(frozen=True)
class Conversations:
    """Requests as turns of conversations, whose history grows with the server's own answers."""

    turns: Distribution
    """Requests of a conversation."""
    think_s: Distribution
    """From the end of an answer to the next request. [s]"""


@dataclass(frozen=True)
class SyntheticWorkload:
    """What requests ask for. Without more, all ask for the same number of tokens in and out."""

    input_tokens: int
    """Of every request; their mean where they vary. Of conversations: what each turn adds."""
    output_tokens: int
    endpoint: Endpoint = "chat"
    seed: int = 0
    inputs: Distribution | None = None
    """Where input lengths vary by themselves."""
    outputs: Distribution | None = None
    trace: Trace | None = None
    """Where a length is not given by a distribution, it is a recorded row's."""
    prefix: SharedPrefix | None = None
    conversations: Conversations | None = None

    def __post_init__(self) -> None:
        if self.input_tokens < 1:
            raise WorkloadError(f"input tokens must be at least 1, got {self.input_tokens}")
        if self.output_tokens < 1:
            raise WorkloadError(f"output tokens must be at least 1, got {self.output_tokens}")
        if self.prefix is not None and self.prefix.tokens >= self.longest_input:
            raise WorkloadError(
                f"{{shared_prefix}} {self.prefix.tokens} leaves nothing of prompts of at most {self.longest_input} "
                "tokens; ask for fewer, or for more {input_tokens}",
                fields=("shared_prefix", "input_tokens"),
            )

    @property
    def varies(self) -> bool:
        """Whether requests differ in their lengths."""
        return self.trace is not None or any(item is not None and item.varies for item in (self.inputs, self.outputs))

    @property
    def mean_turns(self) -> float:
        """Requests of a conversation; 1 where requests are single."""
        return self.conversations.turns.mean if self.conversations is not None else 1.0

    @property
    def longest_input(self) -> int:
        """Tokens of the longest prompt that may be sent, the history of a conversation left out."""
        if self.inputs is not None:
            return int(self.inputs.most)
        return int(self.trace.input_tokens.max()) if self.trace is not None else self.input_tokens

    @property
    def longest_output(self) -> int:
        """Tokens of the longest answer that may be asked for."""
        if self.outputs is not None:
            return int(self.outputs.most)
        return max(1, int(self.trace.output_tokens.max())) if self.trace is not None else self.output_tokens

    @property
    def longest_context(self) -> int:
        """Tokens that a server must be able to hold for one request, prompt and answer."""
        if self.trace is not None and self.inputs is None and self.outputs is None:
            together = self.trace.input_tokens.astype("int64") + self.trace.output_tokens
            longest = int(together.max())
        else:
            longest = self.longest_input + self.longest_output
        return longest if self.conversations is None else longest * int(self.conversations.turns.most)
