"""Compare machines and APIs for the same requests: a study of one question, made of a run or a stated throughput."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rackrate import bounds
from rackrate.app.pricing import PricedFields, PriceRequest, price_run, price_stated
from rackrate.errors import PriceError, RunError

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.catalog.api_use import ApiUse
    from rackrate.catalog.load import Catalog
    from rackrate.catalog.types import Model
    from rackrate.economics.hourly import Rig
    from rackrate.economics.pricing import Priced, Pricing
    from rackrate.economics.uncertainty import Quantity
    from rackrate.studies.documents import Number, Owned, Scenario, Traffic
    from rackrate.studies.results import QuestionResult

SHOWN_APIS = 8
DRAWS, SEED = 100_000, 1
THROUGHPUT = "throughput"
"""The one input that all machines share: the offers are of the same hardware, and fast or slow together."""


@dataclass(frozen=True)
class CompareRequest(PricedFields):
    """What to compare: machines of a run (or of a stated throughput) and APIs, at a volume."""

    NAME: ClassVar[str] = "compare"

    tokens_per_second: str | None = None
    """Instead of a run: a number, or a range LOW..HIGH (80 %). [token/s]"""
    utilisation: bounds.ShareAbove0 | None = None
    tokens_per_month: str | None = None
    """A number, or a range LOW..HIGH (80 %)."""
    requests_per_day: bounds.RequestsPerDay | None = None
    peak_to_mean: bounds.FactorFrom1 = 1.0
    all_apis: bool = False
    batch: bool = False
    discounts: bounds.Names = ()
    """NAME=SHARE each."""
    tokenizer_ratios: bounds.Names = ()
    """NAME=RATIO each."""
    api_price_decline: str | None = None
    """The share that API prices lose a year: a number, or a range LOW..HIGH (80 %); None: they stay."""
    horizon_years: bounds.Years | None = None
    """Over which all are compared by present value; None: the life of what is bought, else a month."""
    as_of: str | None = None
    """List prices of this date, YYYY-MM-DD; None: today's."""


@dataclass(frozen=True)
class Compared:
    """The answer to the one question, and what must be said of it."""

    model: str
    question: QuestionResult
    draws: int
    seed: int
    remarks: tuple[str, ...]


def compare(request: CompareRequest, context: Context) -> Compared:
    """Ranks machines and APIs for the same requests.

    Raises:
        PriceError, RunError, CatalogError: as `price` does, and for volumes, discounts and ratios that cannot be.
    """
    from rackrate.studies.documents import Input, Number, Question, Study
    from rackrate.studies.evaluate import evaluate
    from rackrate.studies.loading import Loaded

    if request.as_of is not None:
        bounds.check_date(request.as_of, "as_of", context.today())
    as_of = request.as_of or context.today()
    catalog = context.catalog
    pricing, model, speed, use = _priced(request, context)
    served = pricing.serving
    counted = 1 - served.cached_tok_s / served.tok_s
    scenarios = [_machine(priced, model, pricing.model, request, counted) for priced in pricing.machines]
    scenarios += _api_scenarios(request, catalog, model, as_of, use)
    traffic, said = _traffic(request, pricing)
    study = Study(
        study="compare",
        title=f"{pricing.model}: machines and APIs",
        hours_per_month=request.hours_per_month,
        draws=DRAWS,
        seed=SEED,
        inputs={THROUGHPUT: Input(value=Number(speed, None), unit="token/s", source=served.origin)},
        scenarios=tuple(scenarios),
        questions=(
            Question(
                id="compare",
                asks=f"{pricing.model}: what do the same requests cost?",
                traffic=traffic,
                horizon_years=request.horizon_years,
                api_price_decline=_decline(request),
            ),
        ),
    )
    result = evaluate(Loaded(Path("compare"), study, ()), catalog, as_of, use=use)
    remarks = [said, served.origin]
    remarks += [f"{name}: not the machine's capacity, priced all the same" for name in served.caveats]
    if request.batch:
        remarks.append("Batch prices where the list has them: the answers come within a day, not at once.")
    remarks.append(
        "Tokens are the served model's. Another model counts the same text differently: state its tokenizer ratio. "
        "Rate limits are not in price lists; put them into your own apis.yaml to have them checked."
    )
    return Compared(pricing.model, result.questions[0], DRAWS, SEED, tuple(remarks))


def _priced(request: CompareRequest, context: Context) -> tuple[Pricing, Model | None, Quantity, ApiUse]:
    """What is served, on which machines, the throughput with what is uncertain of it, and its requests."""
    from rackrate.catalog.api_use import ANY_USE
    from rackrate.economics.api_use import use_of_run
    from rackrate.economics.uncertainty import measured

    shared = PriceRequest(**{field.name: getattr(request, field.name) for field in fields(PricedFields)})
    named = bool(request.offers or request.rigs or request.usd_per_hour is not None)
    if request.run is not None and request.tokens_per_second is None:
        offers = request.offers if named else _matching(request.run, context.catalog, request.price_kind)
        run = price_run(replace(shared, offers=offers), context)
        serving = run.pricing.serving
        speed = measured(serving.tok_s, serving.relative_half_width)
        model = context.catalog.known_model(run.run.header.model.catalogue_id or "")
        return run.pricing, model, speed, use_of_run(run.run, run.best.level)
    if request.run is None and request.tokens_per_second is not None:
        ends = ends_of(request.tokens_per_second, "tokens_per_second")
        speed = quantity(request.tokens_per_second, "tokens_per_second")
        stated = replace(shared, tokens_per_second=math.sqrt(ends[0] * ends[1]))
        pricing = price_stated(stated, context)
        return pricing, context.catalog.model(request.model) if request.model else None, speed, ANY_USE
    raise PriceError(
        "say what to compare: either a {run} directory, or {tokens_per_second}", fields=("run", "tokens_per_second")
    )


def _matching(run: Path, catalog: Catalog, kind: str) -> tuple[str, ...]:
    """The offers of the very hardware that a run was on, the five cheapest; none: as `price` chooses."""
    from rackrate.economics.hardware import matching
    from rackrate.runs.store import read_run

    machine = read_run(run).header.machine
    return tuple(offer.id for offer in matching(machine, catalog.offers.values(), kind)[:5])  # pyright: ignore[reportArgumentType]


def quantity(text: str, field: str) -> Quantity:
    """A number, or a range LOW..HIGH (80 %).

    >>> quantity("400", "tokens_per_second"), quantity("300..500", "tokens_per_second")
    (Fixed(value=400.0), Interval80(low=300.0, high=500.0))
    """
    from rackrate.economics.uncertainty import Fixed, Interval80

    low, high = ends_of(text, field)
    return Fixed(low) if low == high else Interval80(low, high)


_KINDS = {
    "tokens_per_second": bounds.TOKENS_PER_SECOND,
    "tokens_per_month": bounds.TOKENS_PER_MONTH,
    "api_price_decline": bounds.SHARE_BELOW_1,
}
"""Of what is given as a number or a range."""


def ends_of(text: str, field: str) -> tuple[float, float]:
    """Both ends of a range; of a number, itself twice."""
    parts = text.split("..")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in {1, 2} or not all(0 < number < math.inf for number in numbers) or numbers != sorted(numbers):
        raise PriceError(f"{{{field}}} is a number above 0 or a range LOW..HIGH, not {bounds.shown(text)}", field=field)
    for number in numbers:
        _KINDS[field].check(number, field)
    return numbers[0], numbers[-1]


def _decline(request: CompareRequest) -> Number:
    from rackrate.studies.documents import Number

    text = request.api_price_decline
    if text is None or re.fullmatch(r"\s*0(\.0*)?\s*", text):
        return _fixed(0.0)
    return Number(quantity(text, "api_price_decline"), None)


def _fixed(value: float) -> Number:
    from rackrate.economics.uncertainty import Fixed
    from rackrate.studies.documents import Number

    return Number(Fixed(value), None)


def _machine(priced: Priced, model: Model | None, served: str, request: CompareRequest, counted: float) -> Scenario:
    """A machine that serves the throughput, of which a share is counted: cached input takes no time in a study."""
    from rackrate.studies.documents import Number, Scenario

    cost, rig = priced.cost, priced.rig
    notes = [*(f"{name}: not the machine's capacity" for name in priced.warnings), *priced.notes]
    rented = rig is None and cost.kind == "rented"
    price: dict[str, Any] = {"source": cost.source}
    if rig is not None:
        price["own"] = _owned(rig)
    elif rented:
        price = {"offer": cost.name.removesuffix(f" ({request.price_kind})"), "price_kind": request.price_kind}
    else:
        price["usd_per_hour"] = _fixed(cost.fixed_usd_h)
    return Scenario(
        name=cost.name,
        model=model.id if model else served,
        tokens_per_second=Number.product(*([counted] if counted != 1 else []), THROUGHPUT),
        notes=" ".join(notes) or None,
        **price,
    )


def _owned(rig: Rig) -> Owned:
    """Money is in USD and a tariff is its mean by now; spares are bought, kept and sold like the rest."""
    from rackrate.studies.documents import Owned

    figures = {name: getattr(rig, name) for name in Owned.model_fields if name in type(rig).model_fields}
    del figures["spare_share"]
    for name in ("capex_usd", "resale_usd"):
        figures[name] *= 1 + rig.spare_share
    return Owned(**{name: _fixed(value) for name, value in figures.items()})


def _api_scenarios(
    request: CompareRequest, catalog: Catalog, model: Model | None, as_of: str, use: ApiUse
) -> list[Scenario]:
    """The same open model's sellers first, then the models that the user names (or two well-known ones)."""
    from rackrate.catalog.apis import chosen_apis
    from rackrate.catalog.types import moment
    from rackrate.studies.documents import Scenario

    chosen = chosen_apis(
        model, catalog, request.apis, when=moment(as_of), use=use, batch=request.batch,
        sellers=None if request.all_apis else SHOWN_APIS,
    )  # fmt: skip
    refs = [price.ref for price, _ in chosen]
    same = {price.ref for price, is_same in chosen if is_same}
    discounts = _by_name(request.discounts, "discounts", 0, 1)
    ratios = _by_name(request.tokenizer_ratios, "tokenizer_ratios", 0.1, 10)
    known = {name for ref in refs for name in (ref, ref.split("/", 1)[0])}
    for field, table in (("discounts", discounts), ("tokenizer_ratios", ratios)):
        for name in table:
            if name not in known:
                raise PriceError(
                    f"{{{field}}} {name}: no API of this comparison is called so ({', '.join(refs)})", field=field
                )
    scenarios: list[Scenario] = []
    for ref in refs:
        provider = ref.split("/", 1)[0]
        share = discounts.get(ref, discounts.get(provider))
        scenarios.append(
            Scenario(
                name=ref,
                api=ref,
                batch=request.batch,
                model=model.id if ref in same and model is not None else None,
                discount=_fixed(share or 0.0),
                notes=f"less a negotiated {share:.0%}" if share is not None else None,
                tokenizer_ratio=_fixed(ratios.get(ref, ratios.get(provider, 1.0))),
            )
        )
    return scenarios


def _by_name(given: Sequence[str], field: str, low: float, high: float) -> dict[str, float]:
    table: dict[str, float] = {}
    for item in given:
        name, _, number = item.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not name or not low <= value <= high:
            raise PriceError(
                f"{{{field}}} is NAME=NUMBER with a number from {low:g} to {high:g}, not {item!r}", field=field
            )
        table[name] = value
    return table


def _traffic(request: CompareRequest, pricing: Pricing) -> tuple[Traffic, str]:
    """The volume in the run's mix, and where it comes from."""
    from rackrate.studies.documents import Number, Traffic
    from rackrate.units import SECONDS_PER_HOUR

    serving = pricing.serving
    told = [
        item for item in (request.utilisation, request.tokens_per_month, request.requests_per_day) if item is not None
    ]
    if len(told) > 1:
        raise PriceError(
            "give one of {utilisation}, {tokens_per_month} and {requests_per_day}, not several",
            fields=("utilisation", "tokens_per_month", "requests_per_day"),
        )
    # of what the machine serves, whatever that is: a faster one then serves more, and stays one machine
    full = (THROUGHPUT, SECONDS_PER_HOUR, "hours_per_month")
    if request.tokens_per_month is not None:
        volume = Number(quantity(request.tokens_per_month, "tokens_per_month"), None)
        said = "Volume: as stated."
    elif request.requests_per_day is not None:
        if not serving.request_s:
            raise RunError(
                "how many tokens a request has is not known here; give {tokens_per_month} instead",
                field="tokens_per_month",
            )
        volume = _fixed(request.requests_per_day * request.hours_per_month / 24 * serving.tok_s / serving.request_s)
        said = (
            f"Volume: {request.requests_per_day:,.0f} requests a day of {serving.tok_s / serving.request_s:.0f} tokens."
        )
    elif request.utilisation is not None:
        volume = Number.product(request.utilisation, *full)
        said = f"Volume: {request.utilisation:.0%} of what one machine serves."
    else:
        volume = Number.product(*full)
        said = (
            "Volume: one machine busy all month, which nobody's is; say what you expect: a utilisation, tokens a month "
            "or requests a day."
        )
    share = serving.input_tok_s / serving.tok_s
    cached = serving.cached_tok_s / serving.input_tok_s if serving.input_tok_s else 0.0
    traffic = Traffic(
        tokens_per_month=volume,
        input_share=_fixed(share),
        cached_share=_fixed(cached),
        peak_to_mean=_fixed(request.peak_to_mean),
    )
    return traffic, said
