"""guidellm's JSON report: a benchmark a load, each with its requests (layouts of 0.2 to 0.3, and of 0.4 to 0.8).

Times are seconds since 1970. Between the first token and the end no token has a time of its own.
"""

from __future__ import annotations

from typing import Literal

from rackrate.importers.files import ResultFile
from rackrate.importers.results import (
    ForeignLevel,
    ForeignRequest,
    ImportedRun,
    LayoutError,
    Object,
    most_at_once,
    number,
    objects,
    text,
    utc,
    whole,
    within,
)
from rackrate.runs.records import StatedFigures, StatedQuantiles

_TPOT = (
    "guidellm's TPOT divides the whole latency by the tokens; here TPOT is (done - first token) / (tokens - 1), worked "
    "out from its times."
)
_SPREAD = "guidellm keeps no time per token: throughput spreads an answer's tokens evenly from its first to its end."
_TOKENS = (
    "guidellm takes output tokens from the server's usage where there is one, else it tokenizes the text itself; "
    "the file does not say which."
)
_OLD_FIRST = "guidellm before 0.4 does not say whether an early chunk with only the role counted as the first token."
_CLIENT = ("client-bound", "contended", "cold", "no-usage")

FILES = "guidellm (JSON report)"


def read(file: ResultFile) -> list[ImportedRun] | None:
    """A report. See `detect.Importer`."""
    return [read_guidellm(file.values)] if is_guidellm(file.values) else None


def is_guidellm(values: Object) -> bool:
    """Whether it looks like a guidellm report."""
    listed = objects(values.get("benchmarks"))
    return bool(listed) and all("metrics" in entry and ("config" in entry or "args" in entry) for entry in listed)


def read_guidellm(values: Object) -> ImportedRun:
    """A report, a level for each of its benchmarks.

    Raises:
        LayoutError: what a benchmark must have is missing.
    """
    benchmarks = objects(values["benchmarks"])
    first = benchmarks[0]
    backend = within(first, "config", "backend") or within(first, "worker")
    old = "args" in first
    notes = [_TPOT, _SPREAD, _TOKENS, *([_OLD_FIRST] if old else [])]
    levels: list[ForeignLevel] = []
    for position, benchmark in enumerate(benchmarks):
        level, note = _level(benchmark, position)
        levels.append(level)
        if note and note not in notes:
            notes.append(note)
    data = (objects(within(values, "config", "spec").get("data")) or [{}])[0]
    started = number(within(first, "scheduler_metrics"), "start_time") or number(first, "start_time")
    return ImportedRun(
        tool="guidellm",
        version=text(within(values, "metadata"), "guidellm_version"),
        layout="report of 0.2 or 0.3" if old else "report",
        levels=levels,
        created=utc(started),
        model=text(backend, "model") or text(backend, "backend_model"),
        url=text(backend, "target") or text(backend, "backend_target"),
        endpoint=_endpoint(backend, first),
        input_tokens=whole(data, "prompt_tokens"),
        output_tokens=whole(data, "output_tokens"),
        notes=tuple(notes),
    )


def _endpoint(backend: Object, benchmark: Object) -> Literal["chat", "completions"] | None:
    spelled = text(backend, "request_format") or ""
    listed = objects(within(benchmark, "requests").get("successful"))
    spelled = spelled or (text(listed[0], "request_type") or "" if listed else "")
    if "chat" in spelled:
        return "chat"
    return "completions" if "completions" in spelled else None


def _level(benchmark: Object, position: int) -> tuple[ForeignLevel, str | None]:
    where = f"benchmarks[{position}]"
    strategy = within(benchmark, "config", "strategy") or within(benchmark, "args", "strategy")
    kind = text(strategy, "type_")
    if kind is None:
        raise LayoutError(f"{where} has no strategy")
    rate = number(strategy, "rate") if kind in {"constant", "poisson"} else None
    kept = within(benchmark, "requests")
    requests = [
        *(_request(entry, where, is_open=rate is not None) for entry in objects(kept.get("successful"))),
        *(_failed(entry, "unnamed") for entry in objects(kept.get("errored"))),
        *(_failed(entry, "stopped") for entry in objects(kept.get("incomplete"))),
    ]
    requests = [request for request in requests if request is not None]
    finished = sum(request.status == "ok" for request in requests)
    made = within(benchmark, "metrics", "request_totals") or within(benchmark, "run_stats", "requests_made")
    claimed = whole(made, "successful")
    concurrency = None
    if rate is None:
        concurrency = {"synchronous": 1}.get(kind) or whole(strategy, "streams") or whole(strategy, "max_concurrency")
        concurrency = concurrency or most_at_once(requests) or claimed or 1
    stated, note = None, None
    if claimed is not None and claimed > finished:
        # it was told to keep a sample: the sums are of all, the requests are not
        stated, requests = _totals(benchmark, claimed, made), []
        note = f"The report keeps {finished} of {claimed} requests, so its own sums are used."
    unknown = _CLIENT
    if stated is not None:
        unknown += ("overloaded",) if rate is not None else ("unsteady",)
    level = ForeignLevel(
        concurrency=concurrency,
        rate=rate,
        arrivals=kind if rate is not None else None,
        requests=requests,
        stated=stated,
        unknown=unknown,
    )
    return level, note


def _request(values: Object, where: str, *, is_open: bool) -> ForeignRequest:
    """A request that succeeded, of either layout."""
    timings = within(values, "info", "timings")
    if timings:
        sent, done = number(timings, "request_start"), number(timings, "request_end")
        first = number(timings, "first_token_iteration") or number(timings, "first_iteration")
        due = number(timings, "targeted_start")
    else:
        sent, done = number(values, "start_time"), number(values, "end_time")
        first = number(values, "first_token_time")
        due = number(within(values, "scheduler_info"), "targeted_start_time")
    if sent is None or done is None:
        raise LayoutError(f"{where} has a request without its times")
    if first is not None and first < sent <= done:
        first = None  # some versions write 0 where there was none
    return ForeignRequest(
        due_s=min(due, sent) if is_open and due is not None else sent,
        sent_s=sent,
        done_s=done,
        first_token_s=first,
        input_tokens=whole(values, "prompt_tokens"),
        cached_tokens=whole(values, "cached_tokens"),
        output_tokens=whole(values, "output_tokens"),
    )


def _failed(values: Object, status: str) -> ForeignRequest | None:
    """A request that failed or was cut off; None where it never began."""
    timings = within(values, "info", "timings") or values
    sent = number(timings, "request_start") or number(timings, "start_time")
    done = number(timings, "request_end") or number(timings, "resolve_end") or number(timings, "end_time")
    if sent is None:
        return None
    why = text(values, "error") or text(within(values, "info"), "error")
    return ForeignRequest(
        due_s=sent,
        sent_s=sent,
        done_s=max(sent, done if done is not None else sent),
        first_token_s=None,
        status=status,
        detail=why[:200] if why else None,
    )


def _totals(benchmark: Object, claimed: int, made: Object) -> StatedFigures:
    metrics = within(benchmark, "metrics")

    def mean(key: str) -> float | None:
        return number(within(metrics, key, "successful"), "mean")

    def spread(key: str, unit: float) -> StatedQuantiles | None:
        found = within(metrics, key, "successful")
        if number(found, "mean") is None:
            return None
        points = {f"p{q}": number(within(found, "percentiles"), f"p{q}") for q in (50, 90, 95, 99)}
        return StatedQuantiles(
            count=whole(found, "count"),
            mean=(number(found, "mean") or 0.0) * unit,
            **{name: value * unit if value is not None else None for name, value in points.items()},
        )

    request_s, mean_in, mean_out = mean("requests_per_second"), mean("prompt_token_count"), mean("output_token_count")
    return StatedFigures(
        finished=claimed,
        failed=whole(made, "errored"),
        duration_s=number(benchmark, "duration"),
        output_tok_s=mean("output_tokens_per_second"),
        input_tok_s=request_s * mean_in if request_s is not None and mean_in is not None else None,
        request_s=request_s,
        mean_input_tokens=mean_in,
        mean_output_tokens=mean_out,
        mean_in_flight=mean("request_concurrency"),
        ttft=spread("time_to_first_token_ms", 1e-3),
        e2e=spread("request_latency", 1.0),
    )
