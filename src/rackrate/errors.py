"""The exception tree. `UserError` is what the command line prints in one sentence; all else is a bug."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence


class RackrateError(Exception):
    """Root of every exception that rackrate raises on purpose."""


class UserError(RackrateError):
    """Something the user can mend: the message says what is wrong, where, and what to do. Exit code 2.

    A message names the fields of a request in braces, and each shell puts its own name there:

    >>> error = UserError("{requests_per_day} is a number above 0, got -1", field="requests_per_day")
    >>> str(error)
    'requests_per_day is a number above 0, got -1'
    >>> error.named(lambda field: "--" + field.replace("_", "-"))
    '--requests-per-day is a number above 0, got -1'
    """

    def __init__(self, message: str, *, field: str | None = None, fields: Sequence[str] = ()) -> None:
        """A message, and the fields it is about.

        Args:
            message: a sentence; `{name}` stands for a field that is named below, other braces are as they are.
            field: the one field to mend, where there is one.
            fields: further fields that the message names.
        """
        super().__init__(message)
        self.message = message
        self.field = field
        self.fields = (field, *fields) if field else tuple(fields)
        self.args = (str(self),)  # what a log or repr() shows

    def named(self, name: Callable[[str], str]) -> str:
        """The message with each field called as the shell calls it."""
        text = self.message
        for field in self.fields:
            text = text.replace("{" + field + "}", name(field))
        return text

    def __str__(self) -> str:
        return self.named(lambda field: field)


class CatalogError(UserError):
    """A catalogue entry is unknown, ambiguous or malformed."""


class WorkloadError(UserError):
    """A workload asks for something impossible (no requests, a negative length, ...)."""


class RunError(UserError):
    """A run directory cannot be read or written."""


class EndpointError(UserError):
    """The server under test refuses, rejects or misanswers before a measurement can start."""


class EngineError(UserError):
    """An engine cannot be installed, started or kept running on this machine."""


class PriceError(UserError):
    """A price, rig or rate cannot be used (negative, missing, not the run's hardware, ...)."""


class CalibrationError(UserError):
    """A run cannot be calibrated with, or a calibration is of something else."""


_ALIKE = 0.6
"""Of `difflib`'s ratio, from which on names are alike: `gpt-4o-minni` is (0.95), laguna and llama are not (0.55)."""
_FEW = 6
"""So many names are all listed where none is alike."""


def nearest(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """At most `count` names that are like `word`, best first; names that are nothing like it are left out.

    Names that contain the word come before names that merely resemble it.

    >>> nearest("g4dn.12xlrge", ["aws/g4dn.12xlarge", "aws/g5.12xlarge", "lambda/gpu_1x_b200"])
    ['aws/g4dn.12xlarge', 'aws/g5.12xlarge']
    >>> nearest("youtu", ["opt", "dots1", "apertus"])
    []
    """
    lowered = word[:_LONGEST_WORD].lower()

    def likeness(name: str) -> tuple[bool, float]:
        candidate = name.lower()
        parts = [candidate, *candidate.split("/")]
        if len(lowered) > 3:
            parts += [part[: len(lowered) + 1] for part in parts]  # of a name whose end was left out
        ratio = max(difflib.SequenceMatcher(None, lowered, part).ratio() for part in parts)
        if any(_one_letter_apart(lowered, part) or _letters(lowered) == _letters(part) for part in parts):
            ratio = max(ratio, _ALIKE)
        return (len(lowered) > 1 and lowered in candidate, ratio)

    found = {name: likeness(name) for name in known}
    alike = [name for name, (contains, ratio) in found.items() if contains or ratio >= _ALIKE]
    return sorted(alike, key=lambda name: (found[name], name), reverse=True)[:count]


_LONGEST_WORD = 200
"""What is longer is no name with a slip in it, and would take long to compare."""


def _letters(name: str) -> str:
    """A name without what is left out or put in: `T-4` is `t4`."""
    return "".join(letter for letter in name if letter.isalnum()) or name


def _one_letter_apart(one: str, other: str) -> bool:
    return len(one) == len(other) > 1 and sum(a != b for a, b in zip(one, other, strict=True)) == 1


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean a, b or c?` of names that are alike; else all there are, where they are few; else nothing.

    >>> did_you_mean("t5", ["t4"]), did_you_mean("gpu", ["models", "offers"]), did_you_mean("x", [])
    ('; did you mean t4?', '; there are models and offers', '')
    """
    all_names = list(dict.fromkeys(known))
    if names := nearest(word, all_names):
        return f"; did you mean {_listed(names, 'or')}?"
    if not 0 < len(all_names) <= _FEW:
        return ""
    return f"; there {'is' if len(all_names) == 1 else 'are'} {_listed(all_names, 'and')}"


def _listed(names: Sequence[str], last: str) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"
