"""What `--json` prints is what its schema says: real output, with every key that it has."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from priced_runs import Command
from rackrate.report.present import SUBJECTS
from rackrate.report.render import render
from rackrate.schemas import OUTPUTS, closed, file_name, json_schema

ROOT = Path(__file__).parents[2]
GIVEN = ROOT / "tools" / "figures"
BY_NAME = {output.schema: output for output in OUTPUTS}

SIMULATE = ("simulate", "llama-3-8b-instruct", "--on", "aws/g5.2xlarge")
LINES: dict[str, tuple[object, ...]] = {
    "rackrate.run-summary/2": ("show", "{run}"),
    "rackrate.pricing/2": ("price", "{run}", "--as-if", "--offer", "aws/g4dn.12xlarge", "-u", "0.3"),
    "rackrate.comparison/2": ("side-by-side", "{run}", "{copy}", "--usd-per-hour", "1"),
    "rackrate.compare/1": ("compare", "{run}", "--offer", "aws/c7a.large", "--tokens-per-month", "1e9..2e9"),
    "rackrate.study/1": ("study", "run", ROOT / "studies" / "lytix-2024.yaml", "--draws", "1000"),
    "rackrate.study-diff/1": ("study", "diff", ROOT / "studies" / "lytix-2024.yaml", "--draws", "1000"),
    "rackrate.traffic/1": ("traffic", GIVEN / "azure.csv", "--mean-rate", "5/s", "--over", "2d"),
    "rackrate.fleet/2": ("fleet", "--capacity", "2.5/s", "-t", "9/s", "--lengths", "1000:200", "--usd-per-hour", "2"),
    "rackrate.plan/1": (
        "plan", "llama-3-8b-instruct", "--traffic", "2/s", "--requests", "60", "--offer", "aws/g5.2xlarge",
    ),
    "rackrate.simulated-aggregates/1": (*SIMULATE, "--rate", "1", "--requests", "300", "--aggregates"),
    "rackrate.trace-summary/1": ("trace", GIVEN / "mooncake.jsonl"),
    "rackrate.fit/1": ("fit", "llama-3-8b-instruct", "--on", "t4", "--on", "t4x4"),
    "rackrate.validate/1": ("validate", ROOT / "measurements" / "holdout" / "small_sources_3.csv"),
    "rackrate.energy/1": ("energy", "{run}", "--watts", "310"),
    "rackrate.catalog/1": ("catalog", "offers", "aws/g5"),
    "rackrate.engines/1": ("engines",),
    "rackrate.engine-settings/1": ("engines", "settings", "vllm"),
    "rackrate.doctor/1": ("doctor",),
}  # fmt: skip
"""A small command for each schema; the others need a server, an engine or minutes, and have tests of their own."""


def mistakes(view: Any) -> list[str]:
    """Where a view is not what its schema says: other types, keys that lack, keys that are not named."""
    validator: Any = Draft202012Validator(closed(json_schema(BY_NAME[view["schema"]])))
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in validator.iter_errors(view)
    ]


@pytest.mark.usefixtures("shipped_catalogue")
@pytest.mark.parametrize("schema", LINES)
def test_real_output_is_what_its_schema_says(rackrate: Command, cpu_run: Path, tmp_path: Path, schema: str) -> None:
    copy = shutil.copytree(cpu_run, tmp_path / "copy")
    words = [str(word).format(run=cpu_run, copy=copy) for word in LINES[schema]]
    ran = rackrate(*words, "--json")
    assert ran.code == 0, ran.err
    view = json.loads(ran.out)
    assert view["schema"] == schema
    assert mistakes(view) == []
    assert json.loads(render(view, "json")) == view, "what was kept can be read back"
    for output in ("html", "markdown", "csv", "terminal"):
        assert render(view, output)


@pytest.mark.usefixtures("shipped_catalogue")
def test_a_simulated_run_and_a_report_have_their_schemas(rackrate: Command, cpu_run: Path) -> None:
    for words in ((*SIMULATE, "-c", "2,4", "--requests", "40", "--json"), ("report", cpu_run, "-f", "json")):
        ran = rackrate(*words)
        assert ran.code == 0, ran.err
        assert mistakes(json.loads(ran.out)) == []


def test_a_key_that_is_missing_or_unknown_is_found() -> None:
    view: dict[str, Any] = {"schema": "rackrate.quality/1", "created": "now", "reference": "a", "models": []}
    assert mistakes(view) == []
    assert mistakes({**view, "other": 1}) != []
    del view["reference"]
    assert mistakes(view) != []


def test_every_output_has_a_presenter() -> None:
    without = {output.schema.rpartition("/")[0] for output in OUTPUTS} - set(SUBJECTS)
    assert without == {"rackrate.serve"}, "which tells a program where it is served, and shows a user its log"


def test_the_files_are_those_of_the_types() -> None:
    names: Sequence[str] = [file_name(output) for output in OUTPUTS]
    assert {path.name for path in (ROOT / "docs" / "schemas").glob("*.json")} == set(names)
    for output in OUTPUTS:
        written = json.loads((ROOT / "docs" / "schemas" / file_name(output)).read_text(encoding="utf-8"))
        assert written == json_schema(output), "run `make docs`"
