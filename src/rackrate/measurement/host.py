"""What this machine is, and who uses its CPUs while a load runs."""

from __future__ import annotations

import contextlib
import platform
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil

from rackrate.catalog.load import Catalog
from rackrate.catalog.types import CpuArchitecture, Offer
from rackrate.engines.gpus import found_gpus
from rackrate.errors import CatalogError
from rackrate.runs.records import Gpu, Machine

_FORWARDERS = {"ssh", "sshd", "autossh", "kubectl", "socat", "chisel", "cloudflared"}
"""Processes that listen here for a server that runs elsewhere."""


def detect_machine(catalog: Catalog) -> Machine:
    """This machine's CPUs, memory and GPUs."""
    words = _cpu_words()
    return Machine(
        origin="detected",
        cpu_model=words.get("model name") or platform.processor() or None,
        cpu_architecture=_architecture(words, catalog),
        logical_cpus=len(psutil.Process().cpu_affinity())
        if hasattr(psutil.Process, "cpu_affinity")
        else psutil.cpu_count(),
        physical_cores=psutil.cpu_count(logical=False),
        memory_bytes=psutil.virtual_memory().total,
        gpus=_gpus(catalog),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        virtual="hypervisor" in words["flags"].split() if "flags" in words else None,
    )


def stated_machine(offer: Offer) -> Machine:
    """The machine of an offer, as the user stated it (`--on`)."""
    gpus: tuple[Gpu, ...] = ()
    if offer.accelerator is not None:
        gpus = (Gpu(name=offer.accelerator, count=offer.accelerator_count, accelerator=offer.accelerator),)
    return Machine(
        origin="stated",
        offer=offer.id,
        cpu_architecture=offer.cpu,
        logical_cpus=offer.vcpus,
        memory_bytes=int(offer.memory_gib * 2**30) if offer.memory_gib else None,
        gpus=gpus,
    )


def _cpu_words() -> dict[str, str]:
    """The first block of /proc/cpuinfo; nothing on other systems."""
    words: dict[str, str] = {}
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return words
    for line in text.splitlines():
        if not line.strip() and words:
            break
        key, _, value = line.partition(":")
        words[key.strip()] = value.strip()
    return words


def _architecture(words: dict[str, str], catalog: Catalog) -> str | None:
    return next((known.architecture for known in catalog.cpu_architectures if _is(known, words)), None)


def _is(known: CpuArchitecture, words: dict[str, str]) -> bool:
    if known.part is not None:
        return words.get("CPU part", "").lower() == known.part.lower()
    if known.vendor != words.get("vendor_id") or str(known.family) != words.get("cpu family"):
        return False
    model = int(words.get("model", "-1"))
    return any(first <= model <= last for first, last in known.model_ranges)


def _gpus(catalog: Catalog) -> tuple[Gpu, ...]:
    """GPUs as their drivers name them, and what the catalogue calls them."""
    counted = Counter((gpu.name, gpu.memory_bytes) for gpu in found_gpus())
    gpus: list[Gpu] = []
    for (name, memory_bytes), count in counted.items():
        try:
            accelerator = catalog.accelerator(name).id
        except CatalogError:
            accelerator = None
        gpus.append(Gpu(name=name, count=count, memory_bytes=memory_bytes, accelerator=accelerator))
    return tuple(gpus)


def listener(port: int) -> psutil.Process | None:
    """The process that listens on a local TCP port, if it may be seen and is no tunnel to another machine."""
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.AccessDenied, OSError):
        return None
    for connection in connections:
        if (
            connection.status == psutil.CONN_LISTEN
            and connection.laddr
            and connection.laddr[1] == port
            and connection.pid
        ):
            try:
                process = psutil.Process(connection.pid)
                return None if process.name() in _FORWARDERS else process
            except psutil.Error:
                return None
    return None


@dataclass(frozen=True)
class CpuReading:
    """Seconds of CPU that were used up to a moment."""

    all_busy_s: float
    client_s: float
    engine_s: float | None


class CpuAccount:
    """Who used the CPUs between two moments: the client, the engine, or something else."""

    def __init__(self, engine: psutil.Process | None) -> None:
        self._engine = engine
        self._clients = [psutil.Process()]
        self.peak_engine_bytes = 0

    def add_client(self, pid: int) -> None:
        """A further process of the client's own."""
        self._clients.append(psutil.Process(pid))

    def read(self) -> CpuReading:
        """The counters now. The engine's include its children; they are none if it is unknown or gone."""
        times = psutil.cpu_times()
        # guest time is counted within user time; steal is time that other machines of the same host took
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0)
        busy -= getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        own = 0.0
        for process in self._clients:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                own += times.user + times.system
        return CpuReading(busy, own, self._engine_seconds())

    def _engine_seconds(self) -> float | None:
        if self._engine is None:
            return None
        total, resident = 0.0, 0
        try:
            for process in [self._engine, *self._engine.children(recursive=True)]:
                times = process.cpu_times()
                total += times.user + times.system
                resident += process.memory_info().rss
        except psutil.Error:
            return None
        self.peak_engine_bytes = max(self.peak_engine_bytes, resident)
        return total

    @staticmethod
    def shares(before: CpuReading, after: CpuReading, wall_s: float) -> tuple[float | None, float | None]:
        """(client, over one core; others, over all cores), each 0 to 1; None where it cannot be known."""
        if wall_s <= 0:
            return None, None
        client = (after.client_s - before.client_s) / wall_s
        if before.engine_s is None or after.engine_s is None:
            return client, None
        busy = after.all_busy_s - before.all_busy_s
        known = after.client_s - before.client_s + after.engine_s - before.engine_s
        return client, max(0.0, busy - known) / wall_s / (psutil.cpu_count() or 1)
