"""A study: published claims with their verdicts, then questions with their rankings."""

from __future__ import annotations

from collections.abc import Mapping

from rackrate.economics.uncertainty import Estimate
from rackrate.report.document import Cell, Column, Document, Fact, Note, Section, Table
from rackrate.report.format import figure
from rackrate.report.present.question import TONES, interval, question_section, records
from rackrate.schemas import predictions as views
from rackrate.studies.results import Assumption, ClaimResult


def document(view: views.StudyView, *, full: bool = False, inputs: bool = False) -> Document:
    """Every claim, every question, and where `inputs`, what they were computed from."""
    given = (
        [Section("Inputs" if full else "", (_inputs(view, full=full),))]
        if (inputs or full) and view.assumptions
        else []
    )
    claims: list[Section] = []
    if view.claims:
        title = "What was published, and what its own numbers give" if full else ""
        counted = Note(verdict_counts(view.claim_counts), "strong")
        claims.append(Section(title, (_claims(view, full=full), counted)))
    asked = [
        question_section(question, full=full, number=number, title=question.asks)
        for number, question in enumerate(view.questions)
    ]
    sections = [*claims, *asked, *given] if full else [*given, *claims, *asked]
    if view.questions:
        text = (
            f"80 % intervals of {view.draws:,} draws, seed {view.seed}; prices in USD without taxes, of APIs per "
            f"1M tokens; a month is {view.hours_per_month:g} hours"
        )
        sections.append(Section(blocks=(Note(text, "soft"),)))
    lead = [
        *((Note(view.about),) if full and view.about else ()),
        *((Note(", ".join(part for part in (view.source, view.date) if part), "soft"),) if view.source else ()),
        *(Note(f"warning: {warning}", "warn") for warning in view.warnings),
    ]
    return Document(
        subject=f"study {view.rackrate}",
        headline=view.title,
        lead=tuple(lead),
        facts=_counts(view) if full and view.claims else (),
        sections=tuple(sections),
        definitions=definitions(view) if full else (),
        records=records(view.questions) if view.questions else None,
    )


def definitions(view: views.StudyView | views.CompareView) -> tuple[tuple[str, str], ...]:
    """What verdicts and intervals mean; of a comparison only the verdicts that it can have."""
    words = ("self-hosting", "api", "too close to call", "not compared")
    return (
        *((word, text) for word, text in view.definitions.items() if getattr(view, "claims", ()) or word in words),
        (
            "80 %",
            f"one draw in ten is below, one in ten above; {view.draws:,} draws, seed {view.seed}; the figure "
            "beside it has every input at its median",
        ),
        ("busy", "share of the machines' hours that the requests fill"),
    )


def _counts(view: views.StudyView) -> tuple[Fact, ...]:
    return tuple(Fact(verdict, str(number), view.definitions[verdict]) for verdict, number in view.claim_counts.items())


def verdict_counts(counts: Mapping[str, int]) -> str:
    """How many claims have which verdict.

    >>> verdict_counts({"reproduced": 1, "does not follow": 2, "cannot be checked": 0})
    '3 claims: 1 reproduced, 2 do not follow'
    """
    total = sum(counts.values())
    words = {"does not follow": "do not follow"}
    said = ", ".join(
        f"{number} {words.get(verdict, verdict) if number > 1 else verdict}"
        for verdict, number in counts.items()
        if number
    )
    return f"{total} claim{'s' if total != 1 else ''}: {said}"


def _inputs(view: views.StudyView, *, full: bool) -> Table:
    rows = tuple(
        (
            given.name,
            Cell(given.value.value, shown=figure(given.value.value, given.unit)) if given.value else "not known",
            Cell(found, shown=_ends(given.value, given.unit)) if (found := interval(given.value, given.unit)) else "",
            given.text,
            given.missing or _source(given, view, full=full),
        )
        for given in view.assumptions
    )
    columns = (
        Column("input"), Column("value", "figure"), Column("80 %", "figure"), Column("as written", wraps=True),
        Column("source", wraps=True),
    )  # fmt: skip
    return Table(columns, rows)


def _source(given: Assumption, view: views.StudyView, *, full: bool) -> str:
    if not full and given.source is not None and given.source == view.source:
        return "as above"
    return " ".join(part for part in (given.source, given.date) if part)


def _ends(estimate: Estimate | None, unit: str | None) -> str:
    if estimate is None:
        return ""
    high = "never" if estimate.high is None else figure(estimate.high, unit)
    return f"{figure(estimate.low, unit)} to {high}"


def _claims(view: views.StudyView, *, full: bool) -> Table:
    def remark(claim: ClaimResult) -> str:
        spread = _ends(claim.computed, claim.unit) if interval(claim.computed, claim.unit) else ""
        words = [f"80 %: {spread}" if full and spread else spread, *claim.missing, claim.why or ""]
        return "; ".join(word for word in words if word)

    rows = tuple(
        (
            claim.id,
            Cell(claim.published, shown=published(claim)),
            Cell(claim.computed.value, shown=figure(claim.computed.value, claim.unit)) if claim.computed else None,
            Cell(claim.verdict, TONES[claim.verdict]),
            Cell(f"\u201c{claim.says}\u201d {remark(claim)}".rstrip(), "soft", claim.formula if full else ""),
        )
        for claim in view.claims
    )
    columns = (
        Column("claim"), Column("published", "figure"), Column("computed", "figure"), Column("verdict"),
        Column("what it says" if full else "", wraps=True),
    )  # fmt: skip
    return Table(columns, rows)


def published(claim: ClaimResult) -> str:
    """The number as the sentence gives it."""
    mark = {"equal": "", "below": "<", "above": ">"}[claim.relation]
    value = claim.published
    if not isinstance(value, bool) and claim.unit != "yes/no":
        near = "~" if claim.relation == "equal" and claim.within >= 0.01 * abs(value) else ""
        return f"{mark}{near}{figure(float(value), claim.unit)}"
    return f"{mark}{figure(bool(value), 'yes/no')}"
