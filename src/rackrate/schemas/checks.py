"""What `--json` prints of traces, memory fits, calibrations and checks of predictions, as types."""

# what answers compute when asked stands written in JSON: properties become fields
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from rackrate.calibration.document import CalibrationFile
from rackrate.calibration.verification import Check
from rackrate.engines.quality import Quality
from rackrate.measurement.token_check import Checked
from rackrate.schemas.root import Root
from rackrate.steptime.coefficient_file import InputFile
from rackrate.workload.trace_summary import TraceSummary

Setting = str | int | float | bool | None


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
