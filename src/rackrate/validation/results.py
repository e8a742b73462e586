"""Published rows, predicted: what was compared, what could not be, and how the model does on groups it never saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rackrate.errors import UserError
from rackrate.files import is_directory
from rackrate.steptime.coefficient_file import CoefficientFile
from rackrate.validation.anchor import anchored_comparisons
from rackrate.validation.comparisons import Comparison, compare_all
from rackrate.validation.cross_validation import LeftOut, leave_out, with_interval
from rackrate.validation.fit_file import ROWS_PER_CELL
from rackrate.validation.fitting import fit, thin
from rackrate.validation.published import Published


@dataclass(frozen=True)
class FileResult:
    """How many rows of a file were predicted, and why the others were not."""

    name: str
    rows: int
    predicted: int
    left_out: tuple[tuple[str, int], ...]
    """Reason and rows, the most frequent first."""


@dataclass(frozen=True)
class Validation:
    """Every row beside its prediction."""

    coefficients: CoefficientFile
    files: tuple[FileResult, ...]
    comparisons: tuple[Comparison, ...]
    """Each machine predicted as an unknown one, with its 80 % interval."""
    left_out: tuple[LeftOut, ...]
    """Predicted without the row's whole group; empty where this was not asked for."""
    anchored: tuple[Comparison, ...]
    """Predicted with one row of the same machine; empty where this was not asked for."""


def csv_files(paths: Sequence[Path]) -> list[Path]:
    """The CSV files named, and those of folders named. Raises UserError where a folder has none."""
    files: list[Path] = []
    for path in paths:
        if is_directory(path):
            inside = sorted(path.glob("*.csv"))
            if not inside:
                raise UserError(f"{path}: has no .csv files of published rows")
            files.extend(inside)
        else:
            files.append(path)
    return files


def validation_of(
    published: Sequence[Published], known: CoefficientFile, left_out: Sequence[LeftOut], *, anchor: bool,
    say: Callable[[str], None],
) -> Validation:  # fmt: skip
    """Predicts every row of files that were read; `left_out` is what was predicted without its group, if it was."""
    comparisons: list[Comparison] = []
    files: list[FileResult] = []
    for table in published:
        say(f"{table.path.name}: {table.rows} rows")
        compared, failed = compare_all(table.cases, known.values, with_machine=False)
        comparisons.extend(with_interval(each, known) for each in compared)
        reasons = Counter([reason for _, reason in table.left_out] + [reason for _, reason in failed])
        predicted = len(table.cases) - len(failed)
        files.append(FileResult(table.path.name, table.rows, predicted, tuple(reasons.most_common())))
    anchored: list[Comparison] = []
    if anchor:
        say("anchoring each machine on one of its rows")
        anchored = anchored_comparisons([case for table in published for case in table.cases], known)
    return Validation(known, tuple(files), tuple(comparisons), tuple(left_out), tuple(anchored))


def cross_validate(published: Sequence[Published], known: CoefficientFile, say: Callable[[str], None]) -> list[LeftOut]:
    """Every row predicted without its group, from the curvature of the fit at coefficients that are known."""
    cases = [case for table in published for case in table.cases]
    used = thin(cases, ROWS_PER_CELL)
    say("curvature of the fit at the coefficients")
    fitted = fit([cases[index] for index in used], iterations=1, start=known.values, say=say)
    return leave_out(cases, fitted, used, tick=say)
