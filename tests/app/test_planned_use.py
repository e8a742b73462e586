"""What a plan's API prices are weighed by: the hours and lengths of the traffic that it is made for."""

from __future__ import annotations

from pathlib import Path

import pytest

from rackrate.app.plan_request import PlanRequest
from rackrate.app.planned_demand import demand_of
from rackrate.catalog.load import load_catalog
from rackrate.models.read_model import read_model


def test_a_dated_trace_says_its_hours_and_lengths(tmp_path: Path) -> None:
    rows = "".join(f"2026-09-02 03:{minute:02}:00,{1000 * (minute + 1)},50\n" for minute in range(40))
    path = tmp_path / "trace.csv"
    path.write_text("time_s,input_tokens,output_tokens\n" + rows, encoding="utf-8")
    read = read_model("llama-3.1-8b-instruct", load_catalog(), weights_stated=False)
    request = PlanRequest(model="llama-3.1-8b-instruct", traffic=str(path), slo="p95 ttft < 5s")
    use = demand_of(read, request).use
    assert use.day.shares([(180, 240)]) == pytest.approx((1.0, 1.0))
    assert use.prompts is not None
    assert use.prompts.prompt_tokens.tolist() == [1000.0 * (minute + 1) for minute in range(40)]


def test_a_stated_rate_has_no_hours(tmp_path: Path) -> None:
    read = read_model("llama-3.1-8b-instruct", load_catalog(), weights_stated=False)
    request = PlanRequest(
        model="llama-3.1-8b-instruct", traffic="2/s", slo="p95 ttft < 5s", input_tokens="700", output_tokens="90"
    )
    use = demand_of(read, request).use
    assert use.day.shares([(0, 60)]) == pytest.approx((1 / 24, 1 / 24))
    assert use.prompts is not None
    assert use.prompts.prompt_tokens.tolist() == [700]
