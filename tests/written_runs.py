"""A run directory with two requests, one whole and one failed, written for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rackrate.runs.records import Engine, Gpu, Level, Machine, RequestRecord, RunHeader, ServedModel, WorkloadFacts
from rackrate.runs.statuses import OK
from rackrate.runs.store import RunWriter


def make_header() -> RunHeader:
    return RunHeader(
        created="2026-11-23T04:00:00Z",
        command="rackrate measure --url 'http://127.0.0.1:8000'",
        rackrate_version="0.1.0",
        python_version="3.11.9",
        state="running",
        model=ServedModel(requested="größtes <Modell>", parameters=8_030_261_248),
        engine=Engine(name="vLLM", url="http://127.0.0.1:8000", settings={"tp": 4, "eager": False, "dtype": None}),
        machine=Machine(origin="detected", gpus=(Gpu(name="Tesla T4", count=4, accelerator="t4"),)),
        workload=WorkloadFacts(input_tokens=64, output_tokens=32, endpoint="chat", seed=0),
        levels=[Level(index=0, kind="closed", concurrency=4, warmed_up=True, started_s=0.25)],
    )


WHOLE = RequestRecord(
    index=0, level=0, due_s=0.1, sent_s=0.1 + 1e-17, first_byte_s=0.2, first_token_s=1 / 3, done_s=2 / 3, status=OK,
    http_status=200, detail=None, asked_input_tokens=64, asked_output_tokens=3, input_tokens=66, cached_tokens=0,
    output_tokens=3, finish_reason="length", stagger=False, chunk_s=(1 / 3, 0.5, 2 / 3),
)  # fmt: skip
FAILED = replace(
    WHOLE, index=1, first_byte_s=None, first_token_s=None, status="http-5xx", http_status=503, input_tokens=None,
    cached_tokens=None, output_tokens=None, finish_reason=None, stagger=True, chunk_s=(),
    detail='{"error": "out of\nmemory", "größe": "∞", "quote": "\'\\""}',
)  # fmt: skip


def write(directory: Path, records: list[RequestRecord], *, finish: bool = True) -> RunHeader:
    header = make_header()
    with RunWriter(directory, header) as writer:
        for record in records:
            writer.add(record)
        header.state = "complete"
        if finish:
            writer.finish(pack=True)
    return header
