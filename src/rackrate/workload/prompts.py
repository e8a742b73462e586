"""Prompts that really have the stated number of tokens, made on demand: a text is a function of the seed and a name.

What two requests share, they share from the first token on, as a prefix cache needs it.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cache, lru_cache

from rackrate.errors import WorkloadError

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
"""Frequent English words: each is one token, with the space before it, in the usual vocabularies. More than 256."""

_PHRASE_WORDS = 64
_PHRASES = 1024


@dataclass(frozen=True)
class PromptLength:
    """How many tokens a server counts for a prompt of n words: fixed + per_word * n.

    Two probes give the line; the fixed part is the chat template. See `fit_prompt_length`.
    """

    fixed: float
    per_word: float
    per_turn: float = 0.0
    """Tokens that a further pair of messages (an answer and the next question) has besides its text."""

    def words_for(self, tokens: int) -> int:
        """The number of words whose prompt comes nearest to `tokens`.

        >>> PromptLength(fixed=31, per_word=1.0).words_for(128)
        97

        Raises:
            WorkloadError: the template alone is longer than that.
        """
        words = round((tokens - self.fixed) / self.per_word)
        if words < 1:
            raise WorkloadError(
                f"{tokens} input tokens cannot be sent: the server counts {self.fixed:.0f} for an empty prompt; "
                f"ask for {{input_tokens}} {self.least_tokens} or more, or use {{endpoint}} completions",
                fields=("input_tokens", "endpoint"),
            )
        return words

    def words_near(self, tokens: float) -> int:
        """As `words_for`, but a prompt of one word where the template alone is longer.

        >>> PromptLength(fixed=31, per_word=1.0).words_near(12)
        1
        """
        return max(1, round((tokens - self.fixed) / self.per_word))

    def turn_words(self, tokens: float) -> int:
        """Words of a later turn that adds so many tokens to a conversation, the answer before it not counted."""
        return max(1, round((tokens - self.per_turn) / self.per_word))

    @property
    def least_tokens(self) -> int:
        """The shortest prompt that can be sent."""
        return int(self.fixed + self.per_word) + 1


def fit_prompt_length(probes: list[tuple[int, int]]) -> PromptLength:
    """The line through what a server counted for prompts of known numbers of words.

    Args:
        probes: (words sent, tokens counted), two of different lengths.

    >>> fit_prompt_length([(16, 47), (128, 159)])
    PromptLength(fixed=31.0, per_word=1.0, per_turn=0.0)
    """
    (few, few_tokens), (many, many_tokens) = min(probes), max(probes)
    if many <= few or many_tokens <= few_tokens:
        # a server that counts the same for any prompt cannot be corrected for: take a word as a token
        return PromptLength(fixed=0.0, per_word=1.0)
    per_word = (many_tokens - few_tokens) / (many - few)
    return PromptLength(fixed=few_tokens - per_word * few, per_word=per_word)


@dataclass(frozen=True, slots=True)
class Ask:
    """One planned request, before it has a text: small, and all that its text needs besides seed and number."""

    input_tokens: int
    output_tokens: int
    parts: tuple[tuple[str, int], ...] = ()
    """Named texts with which the prompt begins, and the tokens of each. The same name is the same text."""


def prompt(words: int, seed: int, index: int | str) -> str:
    """`words` words, drawn by a generator of its own for each index (or name).

    The same seed and index give the same text, and a longer one begins with a shorter one. Two indices differ from the
    first word on, so that a prefix cache finds nothing but the chat template. The first 64 words are drawn one by one,
    of the 256 that come first, the further ones by ready phrases of 64: 100,000 words take a millisecond.

    >>> prompt(4, seed=0, index=7) == prompt(4, seed=0, index=7)
    True
    >>> len(prompt(400, seed=0, index=8).split()), prompt(400, seed=0, index=8).startswith(prompt(90, seed=0, index=8))
    (400, True)
    """
    name = f"{seed}/{index}"
    # a word for each byte of a hash: a tenth of the time that seeding a generator takes, while answers are timed
    drawn = hashlib.blake2b(name.encode(), digest_size=_PHRASE_WORDS).digest()
    further = words - _PHRASE_WORDS
    text = " ".join([WORDS[byte] for byte in (drawn[:words] if further < 0 else drawn)])
    if further <= 0:
        return text
    generator = random.Random(name)
    whole, rest = divmod(further, _PHRASE_WORDS)
    chosen = generator.choices(_phrases(), k=whole + 1)
    last = " ".join(chosen.pop().split(" ", rest)[:rest])
    return " ".join([text, *chosen, last]) if rest else " ".join([text, *chosen])


@cache
def _phrases() -> tuple[str, ...]:
    generator = random.Random("phrases")
    return tuple(" ".join(generator.choices(WORDS, k=_PHRASE_WORDS)) for _ in range(_PHRASES))


_shared_prompt = lru_cache(maxsize=64)(prompt)


def prompt_text(ask: Ask, seed: int, index: int, length: PromptLength) -> str:
    """The text of a request: the named parts that it begins with, then words of its own.

    Parts end at fixed places (their tokens over tokens per word), so that two requests that begin with the same parts
    begin with the same text. The chat template's tokens, which stand before the text, are taken from its end.

    >>> length = PromptLength(fixed=8, per_word=1)
    >>> one, other = (prompt_text(Ask(40, 1, (("system", 20),)), 0, index, length) for index in (1, 2))
    >>> one.split()[:20] == other.split()[:20], one.split()[20:] == other.split()[20:], len(one.split())
    (True, False, 32)
    """
    words = length.words_near(ask.input_tokens)
    if not ask.parts:
        return prompt(words, seed, index)
    texts: list[str] = []
    tokens = at = 0
    own = sum(part for _, part in ask.parts) < ask.input_tokens
    for name, part in ask.parts:
        tokens += part
        end = min(round(tokens / length.per_word), words - own)
        if end > at:
            texts.append(_shared_prompt(end - at, seed, name))
            at = end
    if at < words:
        texts.append(prompt(words - at, seed, index))
    return " ".join(texts)
