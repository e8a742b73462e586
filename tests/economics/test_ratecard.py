"""The rate card: every dollar of the bill is somewhere, idle time is paid for, machines are whole; the article."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from rackrate.catalog.apis import ApiPrice
from rackrate.economics.hourly import HourlyCost
from rackrate.economics.pricing import Load, objections, price
from rackrate.economics.ratecard import RateCard, Serving, machines_for, rate_card, serving_of
from rackrate.errors import PriceError
from rackrate.metrics.saturation import Saturation
from rackrate.metrics.summary import CAVEATS, LevelSummary
from rackrate.units import tokens_per_month, usd_per_million


def make_serving(
    output: float = 80.0,
    input: float = 160.0,  # noqa: A002
    cached: float = 0.0,
    requests: float | None = 2.5,
    share: float | None = 0.25,
    half: float | None = None,
) -> Serving:
    return Serving(
        output_tok_s=output,
        input_tok_s=input,
        cached_tok_s=cached,
        request_s=requests,
        relative_half_width=half,
        prefill_share=share,
        origin="made up",
    )


def make_cost(fixed: float = 1.0, busy: float = 0.0) -> HourlyCost:
    return HourlyCost("box", "owned", fixed, busy, {"all": fixed + busy})


SERVINGS = st.builds(
    make_serving,
    output=st.floats(0.01, 1e5),
    input=st.floats(0.01, 1e6),
    requests=st.floats(1e-3, 1e3),
    share=st.floats(0, 1),
)
COSTS = st.builds(make_cost, fixed=st.floats(1e-3, 1e3), busy=st.just(0.0) | st.floats(1e-3, 1e2))
FREE = make_cost(0.0)
UTILISATIONS = st.floats(1e-6, 1)


@settings(deadline=None)
@given(serving=SERVINGS, cost=COSTS, utilisation=UTILISATIONS, machines=st.integers(1, 1000), hours=st.floats(1, 744))
def test_input_part_and_output_part_are_the_bill(
    serving: Serving, cost: HourlyCost, utilisation: float, machines: int, hours: float
) -> None:
    card = rate_card(serving, cost, utilisation, machines, hours)
    assert card.input_usd is not None
    assert card.output_usd is not None
    parts = (card.input_usd * card.input_tokens_month + card.output_usd * card.output_tokens_month) / 1e6
    assert parts == pytest.approx(card.usd_month, rel=1e-9)
    assert card.blended_usd * card.tokens_month / 1e6 == pytest.approx(card.usd_month, rel=1e-9)
    assert card.tokens_month == pytest.approx(card.input_tokens_month + card.output_tokens_month, rel=1e-9)
    assert card.usd_month == pytest.approx(machines * cost.usd_h(utilisation) * hours, rel=1e-9)


@settings(deadline=None)
@given(serving=SERVINGS, cost=COSTS, cached=st.floats(0.01, 0.95))
def test_new_input_pays_for_prefill_and_cached_input_for_nothing(
    serving: Serving, cost: HourlyCost, cached: float
) -> None:
    some = make_serving(
        serving.output_tok_s, serving.input_tok_s, serving.input_tok_s * cached, share=serving.prefill_share
    )
    card = rate_card(some, cost, 0.5)
    assert card.input_usd is not None
    assert card.output_usd is not None
    fresh = card.input_tokens_month - card.cached_tokens_month
    parts = (card.input_usd * fresh + card.output_usd * card.output_tokens_month) / 1e6
    assert parts == pytest.approx(card.usd_month, rel=1e-9)


def test_without_input_the_output_bears_all() -> None:
    card = rate_card(make_serving(input=0.0, share=None), make_cost(3.6))
    assert card.input_usd is None
    assert card.output_usd == pytest.approx(12.5)  # 3.6 USD/h over 80 token/s
    assert card.output_usd == pytest.approx(card.blended_usd)


def test_without_prefill_measured_apart_nothing_is_told_apart() -> None:
    card = rate_card(make_serving(share=None), make_cost())
    assert (card.input_usd, card.output_usd) == (None, None)
    assert card.blended_usd > 0


@settings(deadline=None)
@given(serving=SERVINGS, cost=COSTS, one=UTILISATIONS, other=UTILISATIONS)
def test_a_token_is_cheaper_on_a_busier_machine(serving: Serving, cost: HourlyCost, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assume(high > low * (1 + 1e-6))
    assert rate_card(serving, cost, low).blended_usd > rate_card(serving, cost, high).blended_usd
    assert rate_card(serving, cost, low).usd_month <= rate_card(serving, cost, high).usd_month
    assert rate_card(serving, cost, low).tokens_month < rate_card(serving, cost, high).tokens_month


@settings(deadline=None)
@given(serving=SERVINGS, cost=COSTS, utilisation=UTILISATIONS)
def test_the_utilisation_tax_is_the_price_over_that_at_full_load(
    serving: Serving, cost: HourlyCost, utilisation: float
) -> None:
    card, full = rate_card(serving, cost, utilisation), rate_card(serving, cost)
    assert full.utilisation_tax == pytest.approx(1.0)
    assert card.utilisation_tax == pytest.approx(card.blended_usd / full.blended_usd)
    assert card.marginal_usd == pytest.approx(full.blended_usd)


def bill(rate: float, serving: Serving, cost: HourlyCost) -> RateCard:
    machines, utilisation = machines_for(rate, serving)
    return rate_card(serving, cost, utilisation, machines)


@settings(deadline=None)
@given(serving=SERVINGS, cost=COSTS, one=st.floats(1e-3, 1e4), other=st.floats(1e-3, 1e4))
def test_more_load_never_lowers_the_bill(serving: Serving, cost: HourlyCost, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert bill(low, serving, cost).usd_month <= bill(high, serving, cost).usd_month * (1 + 1e-9)


@settings(deadline=None)
@given(serving=SERVINGS, rate=st.floats(1e-3, 1e4))
@example(serving=make_serving(requests=8.392072619499281), rate=92.3127988144921)
@example(serving=make_serving(requests=0.1), rate=3 * 0.1)
def test_machines_are_whole_and_just_enough(serving: Serving, rate: float) -> None:
    machines, utilisation = machines_for(rate, serving)
    assert serving.request_s is not None
    assert 0 < utilisation <= 1
    assert machines * serving.request_s >= rate * (1 - 1e-12)
    assert (machines - 1) * serving.request_s < rate * (1 - 1e-12)
    assert machines * utilisation * serving.request_s == pytest.approx(rate)


@settings(deadline=None)
@given(request_s=st.floats(0.01, 100), machines=st.integers(1, 200))
@example(request_s=0.1, machines=3)
def test_full_machines_need_no_spare_for_rounding(request_s: float, machines: int) -> None:
    serving = make_serving(requests=request_s)
    assert machines_for(machines * request_s, serving)[0] == machines
    assert bill(machines * request_s, serving, make_cost()).usd_h == pytest.approx(machines)


def test_one_request_more_than_a_machine_serves_needs_two() -> None:
    assert machines_for(2.5, make_serving(requests=2.5)) == (1, 1.0)
    machines, utilisation = machines_for(2.5001, make_serving(requests=2.5))
    assert machines == 2
    assert utilisation == pytest.approx(0.50002)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(PriceError):
        machines_for(rate, make_serving())


def test_a_rate_needs_a_known_request_rate() -> None:
    with pytest.raises(PriceError, match="how many requests"):
        machines_for(1.0, make_serving(requests=None))


@pytest.mark.parametrize("utilisation", [0.0, -0.1, 1.0000001, 2.0, float("nan")])
def test_an_impossible_utilisation_is_refused(utilisation: float) -> None:
    with pytest.raises(PriceError, match="utilisation must be above 0 and at most 1"):
        rate_card(make_serving(), make_cost(), utilisation)


def test_a_machine_that_serves_nothing_has_no_price() -> None:
    with pytest.raises(PriceError, match="serves no tokens"):
        rate_card(make_serving(output=0.0, input=0.0), make_cost())


@settings(deadline=None)
@given(serving=SERVINGS, utilisation=UTILISATIONS)
def test_a_free_machine_costs_nothing(serving: Serving, utilisation: float) -> None:
    card = rate_card(serving, FREE, utilisation)
    assert (card.usd_h, card.usd_month, card.blended_usd, card.marginal_usd) == (0, 0, 0, 0)
    assert (card.input_usd, card.output_usd) == (0, 0)
    assert card.tokens_month > 0


def test_a_free_machine_has_no_utilisation_tax() -> None:
    assert rate_card(make_serving(), FREE, 0.5).utilisation_tax in (None, 1.0)


def test_the_interval_is_that_of_the_throughput() -> None:
    card = rate_card(make_serving(half=0.1), make_cost())
    assert card.blended_interval_usd is not None
    low, high = card.blended_interval_usd
    # 95 % are within a tenth, so 80 % within 1.2816 / 1.96 of that
    slow = usd_per_million(1.0, 240 * (1 - 0.1 * 1.281552 / 1.959964))
    fast = usd_per_million(1.0, 240 * (1 + 0.1 * 1.281552 / 1.959964))
    assert (low, high) == pytest.approx((fast, slow))
    assert low < card.blended_usd < high
    assert rate_card(make_serving(half=None), make_cost()).blended_interval_usd is None
    assert rate_card(make_serving(half=1.6), make_cost()).blended_interval_usd is None


def make_level(**changed: Any) -> LevelSummary:
    values: dict[str, Any] = {
        "index": 3, "kind": "closed", "concurrency": 8, "requests": 100, "failed": {}, "window_start_s": 0.0,
        "window_end_s": 10.0, "output_tok_s": 80.0, "output_tok_s_half_width": 4.0, "input_tok_s": 160.0,
        "cached_tok_s": None, "request_s": 2.5, "mean_input_tokens": 64.0, "mean_cached_tokens": None,
        "mean_output_tokens": 32.0, "tokens_per_chunk": 1.0, "ttft": None, "tpot": None, "itl": None, "e2e": None,
        "caveats": ("unsteady",),
    }  # fmt: skip
    return LevelSummary(**{**values, **changed})


def test_what_is_served_is_what_the_saturated_level_did() -> None:
    level = make_level()
    serving = serving_of(Saturation(level, None, True, level.caveats, (level,)), "a run")
    assert (serving.output_tok_s, serving.input_tok_s, serving.cached_tok_s) == (80.0, 160.0, 0.0)
    assert serving.relative_half_width == pytest.approx(0.05)
    assert serving.prefill_share is None
    assert (serving.caveats, serving.lower_bound, serving.origin) == (("unsteady",), True, "a run")
    assert serving.tok_s == 240


# --- a whole pricing ---

CHEAP = ApiPrice("acme", "cheap", "Cheap", 0.01, 0.01, None, "list", "2026")
DEAR = ApiPrice("acme", "dear", "Dear", 50.0, 50.0, None, "list", "2026")
SAME = ApiPrice("acme", "same", "Same", 60.0, 60.0, None, "list", "2026")


def test_the_same_model_comes_first_then_the_cheapest() -> None:
    priced = price(make_serving(), make_cost(), Load(), [(DEAR, False), (CHEAP, False), (SAME, True)])
    assert [one.api.model for one in priced.comparisons] == ["same", "cheap", "dear"]
    assert [one.break_even.verdict for one in priced.comparisons] == ["at", "never", "at"]
    assert priced.comparisons[0].blended_usd == pytest.approx(60.0)
    assert priced.at_load is None


def test_an_api_bills_the_same_tokens() -> None:
    uneven = ApiPrice("acme", "uneven", "Uneven", 1.0, 4.0, 0.25, "list", "2026")
    serving = make_serving(output=100, input=300, cached=200)
    (one,) = price(serving, make_cost(), Load(), [(uneven, False)]).comparisons
    assert one.blended_usd == pytest.approx((100 * 1.0 + 200 * 0.25 + 100 * 4.0) / 400)


def test_a_load_in_requests_takes_whole_machines() -> None:
    priced = price(make_serving(), make_cost(), Load(request_rate=6.0), [])
    assert priced.at_load is not None
    assert priced.at_load.machines == 3
    assert priced.at_load.utilisation == pytest.approx(0.8)
    assert priced.at_load.usd_month == pytest.approx(3 * 730)


def test_a_load_as_a_share_is_of_one_machine() -> None:
    priced = price(make_serving(), make_cost(), Load(utilisation=0.3, hours_per_month=720), [])
    assert priced.at_load is not None
    assert (priced.at_load.machines, priced.at_load.utilisation) == (1, 0.3)
    assert priced.at_load.usd_month == pytest.approx(720)
    assert priced.at_load.tokens_month == pytest.approx(240 * 0.3 * 3600 * 720)
    assert [card.utilisation for card in priced.by_utilisation] == [1.0, 0.5, 0.25, 0.1]


def test_other_hardware_stands_on_the_rate_card() -> None:
    assert price(make_serving(), make_cost(), Load(), []).warnings == ()
    other = price(make_serving(), make_cost(), Load(), [], other_hardware=True)
    assert other.warnings == ("other-hardware",)
    assert objections(other) == [f"other-hardware: {CAVEATS['other-hardware']}"]


# --- the article: lytix, "Cost of self hosting Llama-3 8B-Instruct", June 2024 ---

ARTICLE_USD_H, ARTICLE_HOURS = 3.912, 720
ARTICLE = {6.5: 167.18, 60.6: 17.93}
"""Token/s of transformers and of vLLM on four T4, and USD per 1M tokens."""


@pytest.mark.parametrize(("tok_s", "usd"), ARTICLE.items())
def test_the_articles_prices(tok_s: float, usd: float) -> None:
    assert round(usd_per_million(ARTICLE_USD_H, tok_s), 2) == usd
    card = rate_card(make_serving(tok_s / 2, tok_s / 2), make_cost(ARTICLE_USD_H), hours_per_month=ARTICLE_HOURS)
    assert round(card.blended_usd, 2) == usd


def test_the_articles_month() -> None:
    assert round(float(tokens_per_month(60.6, ARTICLE_HOURS))) == 157_075_200
    card = rate_card(make_serving(30.3, 30.3), make_cost(ARTICLE_USD_H), hours_per_month=ARTICLE_HOURS)
    assert round(card.tokens_month) == 157_075_200
    assert card.usd_month == pytest.approx(2816.64)


@pytest.fixture(scope="module", params=ARTICLE)
def article(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[float, dict[str, Any]]:
    """What the command prints of the article's throughput, without overlays of whoever runs the tests."""
    home = tmp_path_factory.mktemp("home")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RACKRATE_")}
    environment |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config")}
    command = [
        sys.executable, "-m", "rackrate", "price", "--tokens-per-second", str(request.param),
        "--offer", "aws/g4dn.12xlarge", "--hours-per-month", str(ARTICLE_HOURS), "--api", "gpt-3.5-turbo", "--json",
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    return request.param, json.loads(ran.stdout)


def test_the_command_gives_the_articles_prices(article: tuple[float, dict[str, Any]]) -> None:
    tok_s, pricing = article
    (machine,) = pricing["machines"]
    assert machine["cost"]["fixed_usd_h"] == 3.912
    assert round(machine["full_load"]["blended_usd"], 2) == ARTICLE[tok_s]
    assert round(machine["full_load"]["tokens_month"]) == round(tok_s * 3600 * 720)
    assert machine["full_load"]["usd_month"] == pytest.approx(2816.64)


def test_the_command_gives_gpt_3_5_turbo_its_dollar(article: tuple[float, dict[str, Any]]) -> None:
    _, pricing = article
    (api,) = pricing["machines"][0]["apis"]
    assert api["api"] == "openai/gpt-3.5-turbo"
    assert round(api["blended_usd_per_1m"], 2) == 1.00
    assert api["break_even"]["verdict"] == "never"  # four T4 at 60.6 token/s never cost a dollar
