"""Reads a study file and finds its mistakes before anything is computed: each with file, line and column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from rackrate.catalog.documents import parse_document, value_position
from rackrate.economics.hourly import DEAR_USD_PER_KWH
from rackrate.economics.uncertainty import central
from rackrate.errors import UserError, WorkloadError, did_you_mean
from rackrate.files.yaml import read_yaml
from rackrate.studies.dimensions import check_units, dimension_of
from rackrate.studies.documents import BUILT_IN, Number, Question, Scenario, Study
from rackrate.studies.expressions import Expression, ExpressionError
from rackrate.studies.recorded import recorded
from rackrate.workload.prompt_mix import PromptMix

Where = list[int | str]

LIMITS: dict[str, tuple[float, float]] = {
    "input_share": (0, 1),
    "cached_share": (0, 1),
    "discount": (0, 1),
    "max_load": (1e-6, 1),
    "discount_rate": (0, 1),
    "api_price_decline": (-1, 0.99),
    "pue": (1, 5),
    "peak_to_mean": (1, 1e6),
    "tokenizer_ratio": (0.1, 10),
    "life_years": (0.01, 30),
    "tokens_per_second": (1e-9, 1e12),
    "output_tokens_per_second": (1e-9, 1e12),
    "input_tokens_per_second": (1e-9, 1e12),
    "measured_input_per_output": (0, 1e6),
    "tokens_per_month": (1e-9, 1e18),
    "requests_per_day": (1e-9, 1e15),
    "spare_share": (0, 5),
}
"""What a figure can be; the central case outside is a mistake, the tail of a distribution is cut there. All others are
not negative."""


def limits_of(key: str) -> tuple[float, float]:
    """Least and greatest value of the figure of that key."""
    return LIMITS.get(key, (0.0, 1e18))


@dataclass(frozen=True)
class Loaded:
    """A study file that was read and checked."""

    path: Path
    study: Study
    warnings: tuple[str, ...]
    prompts: Mapping[str, PromptMix] = field(default_factory=dict[str, PromptMix])
    """Of questions whose traffic is in a file, its requests; by their ids."""

    def place(self, where: Where, line: int = 0, column: int = 0) -> str:
        """`file:line:column` of a value."""
        at = value_position(self.path, where, line, column)
        return f"{self.path}:{at[0]}:{at[1]}"


def load_study(path: Path) -> Loaded:
    """Reads a study.

    Raises:
        UserError: the first mistake, with file, line and column.
    """
    loaded = _with_traffic(Loaded(path, parse_document(read_yaml(path), Study, path), ()))
    _check_names(loaded)
    _check_formulas(loaded)
    _check_limits(loaded)
    return replace(loaded, warnings=tuple(_warnings(loaded)))


def _with_traffic(loaded: Loaded) -> Loaded:
    """Traffic that is in files is read; a note says of what it is."""
    questions: list[Question] = []
    prompts: dict[str, PromptMix] = {}
    for position, question in enumerate(loaded.study.questions):
        if question.traffic.file is not None:
            try:
                found = recorded(question.traffic, loaded.path.parent, loaded.study.hours_per_month)
            except WorkloadError as error:
                place = loaded.place(["questions", position, "traffic", "file"])
                raise UserError(f"{place}: {error}") from None
            if found.prompts is not None:
                prompts[question.id] = found.prompts
            notes = f"{question.notes} {found.note}" if question.notes else found.note
            question = question.model_copy(update={"traffic": found.traffic, "notes": notes})  # noqa: PLW2901
        questions.append(question)
    return replace(loaded, study=loaded.study.model_copy(update={"questions": tuple(questions)}), prompts=prompts)


def _check_names(loaded: Loaded) -> None:
    study = loaded.study
    names = [scenario.name for scenario in study.scenarios]
    for kind, listed in (
        ("scenarios", names),
        ("claims", [claim.id for claim in study.claims]),
        ("questions", [question.id for question in study.questions]),
    ):
        for position, name in enumerate(listed):
            if name in listed[:position]:
                key = "name" if kind == "scenarios" else "id"
                raise UserError(f"{loaded.place([kind, position, key])}: the {key} {name!r} is written twice")
    for q, question in enumerate(study.questions):
        for position, name in enumerate(question.among):
            if name not in names:
                place = loaded.place(["questions", q, "among", position])
                raise UserError(f"{place}: no scenario is called {name!r}{did_you_mean(name, names)}")
        among = {scenario.name: scenario.is_api for scenario in scenarios_of(study, question.among)}
        if question.against is not None and not among.get(question.against, False):
            place = loaded.place(["questions", q, "against"])
            apis = [name for name, is_api in among.items() if is_api]
            hint = did_you_mean(question.against, apis)
            raise UserError(f"{place}: no API of this question is called {question.against!r}{hint}")
        if not study.scenarios:
            raise UserError(f"{loaded.place(['questions', q])}: a question compares scenarios, and there are none")


def figures(study: Study) -> Iterator[tuple[Where, str, Number]]:
    """Every figure of the scenarios and questions: where it stands, its key, and what was written."""
    for kind in ("scenarios", "questions"):
        for position, item in enumerate(getattr(study, kind)):
            yield from _figures_in(item, [kind, position])


def _figures_in(document: BaseModel, where: Where) -> Iterator[tuple[Where, str, Number]]:
    for key in type(document).model_fields:
        value: Any = getattr(document, key)
        if isinstance(value, Number):
            yield [*where, key], key, value
        elif isinstance(value, BaseModel):
            yield from _figures_in(value, [*where, key])
        elif isinstance(value, tuple):
            for position, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
                if isinstance(item, BaseModel):
                    yield from _figures_in(item, [*where, key, position])


def _formulas(study: Study) -> Iterator[tuple[Where, Expression]]:
    for name, given in study.inputs.items():
        if given.value is not None and given.value.formula is not None:
            yield ["inputs", name, "value"], given.value.formula
    for position, claim in enumerate(study.claims):
        yield ["claims", position, "formula"], claim.formula
    for where, _, number in figures(study):
        if number.formula is not None:
            yield where, number.formula


def _check_formulas(loaded: Loaded) -> None:
    study = loaded.study
    known = {*study.inputs, *BUILT_IN}
    for where, formula in _formulas(study):
        try:
            formula.check(known)
        except ExpressionError as error:
            raise UserError(f"{loaded.place(where, error.line, error.column)}: {error}") from None
    try:
        input_order(study)
    except CycleError as error:
        circle: list[str] = error.args[1]
        place = loaded.place(["inputs", circle[0]])
        raise UserError(f"{place}: inputs are defined by each other in a circle: {' <- '.join(circle)}") from None


def input_order(study: Study) -> list[str]:
    """The inputs, each after those that it is computed from. Raises CycleError."""
    needs = {
        name: {other for other in given.value.formula.names if other in study.inputs}
        if given.value is not None and given.value.formula is not None
        else set[str]()
        for name, given in study.inputs.items()
    }
    return list(TopologicalSorter(needs).static_order())


def _check_limits(loaded: Loaded) -> None:
    for where, key, number in figures(loaded.study):
        if number.quantity is None:
            continue
        low, high = limits_of(key)
        middle = central(number.quantity)
        if not low <= middle <= high:
            said = f"at least {low:g}" if middle < low else f"at most {high:g}"
            raise UserError(f"{loaded.place(where)}: {key} is {middle:g}, and should be {said}")
    for position, scenario in enumerate(loaded.study.scenarios):
        own = scenario.own
        if own is None:
            continue
        for less, more, said in (
            ("idle_w", "busy_w", "a machine does not draw less when busy (busy_w) than when idle (idle_w)"),
            ("resale_usd", "capex_usd", "a machine does not sell for more (resale_usd) than it cost (capex_usd)"),
        ):
            low, high = getattr(own, less).quantity, getattr(own, more).quantity
            if low is not None and high is not None and central(high) < central(low):
                key = more if more in own.model_fields_set and less == "idle_w" else less
                raise UserError(f"{loaded.place(['scenarios', position, 'own', key])}: {said}")


def _warnings(loaded: Loaded) -> Iterator[str]:
    study = loaded.study
    cents = f"more than any tariff known (over {DEAR_USD_PER_KWH:g} USD/kWh); was it meant in cents?"
    for name, given in study.inputs.items():
        number = given.value
        where: Where = ["inputs", name, "value"]
        if given.unit is not None and dimension_of(given.unit) is None:
            yield f"{loaded.place(['inputs', name, 'unit'])}: the unit {given.unit!r} is not known, and not checked"
        if number is None or number.quantity is None:
            continue
        middle = central(number.quantity)
        unit = (given.unit or "").lower().replace(" ", "")
        if unit == "usd/kwh" and middle > DEAR_USD_PER_KWH:
            yield f"{loaded.place(where)}: {middle:g} USD per kWh is {cents}"
        if unit == "share" and not 0 <= middle <= 1:
            yield f"{loaded.place(where)}: a share is between 0 and 1 (0.3 is 30 %), not {middle:g}"
    for position, claim in enumerate(study.claims):
        if claim.unit is not None and dimension_of(claim.unit) is None:
            place = loaded.place(["claims", position, "unit"])
            yield f"{place}: the unit {claim.unit!r} is not known, and not checked"
    for where, key, number in figures(study):
        if key == "usd_per_kwh" and number.quantity is not None and central(number.quantity) > DEAR_USD_PER_KWH:
            yield f"{loaded.place(where)}: {central(number.quantity):g} USD per kWh is {cents}"
    units = {**{name: given.stated_unit for name, given in study.inputs.items()}, **BUILT_IN}
    checked: list[tuple[Where, Expression, str | None]] = []
    for position, claim in enumerate(study.claims):
        checked.append((["claims", position, "formula"], claim.formula, claim.unit))
    for name, given in study.inputs.items():
        if given.value is not None and given.value.formula is not None:
            checked.append((["inputs", name, "value"], given.value.formula, given.unit))
    for where, formula, unit in checked:
        for mismatch in check_units(formula, units, unit):
            yield f"{loaded.place(where, mismatch.line, mismatch.column)}: {mismatch.message}"


def scenarios_of(study: Study, among: tuple[str, ...]) -> list[Scenario]:
    """The scenarios of a question, in the order of the file."""
    return [scenario for scenario in study.scenarios if not among or scenario.name in among]


def with_draws(loaded: Loaded, draws: int | None, seed: int | None) -> Loaded:
    """The same study with another number of draws or another seed."""
    changes = {key: value for key, value in (("draws", draws), ("seed", seed)) if value is not None}
    if not changes:
        return loaded
    if draws is not None and not 1000 <= draws <= 1_000_000:
        raise UserError(f"{{draws}} is between 1,000 and 1,000,000, not {draws:,}", field="draws")
    if seed is not None and seed < 0:
        raise UserError(f"{{seed}} must not be negative, got {seed}", field="seed")
    return replace(loaded, study=loaded.study.model_copy(update=changes))
