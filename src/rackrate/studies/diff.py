"""One study, evaluated twice: which verdicts flipped."""

from __future__ import annotations

from dataclasses import dataclass

from rackrate.studies.results import AlternativeRow, QuestionResult, StudyResult


@dataclass(frozen=True)
class Change:
    """A claim or a question, then and now."""

    kind: str
    id: str
    says: str
    before: str
    after: str
    flipped: bool
    """Whether the verdict, not just a figure, is another."""
    figures: tuple[tuple[str, float | None, float | None], ...]
    """Name, before, after: USD per 1M tokens of scenarios, the number of a claim."""


def compare_results(before: StudyResult, after: StudyResult) -> list[Change]:
    """What another date, or another file of the same study, changes. Flipped verdicts come first."""
    changes: list[Change] = []
    old_claims = {claim.id: claim for claim in before.claims}
    for claim in after.claims:
        old = old_claims.get(claim.id)
        if old is None:
            continue
        was = old.computed.value if old.computed is not None else None
        now = claim.computed.value if claim.computed is not None else None
        changes.append(
            Change(
                "claim",
                claim.id,
                claim.says,
                old.verdict,
                claim.verdict,
                old.verdict != claim.verdict,
                (("computed", was, now),) if was != now else (),
            )
        )
    old_questions = {question.id: question for question in before.questions}
    for question in after.questions:
        old = old_questions.get(question.id)
        if old is None:
            continue
        rows = {row.name: row.usd_per_1m.value for row in old.rows}
        moved = tuple(
            (row.name, rows[row.name], row.usd_per_1m.value)
            for row in question.rows
            if row.name in rows and rows[row.name] != row.usd_per_1m.value
        )
        flipped = old.verdict != question.verdict or _first(old) != _first(question)
        changes.append(Change("question", question.id, question.asks, _said(old), _said(question), flipped, moved))
    changes.sort(key=lambda change: (not change.flipped, not change.figures))
    return changes


def _first(question: QuestionResult) -> str | None:
    """The cheapest of what may be compared."""
    return next((row.name for row in question.rows if row.same_model is not False), None)


def _said(question: QuestionResult) -> str:
    row: AlternativeRow | None = next((row for row in question.rows if row.same_model is not False), None)
    cheapest = f"; cheapest: {row.name}" if row is not None else ""
    return f"{question.verdict}{cheapest} (prices of {question.prices_as_of})"
