"""The display of a level: the time left runs down, and is unknown where requests cease to end."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rackrate.cli.progress import SweepDisplay
from rackrate.measurement.live import LiveLevel
from rackrate.measurement.sweep import SweepPlan
from rackrate.runs.records import Level


def test_the_time_left_runs_down_and_is_unknown_while_a_level_is_stuck() -> None:
    plan = SweepPlan(levels=(2,), requests=100, prefill=False)
    level = Level(index=0, kind="closed", concurrency=2, warmed_up=True, started_s=0.0)
    live = LiveLevel(level, plan.limits(plan.steps()[0]))
    display = SweepDisplay(plan)
    display.level_started(level, 1, 1)

    def at(elapsed_s: float, done: int, failed: int = 0) -> str:
        live.elapsed_s, live.done, live.failed = elapsed_s, done, failed
        return display.left(live)

    assert at(20.0, 20) == "at most 1:20 left"
    assert at(24.0, 20) == "at most 1:16 left"  # nothing has ended since: it runs down, it does not grow
    assert at(25.0, 25) == "at most 1:15 left"
    assert at(31.0, 25) == "time left unknown: no request has ended for 0:06"
    assert at(90.0, 25) == "time left unknown: no request has ended for 1:05"
    assert at(100.0, 25, failed=25) == "at most 1:40 left"  # those that failed were sent as well


def test_long_answers_are_not_stuck() -> None:
    plan = SweepPlan(levels=(1,), requests=10, prefill=False)
    level = Level(index=0, kind="closed", concurrency=1, warmed_up=True, started_s=0.0)
    live = LiveLevel(level, plan.limits(plan.steps()[0]), done=2, elapsed_s=120.0)
    display = SweepDisplay(plan)
    display.level_started(level, 1, 1)
    assert display.left(live) == "at most 8:00 left"
    live.elapsed_s = 180.0
    assert display.left(live) == "at most 7:00 left"


@pytest.mark.parametrize("width", [80, 120])
def test_each_fact_has_a_line_of_its_own(width: int) -> None:
    plan = SweepPlan(levels=(1,), requests=10, prefill=False)
    level = Level(index=0, kind="closed", concurrency=1, warmed_up=True, started_s=0.0)
    live = LiveLevel(level, plan.limits(plan.steps()[0]), done=5, elapsed_s=12.0, output_tokens=100, in_flight=1)
    display = SweepDisplay(plan)
    display.level_started(level, 1, 1)
    written = io.StringIO()
    Console(file=written, width=width).print(display.dashboard(live))
    lines = [line.rstrip() for line in written.getvalue().splitlines()]
    assert [line.split()[0] for line in lines[2:]] == ["throughput", "requests", "left"]
    assert lines[2].endswith("requests/s  1 in flight")
