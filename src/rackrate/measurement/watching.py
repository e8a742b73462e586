"""Who follows a measurement: the events of a handle, and what a live display is handed."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rackrate.measurement.live import LiveLevel
    from rackrate.measurement.plan import SweepPlan
    from rackrate.measurement.sweep import Watcher
    from rackrate.metrics.summary import LevelSummary
    from rackrate.runs.records import Level


@dataclass(frozen=True)
class Meter:
    """What the machine under load costs, to show what is spent."""

    usd_h: float
    origin: str
    """Offer, price, date."""


Watch = Callable[["SweepPlan", "Meter | None"], AbstractContextManager["Watcher"]]
"""Makes a display of a sweep: the plan, and what the machine costs where that is known."""


@dataclass(frozen=True)
class Noted:
    """A line that the user should see."""

    text: str


@dataclass(frozen=True)
class LevelStarted:
    """A level began; `of_at_most` says how many may come."""

    level: Level
    position: int
    of_at_most: int


@dataclass(frozen=True)
class LevelProgress:
    """How a level stands. Seconds since it began, counts and tokens so far."""

    elapsed_s: float
    share: float
    """Of the level, 0 to 1."""
    done: int
    failed: int
    in_flight: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class LevelEnded:
    """A level ended, with its metrics."""

    summary: LevelSummary


@dataclass(frozen=True)
class Ended:
    """The measurement is over: `result` returns or raises at once."""


Event = Noted | LevelStarted | LevelProgress | LevelEnded | Ended


class Follower:
    """Puts what happens into a queue; many may read it, one gets each event."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def note(self, text: str) -> None:
        """A line of its own."""
        self._events.put(Noted(text))

    def progress(self, what: str, done: float, of: float | None) -> None:
        """Dropped: levels say how far they are."""

    def level_started(self, level: Level, position: int, of_at_most: int) -> None:
        """A new level."""
        self._events.put(LevelStarted(level, position, of_at_most))

    def level_progress(self, live: LiveLevel) -> None:
        """Figures of the level as of now."""
        self._events.put(
            LevelProgress(
                live.elapsed_s, live.share, live.done, live.failed, live.in_flight, live.input_tokens,
                live.output_tokens,
            )
        )  # fmt: skip

    def level_ended(self, summary: LevelSummary) -> None:
        """The figures of a level."""
        self._events.put(LevelEnded(summary))

    def ended(self) -> None:
        """Nothing more comes."""
        self._events.put(Ended())

    def events(self) -> Iterator[Event]:
        """Every event as it comes, until the last."""
        while True:
            event = self._events.get()
            yield event
            if isinstance(event, Ended):
                self._events.put(event)  # who follows anew hears the end at once
                return
