"""`rackrate validate`, `calibrate` and `verify` on small files and on everything that can be wrong with them."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from published_row import ROW
from rackrate.cli import main
from rackrate.validation.published import COLUMNS


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit code of the command line."""
    monkeypatch.setattr(sys, "argv", ["rackrate", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    more = [{**ROW, "concurrency_or_rate": f"conc={n}", "output_tok_s": str(50 * n)} for n in (2, 8, 32)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer: csv.DictWriter[str] = csv.DictWriter(file, list[str](COLUMNS))
        writer.writeheader()
        writer.writerows([ROW, *more, {**ROW, "gpu": "unknown"}])
    return path


def test_validate_prints_errors_and_what_it_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rows: Path
) -> None:
    assert run(monkeypatch, "validate", str(rows)) == 0
    shown = capsys.readouterr()
    assert "4 of 5 rows predicted" in shown.out
    assert "Left out: 1 (the accelerator is not stated)" in shown.out
    assert "throughput (static batch, offline, closed loop, over capacity)" in shown.out


def test_validate_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rows: Path) -> None:
    assert run(monkeypatch, "validate", str(rows), "--json", "--anchor") == 0
    view: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert view["schema"] == "rackrate.validate/1"
    assert view["files"] == [
        {
            "name": "rows.csv",
            "rows": 5,
            "predicted": 4,
            "left_out": [{"reason": "the accelerator is not stated", "count": 1}],
        }
    ]
    by_class = {row["class"]: row for row in view["classes"]}
    assert by_class["throughput"]["figures"] == 4
    for row in view["rows"]:
        assert row["low"] < row["predicted"] < row["high"]
    assert view["anchored"][0]["figures"] == 3


def test_validate_writes_a_page(monkeypatch: pytest.MonkeyPatch, rows: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert run(monkeypatch, "validate", str(rows), "-o", str(page)) == 0
    assert "| t4 |" in page.read_text(encoding="utf-8")


def test_rows_of_other_authors_are_shown_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rows: Path
) -> None:
    assert run(monkeypatch, "validate", str(rows), "--other", str(rows.parent), "--json") == 0
    view = json.loads(capsys.readouterr().out)
    (other,) = view["left_out_groups"]
    assert other["way"] == "other"
    assert {class_name["class"]: class_name["figures"] for class_name in other["classes"]} == {
        class_name["class"]: class_name["figures"] for class_name in view["classes"]
    }
    assert run(monkeypatch, "validate", str(rows), "--other", str(rows.parent)) == 0
    assert "which no fit has seen" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["validate", "none.csv"], "none.csv: no such file"),
        (["calibrate", "fit"], "needs --data FOLDER"),
        (["calibrate", "fit", "--data", "nowhere"], "nowhere: no such directory"),
        (["calibrate", "nowhere"], "nowhere"),
        (["verify", "nowhere", "--calibration", "none.json"], "none.json: no such file"),
    ],
)
def test_bad_input_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *arguments) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert len(err.strip().splitlines()) == 1


def test_a_fit_of_too_few_rows_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rows: Path
) -> None:
    assert run(monkeypatch, "calibrate", "fit", "--data", str(rows.parent)) == 2
    assert "at least 50 are needed" in capsys.readouterr().err
