"""From the options of `price` and `report` to a Pricing: one place where machines and APIs are chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate.cli.measured import measured
from rackrate.errors import PriceError, UserError

if TYPE_CHECKING:
    from rackrate.catalog.apis import ApiPrice
    from rackrate.catalog.load import Catalog
    from rackrate.catalog.types import Model, Offer
    from rackrate.economics.hourly import HourlyCost, PriceKind, Rig
    from rackrate.economics.pricing import Load, Priced, Pricing
    from rackrate.economics.ratecard import Serving
    from rackrate.metrics.summary import LevelSummary, Saturation
    from rackrate.runs.records import Machine, Run

DEFAULT_APIS = ("openai/gpt-3.5-turbo", "openai/gpt-6-luna")
"""Compared with where the user names none: the article's own, and a current small one."""

PRICE_KINDS = ("on-demand", "spot", "reserved-1y", "reserved-3y")


@dataclass(frozen=True)
class PricingOptions:
    """What `price` and `report` were told."""

    offers: Sequence[str] = ()
    rigs: Sequence[Path] = ()
    usd_per_hour: float | None = None
    price_kind: str = "on-demand"
    as_if: bool = False
    utilisation: float | None = None
    requests_per_second: float | None = None
    requests_per_day: float | None = None
    apis: Sequence[str] = ()
    hours_per_month: float = 730.0
    at_concurrency: int | None = None
    force: bool = False


@dataclass(frozen=True)
class PricedRun:
    """A run with its summaries and its pricing."""

    run: Run
    levels: list[LevelSummary]
    best: Saturation
    pricing: Pricing


def price_run(directory: Path, options: PricingOptions) -> PricedRun:
    """Reads a run, refuses what must not be priced, and prices the rest.

    Raises:
        RunError: unreadable, or nothing was served.
        PriceError: not a figure to price without --force, another machine without --as-if, no machine known.
    """
    from rackrate.catalog.load import load_catalog
    from rackrate.economics.pricing import Pricing

    load = _load(options)
    found = measured(directory, at_concurrency=options.at_concurrency, force=options.force)
    run, levels, best, serving = found.run, found.levels, found.best, found.serving
    catalog = load_catalog()
    model_id = run.header.model.catalogue_id
    known = catalog.models.get(model_id) if model_id else None
    apis, notes = _apis(catalog, options, known, best.level.mean_input_tokens)
    if not serving.prefill_share:
        notes.append(
            "Prefill alone was not measured, so input and output tokens cannot be priced apart "
            "(measure with --prefill)."
        )
    if best.lower_bound:
        notes.append(
            "The machine was not saturated at the highest load measured: it can do more, so its price per token "
            "is an upper bound."
        )
    if run.header.mode == "simulated":
        notes.append(
            "The run was simulated: its interval says how much simulated requests vary, not how far predicted step "
            "times are off, which is more (docs/validation.md; `rackrate plan` counts it in). Measure before you sign."
        )
    imported = run.header.imported
    if imported is not None:
        if best.level.unknown:
            notes.append(f"Not known, since the imported file does not tell: {', '.join(best.level.unknown)}.")
        notes += imported.notes
    machines = _machines(run.header.machine, catalog, serving, load, apis, options)
    return PricedRun(
        run, levels, best, Pricing(serving, run.header.model.requested, load, tuple(machines), tuple(notes))
    )


def price_stated(tokens_per_second: float, mix: str, model: str | None, options: PricingOptions) -> Pricing:
    """Prices a throughput that the user states, for instance an article's.

    Args:
        tokens_per_second: of one machine; all tokens that are counted.
        mix: input to output tokens of the API's bill, such as 1:1.
        model: a catalogue name, to compare with who sells it; None: not stated.
        options: machines, load and APIs.

    Raises:
        PriceError: a throughput that is not positive, a malformed mix, no machine named.
    """
    from rackrate.catalog.load import load_catalog
    from rackrate.economics.pricing import Pricing
    from rackrate.economics.ratecard import Serving
    from rackrate.runs.records import Machine

    if not 0 < tokens_per_second < float("inf"):
        raise PriceError(f"--tokens-per-second is a number above 0, got {tokens_per_second:g}")
    parts = mix.split(":")
    try:
        into, out = (float(part) for part in parts)
    except ValueError:
        raise PriceError(f"--mix is INPUT:OUTPUT, such as 1:1 or 3:1, not {mix!r}") from None
    if not (0 <= into < math.inf and 0 <= out < math.inf and into + out > 0):
        raise PriceError(f"--mix must have positive parts, got {mix!r}")
    if not (options.offers or options.rigs or options.usd_per_hour is not None):
        raise PriceError("say on which machine: --offer, --own or --usd-per-hour")
    load = _load(options)
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
    catalog = load_catalog()
    known = catalog.model(model) if model else None
    apis, notes = _apis(catalog, options, known, None)
    machines = _machines(Machine(origin="unknown"), catalog, serving, load, apis, options)
    return Pricing(serving, known.id if known else "unnamed model", load, tuple(machines), tuple(notes))


def _load(options: PricingOptions) -> Load:
    from rackrate.economics.pricing import Load

    given = [
        value
        for value in (options.utilisation, options.requests_per_second, options.requests_per_day)
        if value is not None
    ]
    if len(given) > 1:
        raise PriceError("give one of --utilisation, --requests-per-second and --requests-per-day, not several")
    if not 0 < options.hours_per_month <= 744:
        raise PriceError(f"--hours-per-month must be above 0 and at most 744, got {options.hours_per_month:g}")
    if options.utilisation is not None and not 0 < options.utilisation <= 1:
        raise PriceError(f"--utilisation is a share above 0 and at most 1 (0.3 is 30 %), got {options.utilisation:g}")
    rate = options.requests_per_second
    if options.requests_per_day is not None:
        rate = options.requests_per_day / 86_400
    if rate is not None and not 0 < rate < math.inf:
        flag = "--requests-per-second" if options.requests_per_day is None else "--requests-per-day"
        raise PriceError(f"{flag} is a number above 0, got {given[0]:g}")
    return Load(options.utilisation, rate, options.hours_per_month)


def _apis(
    catalog: Catalog,
    options: PricingOptions,
    model: Model | None,
    input_tokens: float | None,
) -> tuple[list[tuple[ApiPrice, bool]], list[str]]:
    """The same open model's sellers first, then the models that the user names (or two well-known ones)."""
    from rackrate.catalog.apis import api_price, apis_of_model, price_list_origin

    notes: list[str] = []
    same = apis_of_model(model, catalog)
    chosen = [(price, True) for price in same]
    refs = {price.ref for price in same}
    for name in options.apis or DEFAULT_APIS:
        price = api_price(name, catalog, input_tokens=int(input_tokens or 0))
        if price.ref not in refs:
            chosen.append((price, False))
    source, released = price_list_origin()
    if model is None:
        notes.append("Which model this is, the catalogue does not know: whether an API sells it cannot be said.")
    elif not same:
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
    options: PricingOptions,
) -> list[Priced]:
    from rackrate.economics.hardware import assumed_rig, describe, mismatch, nearest_offers, rig_mismatch
    from rackrate.economics.hourly import HourlyCost, owned, rented
    from rackrate.economics.pricing import price

    if options.price_kind not in PRICE_KINDS:
        raise PriceError(f"--price-kind is one of {', '.join(PRICE_KINDS)}, not {options.price_kind!r}")
    kind: PriceKind = options.price_kind  # pyright: ignore[reportAssignmentType]
    priced: list[Priced] = []

    def add(cost: HourlyCost, rig: Rig | None = None, *, other: bool = False, notes: Sequence[str] = ()) -> None:
        priced.append(price(serving, cost, load, apis, rig=rig, other_hardware=other, notes=notes))

    for name in options.offers:
        offer = catalog.offer(name)
        why = None if serving.stated else mismatch(machine, offer)
        if why is not None and not options.as_if:
            raise PriceError(
                f"{why}: a figure belongs to its machine; {_instead(machine, catalog, kind)}, or use --as-if"
            )
        add(rented(offer, kind), other=why is not None, notes=_as_if_note(why))
    for path in options.rigs:
        rig = _read_rig(path)
        why = None if serving.stated else rig_mismatch(machine, rig)
        if why is not None and not options.as_if:
            raise PriceError(f"{path}: {why}: a figure belongs to its machine; measure on the rig, or use --as-if")
        add(owned(rig, str(path)), rig, other=why is not None, notes=[*_as_if_note(why), *energy_warning(rig, path)])
    if options.usd_per_hour is not None:
        if not 0 <= options.usd_per_hour < math.inf:
            raise PriceError(f"--usd-per-hour is a number of at least 0, got {options.usd_per_hour:g}")
        add(
            HourlyCost(
                "stated price",
                "stated",
                options.usd_per_hour,
                0.0,
                {"rent": options.usd_per_hour},
                "stated on the command line",
            )
        )
    if priced:
        return priced
    if machine.origin == "unknown":
        raise PriceError(
            "the run does not know what it ran on: name the machine with --offer NAME --as-if (or measure with --on)"
        )
    rig = assumed_rig(machine)
    if rig is not None:
        add(
            owned(rig, "assumption: nobody has stated what this machine costs"),
            rig,
            notes=["Edit it: rackrate price RUN --save-rig rig.yaml, then rackrate price RUN --own rig.yaml"],
        )
    nearest = nearest_offers(machine, catalog.offers.values(), kind)
    if nearest:
        why = mismatch(machine, nearest[0])
        others = ", ".join(offer.id for offer in nearest[1:])
        note = f"the nearest rented machine to {describe(machine)} by CPU or GPU type and number"
        if machine.offer == nearest[0].id:
            note = "the machine that the run was said to be on (--on)"
        add(
            rented(nearest[0], kind),
            other=why is not None,
            notes=[note + (f"; also {others}" if others else "") + "."],
        )
    if not priced:
        raise PriceError(
            f"the catalogue has no offer like {describe(machine)}: give --offer with --as-if, --own or --usd-per-hour"
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
    near: list[Offer] = nearest_offers(machine, catalog.offers.values(), kind)
    return "no offer in the catalogue matches" + (
        f" (nearest: {', '.join(offer.id for offer in near)})" if near else ""
    )


def _read_rig(path: Path) -> Rig:
    from rackrate.catalog.documents import read_document
    from rackrate.economics.hourly import Rig

    return read_document(path, Rig)


def energy_warning(rig: Rig, path: Path) -> list[str]:
    """Says so where a rig's energy was probably meant in cents."""
    from rackrate.catalog.documents import place_of
    from rackrate.economics.hourly import DEAR_USD_PER_KWH

    if rig.usd_per_kwh <= DEAR_USD_PER_KWH:
        return []
    written = ("usd_per_kwh", "tariff_usd_per_kwh", *(f"{code}_per_kwh" for code in rig.usd_per))
    return [
        f"warning: {place_of(path, written)}: {rig.usd_per_kwh:g} USD per kWh is more than any tariff known "
        f"(over {DEAR_USD_PER_KWH:g} USD/kWh); was it meant in cents?"
    ]


def save_rig(directory: Path, path: Path) -> None:
    """Writes the assumed rig of a run's machine as a commented YAML file to edit."""
    import yaml

    from rackrate.cli.output import write_text
    from rackrate.economics.hardware import assumed_rig
    from rackrate.runs.store import read_run

    rig = assumed_rig(read_run(directory).header.machine)
    if rig is None:
        raise PriceError(
            "there is no assumption for this machine (it has GPUs, or is not here): "
            "write a rig.yaml by hand, docs/pricing.md has one"
        )
    if path.exists():
        raise UserError(f"{path} exists; it is not overwritten")
    head = (
        "# What owning this machine costs. Every figure is an assumption until you replace it.\n"
        "# docs/pricing.md says what each means.\n"
    )
    values = {key: value for key, value in rig.model_dump(exclude_none=True).items() if value != {}}
    write_text(path, head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
