"""Predict published measurements, and say how far off the predictions are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rackrate import bounds
from rackrate.app.request_json import Request

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.validation.results import Validation


@dataclass(frozen=True)
class ValidateRequest(Request):
    """Which files, and in which ways their rows are left out."""

    NAME: ClassVar[str] = "validate"

    files: bounds.Paths
    """CSV files of published rows, or folders of them."""
    cv: bool = False
    """Also predict each accelerator, source, family and configuration with its rows left out (minutes)."""
    other: Path | None = None
    """A folder of rows of other authors, shown apart: no fit has seen them."""
    anchor: bool = False
    """Also predict the rest of each machine from one of its rows."""
    coefficients: Path | None = None
    """None: the shipped ones."""


def validate(request: ValidateRequest, context: Context) -> Validation:
    """Every row of the files beside its prediction, each machine predicted as an unknown one.

    Raises:
        UserError: a file is missing or not of the format.
    """
    from rackrate.steptime import coefficient_file
    from rackrate.validation.cross_validation import others_of
    from rackrate.validation.names import PublishedNames
    from rackrate.validation.published import read_published
    from rackrate.validation.results import cross_validate, csv_files, validation_of

    say = context.notify.note
    coefficients = request.coefficients
    known = coefficient_file.read_coefficients(coefficients) if coefficients else coefficient_file.shipped()
    paths = csv_files(request.files)
    names = PublishedNames(context.catalog)
    published = [read_published(path, names) for path in paths]
    left_out = cross_validate(published, known, say) if request.cv else []
    if request.other is not None:
        rows = [case for path in csv_files([request.other]) for case in read_published(path, names).cases]
        left_out += others_of(rows, known.values, known.distance)
    return validation_of(published, known, left_out, anchor=request.anchor, say=say)
