"""Calibrations, fitted coefficients and verifications as plain JSON-able values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rackrate.app.calibrating import FittedCoefficients, Verification
    from rackrate.calibration.document import CalibrationFile

Json = dict[str, Any]


def calibration_view(found: CalibrationFile) -> Json:
    """The document itself."""
    return found.model_dump(mode="json", by_alias=True)


def coefficients_view(found: FittedCoefficients) -> Json:
    """The file without its covariance."""
    return found.file.model_dump(mode="json", by_alias=True, exclude={"covariance", "covariance_names"})


def verification_view(found: Verification) -> Json:
    """Every check, and how far off they are."""
    from rackrate.calibration.verification import verification_view as view_of

    return {**view_of(found.known, found.name, found.checks), "run_created": found.header.created}
