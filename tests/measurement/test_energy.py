"""Joules from watts, against integrals that are known; sensors, against counters of a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.errors import RunError
from rackrate.measurement.energy import POWER_FILE, Rapl, Reading, energy_usd_per_1m, joules, read_power


@given(st.floats(0, 500), st.floats(-20, 20), st.floats(0, 10), st.floats(1, 30))
def test_a_straight_line_is_integrated_exactly(base: float, slope: float, start: float, length: float) -> None:
    readings = [Reading(0.5 * n, base + slope * 0.5 * n) for n in range(121)]
    end = start + length
    exact = base * length + slope * (end**2 - start**2) / 2
    assert joules(readings, start, end) == pytest.approx(exact, rel=1e-9, abs=1e-6)


def test_a_gap_is_no_data() -> None:
    readings = [Reading(0, 100), Reading(0.5, 100), Reading(30, 100)]
    assert joules(readings, 1, 20) is None
    assert joules(readings, 0, 20) is None  # nothing for the last 19 seconds
    assert joules([], 0, 1) is None


def test_rapl_counts_packages_once_and_survives_a_wrap(tmp_path: Path) -> None:
    now = [0.0]

    def zone(name: str, microjoules: int) -> None:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "energy_uj").write_text(f"{microjoules}\n", encoding="ascii")
        (tmp_path / name / "max_energy_range_uj").write_text("100000000\n", encoding="ascii")

    zone("intel-rapl:0", 1_000_000)
    zone("intel-rapl:1", 99_000_000)
    zone("intel-rapl:0:0", 500_000)  # the cores of package 0: a part of it
    rapl = Rapl(tmp_path, clock=lambda: now[0])
    assert rapl.readable
    assert rapl.watts() is None
    now[0] = 2.0
    zone("intel-rapl:0", 41_000_000)
    zone("intel-rapl:1", 19_000_000)  # it began again: 20 J
    zone("intel-rapl:0:0", 30_500_000)
    assert rapl.watts() == pytest.approx((40 + 20) / 2)


def test_a_damaged_power_file_is_a_sentence(tmp_path: Path) -> None:
    assert read_power(tmp_path) == ([], None)
    (tmp_path / POWER_FILE).write_text("at_s,watts,source\n1,x,RAPL\n", encoding="utf-8")
    with pytest.raises(RunError, match="is damaged"):
        read_power(tmp_path)


def test_energy_of_a_known_server() -> None:
    """700 W at 1,000 token/s is 0.7 J/token; at 0.10 USD/kWh and PUE 1.5: 0.7e6 / 3.6e6 * 0.15 = 2.92 cents."""
    assert energy_usd_per_1m(0.7, 0.10, 1.5) == pytest.approx(0.0291667, rel=1e-5)


def test_a_meter_puts_watts_on_the_clock_of_the_run(tmp_path: Path) -> None:
    import threading
    from typing import Any, cast

    from rackrate.measurement import energy
    from rackrate.runs.records import Level

    class Sensor:
        name = "a sensor"

        def __init__(self) -> None:
            self.readings = 0
            self.enough = threading.Event()

        def watts(self) -> float:
            self.readings += 1
            if self.readings > 2:
                self.enough.set()
            return 50.0

    class Nobody:
        def level_started(self, *_: object) -> None:
            pass

    sensor = Sensor()
    # the run's clock began 7 s ago on a clock that stands at 1000
    with energy.PowerMeter(sensor, cast("Any", Nobody()), clock=lambda: 1000.0) as meter:
        meter.level_started(Level(index=0, kind="closed", concurrency=1, warmed_up=True, started_s=7.0), 1, 1)
        assert sensor.enough.wait(10)
    meter.write(tmp_path)
    readings, source = read_power(tmp_path)
    assert source == "a sensor"
    assert {reading.at_s for reading in readings} == {7.0}
    assert {reading.watts for reading in readings} == {50.0}
