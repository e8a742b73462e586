"""Patterns of arrivals, as they are written on the command line. Light to import: nothing is drawn here."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from rackrate.errors import WorkloadError

_LEAST_CV, _MOST_CV = 0.001, 1000.0
"""Of gaps: below, arrivals are constant; above, nearly all come at once, and quantiles are no numbers any more."""
_STEP = re.compile(r"(?P<rate>[^@,]+)@(?P<duration>[^@,]+)")
_KINDS = (
    "{arrivals} is poisson, constant, gamma:CV (such as gamma:2), steps:RATE@SECONDS,... (such as steps:5@30,20@30), "
    "ramp:FROM-TO@SECONDS (such as ramp:1-20@60) or trace (with {trace})"
)


@dataclass(frozen=True)
class Pattern:
    """Arrivals as they are written on the command line."""

    kind: str
    cv: float | None = None
    steps: tuple[tuple[float, float], ...] = ()
    """(rate [1/s], duration [s]), in order; of a ramp: its two ends, each with the whole duration."""

    @property
    def duration_s(self) -> float | None:
        """How long it lasts; None where the rate and the number of requests decide."""
        if self.kind == "steps":
            return sum(duration for _, duration in self.steps)
        return self.steps[0][1] if self.kind == "ramp" else None

    @property
    def mean_rate(self) -> float | None:
        """Arrivals over the duration; None where they have no rate of their own. [1/s]"""
        if self.kind == "steps":
            return sum(rate * duration for rate, duration in self.steps) / (self.duration_s or 1.0)
        return sum(rate for rate, _ in self.steps) / 2 if self.kind == "ramp" else None


def parse_pattern(text: str) -> Pattern:
    """A pattern of arrivals from text.

    >>> parse_pattern("steps:5@30,20@10").mean_rate, parse_pattern("ramp:1-20@60").mean_rate
    (8.75, 10.5)

    Raises:
        WorkloadError: no such pattern, or figures that are none.
    """
    kind, _, parameter = text.strip().lower().partition(":")
    match kind:
        case "constant" | "poisson" | "trace" if not parameter:
            return Pattern(kind)
        case "gamma":
            cv = _figure(parameter, "gamma:CV takes a coefficient of variation, such as gamma:2")
            if not 0 < cv < math.inf:
                raise WorkloadError(
                    f"{{arrivals}}: the coefficient of variation must be above 0, got {cv:g}", field="arrivals"
                )
            if not _LEAST_CV <= cv <= _MOST_CV:
                raise WorkloadError(
                    f"{{arrivals}}: the coefficient of variation is from {_LEAST_CV:g} to {_MOST_CV:g}, got {cv:g}",
                    field="arrivals",
                )
            return Pattern(kind, cv=cv)
        case "steps":
            wanted = "steps takes a rate per second and seconds for each step, such as steps:5@30,20@30"
            steps: list[tuple[float, float]] = []
            for part in parameter.split(","):
                match = _STEP.fullmatch(part.strip())
                if match is None:
                    raise WorkloadError(f"{{arrivals}} {wanted}, not {part!r}", field="arrivals")
                steps.append((_figure(match["rate"], wanted), _figure(match["duration"], wanted)))
        case "ramp":
            wanted = "ramp takes two rates per second and seconds, such as ramp:1-20@60"
            ends, _, seconds = parameter.partition("@")
            first, dash, last = ends.partition("-")
            if not dash:
                raise WorkloadError(f"{{arrivals}} {wanted}, not {parameter!r}", field="arrivals")
            duration = _figure(seconds, wanted)
            steps = [(_figure(first, wanted), duration), (_figure(last, wanted), duration)]
        case _:
            raise WorkloadError(f"{_KINDS}, not {text!r}", fields=("arrivals", "trace"))
    if any(rate < 0 or not duration > 0 for rate, duration in steps) or not any(rate > 0 for rate, _ in steps):
        raise WorkloadError(
            f"{{arrivals}} {wanted}; rates of at least 0, one of them above, and seconds above 0", field="arrivals"
        )
    return Pattern(kind, steps=tuple(steps))


def _figure(text: str, wanted: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise WorkloadError(f"{{arrivals}} {wanted}, not {text!r}", field="arrivals")
    return value
