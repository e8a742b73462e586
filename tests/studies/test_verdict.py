"""The verdict against a ledger of the test's own, and against the payback beside it: the two can never disagree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rackrate.catalog.load import load_catalog
from rackrate.errors import UserError
from rackrate.studies.diff import compare_results
from rackrate.studies.documents import Study
from rackrate.studies.evaluate import evaluate
from rackrate.studies.loading import Loaded
from rackrate.studies.results import AlternativeRow, QuestionResult

CATALOG = load_catalog()
LIST: dict[str, Any] = {"date": "2026-01", "source": "a list"}


def asked(scenarios: list[dict[str, Any]], question: dict[str, Any]) -> QuestionResult:
    study = Study.model_validate(
        {
            "study": "t", "title": "a test", "draws": 1000, "prices_as_of": "2026-11-20", "scenarios": scenarios,
            "questions": [{"id": "q", "asks": "which", **question}],
        }
    )  # fmt: skip
    return evaluate(Loaded(Path("t.yaml"), study, ()), CATALOG).questions[0]


def row(question: QuestionResult, name: str) -> AlternativeRow:
    (found,) = [row for row in question.rows if row.name == name]
    return found


def rig(name: str = "rig", **more: Any) -> dict[str, Any]:
    """24,000 USD over four years; energy and hosting as in a rig file."""
    own = {
        "capex_usd": 24_000, "life_years": 4, "resale_usd": 3000, "discount_rate": 0.07, "idle_w": 300, "busy_w": 1100,
        "pue": 1.3, "usd_per_kwh": 0.17, "hosting_usd_per_kw_month": 100, **more,
    }  # fmt: skip
    return {"name": name, "model": "m", "tokens_per_second": 1500, "max_load": 0.8, "own": own}


API: dict[str, Any] = {
    "name": "api", "model": "m", "discount": 0.05, "tokenizer_ratio": 1.07,
    "prices": [{**LIST, "input_usd_per_1m": 0.8, "output_usd_per_1m": 2.4, "cached_input_usd_per_1m": 0.2}],
}  # fmt: skip
TRAFFIC: dict[str, Any] = {
    "requests_per_day": 40_000, "input_tokens": 900, "output_tokens": 250, "cached_share": 0.3, "peak_to_mean": 1.4,
}  # fmt: skip


def test_a_price_that_falls_fast_turns_the_verdict() -> None:
    """The API falls 90 % a year. In the first month the rig is half its price; over four years it is nearly 4 times."""
    answer = asked([rig(), API], {"traffic": TRAFFIC, "discount_rate": 0.09, "api_price_decline": 0.9})
    assert (answer.verdict, answer.p_self_cheaper) == ("api", 0.0)
    assert answer.horizon is not None
    assert (answer.horizon.months, answer.horizon.life_of) == (48.0, "rig")
    assert answer.horizon.p_self_cheaper_first_month == 1.0
    crossing = row(answer, "rig").crossing
    assert crossing is not None
    assert crossing.payback_discounted_months is not None
    assert crossing.payback_discounted_months.value is None
    assert crossing.payback_months is not None
    assert crossing.payback_months.value == pytest.approx(19.5, abs=1)  # at today's prices
    # by hand: 48 payments at month ends, discounted at 9 % a year
    worth = [1.09 ** (-month / 12) for month in range(1, 49)]
    bill = row(answer, "api").usd_month.value or 0.0
    falling = sum(bill * 0.1 ** ((month - 1) / 12) * w for month, w in zip(range(1, 49), worth, strict=True))
    level = row(answer, "api").levelised_usd_month
    assert level is not None
    assert level.value == pytest.approx(falling / sum(worth), rel=1e-9)


def test_without_anything_bought_the_month_decides_unless_a_horizon_is_stated() -> None:
    box = {"name": "box", "model": "m", "tokens_per_second": 1500, "usd_per_hour": 1.5}
    falls = {"traffic": TRAFFIC, "api_price_decline": 0.9}
    answer = asked([box, API], falls)
    assert (answer.horizon, answer.verdict) == (None, "self-hosting")
    assert any("horizon_years" in note for note in answer.notes)
    answer = asked([box, API], {**falls, "horizon_years": 3})
    assert answer.horizon is not None
    assert (answer.horizon.months, answer.horizon.life_of, answer.verdict) == (36.0, None, "api")
    month = asked([box, API], {**falls, "horizon_years": 1 / 12})
    assert month.verdict == "self-hosting"
    assert [row.levelised_usd_month for row in month.rows] == [row.usd_month for row in month.rows]


def present_value(capex: float, resale: float, running: float, rate: float, months: int) -> float:
    """Of owning a machine for its life, payment by payment."""
    paid = sum(running * (1 + rate) ** (-month / 12) for month in range(1, months + 1))
    return capex - resale * (1 + rate) ** (-months / 12) + paid


SHARE = st.floats(0, 0.95)


@settings(deadline=None, max_examples=80)
@given(
    capex=st.floats(100, 1e5), left=SHARE, years=st.integers(1, 8), rate=st.floats(0, 0.3), running=st.floats(0, 3000),
    decline=st.floats(-0.3, 0.95), bill=st.floats(1, 1e4),
)  # fmt: skip
def test_verdict_and_payback_follow_the_ledger(
    capex: float, left: float, years: int, rate: float, running: float, decline: float, bill: float
) -> None:
    """One rig with one busy month of anything, one API of a stated bill: present values, payment by payment."""
    own = {
        "capex_usd": capex, "life_years": years, "resale_usd": left * capex, "discount_rate": rate,
        "other_usd_per_month": running,
    }  # fmt: skip
    mine = {"name": "rig", "model": "m", "tokens_per_second": 1000, "own": own}
    price = {**LIST, "input_usd_per_1m": bill / 1000, "output_usd_per_1m": bill / 1000}
    answer = asked(
        [mine, {"name": "api", "model": "m", "prices": [price]}],
        {"traffic": {"tokens_per_month": 1e9}, "api_price_decline": decline},
    )
    months = 12 * years
    owning = present_value(capex, left * capex, running, rate, months)
    using = sum(
        bill * (1 - decline) ** ((month - 1) / 12) * (1 + rate) ** (-month / 12) for month in range(1, months + 1)
    )
    assume(abs(owning - using) > 1e-9 * using)
    assert answer.verdict == ("self-hosting" if owning < using else "api")
    crossing = row(answer, "rig").crossing
    assert crossing is not None
    kept = crossing.payback_discounted_months
    assert kept is not None
    assert (kept.value is not None) == (owning < using)
    if kept.value is not None:
        assert 0 <= kept.value <= months * (1 + 1e-9)
        owed = capex
        for month in range(1, int(kept.value) + 1):
            owed -= (bill * (1 - decline) ** ((month - 1) / 12) - running) * (1 + rate) ** (-month / 12)
        if kept.value < months - 1e-6 and kept.value != int(kept.value):
            assert owed >= -1e-6 * capex  # not sooner


@settings(deadline=None, max_examples=60)
@given(
    capex=st.floats(1000, 1e5), spread=st.floats(1.05, 3), years=st.floats(1, 8), own_rate=st.floats(0, 0.2),
    rate=st.one_of(st.none(), st.floats(0, 0.2)), decline=st.floats(-0.2, 0.9), fast=st.floats(200, 5000),
    cached=st.floats(0, 0.95), peak=st.floats(1, 3), horizon=st.one_of(st.none(), st.floats(0.1, 10)),
    price=st.floats(0.01, 5), rent=st.floats(0.5, 20),
)  # fmt: skip
def test_no_study_says_both_that_it_pays_and_that_it_does_not(
    capex: float, spread: float, years: float, own_rate: float, rate: float | None, decline: float, fast: float,
    cached: float, peak: float, horizon: float | None, price: float, rent: float,
) -> None:  # fmt: skip
    """Two rigs, a rented box and two APIs: whatever is said of a rig, its payback says the same, draw by draw."""
    machines = [
        rig(
            "cheap", capex_usd=[capex / spread, capex * spread], resale_usd=0, life_years=years, discount_rate=own_rate
        ),
        rig("dear", capex_usd=2 * capex, resale_usd=0, life_years=2 * years, discount_rate=own_rate / 2),
        {"name": "box", "model": "m", "usd_per_hour": rent, "tokens_per_second": fast},
    ]
    for machine in machines:
        machine["tokens_per_second"] = fast
    sold = [{**API, "name": name, "prices": [{**LIST, "input_usd_per_1m": usd, "output_usd_per_1m": 3 * usd}]}
            for name, usd in (("api", price), ("other", 2 * price))]  # fmt: skip
    question: dict[str, Any] = {
        "traffic": {**TRAFFIC, "cached_share": cached, "peak_to_mean": peak}, "api_price_decline": decline,
        "against": "api",
        **({"discount_rate": rate} if rate is not None else {}),
        **({"horizon_years": horizon} if horizon is not None else {}),
    }  # fmt: skip
    answer = asked([*machines, *sold], question)
    assert answer.horizon is not None
    for name in ("cheap", "dear"):
        found = row(answer, name)
        crossing = found.crossing
        assert crossing is not None
        kept, level = crossing.payback_discounted_months, found.levelised_usd_month
        against = row(answer, "api").levelised_usd_month
        assert kept is not None
        assert level is not None
        assert against is not None
        assert (kept.value is not None) == ((level.value or 0.0) < (against.value or 0.0))
        assert kept.finite_share == pytest.approx(found.p_beats_api, abs=1e-12)
        assert kept.value is None or kept.value <= answer.horizon.months * (1 + 1e-9)
    assert answer.compared is not None
    best = row(answer, answer.compared[0])
    assert answer.p_self_cheaper == best.p_beats_api
    assert answer.rows == tuple(
        sorted(answer.rows, key=lambda each: (each.levelised_usd_month or each.usd_month).value or 0)
    )
    apart = answer.difference_usd_month
    assert apart is not None
    assert answer.tornado is not None
    assert apart.value == pytest.approx(answer.tornado.outcome, rel=1e-9, abs=1e-6)


def test_the_limit_that_forbids_is_named() -> None:
    """The rig would pay if it were busier than the peak and max_load allow (28 %). Flat traffic breaks even there."""
    profile = [1, 1, 1, 1, 1, 1, 2, 4, 7, 9, 10, 10, 9, 9, 10, 10, 9, 7, 5, 4, 3, 2, 2, 1]
    slow = {**rig(), "tokens_per_second": 600}
    peaky = row(asked([slow, API], {"traffic": {**TRAFFIC, "profile": profile}}), "rig").crossing
    assert peaky is not None
    assert peaky.verdict == "limited"
    flat = row(asked([{**slow, "max_load": 1}, API], {"traffic": {**TRAFFIC, "peak_to_mean": 1}}), "rig").crossing
    assert flat is not None
    assert flat.verdict == "at"
    assert peaky.unlimited_tokens_per_month == pytest.approx(flat.tokens_per_month.value)
    assert peaky.unlimited_utilisation == pytest.approx(flat.utilisation.value)
    assert peaky.most_utilisation == pytest.approx(0.8 / (1.4 * 10 * 24 / sum(profile)))
    assert (peaky.unlimited_utilisation or 0) > peaky.most_utilisation
    dear = row(asked([rig(capex_usd=1e6), API], {"traffic": TRAFFIC}), "rig").crossing
    assert dear is not None
    assert (dear.verdict, dear.unlimited_tokens_per_month) == ("never", None)  # however full


def busy(answer: QuestionResult, name: str = "rig") -> float:
    used = row(answer, name).utilisation
    assert used is not None
    assert used.value is not None
    return used.value


@pytest.mark.parametrize("cached", [0.0, 0.3, 0.9])
def test_cached_input_takes_no_time_of_a_machine(cached: float) -> None:
    """1.4 G tokens a month on 1,500 new input and output token/s: 35 % busy without a cache, 10 % with 90 % of it."""
    answer = asked([rig(), API], {"traffic": {**TRAFFIC, "cached_share": cached}})
    requests = 40_000 / 86_400
    assert busy(answer) == pytest.approx(requests * (900 * (1 - cached) + 250) / 1500)
    assert any("Cached input takes no time" in note for note in answer.notes) == (cached > 0)


@pytest.mark.parametrize(
    ("rates", "seconds"),
    [
        ({"tokens_per_second": 1500}, (900 + 250) / 1500),
        ({"input_tokens_per_second": 9000, "output_tokens_per_second": 500}, 900 / 9000 + 250 / 500),
        ({"output_tokens_per_second": 500, "measured_input_per_output": 3.6}, 250 / 500),
        ({"output_tokens_per_second": 500, "measured_input_per_output": 1}, (900 + 250) / 1000),
        ({"output_tokens_per_second": 500}, 250 / 500),
    ],
)
def test_throughput_as_it_was_measured(rates: dict[str, float], seconds: float) -> None:
    """Requests of 900 + 250 tokens, by the busy seconds of one."""
    machine = {**rig(), **rates}
    if "tokens_per_second" not in rates:
        del machine["tokens_per_second"]
    answer = asked([machine, API], {"traffic": {**TRAFFIC, "cached_share": 0}})
    assert busy(answer) == pytest.approx(40_000 / 86_400 * seconds)
    notes = " ".join(row(answer, "rig").notes)
    assert ("taken as measured with this traffic's 3.6" in notes) == (rates == {"output_tokens_per_second": 500})
    assert ("measured at 1 new input tokens" in notes) == (rates.get("measured_input_per_output") == 1)


def test_prompts_are_never_free() -> None:
    """With a rate of output alone, prompts that are twice as long are twice the work."""
    machine = {**rig(), "output_tokens_per_second": 500}
    del machine["tokens_per_second"]
    share = {"traffic": {"tokens_per_month": 1.4e9, "input_share": [0.5, 0.9]}}
    used = row(asked([machine, API], share), "rig").utilisation
    assert used is not None
    # the machine's tokens are as many, whatever they are: the share moves the API's bill alone
    assert (used.low, used.high) == (pytest.approx(used.value), pytest.approx(used.value))
    longer = asked([machine, API], {"traffic": {**TRAFFIC, "input_tokens": [450, 1800]}})
    drawn = row(longer, "rig").utilisation
    assert drawn is not None
    assert (drawn.high or 0) > 1.3 * (drawn.value or 0)


def test_what_says_nothing_of_a_machine_is_refused() -> None:
    box = {"name": "box", "model": "m", "usd_per_hour": 1, "tokens_per_second": 100}
    with pytest.raises(UserError, match="cached input, which takes no time"):
        asked([box, API], {"traffic": {"tokens_per_month": 1e9, "input_share": 1, "cached_share": 1}})
    for more, said in (
        ({"input_tokens_per_second": 9}, "goes with output_tokens_per_second"),
        ({"measured_input_per_output": 9}, "goes with output_tokens_per_second"),
    ):
        with pytest.raises(ValueError, match=said):
            asked([{**box, **more}, API], {"traffic": TRAFFIC})


def test_todays_prices_flip_a_verdict() -> None:
    """An API that asked 10 USD per 1M in January asks a cent in June."""
    prices = [
        {"date": date, "source": "a list", "input_usd_per_1m": usd, "output_usd_per_1m": usd}
        for date, usd in (("2026-01-01", 10), ("2026-06-01", 0.01))
    ]
    study = Study.model_validate(
        {
            "study": "t", "title": "a test", "draws": 1000, "scenarios": [rig(), {**API, "prices": prices}],
            "questions": [{"id": "q", "asks": "which", "traffic": TRAFFIC}],
        }
    )  # fmt: skip
    before, after = (evaluate(Loaded(Path("t.yaml"), study, ()), CATALOG, day) for day in ("2026-02-01", "2026-07-01"))
    (change,) = compare_results(before, after)
    assert change.flipped
    assert change.before.startswith("self-hosting; cheapest: rig")
    assert change.after.startswith("api; cheapest: api")
