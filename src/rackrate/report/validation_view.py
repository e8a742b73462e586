"""`rackrate validate` as what its outputs are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rackrate.schemas import checks as views
from rackrate.schemas.root import made
from rackrate.steptime.coefficient_file import CoefficientFile
from rackrate.validation.cases import Case
from rackrate.validation.comparisons import CLASS_NAMES, HEADLINE, Comparison, Errors, by_class, errors_of
from rackrate.validation.cross_validation import OTHER, WAYS, LeftOut, with_interval
from rackrate.validation.results import Validation


def validation_view(found: Validation) -> views.ValidateView:
    """Errors of all rows, of what was left out, and every figure."""
    known, everything = found.coefficients, found.comparisons
    return views.ValidateView(
        coefficients=made(views.UsedCoefficients, known),
        files=[
            made(views.FileErrors, file, left_out=[views.LeftOutRows(*reason) for reason in file.left_out])
            for file in found.files
        ],
        classes=_classes(everything),
        by_accelerator=_grouped(everything, lambda case: case.gpu),
        by_engine=_grouped(everything, lambda case: case.release.id),
        by_source=_grouped(everything, lambda case: case.source),
        left_out_groups=_left_out(found.left_out, known),
        anchored=_classes(found.anchored),
        rows=[made(views.PredictedFigure, item, item.case, class_=item.kind) for item in everything],
    )


def _row(errors: Errors, name: str) -> views.ErrorsRow:
    return made(views.ErrorsRow, errors, name=name, figures=errors.count)


def _classes(comparisons: Sequence[Comparison]) -> list[views.ClassErrors]:
    """Errors by class."""
    return [
        made(views.ClassErrors, _row(errors, CLASS_NAMES[kind]), class_=kind)
        for kind, found in by_class(comparisons).items()
        if (errors := errors_of(found)) is not None
    ]


def _grouped(comparisons: Sequence[Comparison], key: Callable[[Case], str]) -> list[views.ErrorsRow]:
    """Errors of the headline classes by a property of the row."""
    groups: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        if comparison.kind in HEADLINE:
            groups.setdefault(key(comparison.case), []).append(comparison)
    return [_row(errors, name) for name in sorted(groups) if (errors := errors_of(groups[name])) is not None]


def _left_out(found: Sequence[LeftOut], known: CoefficientFile) -> list[views.GroupErrors]:
    rows: list[views.GroupErrors] = []
    for way, group in {**WAYS, OTHER: WAYS["source"]}.items():
        chosen = [with_interval(match.comparison, known, match.distance) for match in found if match.way == way]
        if chosen:
            rows.append(views.GroupErrors(way, _classes(chosen), _grouped(chosen, group)))
    return rows
