"""Progress on standard error: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rackrate.cli.output import console, say
from rackrate.measurement.plan import Step, SweepPlan
from rackrate.report.format import clock, ms, rate
from rackrate.runs.records import Level
from rackrate.text import plain_lines

if TYPE_CHECKING:
    from rackrate.measurement.live import LiveLevel
    from rackrate.measurement.watching import Meter
    from rackrate.metrics.summary import LevelSummary


_ENDINGS = {"precision": "known as well as asked", "time": "time was up before the precision asked"}
_PACE_S = 5.0
"""Rates are shown over so long."""


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[int(share * (len(ordered) - 1))]


_TELLING_SHARE = 0.02
"""Of a level, that must be over before it says how long the rest takes."""
_STUCK_S, _STUCK = 5.0, 3.0
"""A level is stuck when no request has ended for so long, and for so many times as long as one took on average."""


class SweepDisplay:
    """Shows a sweep as it goes, with the time left at most. A Watcher of `measure.sweep`."""

    def __init__(self, plan: SweepPlan, meter: Meter | None = None) -> None:
        self._plan = plan
        self._meter = meter
        self._live_view: Any = None
        self._level_text = ""
        self._position = ""
        self._request_s: float | None = None
        self._shown_s = 0.0
        self._began_s = time.monotonic()
        self._moved: tuple[int, float, float] | None = None
        """Requests that have ended, when the last of them did, and when the level would end by that. [s]"""
        self._samples: deque[tuple[float, int, int, int]] = deque()
        """(elapsed, requests, input and output tokens) of the last seconds."""

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.live import Live

            self._live_view = Live(console=console(error=True), transient=True, refresh_per_second=4)
            self._live_view.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live_view is not None:
            self._live_view.stop()

    def note(self, text: str) -> None:
        """A line of its own."""
        if self._live_view is not None:
            self._live_view.console.print(plain_lines(text), markup=False, highlight=False)
        else:
            say(text)

    def level_started(self, level: Level, position: int, of_at_most: int) -> None:
        """A new level to show."""
        what = "prefill alone" if level.kind == "prefill" else "in flight"
        self._level_text = (
            f"{level.rate:.4g}/s {level.arrivals}" if level.rate is not None else f"{level.concurrency:>4} {what}"
        )
        self._position = f"level {position} of at most {of_at_most}"
        self._samples.clear()
        self._moved = None

    def level_progress(self, live: LiveLevel) -> None:
        """The dashboard, four times a second; without a terminal, a line every ten seconds."""
        now = time.monotonic()
        if now - self._shown_s < (0.25 if self._live_view is not None else 10.0):
            return
        self._shown_s = now
        if self._live_view is not None:
            self._live_view.update(self.dashboard(live))
        elif live.elapsed_s > 5:
            say(f"{self._level_text}: {'  '.join(value for _, value in self._facts(live))}")

    def dashboard(self, live: LiveLevel) -> Any:
        """What a terminal shows of a level."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        head = Text.assemble((self._level_text.strip(), "bold"), f"  {self._position}")
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        for name, value in self._facts(live):
            table.add_row(name, Text(value))
        bar = Table.grid()  # by itself a bar does not end its line
        bar.add_row(ProgressBar(total=1.0, completed=live.share, width=60))
        return Group(head, bar, table)

    def _facts(self, live: LiveLevel) -> list[tuple[str, str]]:
        """What is known of the level as of now: a name and a text each."""
        into, out, answered = self._pace(live)
        prefill = live.level.kind == "prefill"
        shown = f"{rate(into)} input tok/s" if prefill else f"{rate(out)} output tok/s  {rate(into)} input tok/s"
        facts = [
            ("throughput", f"{shown}  {answered:.3g} requests/s  {live.in_flight} in flight"),
            ("requests", f"{live.done} done" + (f"  {live.failed} failed" if live.failed else "")),
        ]
        latency = "  ".join(
            f"{name} p50 {ms(_quantile(values, 0.5))} p95 {ms(_quantile(values, 0.95))} ms"
            for name, values in (
                ("TTFT", [ttft for ttft, _ in live.recent]),
                ("TPOT", [tpot for _, tpot in live.recent if tpot is not None]),
            )
            if values
        )
        if latency:
            facts.append(("latency", latency))
        asked, (throughput, ttft) = live.limits.precision, live.precision
        if asked is not None and (throughput is not None or ttft is not None):
            known = ", ".join(
                f"{name} +-{100 * width:.1f} %"
                for name, width in (("throughput", throughput), ("p95 TTFT", ttft))
                if width is not None
            )
            facts.append(("precision", f"{known} of +-{100 * asked:g} % asked"))
        if self._meter is not None:
            spent = self._meter.usd_h * (time.monotonic() - self._began_s) / 3600
            text = f"${spent:.4f} so far"
            if into + out > 0:
                text += f"  ${self._meter.usd_h / (into + out) / 3600 * 1e6:.3g} per 1M tokens as of now"
            facts.append(("cost", f"{text} ({self._meter.origin})"))
        facts.append(("left", self.left(live)))
        return facts

    def _pace(self, live: LiveLevel) -> tuple[float, float, float]:
        """Input and output tokens and requests a second, over the last seconds."""
        samples = self._samples
        samples.append((live.elapsed_s, live.done, live.input_tokens, live.output_tokens))
        while len(samples) > 2 and samples[1][0] < live.elapsed_s - _PACE_S:
            samples.popleft()
        first = samples[0] if len(samples) > 1 else (0.0, 0, 0, 0)
        span = live.elapsed_s - first[0]
        if span <= 0:
            return 0.0, 0.0, 0.0
        return (
            (live.input_tokens - first[2]) / span, (live.output_tokens - first[3]) / span, (live.done - first[1]) / span
        )  # fmt: skip

    def left(self, live: LiveLevel) -> str:
        """The time left; or that it cannot be known, since requests have ceased to end."""
        ended = live.done + live.failed
        if self._moved is None or self._moved[0] != ended:
            share = live.share
            expected_s = self._expected_s(Step(live.level.kind, live.level.concurrency))
            # as it looked when a request last ended: a level that is stuck does not take longer for being longer stuck
            ends_s = live.elapsed_s / share if share > _TELLING_SHARE else live.elapsed_s + expected_s
            self._moved = ended, live.elapsed_s, ends_s
        _, moved_s, ends_s = self._moved
        quiet_s = live.elapsed_s - moved_s
        if quiet_s > max(_STUCK_S, _STUCK * moved_s / max(ended, 1)):
            return f"time left unknown: no request has ended for {clock(quiet_s)}"
        return f"at most {clock(self._left_s(live, ends_s))} left"

    def _left_s(self, live: LiveLevel, ends_s: float) -> float:
        """Time until the sweep ends if every level that may come does."""
        plan, level = self._plan, live.level
        here = max(0.0, (live.limits.least_s if level.kind == "open" else ends_s) - live.elapsed_s)
        if level.kind == "prefill":
            return here
        coming = plan.steps()[level.index + 1 :]
        prefill = self._expected_s(Step("closed", level.concurrency)) / 2 if plan.prefill else 0.0
        return here + sum(self._expected_s(step) for step in coming) + prefill

    def _expected_s(self, step: Step) -> float:
        limits = self._plan.limits(step)
        if step.rate is not None or self._request_s is None:
            return limits.least_s
        return min(limits.most_s, max(0.0 if limits.exact else limits.least_s, limits.requests / self._request_s))

    def level_ended(self, summary: LevelSummary) -> None:
        """One line with the level's figures."""
        self._request_s = summary.request_s or self._request_s
        half = summary.output_tok_s_half_width
        text = f"{self._level_text}: "
        if summary.kind == "prefill":
            text += f"{rate(summary.input_tok_s)} input tok/s"
        else:
            text += f"{rate(summary.output_tok_s)} output tok/s" + (f" +-{half:.1f}" if half is not None else "")
            if summary.ttft and summary.tpot:
                text += f", TTFT {ms(summary.ttft.p50)} ms, TPOT {ms(summary.tpot.p50)} ms (p50)"
        text += f", {summary.requests} requests"
        if self._plan.precision is not None and summary.ended_because in _ENDINGS:
            text += f", {_ENDINGS[summary.ended_because]}"
        if summary.failed:
            text += ", failed: " + ", ".join(f"{number} x {name}" for name, number in summary.failed.items())
        names = [name for name in summary.caveats if summary.kind != "prefill"]
        if names:
            text += f" [{', '.join(names)}]"
        self.note(text)
