"""A schedule: when each request is due, and how long it is. Drawn whole before a run; a seed reproduces it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rackrate.errors import WorkloadError
from rackrate.workload import arrivals
from rackrate.workload.synthetic import SyntheticWorkload


@dataclass(frozen=True)
class Schedule:
    """Requests in the order in which they are due. Arrays of one length."""

    due_s: npt.NDArray[np.float64]
    """Seconds from the level's start."""
    input_tokens: npt.NDArray[np.int64]
    output_tokens: npt.NDArray[np.int64]
    name: str
    """How the arrivals were drawn: poisson, constant, gamma:2, ..."""

    def __len__(self) -> int:
        return len(self.due_s)


def draw(pattern: str, rate: float, count: int, workload: SyntheticWorkload, level: int = 0) -> Schedule:
    """Requests of fixed lengths that arrive in a pattern.

    Args:
        pattern: constant, poisson, or gamma:CV (bursts of that coefficient of variation).
        rate: mean arrivals. [1/s]
        count: how many.
        workload: lengths and seed.
        level: makes the schedules of a run's levels differ.

    >>> draw("constant", 2.0, 3, SyntheticWorkload(8, 4)).due_s.tolist()
    [0.0, 0.5, 1.0]

    Raises:
        WorkloadError: no such pattern, or a rate or number that is not positive.
    """
    if count < 1:
        raise WorkloadError(f"a schedule needs at least one request, got {count}")
    generator = np.random.default_rng([workload.seed & 0xFFFFFFFF, level])
    kind, _, parameter = pattern.lower().partition(":")
    match kind:
        case "constant" if not parameter:
            due_s = arrivals.constant(rate, count)
        case "poisson" if not parameter:
            due_s = arrivals.poisson(rate, count, generator)
        case "gamma":
            due_s = arrivals.gamma(rate, _cv(parameter), count, generator)
        case _:
            raise WorkloadError(f"--arrivals is constant, poisson or gamma:CV (such as gamma:2), not {pattern!r}")
    return Schedule(
        due_s=due_s,
        input_tokens=np.full(count, workload.input_tokens, dtype=np.int64),
        output_tokens=np.full(count, workload.output_tokens, dtype=np.int64),
        name=pattern.lower(),
    )


def _cv(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise WorkloadError(
            f"--arrivals gamma:CV takes a coefficient of variation, such as gamma:2, not {text!r}"
        ) from None
