"""The demand that a plan is made for: a rate and lengths that are stated, or what a file records of both."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate import bounds
from rackrate.files import is_there

if TYPE_CHECKING:
    from rackrate.app.plan_request import PlanRequest
    from rackrate.models.read_model import ReadModel
    from rackrate.planner.plan import Demand, Tokens
    from rackrate.workload.synthetic import SyntheticWorkload
    from rackrate.workload.traces import Trace
    from rackrate.workload.traffic import Traffic

PEAK_S = 300.0
"""The fleet is sized for the busiest such stretch of a file."""


@dataclass(frozen=True)
class _Rates:
    """What the traffic says of rates."""

    mean: float
    peak_over_mean: float
    origin: str
    series: Traffic | None = None
    trace: Trace | None = None
    """The requests that it records."""
    notes: list[str] = field(default_factory=list[str])


def demand_of(read: ReadModel, request: PlanRequest) -> Demand:
    """What is asked for. Raises UserError where the traffic cannot be read, or says nothing of rates."""
    import numpy as np

    from rackrate.app.simulated_load import workload_of
    from rackrate.economics.api_use import use_of_requests, use_of_traffic
    from rackrate.errors import UserError
    from rackrate.planner.plan import Demand, Tokens
    from rackrate.simulation.capacity import Draw
    from rackrate.workload.distributions import DEFAULT_TOKENS
    from rackrate.workload.patterns import parse_pattern
    from rackrate.workload.schedule import draw
    from rackrate.workload.slo import parse_slo
    from rackrate.workload.traces import read_trace

    pattern = parse_pattern(request.arrivals or "poisson")
    if pattern.mean_rate is not None:
        raise UserError(
            f"{{arrivals}} {request.arrivals} has rates of its own; a plan takes the rate from {{traffic}} and "
            "{peak}, and poisson, constant, gamma:CV or trace arrivals",
            fields=("arrivals", "traffic", "peak"),
        )
    rates = _rates(request)
    trace, inputs, outputs = rates.trace, request.input_tokens, request.output_tokens
    if request.trace is not None:
        trace = read_trace(request.trace)
        if request.longest is not None:
            trace = trace.no_longer_than(request.longest)
    if request.longest is not None and trace is None:
        raise UserError("{longest} leaves out recorded requests: it goes with a trace", field="longest")
    if trace is None and rates.series is not None and inputs is None and outputs is None:
        inputs, outputs = _mean_lengths(rates.series)
    share, notes = _cached(request, rates, trace)
    if trace is None:
        notes += [
            f"{what} tokens are not stated: {DEFAULT_TOKENS} a request are assumed"
            for what, text in (("input", inputs), ("output", outputs))
            if text is None
        ]
    recorded = trace  # whole, for its means
    if trace is not None and pattern.kind != "trace":
        # requests are drawn from all of the trace: in its order, ten thousand of a long one are but its beginning
        trace = replace(trace, session=None, prefix=None, prefix_tokens=None, block_ids=None, block_start=None)
    workload: SyntheticWorkload = workload_of(inputs, outputs, trace, None, request.seed)
    schedule = draw(request.arrivals or "poisson", 1.0, request.requests, workload)
    cached = (schedule.input_tokens * share).astype(np.int32)
    drawn = Draw(
        schedule.due_s, schedule.input_tokens.astype(np.int32), schedule.output_tokens.astype(np.int32), cached
    )
    tokens = None
    longest = None
    use = use_of_requests(drawn.input_tokens, drawn.output_tokens, drawn.cached_tokens)
    if recorded is not None and inputs is None and outputs is None:
        ins, outs = np.maximum(recorded.input_tokens, 1), np.maximum(recorded.output_tokens, 1)
        mean = float(ins.mean(dtype=np.float64))
        tokens = Tokens(mean, float(outs.mean(dtype=np.float64)), mean * share)
        longest = int((ins.astype(np.int64) + outs).max())
        use = use_of_requests(ins, outs, (ins * share).astype(np.int64))
    if rates.series is not None:
        seen = use_of_traffic(rates.series)
        use = replace(use, day=seen.day)
        if recorded is None and request.input_tokens is None and request.cached_share is None and seen.prompts:
            # a bill says what was billed: batches, and what was written to the cache
            use, tokens = seen, _billed(rates.series)
    return Demand(
        read, drawn, rates.mean, rates.mean * rates.peak_over_mean, parse_slo(request.slo), rates.origin,
        request.hours_per_month, request.spares, tokens=tokens, longest=longest, notes=(*rates.notes, *notes), use=use,
    )  # fmt: skip


def _billed(series: Traffic) -> Tokens | None:
    """Mean tokens of a request as an API billed them; None where the file does not say how many requests there were."""
    from rackrate.planner.plan import Tokens

    requests = series.total("requests")
    if not requests:
        return None
    names = ("input_tokens", "output_tokens", "cached_tokens", "written_tokens", "written_1h_tokens")
    return Tokens(*((series.total(name) or 0.0) / requests for name in names))


def _rates(request: PlanRequest) -> _Rates:
    """The mean rate, and the busiest stretch over it."""
    from rackrate.errors import UserError
    from rackrate.workload.traces import read_trace
    from rackrate.workload.traffic import of_trace, on_steps
    from rackrate.workload.traffic_files import is_trace, parse_rate, read_traffic, week_start_s

    rate = parse_rate(request.traffic, "traffic", request.hours_per_month)
    if rate is not None:
        return _Rates(rate, request.peak or 1.0, f"stated: {request.traffic}")
    path = Path(request.traffic).expanduser()
    if not is_there(path):
        raise UserError(
            f"{{traffic}} {request.traffic}: neither a rate such as 20/s or 2M/day, nor a file that exists",
            field="traffic",
        )
    notes: list[str] = []
    trace = None
    if is_trace(path):
        whole = trace = read_trace(path)
        if request.longest is not None and request.trace is None:
            trace = whole.no_longer_than(request.longest)
            if left := len(whole) - len(trace):
                notes.append(
                    f"{left:,} of {len(whole):,} requests are longer than {request.longest} tokens: they are not "
                    "served here, nor counted"
                )
        if not trace.duration_s > 0:
            raise UserError(
                f"{path}: all its requests come at one moment; say the rate with {{traffic}}, give the file "
                "as {trace}",
                fields=("traffic", "trace"),
            )
        # parts of equal length, so that no end is left out
        series = of_trace(trace, trace.duration_s / max(1, int(trace.duration_s / PEAK_S)), week_start_s(trace))
    else:
        series = read_traffic(path, PEAK_S)
        parts = PEAK_S / series.step_s
        if parts > 1 and abs(parts - round(parts)) < 1e-6 and series.duration_s >= PEAK_S:
            series = on_steps(series, PEAK_S)
    if series.requests is None:
        raise UserError(
            f"{path}: knows tokens but not how many requests there were; give {{traffic}} as a rate", field="traffic"
        )
    rate = float(series.requests.sum()) / series.duration_s
    if not rate > 0:
        raise UserError(f"{{traffic}} {request.traffic}: there are no requests", field="traffic")
    ratio = request.peak or max(1.0, float(series.requests.max()) / series.step_s / rate)
    if series.step_s > 2 * PEAK_S and request.peak is None:
        notes.append(
            f"the file has steps of {series.step_s / 3600:g} h: peaks within them are not known unless one is stated"
        )
    return _Rates(rate, ratio, series.origin or path.name, series, trace, notes)


def _mean_lengths(series: Traffic) -> tuple[str | None, str | None]:
    """Mean tokens of a request, where the file has sums of them: no more is known."""
    total_in, total_out = series.total("input_tokens"), series.total("output_tokens")
    number = series.total("requests")
    if not total_in or not total_out or not number:
        return None, None
    return str(max(1, round(total_in / number))), str(max(1, round(total_out / number)))


def _cached(request: PlanRequest, rates: _Rates, trace: Trace | None) -> tuple[float, list[str]]:
    """The share of each prompt that the prefix cache has, and what is to be said of it."""
    from rackrate.errors import UserError
    from rackrate.workload.trace_summary import shared_share

    given = request.cached_share
    known = shared_share(trace) if trace is not None and (given or "").strip().lower() in {"", "trace"} else None
    if given is not None and given.strip().lower() == "trace":
        if known is None:
            raise UserError(
                "{cached_share} trace: no trace with block hashes or prefixes was given", field="cached_share"
            )
        return min(known, 0.999), [f"{known:.1%} of the input is taken as cached: what an unlimited cache would have"]
    if given is not None:
        try:
            share = float(given)
        except ValueError:
            raise UserError(
                f"{{cached_share}} is a share such as 0.4, or trace, not {given!r}", field="cached_share"
            ) from None
        bounds.SHARE_BELOW_1.check(share, "cached_share")
        return share, []
    series = rates.series
    if series is not None and request.trace is None and request.input_tokens is None:
        cached, total = series.total("cached_tokens"), series.total("input_tokens")
        if cached and total:
            return min(cached / total, 0.999), [f"{cached / total:.1%} of the input was cached, as recorded"]
    if known:
        return 0.0, [
            f"the trace's prompts share beginnings, of which an unlimited prefix cache would have {known:.1%} of the "
            "input; none of it is counted unless a cached share is stated"
        ]
    return 0.0, []
