"""What is sent and when, and which levels are held, of what was asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rackrate.app.measuring.request import DEFAULT_MOST_S

if TYPE_CHECKING:
    from rackrate.app.context import Listener
    from rackrate.app.measuring.request import MeasureRequest
    from rackrate.measurement.plan import SweepPlan
    from rackrate.workload.distributions import Distribution
    from rackrate.workload.patterns import Pattern
    from rackrate.workload.prompts import PromptLength
    from rackrate.workload.synthetic import Conversations, Endpoint, SharedPrefix, SyntheticWorkload
    from rackrate.workload.traces import Trace

DEFAULT_SECONDS = 15.0


@dataclass(frozen=True)
class LoadShape:
    """What is sent, and when."""

    workload: SyntheticWorkload
    arrivals: str
    rates: tuple[float, ...]
    requests: int | None
    seconds: float


def load_shape(given: MeasureRequest) -> LoadShape:
    """What is sent and when, of what was asked for.

    Raises:
        WorkloadError: fields that are wrong, or do not go together.
    """
    from rackrate.errors import WorkloadError
    from rackrate.workload.patterns import parse_pattern

    trace = _trace(given)
    natural = parse_pattern(given.arrivals or ("poisson" if trace is None else "trace"))
    if natural.kind == "trace" and trace is None:
        raise WorkloadError(
            "{arrivals} trace needs a file of recorded requests: {trace} FILE", fields=("arrivals", "trace")
        )
    if natural.mean_rate is not None and (given.rates or given.levels or given.searches):
        raise WorkloadError(
            f"{{arrivals}} {given.arrivals} has rates of its own; leave out {{rates}}, {{levels}} and {{slo}} without "
            "loads",
            fields=("arrivals", "rates", "levels", "slo"),
        )
    if given.trace_speedup is not None and (natural.kind != "trace" or given.rates or given.levels or given.searches):
        raise WorkloadError(
            "{trace_speedup} is for a trace sent as it was recorded; give {trace}, and no {rates}, {levels} or "
            "{arrivals}",
            fields=("trace_speedup", "trace", "rates", "levels", "arrivals"),
        )
    if trace is not None and given.turns is not None:
        raise WorkloadError(
            "{turns} makes conversations up; a trace has its own (its column session): give one of them", field="turns"
        )
    if given.think_time is not None and given.turns is None:
        raise WorkloadError(
            "{think_time} is between the turns of conversations; give {turns} too", fields=("think_time", "turns")
        )
    rates, requests, seconds = given.rates, given.requests, DEFAULT_SECONDS if given.seconds is None else given.seconds
    if not (rates or given.levels or given.searches):
        if trace is not None:
            trace, rates, requests = _as_recorded(trace, natural, given)
        elif natural.mean_rate is not None and natural.duration_s is not None:
            rates, seconds = (natural.mean_rate,), natural.duration_s
    return LoadShape(
        _workload(given, trace), given.arrivals or ("poisson" if trace is None else "trace"), rates, requests, seconds
    )


def _as_recorded(trace: Trace, pattern: Pattern, given: MeasureRequest) -> tuple[Trace, tuple[float, ...], int | None]:
    """The part of a trace that is sent, at which rate, and how many requests; other arrivals have the trace's rate."""
    import numpy as np

    speedup = given.trace_speedup or 1.0
    if given.seconds is not None and pattern.kind == "trace":
        trace = trace.first(max(2, int(np.searchsorted(trace.arrival_s, given.seconds * speedup))))
    requests = given.requests
    if requests is not None and pattern.kind == "trace" and 2 <= requests < len(trace):
        trace = trace.first(requests)
    if requests is None and (pattern.kind == "trace" or given.seconds is None):
        requests = len(trace)
    return trace, (trace.mean_rate * speedup,), requests


def _trace(given: MeasureRequest) -> Trace | None:
    from rackrate.errors import WorkloadError

    for name, value in (("trace_speedup", given.trace_speedup), ("longest", given.longest)):
        if value is not None and given.trace is None:
            raise WorkloadError(f"{{{name}}} is for recorded requests; give {{trace}} FILE too", fields=(name, "trace"))
    if given.trace is None:
        return None
    from rackrate.workload.traces import read_trace

    trace = read_trace(given.trace)
    return trace.no_longer_than(given.longest) if given.longest is not None else trace


def _workload(given: MeasureRequest, trace: Trace | None) -> SyntheticWorkload:
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
    endpoint: Endpoint = "completions" if given.endpoint == "completions" else "chat"  # `check` refuses others
    whole = SyntheticWorkload(max(1, round(means[0])), max(1, round(means[1])), endpoint, given.seed)
    return replace(
        whole,
        # a fixed length is the workload's own; over a trace it takes the place of the recorded ones
        inputs=inputs if inputs is not None and (inputs.varies or trace is not None) else None,
        outputs=outputs if outputs is not None and (outputs.varies or trace is not None) else None,
        trace=trace,
        prefix=_prefix(given.shared_prefix),
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
            f"{{shared_prefix}} takes tokens, or tokens and the share of requests, such as 256:0.8, not {text!r}",
            field="shared_prefix",
        ) from None


def _conversations(given: MeasureRequest) -> Conversations | None:
    from rackrate.workload.distributions import parse_distribution
    from rackrate.workload.synthetic import Conversations

    if given.turns is None:
        return None
    return Conversations(
        parse_distribution(given.turns, "turns"),
        parse_distribution(given.think_time or "0", "think_time", whole=False, least=0.0),
    )


def plan_of(request: MeasureRequest, load: LoadShape) -> SweepPlan:
    """Which levels are held, and for how long. Raises WorkloadError."""
    from rackrate.measurement.plan import SweepPlan
    from rackrate.workload.slo import parse_slo

    longest_s = request.max_seconds if request.max_seconds != DEFAULT_MOST_S else max(DEFAULT_MOST_S, load.seconds)
    return SweepPlan(
        levels=request.levels,
        max_concurrency=request.max_concurrency,
        rates=load.rates,
        arrivals=load.arrivals,
        slo=parse_slo(request.slo) if request.slo is not None else None,
        requests=load.requests,
        least_s=load.seconds,
        most_s=longest_s,
        warmup_requests=request.warmup,
        prefill=request.prefill if request.prefill is not None else request.requests is None,
        precision=_share(request.precision),
        keep_answers=request.keep_answers,
    )


def _share(text: str) -> float | None:
    if text == "none":
        return None
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        from rackrate.errors import WorkloadError

        raise WorkloadError(
            f"{{precision}} takes a share such as 5%, or none, not {text!r}", field="precision"
        ) from None


def check_lengths(workload: SyntheticWorkload, length: PromptLength, listener: Listener) -> None:
    """Whether the server can be sent prompts of these lengths; says how many are shorter than its template.

    Raises:
        WorkloadError: none of them can.
    """
    length.words_for(workload.longest_input)
    if not workload.varies:
        return
    from rackrate.workload.rows import PAGE, Rows

    shortest, _ = Rows(workload).lengths(PAGE)
    short = float((shortest < length.least_tokens).mean())
    if short:
        listener.note(
            f"{short:.2%} of the prompts are asked to be shorter than {length.least_tokens} tokens, which the "
            "server counts for a single word; they are sent as that"
        )
