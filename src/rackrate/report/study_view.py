"""Studies and comparisons as plain JSON-able values. docs/json.md describes them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rackrate import __version__
from rackrate.studies.results import QuestionResult, StudyResult

if TYPE_CHECKING:
    from rackrate.app.comparing import Compared
    from rackrate.app.studying import ComparedStudy

SCHEMA_STUDY = "rackrate.study/1"
SCHEMA_DIFF = "rackrate.study-diff/1"
SCHEMA_COMPARE = "rackrate.compare/1"

Json = dict[str, Any]

VERDICTS = {
    "reproduced": "the formula, over the study's inputs, gives the published number within the tolerance",
    "does not follow": "it gives another number, which is shown",
    "cannot be checked": "an input that it needs was not published, or does not exist",
    "self-hosting": "the cheapest machines cost less than the cheapest API in at least 90 % of the draws (where "
    "something is bought, by present value over its life or the stated horizon)",
    "api": "they do in at most 10 % of the draws",
    "too close to call": "anything between",
    "not compared": "the question has no machines, or no API",
}
"""The words of verdicts."""
QUESTION_VERDICTS = {word: VERDICTS[word] for word in ("self-hosting", "api", "too close to call", "not compared")}
"""Those of questions alone."""


def study_view(result: StudyResult) -> Json:
    """A study's claims and questions."""
    view = asdict(result)
    counts = {
        verdict: sum(claim.verdict == verdict for claim in result.claims)
        for verdict in ("reproduced", "does not follow", "cannot be checked")
    }
    return {
        "schema": SCHEMA_STUDY,
        "rackrate": __version__,
        **view,
        "claim_counts": counts,
        "questions": [question_view(question) for question in result.questions],
        "definitions": VERDICTS,
    }


def question_view(question: QuestionResult) -> Json:
    """A question's ranked rows."""
    view = asdict(question)
    for row, result in zip(view["rows"], question.rows, strict=True):
        row["is_api"] = result.is_api
    if question.tornado is not None:
        for bar, result in zip(view["tornado"]["bars"], question.tornado.bars, strict=True):
            bar["swing"] = result.swing
            bar["unit"] = question.tornado_units.get(result.name)
    del view["tornado_units"]
    return view


def diff_view(compared: ComparedStudy) -> Json:
    """What another date's prices change."""
    before, after, changes = compared.before, compared.after, compared.changes
    return {
        "schema": SCHEMA_DIFF,
        "rackrate": __version__,
        "study": after.study,
        "title": after.title,
        "before": {"prices_as_of": before.prices_as_of, "evaluated": before.evaluated},
        "after": {"prices_as_of": after.prices_as_of, "evaluated": after.evaluated},
        "flipped": sum(change.flipped for change in changes),
        "changes": [asdict(change) for change in changes],
    }


def compare_view(compared: Compared) -> Json:
    """Machines and APIs for the same requests."""
    return {
        "schema": SCHEMA_COMPARE,
        "rackrate": __version__,
        "model": compared.model,
        "draws": compared.draws,
        "seed": compared.seed,
        **question_view(compared.question),
        "remarks": list(compared.remarks),
        "definitions": VERDICTS,
    }
