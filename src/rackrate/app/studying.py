"""Studies: scenarios compared with their uncertainty, published claims checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rackrate import bounds
from rackrate.app.context import Context
from rackrate.app.request_json import Request
from rackrate.errors import UserError

if TYPE_CHECKING:
    from rackrate.studies.diff import Change
    from rackrate.studies.loading import Loaded
    from rackrate.studies.results import StudyResult


@dataclass(frozen=True)
class StudyRequest(Request):
    """A study at the prices of a date."""

    NAME: ClassVar[str] = "study"
    file: Path
    """A study, as YAML."""
    as_of: str | None = None
    """List prices of this date, YYYY-MM-DD. None: as the study says; of a comparison, today's."""
    draws: bounds.Count | None = None
    """For the intervals; None: the study's."""
    seed: bounds.Seed | None = None
    """Of the draws; None: the study's."""


@dataclass(frozen=True)
class ComparedStudy:
    """A study at its own date's prices and at another's."""

    before: StudyResult
    after: StudyResult
    changes: tuple[Change, ...]
    """Flipped verdicts come first."""


def evaluate(request: StudyRequest, context: Context) -> StudyResult:
    """Claims with their verdicts, questions with a ranking and 80 % intervals.

    Raises:
        UserError: a mistake in the file (with file, line and column), or a date that is none.
    """
    return _evaluated(request, _date(request.as_of, context), context)


def compare_dates(request: StudyRequest, context: Context) -> ComparedStudy:
    """The study at its own date's prices and at today's (or `as_of`), and which verdicts flipped.

    Raises:
        UserError: a mistake in the file (with file, line and column), or a date that is none.
    """
    from rackrate.studies.diff import compare_results

    before = _evaluated(request, None, context)
    after = _evaluated(request, _date(request.as_of, context) or context.today(), context)
    return ComparedStudy(before, after, tuple(compare_results(before, after)))


def validate(file: Path) -> Loaded:
    """A study that was read and checked, with warnings. Raises UserError at the first mistake."""
    from rackrate.studies.loading import load_study

    return load_study(file)


def template(name: str) -> str:
    """A commented study to begin with, as YAML."""
    from importlib import resources

    text = (resources.files("rackrate.studies") / "template.yaml").read_text(encoding="utf-8")
    return text.replace("study: my-study", f"study: {name}", 1)


def _evaluated(request: StudyRequest, as_of: str | None, context: Context) -> StudyResult:
    from rackrate.studies.evaluate import evaluate
    from rackrate.studies.loading import load_study, with_draws

    loaded = with_draws(load_study(request.file), request.draws, request.seed)
    for stated in (loaded.study, *loaded.study.questions):
        if stated.prices_as_of is not None and stated.prices_as_of > context.today()[: len(stated.prices_as_of)]:
            raise UserError(
                f"{request.file}: prices_as_of {stated.prices_as_of} is still to come (today is {context.today()}): "
                "its prices are not known"
            )
    return evaluate(loaded, context.catalog, as_of, now=context.today())


def _date(text: str | None, context: Context) -> str | None:
    if text is not None:
        bounds.check_date(text, "as_of", context.today())
    return text
