"""How many requests a second the simulator handles. `python benchmarks/simulator.py [--trace FILE] [--vidur PYTHON]`.

5 requests/s on one replica, one core, after compilation; lengths of a recorded trace (the Azure conversations of 2023,
if you have them), or lognormal ones like them. With `--vidur`, the Python of an environment that has Vidur, both
simulate the same requests with the same step time. `--long` streams 100,000,000 requests in blocks.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rackrate.simulation.settings import EngineLimits, Fleet, Requests
from rackrate.simulation.simulator import simulate, simulate_blocks
from rackrate.simulation.step import StepTime
from rackrate.workload.slo import parse_slo
from rackrate.workload.traces import read_trace

RATE = 5.0
STEP = {"weights_s": 0.008, "token_compute_s": 4e-5, "context_s": 6e-8, "step_s": 0.003}
LIMITS = EngineLimits(kv_tokens=400_000, max_num_seqs=256, max_num_batched_tokens=2048)
SLO = parse_slo("p95 ttft < 1s, p95 tpot < 50ms, p99 e2e < 60s")
VIDUR_FLAGS = [
    "--replica_config_num_pipeline_stages", "1", "--replica_config_tensor_parallel_size", "1",
    "--replica_scheduler_config_type", "sarathi", "--sarathi_scheduler_config_chunk_size", "2048",
    "--sarathi_scheduler_config_batch_size_cap", "256", "--cache_config_num_blocks", "25000",
    "--no-metrics_config_write_metrics", "--no-metrics_config_write_json_trace",
    "--no-metrics_config_enable_chrome_trace", "--no-metrics_config_store_plots",
    "--no-metrics_config_save_table_to_wandb",
]  # fmt: skip

Ints = npt.NDArray[np.int32]


def lengths(trace: Path | None) -> tuple[Ints, Ints]:
    """Input and output tokens to draw from."""
    if trace is not None:
        rows = read_trace(trace)
        return np.maximum(rows.input_tokens, 1), np.maximum(rows.output_tokens, 1)
    generator = np.random.default_rng(0)
    inputs = generator.lognormal(6.5, 1.0, 20_000).clip(1, 14_000)
    outputs = generator.lognormal(5.0, 0.85, 20_000).clip(1, 1_500)
    return inputs.astype(np.int32), outputs.astype(np.int32)


def blocks(pool: tuple[Ints, Ints], count: int, rate: float, size: int = 1 << 20) -> Iterator[Any]:
    """Poisson arrivals, block by block."""
    generator = np.random.default_rng(1)
    clock = 0.0
    for begin in range(0, count, size):
        number = min(size, count - begin)
        due = clock + np.cumsum(generator.exponential(1 / rate, number))
        clock = float(due[-1])
        rows = generator.integers(0, len(pool[0]), number)
        yield due, pool[0][rows], pool[1][rows]


def drawn(pool: tuple[Ints, Ints], count: int, rate: float) -> Requests:
    """The same as one piece."""
    due, inputs, outputs = next(blocks(pool, count, rate, count))
    return Requests(due, inputs, outputs)


def main() -> None:
    """Prints a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", type=Path, default=None)
    parser.add_argument("--vidur", type=Path, default=None)
    parser.add_argument("--count", type=int, default=2_000_000)
    parser.add_argument("--long", action="store_true")
    arguments = parser.parse_args()
    pool = lengths(arguments.trace)
    step = StepTime(**STEP)
    began = time.perf_counter()
    simulate(drawn(pool, 1000, RATE), step, LIMITS, Fleet(2, "least-loaded"), slo=SLO)
    line(f"first simulation, compilation included: {time.perf_counter() - began:.1f} s")
    line(f"lengths: {pool[0].mean():.0f} in, {pool[1].mean():.0f} out on average; {RATE:g} requests/s, one replica")
    for rate in (RATE, 2 * RATE, 6 * RATE):
        requests = drawn(pool, arguments.count, rate)
        began = time.process_time()
        outcome = simulate(requests, step, LIMITS, slo=SLO)
        spent = time.process_time() - began
        name = "overload" if (outcome.growth or 0) > 0.5 else f"{rate:g}/s"
        line(
            f"{name}: {arguments.count / spent:,.0f} requests/s of CPU time, "
            f"{outcome.steps / arguments.count:.1f} steps and {outcome.events / arguments.count:.2f} events a request, "
            f"{outcome.mean_in_flight:.1f} in flight"
        )
    if arguments.vidur is not None:
        beside_vidur(arguments.vidur, pool, step)
    if arguments.long:
        count = 100_000_000
        before = peak_bytes()
        began = time.perf_counter()
        outcome = simulate_blocks(blocks(pool, count, RATE), count, step, LIMITS, slo=SLO)
        spent = time.perf_counter() - began
        line(
            f"{count:,} requests in {spent:.0f} s ({count / spent:,.0f}/s, drawing them included), "
            f"{(peak_bytes() - before) / 1e6:.0f} MB more than before; p95 TTFT {outcome.ttft.quantile_s(0.95):.3f} s"
        )


def beside_vidur(python: Path, pool: tuple[Ints, Ints], step: StepTime) -> None:
    """The same requests in both, one after the other, and the ratio."""
    requests = drawn(pool, 2000, RATE)
    rows = np.column_stack(
        [np.asarray(requests.due_s), np.asarray(requests.input_tokens), np.asarray(requests.output_tokens)]
    ).tolist()
    given = {"requests": [[due, int(into), int(out)] for due, into, out in rows], "step": STEP, "flags": VIDUR_FLAGS}
    ran = subprocess.run(
        [str(python), str(Path(__file__).parent / "simulator_vidur.py")],
        input=json.dumps(given), capture_output=True, text=True, check=True,
    )  # fmt: skip
    theirs: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    times: list[float] = []
    outcome = simulate(requests, step, LIMITS, slo=SLO)
    for _ in range(20):
        began = time.perf_counter()
        simulate(requests, step, LIMITS, slo=SLO)
        times.append(time.perf_counter() - began)
    ours = sorted(times)[10]
    line(
        f"Vidur: {2000 / theirs['seconds']:,.0f} requests/s, the last done at {theirs['end_s']:.2f} s; here "
        f"{2000 / ours:,.0f} requests/s, the last done at {outcome.end_s:.2f} s: {theirs['seconds'] / ours:,.0f} times"
    )


def peak_bytes() -> int:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def line(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
