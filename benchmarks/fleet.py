"""How long a year of traffic by the minute takes to price on a mix of three offers; nothing here gates a test."""

from __future__ import annotations

import sys
import time

import numpy as np

from rackrate.economics.fleet_price import price_fleet
from rackrate.economics.fleet_types import FleetPlan
from rackrate.economics.hourly import HourlyCost
from rackrate.economics.mix import FleetOffer
from rackrate.economics.replica import parse_capacity
from rackrate.workload.traffic import Profile, Traffic, tiled, with_lengths, with_mean_rate


def offer(name: str, usd_h: float, *, committed: bool = False, share: float | None = None) -> FleetOffer:
    return FleetOffer(HourlyCost(name, "rented", usd_h, 0.0, {"rent": usd_h}), committed, most_share=share)


def main() -> None:
    """Prints seconds, at a mean of 5, 50 and 500 requests/s."""
    generator = np.random.default_rng(1)
    hour = Traffic(60.0, generator.poisson(600, 60).astype(np.float64), None, None)
    offers = [offer("on demand", 4.0), offer("spot", 1.5, share=0.3), offer("reserved", 2.5, committed=True)]
    for rate in (5.0, 50.0, 500.0):
        began = time.perf_counter()
        year = tiled(hour, 8760 * 3600, Profile.of([1.0] * 8 + [2.0] * 16), growth_per_month=0.03)
        year = with_lengths(with_mean_rate(year, rate), 1000, 200)
        made = time.perf_counter()
        pricing = price_fleet(year, parse_capacity("input=8000,output=1500"), offers, FleetPlan(raise_headroom=True))
        done = time.perf_counter()
        sys.stdout.write(
            f"{len(year):,} steps, {rate:g} requests/s, {pricing.best.peak_replicas} replicas at the peak: "
            f"{made - began:.2f} s to make, {done - made:.2f} s to price {len(pricing.shapes)} shapes\n"
        )


if __name__ == "__main__":
    sys.exit(main())
