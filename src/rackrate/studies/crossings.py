"""When machines cost what an API does: the volume, the month, and the best split of the two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from rackrate.economics.alternatives import Demand, Machine, first_crossing_tokens, unlimited_crossing_tokens
from rackrate.economics.breakeven import break_even, hybrid_split, marginal_usd_per_token, payback_months
from rackrate.economics.uncertainty import Estimate, central, estimate, probability
from rackrate.studies.alternatives import Valuation
from rackrate.studies.horizon import Horizon, Worked
from rackrate.studies.results import Against, AlternativeRow, Crossing
from rackrate.units import MONTHS_PER_YEAR, SECONDS_PER_HOUR, tokens_per_month

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rackrate.units import Numbers


def with_crossing(
    row: AlternativeRow,
    each: Worked,
    api: Worked,
    demands: tuple[Demand, Demand],
    horizon: Horizon | None,
    values: tuple[Valuation, Valuation],
) -> AlternativeRow:
    """A machine's row with its break-evens against an API; both over the horizon where there is one.

    Args:
        row: of the machine.
        each: the machine.
        api: what it is held against.
        demands: the central one, and the draws'.
        horizon: None: they are compared by the month.
        values: central ones, and draws.
    """
    machine, machine_drawn = each.level_machine, each.level_machine_drawn
    if machine is None or machine_drawn is None:
        return row
    demand, demand_drawn = demands
    full = float(tokens_per_month(machine.tok_s, demand.hours))
    full_drawn = tokens_per_month(machine_drawn.tok_s, demand_drawn.hours)
    marginal = float(marginal_usd_per_token(machine.busy_usd_h, machine.tok_s))
    first = float(first_crossing_tokens(machine, demand, api.level))
    first_drawn = first_crossing_tokens(machine_drawn, demand_drawn, api.drawn)
    p = api.level / float(demand.tokens)
    most = float(machine.max_load) / float(demand.peak_to_mean)
    staircase = break_even(float(machine.fixed_usd_h) * demand.hours, marginal, full * most, p)
    could = float(unlimited_crossing_tokens(machine, demand, api.level))
    could_share = could / (full * machine.least)
    payback, discounted, life = _paybacks(each, api, horizon, values)
    slot = demand.hours / len(demand.profile)
    peak_in_slot = float(demand.peak_to_mean) / max(demand.profile)
    split = hybrid_split(
        [float(demand.tokens) / len(demand.profile) * rate for rate in demand.profile],
        float(machine.tok_s) * SECONDS_PER_HOUR * slot * float(machine.max_load) / peak_in_slot,
        float(machine.fixed_usd_h) * slot,
        marginal,
        p,
    )
    mixed = None
    if split.verdict == "hybrid":
        mixed = estimate(split.usd, _hybrid_drawn(split.machines, machine_drawn, demand_drawn, api.drawn))
    crossing = Crossing(
        against=api.name,
        verdict=_verdict(first, could_share),
        tokens_per_month=estimate(first, first_drawn),
        unlimited_tokens_per_month=could if could_share <= 1 else None,
        unlimited_utilisation=could_share if could_share <= 1 else None,
        most_utilisation=most,
        last_tokens_per_month=_last(staircase.last_crossing_tokens_per_month, machine.least),
        utilisation=estimate(first / (full * machine.least), first_drawn / (full_drawn * machine_drawn.least)),
        payback_months=payback,
        payback_discounted_months=discounted,
        life_months=life,
        hybrid=split,
        hybrid_usd_month=mixed,
    )
    return replace(row, crossing=crossing)


def _verdict(first: float, could_share: float) -> Literal["at", "never", "always", "limited"]:
    if first == 0:
        return "always"
    if math.isfinite(first):
        return "at"
    return "limited" if could_share <= 1 else "never"


def _paybacks(
    each: Worked, api: Worked, horizon: Horizon | None, values: tuple[Valuation, Valuation]
) -> tuple[Estimate | None, Estimate | None, float | None]:
    """Of what is bought: at today's prices, over the horizon, and how long it lives. [month]"""
    machine, machine_drawn, month, month_drawn = each.machine, each.machine_drawn, each.month, each.month_drawn
    own = each.alternative.scenario.own
    if own is None or horizon is None or machine is None or machine_drawn is None:
        return None, None, None
    if month is None or month_drawn is None:
        return None, None, None
    middle, drawn = values
    simple = estimate(
        float(payback_months(month.capex_usd, month.running_usd, api.usd)),
        payback_months(month_drawn.capex_usd, month_drawn.running_usd, api.usd_drawn),
    )
    discounted = estimate(
        float(horizon.payback(machine, month, api.usd, (each.level, api.level), middle)),
        horizon.payback(machine_drawn, month_drawn, api.usd_drawn, (each.drawn, api.drawn), drawn),
    )
    life = central(own.life_years.quantity) * MONTHS_PER_YEAR if own.life_years.quantity is not None else None
    return simple, discounted, life


def with_each(row: AlternativeRow, each: Worked, apis: Sequence[Worked], demand: Demand, draws: int) -> AlternativeRow:
    """A machine's row with its first crossing with each API."""
    machine = each.level_machine
    if machine is None:
        return row
    against = [
        Against(
            api=api.name,
            tokens_per_month=first if math.isfinite(first) else None,
            p_cheaper=probability(each.drawn < api.drawn, draws),
        )
        for api in apis
        for first in [float(first_crossing_tokens(machine, demand, api.level))]
    ]
    return replace(row, against=tuple(against))


def _last(tokens: float | None, least: int) -> float | None:
    """The last crossing of the staircase; not known where more than one machine is kept from the start."""
    return tokens if least == 1 and tokens is not None and tokens < float("inf") else None


def _hybrid_drawn(machines: int, machine: Machine, demand: Demand, api_usd: NDArray[np.float64]) -> Numbers:
    """The bill of that many machines with the API above them, per draw: the number is decided before it is known."""
    import numpy as np

    slots = len(demand.profile)
    slot_h = demand.hours / slots
    room = machines * machine.tok_s * SECONDS_PER_HOUR * slot_h * machine.max_load * max(demand.profile)
    room = room / demand.peak_to_mean
    own = np.zeros_like(api_usd)
    for share in demand.profile:
        own = own + np.minimum(demand.tokens / slots * share, room)
    per_token = api_usd / demand.tokens
    marginal = marginal_usd_per_token(machine.busy_usd_h, machine.tok_s)
    return machines * machine.fixed_usd_h * demand.hours + own * marginal + (demand.tokens - own) * per_token
