"""When requests are due: absolute times, drawn from a seeded generator before the run.

A slow answer never moves the next arrival. Every function returns sorted times in seconds from the start.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rackrate.errors import WorkloadError
from rackrate.workload.quantiles import gamma_quantile

Times = npt.NDArray[np.float64]


def _positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise WorkloadError(f"{name} must be above 0, got {value:g}")


def constant(rate: float, count: int) -> Times:
    """Every 1/rate seconds exactly, the first at 0. [s]

    >>> constant(rate=4, count=3).tolist()
    [0.0, 0.25, 0.5]
    """
    _positive("the rate", rate)
    return np.arange(count) / rate


def poisson(rate: float, count: int, generator: np.random.Generator) -> Times:
    """A Poisson process of `count` arrivals in count/rate seconds: gaps whose coefficient of variation is 1. [s]

    Exponential gaps, one from each of count + 1 strata of equal probability, in random order [1]_, and scaled to the
    time. So every seed has the mean rate asked for, and gaps that vary as a Poisson process's do, where free gaps would
    miss both by 1/sqrt(count): 3 % at 1,000. Arrivals in any part of the time vary as before: sums of k of n gaps drawn
    without replacement have the variance k (1 - k / n), as have those between k of n uniform moments.

    .. [1] M. D. McKay, R. J. Beckman, W. J. Conover, "A comparison of three methods for selecting values of input
       variables in the analysis of output from a computer code", Technometrics 21 (1979): stratified draws, shuffled.
    """
    _positive("the rate", rate)
    share = (np.arange(count + 1) + generator.random(count + 1)) / (count + 1)
    gaps = -np.log1p(-share)
    generator.shuffle(gaps)
    times = np.cumsum(gaps)
    return times[:-1] * (count / rate / times[-1])


def gamma(rate: float, cv: float, count: int, generator: np.random.Generator) -> Times:
    """A renewal process with gamma gaps of mean 1/rate and coefficient of variation cv: bursty above 1. [s]

    A gamma variable of shape k has cv 1/sqrt(k). Gaps are drawn from strata and scaled to the time as `poisson` does,
    with more need: 200 free gaps of cv 3 would miss the rate by 21 %.
    """
    _positive("the rate", rate)
    _positive("the coefficient of variation", cv)
    share = (np.arange(count + 1) + generator.random(count + 1)) / (count + 1)
    gaps = gamma_quantile(1 / cv**2, share)
    generator.shuffle(gaps)
    times = np.cumsum(gaps)
    if not times[-1] > 0:
        raise WorkloadError(f"gaps of a coefficient of variation of {cv:g} are all 0; ask for less, or more requests")
    return times[:-1] * (count / rate / times[-1])


def stepped(steps: Sequence[tuple[float, float]], generator: np.random.Generator) -> Times:
    """Poisson arrivals at one rate after another. [s]

    Args:
        steps: (rate [1/s], duration [s]), in order; a rate of 0 is a pause.
        generator: seeded.
    """
    begin = 0.0
    parts: list[Times] = []
    for rate, duration in steps:
        if rate < 0:
            raise WorkloadError(f"a step's rate must not be negative, got {rate:g}")
        _positive("a step's duration", duration)
        number = int(generator.poisson(rate * duration))
        # given their number, the arrivals of a Poisson process are uniform
        parts.append(begin + np.sort(generator.uniform(0, duration, number)))
        begin += duration
    return np.concatenate(parts) if parts else np.empty(0)


def ramped(first_rate: float, last_rate: float, duration: float, generator: np.random.Generator) -> Times:
    """Poisson arrivals whose rate goes from one value to another in a straight line. [s]

    By inversion of the cumulated rate L(t) = a t + (b - a) t^2 / (2 T): arrivals are uniform in L.
    """
    if first_rate < 0 or last_rate < 0 or first_rate + last_rate == 0:
        raise WorkloadError(
            f"a ramp needs rates of at least 0, one of them above, got {first_rate:g} and {last_rate:g}"
        )
    _positive("a ramp's duration", duration)
    total = (first_rate + last_rate) / 2 * duration
    cumulated = np.sort(generator.uniform(0, total, int(generator.poisson(total))))
    slope = (last_rate - first_rate) / duration
    if slope == 0:
        return cumulated / first_rate
    return (np.sqrt(first_rate**2 + 2 * slope * cumulated) - first_rate) / slope


def scaled(times: Times, rate: float) -> Times:
    """Recorded times, stretched or squeezed so that their mean rate is `rate`; the pattern stays. [s]

    >>> scaled(np.array([0.0, 1.0, 3.0]), rate=2.0).tolist()
    [0.0, 0.3333333333333333, 1.0]
    """
    _positive("the rate", rate)
    if len(times) < 2 or times[-1] <= times[0]:
        raise WorkloadError("fewer than two recorded arrivals, or all at one moment, have no rate to scale")
    span = float(times[-1] - times[0])
    return (times - times[0]) * ((len(times) - 1) / span / rate)
