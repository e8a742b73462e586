"""How the model does on accelerators, authors and families that it never saw, and the intervals that follow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from rackrate.steptime.coefficient_file import OF_EXPERTS, CoefficientFile, Spread, distance_from
from rackrate.validation.comparisons import CLASS_NAMES, Comparison, compare_all
from rackrate.validation.fitting import Fit, observations, without

if TYPE_CHECKING:
    from rackrate.validation.cases import Case

FOLDS = 10


def fold_of(case: Case) -> str:
    """Which tenth of the configurations (file, accelerator, engine, model, tensor parallelism) a row is in."""
    name = "|".join((case.file, case.gpu, case.release.engine, case.model.name, str(case.parallel.tensor)))
    return f"tenth {crc32(name.encode()) % FOLDS}"


WAYS: dict[str, Callable[[Case], str]] = {
    "accelerator": lambda case: case.gpu,
    "source": lambda case: case.source,
    "family": lambda case: case.accelerator.architecture,
    "configuration": fold_of,
}
"""What is left out together: all rows of an accelerator, of an author, of an accelerator family, of a tenth of the
configurations (a card that is known, with a model or a tensor parallelism that is not)."""

OTHER = "other"
"""The way of rows that no fit has seen: of other authors, held out."""

ENOUGH = 25
"""Fewest residuals that make a quantile of their own."""


@dataclass(frozen=True)
class LeftOut:
    """A comparison in which the row's whole group was unknown to the coefficients."""

    way: str
    group: str
    distance: str
    """How near what remained is: `measured` (the same accelerator by another author), `same family`, `extrapolated`."""
    comparison: Comparison


def leave_out(
    cases: Sequence[Case], fitted: Fit, used: Sequence[int], ways: Iterable[str] = tuple(WAYS),
    tick: Callable[[str], None] = lambda _: None,
) -> list[LeftOut]:  # fmt: skip
    """Every row predicted without its group, one group at a time. `used` are the indices of `cases` that were
    fitted."""
    seen = observations([cases[index] for index in used])
    case_of_row = np.array([used[observation.case] for observation in seen])
    found: list[LeftOut] = []
    for way in ways:
        key = WAYS[way]
        names = np.array([key(case) for case in cases])
        for group in sorted(set(names.tolist())):
            tick(f"without the {way} {group}")
            values = without(fitted, names[case_of_row] == group)
            inside = [case for case, name in zip(cases, names, strict=True) if name == group]
            outside = [case for case, name in zip(cases, names, strict=True) if name != group]
            accelerators = {case.gpu for case in outside}
            families = {case.accelerator.architecture for case in outside}
            compared, _ = compare_all(inside, values, with_machine=False)
            for comparison in compared:
                here = comparison.case
                near = distance_from(accelerators, families, here.gpu, here.accelerator.architecture)
                found.append(LeftOut(way, group, near, comparison))
    return found


def others_of(
    others: Sequence[Case], values: Mapping[str, float], distance: Callable[[str, str], str]
) -> list[LeftOut]:
    """Every row of other authors, each machine predicted as an unknown one; `distance` of an accelerator and a
    family."""
    compared, _ = compare_all(others, values, with_machine=False)
    return [
        LeftOut(
            OTHER,
            comparison.case.source,
            distance(comparison.case.gpu, comparison.case.accelerator.architecture),
            comparison,
        )
        for comparison in compared
    ]


def intervals(left_out: Sequence[LeftOut]) -> dict[str, dict[str, Spread]]:
    """Quantiles of the errors by class and distance, of mixtures of experts apart where there are enough.

    Of accelerators, authors and families left out, and of other authors' rows, which are held out: whoever asks is
    another author, so that configurations left out, whose author and machine were known, would make the intervals too
    narrow.
    A row counts (rows of its cell)^-1/4: between every row counting the same, which the coverage is of, and a large
    file deciding alone.
    """
    table: dict[str, dict[str, Spread]] = {}
    for kind in CLASS_NAMES:
        of_kind = [
            omission for omission in left_out if omission.comparison.kind == kind and omission.way != "configuration"
        ]
        of_experts = [sibling for sibling in of_kind if sibling.comparison.case.model.experts is not None]
        routed = _by_distance(of_experts)
        if routed:
            table[kind + OF_EXPERTS] = routed
            of_kind = [sibling for sibling in of_kind if sibling.comparison.case.model.experts is None]
        dense = _by_distance(of_kind)
        if not dense and len(of_kind) >= 5:
            dense["measured"] = spread_of([sibling.comparison for sibling in of_kind])
        if dense:
            table[kind] = dense
    return table


def _by_distance(left_out: Sequence[LeftOut]) -> dict[str, Spread]:
    """Quantiles at each distance that has enough rows."""
    found: dict[str, Spread] = {}
    for distance in ("measured", "same family", "extrapolated"):
        chosen = [omission.comparison for omission in left_out if omission.distance == distance]
        if len(chosen) >= ENOUGH:
            found[distance] = spread_of(chosen)
    return found


def spread_of(comparisons: Sequence[Comparison]) -> Spread:
    """Weighted 10 % and 90 % quantiles of ln(predicted/observed), zero within them."""
    counts: dict[object, int] = defaultdict(int)
    for comparison in comparisons:
        counts[comparison.case.cell] += 1
    errors = np.array([comparison.log_ratio for comparison in comparisons])
    weights = np.array([counts[comparison.case.cell] ** -0.25 for comparison in comparisons])
    low, high = weighted_quantiles(errors, weights, (0.1, 0.9))
    return Spread(low=round(min(low, -0.01), 4), high=round(max(high, 0.01), 4), count=len(comparisons))


def weighted_quantiles(values: np.ndarray, weights: np.ndarray, shares: Sequence[float]) -> list[float]:
    """Quantiles of a weighted sample, linear between the middles of the weights.

    >>> import numpy as np
    >>> weighted_quantiles(np.array([3.0, 1.0, 2.0]), np.ones(3), [0.5])
    [2.0]
    """
    order = np.argsort(values)
    places = np.cumsum(weights[order]) - 0.5 * weights[order]
    return [float(item) for item in np.interp(shares, places / weights.sum(), values[order])]


def with_interval(comparison: Comparison, known: CoefficientFile, distance: str | None = None) -> Comparison:
    """The comparison with the 80 % interval of its class; `distance` by the coefficients' own data where not given."""
    near = distance or known.distance(comparison.case.gpu, comparison.case.accelerator.architecture)
    spread = known.interval(comparison.kind, near, comparison.case.model.experts is not None)
    if spread is None:
        return comparison
    low, high = comparison.predicted * float(np.exp(-spread.high)), comparison.predicted * float(np.exp(-spread.low))
    return replace(comparison, low=low, high=high)
