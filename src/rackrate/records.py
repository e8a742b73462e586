"""The record of a load on a deployment: what a run is, measured or simulated alike. Files: `run_store`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT_VERSION = 1
"""Of run.json and requests.parquet. A newer one is refused; `docs/run-format.md` describes it."""

OK = "ok"
"""Status of a request that was answered whole. Any other status names its fault: see FAULTS."""

FAULTS = {
    "refused": "the connection could not be made",
    "tls": "the TLS handshake failed",
    "reset": "the server closed the connection before the answer was whole",
    "timeout-connect": "no connection in time",
    "timeout-first-token": "no first token in time",
    "timeout-gap": "no further token in time",
    "timeout-total": "the answer took too long",
    "http-429": "rate limited",
    "http-4xx": "refused by the server",
    "http-5xx": "failed in the server",
    "malformed": "the answer is not a stream of JSON events",
    "not-streaming": "the answer came in one piece",
    "error-event": "the stream carried an error",
    "oversize": "the answer is larger than any answer should be",
    "empty": "the answer had no token",
    "stopped": "cut off, since the level or the measurement was ended while it ran",
}
"""Every way in which a request can fail, each counted by itself."""


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
    url: str
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict[str, "str|int|float|bool|None"])
    started_by_us: bool = False
    peak_memory_bytes: int | None = None


class WorkloadFacts(_Header):
    """What was asked of the server."""

    input_tokens: int
    output_tokens: int
    endpoint: Literal["chat", "completions"]
    seed: int
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
    warmed_up: bool
    started_s: float
    stopped_s: float | None = None
    """When the last new request was sent; None while it runs."""
    ended_s: float | None = None
    """When the last answer was in."""
    ended_because: Literal["requests", "time", "hopeless", "interrupted", "engine-died", "errors"] | None = None
    """hopeless: so many requests had missed an objective that the level could no longer meet it."""
    client_cpu_share: float | None = None
    """CPU of the client over one core, while the level ran."""
    client_lag_p99_s: float | None = None
    """99th percentile of how late the client's event loop woke."""
    server: ServerFacts | None = None
    """None where the server has no /metrics that is understood."""
    other_cpu_share: float | None = None
    """CPU taken by neither client nor engine, over all cores; None where the engine is elsewhere."""


class RunHeader(_Header):
    """run.json: all that is known of a run but its requests."""

    format: Annotated[int, Field(ge=1)] = FORMAT_VERSION
    mode: Literal["measured", "simulated"] = "measured"
    created: str
    """UTC, ISO 8601."""
    command: str
    rackrate_version: str
    python_version: str
    state: Literal["running", "complete", "interrupted", "failed"]
    stopped_because: str | None = None
    model: ServedModel
    engine: Engine
    machine: Machine
    workload: WorkloadFacts
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
    asked_input_tokens: int
    asked_output_tokens: int
    input_tokens: int | None
    """As the server counted them (`usage`), cached ones included; None where it did not."""
    cached_tokens: int | None
    output_tokens: int | None
    finish_reason: str | None
    stagger: bool
    """A worker's first request, of a shorter output so that workers do not move in lockstep. No latency counts."""
    chunk_s: tuple[float, ...]
    """When each piece of the answer that carried text arrived."""
    session: int | None = None
    """The conversation that it is a turn of, by number within its level; None of a single request."""
    turn: int | None = None
    """Counted from 0."""

    @property
    def ok(self) -> bool:
        """Whether it was answered whole."""
        return self.status == OK


@dataclass(frozen=True)
class Run:
    """A header and its requests, in the order in which they ended."""

    header: RunHeader
    requests: list[RequestRecord]
    torn_lines: int = 0
    """Journal lines cut short by a kill, left out."""
