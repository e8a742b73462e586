"""A schedule in blocks: an open loop of any length, in memory that does not grow with it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from rackrate.errors import WorkloadError
from rackrate.workload.patterns import Pattern, parse_pattern
from rackrate.workload.rows import PAGE, Rows
from rackrate.workload.schedule import recorded
from rackrate.workload.synthetic import SyntheticWorkload

Block = tuple[npt.NDArray[np.float64], npt.NDArray[np.int32], npt.NDArray[np.int32]]
"""When requests are due, their input and their output tokens."""

BLOCK = 64 * PAGE


def stream(
    pattern: str, rate: float, count: int, workload: SyntheticWorkload, level: int = 0, *, block: int = BLOCK
) -> Iterator[Block]:
    """Requests as `schedule.draw` has them, block by block.

    Lengths are those of `draw`, as are constant and recorded arrivals. Poisson and gamma arrivals have free gaps: of so
    many, the mean rate is the one asked for anyway.

    Args:
        pattern: constant, poisson, gamma:CV or trace.
        rate: mean arrivals. [1/s]
        count: how many requests.
        workload: lengths and seed; single requests.
        level: makes the schedules of a run's levels differ.
        block: requests of a block, whole pages.

    >>> [due.tolist() for due, _, _ in stream("constant", 2.0, 3, SyntheticWorkload(8, 4))]
    [[0.0, 0.5, 1.0]]

    Raises:
        WorkloadError: no such pattern, one that has an end of its own, or a rate that is not positive.
    """
    parsed = parse_pattern(pattern)
    if parsed.duration_s is not None:
        raise WorkloadError(
            f"{{arrivals}} {pattern} ends by itself; streamed are poisson, constant, gamma:CV and trace",
            field="arrivals",
        )
    if workload.conversations is not None:
        raise WorkloadError("conversations cannot be streamed: when a turn comes depends on the answer before")
    if parsed.kind == "trace" and workload.trace is None:
        raise WorkloadError(
            "{arrivals} trace needs a file of recorded requests: {trace} FILE", fields=("arrivals", "trace")
        )
    if not 0 < rate < float("inf"):
        raise WorkloadError(f"the rate must be above 0, got {rate:g}")
    if block < 1 or block % PAGE:
        raise WorkloadError(f"a block is whole pages of {PAGE} requests, got {block}")
    generator = np.random.default_rng([workload.seed & 0xFFFFFFFF, level])
    rows = Rows(workload, level, in_order=parsed.kind == "trace")
    return _blocks(parsed, rate, count, workload, rows, generator, block)


def _blocks(
    pattern: Pattern, rate: float, count: int, workload: SyntheticWorkload, rows: Rows,
    generator: np.random.Generator, block: int,
) -> Iterator[Block]:  # fmt: skip
    clock = 0.0
    for begin in range(0, count, block):
        number = min(block, count - begin)
        if pattern.kind == "trace" and workload.trace is not None:
            due = recorded(workload.trace, rate, number, begin, count)
        elif pattern.kind == "constant":
            due = np.arange(begin, begin + number) / rate
        elif pattern.kind == "poisson":
            due = clock + np.cumsum(generator.exponential(1 / rate, number))
        else:
            shape = 1 / (pattern.cv or 1.0) ** 2
            due = clock + np.cumsum(generator.gamma(shape, 1 / (rate * shape), number))
        clock = float(due[-1])
        yield due, *rows.lengths(number, begin)
