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


def nearest(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The `count` names most like `word`, best first; always that many where there are that many.

    Names that contain the word come before names that merely resemble it.

    >>> nearest("g4dn.12xlrge", ["aws/g4dn.12xlarge", "aws/g5.12xlarge", "lambda/gpu_1x_b200"], 2)
    ['aws/g4dn.12xlarge', 'aws/g5.12xlarge']
    """
    lowered = word.lower()

    def likeness(name: str) -> tuple[bool, float]:
        candidate = name.lower()
        parts = [candidate, *candidate.split("/")]
        ratio = max(difflib.SequenceMatcher(None, lowered, part).ratio() for part in parts)
        return (bool(lowered) and lowered in candidate, ratio)

    return sorted(dict.fromkeys(known), key=lambda name: (likeness(name), name), reverse=True)[:count]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean a, b or c?`, or nothing where nothing is known.

    >>> did_you_mean("t5", ["t4"])
    '; did you mean t4?'
    """
    names = nearest(word, known)
    if not names:
        return ""
    listed = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]
    return f"; did you mean {listed}?"
