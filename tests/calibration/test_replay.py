"""A measured load replayed request by request, on llama.cpp's slots: against a server whose step time is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from rackrate.calibration.calibrate import calibrate, to_file
from rackrate.calibration.host import host_again, host_of
from rackrate.calibration.points import points_of
from rackrate.calibration.replay import RecordedLoad, replay, slot_limits
from rackrate.calibration.verification import errors_by_figure, verify
from rackrate.catalog.load import load_catalog
from rackrate.metrics.summary import summarise
from rackrate.runs.records import Engine, Level, Machine, RequestRecord, Run, RunHeader, ServedModel, WorkloadFacts
from rackrate.simulation.record import simulate_level
from rackrate.simulation.settings import Requests
from rackrate.steptime.deployment import Deployment
from rackrate.steptime.own_machine import with_logs

SETTINGS: dict[str, str | int | float | bool | None] = {
    "slots": 8, "context_per_slot": 1024, "threads": 2, "batch_tokens": 2048, "micro_batch_tokens": 512,
}  # fmt: skip
SECRET = {
    "memory": -0.4, "compute16": -1.2, "attention_memory": -0.8, "host_step_s": math.log(2e-3),
    "request_s": math.log(9e-3), "gap_s": math.log(6e-5),
}  # fmt: skip
"""A host that is slower than a nominal one in some ways."""


def header(levels: list[Level], prompt: int, output: int) -> RunHeader:
    return RunHeader(
        created="2026-11-28T00:00:00+00:00", command="rackrate measure", rackrate_version="0", python_version="3.11",
        state="complete", model=ServedModel(requested="smollm2-135m-instruct", weight_format="Q4_1"),
        engine=Engine(name="llama.cpp", version="b7000", url="http://127.0.0.1:8000", settings=SETTINGS),
        machine=Machine(origin="detected", cpu_model="a CPU", cpu_architecture="emerald-rapids", physical_cores=2,
                        logical_cpus=2, memory_bytes=2**34),
        workload=WorkloadFacts(input_tokens=prompt, output_tokens=output, endpoint="chat", seed=0), levels=levels,
    )  # fmt: skip


def secret_host() -> Deployment:
    return with_logs(host_of(Run(header([], 1, 1), []), load_catalog()).deployment, dict(SECRET))


def served(loads: list[tuple[str, float]], prompt: int, output: int, seed: int = 0, spread: float = 0.0) -> Run:
    """What that host gives: closed loops with random first lengths, or Poisson arrivals, as a load generator sends."""
    host = secret_host()
    limits = slot_limits(host, SETTINGS)
    assert limits is not None
    generator = np.random.default_rng(seed)
    levels: list[Level] = []
    records: list[RequestRecord] = []
    clock = 1.0
    for number, (kind, value) in enumerate(loads):
        count = 60 if kind == "open" else int(14 * value) + 10
        inputs = np.maximum(1, np.rint(prompt * generator.lognormal(0, spread, count))).astype(np.int32)
        outputs = np.maximum(1, np.rint(output * generator.lognormal(0, spread, count))).astype(np.int32)
        due = np.zeros(count)
        level = Level(
            index=number, kind="open" if kind == "open" else "closed", warmed_up=True, started_s=clock,
            concurrency=None if kind == "open" else int(value), rate=value if kind == "open" else None,
            client_cpu_share=0.1, client_lag_p99_s=0.0, other_cpu_share=0.0,
        )  # fmt: skip
        if kind == "open":
            due = np.cumsum(generator.exponential(1 / value, count))
        else:
            outputs[: int(value)] = np.ceil(outputs[: int(value)] * generator.uniform(size=int(value))).clip(1)
        step = host.step.at_mean_context(prompt + output / 2)
        from dataclasses import replace

        at = replace(limits, block_tokens=1, request_s=host.request_s)
        _, done = simulate_level(level, Requests(due, inputs, outputs), step, at, first_index=len(records))
        levels.append(level)
        records += done
        clock = max(record.done_s for record in done) + 1.0
    return Run(header(levels, prompt, output), records)


def test_the_same_host_gives_what_was_measured() -> None:
    run = served([("closed", 3), ("closed", 8), ("open", 0.9)], 150, 30, spread=0.3)
    host = host_of(run, load_catalog())
    assert host.slots is not None
    assert host.slots.max_num_seqs == 8
    for _, load, seen in points_of(summarise(run), run):
        assert isinstance(load, RecordedLoad)
        got = replay(secret_host(), load, host.slots)
        assert got.output_tok_s == pytest.approx(seen.output_tok_s, rel=0.03)
        assert got.tpot_s == pytest.approx(seen.tpot_s, rel=0.03)
        assert got.ttft_s == pytest.approx(seen.ttft_s, rel=0.03)


def test_a_calibration_on_one_shape_predicts_others_and_an_open_loop(tmp_path: Path) -> None:
    run = served([("closed", n) for n in (1, 2, 3, 4, 6, 8)], 64, 64)
    levels = summarise(run)
    points = points_of(levels, run)
    host = host_of(run, load_catalog())
    found = calibrate(host, points)
    document = to_file(
        run, tmp_path, host, found, points, created="2026-11-28", command="rackrate calibrate", version="0"
    )
    again = host_again(document, load_catalog())
    assert again.slots == host.slots
    assert again.deployment.step.seconds(3, 500, 1, 64, 2000) == pytest.approx(
        found.deployment.step.seconds(3, 500, 1, 64, 2000), rel=1e-4
    )
    for other in (served([("closed", 2), ("closed", 7)], 220, 24, 1), served([("open", 1.2)], 90, 40, 2, 0.6)):
        checks = verify(document, other, summarise(other), load_catalog())
        errors = errors_by_figure(checks)
        assert errors["output_tok_s"].largest < 0.06
        assert errors["tpot_s"].largest < 0.13
        assert errors["ttft_s"].largest < 0.15


def test_a_run_without_its_requests_is_replayed_from_its_means() -> None:
    run = served([("closed", 2), ("closed", 4)], 64, 32)
    levels = summarise(run)
    without = points_of(levels, Run(run.header, []))
    assert not any(isinstance(load, RecordedLoad) for _, load, _ in without)
    assert [load for _, load, _ in without] == [load for _, load, _ in points_of(levels)]
