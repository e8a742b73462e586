"""`rackrate validate` as plain values (schema rackrate.validate/1), and as a page."""

from __future__ import annotations

from collections import Counter
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


def percent(share: float | None) -> str:
    """A share as per cent with one digit; a dash where unknown."""
    return "-" if share is None else f"{share * 100:.1f} %"


def row_texts(row: Json) -> list[str]:
    """Name, count and errors of one row, as text."""
    return [
        row["name"], str(row["figures"]), percent(row["median"]), percent(row["p90"]), f"{row['bias'] * 100:+.1f} %",
        str(row["cells"]), percent(row["cell_median"]), percent(row["coverage"]),
    ]  # fmt: skip


def _markdown(rows: Sequence[Json], first: str) -> str:
    heads = [first, "figures", "median", "90th percentile", "bias", "cells", "median of cells", "80 % interval covers"]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    lines += ["| " + " | ".join(row_texts(row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def page(view: Json) -> str:
    """docs/validation.md."""
    fitted = view["coefficients"]
    parts = [
        "# How good the predictions are\n",
        "This page is generated (`make validate`). Every published row of the files below is predicted as if its "
        "machine were unknown; errors are |ln(predicted/observed)|, bias is the median of ln(predicted/observed), "
        "cells are (file, accelerator, engine). The coefficients were fitted on "
        f"{fitted['written']} to {fitted['rows_fitted']} of these rows, so the first table flatters; the tables of "
        "groups left out are what to expect of an accelerator or an author that the fit never saw.\n",
        "## Files\n",
    ]
    parts += [f"- {file['name']}: {file['predicted']} of {file['rows']} rows predicted" for file in view["files"]]
    left_out: Counter[str] = Counter()
    for file in view["files"]:
        left_out.update({reason["reason"]: reason["count"] for reason in file["left_out"]})
    parts.append("\nLeft out: " + "; ".join(f"{count} ({reason})" for reason, count in left_out.most_common()) + ".\n")
    parts += ["## All rows\n", _markdown(view["classes"], "class")]
    for way in view["left_out_groups"]:
        if way["way"] == OTHER:
            parts += ["## Rows of other authors, which no fit has seen\n", _markdown(way["classes"], "class")]
            parts += ["By source:\n", _markdown(way["by_group"], "source")]
            continue
        parts += [f"## Each {way['way']} left out\n", _markdown(way["classes"], "class")]
        if way["way"] == "configuration":
            parts += [
                "Tenths of the configurations (file, accelerator, engine, model, tensor parallelism), drawn by name.\n"
            ]
            continue
        parts += [f"By {way['way']} (throughput, time per token, first token below saturation):\n"]
        parts += [_markdown(way["by_group"], way["way"])]
    if view["anchored"]:
        parts += ["## With one measured point of the same box\n", _markdown(view["anchored"], "class")]
    parts += ["## By accelerator\n", _markdown(view["by_accelerator"], "accelerator")]
    parts += ["## By engine\n", _markdown(view["by_engine"], "engine")]
    parts += ["## By source\n", _markdown(view["by_source"], "source")]
    return "\n".join(parts)
