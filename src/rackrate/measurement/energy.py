"""Watts while a load runs, from the machine's own counters, and the joules of a window of it."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from rackrate.errors import RunError
from rackrate.files import read_bytes
from rackrate.files.writing import write_whole
from rackrate.measurement.live import LiveLevel
from rackrate.metrics.summary import LevelSummary
from rackrate.runs.records import Level

POWER_FILE = "power.csv"
"""In a run directory: seconds since the run's start, watts, source."""
EVERY_S = 0.5
_MOST_POWER = 256 << 20
"""Bytes of that file: 25 for each reading, so some two months."""
_MOST_VALUE = 1e10
"""Of seconds or watts in it."""
_POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Reading:
    """Power at a moment."""

    at_s: float
    watts: float


class Source(Protocol):
    """Where watts come from."""

    name: str

    def watts(self) -> float | None: ...


class Rapl:
    """CPU packages by their energy counters (Linux powercap, Intel and AMD). Memory and board are not in it."""

    def __init__(self, root: Path = _POWERCAP, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = "RAPL (CPU packages only)"
        # a package is intel-rapl:0; its cores and memory, intel-rapl:0:1, are parts of it or overlap
        self._zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
        self._clock = clock
        self._before: tuple[float, list[int]] | None = None

    @property
    def readable(self) -> bool:
        """Whether there are counters that this user may read."""
        return bool(self._zones) and self._counters() is not None

    def _counters(self) -> list[int] | None:
        try:
            return [int((zone / "energy_uj").read_text(encoding="ascii")) for zone in self._zones]
        except (OSError, ValueError):
            return None

    def watts(self) -> float | None:
        """Mean power since the last call; None the first time."""
        now, counters = self._clock(), self._counters()
        before, self._before = self._before, (now, counters) if counters is not None else None
        if before is None or counters is None or now <= before[0]:
            return None
        joules = 0.0
        for zone, old, new in zip(self._zones, before[1], counters, strict=True):
            joules += (new - old if new >= old else new - old + self._range(zone)) * 1e-6
        return joules / (now - before[0])

    @staticmethod
    def _range(zone: Path) -> int:
        """Where the counter begins again. [microjoule]"""
        try:
            return int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0


class NvidiaSmi:
    """All GPUs of the machine, as the driver reports them (NVML, through nvidia-smi)."""

    def __init__(self, program: str) -> None:
        self.name = "NVML (GPUs only)"
        self._program = program

    def watts(self) -> float | None:
        """Power of all GPUs now."""
        try:
            output = subprocess.run(
                [self._program, "--query-gpu=power.draw", "--format=csv,noheader,nounits"],
                capture_output=True, text=True, timeout=5, check=True,
            ).stdout  # fmt: skip
            return sum(float(line) for line in output.split())
        except (OSError, subprocess.SubprocessError, ValueError):
            return None


class RocmSmi:
    """All AMD GPUs of the machine, as the driver reports them."""

    def __init__(self, program: str) -> None:
        self.name = "ROCm SMI (GPUs only)"
        self._program = program

    def watts(self) -> float | None:
        """Power of all GPUs now."""
        try:
            output = subprocess.run(
                [self._program, "--showpower", "--json"], capture_output=True, text=True, timeout=5, check=True
            ).stdout
            return rocm_watts(output)
        except (OSError, subprocess.SubprocessError):
            return None


def rocm_watts(text: str) -> float | None:
    """The sum over GPUs of `rocm-smi --showpower --json`; None where one says no figure. [W]

    >>> rocm_watts('{"card0": {"Current Socket Graphics Package Power (W)": "140.0"}, '
    ...            '"card1": {"Average Graphics Package Power (W)": "38.5"}, "system": {"Driver version": "6.7.0"}}')
    178.5
    >>> rocm_watts('{"card0": {"Average Graphics Package Power (W)": "N/A"}}') is None
    True
    """
    try:
        found = json.loads(text)
        cards = [card for name, card in found.items() if name.startswith("card")]
        each = [[float(card[key]) for key in card if "Package Power (W)" in key and "Max" not in key] for card in cards]
    except (ValueError, AttributeError, TypeError):
        return None
    return sum(item[0] for item in each) if each and all(each) else None


class Together:
    """Several sources, added."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.name = " + ".join(source.name for source in sources)
        self._sources = sources

    def watts(self) -> float | None:
        """Their sum; None where one is missing, since a part is not the whole."""
        found = [source.watts() for source in self._sources]
        return sum(match for match in found if match is not None) if all(match is not None for match in found) else None


def find_source() -> Source | None:
    """The sensors of this machine; None where it has none that may be read (most virtual machines)."""
    sources: list[Source] = []
    program = shutil.which("nvidia-smi")
    if program is not None and NvidiaSmi(program).watts() is not None:
        sources.append(NvidiaSmi(program))
    program = shutil.which("rocm-smi")
    if program is not None and RocmSmi(program).watts() is not None:
        sources.append(RocmSmi(program))
    rapl = Rapl()
    if rapl.readable:
        sources.append(rapl)
    if len(sources) > 1:
        return Together(sources)
    return sources[0] if sources else None


class Watched(Protocol):
    """What is told how a sweep goes (a Watcher of measure.sweep)."""

    def level_started(self, level: Level, position: int, of_at_most: int) -> None: ...
    def level_progress(self, live: LiveLevel) -> None: ...
    def level_ended(self, summary: LevelSummary) -> None: ...
    def note(self, text: str) -> None: ...


class PowerMeter:
    """Samples a source in a thread of its own while a sweep runs; stands between the sweep and what shows it."""

    def __init__(self, source: Source | None, shown: Watched, clock: Callable[[], float] = time.monotonic) -> None:
        self._source, self._shown, self._clock = source, shown, clock
        self._offset_s: float | None = None
        self._samples: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        if self._source is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            watts = self._source.watts() if self._source is not None else None
            if watts is not None:
                self._samples.append((self._clock(), watts))

    def write(self, directory: Path) -> None:
        """Keeps the readings with the run; nothing where there were none."""
        if self._source is None or self._offset_s is None or not self._samples:
            return
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow(["at_s", "watts", "source"])
        rows.writerows([f"{at - self._offset_s:.3f}", f"{watts:.3f}", self._source.name] for at, watts in self._samples)
        try:
            write_whole(directory / POWER_FILE, text.getvalue(), private=True)
        except OSError as error:
            self._shown.note(f"{directory / POWER_FILE}: cannot be written ({error.strerror or error})")

    def level_started(self, level: Level, position: int, of_at_most: int) -> None:
        """The run's clock began `started_s` ago."""
        if self._offset_s is None:
            self._offset_s = self._clock() - level.started_s
        self._shown.level_started(level, position, of_at_most)

    def level_progress(self, live: LiveLevel) -> None:
        """Passed on."""
        self._shown.level_progress(live)

    def level_ended(self, summary: LevelSummary) -> None:
        """Passed on."""
        self._shown.level_ended(summary)

    def note(self, text: str) -> None:
        """Passed on."""
        self._shown.note(text)


def read_power(directory: Path) -> tuple[list[Reading], str | None]:
    """The readings kept with a run, and their source; nothing where it had no sensor. Raises RunError if damaged."""
    path = directory / POWER_FILE
    if not os.path.lexists(path):
        return [], None
    try:
        text = read_bytes(path, _MOST_POWER, links=False).decode()
        rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        readings = [Reading(_finite(row["at_s"]), _finite(row["watts"])) for row in rows]
        return readings, str(rows[0]["source"]) if rows else None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (KeyError, TypeError, ValueError, csv.Error):
        raise RunError(f"{path} is damaged: it has the columns at_s, watts, source") from None


def _finite(text: str) -> float:
    value = float(text)
    if not abs(value) < _MOST_VALUE:
        raise ValueError(text)
    return value


def joules(readings: Sequence[Reading], start_s: float, end_s: float) -> float | None:
    """Energy of a window: power integrated by trapezoids, held constant at the ends. [J]

    None where no reading is inside the window, or one of its ends lies more than two seconds from any: a gap is not 0.

    >>> ramp = [Reading(0, 0), Reading(1, 10), Reading(2, 20)]
    >>> joules(ramp, 0, 2), joules(ramp, 0.5, 1.5), joules(ramp, 10, 12)
    (20.0, 10.0, None)
    """
    inside = [reading for reading in readings if start_s <= reading.at_s <= end_s]
    if not inside or end_s <= start_s:
        return None
    if inside[0].at_s - start_s > 4 * EVERY_S or end_s - inside[-1].at_s > 4 * EVERY_S:
        return None
    points = [Reading(start_s, power_at(readings, start_s)), *inside, Reading(end_s, power_at(readings, end_s))]
    pairs = itertools.pairwise(points)
    return sum((after.at_s - before.at_s) * (before.watts + after.watts) / 2 for before, after in pairs)


def power_at(readings: Sequence[Reading], at_s: float) -> float:
    """Power at a moment, on the straight line between the readings around it. [W]"""
    before = max((reading for reading in readings if reading.at_s <= at_s), key=lambda item: item.at_s, default=None)
    after = min((reading for reading in readings if reading.at_s >= at_s), key=lambda item: item.at_s, default=None)
    if before is None or after is None:
        nearest = before or after
        assert nearest is not None  # noqa: S101 - the caller has readings
        return nearest.watts
    if after.at_s == before.at_s:
        return before.watts
    share = (at_s - before.at_s) / (after.at_s - before.at_s)
    return before.watts + share * (after.watts - before.watts)


def energy_usd_per_1m(joules_per_token: float, usd_per_kwh: float, pue: float = 1.0) -> float:
    """What the energy of 1M tokens costs. [USD]

    1 kWh = 3.6e6 J.

    >>> energy_usd_per_1m(0.36, usd_per_kwh=0.10)
    0.01
    """
    return round(joules_per_token * 1e6 / 3.6e6 * usd_per_kwh * pue, 12)
