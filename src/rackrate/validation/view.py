"""`rackrate validate` as plain values (schema rackrate.validate/1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rackrate.steptime.coefficient_file import CoefficientFile
from rackrate.validation.cases import Case
from rackrate.validation.comparisons import CLASS_NAMES, HEADLINE, Comparison, by_class, errors_of
from rackrate.validation.cross_validation import OTHER, WAYS, LeftOut, with_interval
from rackrate.validation.results import Validation

Json = dict[str, Any]
SCHEMA = "rackrate.validate/1"


def _errors_row(name: str, comparisons: Sequence[Comparison]) -> Json | None:
    errors = errors_of(comparisons)
    if errors is None:
        return None
    return {
        "name": name, "figures": errors.count, "median": errors.median, "p90": errors.p90, "bias": errors.bias,
        "cells": errors.cells, "cell_median": errors.cell_median, "coverage": errors.coverage,
    }  # fmt: skip


def class_rows(comparisons: Sequence[Comparison]) -> list[Json]:
    """Errors by class."""
    rows: list[Json] = []
    for kind, found in by_class(comparisons).items():
        row = _errors_row(CLASS_NAMES[kind], found)
        if row is not None:
            rows.append({"class": kind, **row})
    return rows


def _grouped(comparisons: Sequence[Comparison], key: Callable[[Case], str]) -> list[Json]:
    """Errors of the headline classes by a property of the row."""
    groups: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        if comparison.kind in HEADLINE:
            groups.setdefault(key(comparison.case), []).append(comparison)
    rows = [_errors_row(name, groups[name]) for name in sorted(groups)]
    return [row for row in rows if row is not None]


def validation_view(found: Validation) -> Json:
    """Plain values, schema rackrate.validate/1."""
    known, everything = found.coefficients, found.comparisons
    return {
        "schema": SCHEMA,
        "coefficients": {
            "written": known.written, "rows_fitted": known.rows_fitted, "command": known.command,
            "inputs": [source.model_dump() for source in known.inputs],
        },
        "files": [
            {
                "name": file.name, "rows": file.rows, "predicted": file.predicted,
                "left_out": [{"reason": reason, "count": count} for reason, count in file.left_out],
            }
            for file in found.files
        ],
        "classes": class_rows(everything),
        "by_accelerator": _grouped(everything, lambda case: case.gpu),
        "by_engine": _grouped(everything, lambda case: case.release.id),
        "by_source": _grouped(everything, lambda case: case.source),
        "left_out_groups": _left_out_view(found.left_out, known),
        "anchored": class_rows(found.anchored),
        "rows": [_row(item) for item in everything],
    }  # fmt: skip


def _row(comparison: Comparison) -> Json:
    return {
        "file": comparison.case.file,
        "line": comparison.case.line,
        "class": comparison.kind,
        "observed": comparison.observed,
        "predicted": comparison.predicted,
        "low": comparison.low,
        "high": comparison.high,
    }


def _left_out_view(found: Sequence[LeftOut], known: CoefficientFile) -> list[Json]:
    rows: list[Json] = []
    for way, group in {**WAYS, OTHER: WAYS["source"]}.items():
        chosen = [with_interval(match.comparison, known, match.distance) for match in found if match.way == way]
        if chosen:
            rows.append({"way": way, "classes": class_rows(chosen), "by_group": _grouped(chosen, group)})
    return rows
