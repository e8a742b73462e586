"""Answers as documents: one module a subject, listed in `SUBJECTS`. All wording is there, and no figure is computed.

A module has `document(view, *, full, ...) -> Document`: of an answer's view, which `--json` prints too. It gives what
fits a screen or, where `full`, all that is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from rackrate.report.document import Document
from rackrate.schemas import read_view
from rackrate.schemas.root import made, schema_of

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
    "rackrate.catalog": "catalogue",
    "rackrate.engines": "lists",
    "rackrate.engine-settings": "lists",
    "rackrate.doctor": "lists",
}
"""Schemas of views, and the module that presents each."""

VIEWS: dict[str, str] = {
    "rackrate.app.runs.LoadedRun": "rackrate.report.view:loaded_view",
    "rackrate.app.measuring.measurement.Measured": "rackrate.report.view:measured_view",
    "rackrate.economics.pricing.Pricing": "rackrate.report.view:pricing_view",
    "rackrate.app.pricing.PricedRun": "rackrate.report.view:priced_run_view",
    "rackrate.app.comparing.Compared": "rackrate.report.study_view:compare_view",
    "rackrate.app.side_by_side.SideBySide": "rackrate.report.comparison:side_by_side_view",
    "rackrate.studies.results.StudyResult": "rackrate.report.study_view:study_view",
    "rackrate.app.studying.ComparedStudy": "rackrate.report.study_view:diff_view",
    "rackrate.workload.traffic_summary.TrafficSummary": "rackrate.schemas.costs:TrafficView",
    "rackrate.app.fleets.PricedFleet": "rackrate.report.fleet_view:fleet_view",
    "rackrate.app.traces.DescribedTrace": "rackrate.report.checks_view:trace_view",
    "rackrate.app.calibrating.Verification": "rackrate.report.checks_view:verification_view",
    "rackrate.app.calibrating.FittedCoefficients": "rackrate.report.checks_view:coefficients_view",
    "rackrate.app.checking.Fits": "rackrate.report.checks_view:fits_view",
    "rackrate.app.planning.Planned": "rackrate.report.plan_view:planned_view",
    "rackrate.app.simulated_aggregates.SimulatedAggregates": "rackrate.report.simulated_view:aggregates_view",
    "rackrate.app.simulating.SimulatedRun": "rackrate.report.simulated_view:simulated_view",
    "rackrate.validation.results.Validation": "rackrate.report.validation_view:validation_view",
    "rackrate.app.tokens.TokenCheck": "rackrate.report.checks_view:tokens_view",
    "rackrate.app.serving.Launchable": "rackrate.report.checks_view:serve_view",
    "rackrate.app.tuning.TuneAnswer": "rackrate.report.checks_view:tune_view",
    "rackrate.app.energy.RunEnergy": "rackrate.schemas.costs:EnergyView",
    "rackrate.app.quality.FormatQuality": "rackrate.schemas.checks:QualityView",
}
"""Types of answers, and what makes a view of each: a function or, where every field is the answer's own, the view's
type. All others are views themselves."""


def present(answer: object, *, full: bool = False, **options: Any) -> Document:
    """An answer, or its view, ready to look at.

    Args:
        answer: what a use case gave, or the view of it.
        full: all that is known, for a page or a file; otherwise what fits a screen.
        options: of the subject, such as `sources` of a price.
    """
    view: Any = view_of(answer)
    module = import_module(f"rackrate.report.present.{SUBJECTS[schema_of(view).rpartition('/')[0]]}")
    document: Document = module.document(view, full=full, **options)
    return document


def view_of(answer: object) -> object:
    """What an answer's outputs are made of; of a JSON output that was kept, the same, read back."""
    if isinstance(answer, Mapping):
        return read_view(cast("Mapping[str, Any]", answer))
    made_by = VIEWS.get(f"{type(answer).__module__}.{type(answer).__qualname__}")
    if made_by is None:
        return answer
    module, _, name = made_by.partition(":")
    maker: Any = getattr(import_module(module), name)
    return cast("object", made(maker, answer) if isinstance(maker, type) else maker(answer))
