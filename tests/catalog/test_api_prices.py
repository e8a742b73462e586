"""Prices that hang on the hour, the length of prompts, the cache and batches; and whether anybody still sells them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from rackrate.catalog.api_price import ApiPrice
from rackrate.catalog.api_use import ApiUse, DayOfUse
from rackrate.catalog.apis import DEFAULT_APIS, api_price, apis_of_model, chosen_apis, list_apis
from rackrate.catalog.load import load_catalog
from rackrate.workload.prompt_mix import PromptMix

TODAY = datetime(2026, 12, 1, 5, tzinfo=UTC)
CATALOG = load_catalog()


def price(name: str, when: datetime = TODAY, use: ApiUse | None = None) -> ApiPrice:
    return api_price(name, CATALOG, when, use or ApiUse())


def at_hours(*hours: int) -> ApiUse:
    weights = tuple(1.0 if hour in hours else 0.0 for hour in range(24))
    return ApiUse(DayOfUse(weights, weights, "by the traffic's own hours"))


def test_a_price_by_the_hour_is_weighed_over_the_day_whatever_the_clock_says() -> None:
    # dearer from 01:00 to 04:00 and from 06:00 to 10:00 UTC: 7 of 24 hours at twice the price
    expected = 0.66 * (1 + 7 / 24), 1.98 * (1 + 7 / 24)
    for hour in range(24):
        found = price("deepseek/deepseek-v4-pro", TODAY.replace(hour=hour))
        assert (found.input_usd_per_1m, found.output_usd_per_1m) == pytest.approx(expected)
    note = price("deepseek/deepseek-v4-pro").note or ""
    assert "$1.32 in, $3.96 out at 01:00-04:00 and 06:00-10:00 UTC" in note
    assert "weighed over the whole week" in note


def test_a_price_by_the_hour_is_weighed_by_the_hours_of_use() -> None:
    assert price("deepseek/deepseek-v4-pro", use=at_hours(2, 3)).input_usd_per_1m == pytest.approx(1.32)
    assert price("deepseek/deepseek-v4-pro", use=at_hours(5, 12)).input_usd_per_1m == pytest.approx(0.66)
    # half past: 00:30 to 16:30 is dear, so half of the first hour is
    assert price("deepseek/deepseek-chat", use=at_hours(0)).input_usd_per_1m == pytest.approx((0.27 + 0.135) / 2)
    both = DayOfUse(at_hours(2).day.input, at_hours(5).day.output, "")
    found = price("deepseek/deepseek-v4-pro", use=ApiUse(both))
    assert (found.input_usd_per_1m, found.output_usd_per_1m) == pytest.approx((1.32, 1.98))
    assert "by the traffic's own hours" in (price("deepseek/deepseek-v4-pro", use=at_hours(2)).note or "")


def test_the_hours_of_a_later_price_are_not_read_into_the_past() -> None:
    before = price("deepseek/deepseek-v4-pro", datetime(2026, 5, 1, 2, tzinfo=UTC))
    assert (before.input_usd_per_1m, before.output_usd_per_1m) == (0.435, 0.87)
    assert price("deepseek/deepseek-v4-pro").since == "2026-08-17"


def test_a_price_by_prompt_length_is_taken_request_by_request() -> None:
    # three requests, one of them over 100,000 tokens: nearly all of the input is in it
    mix = PromptMix.of_requests(np.array([1000, 1000, 198_000]), np.array([100, 100, 100]))
    found = price("anthropic/claude-haiku-5-5", use=ApiUse(prompts=mix))
    assert found.input_usd_per_1m == pytest.approx((2000 * 0.1 + 198_000 * 0.5) / 200_000)
    assert found.output_usd_per_1m == pytest.approx((200 * 0.5 + 100 * 2.5) / 300)
    assert "prompts over 100,000 tokens cost $0.5 in, $2.5 out: 99% of the input here" in (found.note or "")
    mean = price("anthropic/claude-haiku-5-5", use=ApiUse(prompts=PromptMix.of_length(66_667, 100)))
    assert mean.input_usd_per_1m == 0.1
    assert "how long they are is not known, shorter prompts are taken" in (
        price("anthropic/claude-haiku-5-5").note or ""
    )


def test_sellers_of_the_same_model_are_priced_by_length_too() -> None:
    model = CATALOG.models["gpt-oss-20b"]
    assert [each.ref for each in apis_of_model(model, CATALOG, TODAY)]
    long = ApiUse(prompts=PromptMix.of_length(300_000, 10))
    assert all(each.price.parts for each in chosen_apis(model, CATALOG, None, when=TODAY, use=long))


def test_cache_writes_and_batches_have_prices_of_their_own() -> None:
    opus = price("anthropic/claude-opus-5-5")
    assert (opus.cache_write_usd_per_1m, opus.cache_write_1h_usd_per_1m) == (5, 8)
    day = opus.bill_usd(11_500_000, 300_000, 8_000_000, 2_000_000, 500_000)
    assert day == pytest.approx(4 + 10 + 4 + 1.6 + 6)
    none = np.zeros(2)
    batch = np.array([False, True])
    mix = PromptMix(np.full(2, 100.0), batch, np.array([1e6, 3e6]), none, none, none, np.full(2, 1e5))
    found = price("openai/gpt-4o", use=ApiUse(prompts=mix))
    assert found.input_usd_per_1m == pytest.approx((2.5 + 3 * 1.25) / 4)
    assert found.output_usd_per_1m == pytest.approx((10 + 5) / 2)
    assert "75% of the input in batches, at $1.25 in, $5 out" in (found.note or "")


def test_what_is_assumed_of_the_cache_is_said() -> None:
    cached = ApiUse(prompts=PromptMix.of_length(1000, 100, 400))
    assert "cache writes are not known and none is billed" in (
        price("anthropic/claude-opus-5-5", use=cached).note or ""
    )
    none = next(each for each in list_apis(CATALOG, TODAY) if each.cached_input_usd_per_1m is None)
    assert "cached input costs what new input does" in (price(none.ref, use=cached).note or "")


def test_without_any_new_input_the_price_is_that_of_what_there_is() -> None:
    mix = PromptMix.of_length(150_000, 100, 150_000)
    found = price("anthropic/claude-haiku-5-5", use=ApiUse(prompts=mix))
    assert (found.cached_input_usd_per_1m, found.input_usd_per_1m) == (pytest.approx(0.05), pytest.approx(0.5))


def test_the_defaults_are_sold_today() -> None:
    for name in DEFAULT_APIS:
        assert api_price(name, CATALOG).status.status == "live", name


@pytest.mark.parametrize(
    ("name", "date", "status"),
    [
        ("openai/gpt-3.5-turbo", "2026-04-21", "live"),
        ("openai/gpt-3.5-turbo", "2026-10-22", "deprecated"),
        ("openai/gpt-3.5-turbo", "2026-10-23", "ended"),
        ("groq/llama-3.1-8b-instant", "2026-12-01", "ended"),
        ("avian/Meta-Llama-3.1-8B-Instruct", "2026-12-01", "deprecated"),
        ("avian/Meta-Llama-3.1-8B-Instruct", "2025-12-01", "live"),  # the list's mark has no date
    ],
)
def test_whether_a_model_is_sold_depends_on_the_date(name: str, date: str, status: str) -> None:
    found = price(name, datetime.fromisoformat(f"{date}T12:00:00+00:00"))
    assert found.status.status == status
    assert (found.status.words is None) is (status == "live")
    assert status == "live" or (found.status.words or "") in (found.note or "")


def test_who_has_shut_down_is_no_seller_today_but_was_one() -> None:
    model = CATALOG.models["llama-3.1-8b-instruct"]
    today = {each.ref: each.status.status for each in apis_of_model(model, CATALOG, TODAY)}
    assert set(today.values()) == {"live"}
    assert "groq/llama-3.1-8b-instant" not in today
    then = {each.ref for each in apis_of_model(model, CATALOG, datetime(2026, 3, 1, tzinfo=UTC))}
    assert "groq/llama-3.1-8b-instant" in then
    named = chosen_apis(model, CATALOG, ("groq/llama-3.1-8b-instant",), when=TODAY)[-1]
    assert (named.price.status.status, named.same_model) == ("ended", True)


def test_of_many_sellers_the_cheapest_are_taken() -> None:
    model = CATALOG.models["llama-3.1-8b-instruct"]
    everyone = chosen_apis(model, CATALOG, None, when=TODAY)
    eight = chosen_apis(model, CATALOG, None, when=TODAY, sellers=8)
    assert len(everyone) > len(eight) == 8
    assert eight == everyone[:8]
    sums = [each.price.input_usd_per_1m + each.price.output_usd_per_1m for each in everyone]
    assert sums == sorted(sums)
