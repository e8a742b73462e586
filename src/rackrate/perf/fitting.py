"""Fits the coefficients to published rows: maximum a posteriori with heavy-tailed residuals and partial pooling.

Gauss-Newton on log ratios, a Student-t weight per residual (a faulty row counts little), cells (file, accelerator,
engine) weighted so that a large file does not outvote a rare card. The curvature at the end is the inverse covariance
of the coefficients, and it gives leave-one-group-out predictions without refitting: dropping a group is one more Newton
step.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rackrate.perf.model_terms import Groups, coefficients_of, fields_of, logs_of, of_logs, parameter_priors
from rackrate.perf.predict_case import Predicted, cache_tokens, replay
from rackrate.perf.step_time import Coefficients, EngineStep, engine_step
from rackrate.perf.step_work import formats_on, linear_work

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rackrate.perf.published import Case

    Floats = NDArray[np.floating[Any]]

CLASSES = ("throughput", "tpot", "ttft")
SCALE = {"throughput": 0.12, "tpot": 0.12, "ttft": 0.30}
"""Spread of log ratios that is expected of a good row: 0.1 is what two boxes of one card differ by."""
FREEDOM = 3.0
"""Degrees of freedom of the Student-t: at 3 a residual of five spreads counts an eighth."""
CELL_WEIGHT = 3.0
"""A cell of n rows of one class counts for this many times sqrt(n) of them: between every row and every cell alike."""
NUDGE = 0.05
"""Step of the finite differences, in logarithms: runs are made of whole requests, smaller steps see their noise."""

Parameters = Mapping[str, float]


@dataclass(frozen=True)
class Observation:
    """One published figure of a case."""

    case: int
    kind: str
    log_value: float


def groups_of(case: Case, with_box: bool = True) -> Groups:
    """The groups of a published row; its box is the file and the accelerator, for machines have no column."""
    box = f"{case.source}/{case.gpu}".replace(":", " ")
    return Groups(
        case.accelerator.vendor, case.accelerator.architecture, case.gpu, case.era.id, box if with_box else None
    )


def predict(case: Case, values: Parameters, with_box: bool = True) -> Predicted:
    """What the fitted model says of a row. Raises UserError where facts of its accelerator are missing."""
    return replay_of(case, replay_terms(case, coefficients_of(values, case.era, groups_of(case, with_box))))


Terms = tuple[EngineStep, float, float]
"""Step, cache [token] and seconds of a request: all that the replay of a row depends on."""


def replay_terms(case: Case, known: Coefficients) -> Terms:
    """What coefficients make of a row. Raises UserError where facts of its accelerator are missing."""
    formats = formats_on(case.accelerator, case.weights, case.kv)
    step = engine_step(
        case.model, case.accelerator, case.parallel, formats, known, case.era, streaming=case.load.streamed
    )
    work = linear_work(case.model, formats)
    room = cache_tokens(case, work.weight_bytes + work.expert_bytes, work.context_bytes, known.engine_gib)
    return step, room, known.request_s


def replay_of(case: Case, terms: Terms) -> Predicted:
    """The row's run."""
    step, room, request_s = terms
    return replay(case.load, step, case.scheduler, room, request_s, case.parallel.data)


def figures(predicted: Predicted) -> dict[str, float | None]:
    """Predicted figures by class."""
    return {"throughput": predicted.output_tok_s, "tpot": predicted.tpot_s, "ttft": predicted.ttft_s}


def observations(cases: Sequence[Case], everything: bool = False) -> list[Observation]:
    """The figures to fit; with `everything` also those that are known to mean something else."""
    found: list[Observation] = []
    for index, case in enumerate(cases):
        seen = case.observed
        if not everything and case.flags & {
            "throttled",
            "burst",
            "prefix-cache",
            "assumed-engine",
            "assumed-prompt",
            "data-expert",
        }:
            continue
        pairs = [("throughput", seen.output_tok_s), ("tpot", seen.tpot_s), ("ttft", seen.ttft_s)]
        for kind, value in pairs:
            if value is None or value <= 0:
                continue
            if kind == "ttft" and "queued-ttft" in case.flags and not everything:
                continue
            if kind == "throughput" and "queued-ttft" in case.flags and not everything:
                continue  # derived from that TTFT and from TPOT, which is fitted
            if kind == "ttft" and case.load.kind == "poisson" and not everything and value > 1.0:
                continue  # a queue: a difference of arrivals and capacity, no physics of its own
            found.append(Observation(index, kind, math.log(value)))
    return found


@dataclass(frozen=True)
class Fit:
    """The coefficients and how sure they are."""

    values: dict[str, float]
    """Logarithms (departures are logarithms of factors)."""
    names: tuple[str, ...]
    covariance: Floats
    residuals: Floats
    """ln(predicted/observed) of each observation, at the end."""
    iterations: int
    jacobian: Floats
    weights: Floats
    priors: dict[str, tuple[float, float]]


def thin(cases: Sequence[Case], most: int, seed: int = 5) -> list[int]:
    """Indices of at most `most` rows of each cell and load kind, drawn with a seed; every row of small cells."""
    by_cell: dict[object, list[int]] = defaultdict(list)
    for index, case in enumerate(cases):
        key = (case.cell, case.load.kind, case.model.experts is None)
        by_cell[key].append(index)
    chosen: list[int] = []
    generator = np.random.default_rng(seed)
    for indices in by_cell.values():
        kept = indices if len(indices) <= most else generator.choice(indices, most, replace=False).tolist()
        chosen.extend(int(one) for one in kept)
    return sorted(chosen)


def cell_weights(cases: Sequence[Case], seen: Sequence[Observation]) -> Floats:
    """Weight of each observation: n rows of a cell and class count for CELL_WEIGHT sqrt(n) of them, or n if less."""
    counts = Counter((cases[one.case].cell, one.kind) for one in seen)
    return np.array([min(1.0, CELL_WEIGHT * counts[cases[one.case].cell, one.kind] ** -0.5) for one in seen])


def fit(
    cases: Sequence[Case],
    *,
    iterations: int = 8,
    start: Parameters | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Fit:
    """Coefficients that these rows make most probable."""
    seen = observations(cases)
    groups = [groups_of(case) for case in cases]
    priors = parameter_priors({case.era.id for case in cases}, groups)
    names = tuple(priors)
    mean = np.array([priors[name][0] for name in names])
    spread = np.array([priors[name][1] for name in names])
    values = np.array([(start or {}).get(name, priors[name][0]) for name in names])
    observed = np.array([one.log_value for one in seen])
    scale = np.array([SCALE[one.kind] for one in seen])
    share = cell_weights(cases, seen)
    by_case: dict[int, list[int]] = defaultdict(list)
    for row, one in enumerate(seen):
        by_case[one.case].append(row)
    moved_by = {index: _columns(names, cases[index], groups[index]) for index in by_case}

    def fill(index: int, terms: Terms, into: Floats) -> None:
        got = figures(replay_of(cases[index], terms))
        for row in by_case[index]:
            value = got[seen[row].kind]
            into[row] = math.log(value) if value is not None and value > 0 and math.isfinite(value) else observed[row]

    def logs(at: Floats) -> Floats:
        table = dict(zip(names, at.tolist(), strict=True))
        into = np.zeros(len(seen))
        for index in by_case:
            known = coefficients_of(table, cases[index].era, groups[index])
            fill(index, replay_terms(cases[index], known), into)
        return into

    def slopes(at: Floats, now: Floats) -> Floats:
        """Departures add to the logarithms of the same few fields: one replay for each field that matters to a row."""
        table = dict(zip(names, at.tolist(), strict=True))
        jacobian = np.zeros((len(seen), len(names)))
        changed = now.copy()
        for index, columns in moved_by.items():
            case, rows = cases[index], by_case[index]
            base = logs_of(table, case.era, groups[index])
            terms = replay_terms(case, of_logs(base))
            for field, moved in columns.items():
                nudged = replay_terms(case, of_logs({**base, field: base[field] + NUDGE}))
                if nudged == terms:
                    continue
                fill(index, nudged, changed)
                jacobian[np.ix_(rows, moved)] += ((changed[rows] - now[rows]) / NUDGE)[:, None]
        return jacobian

    now = logs(values)

    def loss(residual: Floats, at: Floats) -> float:
        unit = residual / scale
        data = share * 0.5 * (FREEDOM + 1) * np.log1p(unit * unit / FREEDOM)
        return float(data.sum() + 0.5 * (((at - mean) / spread) ** 2).sum())

    best = loss(now - observed, values)
    jacobian = np.zeros((len(seen), len(names)))
    weight = share / scale**2
    done = 0
    damping = 1e-3
    for number in range(iterations):
        jacobian = slopes(values, now)
        residual = now - observed
        unit = residual / scale
        weight = share / scale**2 * (FREEDOM + 1) / (FREEDOM + unit * unit)
        hessian = jacobian.T @ (weight[:, None] * jacobian) + np.diag(1 / spread**2)
        gradient = jacobian.T @ (weight * residual) + (values - mean) / spread**2
        improved = False
        for _ in range(6):
            step = np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), gradient)
            step = np.clip(step, -0.7, 0.7)
            tried = values - step
            then = logs(tried)
            lost = loss(then - observed, tried)
            if lost < best:
                improved = best - lost > 1e-3 * best
                values, now, best, damping = tried, then, lost, max(damping / 5, 1e-5)
                break
            damping *= 6
        done = number + 1
        say(f"iteration {done}: loss {best:.1f}, median |log ratio| {float(np.median(np.abs(now - observed))):.3f}")
        if not improved:
            break
    residual = now - observed
    unit = residual / scale
    weight = share / scale**2 * (FREEDOM + 1) / (FREEDOM + unit * unit)
    hessian = jacobian.T @ (weight[:, None] * jacobian) + np.diag(1 / spread**2)
    return Fit(
        dict(zip(names, values.tolist(), strict=True)),
        names,
        np.linalg.inv(hessian),
        residual,
        done,
        jacobian,
        weight,
        priors,
    )


def _columns(names: Sequence[str], case: Case, groups: Groups) -> dict[str, list[int]]:
    """By field of `Coefficients`, the parameters that move it for this row."""
    found: dict[str, list[int]] = defaultdict(list)
    for column, name in enumerate(names):
        for field in fields_of(name, case.era.id, groups):
            found[field].append(column)
    return found


def without(fitted: Fit, rows: NDArray[np.bool_]) -> dict[str, float]:
    """The coefficients had these observations not been there: one Newton step from the fit, weights held.

    At the optimum the gradients of rows and priors cancel, so that without the rows G the gradient is minus theirs:
    values - (H - H_G)^-1 x (-J_G' W r_G). Exact for a linear model; a few per cent of the change is missed here.
    """
    names = fitted.names
    mean = np.array([fitted.priors[name][0] for name in names])
    spread = np.array([fitted.priors[name][1] for name in names])
    values = np.array([fitted.values[name] for name in names])
    keep = ~rows
    jacobian, weight = fitted.jacobian[keep], fitted.weights[keep]
    hessian = jacobian.T @ (weight[:, None] * jacobian) + np.diag(1 / spread**2)
    gradient = jacobian.T @ (weight * fitted.residuals[keep]) + (values - mean) / spread**2
    moved = values - np.clip(np.linalg.solve(hessian, gradient), -1.5, 1.5)
    return dict(zip(names, moved.tolist(), strict=True))
