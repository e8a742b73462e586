"""Which offers are of the hardware that a run ran on: a figure belongs to its machine."""

from __future__ import annotations

from collections.abc import Iterable

from rackrate.catalog.load import Catalog
from rackrate.catalog.types import CpuArchitecture, Offer
from rackrate.economics.hourly import HourlyCost, PriceKind, Rig, has_price, rented
from rackrate.runs.records import Machine
from rackrate.units import GIB


def describe(machine: Machine) -> str:
    """A machine in a few words.

    >>> describe(Machine(origin="detected", cpu_model="AMD EPYC", logical_cpus=2, memory_bytes=8 * 2**30))
    '2 x AMD EPYC, 8 GiB'
    """
    if machine.origin == "unknown":
        return "an unknown machine"
    words: list[str] = []
    if machine.gpus:
        words.append(" + ".join(f"{gpu.count} x {gpu.name}" for gpu in machine.gpus))
    else:
        kind = f" ({machine.cpu_architecture})" if machine.cpu_architecture else ""
        words.append(f"{machine.logical_cpus or '?'} x {machine.cpu_model or 'CPU'}{kind}")
    if machine.memory_bytes:
        words.append(f"{machine.memory_bytes / GIB:.0f} GiB")
    return ", ".join(words)


def mismatch(machine: Machine, offer: Offer) -> str | None:
    """Why an offer is not the machine; None where it is.

    The same GPU type and number; without GPUs, the same CPU microarchitecture and number of CPUs.
    """
    if machine.origin == "unknown":
        return "the run does not know what it ran on"
    if machine.offer == offer.id:
        return None
    if machine.gpus:
        mine = {(gpu.accelerator or gpu.name, gpu.count) for gpu in machine.gpus}
        if mine != {(offer.accelerator, offer.accelerator_count)}:
            return f"{offer.id} is {_offered(offer)}, the run was on {describe(machine)}"
        return None
    if offer.accelerator is not None:
        return f"{offer.id} is {_offered(offer)}, the run was on CPUs: {describe(machine)}"
    if machine.cpu_architecture is None or machine.cpu_architecture != offer.cpu or machine.logical_cpus != offer.vcpus:
        return f"{offer.id} is {_offered(offer)}, the run was on {describe(machine)}"
    return None


def rig_mismatch(machine: Machine, rig: Rig) -> str | None:
    """Why a rig is not the machine; None where it is, or does not say what it is."""
    hardware = rig.hardware
    if hardware is None:
        return None
    if machine.origin == "unknown":
        return "the run does not know what it ran on"
    if hardware.accelerator is not None or machine.gpus:
        mine = {(gpu.accelerator or gpu.name, gpu.count) for gpu in machine.gpus}
        same = mine == {(hardware.accelerator, hardware.accelerator_count)}
    else:
        same = hardware.cpu in (None, machine.cpu_architecture) and hardware.vcpus in (None, machine.logical_cpus)
    return None if same else f"{rig.name} is other hardware than {describe(machine)}"


def _offered(offer: Offer) -> str:
    if offer.accelerator is not None:
        return f"{offer.accelerator_count} x {offer.accelerator}"
    return f"{offer.vcpus} x {offer.cpu}"


def matching(machine: Machine, offers: Iterable[Offer], kind: PriceKind = "on-demand") -> list[Offer]:
    """The offers of this very hardware that have such a price: the stated one first, then the cheapest."""
    found = [offer for offer in offers if mismatch(machine, offer) is None and has_price(offer, kind)]
    return sorted(found, key=lambda offer: (offer.id != machine.offer, rented(offer, kind).fixed_usd_h))


def nearest_offers(machine: Machine, catalog: Catalog, kind: PriceKind = "on-demand", count: int = 3) -> list[Offer]:
    """The offers most like the machine: the same hardware where there is any, else the same kind, nearest in size.

    Of GPUs as many at least: what two of them serve is not had at the price of one.
    """
    listed = [offer for offer in catalog.offers.values() if has_price(offer, kind)]
    same = matching(machine, listed, kind)
    if same or machine.origin == "unknown":
        return same[:count]
    if machine.gpus:
        wanted = {gpu.accelerator for gpu in machine.gpus}
        size = sum(gpu.count for gpu in machine.gpus)
        kin = [offer for offer in listed if offer.accelerator in wanted and offer.accelerator_count >= size]
        return sorted(kin, key=lambda o: (o.accelerator_count, rented(o, kind).fixed_usd_h))[:count]
    cpus = machine.logical_cpus or 1

    def distance(offer: Offer) -> tuple[int, float, float]:
        apart = abs((offer.vcpus or 1) - cpus) / cpus
        generations = _generations(machine.cpu_architecture, offer.cpu, catalog.cpu_architectures)
        return (generations, apart, rented(offer, kind).fixed_usd_h)

    return sorted((offer for offer in listed if offer.accelerator is None), key=distance)[:count]


def _generations(text: str | None, other: str | None, known: Iterable[CpuArchitecture]) -> int:
    """How far two CPU types are apart in the catalogue's list, which goes by vendor and generation; many, if unlike.

    >>> from rackrate.catalog.load import load_catalog
    >>> known = load_catalog().cpu_architectures
    >>> _generations("emerald-rapids", "sapphire-rapids", known), _generations("zen4", "zen4", known)
    (1, 0)
    >>> _generations("emerald-rapids", "neoverse-v1", known) == _generations(None, "zen4", known)
    True
    """
    places: dict[str, tuple[str, int]] = {}
    for cpu in known:
        places.setdefault(cpu.architecture, (cpu.vendor, len(places)))
    if text is not None and text == other:
        return 0
    mine, theirs = places.get(text or ""), places.get(other or "")
    if mine is None or theirs is None or mine[0] != theirs[0]:
        return len(places)
    return abs(mine[1] - theirs[1])


def assumed_rig(machine: Machine) -> Rig | None:
    """An assumption for a machine without GPUs that nobody has priced: a small server of as many cores.

    Every figure is printed and can be edited. Only the energy price has a source; purchase price and watts are round
    numbers for a small server, and say so. None for machines with GPUs (their prices differ too much to assume).
    """
    if machine.gpus or machine.origin != "detected":
        return None
    cpus = machine.logical_cpus or 1
    return Rig(
        name=f"assumed small server, {cpus} CPUs",
        capex_usd=400 + 50 * cpus,
        life_years=5,
        discount_rate=0.08,
        idle_w=15 + 2 * cpus,
        busy_w=25 + 8 * cpus,
        pue=1.0,
        usd_per_kwh=0.146,
        notes="An assumption, not a quote, for the machine that was measured as if you had bought it. Energy: US "
        "commercial price, 14.6 cents/kWh (EIA, as quoted 2026-04-26). Life: 5 years (large operators state 5 to 6). "
        "Purchase, watts and discount rate: round numbers, no source. Labour and hosting: none.",
    )


def age_note(cost: HourlyCost) -> str:
    """Where a price comes from, and of when."""
    return f"{cost.source}, {cost.date}" if cost.date else cost.source
