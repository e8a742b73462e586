"""The alarm of an open loop: never too early, and never more of a core than its share."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from rackrate.measurement import pacing
from rackrate.measurement.pacing import EARLIEST_S, SPUN_SHARE, Alarm, Lead

_SAVED_S = 4 * EARLIEST_S


def awake_at(lead: Lead, moments_s: list[float], late_s: list[float]) -> tuple[float, float]:
    """Time looked at the clock, and for how many of the moments the process was awake in time. On a made-up clock."""
    now_s = spun_s = 0.0
    in_time = 0
    for moment_s, late in zip(moments_s, late_s, strict=True):
        if moment_s <= now_s:
            continue
        early_s = lead.before(now_s, moment_s)
        assert 0 <= early_s <= EARLIEST_S
        asked_s = max(now_s, moment_s - early_s)
        now_s = asked_s + late
        lead.slept(late)
        if now_s < moment_s:
            lead.spent(moment_s - now_s)
            spun_s += moment_s - now_s
            now_s = moment_s
        in_time += now_s == moment_s
    return spun_s, in_time


@given(
    gaps=st.lists(st.floats(0.0, 0.02), min_size=1, max_size=200),
    lates=st.randoms(use_true_random=False),
    share=st.floats(0.001, 0.5),
)
def test_no_more_of_a_core_than_the_share(gaps: list[float], lates: random.Random, share: float) -> None:
    moments_s = [sum(gaps[: number + 1]) for number in range(len(gaps))]
    late_s = [lates.expovariate(1 / 0.0001) for _ in gaps]
    spun_s, _ = awake_at(Lead(share, 0.0), moments_s, late_s)
    assert spun_s <= share * moments_s[-1] + _SAVED_S + 1e-9


def test_as_early_as_sleeps_end_late() -> None:
    draw = random.Random(3)
    moments_s = [0.005 * (number + 1) for number in range(4000)]
    calm, calm_in_time = awake_at(Lead(SPUN_SHARE, 0.0), moments_s, [draw.uniform(0, 0.00005) for _ in moments_s])
    rough, rough_in_time = awake_at(
        Lead(SPUN_SHARE, 0.0), moments_s, [draw.choice([0.00005, 0.00005, 0.0003]) for _ in moments_s]
    )
    assert calm_in_time > 0.9 * len(moments_s)
    assert rough_in_time > 0.9 * len(moments_s)
    assert calm < 0.4 * rough  # it does not look at the clock for longer than it must
    assert rough < SPUN_SHARE * moments_s[-1]


def test_moments_that_follow_each_other_closely_are_not_waited_for() -> None:
    draw = random.Random(4)
    moments_s = [0.00025 * (number + 1) for number in range(8000)]
    spun_s, _ = awake_at(Lead(SPUN_SHARE, 0.0), moments_s, [draw.expovariate(1 / 0.0001) for _ in moments_s])
    assert spun_s <= SPUN_SHARE * moments_s[-1] + _SAVED_S


@pytest.mark.parametrize("share", [0.0, SPUN_SHARE])
def test_never_before_its_moment(share: float) -> None:
    async def go() -> list[float]:
        late: list[float] = []
        rung = asyncio.Event()
        due = 0.0

        def ring() -> None:
            late.append(time.perf_counter() - due)
            rung.set()

        with Alarm(ring, share) as alarm:
            for wait_s in (-1.0, 0.0, 0.00001, 0.0003, 0.0037, 0.001, 0.02):
                rung.clear()
                due = time.perf_counter() + wait_s
                alarm.set(due)
                await rung.wait()
        return late

    late = uvloop.run(go())
    assert len(late) == 7  # each rings once
    assert min(late) >= 0


def test_without_a_timer_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing.sys, "platform", "elsewhere")
    test_never_before_its_moment(SPUN_SHARE)
