"""A study from file to results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rackrate.catalog.api_use import ApiUse
from rackrate.catalog.load import Catalog
from rackrate.economics.hourly import DEAR_USD_PER_KWH
from rackrate.economics.uncertainty import central, draw_all
from rackrate.studies.claims import check_claim
from rackrate.studies.inputs import Inputs, read_inputs
from rackrate.studies.loading import Loaded
from rackrate.studies.questions import answer
from rackrate.studies.results import StudyResult

if TYPE_CHECKING:
    from rackrate.units import Numbers


def today() -> str:
    """The date, UTC, YYYY-MM-DD."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def evaluate(
    loaded: Loaded, catalog: Catalog, as_of: str | None = None, *, now: str | None = None, use: ApiUse | None = None
) -> StudyResult:
    """Checks a study's claims and answers its questions.

    Args:
        loaded: the file.
        catalog: offers, models and the user's own prices.
        as_of: the date whose list prices are meant, for every question; None: as the study says.
        now: today's date, YYYY-MM-DD, which the result bears; None: the clock's.
        use: what API prices are weighed by in every question; None: what its traffic says of lengths and hours.

    Raises:
        UserError: something that the study names does not exist; with file, line and column.
    """
    study = loaded.study
    now = now or today()
    when = as_of or study.prices_as_of or now
    inputs = read_inputs(loaded, catalog, when)
    leaves = inputs.leaves
    middle = inputs.values({name: central(quantity) for name, quantity in leaves.items()})
    drawn = inputs.values(draw_all(leaves, study.draws, study.seed))
    return StudyResult(
        study=study.study,
        title=study.title,
        about=study.about,
        source=study.source,
        date=study.date,
        evaluated=now,
        prices_as_of=when,
        hours_per_month=study.hours_per_month,
        draws=study.draws,
        seed=study.seed,
        assumptions=inputs.assumptions(middle, drawn),
        claims=tuple(check_claim(claim, study, inputs, middle, drawn) for claim in study.claims),
        questions=tuple(
            answer(loaded, question, catalog, inputs, as_of or question.prices_as_of or when, use)
            for question in study.questions
        ),
        warnings=(*loaded.warnings, *_dear(loaded, inputs, middle)),
    )


def _dear(loaded: Loaded, inputs: Inputs, middle: Mapping[str, Numbers]) -> Iterator[str]:
    """Energy prices that come of formulas, and were probably meant in cents."""
    for name, item in inputs.known.items():
        if item.formula is None or item.missing is not None or (item.unit or "").lower().replace(" ", "") != "usd/kwh":
            continue
        value = float(middle[name])
        if value > DEAR_USD_PER_KWH:
            yield (
                f"{loaded.place(['inputs', name, 'value'])}: {value:g} USD per kWh is more than any tariff known "
                f"(over {DEAR_USD_PER_KWH:g} USD/kWh); was it meant in cents?"
            )
