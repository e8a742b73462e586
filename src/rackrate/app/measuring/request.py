"""What a measurement is asked for, as a frozen value that a run's header keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rackrate import bounds
from rackrate.app.request_json import Request
from rackrate.errors import EndpointError, WorkloadError

if TYPE_CHECKING:
    from rackrate.measurement.target import Timeouts

DEFAULT_KEY = "RACKRATE_API_KEY"
DEFAULT_MOST_S = 60.0


@dataclass(frozen=True)
class MeasureRequest(Request):
    """Which server or engines to load, how, for how long, and where the run goes. Durations in seconds."""

    NAME: ClassVar[str] = "measure"

    url: str | None = None
    engines: tuple[str, ...] = ()
    """Or engines to start here; several are compared."""
    model: str | None = None
    input_tokens: str | None = None
    output_tokens: str | None = None
    endpoint: str = "chat"
    """chat or completions."""
    levels: tuple[bounds.Concurrency, ...] = ()
    """Requests in flight, one level each; none: 1, 2, 4, ... until gains end."""
    max_concurrency: bounds.Concurrency = 64
    rates: tuple[bounds.RequestsPerSecond, ...] = ()
    """Instead: arrivals per second of open loops, one level each."""
    arrivals: str | None = None
    trace: Path | None = None
    trace_speedup: bounds.Factor | None = None
    longest: bounds.Tokens | None = None
    """Leave out a trace's requests of more tokens than this, in and out."""
    shared_prefix: str | None = None
    turns: str | None = None
    think_time: str | None = None
    slo: str | None = None
    requests: bounds.Requests | None = None
    """Send exactly so many per level."""
    seconds: bounds.Seconds | None = None
    """Least duration of a level."""
    max_seconds: bounds.SecondsAbove0 = DEFAULT_MOST_S
    precision: str = "5%"
    """End a level once figures are known so well (95 % half-width); `none`: by time alone."""
    processes: bounds.Processes = 1
    ray: str | None = None
    warmup: bounds.CountFrom0 = 4
    prefill: bool | None = None
    """Measure prefill alone at the end; None: unless a number of requests is stated."""
    seed: bounds.Seed = 0
    on: str | None = None
    """The machine behind a remote URL, as an offer's id."""
    key_env: str = DEFAULT_KEY
    """The name of the API key's variable, never the key."""
    allow_plain_http: bool = False
    """Whether the key may go to another machine by http, where others can read it."""
    threads: bounds.Threads | None = None
    port: bounds.Port | None = None
    settings: tuple[str, ...] = ()
    """NAME=VALUE of an engine, or ENGINE.NAME=VALUE of one of several."""
    timeout: bounds.SecondsAbove0 = 600.0
    connect_timeout: bounds.SecondsAbove0 = 10.0
    first_token_timeout: bounds.SecondsAbove0 = 120.0
    gap_timeout: bounds.SecondsAbove0 = 60.0
    keep_answers: bool = False
    out: Path | None = None
    """The run's directory; None: runs/MODEL-TIME."""

    @property
    def searches(self) -> bool:
        """Whether the rate is searched for: an SLO without stated loads."""
        return self.slo is not None and not self.rates and not self.levels


@dataclass(frozen=True)
class ResumeRequest(Request):
    """Which run to resume; the other fields repeat what its request says, where it was not begun here."""

    NAME: ClassVar[str] = "resume"

    run: Path
    url: str | None = None
    engines: tuple[str, ...] = ()
    model: str | None = None
    settings: tuple[str, ...] = ()
    ray: str | None = None
    key_env: str | None = None
    allow_plain_http: bool = False
    trace: Path | None = None
    input_tokens: str | None = None
    output_tokens: str | None = None
    turns: str | None = None
    think_time: str | None = None


def check(request: MeasureRequest) -> None:
    """Raises UserError for what is wrong with a request as such, before anything is started or asked."""
    if (request.url is None) == (not request.engines):
        raise EndpointError(
            "say what to measure: either {url} URL, or {engines} llamacpp to start one here", fields=("url", "engines")
        )
    if request.endpoint not in {"chat", "completions"}:
        raise WorkloadError(f"{{endpoint}} is chat or completions, not {request.endpoint!r}", field="endpoint")


def timeouts_of(request: MeasureRequest) -> Timeouts:
    """How long requests may take. Raises WorkloadError."""
    from rackrate.measurement.target import Timeouts

    return Timeouts(request.connect_timeout, request.first_token_timeout, request.gap_timeout, request.timeout)
