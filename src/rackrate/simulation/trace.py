"""From the trace of a simulation to the moment of every token."""

from __future__ import annotations

import numpy as np

from rackrate.simulation.simulator import Trace
from rackrate.simulation.state import Floats


def token_times(trace: Trace, requests: int) -> list[Floats]:
    """When each token of each request came, in seconds from the start.

    A stretch of steps that begins at t, whose first step takes f and each further one g more, ends its k-th step at
    t + f k + g k (k - 1) / 2. A request's tokens come at the ends of consecutive steps, with a gap where it was
    preempted.
    """
    times: list[list[Floats]] = [[] for _ in range(requests)]
    for replica in np.unique(trace.segments.replica):
        jumps = trace.jumps[trace.jumps.replica == replica]
        for segment in trace.segments[trace.segments.replica == replica]:
            steps = np.arange(segment.first, segment.last + 1, dtype=np.int64)
            row = np.searchsorted(jumps.before, steps, side="left") - 1
            jump = jumps[row]
            k = steps - jump.before
            times[int(segment.request)].append(
                jump.begun_s + (k * jump.first_step_s + jump.growth_s * (0.5 * k * (k - 1)))
            )
    empty = np.zeros(0)
    return [np.concatenate(parts) if parts else empty for parts in times]
