"""Answers as documents: one module a subject, listed in `SUBJECTS`. All wording is there, and no figure is computed.

A module has `document(view, *, full, ...) -> Document`: of an answer's plain values, those that `--json` prints and the
schemas describe. It gives what fits a screen or, where `full`, all that is known.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from rackrate.report.document import Document

Json = dict[str, Any]

SUBJECTS: dict[str, str] = {
    "rackrate.run-summary": "run",
    "rackrate.pricing": "price",
    "rackrate.report": "priced_run",
    "rackrate.compare": "compare",
    "rackrate.study": "study",
    "rackrate.comparison": "side_by_side",
    "rackrate.fit": "fit",
    "rackrate.plan": "plan",
    "rackrate.simulated-aggregates": "aggregates",
    "rackrate.tune": "tuning",
    "rackrate.fleet": "fleet",
    "rackrate.traffic": "traffic",
    "rackrate.trace-summary": "trace",
    "rackrate.validate": "validation",
    "rackrate.calibration": "calibration",
    "rackrate.coefficients": "coefficients",
    "rackrate.verify": "verification",
    "rackrate.study-diff": "study_diff",
    "rackrate.energy": "energy",
    "rackrate.quality": "quality",
    "rackrate.tokens": "tokens",
}
"""Schemas of plain values, and the module that presents each."""

VIEWS: dict[str, str] = {
    "rackrate.app.runs.LoadedRun": "rackrate.report.view:loaded_view",
    "rackrate.app.measuring.measurement.Measured": "rackrate.report.view:measured_view",
    "rackrate.economics.pricing.Pricing": "rackrate.report.view:pricing_view",
    "rackrate.app.pricing.PricedRun": "rackrate.report.view:priced_run_view",
    "rackrate.app.comparing.Compared": "rackrate.report.study_view:compare_view",
    "rackrate.app.side_by_side.SideBySide": "rackrate.report.comparison:side_by_side_view",
    "rackrate.studies.results.StudyResult": "rackrate.report.study_view:study_view",
    "rackrate.app.studying.ComparedStudy": "rackrate.report.study_view:diff_view",
    "rackrate.workload.traffic_summary.TrafficSummary": "rackrate.report.fleet_view:traffic_view",
    "rackrate.app.fleets.PricedFleet": "rackrate.report.fleet_view:fleet_view",
    "rackrate.app.traces.DescribedTrace": "rackrate.report.trace:trace_view",
    "rackrate.app.calibrating.Verification": "rackrate.report.calibration_view:verification_view",
    "rackrate.app.calibrating.FittedCoefficients": "rackrate.report.calibration_view:coefficients_view",
    "rackrate.calibration.document.CalibrationFile": "rackrate.report.calibration_view:calibration_view",
    "rackrate.app.checking.Fits": "rackrate.report.fit_view:fits_view",
    "rackrate.app.planning.Planned": "rackrate.report.plan_view:planned_view",
    "rackrate.app.simulated_aggregates.SimulatedAggregates": "rackrate.report.simulated_view:aggregates_view",
    "rackrate.app.simulating.SimulatedRun": "rackrate.report.simulated_view:simulated_view",
    "rackrate.validation.results.Validation": "rackrate.validation.view:validation_view",
}
"""Types of answers, and the function that gives the plain values of each."""


def present(answer: object, *, full: bool = False, **options: Any) -> Document:
    """An answer, or its plain values, ready to look at.

    Args:
        answer: what a use case gave, or the plain values of it, which name their `schema`.
        full: all that is known, for a page or a file; otherwise what fits a screen.
        options: of the subject, such as `sources` of a price.
    """
    view = view_of(answer)
    module = import_module(f"rackrate.report.present.{SUBJECTS[str(view['schema']).rpartition('/')[0]]}")
    document: Document = module.document(view, full=full, **options)
    return document


def view_of(answer: object) -> Json:
    """The plain values of an answer, as `--json` prints them."""
    if isinstance(answer, dict):
        return cast("Json", answer)
    own = getattr(answer, "view", None)
    if callable(own):
        return cast("Json", own())
    module, _, function = VIEWS[f"{type(answer).__module__}.{type(answer).__qualname__}"].partition(":")
    view: Json = getattr(import_module(module), function)(answer)
    return view
