"""What `--json` prints of plans, studies, tuning, memory fits and checks of predictions, as types."""

# what answers compute when asked stands written in JSON: properties become fields
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from rackrate.calibration.document import CalibrationFile
from rackrate.calibration.verification import Check
from rackrate.economics.breakeven import BreakEven
from rackrate.economics.sensitivity import Bar
from rackrate.economics.uncertainty import Estimate
from rackrate.engines.quality import Quality
from rackrate.measure.token_check import Checked
from rackrate.report.schemas.root import Root
from rackrate.runs.records import Engine
from rackrate.steptime.coefficient_file import InputFile
from rackrate.study.diff import Change
from rackrate.study.results import AlternativeRow, Assumption, ClaimResult, QuestionVerdict
from rackrate.tuning.search import Alone, Trial, Worth
from rackrate.workload.trace_summary import TraceSummary

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
    notes: list[str]


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
    usd_per_1m_interval: list[float] | None
    """80 %, from errors on machines that no fit has seen."""
    distance: str
    """How near the published rows are that the prediction leans on: measured, same family, extrapolated, engine."""
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

    machines: list[MixedMachines]
    usd_month: float
    usd_per_1m: float


@dataclass(frozen=True)
class PlanApi:
    """An API's bill for the demand."""

    api: str
    same_model: bool
    usd_month: float
    usd_per_1m: float
    source: str
    date: str


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
class Step:
    """A figure and what it follows from."""

    what: str
    value: float | None
    unit: str
    how: str


@dataclass(frozen=True)
class Explained:
    """One row from FLOPs to dollars."""

    offer: str
    steps: list[Step]


@dataclass(frozen=True)
class PlanView(Root):
    """A plan: deployments ranked by what they cost at the demand."""

    model: str
    model_origin: str
    model_notes: list[str]
    demand: DemandView
    rows: list[DeploymentRow]
    """The cheapest first."""
    mixed: MixedFleet | None
    apis: list[PlanApi]
    curve: list[LoadPoint]
    lost: list[LostRow]
    reasons: dict[str, int]
    """How many candidates were ruled out, by why."""
    closest: str | None
    """Where none meets the SLO: what comes nearest."""
    candidates: int
    deployments: int
    simulations: int
    origin: str
    corrected: str | None = None
    """How predictions were corrected by what was measured on the box."""
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
class AggregatesView(Root):
    """Simulated loads of which only aggregates were kept."""

    model: str
    engine: Engine
    levels: list[AggregateLevel]


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
    bars: list[BarView]


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
    rows: list[RankedRow]
    """The cheapest first."""
    verdict: QuestionVerdict
    p_self_cheaper: float | None
    """The share of draws in which the cheapest machines cost less than the cheapest API (or the one chosen)."""
    against: str | None
    """The API that the question chose."""
    tornado: TornadoView | None
    compared: list[str] | None
    """The machines and the API that the verdict and the tornado are of."""
    difference_usd_month: Estimate | None
    notes: list[str]


@dataclass(frozen=True)
class CompareView(Root, QuestionView):
    """Machines and APIs for the same requests."""

    rackrate: str
    model: str
    draws: int
    seed: int
    remarks: list[str]
    definitions: dict[str, str]


@dataclass(frozen=True)
class StudyView(Root):
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
    assumptions: list[Assumption]
    claims: list[ClaimResult]
    questions: list[QuestionView]
    warnings: list[str]
    claim_counts: dict[str, int]
    definitions: dict[str, str]


@dataclass(frozen=True)
class Evaluated:
    """When, and at whose prices."""

    prices_as_of: str
    evaluated: str


@dataclass(frozen=True)
class StudyDiffView(Root):
    """What another date's prices change in a study."""

    rackrate: str
    study: str
    title: str
    before: Evaluated
    after: Evaluated
    flipped: int
    changes: list[Change]


@dataclass(frozen=True)
class TunedPrices:
    """USD per 1M tokens of the defaults and of the winner."""

    machine: str
    usd_h: float
    default_usd_per_1m: float | None
    best_usd_per_1m: float | None


@dataclass(frozen=True)
class TuneView(Root):
    """A search for engine settings."""

    engine: str
    model: str
    machine: str
    directory: str
    slo: str | None
    concurrency: list[int]
    input_tokens: int
    output_tokens: int
    seconds: float
    """Of each trial."""
    verdict: Literal["better", "not better", "unsure", "defaults"]
    default: dict[str, Setting]
    best: dict[str, Setting]
    changed: dict[str, Setting]
    default_tok_s: list[float]
    best_tok_s: list[float]
    gain: float | None
    gain_interval_80: list[float] | None
    worth: list[Worth]
    alone: list[Alone]
    prices: TunedPrices | None
    ended: str
    trials: list[Trial]


@dataclass(frozen=True)
class TraceView(Root, TraceSummary):
    """Recorded requests."""

    origin: Literal["recorded"] = "recorded"
    file: str = ""
    layout: str = ""


@dataclass(frozen=True)
class ErrorsRow:
    """How far off predictions of a group are."""

    name: str
    figures: int
    median: float
    """Of |ln(predicted/observed)|."""
    p90: float
    bias: float
    """Median of ln(predicted/observed)."""
    cells: int
    """Groups of one file, accelerator and engine."""
    cell_median: float
    coverage: float | None
    """The share that the 80 % interval has."""


@dataclass(frozen=True)
class ClassErrors(ErrorsRow):
    """Errors of a class of figures."""

    class_: Annotated[str, Field(serialization_alias="class")] = ""


@dataclass(frozen=True)
class LeftOutRows:
    """Rows of a file that were not predicted."""

    reason: str
    count: int


@dataclass(frozen=True)
class FileErrors:
    """A file of published rows."""

    name: str
    rows: int
    predicted: int
    left_out: list[LeftOutRows]


@dataclass(frozen=True)
class GroupErrors:
    """Errors of rows whose whole group was left out of the fit."""

    way: str
    classes: list[ClassErrors]
    by_group: list[ErrorsRow]


@dataclass(frozen=True)
class PredictedFigure:
    """A published figure beside its prediction."""

    file: str
    line: int
    observed: float
    predicted: float
    low: float | None
    high: float | None
    class_: Annotated[str, Field(serialization_alias="class")] = ""


@dataclass(frozen=True)
class UsedCoefficients:
    """The coefficients that predicted."""

    written: str
    rows_fitted: int
    command: str
    inputs: list[InputFile]


@dataclass(frozen=True)
class ValidateView(Root):
    """How far predictions of published rows are off."""

    coefficients: UsedCoefficients
    files: list[FileErrors]
    classes: list[ClassErrors]
    by_accelerator: list[ErrorsRow]
    by_engine: list[ErrorsRow]
    by_source: list[ErrorsRow]
    left_out_groups: list[GroupErrors]
    anchored: list[ClassErrors]
    rows: list[PredictedFigure]


@dataclass(frozen=True)
class CoefficientsView(Root):
    """Coefficients that were fitted to published rows; natural logarithms."""

    written: str
    command: str
    rackrate_version: str
    rows_fitted: int
    figures_fitted: int
    iterations: int
    inputs: list[InputFile]
    judged_by: list[InputFile]
    values: dict[str, float]
    spreads: dict[str, float]
    intervals: dict[str, Any]
    accelerators: list[str]
    families: list[str]
    eras: list[str]


@dataclass(frozen=True)
class FittedModel:
    """The model whose memory is asked about."""

    name: str
    origin: str
    """The entry or file."""
    parameters: int
    active_parameters: int
    parameters_by_kind: dict[str, int]
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int | None
    vocabulary: int
    context_tokens: int
    experts: dict[str, Any] | None
    caches: list[dict[str, Any]]
    """What each kind of layer keeps."""
    published_format: str
    weights_file_bytes: float | None
    notes: list[str]


@dataclass(frozen=True)
class FitRow:
    """Whether a deployment fits; sizes are of the fullest accelerator. [byte]"""

    model: str
    accelerator: str
    accelerators: int
    tp: int
    pp: int
    weights_format: str
    kv_format: str
    engine: str
    fits: bool
    reasons: list[str]
    notes: list[str]
    total_weights_bytes: float
    """The whole model, once."""
    memory_bytes: float
    """What the driver leaves to programs."""
    usable_bytes: float
    """What the engine takes of it."""
    weights_bytes: float
    activation_bytes: float
    overhead_bytes: float
    kv_bytes: float
    """Left for the KV cache; negative: missing."""
    kv_bytes_per_token: float
    context_tokens: int
    request_bytes: float
    requests: int
    """At the same time, by memory."""
    engine_requests: int | None
    """That the engine takes in one step."""
    largest_context: int
    kv_tokens: int
    spare_bytes: float


@dataclass(frozen=True)
class RemedyRow(FitRow):
    """A single change after which the model fits."""

    kind: Literal["format", "kv", "context", "count", "accelerator"] = "format"
    text: str = ""


@dataclass(frozen=True)
class FitAnswer(FitRow):
    """A deployment, and what would make it fit."""

    remedies: list[RemedyRow] = field(default_factory=list[RemedyRow])


@dataclass(frozen=True)
class FitView(Root):
    """Whether a model fits in memory."""

    origin: Literal["predicted"]
    model: FittedModel
    engine: str
    """Whose memory was reckoned with."""
    bits_per_weight: float
    """Of the first fit's format, or of the files as they are."""
    everywhere: bool
    """Every GPU of the catalogue was tried, each with as few as hold the model."""
    fits: list[FitAnswer]


@dataclass(frozen=True)
class VerifiedCalibration:
    """Whose predictions they are."""

    run: str
    created: str
    machine: str
    model: str


@dataclass(frozen=True)
class CheckView(Check):
    """A measured figure beside its prediction."""

    covered: bool | None = None
    """The 80 % interval has the measurement."""


@dataclass(frozen=True)
class FigureErrors:
    """How far off one kind of figure is."""

    count: int
    median: float
    largest: float
    covered: int


@dataclass(frozen=True)
class VerifyView(Root):
    """A calibration's predictions beside another run."""

    calibration: VerifiedCalibration
    run: str
    run_created: str
    checks: list[CheckView]
    errors: dict[str, FigureErrors]


class CalibrationView(CalibrationFile):
    """A calibration: the file itself."""


@dataclass(frozen=True)
class CheckedView(Checked):
    """The server's counts against one tokenizer's."""

    agrees: bool = False


@dataclass(frozen=True)
class TokensView(Root):
    """A server's counts against those of tokenizers."""

    url: str
    model: str
    requests: int
    server_input_tokens: int
    server_output_tokens: int
    agrees: bool
    tokenizers: list[CheckedView]


@dataclass(frozen=True)
class QualityView(Root):
    """What number formats lose."""

    created: str
    reference: str
    models: list[Quality]


@dataclass(frozen=True)
class ServeView(Root):
    """An engine that serves, or how it would be started (`--print`)."""

    engine: str
    why: str
    """Why this engine."""
    version: str | None
    model: str
    url: str
    weights: str
    weight_format: str | None
    settings: dict[str, Setting]
    environment: dict[str, str]
    argv: list[str]
    ready_s: float | None = None
    """From the start to the first answer."""
    log: str | None = None
