"""How far a level is: for its end, and for whoever watches."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from rackrate.measurement.plan import LevelLimits
from rackrate.metrics.steady import batch_means, quantile_half_width, steady_window
from rackrate.metrics.summary import meets
from rackrate.runs.records import Level, RequestRecord
from rackrate.workload.slo import Slo

Reason = Literal["requests", "time", "precision", "hopeless", "interrupted", "engine-died", "errors"]
"""Why a level ended; see records.Level.ended_because."""


_RECENT = 400


@dataclass
class LiveLevel:
    """How far a level is, for the progress display."""

    level: Level
    limits: LevelLimits
    done: int = 0
    failed: int = 0
    in_flight: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    elapsed_s: float = 0.0
    precision: tuple[float | None, float | None] = (None, None)
    """Half-widths of throughput and p95 TTFT when last looked at, as shares."""
    recent: deque[tuple[float, float | None]] = field(default_factory=lambda: deque(maxlen=_RECENT))
    """TTFT and TPOT of the latest answers. [s]"""
    missed: dict[int, int] = field(default_factory=dict[int, int])
    """Requests that missed an objective, by its number."""

    @property
    def share(self) -> float:
        """How much of the level is over, 0 to 1."""
        # of a stated number those that failed are part
        by_count = (self.done + self.failed * self.limits.exact) / max(self.limits.requests, 1)
        if not self.limits.exact:
            by_count = min(by_count, self.elapsed_s / self.limits.least_s if self.limits.least_s > 0 else 1.0)
            if self.limits.precision is not None:
                by_count = min(by_count, self._share_of_precision(self.limits.precision))
        return min(1.0, max(by_count, self.elapsed_s / self.limits.most_s))

    def _share_of_precision(self, asked: float) -> float:
        """How near the figures are to the precision asked for: intervals shrink with the root of the time."""
        if any(item is None for item in self.precision):
            return 0.0
        return min(1.0, (asked / max(item or asked for item in self.precision)) ** 2)


class Tally:
    """Counts what a level has come to, and says when that is reason to end it."""

    def __init__(self, live: LiveLevel, slo: Slo | None) -> None:
        self._live = live
        self._slo = slo if live.level.kind == "open" else None

    def count(self, record: RequestRecord) -> Reason | None:
        """Counts a request; the reason to end the level now, if there is one."""
        live, reason = self._live, None
        if self._slo is not None and record.status != "stopped":
            for number, objective in enumerate(self._slo.objectives):
                live.missed[number] = live.missed.get(number, 0) + (not meets(objective, record))
                if live.missed[number] > (1 - objective.share) * live.limits.requests:
                    reason = "hopeless"
        if record.ok:
            live.done += 1
            live.input_tokens += record.input_tokens or 0
            tokens = record.output_tokens or len(record.chunk_s)
            live.output_tokens += tokens
            if record.first_token_s is not None:
                tpot = (record.done_s - record.first_token_s) / (tokens - 1) if tokens > 1 else None
                live.recent.append((record.first_token_s - record.due_s, tpot))
            return reason
        live.failed += 1
        return "errors" if live.failed > 50 and live.failed > 10 * live.done else reason


_BIN_S = 0.05
_LOOK_AGAIN = 1.1
"""The precision is looked at again once a tenth more requests are in: often enough, and soon cheap."""


_MOST_LOOKED_AT = 1_000_000
"""Of more requests the latest are looked at."""


class Judgement:
    """Whether a level has told enough: by its limits, and by how well its figures are known."""

    def __init__(self, live: LiveLevel) -> None:
        self._live = live
        self._watches = live.limits.precision is not None and not live.limits.exact
        self._tokens = np.zeros(1024)
        """Output tokens in each 50 ms since the level's start."""
        self._due_s, self._ttft_s, self._e2e_s = array("d"), array("d"), array("d")
        self._next_look = 0.0

    def add(self, record: RequestRecord) -> None:
        """Takes a request into account."""
        if not self._watches or not record.chunk_s:
            return
        weight = (record.output_tokens or len(record.chunk_s)) / len(record.chunk_s)
        bins = ((np.array(record.chunk_s) - self._live.level.started_s) / _BIN_S).astype(np.int64)
        if bins[-1] >= len(self._tokens):
            self._tokens = np.concatenate([self._tokens, np.zeros(max(len(self._tokens), int(bins[-1])))])
        np.add.at(self._tokens, np.maximum(bins, 0), weight)
        if record.ok and not record.stagger:
            self._due_s.append(record.due_s)
            self._ttft_s.append(record.chunk_s[0] - record.due_s)
            self._e2e_s.append(record.done_s - record.due_s)
            if len(self._due_s) > _MOST_LOOKED_AT:
                for column in (self._due_s, self._ttft_s, self._e2e_s):
                    del column[: _MOST_LOOKED_AT // 2]

    def reason(self, elapsed_s: float) -> Reason | None:
        """Why the level should end now, if it should."""
        limits, live = self._live.limits, self._live
        if not limits.exact and live.done >= limits.requests and elapsed_s >= limits.least_s:
            if limits.precision is None:
                return "requests"
            if live.done >= self._next_look:
                self._next_look = live.done * _LOOK_AGAIN
                live.precision = self.half_widths(elapsed_s)
                if all(item is not None and item <= limits.precision for item in live.precision):
                    return "precision"
        return "time" if elapsed_s >= limits.most_s else None

    def half_widths(self, elapsed_s: float) -> tuple[float | None, float | None]:
        """Half of the 95 % interval of output throughput, and of p95 TTFT, each as a share of itself."""
        bins = max(int(elapsed_s / _BIN_S), 1)
        tokens = np.concatenate([self._tokens, np.zeros(max(0, bins - len(self._tokens)))])[:bins]
        times = np.asarray((np.arange(bins) + 0.5) * _BIN_S, dtype=np.float64)
        window = steady_window(times, tokens, 0.0, bins * _BIN_S)
        if window is None or not len(self._e2e_s):
            return None, None
        rate, half, _ = batch_means(times, tokens, *window, typical_s=float(np.median(self._e2e_s)))
        due_s = np.asarray(self._due_s) - self._live.level.started_s
        order = np.argsort(due_s)
        ttft_s = np.asarray(self._ttft_s)[order][due_s[order] >= window[0]]
        wide = quantile_half_width(ttft_s)
        p95 = float(np.quantile(ttft_s, 0.95)) if len(ttft_s) else 0.0
        return half / rate if half is not None and rate > 0 else None, wide / p95 if wide is not None and p95 else None
