"""From the options of `compare` to a study of one question: machines of a run (or a stated throughput) and APIs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rackrate.cli.pricing import DEFAULT_APIS, PricingOptions, price_run, price_stated
from rackrate.errors import PriceError, RunError

if TYPE_CHECKING:
    from rackrate.catalog.load import Catalog
    from rackrate.catalog.types import Model
    from rackrate.economics.pricing import Priced, Pricing

Json = dict[str, Any]

SHOWN_APIS = 8
DRAWS, SEED = 100_000, 1


@dataclass(frozen=True)
class CompareOptions:
    """What `compare` was told."""

    run: Path | None
    tokens_per_second: str | None
    mix: str
    model: str | None
    offers: Sequence[str]
    rigs: Sequence[Path]
    usd_per_hour: float | None
    price_kind: str
    as_if: bool
    utilisation: float | None
    tokens_per_month: str | None
    requests_per_day: float | None
    peak_to_mean: float
    apis: Sequence[str]
    all_apis: bool
    batch: bool
    discounts: Sequence[str]
    tokenizer_ratios: Sequence[str]
    as_of: str | None
    hours_per_month: float
    at_concurrency: int | None
    force: bool


def compare_alternatives(options: CompareOptions) -> Json:
    """Ranks machines and APIs for the same requests.

    Raises:
        PriceError, RunError, CatalogError: as `price` does, and for volumes, discounts and ratios that cannot be.
    """
    from rackrate.catalog.load import load_catalog
    from rackrate.catalog.types import is_date
    from rackrate.report.study_view import compare_view
    from rackrate.study.documents import Study
    from rackrate.study.evaluate import evaluate, today
    from rackrate.study.loading import Loaded

    if options.as_of is not None and not is_date(options.as_of):
        raise PriceError(f"--as-of is a date such as 2024-06-13, not {options.as_of!r}")
    if not 1 <= options.peak_to_mean < math.inf:
        raise PriceError(f"--peak-to-mean is at least 1, got {options.peak_to_mean:g}")
    as_of = options.as_of or today()
    catalog = load_catalog()
    pricing, model, speed = _priced(options, catalog)
    served = pricing.serving
    scenarios = [_machine(priced, model, pricing.model, options) for priced in pricing.machines]
    scenarios += _api_scenarios(options, catalog, model, as_of)
    traffic, said = _traffic(options, pricing)
    study = Study.model_validate(
        {
            "study": "compare",
            "title": f"{pricing.model}: machines and APIs",
            "hours_per_month": options.hours_per_month,
            "draws": DRAWS,
            "seed": SEED,
            # one input for all: the offers are of the same hardware, and fast or slow together
            "inputs": {"throughput": {"value": speed, "unit": "token/s", "source": served.origin}},
            "scenarios": scenarios,
            "questions": [
                {"id": "compare", "asks": f"{pricing.model}: what do the same requests cost?", "traffic": traffic}
            ],
        }
    )
    result = evaluate(Loaded(Path("compare"), study, ()), catalog, as_of)
    remarks = [said, served.origin]
    remarks += [f"{name}: not the machine's capacity, priced all the same" for name in served.caveats]
    if options.batch:
        remarks.append("Batch prices where the list has them: the answers come within a day, not at once.")
    remarks.append(
        "Tokens are the served model's. Another model counts the same text differently: state it with "
        "--tokenizer-ratio. "
        "Rate limits are not in price lists; put them into your own apis.yaml to have them checked."
    )
    return compare_view(result.questions[0], pricing.model, DRAWS, SEED, remarks)


def _priced(options: CompareOptions, catalog: Catalog) -> tuple[Pricing, Model | None, Any]:
    """What is served, on which machines, and the throughput as a study writes it."""
    wanted = PricingOptions(
        offers=options.offers,
        rigs=options.rigs,
        usd_per_hour=options.usd_per_hour,
        price_kind=options.price_kind,
        as_if=options.as_if,
        hours_per_month=options.hours_per_month,
        at_concurrency=options.at_concurrency,
        force=options.force,
        apis=options.apis,
    )
    if options.run is not None and options.tokens_per_second is None:
        if not (wanted.offers or wanted.rigs or wanted.usd_per_hour is not None):
            wanted = replace(wanted, offers=_matching(options.run, catalog, options.price_kind))
        run = price_run(options.run, wanted)
        serving = run.pricing.serving
        from rackrate.economics.uncertainty import Z975

        sd = serving.tok_s * (serving.relative_half_width or 0.0) / Z975
        speed: Any = {"normal": {"mean": serving.tok_s, "sd": sd}} if sd else serving.tok_s
        return run.pricing, catalog.known_model(run.run.header.model.catalogue_id or ""), speed
    if options.run is None and options.tokens_per_second is not None:
        ends = ends_of(options.tokens_per_second, "--tokens-per-second")
        speed = quantity(options.tokens_per_second, "--tokens-per-second")
        middle = math.sqrt(ends[0] * ends[1])
        pricing = price_stated(middle, options.mix, options.model, wanted)
        return pricing, catalog.model(options.model) if options.model else None, speed
    raise PriceError("say what to compare: either a RUN directory, or --tokens-per-second")


def _matching(run: Path, catalog: Catalog, kind: str) -> list[str]:
    """The offers of the very hardware that a run was on, the five cheapest; none: as `price` chooses."""
    from rackrate.economics.hardware import matching
    from rackrate.runs.store import read_run

    machine = read_run(run).header.machine
    return [offer.id for offer in matching(machine, catalog.offers.values(), kind)[:5]]  # pyright: ignore[reportArgumentType]


def quantity(text: str, option: str) -> Any:
    """A number, or a range LOW..HIGH, as a study writes it.

    >>> quantity("400", "--tokens-per-second"), quantity("300..500", "--tokens-per-second")
    (400.0, [300.0, 500.0])
    """
    low, high = ends_of(text, option)
    return low if low == high else [low, high]


def ends_of(text: str, option: str) -> tuple[float, float]:
    """Both ends of a range; of a number, itself twice."""
    parts = text.split("..")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in {1, 2} or not all(0 < number < math.inf for number in numbers) or numbers != sorted(numbers):
        raise PriceError(f"{option} is a number above 0 or a range LOW..HIGH, not {text!r}")
    return numbers[0], numbers[-1]


def _machine(priced: Priced, model: Model | None, served: str, options: CompareOptions) -> Json:
    cost = priced.cost
    scenario: Json = {"name": cost.name, "model": model.id if model else served, "tokens_per_second": "throughput"}
    notes = [*(f"{name}: not the machine's capacity" for name in priced.warnings), *priced.notes]
    if notes:
        scenario["notes"] = " ".join(notes)
    if priced.rig is not None:
        # money is in USD and a tariff is its mean by now; spares are bought, kept and sold like the rest
        said = {"name", "hardware", "notes", "usd_per", "tariff_usd_per_kwh", "energy_region", "spare_share"}
        rig = priced.rig.model_dump(exclude=said)
        for key in ("capex_usd", "resale_usd"):
            rig[key] *= 1 + priced.rig.spare_share
        return {**scenario, "own": rig, "source": cost.source}
    if cost.kind == "rented":
        offer = cost.name.removesuffix(f" ({options.price_kind})")
        return {**scenario, "offer": offer, "price_kind": options.price_kind}
    return {**scenario, "usd_per_hour": cost.fixed_usd_h, "source": cost.source}


def _api_scenarios(options: CompareOptions, catalog: Catalog, model: Model | None, as_of: str) -> list[Json]:
    """The same open model's sellers first, then the models that the user names (or two well-known ones)."""
    from rackrate.catalog.apis import api_price, apis_of_model
    from rackrate.study.prices import moment

    when = moment(as_of)
    same = apis_of_model(model, catalog, when, batch=options.batch)
    same = same if options.all_apis else same[:SHOWN_APIS]
    refs = [price.ref for price in same]
    for name in options.apis or DEFAULT_APIS:
        ref = api_price(name, catalog, when).ref
        if ref not in refs:
            refs.append(ref)
    discounts = _by_name(options.discounts, "--discount", 0, 1)
    ratios = _by_name(options.tokenizer_ratios, "--tokenizer-ratio", 0.1, 10)
    known = {name for ref in refs for name in (ref, ref.split("/", 1)[0])}
    for option, table in (("--discount", discounts), ("--tokenizer-ratio", ratios)):
        for name in table:
            if name not in known:
                raise PriceError(f"{option} {name}: no API of this comparison is called so ({', '.join(refs)})")
    scenarios: list[Json] = []
    for ref in refs:
        provider = ref.split("/", 1)[0]
        scenario: Json = {"name": ref, "api": ref, "batch": options.batch}
        if ref in {price.ref for price in same} and model is not None:
            scenario["model"] = model.id
        if (share := discounts.get(ref, discounts.get(provider))) is not None:
            scenario["discount"] = share
            scenario["notes"] = f"less a negotiated {share:.0%}"
        if (ratio := ratios.get(ref, ratios.get(provider))) is not None:
            scenario["tokenizer_ratio"] = ratio
        scenarios.append(scenario)
    return scenarios


def _by_name(given: Sequence[str], option: str, low: float, high: float) -> dict[str, float]:
    table: dict[str, float] = {}
    for item in given:
        name, _, number = item.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not name or not low <= value <= high:
            raise PriceError(f"{option} is NAME=NUMBER with a number from {low:g} to {high:g}, not {item!r}")
        table[name] = value
    return table


def _traffic(options: CompareOptions, pricing: Pricing) -> tuple[Json, str]:
    """The volume in the run's mix, and where it comes from."""
    serving = pricing.serving
    told = [
        item for item in (options.utilisation, options.tokens_per_month, options.requests_per_day) if item is not None
    ]
    if len(told) > 1:
        raise PriceError("give one of --utilisation, --tokens-per-month and --requests-per-day, not several")
    # of what the machine serves, whatever that is: a faster one then serves more, and stays one machine
    full = "throughput * 3600 * hours_per_month"
    if options.tokens_per_month is not None:
        volume: Any = quantity(options.tokens_per_month, "--tokens-per-month")
        said = "Volume: as stated."
    elif options.requests_per_day is not None:
        if not 0 < options.requests_per_day < math.inf:
            raise PriceError(f"--requests-per-day must be above 0, got {options.requests_per_day:g}")
        if not serving.request_s:
            raise RunError("how many tokens a request has is not known here; give --tokens-per-month instead")
        volume = options.requests_per_day * options.hours_per_month / 24 * serving.tok_s / serving.request_s
        said = (
            f"Volume: {options.requests_per_day:,.0f} requests a day of {serving.tok_s / serving.request_s:.0f} tokens."
        )
    elif options.utilisation is not None:
        if not 0 < options.utilisation <= 1:
            raise PriceError(
                f"--utilisation is a share above 0 and at most 1 (0.3 is 30 %), got {options.utilisation:g}"
            )
        volume = f"{options.utilisation!r} * {full}"
        said = f"Volume: {options.utilisation:.0%} of what one machine serves."
    else:
        volume = full
        said = (
            "Volume: one machine busy all month, which nobody's is; say what you expect with --utilisation, "
            "--tokens-per-month or --requests-per-day."
        )
    share = serving.input_tok_s / serving.tok_s
    cached = serving.cached_tok_s / serving.input_tok_s if serving.input_tok_s else 0.0
    traffic: Json = {"tokens_per_month": volume, "input_share": share, "cached_share": cached}
    if options.peak_to_mean > 1:
        traffic["peak_to_mean"] = options.peak_to_mean
    return traffic, said
