"""From a run of an endpoint whose step time is known to a calibration, and from there to loads that it did not have."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rackrate.calibration.calibrate import apply, calibrate, to_file
from rackrate.calibration.document import FILE, read_calibration
from rackrate.calibration.host import host_of
from rackrate.calibration.points import points_of, refusal
from rackrate.calibration.verification import errors_by_figure, verify
from rackrate.catalog.load import load_catalog
from rackrate.errors import CalibrationError
from rackrate.metrics.summary import LevelSummary, summarise
from rackrate.models.architecture import of_catalogue_model
from rackrate.runs.records import Engine, Gpu, Level, Machine, RequestRecord, Run, RunHeader, ServedModel, WorkloadFacts
from rackrate.simulation.finite_run import finite_run
from rackrate.steptime.deployment import Deployment, deploy

SECRET = {"family:ada:memory": -0.35, "host_step_s@vllm-0.8": math.log(5e-3), "request_s@vllm-0.8": math.log(0.03)}
"""A machine with slow memory and a slow host."""


def _host(values: dict[str, float] | None = SECRET) -> Deployment:
    catalog = load_catalog()
    model, card = of_catalogue_model(catalog.models["llama-3.1-8b-instruct"]), catalog.accelerators["l40s"]
    return deploy(model, card, engine="vllm", version="0.10.0", values=values)


def served(loads: list[int], prompt: int, output: int, each: int = 14, origin: str = "detected") -> Run:
    """The run that a sweep of that host would have recorded, streams out of step as our load generator starts them."""
    host = _host()
    levels: list[Level] = []
    requests: list[RequestRecord] = []
    clock = 0.0
    for number, streams in enumerate(loads):
        count = each * streams
        outputs = np.full(count, output)
        outputs[:streams] = np.maximum(output * np.arange(1, streams + 1) // streams, 1)
        started, first, done = finite_run(
            host.step, np.zeros(count), np.full(count, prompt), outputs, streams=streams,
            slots=host.scheduler.slots, budget=host.scheduler.budget, mixed=True, kv_capacity=host.kv_capacity_tokens,
        )  # fmt: skip
        stopped = float(started.max())
        for index in range(count):
            tokens = int(outputs[index])
            begin = clock + float(first[index]) + host.request_s
            end = clock + float(done[index]) + host.request_s
            requests.append(
                RequestRecord(
                    index=len(requests),
                    level=number,
                    due_s=clock + float(started[index]),
                    sent_s=clock + float(started[index]),
                    first_byte_s=begin,
                    first_token_s=begin,
                    done_s=end,
                    status="ok",
                    http_status=200,
                    detail=None,
                    asked_input_tokens=prompt,
                    asked_output_tokens=tokens,
                    input_tokens=prompt,
                    cached_tokens=0,
                    output_tokens=tokens,
                    finish_reason="length",
                    stagger=index < streams,
                    chunk_s=tuple(np.linspace(begin, end, tokens).tolist()),
                )
            )
        levels.append(
            Level(
                index=number,
                kind="closed",
                concurrency=streams,
                warmed_up=True,
                started_s=clock,
                stopped_s=clock + stopped,
                ended_s=clock + float(done.max()),
                ended_because="requests",
                client_cpu_share=0.1,
                client_lag_p99_s=0.0,
                other_cpu_share=0.0,
            )
        )
        clock += float(done.max()) + 1.0
    header = RunHeader(
        created="2026-11-23T00:00:00+00:00", command="rackrate measure", rackrate_version="0", python_version="3.11",
        state="complete", model=ServedModel(requested="meta-llama/Llama-3.1-8B-Instruct"),
        engine=Engine(name="vllm", version="0.10.0", url="http://127.0.0.1:8000"),
        machine=Machine(origin="detected", gpus=(Gpu(name="NVIDIA L40S", count=1, accelerator="l40s"),))
        if origin == "detected"
        else Machine(origin="unknown"),
        workload=WorkloadFacts(input_tokens=prompt, output_tokens=output, endpoint="chat", seed=0), levels=levels,
    )  # fmt: skip
    return Run(header, requests)


def _levels(run: Run) -> list[LevelSummary]:
    return summarise(run)


def test_a_calibrated_machine_predicts_what_it_did_not_serve(tmp_path: Path) -> None:
    run = served([1, 2, 4, 8, 16, 32], prompt=300, output=100)
    points = points_of(_levels(run))
    assert len(points) == 6
    host = host_of(run, load_catalog())
    found = calibrate(host, points)
    document = to_file(
        run, tmp_path, host, found, points, created="2026-11-23", command="rackrate calibrate", version="0"
    )
    (tmp_path / FILE).write_text(document.model_dump_json(by_alias=True), encoding="utf-8")
    again = read_calibration(tmp_path)
    assert again == document
    other = served([3, 12, 24], prompt=1200, output=40)
    checks = verify(again, other, _levels(other), load_catalog())
    errors = errors_by_figure(checks)
    assert errors["output_tok_s"].largest < 0.10
    assert errors["tpot_s"].median < 0.10
    # and it was the calibration that did it
    plain = _host(None)
    wrong = [abs(math.log(plain.replay(load).output_tok_s / (seen.output_tok_s or 1))) for _, load, seen in
             points_of(_levels(other))]  # fmt: skip
    assert errors["output_tok_s"].largest < 0.5 * max(wrong)


def test_runs_that_must_not_be_priced_are_refused_with_their_fault() -> None:
    levels = _levels(served([1, 2, 4], prompt=64, output=32))
    assert refusal(levels) is None
    spoiled = [replace(level, caveats=("contended",)) for level in levels]
    why = refusal(spoiled)
    assert why is not None
    assert "contended: other processes" in why
    few = refusal(levels[:2])
    assert few is not None
    assert "it has 2 loads" in few
    assert refusal([]) == "no level of the run was served"
    assert points_of(spoiled) == []
    assert len(points_of(spoiled, force=True)) == 3


def test_a_calibration_of_an_earlier_version_is_read_by_the_names_of_now(tmp_path: Path) -> None:
    run = served([1, 2, 4], prompt=64, output=32)
    host = host_of(run, load_catalog())
    points = points_of(_levels(run))
    document = to_file(run, tmp_path, host, calibrate(host, points), points, created="", command="", version="")
    text = document.model_copy(update={"coefficients": {"dequantise_gap_s": -12.0}}).model_dump_json(by_alias=True)
    (tmp_path / FILE).write_text(text.replace("dequantise_gap_s", "widen_gap_s"), encoding="utf-8")
    assert read_calibration(tmp_path).coefficients == {"dequantise_gap_s": -12.0}


def test_a_calibration_of_another_machine_is_refused(tmp_path: Path) -> None:
    run = served([1, 2, 4], prompt=64, output=32)
    host = host_of(run, load_catalog())
    points = points_of(_levels(run))
    document = to_file(run, tmp_path, host, calibrate(host, points), points, created="", command="", version="")
    other = document.model_copy(update={"model": "llama-3-70b-instruct"})
    with pytest.raises(CalibrationError, match="of another model: llama-3-70b-instruct"):
        apply(other, host)
    with pytest.raises(CalibrationError, match="nothing is known of the machine"):
        host_of(served([1], prompt=8, output=8, origin="unknown"), load_catalog())


@pytest.mark.parametrize("text", ["{", "{}", json.dumps({"schema": "rackrate.calibration/2"})])
def test_files_that_are_no_calibration(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CalibrationError, match="not a calibration"):
        read_calibration(file)
    with pytest.raises(CalibrationError, match="no such file"):
        read_calibration(tmp_path / "none")
