"""Simulating as a call: what comes back, what the run remembers, what is told on the way, which field is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from contexts import context_at
from rackrate.app.request_json import from_json
from rackrate.app.simulate_request import SimulateRequest
from rackrate.app.simulating import simulate, simulate_aggregates
from rackrate.errors import UserError
from rackrate.runs.store import read_run, write_run

ASKED = SimulateRequest("llama-3-8b-instruct", on="aws/g5.2xlarge", levels=(2, 4), requests=40)


def test_a_run_is_of_the_clock_and_remembers_what_was_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = simulate(ASKED, context_at(tmp_path)[0])
    header = found.run.header
    assert (header.created, header.command, header.state) == ("2026-11-20T12:30:00+00:00", "a test", "complete")
    assert [level.concurrency for level in found.levels] == [2, 4, 4]
    assert found.saturation is not None
    assert from_json(SimulateRequest, json.loads(json.dumps(header.request))) == ASKED
    assert capsys.readouterr() == ("", "")  # a use case prints nothing
    write_run(tmp_path / "run", found.run)
    again = read_run(tmp_path / "run")
    assert from_json(SimulateRequest, again.header.request or {}) == ASKED
    assert len(again.requests) == len(found.run.requests)


def test_the_same_request_gives_the_same_run(tmp_path: Path) -> None:
    asked = replace(ASKED, levels=(), rates=(1.0,), arrivals="gamma:2")
    first, second = (simulate(asked, context_at(tmp_path)[0]) for _ in range(2))
    assert list(first.run.requests) == list(second.run.requests)
    other = simulate(replace(asked, seed=1), context_at(tmp_path)[0])
    assert list(other.run.requests) != list(first.run.requests)


def test_aggregates_say_how_far_they_are(tmp_path: Path) -> None:
    context, listener = context_at(tmp_path)
    found = simulate_aggregates(replace(ASKED, levels=(), rates=(1.0,), requests=50_000, output_tokens="4"), context)
    (level,) = found.levels
    assert level.outcome.requests == 50_000
    assert level.slo_met is None
    assert {(what, of) for what, _, of in listener.steps} == {("requests at 1/s", 50_000)}
    done = [step for _, step, _ in listener.steps]
    assert done == sorted(done)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"rates": (1.0,)}, ("rates", "levels")),
        ({"requests": 0}, ("requests",)),
        ({"cached_share": 1.0}, ("cached_share",)),
        ({"router": "fastest"}, ("router",)),
        ({"on": None}, ("on", "calibration")),
        ({"tp": 3}, ("tp", "on")),
        ({"autoscale": "8"}, ("autoscale",)),
        ({"slo": "fast"}, ("slo",)),
        ({"arrivals": "gamma:2"}, ("arrivals", "rates")),
        ({"input_tokens": "many"}, ("input_tokens",)),
        ({"longest": 100}, ("longest", "trace")),
    ],
)
def test_the_field_that_is_wrong_is_named(tmp_path: Path, changes: dict[str, object], fields: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        simulate(replace(ASKED, **changes), context_at(tmp_path)[0])  # pyright: ignore[reportArgumentType]
    assert caught.value.fields == fields
    assert not any(f"--{field.replace('_', '-')}" in str(caught.value) for field in fields)


def test_aggregates_are_of_open_loops(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is of open loops") as caught:
        simulate_aggregates(ASKED, context_at(tmp_path)[0])
    assert "levels" in caught.value.fields
