"""Answers as documents: one module a subject, listed in `SUBJECTS`. All wording is there, and no figure is computed.

A module has `document(view, *, full, ...) -> Document`: of an answer's plain values, those that `--json` prints and the
schemas describe. It gives what fits a screen or, where `full`, all that is known.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from rackrate.report.document import Document

Json = dict[str, Any]

SUBJECTS: dict[str, str] = {
    "rackrate.run-summary": "run",
    "rackrate.pricing": "price",
    "rackrate.report": "priced_run",
    "rackrate.compare": "compare",
    "rackrate.study": "study",
    "rackrate.comparison": "side_by_side",
    "rackrate.plan": "plan",
    "rackrate.simulated-aggregates": "aggregates",
    "rackrate.tune": "tuning",
    "rackrate.fleet": "fleet",
    "rackrate.traffic": "traffic",
    "rackrate.study-diff": "study_diff",
}
"""Schemas of plain values, and the module that presents each."""


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
        return answer  # pyright: ignore[reportUnknownVariableType]
    view: Json = getattr(answer, "view")()  # noqa: B009
    return view
