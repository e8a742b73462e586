"""Time and memory of reading 10 million recorded requests, and of drawing a schedule of as many.

Prints seconds of CPU and the greatest resident memory of each. `python benchmarks/traces.py [ROWS]`
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from rackrate.workload.distributions import parse_distribution
from rackrate.workload.schedule import draw
from rackrate.workload.synthetic import SyntheticWorkload
from rackrate.workload.trace_summary import summarise_trace
from rackrate.workload.traces import Trace, read_trace, write_trace


def written(path: Path, rows: int) -> None:
    """A trace of Poisson arrivals, 100 a second."""
    generator = np.random.default_rng(0)
    times = np.cumsum(generator.exponential(0.01, rows)).round(4)
    inputs, outputs = (generator.integers(1, most, rows).astype(np.int32) for most in (8000, 1000))
    write_trace(Trace(path.name, times - times[0], inputs, outputs), path)


def read(path: str) -> None:
    """Reads it."""
    read_trace(path)


def summarise(path: str) -> None:
    """Reads and summarises it, as `rackrate trace` does."""
    summarise_trace(read_trace(path))


def schedule(rows: str) -> None:
    """Draws Poisson arrivals and lognormal lengths."""
    lengths = parse_distribution("lognormal:mean=512,cv=0.8", "lengths")
    draw("poisson", 100.0, int(rows), SyntheticWorkload(512, 512, inputs=lengths, outputs=lengths))


TASKS = {"read": read, "summarise": summarise, "schedule": schedule}


def main() -> None:
    """One line per task."""
    if sys.argv[1:2] and sys.argv[1] in TASKS:
        began = time.process_time()
        TASKS[sys.argv[1]](sys.argv[2])
        spent, peak = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sys.stdout.write(f"{sys.argv[1]:10} {spent:6.2f} s of CPU, {peak / 1000:6.0f} MB at most\n")
        return
    rows = int(sys.argv[1]) if sys.argv[1:] else 10_000_000
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "trace.csv"
        written(path, rows)
        sys.stdout.write(f"{rows:,} rows, {path.stat().st_size / 1e6:.0f} MB\n")
        sys.stdout.flush()
        for task in TASKS:
            given = str(rows) if task == "schedule" else str(path)
            subprocess.run([sys.executable, __file__, task, given], check=True)


if __name__ == "__main__":
    main()
