"""A run of many requests, written, summed up and read as by the commands: how long each takes, in how much memory.

    python tools/long_run.py --requests 10000000 --tokens 4 --directory DIR

Answers are made up (one level of an open loop at 20,000 a second, each answered in some 100 ms); all the rest is what
`rackrate measure` does with them: columns of the level, journal, summary, packing; then the run is read and summed up
again, as `rackrate show`, `report` and `price` do. Each step is a process; memory is its peak resident size.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rackrate.metrics.summary import summarise, summarise_level
from rackrate.runs.columns import LevelColumns
from rackrate.runs.records import Engine, Level, Machine, RequestRecord, RunHeader, ServedModel, WorkloadFacts
from rackrate.runs.statuses import OK
from rackrate.runs.store import RunWriter, read_run

RATE = 20_000.0
PAGE = 10_000


def main() -> None:
    """Runs the steps one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--tokens", type=int, default=4, help="of each answer, a chunk each")
    parser.add_argument("--directory", type=Path, required=True, help="of the run; must not exist")
    asked = parser.parse_args()
    steps: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "written": (write, (asked.directory, asked.requests, asked.tokens)),
        "read and summed up from the journal": (read, (asked.directory,)),
        "packed": (pack, (asked.directory,)),
        "read and summed up from the table": (read, (asked.directory,)),
    }
    for name, (step, arguments) in steps.items():
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            took_s, memory, more = pool.apply(measured, (step, arguments))
        size = sum(file.stat().st_size for file in asked.directory.iterdir())
        figures = f"{took_s:.0f} s of processor time, {memory / 1e6:.0f} MB at most, {size / 1e9:.2f} GB on disk"
        sys.stdout.write(f"{name}: {figures}{more}\n")
        sys.stdout.flush()


def measured(step: Callable[..., str], arguments: tuple[Any, ...]) -> tuple[float, float, str]:
    """Processor time and peak memory of a step, and what it says."""
    began_s = time.process_time()
    more = step(*arguments)
    return time.process_time() - began_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, more


def write(directory: Path, requests: int, tokens: int) -> str:
    """What a measurement does with answers."""
    header = RunHeader(
        created="2026-01-01T00:00:00+00:00",
        command="tools/long_run.py",
        rackrate_version="0",
        python_version=sys.version.split()[0],
        state="running",
        model=ServedModel(requested="made-up"),
        engine=Engine(name="made-up", url=None),
        machine=Machine(origin="unknown"),
        workload=WorkloadFacts(input_tokens=64, output_tokens=tokens, endpoint="chat", seed=0),
    )
    level = Level(index=0, kind="open", rate=RATE, arrivals="poisson", warmed_up=True, started_s=0.0)
    header.levels.append(level)
    draw = np.random.default_rng(7)
    columns = LevelColumns()
    now_s = 0.0
    with RunWriter(directory, header) as writer:
        for first in range(0, requests, PAGE):
            number = min(PAGE, requests - first)
            due_s = now_s + np.cumsum(draw.exponential(1 / RATE, number))
            now_s = float(due_s[-1])
            times = due_s[:, None] + np.cumsum(draw.exponential(0.1 / tokens, (number, tokens)), axis=1)
            for index, (due, chunks) in enumerate(zip(due_s.tolist(), times.tolist(), strict=True)):
                record = RequestRecord(
                    index=first + index, level=0, due_s=due, sent_s=due + 1e-5, first_byte_s=chunks[0],
                    first_token_s=chunks[0], done_s=chunks[-1], status=OK, http_status=200, detail=None,
                    asked_input_tokens=64, asked_output_tokens=tokens, input_tokens=64, cached_tokens=None,
                    output_tokens=tokens, finish_reason="length", stagger=False, chunk_s=tuple(chunks),
                )  # fmt: skip
                columns.add(record)
                writer.add(record)
        level.stopped_s, level.ended_s, level.ended_because = now_s, now_s, "requests"
        began_s = time.process_time()
        found = summarise_level(level, columns)
        header.state = "complete"
        writer.finish(pack=False)
    return f", {time.process_time() - began_s:.0f} s of it summing up {found.requests:,} requests"


def pack(directory: Path) -> str:
    """What the end of a measurement does with a large journal."""
    run = read_run(directory)
    with RunWriter(directory, run.header, run) as writer:
        writer.finish(pack=True)
    return ""


def read(directory: Path) -> str:
    """What every command does that shows or prices a run."""
    (found,) = summarise(read_run(directory))
    if found.ttft is None or found.itl is None:
        return ", nothing found"
    return (
        f"; {found.requests:,} requests, p99 TTFT {found.ttft.p99:.9f} s, p99 ITL {found.itl.p99:.9f} s, "
        f"{found.output_tok_s:.6f} token/s"
    )


if __name__ == "__main__":
    main()
