"""Questions against sums done by hand and a Monte Carlo of the test's own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rackrate.catalog.apis import api_price
from rackrate.catalog.load import load_catalog
from rackrate.catalog.types import last_day, moment
from rackrate.economics.uncertainty import Estimate
from rackrate.errors import UserError
from rackrate.studies.evaluate import evaluate
from rackrate.studies.loading import load_study
from rackrate.studies.prices import TypedPrice, api_at, offer_at
from rackrate.studies.results import AlternativeRow, QuestionResult

HOURS = 730.0
BOX = {"name": "box", "model": "m", "usd_per_hour": 2.0, "tokens_per_second": 1000}
API: dict[str, Any] = {
    "name": "api",
    "model": "m",
    "prices": [{"date": "2026-01", "source": "a list", "input_usd_per_1m": 0.5, "output_usd_per_1m": 1.5}],
}
CAPACITY = 1000 * 3600 * HOURS


def ask(
    tmp_path: Path, scenarios: list[dict[str, Any]], traffic: dict[str, Any], *, as_of: str | None = None, **more: Any
) -> QuestionResult:
    question = {"id": "q", "asks": "which", "traffic": traffic, **more.pop("question", {})}
    study = {"study": "t", "title": "a test", "draws": 20_000, "scenarios": scenarios, "questions": [question], **more}
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    return evaluate(load_study(path), load_catalog(), as_of).questions[0]


def row(question: QuestionResult, name: str) -> AlternativeRow:
    (found,) = [row for row in question.rows if row.name == name]
    return found


def test_a_month_by_hand(tmp_path: Path) -> None:
    """1,000M tokens, a quarter input: 250 x 0.5 + 750 x 1.5 = 1,250 USD; a box does 2,628M a month for 1,460."""
    answer = ask(tmp_path, [BOX, API], {"tokens_per_month": 1e9, "input_share": 0.25})
    api, box = answer.rows
    assert (api.name, api.usd_month.value, api.usd_per_1m.value) == ("api", 1250.0, 1.25)
    assert (box.usd_month.value, box.machines and box.machines.value) == (1460.0, 1.0)
    assert box.utilisation is not None
    assert box.utilisation.value == pytest.approx(1e9 / CAPACITY)
    assert (answer.verdict, answer.p_self_cheaper) == ("api", 0.0)
    assert (api.same_model, api.p_cheapest, box.p_cheapest) == (True, 1.0, 0.0)
    crossing = box.crossing
    assert crossing is not None
    assert crossing.tokens_per_month.value is not None
    assert crossing.tokens_per_month.value == pytest.approx(1460 / 1.25e-6)
    assert crossing.tokens_per_month.value * 1.25e-6 == pytest.approx(1460)  # the fleet's cost there
    assert crossing.verdict == "at"
    assert crossing.payback_months is None


def test_a_price_by_length_is_each_draw_s_own(tmp_path: Path) -> None:
    """gpt-6-luna is dearer over 272,000 tokens in: 0.1 and 0.5 become 0.2 and 0.75; half the draws are longer."""
    luna = {"name": "luna", "api": "openai/gpt-6-luna"}

    def month(input_tokens: object) -> Estimate:
        traffic = {"requests_per_day": 1000, "input_tokens": input_tokens, "output_tokens": 100}
        return row(ask(tmp_path, [BOX, luna], traffic, as_of="2026-11-20"), "luna").usd_month

    days = HOURS / 24
    short, long = month(272_000), month(272_001)
    assert short.value == pytest.approx(days * (272 * 0.1 + 0.1 * 0.5))
    assert long.value == pytest.approx(days * (272.001 * 0.2 + 0.1 * 0.75))
    both = month({"uniform": [262_000, 282_000]})
    assert both.low is not None
    assert both.high is not None
    assert both.low == pytest.approx(days * (264 * 0.1 + 0.1 * 0.5), rel=1e-3)
    assert both.high == pytest.approx(days * (280 * 0.2 + 0.1 * 0.75), rel=1e-3)


def test_a_price_by_the_hour_goes_by_the_profile(tmp_path: Path) -> None:
    api = {"name": "deepseek", "api": "deepseek/deepseek-v4-pro"}
    traffic = {"tokens_per_month": 1e9, "input_share": 1}
    night = [0.0] * 24
    night[2] = 1.0
    flat = row(ask(tmp_path, [BOX, api], traffic, as_of="2026-11-20"), "deepseek")
    peak = row(ask(tmp_path, [BOX, api], {**traffic, "profile": night}, as_of="2026-11-20"), "deepseek")
    assert flat.usd_per_1m.value == pytest.approx(0.66 * (1 + 7 / 24))
    assert peak.usd_per_1m.value == pytest.approx(1.32)
    assert any("weighed over the whole week" in note for note in flat.notes)
    assert any("weighed by the profile's hours, read as UTC" in note for note in peak.notes)


def test_an_api_that_is_gone_is_marked_and_priced_at_its_date(tmp_path: Path) -> None:
    turbo = {"name": "turbo", "api": "openai/gpt-3.5-turbo"}
    today, then = (
        row(ask(tmp_path, [BOX, turbo], {"tokens_per_month": 1e9}, as_of=date), "turbo")
        for date in ("2026-12-01", "2025-12-01")
    )
    assert (today.status, today.ends, then.status) == ("ended", "2026-10-23", "live")
    assert any("its price is history" in note for note in today.notes)


def test_whole_machines_for_the_peak_of_a_profile(tmp_path: Path) -> None:
    """Half the day three times the other half's rate: the peak is 1.5 x the mean; 80 % load makes it 1.875 x."""
    traffic = {"tokens_per_month": 0.6 * CAPACITY, "profile": [1] * 12 + [3] * 12}
    answer = ask(tmp_path, [{**BOX, "max_load": 0.8}, API], traffic)
    assert answer.peak_to_mean == pytest.approx(1.5)
    machines = row(answer, "box").machines
    assert machines is not None
    assert machines.value == math.ceil(0.6 * 1.5 / 0.8)


def test_the_hybrid_of_a_question(tmp_path: Path) -> None:
    """One slot in 24 asks for ten times as much: a machine for the base, the API for the peak, worked by hand."""
    profile = [1.0] * 23 + [10.0]
    tokens = 33 * 1000 * 3600 * HOURS / 24  # a base slot fills one machine exactly
    api = {**API, "prices": [{**API["prices"][0], "input_usd_per_1m": 0.6, "output_usd_per_1m": 0.6}]}
    answer = ask(tmp_path, [BOX, api], {"tokens_per_month": tokens, "profile": profile})
    crossing = row(answer, "box").crossing
    assert crossing is not None
    split = crossing.hybrid
    assert split is not None
    assert (split.verdict, split.machines) == ("hybrid", 1)
    assert split.self_hosted_share == pytest.approx(24 / 33)
    by_hand = 2 * HOURS + tokens * 9 / 33 * 0.6e-6
    assert split.usd == pytest.approx(by_hand)
    assert crossing.hybrid_usd_month is not None
    assert crossing.hybrid_usd_month.low == pytest.approx(by_hand)  # nothing here is uncertain


def test_intervals_and_probabilities_are_those_of_another_monte_carlo(tmp_path: Path) -> None:
    """Speed and volume uncertain; a million plain draws with NumPy's own distributions."""
    box = {**BOX, "tokens_per_second": [500, 2000]}
    answer = ask(tmp_path, [box, API], {"tokens_per_month": [1e9, 4e9], "input_share": 0.5})
    draw = np.random.default_rng(5)
    z90 = 1.2815515655446004
    speed = np.exp(draw.normal(math.log(1000), math.log(4) / 2 / z90, 1_000_000))
    tokens = np.exp(draw.normal(math.log(2e9), math.log(4) / 2 / z90, 1_000_000))
    usd = np.ceil(tokens / (speed * 3600 * HOURS)) * 2 * HOURS
    bill = tokens * 1e-6
    box_row = row(answer, "box")
    assert box_row.p_beats_api == pytest.approx(float(np.mean(usd < bill)), abs=0.01)
    assert answer.p_self_cheaper == box_row.p_beats_api
    assert box_row.usd_month.low == pytest.approx(np.quantile(usd, 0.1))
    assert box_row.usd_month.high == pytest.approx(np.quantile(usd, 0.9))
    low, high = np.quantile(usd / tokens * 1e6, [0.1, 0.9])
    assert (box_row.usd_per_1m.low, box_row.usd_per_1m.high) == pytest.approx((low, high), rel=0.02)
    crossing = box_row.crossing
    assert crossing is not None
    first = np.where(speed * 3600 * HOURS >= 1460 / 1e-6, 1460 / 1e-6, np.inf)
    assert crossing.tokens_per_month.finite_share == pytest.approx(float(np.mean(np.isfinite(first))), abs=0.01)


def test_shared_inputs_are_drawn_once(tmp_path: Path) -> None:
    """Two machines of the same uncertain speed: the dearer one is never the cheaper one."""
    scenarios = [
        {**BOX, "name": "a", "usd_per_hour": 2.0, "tokens_per_second": "speed"},
        {**BOX, "name": "b", "usd_per_hour": 2.1, "tokens_per_second": "speed"},
    ]
    answer = ask(tmp_path, scenarios, {"tokens_per_month": 5e9}, inputs={"speed": {"value": [300, 3000]}})
    assert row(answer, "a").p_cheapest == 1.0
    assert answer.verdict == "not compared"


def test_an_owned_machine_pays_back_as_the_ledger_says(tmp_path: Path) -> None:
    own = {
        "name": "own",
        "model": "m",
        "tokens_per_second": 1000,
        "own": {"capex_usd": 10_000, "life_years": 5, "other_usd_per_month": 250},
    }
    question = {"discount_rate": 0.1, "api_price_decline": 0.2}
    answer = ask(tmp_path, [own, API], {"tokens_per_month": 1e9, "input_share": 0.25}, question=question)
    crossing = row(answer, "own").crossing
    assert crossing is not None
    assert crossing.payback_months is not None
    assert crossing.payback_months.value == pytest.approx(10_000 / (1250 - 250))
    assert crossing.life_months == 60
    owed, month = 10_000.0, 0
    while owed > 0:
        month += 1
        owed -= (1250 * 0.8 ** ((month - 1) / 12) - 250) * 1.1 ** (-month / 12)
    assert crossing.payback_discounted_months is not None
    assert crossing.payback_discounted_months.value == pytest.approx(month, abs=1)
    owned = row(answer, "own")
    assert owned.usd_month.value == pytest.approx(10_000 / 5 / 8760 * HOURS + 250)


def test_discounts_ratios_cached_tokens_and_batch(tmp_path: Path) -> None:
    traffic = {"requests_per_day": 1000, "input_tokens": 2000, "output_tokens": 500, "cached_share": 0.5}
    listed = api_price("openai/gpt-4o-mini", load_catalog(), moment("2026-11-20"))
    batched = api_price("openai/gpt-4o-mini", load_catalog(), moment("2026-11-20"), batch=True)
    assert listed.cached_input_usd_per_1m is not None
    assert (batched.batch, listed.batch) == (True, False)
    assert batched.input_usd_per_1m == pytest.approx(listed.input_usd_per_1m / 2)
    scenarios = [
        {"name": "list", "api": "openai/gpt-4o-mini"},
        {"name": "deal", "api": "openai/gpt-4o-mini", "discount": 0.2, "tokenizer_ratio": 0.9},
        {"name": "batch", "api": "openai/gpt-4o-mini", "batch": True},
        {"name": "no batch", "api": "groq/llama3-8b-8192", "batch": True},
    ]
    answer = ask(tmp_path, scenarios, traffic, as_of="2026-11-20")
    requests = 1000 * HOURS / 24
    bill = listed.bill_usd(requests * 2000, requests * 500, requests * 1000)
    assert row(answer, "list").usd_month.value == pytest.approx(bill)
    assert row(answer, "deal").usd_month.value == pytest.approx(bill * 0.8 * 0.9)
    assert row(answer, "batch").usd_month.value == pytest.approx(
        batched.bill_usd(requests * 2000, requests * 500, requests * 1000)
    )
    assert any("no batch price" in note for note in row(answer, "no batch").notes)


def test_another_model_does_not_decide(tmp_path: Path) -> None:
    other = {"name": "other", "api": "openai/gpt-6-luna"}
    box = {**BOX, "model": "llama-3-8b-instruct"}
    same = {**API, "model": "llama-3-8b-instruct"}
    answer = ask(tmp_path, [box, same, other], {"tokens_per_month": 1e9}, as_of="2026-11-20")
    assert row(answer, "other").same_model is False
    assert answer.rows[0].name == "other"  # it is listed, and cheapest
    assert answer.compared == ("box", "api")
    alone = ask(tmp_path, [box, other], {"tokens_per_month": 1e9}, as_of="2026-11-20")
    assert alone.compared == ("box", "other")
    assert any("another model" in note for note in alone.notes)


def test_the_api_that_one_would_really_use(tmp_path: Path) -> None:
    dear = {**API, "name": "dear", "prices": [{**API["prices"][0], "output_usd_per_1m": 4.5}]}
    traffic = {"tokens_per_month": 1e9, "input_share": 0.5}
    assert ask(tmp_path, [BOX, API, dear], traffic).compared == ("box", "api")
    answer = ask(tmp_path, [BOX, API, dear], traffic, question={"against": "dear"})
    assert (answer.compared, answer.verdict, answer.p_self_cheaper) == (("box", "dear"), "self-hosting", 1.0)
    with pytest.raises(UserError, match="did you mean dear"):
        ask(tmp_path, [BOX, API, dear], traffic, question={"against": "deer"})
    with pytest.raises(UserError, match="no API of this question is called 'box'"):
        ask(tmp_path, [BOX, API], traffic, question={"against": "box"})


def test_rate_limits_are_held_against_the_peak(tmp_path: Path) -> None:
    limited = {**API, "rate_limit": {"tokens_per_minute": 50_000}}
    answer = ask(tmp_path, [limited], {"tokens_per_month": 1e9, "peak_to_mean": 3})
    (note,) = answer.rows[0].notes
    assert note.startswith("over the rate limit")
    assert f"{1e9 / HOURS / 60 * 3:,.0f}" in note


def test_always_and_never(tmp_path: Path) -> None:
    free = ask(tmp_path, [{**BOX, "usd_per_hour": 0}, API], {"tokens_per_month": 1e6})
    crossing = row(free, "box").crossing
    assert crossing is not None
    assert (crossing.verdict, free.verdict, free.p_self_cheaper) == ("always", "self-hosting", 1.0)
    dear = row(ask(tmp_path, [{**BOX, "usd_per_hour": 20}, API], {"tokens_per_month": 1e6}), "box").crossing
    assert dear is not None
    assert (dear.verdict, dear.tokens_per_month.value) == ("never", None)


def test_spot_prices_are_the_range_that_was_seen(tmp_path: Path) -> None:
    spot = {"name": "spot", "model": "m", "offer": "aws/g4dn.12xlarge", "price_kind": "spot", "tokens_per_second": 1000}
    month = row(ask(tmp_path, [spot, API], {"tokens_per_month": 1e9}), "spot").usd_month
    low, high = load_catalog().offer("aws/g4dn.12xlarge").price.spot_usd_h or (0.0, 0.0)
    # 0.2 to 1 interruptions a month are assumed, 3 minutes each: in the middle 0.6 x 0.05 h / 730 h do not serve
    serves = 1 - 0.6 * 0.05 / 730
    assert month.value == pytest.approx((low + high) / 2 * HOURS / serves, rel=1e-9)
    assert month.low == pytest.approx((low + 0.1 * (high - low)) * HOURS / serves, rel=1e-3)


def test_interruptions_make_a_machine_s_hours_dearer(tmp_path: Path) -> None:
    calm = {"name": "calm", "model": "m", "usd_per_hour": 1.0, "tokens_per_second": 1000}
    # 73 times a month an hour is lost: a tenth of 730
    rough = {**calm, "name": "rough", "interruptions_per_month": 73, "recovery_s": 3600}
    answer = ask(tmp_path, [calm, rough, API], {"tokens_per_month": 1e9})
    assert row(answer, "calm").usd_month.value == pytest.approx(HOURS)
    assert row(answer, "rough").usd_month.value == pytest.approx(HOURS / 0.9)


def test_spares_are_bought_and_sold_with_the_machine(tmp_path: Path) -> None:
    own = {"capex_usd": 7300, "resale_usd": 730, "life_years": 1}
    box = {"name": "box", "model": "m", "own": own, "tokens_per_second": 1000}
    spared = {**box, "name": "spared", "own": {**own, "spare_share": 0.1}}
    answer = ask(tmp_path, [box, spared, API], {"tokens_per_month": 1e6})
    item = row(answer, "box").usd_month.value
    assert item == pytest.approx((7300 - 730) / 8760 * HOURS)
    assert row(answer, "spared").usd_month.value == pytest.approx(1.1 * (item or 0))


def test_a_figure_outside_its_interval_says_why(tmp_path: Path) -> None:
    # the median needs 0.95 of a machine, and nearly half of the draws a second one: per token that leaps
    speed = 1e9 / (HOURS * 3600) / 0.95
    box = {"name": "box", "model": "m", "usd_per_hour": 1.0, "tokens_per_second": speed}
    answer = ask(tmp_path, [box, API], {"tokens_per_month": [0.5e9, 2e9]})
    item = row(answer, "box")
    per_1m = item.usd_per_1m
    assert per_1m.value is not None
    assert per_1m.low is not None
    outside = per_1m.value < per_1m.low
    assert outside is any("go by the interval" in note for note in item.notes)
    assert outside
    assert "1 machine is enough, but in 46% of the draws it takes more" in item.notes[-1]


def test_the_difference_of_the_two_that_are_compared_has_its_interval(tmp_path: Path) -> None:
    box = {"name": "box", "model": "m", "usd_per_hour": [0.5, 2.0], "tokens_per_second": 1000}
    answer = ask(tmp_path, [box, API], {"tokens_per_month": 1e9})
    apart, month, api = answer.difference_usd_month, row(answer, "box").usd_month, row(answer, "api").usd_month.value
    assert apart is not None
    assert api is not None
    # the API's bill is exact, so the interval is the machine's, moved
    for got, of in ((apart.value, month.value), (apart.low, month.low), (apart.high, month.high)):
        assert of is not None
        assert got == pytest.approx(of - api)


def test_traffic_from_a_file_is_the_same_traffic_written_out(tmp_path: Path) -> None:
    # two days by the hour: nights of 10 requests, days of 30, one hour of 60; 100 tokens in (20 cached), 50 out
    hours = [10 if hour % 24 < 12 else 30 for hour in range(48)]
    hours[40] = 60
    header = "start_time,end_time,num_model_requests,model,input_tokens,input_cached_tokens,output_tokens"
    rows = [
        f"{1760313600 + 3600 * i},{1760313600 + 3600 * (i + 1)},{n},gpt-x,{100 * n},{20 * n},{50 * n}"
        for i, n in enumerate(hours)
    ]
    (tmp_path / "usage.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    mean = sum(hours) / 48
    profile = [(hours[h] + hours[h + 24]) / 2 / mean for h in range(24)]
    written = {
        "requests_per_day": mean * 24,
        "input_tokens": 100,
        "output_tokens": 50,
        "cached_share": 0.2,
        "profile": profile,
        "peak_to_mean": 60 / mean / max(profile),
    }
    box = {**BOX, "tokens_per_second": 1.5}
    of_file = ask(tmp_path, [box, API], {"file": "usage.csv"})
    by_hand = ask(tmp_path, [box, API], written)
    for name in ("box", "api"):
        item, other = row(of_file, name), row(by_hand, name)
        assert item.usd_month.value == pytest.approx(other.usd_month.value)
        assert item.usd_per_1m.value == pytest.approx(other.usd_per_1m.value)
    assert of_file.peak_to_mean == pytest.approx(60 / mean)
    machines = row(of_file, "box").machines
    assert machines is not None
    assert machines.value == math.ceil(60 * 150 / 3600 / 1.5)
    assert any("usage.csv" in note for note in of_file.notes)
    double = ask(tmp_path, [box, API], {"file": "usage.csv", "requests_per_day": mean * 48})
    assert row(double, "api").usd_month.value == pytest.approx(2 * (row(of_file, "api").usd_month.value or 0))


def test_a_traffic_file_that_cannot_be_is_said_with_both_places(tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text("t_s,rate\n0,5\n600,3\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"t\.yaml:\d+:\d+: .*rates\.csv: does not say how long requests are"):
        ask(tmp_path, [BOX, API], {"file": "rates.csv"})
    (tmp_path / "trace.csv").write_text("time_s,input_tokens,output_tokens\n5,1,1\n0,1,1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"t\.yaml:\d+:\d+: .*trace\.csv:3: column time_s: 0 is earlier"):
        ask(tmp_path, [BOX, API], {"file": "trace.csv"})
    with pytest.raises(UserError, match=r"usage_model goes with file"):
        ask(tmp_path, [BOX, API], {"tokens_per_month": 1e9, "usage_model": "gpt"})
    answer = ask(tmp_path, [BOX, API], {"file": "rates.csv", "input_tokens": 100, "output_tokens": 50})
    assert answer.tokens_month.value == pytest.approx(4 * HOURS * 3600 * 150)


def test_output_rates_say_nothing_of_traffic_without_output(tmp_path: Path) -> None:
    box = {"name": "box", "model": "m", "usd_per_hour": 2.0, "output_tokens_per_second": 1000}
    with pytest.raises(UserError, match="without output"):
        ask(tmp_path, [box, API], {"tokens_per_month": 1e9, "input_share": 1})
    answer = ask(tmp_path, [box, API], {"tokens_per_month": 1e9, "input_share": 0.75})
    used = row(answer, "box").utilisation
    assert used is not None
    assert used.value == pytest.approx(0.25e9 / CAPACITY)


# --- prices at a date ---


def test_offers_have_the_price_of_the_date() -> None:
    offer = load_catalog().offer("aws/p5.48xlarge")
    assert offer_at(offer, "on-demand", "2025-06").cost.fixed_usd_h == 98.32
    now = offer_at(offer, "on-demand", "2026-11-23")
    assert (now.cost.fixed_usd_h, now.note) == (55.04, None)
    early = offer_at(offer, "on-demand", "2024-01-01")
    assert early.cost.fixed_usd_h == 98.32
    assert early.note is not None
    assert "2025-03-02" in early.note


def test_apis_have_the_price_of_the_date() -> None:
    """The list dates this one: 0.05 and 0.05 until 2026-10-18, then 0.02 and 0.05."""
    name = "novita/meta-llama/llama-3.1-8b-instruct"
    after = api_at(name, load_catalog(), "2026-11-01")
    assert after.listed is not None
    assert (after.listed.input_usd_per_1m, after.listed.since, after.note) == (0.02, "2026-10-18", None)
    before = api_at(name, load_catalog(), "2026-10-01")
    assert before.listed is not None
    assert before.listed.input_usd_per_1m == 0.05
    assert before.note is not None  # the list does not say since when


def test_a_studys_own_price_holds_until_the_lists_is_younger() -> None:
    typed = [TypedPrice("2024-06", "then", 0), TypedPrice("2025-02", "later", 1)]
    name = "novita/meta-llama/llama-3.1-8b-instruct"
    assert api_at(name, load_catalog(), "2024-07", typed).typed == typed[0]
    assert api_at(name, load_catalog(), "2025-02-28", typed).typed == typed[1]
    assert api_at(name, load_catalog(), "2026-11-01", typed).listed is not None
    alone = api_at(None, load_catalog(), "2020", typed)
    assert alone.typed == typed[0]
    assert alone.note is not None


@pytest.mark.parametrize(
    ("partial", "last"), [("2024", "2024-12-31"), ("2024-02", "2024-02-29"), ("2025-12", "2025-12-31")]
)
def test_a_partial_date_ends(partial: str, last: str) -> None:
    assert last_day(partial) == last


def test_a_file_of_tokens_is_the_same_load_in_a_month_of_any_length(tmp_path: Path) -> None:
    """30 M tokens in ten days are 34.7 token/s, whether a month has 720 hours or 730."""
    names = "usage_date_utc,model_version,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,"
    names += "usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens"
    rows = [f"2026-03-{day:02},m,2000000,0,0,0,1000000" for day in range(1, 11)]
    (tmp_path / "usage.csv").write_text("\n".join([names, *rows]) + "\n", encoding="utf-8")
    for hours in (672, 720, 730, 744):
        used = row(ask(tmp_path, [BOX, API], {"file": "usage.csv"}, hours_per_month=hours), "box").utilisation
        assert used is not None
        assert used.value == pytest.approx(30e6 / (10 * 86_400) / 1000)


def test_of_two_that_cost_the_same_each_is_the_cheapest(tmp_path: Path) -> None:
    same = [{"name": name, "api": "openai/gpt-6-luna"} for name in ("one", "other")]
    answer = ask(tmp_path, [BOX, *same], {"tokens_per_month": 1e8}, as_of="2026-11-20")
    assert [row(answer, name).p_cheapest for name in ("one", "other")] == [1.0, 1.0]


def test_each_request_of_a_trace_pays_the_price_of_its_length(tmp_path: Path) -> None:
    """Half the prompts are over 272,000 tokens, where gpt-6-luna is dearer; their mean is not."""
    rows = [f"{second},{300_000 if second % 2 else 1000},500" for second in range(600)]
    (tmp_path / "trace.csv").write_text("\n".join(["time_s,input_tokens,output_tokens", *rows]) + "\n")
    luna = {"name": "luna", "api": "openai/gpt-6-luna"}
    found = row(ask(tmp_path, [BOX, luna], {"file": "trace.csv"}, as_of="2026-11-20"), "luna")
    usd = (300_000 * 0.2 + 500 * 0.75 + 1000 * 0.1 + 500 * 0.5) / (300_000 + 1000 + 2 * 500)
    assert found.usd_per_1m.value == pytest.approx(usd)
    stated = {"file": "trace.csv", "input_tokens": 1000, "output_tokens": 500}
    short = row(ask(tmp_path, [BOX, luna], stated, as_of="2026-11-20"), "luna")
    assert short.usd_per_1m.value == pytest.approx((1000 * 0.1 + 500 * 0.5) / 1500)
