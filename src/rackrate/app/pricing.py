"""Price a run, or a stated throughput: the one place where machines and APIs are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rackrate import bounds
from rackrate.app.request_json import Request
from rackrate.errors import PriceError

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.catalog.api_use import ApiUse
    from rackrate.catalog.apis import ApiPrice
    from rackrate.catalog.load import Catalog
    from rackrate.catalog.types import Model, Offer
    from rackrate.economics.hourly import HourlyCost, PriceKind, Rig
    from rackrate.economics.pricing import Load, Priced, Pricing
    from rackrate.economics.ratecard import Serving
    from rackrate.metrics.saturation import Saturation
    from rackrate.metrics.summary import LevelSummary
    from rackrate.runs.records import Machine, Run

MACHINES = ("offers", "rigs", "usd_per_hour")
"""Fields that name a machine."""
EDIT_THE_RIG = "Save this assumption as a file, edit it, and price with it as a machine of your own (docs/pricing.md)"
"""What a reader does about an assumed machine."""


@dataclass(frozen=True)
class PricedFields(Request):
    """A run, the machines to price it by, and the APIs beside them; fields of every request that prices."""

    run: Path | None = None
    mix: str = "1:1"
    """Input to output tokens of a stated throughput."""
    model: str | None = None
    """The model of a stated throughput, to find who sells it."""
    offers: bounds.Names = ()
    rigs: bounds.Paths = ()
    """Files of owned machines."""
    usd_per_hour: bounds.UsdPerHour | None = None
    price_kind: str = "on-demand"
    as_if: bool = False
    """Price by a machine other than the one that the run was on."""
    apis: bounds.Names = ()
    hours_per_month: bounds.HoursPerMonth = 730.0
    at_concurrency: bounds.Concurrency | None = None
    force: bool = False
    """Price figures that are not the machine's capacity."""


@dataclass(frozen=True)
class PriceRequest(PricedFields):
    """What to price (a run, or a throughput), on which machines, at which load, against which APIs."""

    NAME: ClassVar[str] = "price"

    tokens_per_second: bounds.TokensPerSecond | None = None
    """Instead of a run: what one machine serves, input and output. [token/s]"""
    utilisation: bounds.ShareAbove0 | None = None
    requests_per_second: bounds.RequestsPerSecond | None = None
    requests_per_day: bounds.RequestsPerDay | None = None


@dataclass(frozen=True)
class PricedRun:
    """A run with its summaries and its pricing."""

    run: Run
    levels: list[LevelSummary]
    best: Saturation
    pricing: Pricing


def price(request: PriceRequest, context: Context) -> Pricing:
    """USD per 1M tokens of a run or a stated throughput, per machine, beside APIs.

    Raises:
        RunError, PriceError, CatalogError: as `price_run` and `price_stated`.
    """
    if request.run is not None and request.tokens_per_second is None:
        return price_run(request, context).pricing
    if request.run is None and request.tokens_per_second is not None:
        return price_stated(request, context)
    raise PriceError(
        "say what to price: either a {run} directory, or {tokens_per_second}", fields=("run", "tokens_per_second")
    )


def price_run(request: PriceRequest, context: Context) -> PricedRun:
    """Reads a run, refuses what must not be priced, and prices the rest.

    Raises:
        RunError: unreadable, or nothing was served.
        PriceError: not a figure to price without --force, another machine without --as-if, no machine known.
    """
    from rackrate.economics.api_use import use_of_run
    from rackrate.economics.pricing import Pricing
    from rackrate.economics.served import PREDICTION_ERROR, served_by

    load = _load(request)
    assert request.run is not None  # noqa: S101 - the caller looked
    found = served_by(request.run, at_concurrency=request.at_concurrency, force=request.force)
    run, levels, best, serving = found.run, found.levels, found.best, found.serving
    catalog = context.catalog
    model_id = run.header.model.catalogue_id
    known = catalog.models.get(model_id) if model_id else None
    apis, notes = _apis(context, request, known, use_of_run(run, best.level))
    if not serving.prefill_share:
        notes.append(
            "Prefill alone was not measured, so input and output tokens cannot be priced apart (measure prefill, too)."
        )
    if best.lower_bound:
        notes.append(
            "The machine was not saturated at the highest load measured: it can do more, so its price per token "
            "is an upper bound."
        )
    if best.within_slo is False:
        notes.append("No load of this run is sustained within its SLO: this is the price at one that is not.")
    if run.header.mode == "simulated":
        counted = isinstance(run.header.engine.settings.get(PREDICTION_ERROR), float)
        notes.append(
            "The run was simulated: its intervals count how much simulated requests vary, and how far predictions of "
            "throughput were off where they could be checked (docs/validation.md). Measure before you sign."
            if counted
            else "The run was simulated: its intervals say how much simulated requests vary, not how far predictions "
            "are off, which is more, and not known of this run. Measure before you sign."
        )
    imported = run.header.imported
    if imported is not None:
        if best.level.unknown:
            notes.append(f"Not known, since the imported file does not tell: {', '.join(best.level.unknown)}.")
        notes += imported.notes
    machines = _machines(run.header.machine, catalog, serving, load, apis, request)
    return PricedRun(
        run, levels, best, Pricing(serving, run.header.model.requested, load, tuple(machines), tuple(notes))
    )


def price_stated(request: PriceRequest, context: Context) -> Pricing:
    """Prices a throughput that the user states, for instance an article's.

    Raises:
        PriceError: a throughput that is not positive, a malformed mix, no machine named.
    """
    from rackrate.catalog.api_use import ANY_USE
    from rackrate.economics.pricing import Pricing
    from rackrate.economics.ratecard import Serving
    from rackrate.runs.records import Machine

    tokens_per_second, mix = request.tokens_per_second or 0.0, request.mix
    parts = mix.split(":")
    try:
        into, out = (float(part) for part in parts)
    except ValueError:
        raise PriceError(f"{{mix}} is INPUT:OUTPUT, such as 1:1 or 3:1, not {mix!r}", field="mix") from None
    most = bounds.FACTOR.most
    if not (0 <= into <= most and 0 <= out <= most and into + out >= 1 / most):
        raise PriceError(f"{{mix}} has parts from 0 to {most:,.0f}, not both 0, got {mix!r}", field="mix")
    if not (request.offers or request.rigs or request.usd_per_hour is not None):
        raise PriceError("say on which machine: {offers}, {rigs} or {usd_per_hour}", fields=MACHINES)
    load = _load(request)
    serving = Serving(
        output_tok_s=tokens_per_second * out / (into + out),
        input_tok_s=tokens_per_second * into / (into + out),
        cached_tok_s=0.0,
        request_s=None,
        relative_half_width=None,
        prefill_share=None,
        origin=f"stated, not measured: {tokens_per_second:g} token/s on one machine; "
        f"the mix of {mix} input to output is for the API's bill",
        stated=True,
    )
    catalog = context.catalog
    known = catalog.model(request.model) if request.model else None
    apis, notes = _apis(context, request, known, ANY_USE)
    machines = _machines(Machine(origin="unknown"), catalog, serving, load, apis, request)
    return Pricing(serving, known.id if known else "unnamed model", load, tuple(machines), tuple(notes))


def _load(request: PriceRequest) -> Load:
    from rackrate.economics.pricing import Load

    given = {
        name: value
        for name in ("utilisation", "requests_per_second", "requests_per_day")
        if (value := getattr(request, name)) is not None
    }
    if len(given) > 1:
        raise PriceError(
            "give one of {utilisation}, {requests_per_second} and {requests_per_day}, not several",
            fields=("utilisation", "requests_per_second", "requests_per_day"),
        )
    rate = request.requests_per_second
    if request.requests_per_day is not None:
        rate = request.requests_per_day / 86_400
    return Load(request.utilisation, rate, request.hours_per_month)


def _apis(
    context: Context, request: PriceRequest, model: Model | None, use: ApiUse
) -> tuple[Sequence[tuple[ApiPrice, bool]], list[str]]:
    """The prices to compare with, and what must be said of them."""
    from rackrate.catalog.apis import chosen_apis, price_list_origin
    from rackrate.catalog.types import moment

    chosen = chosen_apis(model, context.catalog, request.apis, when=moment(context.today()), use=use)
    notes: list[str] = []
    source, released = price_list_origin()
    if model is None:
        notes.append("Which model this is, the catalogue does not know: whether an API sells it cannot be said.")
    elif not any(same for _, same in chosen):
        notes.append(
            f"No API in {source} ({released}) sells {model.name}: every API row is another model, not like for like."
        )
    notes.append(
        f"API prices: {source}, released {released}. Token counts are the served model's; another model's tokenizer "
        "counts the same text differently."
    )
    return chosen, notes


def _machines(
    machine: Machine,
    catalog: Catalog,
    serving: Serving,
    load: Load,
    apis: Sequence[tuple[ApiPrice, bool]],
    request: PriceRequest,
) -> list[Priced]:
    from rackrate.economics.hardware import assumed_rig, describe, mismatch, nearest_offers, rig_mismatch
    from rackrate.economics.hourly import PRICE_KINDS, HourlyCost, energy_warning, owned, read_rig, rented, zones_note
    from rackrate.economics.pricing import price

    if request.price_kind not in PRICE_KINDS:
        raise PriceError(
            f"{{price_kind}} is one of {', '.join(PRICE_KINDS)}, not {request.price_kind!r}", field="price_kind"
        )
    kind: PriceKind = request.price_kind  # pyright: ignore[reportAssignmentType]
    priced: list[Priced] = []

    def add(cost: HourlyCost, rig: Rig | None = None, *, other: bool = False, notes: Sequence[str] = ()) -> None:
        priced.append(price(serving, cost, load, apis, rig=rig, other_hardware=other, notes=notes))

    for name in request.offers:
        offer = catalog.offer(name)
        why = None if serving.stated else mismatch(machine, offer)
        if why is not None and not request.as_if:
            instead = _instead(machine, catalog, kind)
            raise PriceError(f"{why}: a figure belongs to its machine; {instead}, or use {{as_if}}", field="as_if")
        zones = zones_note(offer) if kind == "spot" else []
        add(rented(offer, kind), other=why is not None, notes=[*_as_if_note(why), *zones])
    for path in request.rigs:
        rig = read_rig(path, catalog)
        why = None if serving.stated else rig_mismatch(machine, rig)
        if why is not None and not request.as_if:
            raise PriceError(
                f"{path}: {why}: a figure belongs to its machine; measure on the rig, or use {{as_if}}", field="as_if"
            )
        cost = owned(rig, str(path), load.hours_per_month)
        add(cost, rig, other=why is not None, notes=[*_as_if_note(why), *energy_warning(rig, path)])
    if request.usd_per_hour is not None:
        add(
            HourlyCost(
                "stated price",
                "stated",
                request.usd_per_hour,
                0.0,
                {"rent": request.usd_per_hour},
                "stated",
            )
        )
    if priced:
        return priced
    if machine.origin == "unknown":
        raise PriceError(
            "the run does not know what it ran on: name the machine with {offers} NAME {as_if} (or measure with {on})",
            fields=("offers", "as_if", "on"),
        )
    rig = assumed_rig(machine)
    if rig is not None:
        add(
            owned(rig, "assumption: nobody has stated what this machine costs", load.hours_per_month),
            rig,
            notes=[EDIT_THE_RIG],
        )
    nearest = nearest_offers(machine, catalog, kind)
    if nearest:
        why = mismatch(machine, nearest[0])
        others = ", ".join(offer.id for offer in nearest[1:])
        note = f"the nearest rented machine to {describe(machine)} by CPU or GPU type and number"
        if machine.offer == nearest[0].id:
            note = "the machine that the run was stated to be on"
        add(
            rented(nearest[0], kind),
            other=why is not None,
            notes=[note + (f"; also {others}" if others else "") + "."],
        )
    if not priced:
        raise PriceError(
            f"the catalogue has no offer like {describe(machine)}: give {{offers}} with {{as_if}}, {{rigs}} or "
            "{usd_per_hour}",
            fields=(*MACHINES, "as_if"),
        )
    return priced


def _as_if_note(why: str | None) -> list[str]:
    return (
        [f"Priced as if: {why}. The throughput of the one and the price of the other need not go together."]
        if why
        else []
    )


def _instead(machine: Machine, catalog: Catalog, kind: PriceKind) -> str:
    from rackrate.economics.hardware import matching, nearest_offers

    same = matching(machine, catalog.offers.values(), kind)
    if same:
        return "offers that match: " + ", ".join(offer.id for offer in same[:5])
    near: list[Offer] = nearest_offers(machine, catalog, kind)
    return "no offer in the catalogue matches" + (
        f" (nearest: {', '.join(offer.id for offer in near)})" if near else ""
    )


@dataclass(frozen=True)
class AssumeRigRequest(Request):
    """Of which run's machine to write down an assumption."""

    NAME: ClassVar[str] = "assume-rig"

    run: Path


def assumed_rig_file(request: AssumeRigRequest, context: Context) -> str:
    """The assumed rig of a run's machine as commented YAML, to be edited.

    Raises:
        RunError: the run cannot be read.
        PriceError: the machine has GPUs, or was not detected: nothing is assumed of those.
    """
    del context
    import yaml

    from rackrate.economics.hardware import assumed_rig
    from rackrate.runs.store import read_run

    rig = assumed_rig(read_run(request.run).header.machine)
    if rig is None:
        raise PriceError(
            "there is no assumption for this machine (it has GPUs, or is not here): "
            "write a rig.yaml by hand, docs/pricing.md has one"
        )
    head = (
        "# What owning this machine costs. Every figure is an assumption until you replace it.\n"
        "# docs/pricing.md says what each means.\n"
    )
    values = {key: value for key, value in rig.model_dump(exclude_none=True).items() if value != {}}
    return head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
