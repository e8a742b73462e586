"""Progress on standard error: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rackrate.cli.output import console, say
from rackrate.measure.load import LiveLevel
from rackrate.measure.sweep import Step, SweepPlan
from rackrate.metrics import LevelSummary
from rackrate.records import Level
from rackrate.report.format import clock, ms, rate


@contextmanager
def waiting(text: str) -> Generator[Callable[[float], None]]:
    """Shows that something is waited for; the yielded function takes the seconds waited so far."""
    if not sys.stderr.isatty():
        say(text)
        yield lambda _: None
        return
    screen = console(error=True)
    from rich.text import Text

    with screen.status(Text(text)) as status:
        yield lambda waited_s: status.update(Text(f"{text} ({clock(waited_s)})"))


class SweepDisplay:
    """Shows a sweep as it goes, with the time left at most. A Watcher of `measure.sweep`."""

    def __init__(self, plan: SweepPlan) -> None:
        self._plan = plan
        self._bar: Any = None
        self._task: Any = None
        self._request_s: float | None = None
        self._shown_s = 0.0
        self._began_s = time.monotonic()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[facts]}"),
                console=console(error=True),
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def note(self, text: str) -> None:
        """A line of its own."""
        self._line(text)

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text)
        else:
            say(text)

    def level_started(self, level: Level, position: int, of_at_most: int) -> None:
        """A new bar for a new level."""
        what = "prefill alone" if level.kind == "prefill" else "in flight"
        self._level_text = (
            f"{level.rate:.4g}/s {level.arrivals}" if level.rate is not None else f"{level.concurrency:>4} {what}"
        )
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(
                f"{self._level_text} (level {position} of at most {of_at_most})", total=1.0, facts=""
            )

    def level_progress(self, live: LiveLevel) -> None:
        """The bar, four times a second; without a terminal, a line every ten seconds."""
        now = time.monotonic()
        if now - self._shown_s < (0.25 if self._bar is not None else 10.0):
            return
        self._shown_s = now
        prefill = live.level.kind == "prefill"
        tokens = live.input_tokens if prefill else live.output_tokens
        pace = tokens / live.elapsed_s if live.elapsed_s > 0 else 0.0
        facts = f"{rate(pace)} {'input' if prefill else 'output'} tok/s  {live.done} done"
        facts += f"  {live.failed} failed" if live.failed else ""
        facts += f"  at most {clock(self._left_s(live))} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=live.share, facts=facts)
        elif live.elapsed_s > 5:
            say(f"{self._level_text}: {facts}")

    def _left_s(self, live: LiveLevel) -> float:
        """Time until the sweep ends if every level that may come does."""
        plan, level = self._plan, live.level
        share = live.share
        if level.kind == "open":
            here = max(0.0, live.limits.least_s - live.elapsed_s)
        else:
            here = (
                live.elapsed_s / share * (1 - share)
                if share > 0.02
                else self._expected_s(Step(level.kind, level.concurrency))
            )
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
        if summary.failed:
            text += ", failed: " + ", ".join(f"{number} x {name}" for name, number in summary.failed.items())
        names = [name for name in summary.validity if summary.kind != "prefill"]
        if names:
            text += f" [{', '.join(names)}]"
        self._line(text)
