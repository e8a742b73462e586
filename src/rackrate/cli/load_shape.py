"""The flags that say what is sent and when, and what follows from them for a measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rackrate.workload.distributions import Distribution
    from rackrate.workload.patterns import Pattern
    from rackrate.workload.prompts import PromptLength
    from rackrate.workload.synthetic import Conversations, Endpoint, SharedPrefix, SyntheticWorkload
    from rackrate.workload.traces import Trace

DEFAULT_SECONDS = 15.0

InputTokens = Annotated[
    str | None,
    typer.Option(
        "--input-tokens",
        help="Input tokens per request, as the server counts them: 512, lognormal:mean=512,cv=0.8, "
        "lognormal:p50=400,p95=2000, or file:PATH.",
        show_default="128, or the trace's",
    ),
]
OutputTokens = Annotated[
    str | None,
    typer.Option("--output-tokens", help="Output tokens per request, likewise.", show_default="128, or the trace's"),
]
Arrivals = Annotated[
    str | None,
    typer.Option(
        "--arrivals",
        help="Of an open loop: poisson, constant, gamma:CV for bursts, trace; or with rates of their own "
        "steps:5@30,20@30 (5/s for 30 s, then 20/s) and ramp:1-20@60 (from 1/s to 20/s in 60 s).",
        show_default="poisson, or trace",
    ),
]
TraceFile = Annotated[
    Path | None,
    typer.Option(
        "--trace",
        help="Send recorded requests: their lengths, and, unless -c is given, when they came. --rate scales them.",
        show_default=False,
    ),
]
Speedup = Annotated[
    float | None,
    typer.Option("--trace-speedup", help="Send a trace so many times as fast.", show_default="1"),
]
Longest = Annotated[
    int | None,
    typer.Option(
        "--longest", help="Leave out a trace's requests of more tokens than this, in and out.", show_default=False
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option(
        "--shared-prefix",
        help="Begin prompts with one text of so many tokens, a system prompt: 256, or 256:0.8 for 80 % of them.",
        show_default=False,
    ),
]
Turns = Annotated[
    str | None,
    typer.Option(
        "--turns",
        help="Hold conversations of so many requests: 4, geometric:mean=4. -c is then users, --rate new conversations "
        "per second, and input tokens what each turn adds.",
        show_default=False,
    ),
]
ThinkTime = Annotated[
    str | None,
    typer.Option(
        "--think-time",
        help="Seconds from an answer to the next turn: 5, exponential:mean=5, lognormal:mean=8,cv=1.",
        show_default="0",
    ),
]


@dataclass(frozen=True)
class LoadFlags:
    """What was given."""

    input_tokens: str | None
    output_tokens: str | None
    endpoint: Endpoint
    seed: int
    arrivals: str | None
    trace: Path | None
    speedup: float | None
    longest: int | None
    prefix: str | None
    turns: str | None
    think_time: str | None
    rates: tuple[float, ...]
    closed: bool
    """Whether numbers in flight were given."""
    searches: bool
    """Whether an SLO was given without loads."""
    requests: int | None
    seconds: float | None


@dataclass(frozen=True)
class LoadShape:
    """What is sent, and when."""

    workload: SyntheticWorkload
    arrivals: str
    rates: tuple[float, ...]
    requests: int | None
    seconds: float


def load_shape(given: LoadFlags) -> LoadShape:
    """What the flags come to.

    Raises:
        WorkloadError: flags that are wrong, or do not go together.
    """
    from rackrate.errors import WorkloadError
    from rackrate.workload.patterns import parse_pattern

    trace = _trace(given)
    natural = parse_pattern(given.arrivals or ("poisson" if trace is None else "trace"))
    if natural.kind == "trace" and trace is None:
        raise WorkloadError("--arrivals trace needs a file of recorded requests: --trace FILE")
    if natural.mean_rate is not None and (given.rates or given.closed or given.searches):
        raise WorkloadError(
            f"--arrivals {given.arrivals} has rates of its own; leave out --rate, --concurrency and --slo without loads"
        )
    if given.speedup is not None and (natural.kind != "trace" or given.rates or given.closed or given.searches):
        raise WorkloadError(
            "--trace-speedup is for a trace sent as it was recorded; give --trace, and no --rate, --concurrency or "
            "--arrivals"
        )
    if trace is not None and given.turns is not None:
        raise WorkloadError(
            "--turns makes conversations up; a trace has its own (its column session): give one of them"
        )
    if given.think_time is not None and given.turns is None:
        raise WorkloadError("--think-time is between the turns of conversations; give --turns too")
    rates, requests, seconds = given.rates, given.requests, DEFAULT_SECONDS if given.seconds is None else given.seconds
    if not (rates or given.closed or given.searches):
        if trace is not None:
            trace, rates, requests = _as_recorded(trace, natural, given)
        elif natural.mean_rate is not None and natural.duration_s is not None:
            rates, seconds = (natural.mean_rate,), natural.duration_s
    return LoadShape(
        _workload(given, trace), given.arrivals or ("poisson" if trace is None else "trace"), rates, requests, seconds
    )


def _as_recorded(trace: Trace, pattern: Pattern, given: LoadFlags) -> tuple[Trace, tuple[float, ...], int | None]:
    """The part of a trace that is sent, at which rate, and how many requests; other arrivals have the trace's rate."""
    import numpy as np

    speedup = given.speedup or 1.0
    if given.seconds is not None and pattern.kind == "trace":
        trace = trace.first(max(2, int(np.searchsorted(trace.arrival_s, given.seconds * speedup))))
    requests = given.requests
    if requests is not None and pattern.kind == "trace" and 2 <= requests < len(trace):
        trace = trace.first(requests)
    if requests is None and (pattern.kind == "trace" or given.seconds is None):
        requests = len(trace)
    return trace, (trace.mean_rate * speedup,), requests


def _trace(given: LoadFlags) -> Trace | None:
    from rackrate.errors import WorkloadError

    for name, value in (("--trace-speedup", given.speedup), ("--longest", given.longest)):
        if value is not None and given.trace is None:
            raise WorkloadError(f"{name} is for recorded requests; give --trace FILE too")
        if value is not None and not 0 < value < float("inf"):
            raise WorkloadError(f"{name} must be above 0, got {value:g}")
    if given.trace is None:
        return None
    from rackrate.workload.traces import read_trace

    trace = read_trace(given.trace)
    return trace.no_longer_than(given.longest) if given.longest is not None else trace


def _workload(given: LoadFlags, trace: Trace | None) -> SyntheticWorkload:
    from rackrate.workload.distributions import DEFAULT_TOKENS, parse_distribution
    from rackrate.workload.synthetic import SyntheticWorkload

    def lengths(text: str | None, field: str) -> Distribution | None:
        if text is None and trace is not None:
            return None
        return parse_distribution(text or DEFAULT_TOKENS, field)

    inputs = lengths(given.input_tokens, "input_tokens")
    outputs = lengths(given.output_tokens, "output_tokens")
    means = [
        item.mean if item is not None else float(recorded.mean()) if recorded is not None else 0.0
        for item, recorded in (
            (inputs, trace.input_tokens if trace is not None else None),
            (outputs, trace.output_tokens if trace is not None else None),
        )
    ]
    whole = SyntheticWorkload(max(1, round(means[0])), max(1, round(means[1])), given.endpoint, given.seed)
    return replace(
        whole,
        # a fixed length is the workload's own; over a trace it takes the place of the recorded ones
        inputs=inputs if inputs is not None and (inputs.varies or trace is not None) else None,
        outputs=outputs if outputs is not None and (outputs.varies or trace is not None) else None,
        trace=trace,
        prefix=_prefix(given.prefix),
        conversations=_conversations(given),
    )


def _prefix(text: str | None) -> SharedPrefix | None:
    from rackrate.errors import WorkloadError
    from rackrate.workload.synthetic import SharedPrefix

    if text is None:
        return None
    tokens, _, share = text.partition(":")
    try:
        return SharedPrefix(int(tokens), float(share or 1))
    except ValueError:
        raise WorkloadError(
            f"--shared-prefix takes tokens, or tokens and the share of requests, such as 256:0.8, not {text!r}"
        ) from None


def _conversations(given: LoadFlags) -> Conversations | None:
    from rackrate.workload.distributions import parse_distribution
    from rackrate.workload.synthetic import Conversations

    if given.turns is None:
        return None
    return Conversations(
        parse_distribution(given.turns, "turns"),
        parse_distribution(given.think_time or "0", "think_time", whole=False, least=0.0),
    )


def check_lengths(workload: SyntheticWorkload, length: PromptLength, say: Callable[[str], None]) -> None:
    """Whether the server can be sent prompts of these lengths; says how many are shorter than its template.

    Raises:
        WorkloadError: none of them can.
    """
    length.words_for(workload.longest_input)
    if not workload.varies:
        return
    from rackrate.report.format import percent
    from rackrate.workload.rows import PAGE, Rows

    shortest, _ = Rows(workload).lengths(PAGE)
    short = float((shortest < length.least_tokens).mean())
    if short:
        say(
            f"{percent(short)} of the prompts are asked to be shorter than {length.least_tokens} tokens, which the "
            "server counts for a single word; they are sent as that"
        )
