"""How an API is used, as far as its price hangs on it: the hours of the day, the lengths of prompts, batches."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MINUTES = 24 * 60


class Prompts(Protocol):
    """Classes of requests that are billed alike: arrays of one length, tokens as sums over each class."""

    @property
    def prompt_tokens(self) -> npt.NDArray[np.float64]:
        """How long a request's input is; NaN where it is not known."""
        ...

    @property
    def batch(self) -> npt.NDArray[np.bool_]:
        """Whether the requests may wait."""
        ...

    @property
    def new(self) -> npt.NDArray[np.float64]:
        """Input that no cache had."""
        ...

    @property
    def cached(self) -> npt.NDArray[np.float64]:
        """Input read from the cache."""
        ...

    @property
    def written(self) -> npt.NDArray[np.float64]:
        """Input written to the cache for some minutes."""
        ...

    @property
    def written_1h(self) -> npt.NDArray[np.float64]:
        """Input written to the cache for an hour."""
        ...

    @property
    def output(self) -> npt.NDArray[np.float64]:
        """Output."""
        ...

    @property
    def exact(self) -> bool:
        """Whether lengths are those of single requests, not means."""
        ...


@dataclass(frozen=True)
class DayOfUse:
    """How tokens spread over the day: weights of equally long slots from 00:00 UTC on."""

    input: tuple[float, ...]
    output: tuple[float, ...]
    origin: str
    """Whose hours they are, in words that end a sentence: "by the traffic's own hours"."""

    def shares(self, spans: Sequence[tuple[int, int]]) -> tuple[float, float]:
        """Shares of the input and of the output in these minutes of the day.

        >>> DayOfUse((3, 1), (1, 1), "").shares([(0, 360), (1080, 1440)])
        (0.5, 0.5)
        """
        return _share(self.input, spans), _share(self.output, spans)


def _share(weights: Sequence[float], spans: Sequence[tuple[int, int]]) -> float:
    total = sum(weights)
    if total <= 0:
        return sum(end - begin for begin, end in spans) / MINUTES
    until = list(itertools.accumulate(weights, initial=0.0))
    slot = MINUTES / len(weights)

    def before(minute: float) -> float:
        whole = min(int(minute / slot), len(weights) - 1)
        return until[whole] + weights[whole] * (minute / slot - whole)

    return sum(before(end) - before(begin) for begin, end in spans) / total


WHOLE_WEEK = DayOfUse((1.0,), (1.0,), "over the whole week, every hour alike")


@dataclass(frozen=True, eq=False)
class ApiUse:
    """What prices are weighed by."""

    day: DayOfUse = WHOLE_WEEK
    prompts: Prompts | None = None
    """None: nothing is known of single requests; the price of short prompts is taken."""


ANY_USE = ApiUse()
