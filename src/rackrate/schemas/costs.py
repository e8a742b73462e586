"""What `--json` prints of runs, prices, fleets and runs side by side, as types."""

# what answers compute when asked stands written in JSON: properties become fields
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rackrate.app.energy import RunEnergy
from rackrate.economics.breakeven import BreakEven
from rackrate.economics.currency import Currency
from rackrate.economics.fleet import Policy
from rackrate.economics.fleet_card import FleetCard, Tokens
from rackrate.economics.fleet_day import DayPoint
from rackrate.economics.fleet_types import ModelPart
from rackrate.economics.hourly import HourlyCost, Rig
from rackrate.economics.pricing import Load
from rackrate.economics.ratecard import Serving
from rackrate.economics.replica import Replica
from rackrate.engines.quality import Quality
from rackrate.metrics.summary import LevelSummary, Quantiles
from rackrate.runs.records import Engine, Imported, Machine, ServedModel, WorkloadFacts
from rackrate.schemas.apis import ApiFacts
from rackrate.schemas.root import Root
from rackrate.workload.traffic_summary import TrafficSummary


class DescribedMachine(Machine):
    """The machine of a run."""

    description: str
    """In words: how many of which accelerator or CPU."""


@dataclass(frozen=True)
class RunProvenance:
    """What ran where, and how it was asked for."""

    origin: Literal["measured", "simulated", "imported"]
    created: str
    """UTC, ISO 8601."""
    command: str
    rackrate: str
    """Version."""
    python: str
    model: ServedModel
    engine: Engine
    machine: DescribedMachine
    workload: WorkloadFacts
    imported: Imported | None
    """Of a run that another tool measured."""


@dataclass(frozen=True)
class RequestCounts:
    """How requests ended."""

    finished: int
    failed: dict[str, int]
    """By kind of fault."""
    torn_journal_lines: int
    """Of a run that was killed: lines that were cut short."""


@dataclass(frozen=True)
class LevelView(LevelSummary):
    """A load and its metrics."""

    window_s: float | None = None
    """Length of the steady window."""


@dataclass(frozen=True)
class SaturationView:
    """The load at which most was served."""

    level: int
    """Its `index`."""
    concurrency: int | None
    output_tok_s: float
    reached: Literal["capacity", "saturated", "most"]
    """The capacity within the SLO, saturation of a closed loop, or merely the most that was served."""
    within_slo: bool | None
    """None where there is no SLO, or it could not be judged."""
    lower_bound: bool
    """It was the highest that was measured, and throughput still grew."""
    prefill_share: float | None
    """Of the busy time."""
    caveats: Sequence[str]


@dataclass(frozen=True)
class RunSummary(Root, schema="rackrate.run-summary/2"):
    """A run: what ran where, and the metrics of every load."""

    state: Literal["running", "complete", "interrupted", "failed"]
    stopped_because: str | None
    provenance: RunProvenance
    requests: RequestCounts
    levels: Sequence[LevelView]
    saturation: SaturationView | None
    """None where nothing was served."""
    definitions: dict[str, str]
    """The words that are used, in a sentence each."""
    faults: dict[str, str]
    """What kinds of fault mean."""


@dataclass(frozen=True)
class ServingView(Serving):
    """What one machine serves at full load."""

    tok_s: float = 0.0
    """Input and output tokens together."""


@dataclass(frozen=True)
class Card:
    """What a million tokens costs at a load, and the month that it makes."""

    machines: int
    utilisation: float
    """Share of what the machines could serve that is asked of them."""
    usd_h: float
    """Of all machines."""
    usd_month: float
    tokens_month: float
    input_tokens_month: float
    cached_tokens_month: float
    output_tokens_month: float
    blended_usd: float
    """Per 1M input and output tokens together."""
    blended_interval_usd: tuple[float, float] | None
    """80 %, from the interval of the throughput alone."""
    input_usd: float | None
    """Per 1M new input tokens; None where input and output cannot be told apart."""
    output_usd: float | None
    marginal_usd: float
    """Blended at full load."""
    utilisation_tax: float
    """How many times dearer than at full load."""


@dataclass(frozen=True)
class ApiView(ApiFacts):
    """What an API charges for the same tokens."""

    name: str
    input_usd_per_1m: float
    output_usd_per_1m: float
    cached_input_usd_per_1m: float | None
    blended_usd_per_1m: float
    break_even: BreakEven


@dataclass(frozen=True)
class PricedMachine:
    """One machine at one price."""

    cost: HourlyCost
    rig: Rig | None
    """Of an owned machine: what owning it is taken to cost."""
    full_load: Card
    at_load: Card | None
    """At the load that was stated."""
    by_utilisation: Sequence[Card]
    apis: Sequence[ApiView]
    warnings: Sequence[str]
    """Names of caveats."""
    notes: Sequence[str]


@dataclass(frozen=True)
class PricingView(Root, schema="rackrate.pricing/2"):
    """A price: rate cards, API prices and break-evens, machine by machine."""

    model: str
    serving: ServingView
    load: Load
    machines: Sequence[PricedMachine]
    notes: Sequence[str]


@dataclass(frozen=True)
class PricedRunView(Root, schema="rackrate.report/1"):
    """A run and its price."""

    run: RunSummary
    pricing: PricingView


@dataclass(frozen=True)
class RunPrice:
    """What a run costs on a machine, at full load."""

    machine: str
    kind: str
    source: str
    usd_h: float
    blended_usd: float
    output_usd: float | None


@dataclass(frozen=True)
class ComparedLevel:
    """A load of a compared run."""

    concurrency: int
    output_tok_s: float | None
    output_tok_s_half_width: float | None
    ttft_p50_s: float | None
    tpot_p50_s: float | None
    caveats: Sequence[str]


@dataclass(frozen=True)
class ComparedRun:
    """A run beside others, at the load at which it served most."""

    label: str
    run: str
    created: str
    origin: str
    engine: str
    version: str | None
    settings: dict[str, str | int | float | bool | None]
    weight_format: str | None
    concurrency: int | None
    output_tok_s: float | None
    output_tok_s_half_width: float | None
    lower_bound: bool | None
    ttft: Quantiles | None
    tpot: Quantiles | None
    caveats: Sequence[str]
    other_cpu_share: float | None
    """The largest share of the CPUs that other processes took."""
    peak_memory_bytes: int | None
    prices: Sequence[RunPrice]
    levels: Sequence[ComparedLevel]
    quality: Quality | None
    """What its number format lost, where that was measured."""
    failure: str | None
    ratio: float | None
    """Of its output token/s to the baseline's."""


@dataclass(frozen=True)
class Failure:
    """An engine that could not be measured."""

    engine: str
    why: str


@dataclass(frozen=True)
class ComparisonView(Root, schema="rackrate.comparison/2"):
    """Runs side by side."""

    workload: WorkloadFacts | None
    machine: str | None
    baseline: str | None
    rows: Sequence[ComparedRun]
    failures: Sequence[Failure]
    notes: Sequence[str]


@dataclass(frozen=True)
class TrafficView(Root, TrafficSummary, schema="rackrate.traffic/1"):
    """Traffic: how much, when, and how long requests are."""

    requests_per_month: float | None = None


@dataclass(frozen=True)
class FleetTraffic(TrafficSummary):
    """The traffic of a fleet."""

    requests_per_month: float | None = None


@dataclass(frozen=True)
class ServedByFleet:
    """A model of the fleet."""

    name: str
    slots: int
    replica: Replica
    traffic: str


@dataclass(frozen=True)
class FleetQuestion:
    """What the fleet is asked to do."""

    late_limit: float
    raise_headroom: bool
    labour_usd_month: float
    hours_per_month: float


@dataclass(frozen=True)
class TokensServed(Tokens):
    """Tokens, by kind."""

    all: float | None = None


@dataclass(frozen=True)
class FleetCardView(FleetCard):
    """The bill over the whole time, and what tokens cost of it."""

    tokens: TokensServed
    utilisation_tax: float | None = None


@dataclass(frozen=True)
class OfferUseView:
    """An offer, and how much of it the fleet takes."""

    name: str
    kind: str
    committed: bool
    replicas_per_machine: int
    fixed_usd_h: float
    busy_usd_h: float
    parts: dict[str, float]
    machine_hours: float
    busy_machine_hours: float
    mean_machines: float
    peak_machines: float
    usd: float
    source: str
    date: str


@dataclass(frozen=True)
class ShapeView:
    """One way to serve the traffic."""

    kind: Literal["fixed", "autoscaled", "mix"]
    name: str
    headroom: float
    usd_month: float
    usd_month_interval: tuple[float, float] | None
    """80 %, from the interval of the throughput alone."""
    by_month_usd: Sequence[float]
    card: FleetCardView
    uses: Sequence[OfferUseView]
    utilisation: float
    mean_replicas: float
    peak_replicas: float
    peak_machines: float
    models: Sequence[ModelPart]
    late_requests: float | None
    late_share: float
    longest_wait_s: float | None
    """None: some are never served."""
    unserved_share: float
    within_limit: bool


@dataclass(frozen=True)
class FleetApi(ApiFacts):
    """What an API charges for the traffic's tokens."""

    name: str
    usd_month: float
    usd_per_1m: float | None
    over_best: float | None
    """Its bill over that of the best shape."""


@dataclass(frozen=True)
class FleetView(Root, schema="rackrate.fleet/2"):
    """A fleet: its shapes, the best first."""

    models: Sequence[ServedByFleet]
    traffic: FleetTraffic
    policy: Policy
    plan: FleetQuestion
    currency: Currency
    mean_load_replicas: float
    peak_load_replicas: float
    shapes: Sequence[ShapeView]
    apis: Sequence[FleetApi]
    mean_day: Sequence[DayPoint]
    busiest_day: Sequence[DayPoint] | None
    notes: Sequence[str]


@dataclass(frozen=True)
class EnergyView(Root, RunEnergy, schema="rackrate.energy/1"):
    """Energy of a run's loads."""
