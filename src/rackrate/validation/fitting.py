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
from typing import TYPE_CHECKING

import numpy as np

from rackrate.simulation.step import StepTime
from rackrate.steptime.engine_step import Coefficients, engine_step
from rackrate.steptime.parameters import Groups, coefficients_of, fields_of, logs_of, of_logs, parameter_priors
from rackrate.steptime.replay import Predicted, replay
from rackrate.steptime.work import formats_on, linear_work
from rackrate.validation.cases import cache_tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rackrate.validation.cases import Case

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

CLASSES = ("throughput", "tpot", "ttft")
SCALE = {"throughput": 0.12, "tpot": 0.12, "ttft": 0.30}
"""Spread of log ratios that is expected of a good row: 0.1 is what two machines with one card differ by."""
FREEDOM = 3.0
"""Degrees of freedom of the Student-t: at 3 a residual of five spreads counts an eighth."""
CELL_WEIGHT = 3.0
"""A cell of n rows of one class counts for this many times sqrt(n) of them: between every row and every cell alike."""
ENOUGH_GAIN = 1e-3
"""A step that lowers the loss by a smaller share of it is the last."""
MANY = 0.03
"""Share of the figures beyond which leaving them out takes more than one step."""
NUDGE = 0.05
"""Step of the finite differences, in logarithms: runs are made of whole requests, smaller steps see their noise."""

Parameters = Mapping[str, float]


@dataclass(frozen=True)
class Observation:
    """One published figure of a case."""

    case: int
    kind: str
    log_value: float


def groups_of(case: Case, with_machine: bool = True) -> Groups:
    """The groups of a published row; its machine is the file and the accelerator, since no column names one."""
    machine = f"{case.source}/{case.gpu}".replace(":", " ")
    known = case.accelerator
    return Groups(known.vendor, known.architecture, case.gpu, case.release.id, machine if with_machine else None)


def predict(case: Case, values: Parameters, with_machine: bool = True) -> Predicted:
    """What the fitted model says of a row. Raises UserError where facts of its accelerator are missing."""
    return replay_of(case, replay_terms(case, coefficients_of(values, case.release, groups_of(case, with_machine))))


Terms = tuple[StepTime, float, float]
"""Step, cache [token] and seconds of a request: all that the replay of a row depends on."""


def replay_terms(case: Case, known: Coefficients) -> Terms:
    """What coefficients make of a row. Raises UserError where facts of its accelerator are missing."""
    formats = formats_on(case.accelerator, case.weights, case.kv)
    step = engine_step(
        case.model, case.accelerator, case.parallel, formats, known, case.release, streaming=case.load.streamed
    )
    work = linear_work(case.model, formats)
    kv_capacity = cache_tokens(case, work, known.engine_gib)
    return step, kv_capacity, known.request_s


def replay_of(case: Case, terms: Terms) -> Predicted:
    """The row's run."""
    step, kv_capacity, request_s = terms
    return replay(case.load, step, case.scheduler, kv_capacity, request_s, case.parallel.data)


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


class Problem:
    """Rows to fit: what is observed, what the parameters are, how probable their values are."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.cases = cases
        self.seen = observations(cases)
        self._groups = [groups_of(case) for case in cases]
        self.priors = parameter_priors({case.release.id for case in cases}, self._groups)
        self.names = tuple(self.priors)
        self.mean = np.array([self.priors[name][0] for name in self.names])
        self.spread = np.array([self.priors[name][1] for name in self.names])
        self.observed = np.array([observation.log_value for observation in self.seen])
        self._scale = np.array([SCALE[observation.kind] for observation in self.seen])
        self._share = cell_weights(cases, self.seen)
        self._rows: dict[int, list[int]] = defaultdict(list)
        for row, item in enumerate(self.seen):
            self._rows[item.case].append(row)
        self._moved = {index: _columns(self.names, cases[index], self._groups[index]) for index in self._rows}

    def _fill(self, index: int, terms: Terms, into: Floats) -> None:
        got = figures(replay_of(self.cases[index], terms))
        for row in self._rows[index]:
            value = got[self.seen[row].kind]
            into[row] = math.log(value) if value is not None and 0 < value < math.inf else self.observed[row]

    def logs(self, at: Floats, kept_rows: Flags | None = None) -> Floats:
        """Logarithms of the predicted figures, shape (observations,); those not in `kept_rows` are as observed."""
        table = dict(zip(self.names, at.tolist(), strict=True))
        into = self.observed.copy()
        for index, rows in self._rows.items():
            if kept_rows is None or kept_rows[rows].any():
                case = self.cases[index]
                self._fill(index, replay_terms(case, coefficients_of(table, case.release, self._groups[index])), into)
        return into

    def slopes(self, at: Floats, now: Floats) -> Floats:
        """Derivatives of the logarithms by the parameters, shape (observations, parameters).

        Departures add to the logarithms of the same few fields: one replay for each field that matters to a row.
        """
        table = dict(zip(self.names, at.tolist(), strict=True))
        jacobian = np.zeros((len(self.seen), len(self.names)))
        changed = now.copy()
        for index, columns in self._moved.items():
            case, rows = self.cases[index], self._rows[index]
            base = logs_of(table, case.release, self._groups[index])
            terms = replay_terms(case, of_logs(base))
            for field, moved in columns.items():
                nudged = replay_terms(case, of_logs({**base, field: base[field] + NUDGE}))
                if nudged == terms:
                    continue
                self._fill(index, nudged, changed)
                jacobian[np.ix_(rows, moved)] += ((changed[rows] - now[rows]) / NUDGE)[:, None]
        return jacobian

    def loss(self, residual: Floats, at: Floats, kept_rows: Flags | None = None) -> float:
        """Minus the logarithm of the posterior, up to a constant."""
        unit, share = residual / self._scale, self._share
        data = share * 0.5 * (FREEDOM + 1) * np.log1p(unit * unit / FREEDOM)
        return float(data[kept_rows].sum() if kept_rows is not None else data.sum()) + float(
            0.5 * (((at - self.mean) / self.spread) ** 2).sum()
        )

    def weight(self, residual: Floats) -> Floats:
        """What a squared residual counts, shape (observations,); little where it is large."""
        unit = residual / self._scale
        return self._share / self._scale**2 * (FREEDOM + 1) / (FREEDOM + unit * unit)

    def curvature(self, jacobian: Floats, weight: Floats) -> Floats:
        """Of the loss, shape (parameters, parameters)."""
        return jacobian.T @ (weight[:, None] * jacobian) + np.diag(1 / self.spread**2)

    def follow(
        self, at: Floats, residual: Floats, jacobian: Floats, *, steps: int, kept_rows: Flags | None = None,
        damping: float = 1e-3, most: float = 0.7,
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """Newton steps with derivatives that are held, while each lowers the loss; only rows in `kept_rows` count.

        Returns the parameters and the residuals there. A step costs one replay of the rows, the derivatives some forty.
        """
        chosen = slice(None) if kept_rows is None else kept_rows
        best = self.loss(residual, at, kept_rows)
        for _ in range(steps):
            weight: Floats = self.weight(residual)[chosen]
            hessian: Floats = self.curvature(jacobian[chosen], weight)
            gradient: Floats = jacobian[chosen].T @ (weight * residual[chosen]) + (at - self.mean) / self.spread**2
            for _ in range(6):
                step: Floats = np.asarray(
                    np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), gradient), np.float64
                )
                tried: Floats = at - np.clip(step, -most, most)
                then: Floats = self.logs(tried, kept_rows) - self.observed
                lost = self.loss(then, tried, kept_rows)
                if lost < best:
                    break
                damping = max(damping, 1e-4) * 6
            else:
                return at, residual
            gained, at, residual, best = best - lost, tried, then, lost
            damping = max(damping / 5, 1e-5)
            if gained < ENOUGH_GAIN * best:
                break
        return at, residual


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
    problem: Problem


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
        chosen.extend(int(item) for item in kept)
    return sorted(chosen)


def cell_weights(cases: Sequence[Case], seen: Sequence[Observation]) -> Floats:
    """Weight of each observation: n rows of a cell and class count for CELL_WEIGHT sqrt(n) of them, or n if less."""
    counts = Counter((cases[observation.case].cell, observation.kind) for observation in seen)
    return np.array(
        [min(1.0, CELL_WEIGHT * counts[cases[observation.case].cell, observation.kind] ** -0.5) for observation in seen]
    )


def fit(
    cases: Sequence[Case],
    *,
    iterations: int = 8,
    start: Parameters | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Fit:
    """Coefficients that these rows make most probable: Gauss-Newton, with a few steps for each set of derivatives."""
    problem = Problem(cases)
    values: Floats = np.array([(start or {}).get(name, problem.priors[name][0]) for name in problem.names])
    residual: Floats = problem.logs(values) - problem.observed
    jacobian: Floats = np.zeros((len(problem.seen), len(problem.names)))
    done = 0
    for number in range(iterations):
        before = problem.loss(residual, values)
        jacobian = problem.slopes(values, residual + problem.observed)
        values, residual = problem.follow(values, residual, jacobian, steps=4)
        best = problem.loss(residual, values)
        done = number + 1
        say(f"iteration {done}: loss {best:.1f}, median |log ratio| {float(np.median(np.abs(residual))):.3f}")
        if before - best < ENOUGH_GAIN * best:
            break
    hessian = problem.curvature(jacobian, problem.weight(residual))
    return Fit(
        dict(zip(problem.names, values.tolist(), strict=True)),
        problem.names,
        np.asarray(np.linalg.inv(hessian), np.float64),
        residual,
        done,
        jacobian,
        problem,
    )


def _columns(names: Sequence[str], case: Case, groups: Groups) -> dict[str, list[int]]:
    """By field of `Coefficients`, the parameters that move it for this row."""
    found: dict[str, list[int]] = defaultdict(list)
    for column, name in enumerate(names):
        for field in fields_of(name, case.release.id, groups):
            found[field].append(column)
    return found


def without(fitted: Fit, rows: Flags) -> dict[str, float]:
    """The coefficients had these observations not been there: Newton steps from the fit, its derivatives held.

    The first is large: without the rows G the gradient is minus theirs, values - (H - H_G)^-1 x (-J_G' W r_G). Where
    rows are many, their coefficients go back to the priors and the model is not linear on the way, so that up to four
    more follow: an author of a third of the figures was 16 % off in time per token over capacity after one step, 18.7
    after four and 19.2 % in a fit without them.
    """
    problem, kept_rows = fitted.problem, ~rows
    steps = 5 if rows.mean() > MANY else 1
    values = np.array([fitted.values[name] for name in fitted.names])
    if kept_rows.any():
        residual = np.where(kept_rows, fitted.residuals, 0.0)
        values, _ = problem.follow(
            values, residual, fitted.jacobian, steps=steps, kept_rows=kept_rows, damping=0.0, most=1.5
        )
    return dict(zip(fitted.names, values.tolist(), strict=True))
