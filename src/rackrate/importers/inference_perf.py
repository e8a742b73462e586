"""inference-perf (kubernetes-sigs): per_request_lifecycle_metrics.json, and the sums of each stage and of the whole.

Keys as written by inference-perf 0.1 to 0.7 (reportgen/base.py, apis/base.py); seconds of time.perf_counter. Requests
do not say of which stage they are: stages follow one another, so that the sums beside them tell how many each had.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, cast

from rackrate.errors import UserError
from rackrate.files import is_regular
from rackrate.files.yaml import read_yaml
from rackrate.importers.files import ResultFile
from rackrate.importers.results import (
    ForeignLevel,
    ForeignRequest,
    ImportedRun,
    LayoutError,
    Object,
    most_at_once,
    number,
    numbers,
    text,
    whole,
    within,
)
from rackrate.runs.records import StatedFigures, StatedQuantiles

_SENT = "inference-perf does not keep when a request was due: TTFT counts from when it was sent."
_OWN_COUNT = "The server sent no usage: tokens are those of inference-perf's tokenizer."
_NO_STAGES = "The sums of the stages are not beside this file: all requests are taken for one load."
_WHOLE = "Answers came in one piece (no streaming): there is no TTFT, TPOT or ITL."
_CLIENT = ("client-bound", "contended", "cold")

FILES = "inference-perf (per_request_lifecycle_metrics.json, stage_N_lifecycle_metrics.json)"
_REQUESTS, _CONFIG = "per_request_lifecycle_metrics.json", "config.yaml"
_STAGE = re.compile(r"stage_(\d+)_lifecycle_metrics\.json")


def read(file: ResultFile) -> list[ImportedRun] | None:
    """The requests where their file is this one or lies beside, else the sums. See `detect.Importer`."""
    if file.lines and all(is_request(line) for line in file.lines):
        return [read_requests(file.lines, _stages(file), _config(file))]
    if not is_summary(file.values):
        return None
    beside = file.beside(_REQUESTS)
    # of one stage alone that was asked for, its sums: the requests beside are of all
    if beside is not None and beside.lines and not _STAGE.fullmatch(file.path.name):
        return [read_requests(beside.lines, _stages(file), _config(file))]
    return [read_summary(file.values, _config(file))]


def is_request(values: Object) -> bool:
    """Whether it looks like a request of per_request_lifecycle_metrics.json."""
    return {"start_time", "end_time", "info", "error"} <= set(values)


def is_summary(values: Object) -> bool:
    """Whether it looks like the sums of a stage, or of all."""
    return {"load_summary", "successes", "failures"} <= set(values)


def read_requests(entries: Sequence[Object], stages: Sequence[Object], config: Object) -> ImportedRun:
    """Requests, with the sums of the stages and the configuration beside them (empty where there are none).

    Raises:
        LayoutError: a request without its times, or stages that do not hold as many.
    """
    requests = sorted((_request(entry) for entry in entries), key=lambda item: item.sent_s)
    answered = [entry for entry in entries if not entry.get("error")]
    by_usage = bool(answered) and all(_usage(entry) for entry in answered)
    notes = [_SENT, *([] if by_usage else [_OWN_COUNT])]
    counts = [whole(within(stage, "load_summary"), "count") or 0 for stage in stages]
    if not stages:
        notes.append(_NO_STAGES)
        nothing: Object = {}
        counts, stages = [len(requests)], [nothing]
    if sum(counts) != len(requests):
        raise LayoutError(f"its stages hold {sum(counts)} requests, and it has {len(requests)}")
    if not any(request.chunk_s for request in requests):
        notes.append(_WHOLE)
    levels: list[ForeignLevel] = []
    for stage, count in zip(stages, counts, strict=True):
        own, requests = requests[:count], requests[count:]
        if own:
            levels.append(_level(stage, own, config, notes, by_usage))
    return _imported("requests", levels, config, notes)


def read_summary(values: Object, config: Object) -> ImportedRun:
    """Sums only."""
    good, bad = within(values, "successes"), within(values, "failures")
    finished, failed = whole(good, "count"), whole(bad, "count")
    if finished is None:
        raise LayoutError("successes.count is missing")
    rates, latency = within(good, "throughput"), within(good, "latency")
    fallbacks = number(within(good, "client_fallback_requests"), "output")
    by_usage = fallbacks == 0
    request_s, e2e = number(rates, "requests_per_sec"), _spread(latency, "request_latency", finished)
    in_flight = request_s * e2e.mean if request_s is not None and e2e is not None and e2e.mean is not None else None
    stated = StatedFigures(
        finished=finished,
        failed=failed,
        duration_s=number(values, "benchmark_time_seconds"),
        output_tok_s=number(rates, "output_tokens_per_sec"),
        input_tok_s=number(rates, "input_tokens_per_sec"),
        request_s=request_s,
        mean_input_tokens=_mean(good, "prompt_tokens", "prompt_len"),
        mean_output_tokens=_mean(good, "output_tokens", "output_len"),
        mean_in_flight=in_flight,  # Little's law
        ttft=_spread(latency, "time_to_first_token", None),
        tpot=_spread(latency, "time_per_output_token", None),
        itl=_spread(latency, "inter_token_latency", None),
        e2e=e2e,
    )
    concurrency, rate = _load(values)
    notes = [_SENT] if by_usage else [_SENT, _OWN_COUNT]
    if concurrency is None and rate is None:
        concurrency = max(1, round(in_flight or 1))
        notes.append(f"The load is not in this file; it is taken for {concurrency} in flight, the mean.")
    level = ForeignLevel(
        concurrency=concurrency,
        rate=rate,
        arrivals=_arrivals(config) if rate is not None else None,
        stated=stated,
        tokens_by="usage" if by_usage else "tool",
        unknown=(*_CLIENT, "overloaded" if rate is not None else "unsteady"),
    )
    return _imported("totals", [level], config, notes)


def _level(
    stage: Object, requests: Sequence[ForeignRequest], config: Object, notes: list[str], by_usage: bool
) -> ForeignLevel:
    concurrency, rate = _load(stage)
    if concurrency is None and rate is None:
        concurrency = most_at_once(requests)
        notes.append(f"The load is taken for {concurrency} in flight, the most at any moment.")
    return ForeignLevel(
        concurrency=concurrency,
        rate=rate,
        arrivals=_arrivals(config) if rate is not None else None,
        requests=requests,
        tokens_by="usage" if by_usage else "tool",
        unknown=_CLIENT,
    )


def _load(stage: Object) -> tuple[int | None, float | None]:
    """How many were held in flight, or else the rate. A stage of a concurrency states as its rate how fast it asks."""
    load = within(stage, "load_summary")
    concurrency = whole(load, "concurrency") or None
    return concurrency, number(load, "requested_rate") or None if concurrency is None else None


def _arrivals(config: Object) -> str:
    """Its "constant" has exponential gaps, made to fill the stage: that is a Poisson process of a known number."""
    return "trace" if text(within(config, "load"), "type") == "trace_replay" else "poisson"


def _request(entry: Object) -> ForeignRequest:
    start, end = number(entry, "start_time"), number(entry, "end_time")
    if start is None or end is None:
        raise LayoutError("a request has no start_time or end_time")
    if entry.get("error"):
        error = within(entry, "error")
        said = f"{text(error, 'error_type') or ''}: {text(error, 'error_msg') or ''}".strip(": ")
        return ForeignRequest(start, start, end, None, status="unnamed", detail=said[:200] or None)
    info = within(entry, "info")
    # until 0.3 all of it stood in one object
    answer = within(info, "response_metrics") or info
    usage = _usage(entry)
    times = numbers(answer["output_token_times"]) if isinstance(answer.get("output_token_times"), list) else []
    cached = within(usage, "prompt_tokens_details")
    return ForeignRequest(
        due_s=start,
        sent_s=start,
        done_s=max([end, *times[-1:]]),
        first_token_s=times[0] if times else None,
        chunk_s=tuple(times),
        input_tokens=_first(usage, "prompt_tokens", "input_tokens")
        or whole(within(info, "request_metrics", "text") or info, "input_tokens"),
        cached_tokens=whole(cached, "cached_tokens"),
        output_tokens=_first(usage, "completion_tokens", "output_tokens") or whole(answer, "output_tokens"),
    )


def _usage(entry: Object) -> Object:
    info = within(entry, "info")
    return within(info, "response_metrics", "server_usage") or within(info, "extra_info", "server_usage")


def _first(values: Object, *keys: str) -> int | None:
    return next((found for key in keys if (found := whole(values, key)) is not None), None)


def _mean(values: Object, *keys: str) -> float | None:
    return next((found for key in keys if (found := number(within(values, key), "mean")) is not None), None)


def _spread(values: Object, key: str, count: int | None) -> StatedQuantiles | None:
    found = within(values, key)
    if number(found, "mean") is None:
        return None
    points = {name: number(found, name) for name in ("mean", "p90", "p95", "p99")}
    median = number(found, "median")
    return StatedQuantiles(count=count, p50=median if median is not None else number(found, "p50"), **points)


def _stages(file: ResultFile) -> list[Object]:
    """The sums of the stages beside a file, in order."""
    numbered = sorted(
        (int(found[1]), name) for name in file.names_beside() if (found := _STAGE.fullmatch(name)) is not None
    )
    return [values for _, name in numbered if (values := file.values_beside(name, is_summary))]


def _config(file: ResultFile) -> Object:
    """The configuration beside a file; empty where it is not there or cannot be read."""
    path = file.path.parent / _CONFIG
    try:
        found: Any = read_yaml(path) if is_regular(path) else {}
    except UserError:
        return {}
    return cast("Object", found) if isinstance(found, dict) else {}


def _imported(layout: str, levels: Sequence[ForeignLevel], config: Object, notes: Sequence[str]) -> ImportedRun:
    server = within(config, "server")
    kind = text(within(config, "api"), "type")
    endpoint: Literal["chat", "completions"] | None = None
    if kind in {"chat", "completion"}:
        endpoint = "chat" if kind == "chat" else "completions"
    return ImportedRun(
        tool="inference-perf",
        layout=layout,
        levels=levels,
        model=text(server, "model_name"),
        url=text(server, "base_url"),
        endpoint=endpoint,
        notes=tuple(dict.fromkeys(notes)),
    )
