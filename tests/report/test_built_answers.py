"""Answers that need an engine, a server or minutes, built by hand: their JSON is what its schema says, and every output
draws them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from test_schemas import mistakes

from priced_runs import Command
from rackrate.app.calibrating import FittedCoefficients, Verification
from rackrate.app.energy import LevelEnergy, RunEnergy
from rackrate.app.quality import FormatQuality
from rackrate.app.serving import Launchable
from rackrate.app.tokens import TokenCheck
from rackrate.app.tuning import TuneAnswer
from rackrate.calibration.document import CalibrationFile, Residual
from rackrate.calibration.verification import Check
from rackrate.engines.process import EngineCommand
from rackrate.engines.quality import Quality
from rackrate.engines.weights import Weights
from rackrate.measurement.token_check import Checked, Sample
from rackrate.report.checks_view import serve_view
from rackrate.report.render import render
from rackrate.runs.records import Engine, Machine, RunHeader, ServedModel, WorkloadFacts
from rackrate.schemas.checks import ClassErrors, FileErrors, UsedCoefficients, ValidateView
from rackrate.steptime.coefficient_file import shipped
from rackrate.tuning.search import Alone, Result, Trial, Tuned, Worth

CALIBRATION = CalibrationFile(
    created="2026-12-01", command="rackrate calibrate", rackrate_version="1", run="box", run_created="2026-11-30",
    model="llama-3-8b-instruct", accelerator="t4", machine="1 x t4", hardware_known=True, engine="vLLM", weights="fp16",
    tensor_parallel=1, slots=256, threads=None, coefficients={"memory": -0.1}, spreads={"memory": 0.02},
    residuals=(Residual(load="4 in flight", figure="output_tok_s", measured=100.0, predicted=103.0),),
)  # fmt: skip
HEADER = RunHeader(
    created="2026-12-01", command="rackrate measure", rackrate_version="1", python_version="3", state="complete",
    model=ServedModel(requested="m"), engine=Engine(name="vLLM", url=None), machine=Machine(origin="detected"),
    workload=WorkloadFacts(input_tokens=64, output_tokens=64, endpoint="chat", seed=0),
)  # fmt: skip
TUNED = Tuned(
    trials=(
        Trial(1, "default", {"batch": 1}, Result(100.0, 16, run="runs/1"), 20.0),
        Trial(2, "search", {"batch": 2}, Result(None, None, "did not start"), 3.0),
    ),
    default={"batch": 1}, best={"batch": 2}, default_tok_s=(100.0, 102.0), best_tok_s=(120.0,),
    default_runs=("runs/1",), gain=0.19,
    gain_interval=(0.1, 0.25), worth=(Worth("batch", 2, 1, 101.0, 0.18),), alone=(Alone("batch", 2, (120.0,), 0.19),),
    ended="budget",
)  # fmt: skip
FACTS = {
    "engine": "llamacpp", "model": "m", "machine": "2 x CPU", "directory": "runs/tune", "slo": None,
    "concurrency": [16], "input_tokens": 128, "output_tokens": 128, "seconds": 15.0,
}  # fmt: skip
PRICES = {"machine": "aws/c7a.large", "usd_h": 0.1, "default_usd_per_1m": 0.3, "best_usd_per_1m": 0.25}
ANSWERS: dict[str, object] = {
    "rackrate.calibration/2": CALIBRATION,
    "rackrate.coefficients/1": FittedCoefficients(shipped(), None),
    "rackrate.energy/1": RunEnergy(
        "runs/a", "NVML", 0.146, 1.2,
        (LevelEnergy(0, "closed", 4, 10.0, 3000.0, 300.0, 0.5, 1.0, 0.02),
         LevelEnergy(1, "prefill", 4, None, None, None, None, None, None)),
    ),
    "rackrate.quality/1": FormatQuality(
        "2026-12-01", "m",
        (Quality("m", 12.0, 4000, None, None, None, None, None),
         Quality("m:Q4_0", 12.6, 4000, 1.05, (1.04, 1.06), 0.97, 40, 50)),
    ),
    "rackrate.tokens/1": TokenCheck(
        "http://127.0.0.1:8000", "m", (Sample("a b", "c", 9, 2, True),), (Checked("own", 2, 1, 7.0, 0.0, 0.0),)
    ),
    "rackrate.tune/1": TuneAnswer(TUNED, FACTS, PRICES),
    "rackrate.verify/2": Verification(
        CALIBRATION, HEADER, "other",
        (Check("4 in flight", "output_tok_s", 100.0, 110.0, 90.0, 120.0, ("contended",)),
         Check("4 in flight", "tpot_s", 0.02, 0.03, None, None, ())),
    ),
}  # fmt: skip


@pytest.mark.parametrize("schema", ANSWERS)
def test_a_built_answer_is_what_its_schema_says_and_every_output_draws_it(schema: str) -> None:
    answer = ANSWERS[schema]
    view: dict[str, Any] = json.loads(render(answer, "json"))
    assert view["schema"] == schema
    assert mistakes(view) == []
    assert json.loads(render(view, "json")) == view, "what was kept can be read back"
    for output in ("html", "markdown", "csv", "terminal"):
        assert render(answer, output)


def test_what_serves_says_so_with_and_without_having_started() -> None:
    command = EngineCommand("fake", None, ["fake", "m"], {"A": "b"}, "127.0.0.1", 8000, "/", "m", {"slots": 4})
    launchable = Launchable("fake", "as asked for", command, Weights(Path("m.gguf"), None, "Q4_0", None), Path("log"))
    planned, ready = json.loads(render(launchable, "json")), json.loads(render(serve_view(launchable, 3.0), "json"))
    assert mistakes(planned) == mistakes(ready) == []
    assert ready == {**planned, "ready_s": 3.0, "log": "log"}
    assert planned["url"] == "http://127.0.0.1:8000"


def test_what_verify_sums_up_is_of_the_differences_in_its_table() -> None:
    """+431.7 and +63.1 %: their median is 247.4 %; 100 x |ln| would say 108 and 167 %."""
    checks = (
        Check("1", "ttft_s", 1.0, 5.317, None, None, ()),
        Check("2", "ttft_s", 1.0, 1.631, None, None, ()),
        Check("1", "tpot_s", 1.0, 0.12, None, None, ()),
    )
    answer = Verification(CALIBRATION, HEADER, "other", checks)
    text = render(answer, "markdown")
    assert "TTFT p50, ms: 247.4 % off in the median, 431.7 % at most" in text
    assert "-88.0 %" in text
    assert "TPOT p50, ms: 88.0 % off in the median, 88.0 % at most" in text
    assert "proves nothing" not in text
    errors = json.loads(render(answer, "json"))["errors"]["ttft_s"]
    assert errors["largest"] == pytest.approx(math.log(5.317))
    assert errors["largest_off"] == pytest.approx(4.317)
    same = HEADER.model_copy(update={"created": CALIBRATION.run_created})
    assert "proves nothing" in render(Verification(CALIBRATION, same, "box", checks), "markdown")


def test_errors_of_validate_are_true_per_cents() -> None:
    """A median |ln| of 0.57 is 76.8 %, as the larger of two figures is above the smaller."""
    row = ClassErrors("throughput", 9, 0.57, 1.87, -0.219, 3, 0.1, 0.8, "throughput")
    view = ValidateView(
        UsedCoefficients("2026-11-28", 2912, "fit", ()), [FileErrors("a.csv", 9, 9, ())], [row], [], [], [], [], [], []
    )
    assert "| throughput | 9 | 76.8 % | 548.8 % | -19.7 % | 3 | 10.5 % | 80.0 % |" in render(view, "markdown")


def test_a_fleet_says_the_headroom_that_its_shapes_have(rackrate: Command) -> None:
    words = (
        "fleet", "--capacity", "2.5/s", "-t", "9/s", "--lengths", "1000:200", "--usd-per-hour", "2",
        "--headroom", "1.25",
    )  # fmt: skip
    view = rackrate(*words, "--json").json
    fixed = next(shape for shape in view["shapes"] if shape["kind"] == "fixed")
    assert "sized for the peak x 1.25." in render(view, "terminal")
    fixed["headroom"] = 1.45
    assert "sized for the peak x 1.45 (raised from 1.25 to be in time)." in render(view, "terminal")
