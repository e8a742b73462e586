"""Latencies counted in bins of equal relative width, and quantiles read from them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from rackrate.simulation.compiled import compiled, jit_inline
from rackrate.simulation.state import E2E, TPOT, TTFT, Core, Out

FINENESS = 128
"""Bins per octave: a quantile is exact to 1/256, less than 0.4 %."""
LEAST, MOST = -20, 24
"""Exponents of two: from 1 microsecond to 194 days."""
BINS = (MOST - LEAST) * FINENESS


@compiled
def bin_of(value: float) -> int:
    """The bin that a latency falls into.

    >>> bin_of(1.0) - bin_of(0.5) == FINENESS
    True
    """
    if value <= 0.0:
        return 0
    mantissa, exponent = math.frexp(value)
    place = (exponent - LEAST) * FINENESS + int((mantissa - 0.5) * (2 * FINENESS))
    return min(max(place, 0), BINS - 1)


def bin_middle_s(place: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The middle of bins. [s]

    >>> abs(float(bin_middle_s(np.array([bin_of(0.25)]))[0]) / 0.25 - 1) <= 1 / 256
    True
    """
    exponent, part = np.divmod(place, FINENESS)
    return np.ldexp(0.5 + (part + 0.5) / (2 * FINENESS), (exponent + LEAST).astype(np.int32))


@jit_inline
def check_slo(core: Core, out: Out, request: int, ttft: float, tpot: float, e2e: float) -> None:
    """Counts a finished request; `tpot` is below 0 where it has only one token."""
    if request < core.settings.warmup:
        return
    core.totals.judged += 1
    ttft += core.settings.request_s
    e2e += core.settings.request_s
    out.histogram[TTFT, bin_of(ttft)] += 1
    out.histogram[E2E, bin_of(e2e)] += 1
    if tpot >= 0.0:
        out.histogram[TPOT, bin_of(tpot)] += 1
    met = True
    for n in range(len(out.goals)):
        goal = out.goals[n]
        metric = goal.metric
        value = ttft if metric == TTFT else tpot if metric == TPOT else e2e
        if value > goal.limit_s:
            met = False
            goal.missed += 1
            if goal.missed > goal.allowed:
                core.totals.hopeless = 1
    if met:
        core.totals.met_all += 1
