"""Fitting: from a folder of published rows to the file of coefficients."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rackrate.errors import UserError
from rackrate.files import is_directory, read_bytes
from rackrate.steptime.coefficient_file import CoefficientFile, InputFile, distance_from, rounded
from rackrate.validation.cross_validation import LeftOut, intervals, leave_out, others_of
from rackrate.validation.fitting import Fit, fit, observations, thin
from rackrate.validation.names import PublishedNames
from rackrate.validation.published import Published, read_published

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rackrate.validation.cases import Case

ROWS_PER_CELL = 60
"""Of one file, accelerator, engine, load kind; more say nothing new and take time."""


@dataclass(frozen=True)
class Fitted:
    """A fit with all that its file and its cross-validation need."""

    published: tuple[Published, ...]
    cases: tuple[Case, ...]
    used: tuple[int, ...]
    fit: Fit


def read_folder(folder: Path, names: PublishedNames) -> tuple[Published, ...]:
    """Every CSV file of a folder. Raises UserError where there is none or one is not of the format."""
    if not is_directory(folder):
        raise UserError(f"{folder}: no such directory")
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise UserError(f"{folder}: has no .csv files of published rows (docs/predict.md says where there are some)")
    return tuple(read_published(file, names) for file in files)


def fit_folder(
    published: Sequence[Published], *, iterations: int, start: Mapping[str, float] | None, say: Callable[[str], None]
) -> Fitted:
    """Fits the rows of all files together."""
    cases = tuple(case for table in published for case in table.cases)
    used = thin(cases, ROWS_PER_CELL)
    chosen = [cases[index] for index in used]
    if len(observations(chosen)) < 50:
        raise UserError(f"only {len(observations(chosen))} figures can be fitted; at least 50 are needed")
    say(f"{len(cases)} rows understood, {len(used)} of them fitted")
    return Fitted(tuple(published), cases, tuple(used), fit(chosen, iterations=iterations, start=start, say=say))


def _inputs(published: Sequence[Published]) -> tuple[InputFile, ...]:
    return tuple(
        InputFile(
            name=table.path.name,
            sha256=hashlib.sha256(read_bytes(table.path)).hexdigest(),
            rows=table.rows,
            cases=len(table.cases),
        )
        for table in published
    )


def to_file(
    fitted: Fitted, left_out: Sequence[LeftOut], *, written: str, command: str, version: str,
    others: Sequence[Published] = (),
) -> CoefficientFile:  # fmt: skip
    """The document, with intervals from the errors on what was left out."""
    result = fitted.fit
    deviations = dict(zip(result.names, np.sqrt(np.diag(result.covariance)).tolist(), strict=True))
    shared = [index for index, name in enumerate(result.names) if ":" not in name]
    block = result.covariance[np.ix_(shared, shared)]
    return CoefficientFile(
        written=written,
        command=command,
        rackrate_version=version,
        rows_fitted=len(fitted.used),
        figures_fitted=len(result.residuals),
        iterations=result.iterations,
        inputs=_inputs(fitted.published),
        judged_by=_inputs(others),
        values=rounded({name: value for name, value in result.values.items() if ":" not in name or abs(value) > 1e-4}),
        spreads=rounded({name: value for name, value in deviations.items() if name in result.values}),
        covariance_names=tuple(result.names[index] for index in shared),
        covariance=tuple(
            tuple(float(f"{value:.2e}") for value in block[row, : row + 1].tolist()) for row in range(len(shared))
        ),
        intervals=intervals(left_out),
        accelerators=tuple(sorted({case.gpu for case in fitted.cases})),
        families=tuple(sorted({case.accelerator.architecture for case in fitted.cases})),
        releases=tuple(sorted({case.release.id for case in fitted.cases})),
    )


def run(
    folders: Sequence[Path], names: PublishedNames, *, iterations: int, start: Mapping[str, float] | None, written: str,
    command: str, version: str, say: Callable[[str], None], other: Path | None = None,
) -> tuple[CoefficientFile, Fitted, list[LeftOut]]:  # fmt: skip
    """Reads, fits, cross-validates. The rows of the folder `other` are not fitted: they judge."""
    others = read_folder(other, names) if other is not None else ()
    fitted = fit_folder(
        [item for folder in folders for item in read_folder(folder, names)], iterations=iterations, start=start, say=say
    )
    left_out = leave_out(fitted.cases, fitted.fit, fitted.used, tick=say)
    accelerators = {case.gpu for case in fitted.cases}
    families = {case.accelerator.architecture for case in fitted.cases}
    left_out += others_of(
        [case for other in others for case in other.cases], fitted.fit.values,
        lambda gpu, family: distance_from(accelerators, families, gpu, family),
    )  # fmt: skip
    document = to_file(fitted, left_out, written=written, command=command, version=version, others=others)
    return document, fitted, left_out
