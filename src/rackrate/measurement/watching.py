"""Who follows a measurement: the events of a handle, and what a live display is handed."""

from __future__ import annotations

import queue
import threading
import weakref
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


class _Queue:
    """What one follower has still to hear."""

    def __init__(self, events: list[Event]) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        for event in events:
            self.events.put(event)

    def __iter__(self) -> Iterator[Event]:
        while True:
            event = self.events.get()
            yield event
            if isinstance(event, Ended):
                return


class Follower:
    """Tells what happens to everyone who follows, each from the beginning and at a pace of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._past: list[Event] = []
        self._queues: weakref.WeakSet[_Queue] = weakref.WeakSet()  # who has left is not told

    def _tell(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, LevelProgress) and self._past and isinstance(self._past[-1], LevelProgress):
                self._past.pop()  # who comes late hears of progress only the newest: there may be hours of it
            self._past.append(event)
            for follower in self._queues:
                follower.events.put(event)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def note(self, text: str) -> None:
        """A line of its own."""
        self._tell(Noted(text))

    def progress(self, what: str, done: float, of: float | None) -> None:
        """Dropped: levels say how far they are."""

    def level_started(self, level: Level, position: int, of_at_most: int) -> None:
        """A new level."""
        self._tell(LevelStarted(level, position, of_at_most))

    def level_progress(self, live: LiveLevel) -> None:
        """Figures of the level as of now."""
        self._tell(
            LevelProgress(
                live.elapsed_s, live.share, live.done, live.failed, live.in_flight, live.input_tokens,
                live.output_tokens,
            )
        )  # fmt: skip

    def level_ended(self, summary: LevelSummary) -> None:
        """The figures of a level."""
        self._tell(LevelEnded(summary))

    def ended(self) -> None:
        """Nothing more comes."""
        self._tell(Ended())

    def events(self) -> Iterator[Event]:
        """What happened so far (of progress the newest), then every event as it comes, until the last."""
        with self._lock:
            follower = _Queue(self._past)
            self._queues.add(follower)
        return iter(follower)
