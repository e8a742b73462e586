"""What is added up and looked at over a level's requests, a part of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from rackrate.runs.columns import Block, Flags, LevelColumns, Whole
from rackrate.runs.streams import Floats, sample

_COUNTED = ("input_tokens", "cached_tokens", "output_tokens")


@dataclass
class Totals:
    """Over all of a level."""

    finished: int = 0
    """Requests that were answered whole."""
    with_usage: int = 0
    """Of these, those whose output tokens the server counted."""
    tokens: int = 0
    pieces: int = 0
    """In which these tokens came."""
    impossible: int = 0
    """Tokens by which usage is off where it cannot be right: more than was asked for, or fewer, though as many pieces
    came as tokens were asked for."""
    last_done_s: float = -np.inf
    sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))
    known: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))

    def mean(self, name: str) -> float | None:
        """Mean tokens of whole answers, first ones of a worker left out; None where none is known."""
        return self.sums[name] / self.known[name] if self.known[name] else None


def totals(of: LevelColumns) -> Totals:
    """Adds up all requests of a level."""
    found = Totals()
    for part in of.parts():
        ok, output = part.ok, part.output_tokens
        with_usage = ok & (output >= 0)
        found.finished += int(ok.sum())
        found.with_usage += int(with_usage.sum())
        found.tokens += _total(output[with_usage])
        found.pieces += _total(part.pieces[with_usage])
        asked = part.column("asked_output_tokens")
        wrong = with_usage & (asked > 0) & ((output > asked) | ((output < asked) & (part.pieces == asked)))
        found.impossible += _total(np.abs(output - asked)[wrong])
        found.last_done_s = max(found.last_done_s, float(part.done_s.max(initial=-np.inf)))
        whole = ok & ~part.stagger
        for name in _COUNTED:
            counts = part.column(name)[whole]
            found.sums[name] += _total(counts)
            found.known[name] += int((counts >= 0).sum())
    return found


@dataclass(frozen=True)
class Window:
    """The steady part of a level, from `low` up to `high`; NaN where there is none."""

    low: float
    high: float

    def sent(self, part: Block) -> Flags:
        """Requests that were sent in it."""
        return (part.sent_s >= self.low) & (part.sent_s <= self.high)

    def timed(self, part: Block) -> Flags:
        """Those whose latencies count: sent in it, answered whole, and no worker's first."""
        return self.sent(part) & part.ok & ~part.stagger

    def ttft(self, of: LevelColumns) -> Iterator[tuple[Floats, Floats]]:
        """When requests were due, and how long until their first token."""
        for part in of.parts():
            wanted = self.timed(part) & part.has_first
            yield part.due_s[wanted], part.ttft_s[wanted]

    def waits(self, of: LevelColumns) -> Iterator[tuple[Floats, Floats]]:
        """When requests were due, failed ones too, and how long until their first token, or else until they ended."""
        for part in of.parts():
            wanted = (part.due_s >= self.low) & (part.due_s < self.high)
            answered_s = np.where(part.has_first, part.first_s, part.done_s)
            yield part.due_s[wanted], (answered_s - part.due_s)[wanted]

    def tpot(self, of: LevelColumns) -> Iterator[Floats]:
        """Time per output token, per request."""
        for part in of.parts():
            wanted = self.timed(part) & part.has_first & (part.output_tokens > 1)
            yield (part.done_s - part.first_s)[wanted] / (part.output_tokens[wanted] - 1)

    def e2e(self, of: LevelColumns) -> Iterator[Floats]:
        """From due to done."""
        for part in of.parts():
            yield part.e2e_s[self.timed(part)]

    def gaps(self, of: LevelColumns) -> Iterator[Floats]:
        """Between successive pieces of the same answer."""
        for part in of.parts():
            pieces, timed = part.pieces, self.timed(part)
            wanted = np.repeat(timed, pieces)
            ends = np.cumsum(pieces, dtype=np.int64)
            firsts = (ends - pieces)[pieces > 0]
            wanted[firsts] = False
            yield np.diff(part.times)[wanted[1:]]


@dataclass
class WindowSums:
    """Over a window."""

    counted: int = 0
    """Requests whose first token came in it, and whose input tokens are known."""
    input_tokens: int = 0
    cached_tokens: int = 0
    answered: int = 0
    """Requests that were answered whole in it."""
    judged: int = 0
    """Requests sent in it, first ones of a worker left out."""
    met: list[int] = field(default_factory=list[int])
    """How many of these met each objective."""
    met_all: int = 0


def window_sums(of: LevelColumns, window: Window, met: Sequence[Callable[[Block], Flags]]) -> WindowSums:
    """Adds up what falls into a window; `met` says of requests whether they met an objective."""
    found = WindowSums(met=[0] * len(met))
    for part in of.parts():
        counted = (part.first_s >= window.low) & (part.first_s < window.high) & (part.input_tokens >= 0)
        found.counted += int(counted.sum())
        found.input_tokens += _total(part.input_tokens[counted])
        found.cached_tokens += _total(part.cached_tokens[counted])
        found.answered += int((part.ok & (part.done_s >= window.low) & (part.done_s < window.high)).sum())
        judged = window.sent(part) & ~part.stagger
        found.judged += int(judged.sum())
        every = judged
        for number, item in enumerate(met):
            good = item(part) & judged
            found.met[number] += int(good.sum())
            every = every & good
        found.met_all += int(every.sum())
    return found


@dataclass(frozen=True)
class Lengths:
    """Tokens counted by the server and asked for, of requests of which both are known."""

    input_tokens: int
    asked_input: int
    off_p95: float
    """95 % of the prompts are at most so many tokens off."""
    output_tokens: int
    asked_output: int


def lengths(of: LevelColumns) -> Lengths | None:
    """Adds up lengths; None where the server counts none."""
    given = asked = out = wanted = 0
    for part in of.parts():
        counted = _both_known(part)
        given += _total(part.input_tokens[counted])
        asked += _total(part.asked_input_tokens[counted])
        answered = counted & (part.output_tokens >= 0)
        out += _total(part.output_tokens[answered])
        wanted += _total(part.asked_output_tokens[answered])

    def off() -> Iterator[Floats]:
        for part in of.parts():
            counted = _both_known(part)
            difference = part.input_tokens[counted].astype(np.float64) - part.asked_input_tokens[counted]
            yield np.abs(difference)

    p95 = sample(off, (0.95,))
    return Lengths(given, asked, p95.at[0], out, wanted) if p95 is not None else None


def _both_known(part: Block) -> Flags:
    return part.ok & (part.input_tokens >= 0) & (part.asked_input_tokens > 0)


def _total(counts: Whole) -> int:
    """The sum of those that are known."""
    return int(counts[counts >= 0].sum(dtype=np.int64))
