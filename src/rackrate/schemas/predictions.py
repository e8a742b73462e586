"""What `--json` prints of plans, simulated aggregates, studies and tuning, as types."""

# what answers compute when asked stands written in JSON: properties become fields
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rackrate.economics.breakeven import BreakEven
from rackrate.economics.sensitivity import Bar
from rackrate.economics.uncertainty import Estimate
from rackrate.planner.explain import Step
from rackrate.runs.records import Engine
from rackrate.schemas.apis import ApiFacts
from rackrate.schemas.root import Root
from rackrate.steptime.accelerator_errors import AcceleratorErrors
from rackrate.studies.diff import Change
from rackrate.studies.results import AlternativeRow, Assumption, ClaimResult, HorizonResult, QuestionVerdict
from rackrate.tuning.search import Alone, Trial, Worth

Setting = str | int | float | bool | None


@dataclass(frozen=True)
class Times:
    """Percentiles of a simulated latency. [s]"""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class DemandView:
    """What is asked for."""

    origin: str
    request_s: float
    peak_request_s: float
    mean_input_tokens: float
    mean_output_tokens: float
    mean_cached_tokens: float
    slo: str
    hours_per_month: float
    spares: int
    tokens_month: float
    notes: Sequence[str]


@dataclass(frozen=True)
class DeploymentRow:
    """A way to serve, simulated at the demand."""

    offer: str
    cost_name: str
    accelerator: str
    accelerators: int
    engine: str
    weights: str
    tensor_parallel: int
    pipeline_parallel: int
    machines: int
    spares: int
    replicas: int
    capacity_request_s: float
    """The largest rate that one replica sustains within the SLO."""
    utilisation: float | None
    """At the peak."""
    mean_utilisation: float | None
    attainment: float | None
    ttft: Times | None
    tpot: Times | None
    e2e: Times | None
    usd_h: float
    usd_month: float
    usd_per_1m: float
    usd_per_1m_interval: tuple[float, float] | None
    """80 %, from errors on machines that no fit has seen."""
    p_more_machines: float | None
    """How probable it is, by the same errors, that more machines are needed than `machines`."""
    distance: str
    """How near the published rows are that the prediction leans on: measured, same family, extrapolated, engine."""
    card_errors: AcceleratorErrors | None
    """How far predictions of this accelerator were off when its own rows were left out; null where it has none."""
    price_source: str
    price_date: str
    break_even: dict[str, BreakEven]
    """By API."""


@dataclass(frozen=True)
class MixedMachines:
    """Machines of one kind in a mixed fleet."""

    name: str
    machines: int


@dataclass(frozen=True)
class MixedFleet:
    """Several kinds of machine behind one router."""

    machines: Sequence[MixedMachines]
    usd_month: float
    usd_per_1m: float


@dataclass(frozen=True)
class PlanApi(ApiFacts):
    """An API's bill for the demand."""

    usd_month: float
    usd_per_1m: float


@dataclass(frozen=True)
class LoadPoint:
    """One replica of the best row at a load."""

    request_s: float
    share_of_capacity: float | None
    sustained: bool
    attainment: float | None
    ttft: Times | None
    tpot: Times | None
    usd_per_1m: float


@dataclass(frozen=True)
class LostRow:
    """A candidate that was ruled out."""

    offer: str
    cost_name: str
    weights: str
    tensor_parallel: int
    pipeline_parallel: int
    engine: str
    reason: str
    detail: str
    usd_month_at_least: float | None


@dataclass(frozen=True)
class Explained:
    """One row from FLOPs to dollars."""

    offer: str
    steps: Sequence[Step]


@dataclass(frozen=True)
class PlanView(Root, schema="rackrate.plan/1"):
    """A plan: deployments ranked by what they cost at the demand."""

    model: str
    model_origin: str
    model_notes: Sequence[str]
    demand: DemandView
    rows: Sequence[DeploymentRow]
    """The cheapest first."""
    mixed: MixedFleet | None
    apis: Sequence[PlanApi]
    curve: Sequence[LoadPoint]
    lost: Sequence[LostRow]
    reasons: dict[str, int]
    """How many candidates were ruled out, by why."""
    closest: str | None
    """Where none meets the SLO: what comes nearest."""
    candidates: int
    deployments: int
    simulations: int
    origin: str
    corrected: str | None = None
    """How predictions were corrected by what was measured on the machine."""
    explained: Explained | None = None


@dataclass(frozen=True)
class SimulatedTimes:
    """Of all requests of a load. [s]"""

    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class AggregateLevel:
    """A load of which only aggregates were kept."""

    rate: float
    arrivals: str
    requests: int
    judged: int
    """Requests of the steady window."""
    simulated_s: float
    request_s: float | None
    output_tok_s: float | None
    input_tok_s: float | None
    cached_share: float | None
    ttft: SimulatedTimes | None
    tpot: SimulatedTimes | None
    e2e: SimulatedTimes | None
    mean_in_flight: float | None
    growth: float | None
    busy_share: float | None
    mean_replicas: float | None
    preemptions: int
    recomputed_tokens: int
    overloaded: bool
    slo: str | None
    slo_met: bool | None
    attainment: float | None
    took_s: float


@dataclass(frozen=True)
class AggregatesView(Root, schema="rackrate.simulated-aggregates/1"):
    """Simulated loads of which only aggregates were kept."""

    model: str
    engine: Engine
    levels: Sequence[AggregateLevel]


@dataclass(frozen=True)
class BarView(Bar):
    """One assumption, moved alone."""

    swing: float = 0.0
    """How far the outcome moves."""
    unit: str | None = None


@dataclass(frozen=True)
class TornadoView:
    """What a difference hangs on."""

    outcome: float
    bars: Sequence[BarView]


@dataclass(frozen=True)
class RankedRow(AlternativeRow):
    """An alternative for the question's requests."""

    is_api: bool = False


@dataclass(frozen=True)
class QuestionView:
    """Alternatives ranked by what they cost for the same requests."""

    id: str
    asks: str
    prices_as_of: str
    tokens_month: Estimate
    input_share: float
    cached_share: float
    peak_to_mean: float
    rows: Sequence[RankedRow]
    """The cheapest first."""
    verdict: QuestionVerdict
    p_self_cheaper: float | None
    """The share of draws in which the cheapest machines cost less than the cheapest API (or the one chosen), over the
    horizon where there is one."""
    horizon: HorizonResult | None
    """None: nothing is bought and none is stated; the month decides."""
    against: str | None
    """The API that the question chose."""
    tornado: TornadoView | None
    compared: Sequence[str] | None
    """The machines and the API that the verdict and the tornado are of."""
    difference_usd_month: Estimate | None
    notes: Sequence[str]


@dataclass(frozen=True)
class CompareView(Root, QuestionView, schema="rackrate.compare/1"):
    """Machines and APIs for the same requests."""

    rackrate: str
    model: str
    draws: int
    seed: int
    remarks: Sequence[str]
    definitions: dict[str, str]


@dataclass(frozen=True)
class StudyView(Root, schema="rackrate.study/1"):
    """A study: claims with their verdicts, questions with their rankings."""

    rackrate: str
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
    assumptions: Sequence[Assumption]
    claims: Sequence[ClaimResult]
    questions: Sequence[QuestionView]
    warnings: Sequence[str]
    claim_counts: dict[str, int]
    definitions: dict[str, str]


@dataclass(frozen=True)
class Evaluated:
    """When, and at whose prices."""

    prices_as_of: str
    evaluated: str


@dataclass(frozen=True)
class StudyDiffView(Root, schema="rackrate.study-diff/1"):
    """What another date's prices change in a study."""

    rackrate: str
    study: str
    title: str
    before: Evaluated
    after: Evaluated
    flipped: int
    changes: Sequence[Change]


@dataclass(frozen=True)
class TunedPrices:
    """USD per 1M tokens of the defaults, as measured in the pairs, and of the winner: the same over the gain."""

    machine: str
    usd_h: float
    default_usd_per_1m: float | None
    best_usd_per_1m: float | None
    """None where there was no time for pairs."""


@dataclass(frozen=True)
class TuneView(Root, schema="rackrate.tune/1"):
    """A search for engine settings."""

    engine: str
    model: str
    machine: str
    directory: str
    slo: str | None
    concurrency: Sequence[int]
    input_tokens: int
    output_tokens: int
    seconds: float
    """Of each trial."""
    verdict: Literal["better", "not better", "unsure", "defaults"]
    default: dict[str, Setting]
    best: dict[str, Setting]
    changed: dict[str, Setting]
    default_tok_s: Sequence[float]
    best_tok_s: Sequence[float]
    gain: float | None
    gain_interval_80: Sequence[float] | None
    worth: Sequence[Worth]
    alone: Sequence[Alone]
    prices: TunedPrices | None
    ended: str
    trials: Sequence[Trial]
