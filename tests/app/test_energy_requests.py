"""The energy of a run as a use case: stated watts, ranges of figures, runs without a sensor."""

from __future__ import annotations

from pathlib import Path

import pytest

from priced_runs import CPU, write_run
from rackrate.app.context import Context, Provenance
from rackrate.app.energy import EnergyRequest, energy
from rackrate.app.request_json import from_json, to_json
from rackrate.catalog.load import load_catalog
from rackrate.errors import UserError
from rackrate.report.present import present

CONTEXT = Context(load_catalog, Provenance("test", "0", "3"), Path("/nonexistent"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", CPU)


def test_stated_watts_over_the_tokens_of_the_window(run: Path) -> None:
    """Joules per token are watts over tokens per second, whatever the window."""
    from rackrate.metrics.summary import summarise
    from rackrate.runs.store import read_run

    found = energy(EnergyRequest(run, watts=300.0, usd_per_kwh=0.36), CONTEXT)
    assert len(found.levels) > 0
    for level, summary in zip(found.levels, summarise(read_run(run)), strict=True):
        rate = (summary.input_tok_s or 0) + (summary.output_tok_s or 0)
        assert level.watts == pytest.approx(300)
        assert level.joules_per_token == pytest.approx(300 / rate)
        assert level.usd_per_1m == pytest.approx(300 / rate * 0.1)  # 1e6 J at 0.36 USD a 3.6e6 J
    assert len(present(found).tables()[0].rows) == len(found.levels)


@pytest.mark.parametrize(
    ("request_", "field"), [({"watts": -3.0}, "watts"), ({"watts": 3.0, "pue": 0.9}, "pue"), ({}, "watts")]
)
def test_what_cannot_be_used_names_its_field(run: Path, request_: dict[str, float], field: str) -> None:
    with pytest.raises(UserError) as caught:
        energy(EnergyRequest(run, **request_), CONTEXT)
    assert caught.value.field == field


def test_the_request_is_json(run: Path) -> None:
    request = EnergyRequest(run, watts=3.0)
    assert from_json(EnergyRequest, to_json(request)) == request


@pytest.mark.parametrize("watts", [None, 300.0])
def test_what_is_no_run_is_not_said_to_lack_a_sensor(tmp_path: Path, watts: float | None) -> None:
    with pytest.raises(UserError, match="no such run directory"):
        energy(EnergyRequest(tmp_path / "nowhere", watts=watts), CONTEXT)
