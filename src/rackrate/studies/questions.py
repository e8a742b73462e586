"""A question: scenarios ranked for the same requests, how sure the ranking is, and when it turns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rackrate.catalog.api_use import ApiUse
from rackrate.catalog.load import Catalog
from rackrate.economics.alternatives import (
    Demand,
    api_month_usd,
    fleet_month,
)
from rackrate.economics.api_use import use_of_profile
from rackrate.economics.sensitivity import Tornado, tornado
from rackrate.economics.uncertainty import Estimate, central, draw_all, estimate, probability
from rackrate.errors import UserError
from rackrate.studies.alternatives import (
    Alternative,
    ParameterTable,
    Valuation,
    alternative,
    demand_at,
    traffic_figures,
)
from rackrate.studies.crossings import with_crossing, with_each
from rackrate.studies.dimensions import COUNTED
from rackrate.studies.documents import Question
from rackrate.studies.horizon import Horizon, Worked, horizon_of, over
from rackrate.studies.inputs import Inputs, unit_of
from rackrate.studies.loading import Loaded, figures, scenarios_of
from rackrate.studies.results import AlternativeRow, HorizonResult, QuestionResult, QuestionVerdict
from rackrate.units import PER_MILLION
from rackrate.workload.prompt_mix import PromptMix

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rackrate.units import Numbers

SURE = 0.9
"""A verdict is given where at least this share of the draws agrees."""


def answer(
    loaded: Loaded, question: Question, catalog: Catalog, inputs: Inputs, as_of: str, use: ApiUse | None = None
) -> QuestionResult:
    """Prices a question's scenarios, ranks them, and finds what the ranking hangs on.

    Args:
        loaded: the study.
        question: of it.
        catalog: offers, models and the user's own prices.
        inputs: of the study.
        as_of: the date whose list prices are meant.
        use: what API prices are weighed by; None: what the question's traffic says of lengths and hours.

    Raises:
        UserError: a scenario needs an input that is not known, or names what the catalogue does not have.
    """
    study = loaded.study
    scenarios = scenarios_of(study, question.among)
    _refuse_unknown(loaded, question, inputs)
    table = ParameterTable()
    traffic_figures(question.traffic, table)
    table.add("discount rate", "discount_rate", question.discount_rate)
    table.add("API price decline", "api_price_decline", question.api_price_decline)
    for name, quantity in inputs.leaves.items():
        table.quantities[name] = quantity
        table.units[name] = unit_of(name, inputs)

    middle_of = {name: central(quantity) for name, quantity in table.quantities.items()}
    demand = demand_at(question.traffic, _at(inputs, middle_of), study.hours_per_month)
    use = use or _use(question, demand, loaded.prompts.get(question.id))
    alternatives = [alternative(loaded, scenario, catalog, as_of, table, use) for scenario in scenarios]
    middle = _at(inputs, {name: central(quantity) for name, quantity in table.quantities.items()})
    alternatives = [item.of_mix(middle, demand) for item in alternatives]
    drawn = _at(inputs, draw_all(table.quantities, study.draws, study.seed))
    demand_drawn = demand_at(question.traffic, drawn, study.hours_per_month)
    try:
        worked = [_work(alternative, middle, drawn, demand, demand_drawn, study.draws) for alternative in alternatives]
    except UserError as error:
        place = loaded.place(["questions", study.questions.index(question), "traffic"])
        raise UserError(f"{place}: {error}") from None

    horizon = horizon_of(question, worked)
    worked = [over(horizon, each, middle, drawn, demand, demand_drawn) for each in worked]

    served = {alternative.model for alternative in alternatives if alternative.kind != "api"}
    same = {
        alternative.name: _same_model(alternative, served) for alternative in alternatives if alternative.kind == "api"
    }
    apis = [each for each in worked if each.alternative.kind == "api" and same[each.alternative.name] is not False]
    like_for_like = bool(apis)
    apis = apis or [each for each in worked if each.alternative.kind == "api"]
    hosted = [each for each in worked if not each.is_api]
    chosen = [each for each in worked if each.alternative.name == question.against]
    reference = min(chosen or apis, key=lambda each: each.level, default=None)
    best = min(hosted, key=lambda each: each.level, default=None)

    notes = [question.notes] if question.notes else []
    if apis and hosted and not like_for_like and not chosen:
        notes.append("No API here sells the model that the machines serve: the comparison is with another model.")
    if hosted and float(demand.cached_input_tokens) > 0:
        notes.append("Cached input takes no time on a machine; an API bills it at its cached price.")
    if horizon is None and apis and hosted and _falls(question):
        notes.append(
            "Falling API prices are not counted: nothing here is bought, so the month decides. State horizon_years to "
            "compare over years."
        )
    p_cheapest = _cheapest([*hosted, *apis], study.draws)
    cheapest_api = _least([each.drawn for each in chosen or apis])
    rows = [
        _row(
            each,
            demand,
            demand_drawn,
            horizon is not None,
            same.get(each.alternative.name),
            p_cheapest.get(each.alternative.name),
            cheapest_api,
            study.draws,
        )
        for each in worked
    ]
    if reference is not None:
        rows = [
            with_crossing(row, each, reference, (demand, demand_drawn), horizon, (middle, drawn))
            for row, each in zip(rows, worked, strict=True)
        ]
    every = sorted((each for each in worked if each.is_api), key=lambda each: each.level)
    rows = [with_each(row, each, every, demand, study.draws) for row, each in zip(rows, worked, strict=True)]
    rows = [_with_limits(row, each, demand) for row, each in zip(rows, worked, strict=True)]
    rows.sort(key=lambda row: (row.levelised_usd_month or row.usd_month).value or 0.0)

    verdict: QuestionVerdict = "not compared"
    p_self, chart = None, None
    if best is not None and reference is not None and cheapest_api is not None:
        p_self = probability(best.drawn < cheapest_api, study.draws)
        verdict = "self-hosting" if p_self >= SURE else "api" if p_self <= 1 - SURE else "too close to call"
        chart = _tornado(
            question, inputs, table, best.alternative, reference.alternative, study.hours_per_month, horizon
        )
    return QuestionResult(
        id=question.id,
        asks=question.asks,
        prices_as_of=as_of,
        tokens_month=estimate(float(demand.tokens), demand_drawn.tokens),
        input_share=float((demand.new_input_tokens + demand.cached_input_tokens) / demand.tokens),
        cached_share=_share(demand.cached_input_tokens, demand.new_input_tokens + demand.cached_input_tokens),
        peak_to_mean=float(demand.peak_to_mean),
        rows=tuple(rows),
        verdict=verdict,
        p_self_cheaper=p_self,
        horizon=_horizon(horizon, best, chosen or apis, middle, drawn, study.draws),
        against=question.against,
        tornado=chart,
        tornado_units={bar.name: table.units.get(bar.name) for bar in chart.bars} if chart is not None else {},
        compared=(best.alternative.name, reference.alternative.name)
        if best is not None and reference is not None
        else None,
        difference_usd_month=estimate(best.level - reference.level, best.drawn - reference.drawn)
        if best is not None and reference is not None
        else None,
        notes=tuple(notes),
    )


def _falls(question: Question) -> bool:
    quantity = question.api_price_decline.quantity
    return quantity is None or central(quantity) != 0


def _horizon(
    horizon: Horizon | None,
    best: Worked | None,
    apis: Sequence[Worked],
    middle: Valuation,
    drawn: Valuation,
    draws: int,
) -> HorizonResult | None:
    if horizon is None:
        return None
    month = _least([each.usd_drawn for each in apis])
    return HorizonResult(
        months=float(horizon.months(middle)),
        life_of=horizon.life_of,
        discount_rate=estimate(float(horizon.discount_rate(middle)), horizon.discount_rate(drawn)),
        api_price_decline=estimate(float(horizon.api_price_decline(middle)), horizon.api_price_decline(drawn)),
        p_self_cheaper_first_month=probability(best.usd_drawn < month, draws)
        if best is not None and month is not None
        else None,
    )


def _use(question: Question, demand: Demand, recorded: PromptMix | None = None) -> ApiUse:
    """The requests that a file has, else such of the stated length, at the hours of the stated profile."""
    import numpy as np

    day = use_of_profile(question.traffic.profile)
    new, cached, out = (
        float(tokens) for tokens in (demand.new_input_tokens, demand.cached_input_tokens, demand.output_tokens)
    )
    if recorded is not None and recorded.inputs.sum() > 0 and new + cached > 0:
        share = cached / (new + cached)
        as_recorded = math.isclose(share, recorded.cached.sum() / recorded.inputs.sum(), abs_tol=1e-6)
        return ApiUse(day, recorded if as_recorded else recorded.with_cached_share(share))
    length = math.nan if demand.prompt_tokens is None else float(demand.prompt_tokens)
    mix = replace(PromptMix.of_length(new + cached, out, cached), prompt_tokens=np.array([length]), exact=False)
    return ApiUse(day, mix)


def _at(inputs: Inputs, values: Mapping[str, Numbers]) -> Valuation:
    return Valuation(values, inputs.values(values))


def _refuse_unknown(loaded: Loaded, question: Question, inputs: Inputs) -> None:
    position = loaded.study.questions.index(question)
    for where, key, number in figures(loaded.study):
        if number.formula is None or (where[0] == "questions" and where[1] != position):
            continue
        if where[0] == "scenarios":
            index = where[1]
            named = isinstance(index, int) and loaded.study.scenarios[index].name in question.among
            if question.among and not named:
                continue
        for name in number.formula.names:
            if name in inputs.missing:
                raise UserError(
                    f"{loaded.place(where)}: {key} needs {name}, which is not known: {inputs.missing[name]}"
                )


def _work(
    item: Alternative, middle: Valuation, drawn: Valuation, demand: Demand, demand_drawn: Demand, draws: int
) -> Worked:
    import numpy as np

    if item.kind == "api":
        bill = api_month_usd(item.tariff(drawn, demand_drawn), demand_drawn)
        usd = np.broadcast_to(np.asarray(bill, dtype=float), (draws,))
        return Worked(item, item.price(middle, demand), float(api_month_usd(item.tariff(middle, demand), demand)), usd)
    machine, machine_drawn = item.machine(middle, demand), item.machine(drawn, demand_drawn)
    month, month_drawn = fleet_month(machine, demand), fleet_month(machine_drawn, demand_drawn)
    usd = np.broadcast_to(np.asarray(month_drawn.usd, dtype=float), (draws,))
    return Worked(item, item.price(middle, demand), float(month.usd), usd, machine, machine_drawn, month, month_drawn)


def _same_model(item: Alternative, served: set[str | None]) -> bool | None:
    """Whether an API sells what the machines serve; None: not said."""
    models = served - {None}
    if item.model is None or not models:
        return None
    return item.model in models


def _cheapest(worked: Sequence[Worked], draws: int) -> dict[str, float]:
    """The share of draws in which nothing else is cheaper: of two that cost the same, each is the cheapest."""
    import numpy as np

    if not worked:
        return {}
    drawn = np.stack([each.drawn for each in worked])
    counts = np.count_nonzero(drawn <= drawn.min(axis=0) * (1 + 1e-12), axis=1)
    return {each.alternative.name: float(count) / draws for each, count in zip(worked, counts, strict=True)}


def _least(drawn: Sequence[NDArray[np.float64]]) -> NDArray[np.float64] | None:
    import numpy as np

    return np.minimum.reduce(drawn) if drawn else None


def _row(
    each: Worked,
    demand: Demand,
    demand_drawn: Demand,
    levelised: bool,
    same: bool | None,
    p_cheapest: float | None,
    cheapest_api: NDArray[np.float64] | None,
    draws: int,
) -> AlternativeRow:
    item = each.alternative
    per_1m = estimate(float(each.usd / demand.tokens) * PER_MILLION, each.usd_drawn / demand_drawn.tokens * PER_MILLION)
    month = estimate(each.usd, each.usd_drawn)
    level = estimate(each.level, each.drawn) if levelised else None
    machines = used = beats = None
    if each.month is not None and each.month_drawn is not None:
        machines = estimate(float(each.month.machines), each.month_drawn.machines)
        used = estimate(float(each.month.utilisation), each.month_drawn.utilisation)
        beats = probability(each.drawn < cheapest_api, draws) if cheapest_api is not None else None
    return AlternativeRow(
        name=item.name,
        kind=item.kind,
        model=item.model,
        same_model=same,
        usd_month=month,
        levelised_usd_month=level,
        usd_per_1m=per_1m,
        machines=machines,
        utilisation=used,
        p_cheapest=p_cheapest,
        p_beats_api=beats,
        crossing=None,
        against=(),
        price=each.price,
        source=item.source,
        date=item.date,
        notes=(*item.notes, *_outside(each, (month, per_1m, *((level,) if level else ())), draws)),
        status=item.status.status,
        ends=item.status.ends,
    )


def _outside(each: Worked, estimates: Sequence[Estimate], draws: int) -> tuple[str, ...]:
    """Says why a figure lies outside its own interval: with whole machines, medians in are no median out."""
    if each.month is None or each.month_drawn is None or not any(_is_outside(estimate) for estimate in estimates):
        return ()
    machines = float(each.month.machines)
    more = probability(each.month_drawn.machines > machines, draws)
    fewer = probability(each.month_drawn.machines < machines, draws)
    share, which = (more, "more") if more >= fewer else (fewer, "fewer")
    if share == 0:
        return ()
    word = "machine is" if machines == 1 else "machines are"
    return (
        f"with every number at its median {machines:.0f} {word} enough, but in {share:.0%} of the draws it takes "
        f"{which}: go by the interval",
    )


def _is_outside(item: Estimate) -> bool:
    low, high, value = item.low, item.high, item.value
    if low is None or high is None or value is None:
        return False
    return not low * (1 - 1e-9) <= value <= high * (1 + 1e-9)


def _with_limits(row: AlternativeRow, each: Worked, demand: Demand) -> AlternativeRow:
    """Warns where the peak asks for more than an API allows."""
    if not row.is_api:
        return row
    stated, listed = each.alternative.scenario.rate_limit, each.alternative.listed
    allowed = stated.tokens_per_minute if stated is not None else None
    if allowed is None and listed is not None:
        allowed = listed.tokens_per_minute
    if allowed is None:
        return row
    asked = float(demand.tokens) / demand.hours / 60 * float(demand.peak_to_mean)
    if asked <= allowed:
        note = f"rate limit: the peak asks for {asked:,.0f} of the {allowed:,.0f} tokens a minute that are allowed"
    else:
        note = f"over the rate limit: the peak asks for {asked:,.0f} tokens a minute, {allowed:,.0f} are allowed"
    return replace(row, notes=(*row.notes, note))


def _tornado(
    question: Question,
    inputs: Inputs,
    table: ParameterTable,
    own: Alternative,
    api: Alternative,
    hours: float,
    horizon: Horizon | None,
) -> Tornado:
    """What moves the difference between the cheapest machines and the cheapest API, over the horizon. [USD/month]"""

    def difference(values: Mapping[str, float]) -> float:
        at = _at(inputs, values)
        demand = demand_at(question.traffic, at, hours)
        machine, bill = own.machine(at, demand), float(api_month_usd(api.tariff(at, demand), demand))
        if horizon is not None:
            machine, bill = horizon.machine(machine, at, demand.hours), bill * float(horizon.api_share(at))
        return float(fleet_month(machine, demand).usd) - bill

    # a fifth of a card does not exist
    whole = {name for name, unit in table.units.items() if unit is not None and unit.lower() in COUNTED}
    moved = {name: quantity for name, quantity in table.quantities.items() if name not in whole}
    fixed = {name: central(table.quantities[name]) for name in whole}
    return tornado(lambda values: difference({**fixed, **values}), moved, table.limits)


def _share(part: Numbers, whole: Numbers) -> float:
    return float(part / whole) if float(whole) else 0.0
