"""The record of a load on a deployment: what a run is, measured or simulated alike. Files: `store`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rackrate.runs.statuses import OK

FORMAT_VERSION = 2
"""Of run.json and requests.parquet. A newer one is refused; `docs/run-format.md` describes it."""

READABLE_FORMATS = (1, 2)
"""1 is 2 without the request that a run answers."""

BURST_FACTOR = 10
"""A level of fewer requests than so many for each in flight is a burst that was over before it was steady."""


class _Header(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Gpu(_Header):
    """GPUs of one type in a machine."""

    name: str
    count: int = Field(ge=1)
    memory_bytes: int | None = None
    accelerator: str | None = None
    """Id in the catalogue, where it is known."""


class Machine(_Header):
    """The machine that the engine ran on."""

    origin: Literal["detected", "stated", "unknown"]
    """Detected here; stated by the user (`--on`); unknown: another machine, of which nothing is known."""
    offer: str | None = None
    """The offer by whose name the user stated it."""
    cpu_model: str | None = None
    cpu_architecture: str | None = None
    logical_cpus: int | None = None
    physical_cores: int | None = None
    memory_bytes: int | None = None
    gpus: tuple[Gpu, ...] = ()
    system: str | None = None
    virtual: bool | None = None


class ServedModel(_Header):
    """The model as asked for and as the server names it."""

    requested: str
    catalogue_id: str | None = None
    weights_file: str | None = None
    weights_sha256: str | None = None
    weight_format: str | None = None
    parameters: int | None = None


class Engine(_Header):
    """The engine behind the endpoint."""

    name: str
    version: str | None = None
    url: str | None
    """None where an imported file does not say."""
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict[str, "str|int|float|bool|None"])
    started_by_us: bool = False
    peak_memory_bytes: int | None = None


class WorkloadFacts(_Header):
    """What was asked of the server. None is what an imported file does not say."""

    input_tokens: int | None
    output_tokens: int | None
    endpoint: Literal["chat", "completions"] | None
    seed: int | None
    slo: str | None = None
    """The objectives asked for, such as "p95 ttft < 1000ms"."""
    length_forced: str | None = None
    """How the output length was forced (ignore_eos, min_tokens); None where the server knows neither."""
    prompt_fixed_tokens: float | None = None
    prompt_tokens_per_word: float | None = None
    inputs: str | None = None
    """How input lengths vary, such as "lognormal:mean=512,cv=0.8"; None where all are alike, or a trace's."""
    outputs: str | None = None
    trace: str | None = None
    """The file of recorded requests that lengths (and arrivals, see levels) are from."""
    shared_prefix: str | None = None
    """Tokens of a text with which prompts begin, and the share of them, such as "256:0.8"."""
    turns: str | None = None
    """Requests of a conversation; input tokens are then what each turn adds."""
    think_s: str | None = None
    """From the end of an answer to the next turn of its conversation. [s]"""


class ServerFacts(_Header):
    """What the server said of itself over a level (its /metrics): rises of counters, means and peaks of gauges."""

    output_tokens: float | None = None
    preemptions: float | None = None
    running_mean: float | None = None
    running_max: float | None = None
    waiting_mean: float | None = None
    waiting_max: float | None = None
    kv_use_mean: float | None = None
    kv_use_max: float | None = None


class StatedQuantiles(_Header):
    """Durations as another tool summed them up, in seconds; None where it did not say."""

    count: int | None = None
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None


class StatedFigures(_Header):
    """A level as another tool summed it up, where it kept no request by its times. Rates per second."""

    finished: int = Field(ge=0)
    failed: int | None = None
    duration_s: float | None = None
    output_tok_s: float | None = None
    input_tok_s: float | None = None
    request_s: float | None = None
    mean_input_tokens: float | None = None
    mean_output_tokens: float | None = None
    mean_in_flight: float | None = None
    ttft: StatedQuantiles | None = None
    tpot: StatedQuantiles | None = None
    itl: StatedQuantiles | None = None
    e2e: StatedQuantiles | None = None


class Imported(_Header):
    """Where an imported run came from."""

    tool: str
    version: str | None = None
    files: tuple[str, ...] = ()
    """Names, without their directories."""
    layout: str
    """Which of the tool's files it was."""
    notes: tuple[str, ...] = ()
    """What the tool measures otherwise than rackrate, and what is not in the file; a sentence each."""


class Level(_Header):
    """One load held for a while. Times in seconds since the run's start."""

    index: int
    kind: Literal["closed", "prefill", "open"]
    """closed: so many requests in flight at all times; prefill: the same, each asking for one token; open: requests are
    sent when they are due, whatever happened to those before."""
    concurrency: int | None = Field(default=None, ge=1)
    """Of a closed loop: requests in flight, or users in conversations."""
    rate: float | None = None
    """Of an open loop: mean arrivals per second; of conversations, where there are any."""
    arrivals: str | None = None
    """Of an open loop: poisson, constant, gamma:CV, steps:..., ramp:..., trace:FILE."""
    warmed_up: bool | None
    """None where an imported file does not say."""
    started_s: float
    stopped_s: float | None = None
    """When the last new request was sent; None while it runs."""
    ended_s: float | None = None
    """When the last answer was in."""
    ended_because: (
        Literal["requests", "time", "precision", "hopeless", "interrupted", "engine-died", "errors"] | None
    ) = None
    """precision: throughput and TTFT were known as well as was asked. hopeless: so many requests had missed an
    objective that the level could no longer meet it."""
    superseded: bool = False
    """It was cut short, and measured anew when the run was resumed: its requests are kept, but not summarised."""
    client_cpu_share: float | None = None
    """CPU of the client over one core, while the level ran; of several load processes, the busiest's."""
    client_lag_p99_s: float | None = None
    """99th percentile of how late the client's event loop woke."""
    server: ServerFacts | None = None
    """None where the server has no /metrics that is understood."""
    other_cpu_share: float | None = None
    """CPU taken by neither client nor engine, over all cores; None where the engine is elsewhere."""
    tokens_by: Literal["usage", "tool", "unstated"] = "usage"
    """Who counted output tokens: the server (usage), the tokenizer of the tool that was imported, or one of the two."""
    stated: StatedFigures | None = None
    """The figures of an imported level of which there are no requests."""
    unknown: tuple[str, ...] = ()
    """Names of metrics.CAVEATS that cannot be judged from what was imported."""


class RunHeader(_Header):
    """run.json: all that is known of a run but its requests."""

    format: Annotated[int, Field(ge=1)] = FORMAT_VERSION
    mode: Literal["measured", "simulated", "imported"] = "measured"
    """imported: measured by another tool, whose results were read."""
    created: str
    """UTC, ISO 8601."""
    command: str
    rackrate_version: str
    python_version: str
    state: Literal["running", "complete", "interrupted", "failed"]
    stopped_because: str | None = None
    resumed: tuple[str, ...] = ()
    """When the run was resumed after a stop. UTC, ISO 8601."""
    processes: int = 1
    """Load processes, on this machine or several."""
    clock_uncertainty_s: float | None = None
    """Of several machines: how far the clock of one may be off from ours. None on one machine, whose clock is one."""
    model: ServedModel
    engine: Engine
    machine: Machine
    workload: WorkloadFacts
    imported: Imported | None = None
    request: dict[str, Any] | None = None
    """The request that the run answers, as JSON; None where it was not kept (imported runs, older versions)."""
    levels: list[Level] = Field(default_factory=list[Level])


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request. Times in seconds since the run's start, on the client's monotonic clock."""

    index: int
    level: int
    due_s: float
    sent_s: float
    first_byte_s: float | None
    first_token_s: float | None
    done_s: float
    status: str
    http_status: int | None
    detail: str | None
    asked_input_tokens: int | None
    asked_output_tokens: int | None
    input_tokens: int | None
    """As the server counted them (`usage`), cached ones included; None where it did not."""
    cached_tokens: int | None
    output_tokens: int | None
    finish_reason: str | None
    stagger: bool
    """A worker's first request, of a shorter output so that workers do not move in lockstep. No latency counts."""
    chunk_s: tuple[float, ...]
    """When each piece of the answer that carried text arrived; empty also where an imported file has only the first
    token and the end."""
    session: int | None = None
    """The conversation that it is a turn of, by number within its level; None of a single request."""
    turn: int | None = None
    """Counted from 0."""
    text: str | None = None
    """What was answered, reasoning and all, as far as it came; None where it was not kept, or nothing came."""

    @property
    def ok(self) -> bool:
        """Whether it was answered whole."""
        return self.status == OK


@dataclass(frozen=True)
class Run:
    """A header and its requests, in the order in which they ended."""

    header: RunHeader
    requests: Sequence[RequestRecord]
    """A list, or where they are many a view of their file: gone through once, they need no memory."""
    torn_lines: int = 0
    """Journal lines cut short by a kill, left out."""
