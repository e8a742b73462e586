"""What comes of a study, as plain values: for every output, and for comparing one evaluation with another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rackrate.catalog.api_status import Status
from rackrate.economics.breakeven import HybridSplit
from rackrate.economics.sensitivity import Tornado
from rackrate.economics.uncertainty import Estimate

ClaimVerdict = Literal["reproduced", "does not follow", "cannot be checked"]
QuestionVerdict = Literal["self-hosting", "api", "too close to call", "not compared"]


@dataclass(frozen=True)
class Assumption:
    """A figure that results depend on."""

    name: str
    text: str
    """As it was written: a value, a range, a formula."""
    value: Estimate | None
    """None: not known."""
    unit: str | None
    source: str | None
    date: str | None
    missing: str | None = None


@dataclass(frozen=True)
class ClaimResult:
    """A claim and what its formula gives."""

    id: str
    says: str
    source: str | None
    formula: str
    unit: str | None
    published: float | bool
    relation: Literal["equal", "below", "above"]
    within: float
    """How far off it may be, in its unit."""
    computed: Estimate | None
    verdict: ClaimVerdict
    missing: tuple[str, ...]
    """Why it cannot be checked, a sentence each."""
    why: str | None


@dataclass(frozen=True)
class Crossing:
    """When machines cost what an API does, in the question's mix of tokens."""

    against: str
    verdict: Literal["at", "never", "always", "limited"]
    """never: not even at full load; limited: it would, but peak or max_load forbid it to be that busy."""
    tokens_per_month: Estimate
    """First crossing; an end that is None: never."""
    unlimited_tokens_per_month: float | None
    """The same, could the machines be as busy all month; None: not even at full load."""
    unlimited_utilisation: float | None
    """How busy they would be there."""
    most_utilisation: float
    """How busy they may be in the mean: max_load over peak to mean."""
    last_tokens_per_month: float | None
    utilisation: Estimate
    payback_months: Estimate | None
    """At today's prices, not discounted. None: nothing was bought."""
    payback_discounted_months: Estimate | None
    """Discounted and with falling API prices, resale counted, within the horizon: it comes just where the present value
    over the horizon is below the API's."""
    life_months: float | None
    hybrid: HybridSplit | None
    hybrid_usd_month: Estimate | None


@dataclass(frozen=True)
class Against:
    """Machines and one API."""

    api: str
    tokens_per_month: float | None
    """First crossing with all figures at their medians; None: never."""
    p_cheaper: float
    """The share of draws in which the machines cost less, at the question's volume (over the horizon)."""


@dataclass(frozen=True)
class AlternativeRow:
    """A scenario for the question's requests."""

    name: str
    kind: Literal["rented", "owned", "stated", "api"]
    model: str | None
    same_model: bool | None
    """An API: whether it sells the model that the machines serve; None: not known."""
    usd_month: Estimate
    """Of the first month."""
    levelised_usd_month: Estimate | None
    """The equal sum a month that is worth as much over the horizon; None: alternatives are compared by the month."""
    usd_per_1m: Estimate
    """Of the first month."""
    machines: Estimate | None
    utilisation: Estimate | None
    p_cheapest: float | None
    """Among machines and APIs of the same model; None: another model."""
    p_beats_api: float | None
    """Machines: the share of draws in which they cost less than the cheapest API (over the horizon)."""
    crossing: Crossing | None
    """With the cheapest API of the same model."""
    against: tuple[Against, ...]
    """Every API of the question, the cheapest first."""
    price: str
    """The price in words."""
    source: str
    date: str
    notes: tuple[str, ...]
    status: Status = "live"
    """An API: whether it is sold at the date of the prices."""
    ends: str | None = None
    """An API: when it is, or was, shut down."""

    @property
    def is_api(self) -> bool:
        """Whether it is an API."""
        return self.kind == "api"


@dataclass(frozen=True)
class HorizonResult:
    """The time over which alternatives are compared by present value."""

    months: float
    life_of: str | None
    """Whose life it is; None: the question states it."""
    discount_rate: Estimate
    """A year."""
    api_price_decline: Estimate
    """A year."""
    p_self_cheaper_first_month: float | None
    """What would be said of the first month alone."""


@dataclass(frozen=True)
class QuestionResult:
    """Scenarios ranked by what they cost for the same requests, the cheapest first."""

    id: str
    asks: str
    prices_as_of: str
    tokens_month: Estimate
    input_share: float
    cached_share: float
    peak_to_mean: float
    rows: tuple[AlternativeRow, ...]
    verdict: QuestionVerdict
    p_self_cheaper: float | None
    """The share of draws in which the cheapest machines cost less than the cheapest API (or the one chosen), over the
    horizon where there is one."""
    horizon: HorizonResult | None
    """None: nothing is bought and none is stated; the month decides."""
    against: str | None
    """The API that the question chose to be held against."""
    tornado: Tornado | None
    """Of USD a month (levelised, where there is a horizon): the cheapest machines less the cheapest API."""
    tornado_units: dict[str, str | None]
    compared: tuple[str, str] | None
    """Which two the tornado is of."""
    difference_usd_month: Estimate | None
    """The first of the two less the second; levelised, where there is a horizon."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class StudyResult:
    """A study, evaluated."""

    study: str
    title: str
    about: str | None
    source: str | None
    date: str | None
    evaluated: str
    prices_as_of: str
    hours_per_month: float
    draws: int
    seed: int
    assumptions: tuple[Assumption, ...]
    claims: tuple[ClaimResult, ...]
    questions: tuple[QuestionResult, ...]
    warnings: tuple[str, ...]
