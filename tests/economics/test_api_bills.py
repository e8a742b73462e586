"""What APIs charge for traffic: by its hours, its lengths, its cache writes and its batches."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from priced_runs import write_run
from rackrate.catalog.api_use import ApiUse
from rackrate.catalog.apis import chosen_apis
from rackrate.catalog.load import load_catalog
from rackrate.economics.api_bills import api_bills
from rackrate.economics.api_use import use_of_profile, use_of_requests, use_of_run, use_of_traffic
from rackrate.metrics.summary import summarise
from rackrate.runs.records import Machine
from rackrate.runs.store import read_run
from rackrate.workload.prompt_mix import PromptMix
from rackrate.workload.traffic import Traffic, steady, with_lengths
from rackrate.workload.traffic_files import shifted

TODAY = datetime(2026, 12, 1, tzinfo=UTC)
CATALOG = load_catalog()
BOX = Machine(origin="unknown")
PEAK, OFF_PEAK = (1.32, 3.96), (0.66, 1.98)


def hourly(*busy: int, tokens: float = 1e6) -> Traffic:
    """A day in which so many tokens go in and out in each of these hours."""
    values = np.array([tokens if hour in busy else 0.0 for hour in range(24)])
    return Traffic(3600.0, values / 1000, values, values, start_known=True)


def usd(traffic: Traffic, name: str, **given: bool) -> float:
    ((bill,), _) = api_bills(None, traffic, CATALOG, (name,), when=TODAY, **given)
    return bill.usd


def test_a_bill_goes_by_the_hours_of_the_traffic() -> None:
    name = "deepseek/deepseek-v4-pro"
    assert usd(hourly(1, 7), name) == pytest.approx(2 * sum(PEAK))
    assert usd(hourly(4, 12), name) == pytest.approx(2 * sum(OFF_PEAK))
    # the same hours on a clock two hours ahead of UTC are 23:00 and 05:00 there
    ahead = replace(hourly(1, 7), utc_offset_s=7200.0)
    assert usd(ahead, name) == pytest.approx(2 * sum(OFF_PEAK))
    # moving the clock moves no request
    assert usd(shifted(hourly(1, 7), 5), name) == pytest.approx(usd(hourly(1, 7), name))


def test_traffic_without_hours_is_weighed_over_the_day() -> None:
    spread = 1 + 7 / 24
    stated = with_lengths(steady(1.0, 86400.0), 1000, 0)
    assert usd(stated, "deepseek/deepseek-v4-pro") == pytest.approx(86.4 * 0.66 * spread)
    unknown = replace(hourly(1, 7), start_known=False)
    assert usd(unknown, "deepseek/deepseek-v4-pro") == pytest.approx(2 * sum(OFF_PEAK) * spread)
    # a profile means hours of the day, though a stated rate has no date
    assert usd(unknown, "deepseek/deepseek-v4-pro", has_hours=True) == pytest.approx(2 * sum(PEAK))


def test_steps_of_a_minute_fall_into_their_hours() -> None:
    fine = Traffic(60.0, np.ones(1440), np.arange(1440.0), np.ones(1440), start_s=0.0, start_known=True)
    day = use_of_traffic(fine).day
    assert sum(day.input) == pytest.approx(np.arange(1440.0).sum())
    assert day.shares([(60, 120)])[0] == pytest.approx(np.arange(60, 120).sum() / np.arange(1440).sum())


def test_growing_traffic_pays_the_same_price_a_token() -> None:
    mix = PromptMix.of_requests(np.array([1000, 300_000]), np.array([10, 10]))
    day = replace(hourly(3), prompts=mix)
    assert usd(day.times(3.0), "openai/gpt-6-luna") == pytest.approx(3 * usd(day, "openai/gpt-6-luna"))
    # 300 of 301 thousand tokens are in a prompt that is over 272,000
    assert usd(day, "openai/gpt-6-luna") == pytest.approx((0.1 + 300 * 0.2) / 301 + (0.5 + 0.75) / 2)


def test_written_tokens_are_billed_as_written() -> None:
    one = np.array([1.0])
    day = Traffic(
        86400.0, None, 131e6 * one, 5e6 * one, 100e6 * one, written_tokens=20e6 * one, written_1h_tokens=10e6 * one
    )
    # 1 M new, 20 M and 10 M written, 100 M read, 5 M out at 2, 2.5, 4, 0.1 and 10
    assert usd(day, "anthropic/claude-sonnet-5-5") == pytest.approx(152.0)


def test_requests_and_profiles_as_uses() -> None:
    assert use_of_requests([], []).prompts is None
    week = [0.0] * 168
    week[5], week[24 + 5] = 1.0, 3.0
    assert use_of_profile(week).shares([(300, 360)]) == (1.0, 1.0)
    assert use_of_profile([1.0] * 7).origin.startswith("over the whole week")


def test_a_run_s_own_requests_choose_the_tier(tmp_path: Path) -> None:
    found = read_run(write_run(tmp_path / "run", BOX))
    level = summarise(found)[0]
    mix = use_of_run(found, level).prompts
    assert mix is not None
    assert mix.exact
    assert mix.prompt_tokens.tolist() == [64]
    # of an imported level without requests only the mean is known
    bare = use_of_run(replace(found, requests=[]), replace(level, mean_input_tokens=110_000.0)).prompts
    assert bare is not None
    assert (bare.prompt_tokens.tolist(), bare.exact) == ([110_000], False)
    long = chosen_apis(None, CATALOG, ("anthropic/claude-haiku-5-5",), when=TODAY, use=ApiUse(prompts=bare))[0].price
    assert (long.input_usd_per_1m, long.output_usd_per_1m) == (0.5, 2.5)


def test_rows_of_unknown_length_are_said() -> None:
    mix = PromptMix.together([PromptMix.of_length(math.nan, 0.0), PromptMix.of_length(300_000, 10)])
    nothing = replace(mix, new=np.array([100_000.0, 300_000.0]))
    price = chosen_apis(None, CATALOG, ("openai/gpt-6-luna",), when=TODAY, use=ApiUse(prompts=nothing))[0].price
    assert "75% of the input here: how long the prompts of 25% of the input are is not known" in (price.note or "")
