"""Which hardware, how many, at what price: every way to serve a model ranked, before a dollar is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rackrate.app.plan_request import PlanRequest
from rackrate.bounds import Bounds

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.app.planned_correction import Correction
    from rackrate.economics.hourly import PriceKind
    from rackrate.errors import UserError
    from rackrate.models.read_model import ReadModel
    from rackrate.planner.explain import Step
    from rackrate.planner.plan import Plan, RankedDeployment


@dataclass(frozen=True)
class Planned:
    """The ranking, and one row of it from FLOPs to dollars."""

    plan: Plan
    corrected: str | None
    """What was measured, and how it corrected the predictions; None where they are as they are."""
    explained: str | None
    """The offer whose row was asked for."""
    explanation: tuple[Step, ...]
    """Of that row, else of the cheapest: what, value, unit and how it follows."""

    @property
    def refusal(self) -> UserError | None:
        """Why the ranking is empty, and what to change; None where it is not."""
        from rackrate.errors import UserError
        from rackrate.planner.plan import largest

        plan = self.plan
        if plan.rows:
            return None
        if set(plan.reasons) == {"does not fit"}:
            nearest = largest(plan.lost)
            return UserError(
                f"{plan.demand.name} fits none of the {plan.candidates} candidates: "
                f"{nearest.detail if nearest else ''}. Choose other {{weights}} or offers, or shorter requests; "
                "a memory fit of the model says what holds it",
                field="weights",
            )
        return UserError(
            f"no offer meets {plan.demand.slo}" + (f"; nearest is {plan.closest}" if plan.closest else "")
            + ". Loosen {slo}, shorten the requests, or choose other {weights}",
            fields=("slo", "weights"),
        )  # fmt: skip


def plan(request: PlanRequest, context: Context) -> Planned:
    """Every candidate ranked by USD per month at the traffic and SLO, APIs beside them.

    Raises:
        UserError: a field that is wrong, traffic that cannot be read, an offer to explain that has no row.
    """
    from rackrate.app.planned_demand import demand_of
    from rackrate.catalog.apis import chosen_apis
    from rackrate.catalog.types import moment
    from rackrate.errors import UserError
    from rackrate.memory.engine_memory import engine_memory
    from rackrate.models.formats import weight_format
    from rackrate.models.read_model import read_model
    from rackrate.planner.explain import explained
    from rackrate.planner.plan import largest
    from rackrate.planner.plan import plan as ranked
    from rackrate.simulation.compiled import first_use

    _check(request)
    catalog, say = context.catalog, context.notify.note
    read = read_model(request.model, catalog, weights_stated=bool(request.weights))
    for note in read.reading_notes:
        say(f"note: {note}")
    engines = request.engines or ("llamacpp" if read.is_gguf else "vllm",)
    for engine in engines:
        engine_memory(engine)  # says now if it is unknown
    formats = [weight_format(name).name for name in request.weights]
    demand = demand_of(read, request)
    offers, explain = list(request.offers), request.explain
    if explain is not None:
        catalog.offer(explain)  # says now if there is none
        if offers and explain not in offers:
            offers.append(explain)
    apis = chosen_apis(read.listed, catalog, request.apis, when=moment(context.today()), use=demand.use)
    if (first := first_use()) is not None:
        say(first)
    correction = _correction(request, read, engines[0], context)
    kinds: tuple[PriceKind, ...] = request.price_kinds  # pyright: ignore[reportAssignmentType] - looked at above

    def planned(among: list[str]) -> Plan:
        return ranked(
            demand, catalog, apis, kinds=kinds, engines=engines, weights=formats, offers=among, rows=request.rows,
            prune=request.prune, correct=correction.correct if correction else None,
            on_progress=lambda done, of: context.notify.progress("candidates", done, of),
        )  # fmt: skip

    found = planned(offers)
    row: RankedDeployment | None = found.rows[0] if found.rows else None
    if explain is not None:
        offer = catalog.offer(explain).id
        row = next((row for row in found.rows if row.candidate.offer.id == offer), None)
        if row is None:
            alone = planned([explain])
            if not alone.rows:
                entry = largest(alone.lost)
                why = (
                    f"{entry.candidate.kind.split} {entry.reason}: {entry.detail}" if entry else "it has no such price"
                )
                raise UserError(f"{{explain}} {explain}: {why}", field="explain")
            row = alone.rows[0]
    steps = explained(row, demand) if row is not None else []
    return Planned(found, correction.sentence if correction else None, explain, tuple(steps))


FEWEST_REQUESTS = 20
"""Whose p95 is still of a request that was simulated."""
MOST_REQUESTS = 10_000_000
"""In memory for each candidate, at 140 bytes (measured: 476 MB for 2,000,000 against 222 MB for 200,000)."""


def _check(request: PlanRequest) -> None:
    """Raises UserError for what is wrong whatever the model."""
    from rackrate.economics.hourly import PRICE_KINDS
    from rackrate.errors import UserError

    Bounds("a whole number of requests", FEWEST_REQUESTS, MOST_REQUESTS).check(request.requests, "requests")
    for kind in request.price_kinds:
        if kind not in PRICE_KINDS:
            raise UserError(f"{{price_kinds}} is one of {', '.join(PRICE_KINDS)}, not {kind!r}", field="price_kinds")
    if request.anchor is not None and request.calibration is not None:
        raise UserError(
            "{anchor} and {calibration} both correct a machine by what was measured on it: give one of them",
            fields=("anchor", "calibration"),
        )


def _correction(request: PlanRequest, read: ReadModel, engine: str, context: Context) -> Correction | None:
    """What was measured on a machine, where something was."""
    from rackrate.app.planned_correction import by_anchor, by_calibration

    if request.anchor is not None:
        return by_anchor(request.anchor, context.catalog, read, engine)
    if request.calibration is not None:
        return by_calibration(request.calibration, context.catalog)
    return None
