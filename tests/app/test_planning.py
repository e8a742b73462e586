"""Planning as a call: the ranking, its explanation, what refuses it, and which field is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contexts import context_at
from rackrate.app.plan_request import PlanRequest
from rackrate.app.planning import plan
from rackrate.app.request_json import from_json, to_json
from rackrate.errors import UserError

ASKED = PlanRequest("llama-3-8b-instruct", "2/s", offers=("aws/g5.2xlarge", "aws/g6.xlarge"), requests=60)


def test_offers_are_ranked_and_the_cheapest_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    context, listener = context_at(tmp_path)
    found = plan(ASKED, context)
    assert found.refusal is None
    costs = [row.usd_month for row in found.plan.rows]
    assert costs == sorted(costs)
    assert len(costs) == 2
    assert found.explanation[-1].value == pytest.approx(found.plan.rows[0].usd_per_1m)
    assert {what for what, _, _ in listener.steps} == {"candidates"}
    assert capsys.readouterr() == ("", "")  # a use case prints nothing


def test_the_row_that_is_asked_for_is_explained(tmp_path: Path) -> None:
    context, _ = context_at(tmp_path)
    for offer in ASKED.offers:
        found = plan(replace(ASKED, explain=offer), context)
        row = next(row for row in found.plan.rows if row.candidate.offer.id == offer)
        assert found.explanation[-1].value == pytest.approx(row.usd_per_1m)


def test_an_empty_ranking_says_what_to_change(tmp_path: Path) -> None:
    context, _ = context_at(tmp_path)
    found = plan(replace(ASKED, slo="p95 tpot < 0.1ms"), context)
    assert found.explanation == ()
    assert found.refusal is not None
    assert found.refusal.fields == ("slo", "weights")
    assert "nearest is" in str(found.refusal)
    large = plan(replace(ASKED, model="llama-3-70b-instruct"), context)
    assert large.refusal is not None
    assert "fits none of the" in str(large.refusal)


def test_a_plan_is_asked_for_in_json() -> None:
    asked = replace(ASKED, trace=Path("given/t.csv"), weights=("awq", "fp8"), peak=2.5)
    assert from_json(PlanRequest, to_json(asked)) == asked


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"rows": 0}, ("rows",)),
        ({"requests": 19}, ("requests",)),
        ({"spares": -1}, ("spares",)),
        ({"hours_per_month": 0.0}, ("hours_per_month",)),
        ({"price_kinds": ("cheap",)}, ("price_kinds",)),
        ({"peak": 0.5}, ("peak",)),
        ({"traffic": "lots"}, ("traffic",)),
        ({"arrivals": "ramp:1-9@9"}, ("arrivals", "traffic", "peak")),
        ({"cached_share": "most"}, ("cached_share",)),
        ({"anchor": "l4:1:2"}, ("anchor",)),
        ({"anchor": "l4:1:2", "calibration": Path("x")}, ("anchor", "calibration")),
        ({"input_tokens": "9000"}, ("longest",)),
    ],
)
def test_the_field_that_is_wrong_is_named(tmp_path: Path, changes: dict[str, object], fields: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        plan(replace(ASKED, **changes), context_at(tmp_path)[0])  # pyright: ignore[reportArgumentType]
    assert caught.value.fields == fields
    assert "--" not in str(caught.value)
