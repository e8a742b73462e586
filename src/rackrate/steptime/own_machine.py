"""One's own machine: the few coefficients of a deployment corrected by what was measured on it.

One measured point (an anchor) moves the three departures of a machine a little; a sweep of six to ten loads determines
rates and host times. Both are the same estimate: the fitted coefficients are the prior, the measurements are the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rackrate.errors import UserError
from rackrate.steptime.deployment import Deployment, Estimate
from rackrate.steptime.engine_step import Coefficients, engine_step
from rackrate.steptime.load import Load, Observed
from rackrate.steptime.parameters import Groups, coefficients_of
from rackrate.steptime.replay import Predicted
from rackrate.steptime.work import formats_on

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SWEEP_SPREADS: dict[str, float] = {
    "memory": 0.5, "compute16": 0.5, "compute8": 0.5, "compute4": 0.5, "attention_memory": 0.5,
    "attention_compute": 0.5,
    "host_step_s": 0.8, "host_sequence_s": 1.0, "host_prefill_s": 0.8, "stream_s": 1.0, "request_s": 0.8,
    "sharpness": 0.3, "gap_s": 0.5,
    "link_latency_s": 0.4, "pcie_latency_s": 0.4,
}  # fmt: skip
"""How far a machine's own coefficient may lie from the fitted one (standard deviation of the logarithm)."""

ANCHOR_SPREADS: dict[str, float] = {
    "memory": 0.3, "compute16": 0.375, "compute8": 0.375, "compute4": 0.375, "attention_memory": 0.375,
    "host_step_s": 1.0, "host_sequence_s": 1.0, "host_prefill_s": 1.0, "stream_s": 1.0,
    "link_latency_s": 0.4, "pcie_latency_s": 0.4, "gap_s": 0.5,
    "experts_memory": 0.3, "experts_compute": 0.3, "experts_gap_s": 0.5,
}  # fmt: skip
"""The same where one point is known: chosen by how well it predicts the other rows of published machines."""

UNKNOWN_HARDWARE = 1.5
"""Spread of rates where the catalogue has no datasheet of the hardware."""

FIGURE_SPREAD = {"output_tok_s": 0.04, "tpot_s": 0.05, "ttft_s": 0.12}
"""What a repeated measurement of one machine differs by (logarithm)."""

Point = tuple[Load, Observed]
Replay = Callable[[Deployment, Load], Predicted]
"""What a deployment makes of a load."""


def half_width(figure: str, errors: Sequence[float]) -> float:
    """Half of the 80 % interval of a figure of an unseen load, from ln(predicted/measured) of the seen ones.

    Unseen loads are predicted worse than seen ones: never below what repeats differ by.
    """
    scatter = math.sqrt(FIGURE_SPREAD[figure] ** 2 + (sum(e * e for e in errors) / len(errors) if errors else 0.0))
    return 1.2816 * 1.5 * scatter


@dataclass(frozen=True)
class Calibrated:
    """A deployment corrected by measurements, and how well it agrees with them."""

    deployment: Deployment
    logs: dict[str, float]
    """The corrected coefficients, as logarithms."""
    spreads: dict[str, float]
    """Their standard deviations."""
    residuals: tuple[tuple[int, str, float], ...]
    """(point, figure, ln(predicted/measured)) after the correction."""

    def predict(self, load: Load, replay: Replay = Deployment.replay) -> dict[str, Estimate]:
        """Figures of a load, with 80 % intervals from the disagreement with the measured points."""
        got = replay(self.deployment, load)
        plain = {"output_tok_s": got.output_tok_s, "tpot_s": got.tpot_s, "ttft_s": got.ttft_s}
        found: dict[str, Estimate] = {}
        for name, value in plain.items():
            if value is None:
                continue
            wide = half_width(name, [error for _, figure, error in self.residuals if figure == name])
            found[name] = Estimate(value, value * math.exp(-wide), value * math.exp(wide), "calibrated", "calibrated")
        return found


def _names_that_matter(deployment: Deployment, spreads: dict[str, float]) -> dict[str, float]:
    """Drops the rates of widths that this deployment does not use."""
    width = formats_on(deployment.accelerator, deployment.weights).compute
    unused = {"16": {"compute8", "compute4"}, "8": {"compute4"}, "4": {"compute8"}}[width]
    ranks = deployment.parallel.ranks
    unused |= {"link_latency_s", "pcie_latency_s"} if ranks == 1 else set()
    return {name: spread for name, spread in spreads.items() if name not in unused}


def known_coefficients(deployment: Deployment) -> Coefficients:
    """The coefficients a deployment was made with."""
    groups = Groups(
        deployment.accelerator.vendor,
        deployment.accelerator.architecture,
        deployment.accelerator.id,
        deployment.release.id,
        deployment.machine,
    )
    return coefficients_of(deployment.values, deployment.release, groups)


def with_logs(deployment: Deployment, logs: dict[str, float]) -> Deployment:
    """The deployment with some coefficients replaced (natural logarithms by name of `Coefficients`)."""
    known = replace(known_coefficients(deployment), **{name: math.exp(value) for name, value in logs.items()})
    formats = formats_on(deployment.accelerator, deployment.weights, deployment.kv)
    step = engine_step(
        deployment.model, deployment.accelerator, deployment.parallel, formats, known, deployment.release,
        streaming=deployment.streaming,
    )  # fmt: skip
    return replace(deployment, step=step, request_s=known.request_s)


def calibrate_host(
    deployment: Deployment,
    points: Sequence[Point],
    *,
    spreads: dict[str, float] | None = None,
    unknown_hardware: bool = False,
    iterations: int = 25,
    replay: Replay = Deployment.replay,
) -> Calibrated:
    """The coefficients that make the measured points most probable, starting from the fitted ones.

    Gauss-Newton with Student-t weights (three degrees of freedom). Raises UserError where nothing was measured.
    """
    chosen = _names_that_matter(deployment, dict(spreads or SWEEP_SPREADS))
    if unknown_hardware:
        for name in ("memory", "compute16", "compute8", "attention_memory", "attention_compute"):
            if name in chosen:
                chosen[name] = UNKNOWN_HARDWARE
    seen: list[tuple[int, str, float]] = []
    for index, (_, observed) in enumerate(points):
        figures = {"output_tok_s": observed.output_tok_s, "tpot_s": observed.tpot_s, "ttft_s": observed.ttft_s}
        for figure, value in figures.items():
            if value is not None and value > 0:
                seen.append((index, figure, math.log(value)))
    if not seen:
        raise UserError("nothing was measured that a calibration could use (throughput, time per token, TTFT)")
    names = tuple(chosen)
    before = known_coefficients(deployment)
    mean = np.array([math.log(max(getattr(before, name), 1e-12)) for name in names])
    spread = np.array([chosen[name] for name in names])
    observed_logs = np.array([value for _, _, value in seen])
    scale = np.array([FIGURE_SPREAD[figure] for _, figure, _ in seen])

    def predict(at: Floats) -> Floats:
        shifted = with_logs(deployment, dict(zip(names, at.tolist(), strict=True)))
        runs = {index: replay(shifted, points[index][0]) for index in {observation for observation, _, _ in seen}}
        logs: list[float] = []
        for index, figure, value in seen:
            got = getattr(runs[index], figure)
            logs.append(math.log(got) if got else value)
        return np.array(logs)

    at, covariance = map_estimate(predict, mean, spread, observed_logs, scale, iterations)
    residual = predict(at) - observed_logs
    logs = dict(zip(names, at.tolist(), strict=True))
    return Calibrated(
        with_logs(deployment, logs),
        logs,
        dict(zip(names, np.sqrt(np.diag(covariance)).tolist(), strict=True)),
        tuple((index, figure, float(error)) for (index, figure, _), error in zip(seen, residual, strict=True)),
    )


def map_estimate(
    predict: Callable[[Floats], Floats], mean: Floats, spread: Floats, observed: Floats, scale: Floats, iterations: int
) -> tuple[Floats, Floats]:
    """Maximum a posteriori of a nonlinear regression with Student-t(3) errors and a normal prior, and its covariance.

    A straight line through one exact point, with a loose prior on its slope, meets the point:
    >>> import numpy as np
    >>> one = np.ones(1)
    >>> at, _ = map_estimate(lambda v: v * 2.0, 0 * one, 10 * one, 6 * one, 0.01 * one, 20)
    >>> round(float(at[0]), 3)
    3.0
    """
    at: Floats = mean.copy()
    damping = 1e-3
    now = predict(at)

    def loss(values: Floats, logs: Floats) -> float:
        unit = (logs - observed) / scale
        return float(2.0 * np.log1p(unit * unit / 3.0).sum() + 0.5 * (((values - mean) / spread) ** 2).sum())

    best = loss(at, now)
    hessian: Floats = np.diag(1 / spread**2)
    for _ in range(iterations):
        jacobian: Floats = np.empty((len(observed), len(at)))
        for column in range(len(at)):
            nudged = at.copy()
            nudged[column] += 0.02
            jacobian[:, column] = (predict(nudged) - now) / 0.02
        unit: Floats = (now - observed) / scale
        weight: Floats = 4.0 / (3.0 + unit * unit) / scale**2
        hessian = jacobian.T @ (weight[:, None] * jacobian) + np.diag(1 / spread**2)
        gradient: Floats = jacobian.T @ (weight * (now - observed)) + (at - mean) / spread**2
        gained = 0.0
        for _ in range(8):
            move: Floats = np.asarray(
                np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), gradient), np.float64
            )
            tried: Floats = at - np.clip(move, -1.0, 1.0)
            then = predict(tried)
            lost = loss(tried, then)
            if lost < best:
                gained, at, now, best, damping = best - lost, tried, then, lost, max(damping / 5, 1e-6)
                break
            damping *= 5
        if gained < 1e-6 * max(best, 1.0):
            break
    return at, np.asarray(np.linalg.inv(hessian), np.float64)


def anchored(deployment: Deployment, points: Sequence[Point]) -> Calibrated:
    """The deployment moved towards one or a few points of the same machine."""
    return calibrate_host(deployment, points, spreads=ANCHOR_SPREADS)
