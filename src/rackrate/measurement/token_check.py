"""Whether a server's usage counts are its model's tokens, and what other tokenizers would have counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rackrate.errors import EndpointError

DISAGREEMENT_LIMIT = 0.01
"""A larger difference is flagged: it is money."""


Counts = Callable[[str], int]
"""A tokenizer, as far as it is needed here: how many tokens a text has."""


@dataclass(frozen=True)
class Sample:
    """One request: what was said, and what the server counted."""

    prompt: str
    answer: str
    input_tokens: int
    output_tokens: int
    ended_itself: bool
    """Whether the model ended the answer: servers count its end token, which is no text."""


@dataclass(frozen=True)
class Checked:
    """The server's counts against one tokenizer's."""

    tokenizer: str
    input_tokens: int
    """The tokenizer's count of all prompts, without the chat template."""
    output_tokens: int
    template_tokens: float
    """Tokens that the server adds to every prompt, from short and long prompts together."""
    input_disagreement: float
    """Server's tokens per token of this tokenizer, template apart, minus 1."""
    output_disagreement: float

    @property
    def agrees(self) -> bool:
        """Within 1 % on both sides."""
        return max(abs(self.input_disagreement), abs(self.output_disagreement)) <= DISAGREEMENT_LIMIT


def check(samples: Sequence[Sample], tokenizers: Mapping[str, Counts]) -> list[Checked]:
    """The server's usage against each tokenizer.

    Prompts must differ in length: the straight line through (own count, server's count) separates what the template
    adds from what a token of text counts for.

    >>> words = lambda text: len(text.split())
    >>> said = [Sample("a b", "x y z", 12, 4, True), Sample("a b c d e f", "x", 16, 1, False)]
    >>> [one] = check(said, {"words": words})
    >>> one.template_tokens, one.input_disagreement, one.output_disagreement, one.agrees
    (10.0, 0.0, 0.0, True)

    Raises:
        EndpointError: there are no two prompts of different length.
    """
    found: list[Checked] = []
    for name, count in tokenizers.items():
        own = [count(sample.prompt) for sample in samples]
        theirs = [sample.input_tokens for sample in samples]
        mean_own, mean_theirs = sum(own) / len(own), sum(theirs) / len(theirs)
        spread = sum((x - mean_own) ** 2 for x in own)
        if spread == 0:
            raise EndpointError("prompts of one length cannot tell the chat template from the text")
        slope = sum((x - mean_own) * (y - mean_theirs) for x, y in zip(own, theirs, strict=True)) / spread
        outputs = sum(count(sample.answer) + sample.ended_itself for sample in samples)
        served = sum(sample.output_tokens for sample in samples)
        found.append(
            Checked(
                tokenizer=name,
                input_tokens=sum(own),
                output_tokens=outputs,
                template_tokens=mean_theirs - slope * mean_own,
                input_disagreement=slope - 1,
                output_disagreement=served / outputs - 1 if outputs else 0.0,
            )
        )
    return found
