"""What `--json` prints of traces, memory fits, calibrations and checks of predictions, as types."""

# what answers compute when asked stands written in JSON: properties become fields
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rackrate.calibration.document import CalibrationFile
from rackrate.calibration.verification import Check, FigureErrors
from rackrate.engines.quality import Quality
from rackrate.measurement.token_check import Checked
from rackrate.schemas.root import Root
from rackrate.steptime.coefficient_file import InputFile
from rackrate.workload.trace_summary import TraceSummary

Setting = str | int | float | bool | None


@dataclass(frozen=True)
class TraceView(Root, TraceSummary, schema="rackrate.trace-summary/1"):
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

    class_: str = ""


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
    left_out: Sequence[LeftOutRows]


@dataclass(frozen=True)
class GroupErrors:
    """Errors of rows whose whole group was left out of the fit."""

    way: str
    classes: Sequence[ClassErrors]
    by_group: Sequence[ErrorsRow]


@dataclass(frozen=True)
class PredictedFigure:
    """A published figure beside its prediction."""

    file: str
    line: int
    observed: float
    predicted: float
    low: float | None
    high: float | None
    class_: str = ""


@dataclass(frozen=True)
class UsedCoefficients:
    """The coefficients that predicted."""

    written: str
    rows_fitted: int
    command: str
    inputs: Sequence[InputFile]


@dataclass(frozen=True)
class ValidateView(Root, schema="rackrate.validate/1"):
    """How far predictions of published rows are off."""

    coefficients: UsedCoefficients
    files: Sequence[FileErrors]
    classes: Sequence[ClassErrors]
    by_accelerator: Sequence[ErrorsRow]
    by_engine: Sequence[ErrorsRow]
    by_source: Sequence[ErrorsRow]
    left_out_groups: Sequence[GroupErrors]
    anchored: Sequence[ClassErrors]
    rows: Sequence[PredictedFigure]


@dataclass(frozen=True)
class CoefficientsView(Root, schema="rackrate.coefficients/1"):
    """Coefficients that were fitted to published rows; natural logarithms."""

    written: str
    command: str
    rackrate_version: str
    rows_fitted: int
    figures_fitted: int
    iterations: int
    inputs: Sequence[InputFile]
    judged_by: Sequence[InputFile]
    values: dict[str, float]
    spreads: dict[str, float]
    intervals: dict[str, Any]
    accelerators: Sequence[str]
    families: Sequence[str]
    releases: Sequence[str]


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
    caches: Sequence[dict[str, Any]]
    """What each kind of layer keeps."""
    published_format: str
    weights_file_bytes: float | None
    notes: Sequence[str]


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
    reasons: Sequence[str]
    notes: Sequence[str]
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

    remedies: Sequence[RemedyRow] = ()


@dataclass(frozen=True)
class FitView(Root, schema="rackrate.fit/1"):
    """Whether a model fits in memory."""

    origin: Literal["predicted"]
    model: FittedModel
    engine: str
    """Whose memory was reckoned with."""
    bits_per_weight: float
    """Of the first fit's format, or of the files as they are."""
    everywhere: bool
    """Every GPU of the catalogue was tried, each with as few as hold the model."""
    fits: Sequence[FitAnswer]


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
class VerifyView(Root, schema="rackrate.verify/2"):
    """A calibration's predictions beside another run."""

    calibration: VerifiedCalibration
    run: str
    run_created: str
    same_run: bool
    """It is the run that the calibration was fitted to, which proves nothing."""
    checks: Sequence[CheckView]
    errors: dict[str, FigureErrors]


CalibrationView = CalibrationFile
"""A calibration: the file itself."""


@dataclass(frozen=True)
class CheckedView(Checked):
    """The server's counts against one tokenizer's."""

    agrees: bool = False


@dataclass(frozen=True)
class TokensView(Root, schema="rackrate.tokens/1"):
    """A server's counts against those of tokenizers."""

    url: str
    model: str
    requests: int
    server_input_tokens: int
    server_output_tokens: int
    agrees: bool
    tokenizers: Sequence[CheckedView]


@dataclass(frozen=True)
class QualityView(Root, schema="rackrate.quality/1"):
    """What number formats lose."""

    created: str
    reference: str
    models: Sequence[Quality]


@dataclass(frozen=True)
class ServeView(Root, schema="rackrate.serve/1"):
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
    argv: Sequence[str]
    ready_s: float | None = None
    """From the start to the first answer."""
    log: str | None = None
