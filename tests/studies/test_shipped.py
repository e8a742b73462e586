"""The studies that come with the project: every number of the article, recomputed here by hand in exact fractions."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from rackrate.catalog.load import load_catalog
from rackrate.studies.diff import compare_results
from rackrate.studies.evaluate import evaluate
from rackrate.studies.loading import load_study, with_draws
from rackrate.studies.results import StudyResult

STUDIES = Path(__file__).parents[2] / "studies"

MONTH_H = 720
USD_H = Fraction("3.912")
TOKENS = Fraction("60.6") * 3600 * MONTH_H
RIG = 4 * 700 + 1000

# claim: verdict, and the number that follows (to the cent, or to the last digit shown)
EXPECTED: dict[str, tuple[str, Fraction | None]] = {
    "one-t4-machine": ("reproduced", Fraction(1)),
    "does-not-fit-one-t4": ("reproduced", Fraction(1)),
    "sixteen-xlarge-gpus": ("does not follow", Fraction(1)),
    "sixteen-xlarge-vcpus": ("does not follow", Fraction(64)),
    "sixteen-xlarge-memory": ("does not follow", Fraction(256)),
    "g5dn-price": ("cannot be checked", None),
    "which-machine-it-was": ("reproduced", USD_H),
    "first-tokens-per-second": ("reproduced", Fraction(39, 6)),
    "first-tokens-per-month": ("reproduced", Fraction(16_848_000)),
    "first-price": ("reproduced", USD_H * MONTH_H / 16_848_000 * 10**6),
    "gpt-35-at-one-to-one": ("reproduced", Fraction(1)),
    "second-tokens-per-second": ("cannot be checked", None),
    "second-tokens-per-month": ("reproduced", Fraction(157_075_200)),
    "second-price": ("does not follow", USD_H * MONTH_H / TOKENS * 10**6),
    "loss-per-day": ("does not follow", (USD_H * MONTH_H - TOKENS / 10**6) / 30),
    "rig-price": ("reproduced", Fraction(3800)),
    "energy": ("cannot be checked", None),
    "energy-implies-300-w": ("does not follow", Fraction(50) / (Fraction(300, 1000) * MONTH_H)),
    "energy-implies-360-w": ("reproduced", Fraction(50) / (Fraction(360, 1000) * MONTH_H)),
    "rig-month": ("cannot be checked", None),
    "rig-price-per-million": ("does not follow", 100 / TOKENS * 10**6),
    "rig-price-with-rig": ("does not follow", (Fraction(RIG, 60) + 100) / TOKENS * 10**6),
    "gpt-35-month": ("reproduced", TOKENS / 10**6),
    "profit": ("reproduced", TOKENS / 10**6 - 100),
    "break-even-months": ("reproduced", RIG / (TOKENS / 10**6 - 100)),
    "significantly-cheaper": ("does not follow", Fraction(0)),
    "break-even-years": ("reproduced", RIG / (TOKENS / 10**6 - 100) / 12),
    "break-even-at-the-headline-price": ("does not follow", RIG / (TOKENS / 10**6 - TOKENS / 10**8)),
}


@pytest.fixture(scope="module")
def article() -> StudyResult:
    return evaluate(with_draws(load_study(STUDIES / "lytix-2024.yaml"), 10_000, None), load_catalog())


def test_every_claim_has_its_verdict_and_its_number(article: StudyResult) -> None:
    claims = {claim.id: claim for claim in article.claims}
    for name, (verdict, number) in EXPECTED.items():
        claim = claims[name]
        assert claim.verdict == verdict, name
        if number is None:
            assert claim.computed is None
            assert claim.missing
        else:
            assert claim.computed is not None
            assert claim.computed.value == pytest.approx(float(number), rel=1e-12), name
    assert set(claims) - set(EXPECTED) == {"capacity"}  # the one with a range
    assert article.warnings == ()


@pytest.mark.parametrize(
    ("claim", "shown"),
    [
        ("first-price", "167.18"), ("second-price", "17.93"), ("loss-per-day", "88.65"),
        ("rig-price-per-million", "0.64"),
        ("rig-price-with-rig", "1.04"), ("gpt-35-month", "157.08"), ("break-even-months", "66.58"),
        ("energy-implies-300-w", "0.23"), ("energy-implies-360-w", "0.19"),
        ("break-even-at-the-headline-price", "24.44"),
    ],
)  # fmt: skip
def test_to_the_cent(article: StudyResult, claim: str, shown: str) -> None:
    (found,) = [item for item in article.claims if item.id == claim]
    assert found.computed is not None
    assert f"{found.computed.value:.2f}" == shown


def test_at_least_five_claims_do_not_follow(article: StudyResult) -> None:
    wrong = [claim for claim in article.claims if claim.verdict == "does not follow"]
    assert len(wrong) >= 5
    assert all(claim.computed is not None for claim in wrong)


def test_one_request_at_a_time_is_not_what_four_cards_can_do(article: StudyResult) -> None:
    (claim,) = [claim for claim in article.claims if claim.id == "capacity"]
    assert claim.verdict == "does not follow"
    assert claim.computed is not None
    assert (claim.computed.low, claim.computed.high) == pytest.approx((4 * 346, 4 * 493), rel=1e-3)


def test_the_questions_are_answered(article: StudyResult) -> None:
    answers = {question.id: question for question in article.questions}
    plain = answers["as-the-article-asks"]
    by_name = {row.name: row for row in plain.rows}
    rented = by_name["g4dn.12xlarge, one request at a time"]
    assert rented.usd_month.value == pytest.approx(2816.64)
    assert rented.usd_per_1m.value == pytest.approx(17.93, abs=0.005)
    rig = by_name["the rig, one request at a time"].crossing
    assert rig is not None
    assert rig.payback_months is not None
    assert rig.payback_months.value == pytest.approx(66.58, abs=0.005)
    assert plain.verdict == "api"
    assert answers["asked-properly-2024"].verdict == "api"
    (groq,) = [row for row in answers["asked-properly-2024"].rows if row.name == "Groq"]
    assert groq.usd_per_1m.value == pytest.approx(0.10)  # its price of June 2024, whatever the mix
    assert groq.same_model is True
    (gpt,) = [row for row in answers["asked-properly-2024"].rows if row.name == "gpt-3.5-turbo"]
    assert gpt.same_model is False


def test_todays_prices_change_figures_and_no_verdict(article: StudyResult) -> None:
    after = evaluate(with_draws(load_study(STUDIES / "lytix-2024.yaml"), 10_000, None), load_catalog(), "2026-11-23")
    changes = compare_results(article, after)
    assert not [change for change in changes if change.flipped]
    (full,) = [change for change in changes if change.id == "asked-properly-full-2024"]
    assert "api; cheapest: Groq" in full.before
    assert ("Groq", pytest.approx(0.1), pytest.approx(0.0614, abs=1e-3)) in full.figures
    assert all(not change.figures for change in changes if change.kind == "claim")
    assert compare_results(article, article)[0].flipped is False


def test_the_study_of_h100s_is_answered() -> None:
    result = evaluate(with_draws(load_study(STUDIES / "on-prem-vs-api.yaml"), 10_000, None), load_catalog())
    assert result.warnings == ()
    assert [claim.verdict for claim in result.claims] == ["reproduced"]
    for question in result.questions:
        kinds = {row.kind for row in question.rows}
        assert kinds >= {"rented", "owned", "api"}
        assert question.verdict in {"api", "too close to call", "self-hosting"}
        for row in question.rows:
            assert row.usd_month.value is not None
            assert row.source
            assert row.date or row.kind == "owned"
            if row.is_api:
                assert row.same_model is (row.name != "gpt-6-luna")
    small, large = result.questions[0], result.questions[1]
    mine = {row.name: row.usd_per_1m.value or 0.0 for row in small.rows}
    theirs = {row.name: row.usd_per_1m.value or 0.0 for row in large.rows}
    assert mine["on premises"] > theirs["on premises"]  # fuller machines, cheaper tokens
    assert mine["Novita"] == pytest.approx(theirs["Novita"])
