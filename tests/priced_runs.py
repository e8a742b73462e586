"""Runs whose throughput is known, for the tests of commands that price and report; and what a command left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rackrate.runs.records import (
    Engine,
    Gpu,
    Level,
    Machine,
    RequestRecord,
    RunHeader,
    ServedModel,
    WorkloadFacts,
)
from rackrate.runs.statuses import OK
from rackrate.runs.store import RunWriter
from rackrate.units import usd_per_million

CPU = Machine(
    origin="detected", cpu_model="AMD EPYC", cpu_architecture="zen4", logical_cpus=2, physical_cores=1,
    memory_bytes=8 * 2**30, system="Linux 6",
)  # fmt: skip
FOUR_T4 = Machine(origin="detected", gpus=(Gpu(name="Tesla T4", count=4, memory_bytes=2**34, accelerator="t4"),))

SECONDS_BY_CONCURRENCY = {1: 1.0, 2: 1.0, 4: 1.6, 8: 3.3}
"""How long a request takes: 4 in flight serve most, 32 tokens x 4 / 1.6 s = 80 output token/s."""
OUTPUT_TOK_S, INPUT_TOK_S = 80.0, 160.0
PREFILL_SHARE = 0.25
"""Prefill alone: 4 in flight of 64 tokens every 0.4 s are 640 token/s, and 160 are asked for."""
C7A_LARGE, G4DN_12XLARGE = 0.10264, 3.912
BLENDED_C7A_LARGE = usd_per_million(C7A_LARGE, OUTPUT_TOK_S + INPUT_TOK_S)

RIG = """\
name: my rig
capex_usd: 3800
life_years: 5
idle_w: 50
busy_w: 300
usd_per_kwh: 0.15
"""


def requests_of(level: Level, workers: int, seconds: float, tokens: int, rounds: int) -> Iterator[RequestRecord]:
    """Workers in step, tokens evenly over each request."""
    for turn in range(rounds):
        begin = level.started_s + turn * seconds
        chunks = tuple(begin + (k + 0.5) * seconds / tokens for k in range(tokens))
        for _ in range(workers):
            yield RequestRecord(
                index=turn, level=level.index, due_s=begin, sent_s=begin, first_byte_s=chunks[0],
                first_token_s=chunks[0], done_s=begin + seconds, status=OK, http_status=200, detail=None,
                asked_input_tokens=64, asked_output_tokens=tokens, input_tokens=64, cached_tokens=0,
                output_tokens=tokens, finish_reason="length", stagger=False, chunk_s=chunks,
            )  # fmt: skip


def write_run(
    directory: Path,
    machine: Machine,
    *,
    model: str = "llama-3.2-1b-instruct",
    catalogue_id: str | None = "llama-3.2-1b-instruct",
    note: str = "",
    warmed_up: bool = True,
    prefill: bool = True,
    concurrencies: tuple[int, ...] = (1, 2, 4, 8),
) -> Path:
    """A run as `measure` leaves it; `note` goes into every free text."""
    header = RunHeader(
        created="2026-11-23T04:00:00Z", command=f"rackrate measure {note}", rackrate_version="0.1.0",
        python_version="3.11.9", state="running", stopped_because=note or None,
        model=ServedModel(requested=model, catalogue_id=catalogue_id, weight_format="bf16", weights_file=note or None),
        engine=Engine(
            name=f"vLLM{note}", version=f"0.12{note}", url="http://127.0.0.1:8000", settings={"tp": 4, "note": note}
        ),
        machine=machine,
        workload=WorkloadFacts(input_tokens=64, output_tokens=32, endpoint="chat", seed=0, length_forced="ignore_eos"),
    )  # fmt: skip
    now = 0.0
    with RunWriter(directory, header) as writer:
        for index, concurrency in enumerate((*concurrencies, 4) if prefill else concurrencies):
            alone = index == len(concurrencies)
            seconds, tokens, rounds = (0.4, 1, 40) if alone else (SECONDS_BY_CONCURRENCY[concurrency], 32, 25)
            level = Level(
                index=index, kind="prefill" if alone else "closed", concurrency=concurrency, warmed_up=warmed_up,
                started_s=now, stopped_s=now + rounds * seconds, ended_s=now + rounds * seconds,
                ended_because="requests", client_cpu_share=0.1, client_lag_p99_s=0.0005, other_cpu_share=0.01,
            )  # fmt: skip
            header.levels.append(level)
            for record in requests_of(level, concurrency, seconds, tokens, rounds):
                writer.add(record)
            now += rounds * seconds + 1
        header.state = "complete"
        writer.finish(pack=True)
    return directory


class Ran(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        assert self.code == 0, self.err
        return json.loads(self.out)


Command = Callable[..., Ran]


def refused(ran: Ran) -> str:
    """The sentence of a bad input: exit code 2, one line on standard error, nothing on standard output."""
    assert ran.code == 2, ran
    assert ran.out == ""
    assert ran.err.startswith("rackrate: "), ran.err
    assert ran.err.endswith("\n")
    assert ran.err.count("\n") == 1, ran.err
    assert "Traceback" not in ran.err
    return ran.err.removeprefix("rackrate: ").rstrip("\n")
