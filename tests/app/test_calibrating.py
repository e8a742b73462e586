"""Calibrating, verifying and validating as calls: what is refused, and what a calibration says of its own run."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from contexts import context_at
from published_row import ROW
from rackrate.app.calibrating import CalibrateRequest, FitCoefficientsRequest, VerifyRequest, fit_coefficients, verify
from rackrate.app.calibrating import calibrate as calibrated
from rackrate.app.context import Provenance
from rackrate.app.simulate_request import SimulateRequest
from rackrate.app.simulating import simulate
from rackrate.app.validating import ValidateRequest, validate
from rackrate.calibration.document import FILE
from rackrate.errors import CalibrationError, RunError
from rackrate.runs.store import write_run
from rackrate.validation.published import COLUMNS


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "run"
    asked = SimulateRequest("llama-3.1-8b-instruct", on="l40s", levels=(1, 4, 16), requests=60)
    write_run(directory, simulate(asked, context_at(directory)[0]).run)
    return directory


def test_a_simulated_run_is_calibrated_with_only_by_force(simulated: Path, tmp_path: Path) -> None:
    context, listener = context_at(tmp_path)
    with pytest.raises(CalibrationError, match="was simulated") as caught:
        calibrated(CalibrateRequest(simulated), context)
    assert caught.value.field == "force"
    home = replace(context, provenance=Provenance("rackrate calibrate '/home/me/my run' --force", "0.1", "3"))
    document = calibrated(CalibrateRequest(simulated, force=True), home)
    assert document.created == "2026-11-20T12:30:00+00:00"
    assert document.command == "rackrate calibrate my run --force"  # no one's directories
    assert "simulated" in document.caveats
    (tmp_path / FILE).write_text(document.model_dump_json(by_alias=True), encoding="utf-8")
    found = verify(VerifyRequest(simulated, tmp_path), context)
    assert found.name == simulated.name
    assert len(found.checks) >= 9  # three figures of three levels, at least
    assert any("was simulated: what stands as measured is that" in note for note in listener.notes)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    context, _ = context_at(tmp_path)
    with pytest.raises(RunError):
        calibrated(CalibrateRequest(tmp_path / "none"), context)
    with pytest.raises(CalibrationError, match="no such file"):
        verify(VerifyRequest(tmp_path, tmp_path / "none.json"), context)
    with pytest.raises(CalibrationError) as caught:
        fit_coefficients(FitCoefficientsRequest(()), context)
    assert caught.value.field == "data"


def test_rows_are_predicted_with_the_catalogue_of_the_context(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer: csv.DictWriter[str] = csv.DictWriter(file, list[str](COLUMNS))
        writer.writeheader()
        writer.writerows([ROW, {**ROW, "gpu": "unknown"}])
    context, listener = context_at(tmp_path)
    found = validate(ValidateRequest((tmp_path,)), context)
    (result,) = found.files
    assert (result.rows, result.predicted) == (2, 1)
    assert result.left_out == (("the accelerator is not stated", 1),)
    assert found.left_out == found.anchored == ()
    assert listener.notes == ["rows.csv: 2 rows"]
    # a catalogue without the card knows nothing of the row
    catalog = context.catalog
    gpu = found.comparisons[0].case.gpu
    cards = {name: card for name, card in catalog.accelerators.items() if name != gpu}
    without = replace(context, read_catalog=lambda: replace(catalog, accelerators=cards))
    (result,) = validate(ValidateRequest((path,)), without).files
    assert result.predicted == 0
