"""The finite run of published rows beside the simulator of plans: time per call and agreement, on the same loads.

`python benchmarks/two_simulators.py`: a closed loop and a burst of requests of equal lengths; docs/decisions/0019.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from rackrate.simulation.finite_run import finite_run
from rackrate.simulation.settings import EngineLimits, Requests
from rackrate.simulation.simulator import simulate
from rackrate.simulation.step import StepTime

STEP = StepTime(weights_s=0.008, token_compute_s=4e-5, context_s=6e-8, step_s=0.003, pair_s=1e-10)
CAPACITY = 400_000


def median_s(call: Callable[[], object], times: int = 200) -> float:
    """The median of many calls, after one that compiles. [s]"""
    call()
    spent: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        spent.append(time.perf_counter() - began)
    return sorted(spent)[times // 2]


def main() -> None:
    """A line for each load."""
    limits = EngineLimits(kv_tokens=CAPACITY, max_num_seqs=256, max_num_batched_tokens=2048, block_tokens=1)
    generator = np.random.default_rng(1)
    for name, count, streams in (("closed loop of 16", 160, 16), ("closed loop of 64", 640, 64), ("burst", 200, 0)):
        prompts = generator.integers(200, 1000, count)
        outputs = generator.integers(50, 300, count)
        due = np.zeros(count)
        requests = Requests(due, prompts, outputs)

        replayed = partial(finite_run, STEP, due, prompts, outputs, streams=streams, kv_capacity=CAPACITY)
        simulated = partial(simulate, requests, STEP, limits, users=streams, per_request=True)
        _, first, done = replayed()
        each = simulated().each
        assert each is not None  # noqa: S101 - asked for above
        differ = max(float(np.abs(each.done_s / done - 1).max()), float(np.abs(each.first_token_s / first - 1).max()))
        quick, full = median_s(replayed), median_s(simulated)
        sys.stdout.write(
            f"{name}, {count} requests: finite run {quick * 1e6:,.0f} us, simulator {full * 1e6:,.0f} us "
            f"({full / quick:.1f} times); moments differ by at most {differ:.2%}\n"
        )


if __name__ == "__main__":
    main()
