"""`rackrate import`, and the other commands on what it wrote."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from rackrate.cli import main
from rackrate.runs.store import read_run

DATA = Path(__file__).parents[1] / "importers" / "data"


def rackrate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str | Path
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["rackrate", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.mark.parametrize(
    "file", ["vllm-detailed.json", "vllm-summary.json", "guidellm.json", "aiperf/profile_export.jsonl"]
)
def test_a_result_is_shown_priced_and_reported_like_a_run(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ("import", DATA / file, "--out", run, "--on", "aws/g5.xlarge", "--model", "llama-3.1-8b-instruct", "--json")
    code, out, err = rackrate(monkeypatch, capsys, *words)
    assert code == 0
    view = cast("dict[str, Any]", json.loads(out))
    assert view["schema"] == "rackrate.run-summary/2"
    assert view["provenance"]["origin"] == "imported"
    assert view["provenance"]["machine"]["offer"] == "aws/g5.xlarge"
    assert view["provenance"]["model"]["catalogue_id"] == "llama-3.1-8b-instruct"
    assert f"rackrate price {run}" in err
    # `show` reads back what `import` said, and what the tool measures otherwise is printed
    assert rackrate(monkeypatch, capsys, "show", run, "--json")[1] == out
    shown = rackrate(monkeypatch, capsys, "show", run)[1]
    for note in view["provenance"]["imported"]["notes"]:
        assert note in " ".join(shown.split())
    assert "Not known, since the imported file does not tell: client-bound" in shown

    code, out, err = rackrate(monkeypatch, capsys, "price", run, "--force", "--json")
    assert code == 0
    prices = cast("dict[str, Any]", json.loads(out))
    [machine] = prices["machines"]
    assert machine["cost"]["name"] == "aws/g5.xlarge"
    serving, cost = prices["serving"], machine["cost"]
    served = serving["output_tok_s"] + (serving["input_tok_s"] or 0)
    hourly = cost["fixed_usd_h"] + cost["busy_usd_h"]
    assert machine["full_load"]["blended_usd"] == pytest.approx(hourly / 3600 / served * 1e6, rel=1e-3)
    assert " imported" in serving["origin"]
    for kind in ("html", "md", "csv", "json"):
        code, out, err = rackrate(monkeypatch, capsys, "report", run, "--force", "-o", tmp_path / f"report.{kind}")
        assert (code, out) == (0, "")
        text = (tmp_path / f"report.{kind}").read_text()
        assert "None tokens" not in text
        assert "imported" in text or kind == "csv"


def test_what_is_no_capacity_needs_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert (
        rackrate(monkeypatch, capsys, "import", DATA / "vllm-one.json", "--out", run, "--on", "aws/g5.xlarge")[0] == 0
    )
    code, _, err = rackrate(monkeypatch, capsys, "price", run)
    assert code == 2
    assert "batch-1" in err
    assert "totals-only" in err
    assert rackrate(monkeypatch, capsys, "price", run, "--force")[0] == 0


def test_several_files_are_one_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    code, out, _ = rackrate(
        monkeypatch, capsys, "import", DATA / "vllm-one.json", DATA / "vllm-detailed.json", "--out", run, "--json"
    )
    assert code == 0
    view = cast("dict[str, Any]", json.loads(out))
    assert [level["concurrency"] for level in view["levels"]] == [1, 2]
    assert view["saturation"]["concurrency"] == 2
    kept = read_run(run)
    assert kept.header.command.startswith("rackrate import")
    assert {record.level for record in kept.requests} == {1}


def test_bad_input_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    cut = tmp_path / "cut.json"
    cut.write_bytes((DATA / "guidellm.json").read_bytes()[:-100])
    shutil.copytree(DATA, tmp_path / "data")
    for words, says in [
        ((tmp_path / "nothing.json",), "no such file"),
        ((cut,), "cut off"),
        ((tmp_path / "data",), "is a directory"),
        ((DATA / "aiperf.truth.jsonl",), "is not a result of"),
        ((DATA / "guidellm.json", DATA / "vllm-one.json"), "import them as runs of their own"),
        ((DATA / "guidellm.json", "--on", "aws/g5.xlrge"), "did you mean"),
        ((DATA / "guidellm.json", DATA / "guidellm.json"), "names"),
        ((DATA / "guidellm.json", tmp_path / "data" / "guidellm.json"), "would be counted twice"),
        ((), "Missing argument"),
    ]:
        code, out, err = rackrate(monkeypatch, capsys, "import", *words, "--out", run)
        assert (code, out) == (2, "")
        assert says in err
        assert err.count("\n") == 1
        assert not run.exists()
    assert rackrate(monkeypatch, capsys, "import", DATA / "guidellm.json", "--out", run)[0] == 0
    code, _, err = rackrate(monkeypatch, capsys, "import", DATA / "guidellm.json", "--out", run)
    assert code == 2
    assert "already holds a run" in err


def test_without_a_machine_the_price_asks_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    code, _, err = rackrate(monkeypatch, capsys, "import", DATA / "vllm-detailed.json", "--out", run)
    assert code == 0
    assert "--on" in err
    code, _, err = rackrate(monkeypatch, capsys, "price", run, "--force")
    assert code == 2
    assert "--as-if" in err
    assert rackrate(monkeypatch, capsys, "price", run, "--force", "--offer", "aws/g5.xlarge", "--as-if")[0] == 0
