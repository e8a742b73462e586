"""The rate card of a fleet: a bill, split to the last micro-dollar by what kept its replicas busy, and what did not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

from rackrate.errors import PriceError
from rackrate.units import PER_MILLION

MICRO = Decimal("0.000001")
"""Bills and their parts are whole micro-dollars."""
MOST_USD = 1e18
"""More is no bill, and more than decimal arithmetic keeps to the micro-dollar."""


def billed(usd: float) -> Decimal:
    """An amount as it is billed: whole micro-dollars.

    >>> billed(2 / 3)
    Decimal('0.666667')

    Raises:
        PriceError: more than `MOST_USD`.
    """
    if not usd <= MOST_USD:
        raise PriceError(f"a bill of {usd:.3g} USD is more than can be meant; is a price wrong?")
    return Decimal(repr(usd)).quantize(MICRO, ROUND_HALF_EVEN)


def apportion(total: Decimal, weights: Sequence[float]) -> list[Decimal]:
    """Parts in proportion to weights that sum to the total exactly, none further off than a micro-dollar.

    By largest remainders: every part is rounded down, and the micro-dollars left go to the largest remainders.

    >>> [str(part) for part in apportion(Decimal("0.000010"), [1, 1, 1])]
    ['0.000004', '0.000003', '0.000003']

    Raises:
        PriceError: a negative total or weight, or no weight above 0 to bear a bill.
    """
    if total < 0 or any(weight < 0 for weight in weights):
        raise PriceError("a bill and the shares of it must not be negative")
    exact = [Fraction(weight) for weight in weights]
    whole = sum(exact, start=Fraction(0))
    if not whole:
        if total:
            raise PriceError("a bill that nothing was served for has no parts")
        return [Decimal(0)] * len(exact)
    micros = int(total / MICRO)
    quotas = [micros * weight / whole for weight in exact]
    floors = [quota.numerator // quota.denominator for quota in quotas]
    order = sorted(range(len(exact)), key=lambda i: (floors[i] - quotas[i], i))
    for i in order[: micros - sum(floors)]:
        floors[i] += 1
    return [floor * MICRO for floor in floors]


@dataclass(frozen=True)
class Tokens:
    """What was served; None where it is not known."""

    requests: float | None
    new_input: float | None
    cached: float | None
    output: float | None

    @property
    def all(self) -> float | None:
        """Input, cached input and output together."""
        if self.new_input is None or self.output is None:
            return None
        return self.new_input + (self.cached or 0.0) + self.output


@dataclass(frozen=True)
class CostItem:
    """What one kind of token costs."""

    usd: Decimal
    """Its part of the bill."""
    busy_usd: Decimal
    """Its part of the bill's busy part: what it costs while replicas are busy."""
    usd_per_1m: float | None
    marginal_usd_per_1m: float | None


@dataclass(frozen=True)
class FleetCard:
    """A bill and its parts. `input`, `cached` and `output` are None where they cannot be told apart."""

    bill_usd: Decimal
    busy_usd: Decimal
    """Machine time in which replicas were busy."""
    idle_usd: Decimal
    """The utilisation tax: machine time that was paid and not used."""
    labour_usd: Decimal
    """People, whatever the number of machines. bill = busy + idle + labour, exactly."""
    tokens: Tokens
    blended_usd_per_1m: float | None
    marginal_usd_per_1m: float | None
    usd_per_1k_requests: float | None
    input: CostItem | None
    cached: CostItem | None
    output: CostItem | None

    @property
    def utilisation_tax(self) -> float | None:
        """How many times dearer than its busy time the bill is; None where nothing was busy or it was free."""
        return float(self.bill_usd / self.busy_usd) if self.busy_usd else None


def fleet_card(
    machine_usd: Decimal,
    labour_usd: Decimal,
    busy_share: float,
    busy_energy_usd: float,
    seconds: tuple[float, float, float] | None,
    tokens: Tokens,
) -> FleetCard:
    """Splits a bill.

    The busy part is the busy share of what machines cost whether busy or not, and all that being busy adds; the rest is
    idle. Busy and whole bill go to tokens by the busy seconds that each kind took; idle time and labour follow in
    proportion.

    Args:
        machine_usd: what machines cost.
        labour_usd: people beside.
        busy_share: busy replica-time over paid replica-time, 0 to 1.
        busy_energy_usd: the part of `machine_usd` that only busy time costs.
        seconds: busy replica-seconds of new input, cached input and output; None: cannot be told apart.
        tokens: what was served.

    A machine of 100 USD that was busy half of the time, three quarters of it with output, and 100 USD of labour:

    >>> card = fleet_card(Decimal(100), Decimal(100), 0.5, 0.0, (25, 0, 75), Tokens(1000, 1e6, 0, 1e6))
    >>> card.blended_usd_per_1m, card.marginal_usd_per_1m, card.output.usd_per_1m, card.utilisation_tax
    (100.0, 25.0, 150.0, 4.0)
    >>> card.bill_usd == card.busy_usd + card.idle_usd + card.labour_usd == card.input.usd + card.output.usd
    True
    """
    bill = machine_usd + labour_usd
    share = min(1.0, max(0.0, busy_share))
    fixed = max(0.0, float(machine_usd) - busy_energy_usd)
    busy = min(machine_usd, billed(fixed * share + min(busy_energy_usd, float(machine_usd))))
    parts: list[CostItem | None] = [None, None, None]
    if seconds is not None and sum(seconds) > 0:
        counts = (tokens.new_input, tokens.cached, tokens.output)
        full, marginal = apportion(bill, seconds), apportion(busy, seconds)
        parts = [
            CostItem(count, two, _per(count, number, PER_MILLION), _per(two, number, PER_MILLION))
            for count, two, number in zip(full, marginal, counts, strict=True)
        ]
        if tokens.cached is None:
            parts[1] = None
    return FleetCard(
        bill_usd=bill,
        busy_usd=busy,
        idle_usd=machine_usd - busy,
        labour_usd=labour_usd,
        tokens=tokens,
        blended_usd_per_1m=_per(bill, tokens.all, PER_MILLION),
        marginal_usd_per_1m=_per(busy, tokens.all, PER_MILLION),
        usd_per_1k_requests=_per(bill, tokens.requests, 1000),
        input=parts[0],
        cached=parts[1],
        output=parts[2],
    )


def _per(usd: Decimal, number: float | None, size: float) -> float | None:
    return float(usd) / number * size if number else None
