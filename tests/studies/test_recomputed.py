"""Studies recomputed from the formulas of docs/method.md and docs/studies.md alone, with nothing of the code's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.catalog.load import load_catalog
from rackrate.studies.documents import Study
from rackrate.studies.evaluate import evaluate
from rackrate.studies.loading import Loaded
from rackrate.studies.results import QuestionResult

CATALOG = load_catalog()


def asked(scenarios: list[dict[str, Any]], question: dict[str, Any], **more: Any) -> QuestionResult:
    study = Study.model_validate(
        {
            "study": "t", "title": "a test", "draws": 1000, "scenarios": scenarios,
            "questions": [{"id": "q", "asks": "which", **question}], **more,
        }
    )  # fmt: skip
    return evaluate(Loaded(Path("t.yaml"), study, ()), CATALOG, "2026-11-20").questions[0]


@dataclass(frozen=True)
class Rig:
    """A rig file's figures, and its month by hand."""

    capex_usd: float
    resale_usd: float
    spare_share: float
    life_years: float
    discount_rate: float
    idle_w: float
    busy_w: float
    pue: float
    usd_per_kwh: float
    hosting_usd_per_kw_month: float
    labour_hours_per_month: float
    labour_usd_per_hour: float

    def purchase(self) -> float:
        """A twelfth of the annuity, with spares."""
        r, n = self.discount_rate, self.life_years
        if r == 0:
            return (1 + self.spare_share) * (self.capex_usd - self.resale_usd) / n / 12
        left = self.resale_usd / (1 + r) ** n
        return (1 + self.spare_share) * (self.capex_usd - left) * r / (1 - (1 + r) ** -n) / 12

    def running(self, machines: int, busy_machines: float, hours: float) -> float:
        """Energy by the hour, the rest by the month."""
        monthly = self.hosting_usd_per_kw_month * self.busy_w / 1000
        monthly += self.labour_hours_per_month * self.labour_usd_per_hour
        kwh = (machines * self.idle_w + busy_machines * (self.busy_w - self.idle_w)) / 1000 * hours
        return machines * monthly + kwh * self.pue * self.usd_per_kwh

    def level(self, rate: float) -> float:
        """The purchase as an equal sum at the end of each month of its life."""
        months = 12 * self.life_years
        w = (1 + rate) ** (-1 / 12)
        worth = w * (1 - w**months) / (1 - w) if rate else months
        return (1 + self.spare_share) * (self.capex_usd - self.resale_usd * w**months) / worth


RIGS = st.builds(
    Rig,
    capex_usd=st.floats(2000, 3e5), resale_usd=st.floats(0, 1500), spare_share=st.sampled_from([0, 0.05, 0.2]),
    life_years=st.sampled_from([2, 4, 5.5]), discount_rate=st.sampled_from([0, 0.03, 0.08]),
    idle_w=st.floats(0, 500), busy_w=st.floats(500, 9000), pue=st.floats(1, 2), usd_per_kwh=st.floats(0, 0.5),
    hosting_usd_per_kw_month=st.floats(0, 250), labour_hours_per_month=st.floats(0, 40),
    labour_usd_per_hour=st.floats(0, 100),
)  # fmt: skip
RATES = st.sampled_from(["both", "one", "beside"])


@settings(deadline=None, max_examples=100)
@given(
    rig=RIGS, kind=RATES, fast=st.floats(300, 5000), prefill=st.floats(2, 20), requests=st.floats(100, 3e5),
    lengths=st.tuples(st.integers(1, 8000), st.integers(1, 2000)), cached=st.sampled_from([0, 0.3, 0.9]),
    peak=st.floats(1, 4), load=st.sampled_from([1, 0.7]), least=st.integers(1, 3), hours=st.sampled_from([720, 730]),
    prices=st.tuples(st.floats(0.01, 3), st.floats(0.01, 10), st.none() | st.floats(0.001, 1)),
    deal=st.tuples(st.sampled_from([0, 0.2]), st.sampled_from([1, 1.1])), decline=st.floats(-0.2, 0.9),
    rate=st.none() | st.floats(0.01, 0.2), years=st.none() | st.floats(0.2, 9),
)  # fmt: skip
def test_a_study_is_what_its_formulas_give(
    rig: Rig, kind: str, fast: float, prefill: float, requests: float, lengths: tuple[int, int], cached: float,
    peak: float, load: float, least: int, hours: float, prices: tuple[float, float, float | None],
    deal: tuple[float, float], decline: float, rate: float | None, years: float | None,
) -> None:  # fmt: skip
    into, out = lengths
    stated: dict[str, float] = {"tokens_per_second": fast}
    seconds = (into * (1 - cached) + out) / fast
    if kind == "both":
        stated = {"input_tokens_per_second": prefill * fast, "output_tokens_per_second": fast}
        seconds = into * (1 - cached) / (prefill * fast) + out / fast
    elif kind == "beside":
        stated = {"output_tokens_per_second": fast, "measured_input_per_output": prefill}
        seconds = (into * (1 - cached) + out) / (fast * (1 + prefill))
    listed = dict(zip(("input_usd_per_1m", "output_usd_per_1m", "cached_input_usd_per_1m"), prices, strict=True))
    price = {"date": "2026-01", "source": "a list", **{name: usd for name, usd in listed.items() if usd is not None}}
    question: dict[str, Any] = {
        "traffic": {"requests_per_day": requests, "input_tokens": into, "output_tokens": out, "cached_share": cached,
                    "peak_to_mean": peak},
        "api_price_decline": decline,
        **({"discount_rate": rate} if rate is not None else {}),
        **({"horizon_years": years} if years is not None else {}),
    }  # fmt: skip
    mine = {"name": "rig", "model": "m", "own": vars(rig), "max_load": load, "least_machines": least, **stated}
    api = {"name": "api", "model": "m", "prices": [price], "discount": deal[0], "tokenizer_ratio": deal[1]}
    answer = asked([mine, api], question, hours_per_month=hours)
    rows = {row.name: row for row in answer.rows}
    found, theirs = rows["rig"], rows["api"]

    month = requests * hours / 24
    busy = month * seconds / (hours * 3600)
    machines = max(least, math.ceil(busy * peak / load * (1 - 1e-12)))
    running = rig.running(machines, busy, hours)
    hit = prices[2] if prices[2] is not None else prices[0]
    bill = month * (into * (1 - cached) * prices[0] + into * cached * hit + out * prices[1]) / 1e6
    bill *= deal[1] * (1 - deal[0])
    assert found.machines is not None
    assert found.utilisation is not None
    assert found.machines.value == machines
    assert found.utilisation.value == pytest.approx(busy / machines)
    assert found.usd_month.value == pytest.approx(running + machines * rig.purchase())
    assert theirs.usd_month.value == pytest.approx(bill)

    r = rate if rate is not None else rig.discount_rate
    months = 12 * (years if years is not None else rig.life_years)
    w, fall = (1 + r) ** (-1 / 12), (1 - decline) ** (1 / 12)

    def worth(q: float) -> float:
        return months if abs(q - 1) < 1e-13 else (1 - q**months) / (1 - q)

    level = running + machines * rig.level(r)
    their_level = bill * worth(w * fall) / worth(w)
    assert found.levelised_usd_month is not None
    assert theirs.levelised_usd_month is not None
    assert found.levelised_usd_month.value == pytest.approx(level)
    assert theirs.levelised_usd_month.value == pytest.approx(their_level, rel=1e-5)
    if abs(level - their_level) > 1e-4 * level:
        assert answer.verdict == ("self-hosting" if level < their_level else "api")

    crossing = found.crossing
    assert crossing is not None
    full = least * hours * 3600 / seconds * (into + out)
    fixed = rig.running(least, 0, hours) + least * rig.level(r)
    per_token = (rig.running(least, least, hours) - rig.running(least, 0, hours)) / full
    margin = their_level / (month * (into + out)) - per_token
    even = fixed / margin if margin > 0 else math.inf
    if min(abs(even / full - 1), abs(even / (full * load / peak) - 1)) > 1e-4:
        expected = "never" if even > full else "at" if even <= full * load / peak else "limited"
        assert crossing.verdict == expected
        assert crossing.tokens_per_month.value == (pytest.approx(even, rel=1e-3) if expected == "at" else None)


def test_the_share_of_draws_over_the_life_is_that_of_another_monte_carlo() -> None:
    """Purchase, decline and volume uncertain; a million plain draws, 60 payments each."""
    own = {"capex_usd": [20_000, 60_000], "life_years": 5, "resale_usd": 1000, "other_usd_per_month": 300}
    mine = {"name": "rig", "model": "m", "tokens_per_second": 2000, "own": own}
    price = {"date": "2026-01", "source": "a list", "input_usd_per_1m": 1, "output_usd_per_1m": 1}
    answer = asked(
        [mine, {"name": "api", "model": "m", "prices": [price]}],
        {
            "traffic": {"tokens_per_month": [1e9, 3e9]},
            "discount_rate": 0.08,
            "api_price_decline": {"uniform": [0.1, 0.5]},
        },
        draws=100_000,
    )
    draw = np.random.default_rng(11)
    z90, number = 1.2815515655446004, 1_000_000
    capex = np.exp(draw.normal(math.log(20_000 * 60_000) / 2, math.log(3) / 2 / z90, number))
    tokens = np.exp(draw.normal(math.log(3e18) / 2, math.log(3) / 2 / z90, number))
    fall = draw.uniform(0.1, 0.5, number)
    machines = np.ceil(tokens / (2000 * 3600 * 730))
    saved = -machines * (capex - 1000 * 1.08**-5)
    first = np.zeros(number)
    for month in range(1, 61):
        saved += (tokens / 1e6 * (1 - fall) ** ((month - 1) / 12) - machines * 300) * 1.08 ** (-month / 12)
    first = machines * (300 + (capex - 1000) / 60)
    assert answer.p_self_cheaper == pytest.approx(float(np.mean(saved > 0)), abs=0.005)
    assert answer.horizon is not None
    assert answer.horizon.p_self_cheaper_first_month == pytest.approx(float(np.mean(first < tokens / 1e6)), abs=0.005)
