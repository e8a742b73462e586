"""Studies and comparisons as what their outputs are made of. docs/json.md describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rackrate import __version__
from rackrate.schemas import predictions as views
from rackrate.schemas.root import made
from rackrate.studies.results import QuestionResult, StudyResult

if TYPE_CHECKING:
    from rackrate.app.comparing import Compared
    from rackrate.app.studying import ComparedStudy

Question = TypeVar("Question", bound=views.QuestionView)

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


def study_view(result: StudyResult) -> views.StudyView:
    """A study's claims and questions."""
    counts = {
        verdict: sum(claim.verdict == verdict for claim in result.claims)
        for verdict in ("reproduced", "does not follow", "cannot be checked")
    }
    questions = [_question_view(views.QuestionView, question) for question in result.questions]
    return made(
        views.StudyView, result, rackrate=__version__, questions=questions, claim_counts=counts, definitions=VERDICTS
    )


def _question_view(kind: type[Question], question: QuestionResult, *more: object, **given: object) -> Question:
    """A question's ranked rows."""
    rows = [made(views.RankedRow, row) for row in question.rows]
    return made(kind, question, *more, rows=rows, tornado=_tornado_view(question), **given)


def _tornado_view(question: QuestionResult) -> views.TornadoView | None:
    if (found := question.tornado) is None:
        return None
    bars = [made(views.BarView, bar, unit=question.tornado_units.get(bar.name)) for bar in found.bars]
    return views.TornadoView(found.outcome, bars)


def diff_view(compared: ComparedStudy) -> views.StudyDiffView:
    """What another date's prices change."""
    return made(
        views.StudyDiffView,
        compared,
        compared.after,
        rackrate=__version__,
        before=made(views.Evaluated, compared.before),
        after=made(views.Evaluated, compared.after),
        flipped=sum(change.flipped for change in compared.changes),
    )


def compare_view(compared: Compared) -> views.CompareView:
    """Machines and APIs for the same requests."""
    return _question_view(views.CompareView, compared.question, compared, rackrate=__version__, definitions=VERDICTS)
