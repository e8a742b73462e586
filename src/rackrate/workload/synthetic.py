"""Synthetic requests of a stated input and output length, and prompts that really have that length."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from rackrate.errors import WorkloadError

Endpoint = Literal["chat", "completions"]

WORDS = tuple(
    """
    the of and to in is that for it as was with be by on not he his but at are this have from or had an they
    which one you were her all she there would their we him been has when who will more no if out so said what
    up its about into than them can only other new some could time these two may then do first any my now such
    like our over man me even most made after also did many before must through back years where much your way
    well down should because each just those people how too little state good very make world still own see men
    work long get here between both life being under never day same another know while last might us great old
    year off come since against go came right used take three states himself few house use during without again
    place American around however home small found thought went say part once general high upon school every
    does got united left number course war until always away something fact water less public put think almost
    hand enough far took head yet government system better set told nothing night end why called find going look
    asked later knew point next program city business give group toward young days let room word side social
    given present several order national second possible face per among form important often things looked early
    white case large big need four within felt along children saw best church ever least power development light
    thing seemed family interest want members mind country area others done turned although open God service
    certain kind problem began different door thus help sense means whole matter perhaps
    """.split()  # noqa: SIM905 - a list of 300 strings is no easier to read
)
"""Frequent English words: each is one token, with the space before it, in the usual vocabularies."""


@dataclass(frozen=True)
class SyntheticWorkload:
    """Requests that all ask for the same number of tokens in and out."""

    input_tokens: int
    output_tokens: int
    endpoint: Endpoint = "chat"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.input_tokens < 1:
            raise WorkloadError(f"input tokens must be at least 1, got {self.input_tokens}")
        if self.output_tokens < 1:
            raise WorkloadError(f"output tokens must be at least 1, got {self.output_tokens}")


@dataclass(frozen=True)
class PromptLength:
    """How many tokens a server counts for a prompt of n words: fixed + per_word * n.

    Two probes give the line; the fixed part is the chat template. See `fit_prompt_length`.
    """

    fixed: float
    per_word: float

    def words_for(self, tokens: int) -> int:
        """The number of words whose prompt comes nearest to `tokens`.

        >>> PromptLength(fixed=31, per_word=1.0).words_for(128)
        97

        Raises:
            WorkloadError: the template alone is longer than that.
        """
        words = round((tokens - self.fixed) / self.per_word)
        if words < 1:
            least = int(self.fixed + self.per_word) + 1
            raise WorkloadError(
                f"{tokens} input tokens cannot be sent: the server counts {self.fixed:.0f} for an empty prompt; "
                f"ask for --input-tokens {least} or more, or use --endpoint completions"
            )
        return words


def fit_prompt_length(probes: list[tuple[int, int]]) -> PromptLength:
    """The line through what a server counted for prompts of known numbers of words.

    Args:
        probes: (words sent, tokens counted), two of different lengths.

    >>> fit_prompt_length([(16, 47), (128, 159)])
    PromptLength(fixed=31.0, per_word=1.0)
    """
    (few, few_tokens), (many, many_tokens) = min(probes), max(probes)
    if many <= few or many_tokens <= few_tokens:
        # a server that counts the same for any prompt cannot be corrected for: take a word as a token
        return PromptLength(fixed=0.0, per_word=1.0)
    per_word = (many_tokens - few_tokens) / (many - few)
    return PromptLength(fixed=few_tokens - per_word * few, per_word=per_word)


def prompt(words: int, seed: int, index: int) -> str:
    """The prompt of request `index`: `words` words drawn by a generator of its own.

    The same seed and index give the same prompt; two requests differ from the first word on, so that a prefix cache
    finds nothing but the chat template.

    >>> prompt(4, seed=0, index=7) == prompt(4, seed=0, index=7)
    True
    >>> len(prompt(40, seed=0, index=8).split())
    40
    """
    generator = random.Random(f"{seed}/{index}")
    return " ".join(generator.choices(WORDS, k=words))
