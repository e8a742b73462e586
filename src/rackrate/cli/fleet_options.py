"""From the options of `fleet` to its offers, its capacity and its policy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rackrate.app.pricing import PRICE_KINDS, energy_warning
from rackrate.errors import PriceError, did_you_mean

if TYPE_CHECKING:
    from rackrate.catalog.types import Offer
    from rackrate.economics.fleet_types import FleetKind, FleetPlan
    from rackrate.economics.mix import FleetOffer
    from rackrate.economics.replica import Replica
    from rackrate.report.fleet_view import ApiBill
    from rackrate.runs.records import Machine, RunHeader
    from rackrate.workload.traffic import Traffic

KINDS = ("fixed", "autoscaled", "mix")


@dataclass(frozen=True)
class FleetOptions:
    """What the command line said of capacity and machines."""

    run: Path | None
    capacity: str | None
    offers: Sequence[str]
    rigs: Sequence[Path]
    contracts: Sequence[Path]
    usd_per_hour: float | None
    replicas_per_machine: int
    interruptions_per_month: float | None
    cold_start_s: float
    at_concurrency: int | None
    as_if: bool
    force: bool


def replica_and_header(options: FleetOptions) -> tuple[Replica, RunHeader | None, list[str]]:
    """What one replica does, what is known of the run it was measured in (None where stated), and notes.

    Raises:
        PriceError: neither a run nor a capacity, or both; a run that is not capacity.
    """
    from rackrate.economics.replica import parse_capacity, replica_of
    from rackrate.economics.served import served_by

    if (options.run is None) == (options.capacity is None):
        raise PriceError("say what one replica can do: either a RUN directory, or --capacity such as 2.5/s")
    if options.capacity is not None:
        return parse_capacity(options.capacity), None, []
    assert options.run is not None  # noqa: S101 - one of the two is given
    found = served_by(options.run, at_concurrency=options.at_concurrency, force=options.force)
    notes: list[str] = []
    if found.best.lower_bound:
        notes.append("The machine was not saturated at the highest load measured: fewer replicas may do.")
    if found.best.level.kind == "closed":
        notes.append(
            "The capacity is the throughput with a fixed number of requests in flight, without a latency target; "
            "`rackrate measure --slo` finds the rate that is sustained within one."
        )
    if not found.serving.prefill_share:
        notes.append("Prefill alone was not measured, so input and output tokens cannot be priced apart.")
    return replica_of(found.serving), found.run.header, notes


def fleet_offers(options: FleetOptions, machine: Machine | None) -> tuple[list[FleetOffer], list[str], bool]:
    """The offers, notes on them, and whether one is other hardware than the run's.

    Raises:
        PriceError: none given, unknown, not the run's hardware without --as-if.
    """
    from rackrate.catalog.documents import read_document
    from rackrate.catalog.load import load_catalog
    from rackrate.economics.hardware import matching, mismatch, rig_mismatch
    from rackrate.economics.hourly import HourlyCost, PriceKind, Rig, owned, rented
    from rackrate.economics.mix import FleetOffer
    from rackrate.economics.terms import (
        ASSUMED_INTERRUPTIONS_PER_MONTH,
        Contract,
        contracted,
        with_interruptions,
    )

    per_machine = options.replicas_per_machine
    result: list[FleetOffer] = []
    notes: list[str] = []
    others = False

    def check(why: str | None, instead: str) -> None:
        nonlocal others
        if why is None:
            return
        if not options.as_if:
            raise PriceError(f"{why}: a figure belongs to its machine; {instead}, or use --as-if")
        others = True
        notes.append(f"Priced as if: {why}. The throughput of the one and the price of the other need not go together.")

    catalog = load_catalog()
    for text in options.offers:
        name, kind_text, extra = parse_offer(text)
        kind: PriceKind = kind_text  # pyright: ignore[reportAssignmentType]
        offer = catalog.offer(name)
        same = matching(machine, catalog.offers.values(), kind) if machine is not None else []
        instead = "offers that match: " + ", ".join(seller.id for seller in same[:5]) if same else "no offer matches"
        per_offer = int(extra.get("replicas", per_machine))
        why = mismatch(machine, offer) if machine is not None else None
        if why is not None and machine is not None and _holds(machine, offer, per_offer):
            notes.append(
                f"{offer.id} holds {per_offer} times the accelerators of the run: as many replicas share its CPUs and "
                "memory, which was not measured."
            )
            why = None
        check(why, instead)
        cost = rented(offer, kind)
        if kind == "spot":
            stated = options.interruptions_per_month
            if stated is not None and not 0 <= stated < float("inf"):
                raise PriceError(f"--spot-interruptions is a number of at least 0, got {stated:g}")
            often = ASSUMED_INTERRUPTIONS_PER_MONTH if stated is None else stated
            cost = with_interruptions(cost, often, options.cold_start_s)
            notes.append(
                f"{cost.name}: {often:g} interruptions a month {'assumed' if stated is None else 'stated'}, each "
                f"{options.cold_start_s:g} s until a replacement serves"
                + (" (say --spot-interruptions)" if stated is None else "")
            )
        fleet_offer = FleetOffer(cost, committed=kind.startswith("reserved"), replicas=per_machine)
        result.append(replace(fleet_offer, **extra))
    for path in options.rigs:
        rig = read_document(path, Rig)
        check(rig_mismatch(machine, rig) if machine is not None else None, "measure on the rig")
        notes += energy_warning(rig, path)
        result.append(FleetOffer(owned(rig, str(path)), committed=True, replicas=per_machine))
    for path in options.contracts:
        contract = read_document(path, Contract)
        check(_contract_mismatch(machine, contract), "measure on the machine that is rented")
        result.append(FleetOffer(contracted(contract, str(path)), committed=contract.committed, replicas=per_machine))
    if options.usd_per_hour is not None:
        if not 0 <= options.usd_per_hour < float("inf"):
            raise PriceError(f"--usd-per-hour is a number of at least 0, got {options.usd_per_hour:g}")
        stated = {"rent": options.usd_per_hour}
        cost = HourlyCost("stated price", "stated", options.usd_per_hour, 0.0, stated, "stated on the command line")
        result.append(FleetOffer(cost, replicas=per_machine))
    if not result:
        same = matching(machine, catalog.offers.values())[:1] if machine is not None else []
        if not same:
            raise PriceError("say on which machines: --offer, --own, --contract or --usd-per-hour; several are mixed")
        result.append(FleetOffer(rented(same[0]), replicas=per_machine))
        notes.append(f"{same[0].id} is the cheapest offer of the machine that the run was on")
    names = [item.cost.name for item in result]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PriceError(f"{twice} is given twice; names of machines must differ")
    return result, notes, others


def api_bills(names: Sequence[str], header: RunHeader | None, traffic: Traffic) -> tuple[list[ApiBill], list[str]]:
    """What APIs charge for the same tokens: the three cheapest that sell the run's model, and those that are named.

    Raises:
        CatalogError: nobody sells what is named.
        PriceError: an API is named, and the traffic's tokens are not known.
    """
    from rackrate.catalog.apis import api_price, apis_of_model
    from rackrate.catalog.load import load_catalog
    from rackrate.report.fleet_view import ApiBill

    given, out = traffic.total("input_tokens"), traffic.total("output_tokens")
    if given is None or out is None:
        if names:
            raise PriceError("--api needs traffic with tokens: say how long requests are with --lengths IN:OUT")
        return [], []
    cached = traffic.total("cached_tokens") or 0.0
    catalog = load_catalog()
    model = catalog.models.get(header.model.catalogue_id or "") if header is not None else None
    requests = traffic.total("requests")
    each = int(given / requests) if requests else 0

    same = [ApiBill(api, True, api.bill_usd(given, out, cached)) for api in apis_of_model(model, catalog)]
    same.sort(key=lambda item: item.usd)
    found = same[:3]
    refs = {match.api.ref for match in found}
    for name in names:
        api = api_price(name, catalog, input_tokens=each)
        if api.ref not in refs:
            refs.add(api.ref)
            known = any(seller.api.ref == api.ref for seller in same)
            found.append(ApiBill(api, known, api.bill_usd(given, out, cached)))
    if not found:
        return [], []
    return found, [
        f"API prices: {found[-1].api.source}, {found[-1].api.date}. Another model's tokenizer counts the same text "
        "differently."
    ]


def _holds(machine: Machine, offer: Offer, replicas: int) -> bool:
    """Whether an offer is so many times the accelerators that the run was on."""
    if len(machine.gpus) != 1 or replicas < 2:
        return False
    (gpu,) = machine.gpus
    return gpu.accelerator is not None and (offer.accelerator, offer.accelerator_count) == (
        gpu.accelerator,
        gpu.count * replicas,
    )


def _contract_mismatch(machine: Machine | None, contract: Any) -> str | None:
    from rackrate.economics.hardware import rig_mismatch
    from rackrate.economics.hourly import Rig

    if machine is None or contract.hardware is None:
        return None
    stand_in = Rig(name=contract.name, hardware=contract.hardware, capex_usd=0, life_years=1, idle_w=0, busy_w=0,
                   usd_per_kwh=0)  # fmt: skip
    return rig_mismatch(machine, stand_in)


_EXTRA = {"share": "most_share", "most": "most", "replicas": "replicas"}


def parse_offer(text: str) -> tuple[str, str, dict[str, Any]]:
    """ID[:KIND][,share=0.3][,most=8][,replicas=4].

    >>> parse_offer("aws/g4dn.12xlarge:spot,share=0.3")
    ('aws/g4dn.12xlarge', 'spot', {'most_share': 0.3})

    Raises:
        PriceError: an unknown word, or not a number.
    """
    name, *extras = text.split(",")
    kind = "on-demand"
    head, mark, tail = name.rpartition(":")
    if mark and tail in PRICE_KINDS:
        name, kind = head, tail
    elif mark and re.fullmatch(r"[a-z0-9-]+", tail) and "/" in head and "/" not in tail:
        raise PriceError(f"--offer {text}: {tail!r} is no kind of price{did_you_mean(tail, PRICE_KINDS)}")
    found: dict[str, Any] = {}
    for extra in extras:
        key, _, value = extra.strip().partition("=")
        if key not in _EXTRA:
            raise PriceError(f"--offer {text}: {key!r} is not one of share, most, replicas")
        try:
            found[_EXTRA[key]] = float(value) if key == "share" else int(value)
        except ValueError:
            raise PriceError(f"--offer {text}: {key} needs a number, not {value!r}") from None
    return name, kind, found


def plan_of(
    *,
    shapes: Sequence[str],
    headroom: str,
    floor: int,
    spares: int,
    cold_start_s: float,
    scale_down_s: float,
    resize_s: float | None,
    max_wait_s: float,
    late_limit: float,
    labour_usd_month: float,
    hours_per_month: float,
) -> FleetPlan:
    """The policy and the limits.

    Raises:
        PriceError: one of them cannot be.
    """
    from rackrate.economics.fleet import Policy
    from rackrate.economics.fleet_types import FleetPlan

    wrong = next((shape for shape in shapes if shape not in KINDS), None)
    if wrong is not None:
        raise PriceError(f"--shape is one of {', '.join(KINDS)}, not {wrong!r}{did_you_mean(wrong, KINDS)}")
    automatic = headroom.strip().lower() == "auto"
    try:
        factor = Policy().headroom if automatic else float(headroom)
    except ValueError:
        raise PriceError(f"--headroom is a number from 1 on, such as 1.25, or auto, not {headroom!r}") from None
    if not 0 < hours_per_month <= 744:
        raise PriceError(f"--hours-per-month must be above 0 and at most 744, got {hours_per_month:g}")
    kinds: tuple[FleetKind, ...] = tuple(shapes) or KINDS  # pyright: ignore[reportAssignmentType]
    return FleetPlan(
        policy=Policy(
            headroom=factor,
            floor=floor,
            spares=spares,
            cold_start_s=cold_start_s,
            scale_down_s=scale_down_s,
            resize_s=resize_s,
            max_wait_s=max_wait_s,
        ),
        kinds=kinds,
        late_limit=late_limit,
        raise_headroom=automatic,
        labour_usd_month=labour_usd_month,
        hours_per_month=hours_per_month,
    )
