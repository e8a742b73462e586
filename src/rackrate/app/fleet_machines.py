"""The machines that a fleet may be made of: offers, rigs, contracts and stated prices, of the run's own hardware."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rackrate.app.fleet_request import FleetRequest, seconds
from rackrate.errors import PriceError, did_you_mean

if TYPE_CHECKING:
    from rackrate.catalog.load import Catalog
    from rackrate.catalog.types import Offer
    from rackrate.economics.hourly import PriceKind
    from rackrate.economics.mix import FleetOffer
    from rackrate.economics.terms import Contract
    from rackrate.runs.records import Machine


@dataclass(frozen=True)
class FleetMachines:
    """Machines at their prices."""

    offers: tuple[FleetOffer, ...]
    notes: tuple[str, ...]
    other_hardware: bool
    """Whether one of them is not what the run ran on."""


def fleet_offers(request: FleetRequest, machine: Machine | None, catalog: Catalog) -> FleetMachines:
    """The machines that a request names; of a run without any, its machine's cheapest offer.

    Args:
        request: offers, rigs, contracts, a stated price.
        machine: what the run ran on; None where capacity is stated.
        catalog: has the offers.

    Raises:
        PriceError: none given, unknown, given twice, or not the run's hardware and `as_if` is not set.
    """
    found = _Machines(request, machine, catalog)
    for text in request.offers:
        found.add_offer(text)
    for path in request.rigs:
        found.add_rig(path)
    for path in request.contracts:
        found.add_contract(path)
    if request.usd_per_hour is not None:
        found.add_stated(request.usd_per_hour)
    if not found.offers:
        found.add_cheapest()
    names = [item.cost.name for item in found.offers]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PriceError(f"{twice} is given twice; names of machines must differ")
    return FleetMachines(tuple(found.offers), tuple(found.notes), found.other_hardware)


class _Machines:
    """Collects machines, with notes on them."""

    def __init__(self, request: FleetRequest, machine: Machine | None, catalog: Catalog) -> None:
        self.request = request
        self.machine = machine
        self.catalog = catalog
        self.offers: list[FleetOffer] = []
        self.notes: list[str] = []
        self.other_hardware = False

    def add_offer(self, text: str) -> None:
        """A rented machine of the catalogue."""
        from rackrate.economics.hardware import mismatch
        from rackrate.economics.hourly import rented
        from rackrate.economics.mix import FleetOffer

        request, machine = self.request, self.machine
        name, kind, limits = parse_offer(text)
        offer = self.catalog.offer(name)
        replicas = int(limits.get("replicas", request.replicas_per_machine))
        why = mismatch(machine, offer) if machine is not None else None
        if why is not None and machine is not None and _holds(machine, offer, replicas):
            self.notes.append(
                f"{offer.id} holds {replicas} times the accelerators of the run: as many replicas share its CPUs and "
                "memory, which was not measured."
            )
            why = None
        same = self._same(kind)
        instead = "offers that match: " + ", ".join(seller.id for seller in same[:5]) if same else "no offer matches"
        self._check(why, instead)
        cost = rented(offer, kind)
        if kind == "spot":
            from rackrate.economics.hourly import zones_note
            from rackrate.economics.terms import ASSUMED_INTERRUPTIONS_PER_MONTH, with_interruptions

            stated = request.spot_interruptions
            few, many = ASSUMED_INTERRUPTIONS_PER_MONTH
            often = many if stated is None else stated
            recovery_s = seconds(request.cold_start, "cold_start")
            cost = with_interruptions(cost, often, recovery_s, request.hours_per_month)
            assumed = (
                f"{few:g} to {many:g} interruptions a month assumed, since none are stated, and priced at {many:g}"
            )
            self.notes.append(
                f"{cost.name}: {assumed if stated is None else f'{often:g} interruptions a month stated'}, each "
                f"{recovery_s:g} s until a replacement serves. Whether a replacement is to be had is not counted"
            )
            self.notes += zones_note(offer)
        machines = FleetOffer(cost, committed=kind.startswith("reserved"), replicas=request.replicas_per_machine)
        self.offers.append(replace(machines, **limits))

    def add_rig(self, path: Path) -> None:
        """A machine that is owned."""
        from rackrate.economics.hardware import rig_mismatch
        from rackrate.economics.hourly import energy_warning, owned, read_rig
        from rackrate.economics.mix import FleetOffer

        rig = read_rig(path, self.catalog)
        self._check(rig_mismatch(self.machine, rig) if self.machine is not None else None, "measure on the rig")
        self.notes += energy_warning(rig, path)
        cost, replicas = owned(rig, str(path), self.request.hours_per_month), self.request.replicas_per_machine
        self.offers.append(FleetOffer(cost, committed=True, replicas=replicas))

    def add_contract(self, path: Path) -> None:
        """A machine that is rented at terms of one's own."""
        from rackrate.catalog.documents import read_document
        from rackrate.economics.hourly import known_hardware
        from rackrate.economics.mix import FleetOffer
        from rackrate.economics.terms import Contract, contracted

        contract = read_document(path, Contract)
        known_hardware(path, contract.hardware, self.catalog)
        self._check(_contract_mismatch(self.machine, contract), "measure on the machine that is rented")
        cost, replicas = (
            contracted(contract, str(path), self.request.hours_per_month),
            self.request.replicas_per_machine,
        )
        self.offers.append(FleetOffer(cost, committed=contract.committed, replicas=replicas))

    def add_stated(self, usd_per_hour: float) -> None:
        """A machine at a stated price."""
        from rackrate.economics.hourly import HourlyCost
        from rackrate.economics.mix import FleetOffer

        parts = {"rent": usd_per_hour}
        cost = HourlyCost("stated price", "stated", usd_per_hour, 0.0, parts, "stated on the command line")
        self.offers.append(FleetOffer(cost, replicas=self.request.replicas_per_machine))

    def add_cheapest(self) -> None:
        """Where no machine is named: the cheapest offer of the run's own."""
        from rackrate.economics.hourly import rented
        from rackrate.economics.mix import FleetOffer

        same = self._same("on-demand")
        if not same:
            raise PriceError(
                "say on which machines: {offers}, {rigs}, {contracts} or {usd_per_hour}; several are mixed",
                fields=("offers", "rigs", "contracts", "usd_per_hour"),
            )
        self.offers.append(FleetOffer(rented(same[0]), replicas=self.request.replicas_per_machine))
        self.notes.append(f"{same[0].id} is the cheapest offer of the machine that the run was on")

    def _same(self, kind: PriceKind) -> Sequence[Offer]:
        from rackrate.economics.hardware import matching

        return matching(self.machine, self.catalog.offers.values(), kind) if self.machine is not None else []

    def _check(self, why: str | None, instead: str) -> None:
        """Refuses other hardware than the run's, or notes it."""
        if why is None:
            return
        if not self.request.as_if:
            raise PriceError(f"{why}: a figure belongs to its machine; {instead}, or use {{as_if}}", fields=("as_if",))
        self.other_hardware = True
        self.notes.append(
            f"Priced as if: {why}. The throughput of the one and the price of the other need not go together."
        )


def _holds(machine: Machine, offer: Offer, replicas: int) -> bool:
    """Whether an offer is so many times the accelerators that the run was on."""
    if len(machine.gpus) != 1 or replicas < 2:
        return False
    (gpu,) = machine.gpus
    return gpu.accelerator is not None and (offer.accelerator, offer.accelerator_count) == (
        gpu.accelerator,
        gpu.count * replicas,
    )


def _contract_mismatch(machine: Machine | None, contract: Contract) -> str | None:
    from rackrate.economics.hardware import rig_mismatch
    from rackrate.economics.hourly import Rig

    if machine is None or contract.hardware is None:
        return None
    stand_in = Rig(name=contract.name, hardware=contract.hardware, capex_usd=0, life_years=1, idle_w=0, busy_w=0,
                   usd_per_kwh=0)  # fmt: skip
    return rig_mismatch(machine, stand_in)


_LIMITS = {"share": "most_share", "most": "most", "replicas": "replicas"}


def parse_offer(text: str) -> tuple[str, PriceKind, dict[str, Any]]:
    """ID[:KIND][,share=0.3][,most=8][,replicas=4].

    >>> parse_offer("aws/g4dn.12xlarge:spot,share=0.3")
    ('aws/g4dn.12xlarge', 'spot', {'most_share': 0.3})

    Raises:
        PriceError: an unknown word, or not a number.
    """
    from rackrate.economics.hourly import PRICE_KINDS

    def wrong(why: str) -> PriceError:
        return PriceError(f"{{offers}} {text}: {why}", field="offers")

    name, *words = text.split(",")
    kind: PriceKind = "on-demand"
    head, mark, tail = name.rpartition(":")
    if mark and tail in PRICE_KINDS:
        name, kind = head, PRICE_KINDS[PRICE_KINDS.index(tail)]
    elif mark and re.fullmatch(r"[a-z0-9-]+", tail) and "/" in head and "/" not in tail:
        raise wrong(f"{tail!r} is no kind of price{did_you_mean(tail, PRICE_KINDS)}")
    limits: dict[str, Any] = {}
    for word in words:
        key, _, value = word.strip().partition("=")
        if key not in _LIMITS:
            raise wrong(f"{key!r} is not one of share, most, replicas")
        try:
            limits[_LIMITS[key]] = float(value) if key == "share" else int(value)
        except ValueError:
            raise wrong(f"{key} needs a number, not {value!r}") from None
    return name, kind, limits
