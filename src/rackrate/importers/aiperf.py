"""aiperf: profile_export.jsonl (a line a request) and profile_export_aiperf.json (sums and the configuration).

Times are nanoseconds since 1970 and milliseconds (aiperf 0.2 to 0.13).
"""

from __future__ import annotations

from collections.abc import Sequence
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
    whole,
    within,
)
from rackrate.runs.records import StatedFigures, StatedQuantiles

_TTFT = "aiperf's TTFT counts from when it began a request, the making of a connection included."
_ISL = (
    "aiperf's input and output lengths are its own tokenizer's, without the chat template; the server's usage is taken "
    "here where aiperf recorded it."
)
_OWN_COUNT = "The server sent no usage: output tokens are those of aiperf's tokenizer."
_DUE = "Due is when aiperf issued a request's credit: what it waited in aiperf counts in TTFT."
_NO_JSON = "How the load was made is in profile_export_aiperf.json, which is not beside this file."
_CLIENT = ("client-bound", "contended", "cold")

FILES = "aiperf (profile_export.jsonl, profile_export_aiperf.json)"
_RECORDS, _SUMMARY = "profile_export.jsonl", "profile_export_aiperf.json"


def read(file: ResultFile) -> list[ImportedRun] | None:
    """The requests where their file is this one or lies beside, else the sums. See `detect.Importer`."""
    if is_aiperf_summary(file.values):
        records = file.beside(_RECORDS) if file.path.name == _SUMMARY else None
        return [read_aiperf_records(records.lines, file.values) if records else read_aiperf_summary(file.values)]
    if not file.lines or not all(is_aiperf_record(line) for line in file.lines):
        return None
    return [read_aiperf_records(file.lines, file.values_beside(_SUMMARY, is_aiperf_summary))]


def is_aiperf_record(values: Object) -> bool:
    """Whether it looks like a line of profile_export.jsonl."""
    return "request_start_ns" in within(values, "metadata") and "metrics" in values


def is_aiperf_summary(values: Object) -> bool:
    """Whether it looks like profile_export_aiperf.json."""
    return {"input_config", "request_latency", "request_count"} <= set(values) and (
        # older ones do not name their version
        "aiperf_version" in values or "benchmark_duration" in values
    )


def read_aiperf_records(lines: Sequence[Object], summary: Object) -> ImportedRun:
    """Requests, with the summary beside them (empty where there is none).

    Raises:
        LayoutError: a line without its times.
    """
    facts = _facts(summary)
    lines = [line for line in lines if text(within(line, "metadata"), "benchmark_phase") != "warmup"]
    requests = [_request(line, is_open=facts.rate is not None) for line in lines]
    counted = ["usage_completion_tokens" in within(line, "metrics") for line in lines if not line.get("error")]
    tokens_by: Literal["usage", "tool"] = "usage" if counted and all(counted) else "tool"
    notes = [_TTFT, _ISL, *([_OWN_COUNT] if tokens_by == "tool" else []), *([_DUE] if facts.rate is not None else [])]
    concurrency = facts.concurrency
    if not summary:
        notes.append(_NO_JSON)
    if concurrency is None and facts.rate is None:
        concurrency = most_at_once(requests)
        notes.append(f"The load is taken for {concurrency} in flight, the most at any moment.")
    level = ForeignLevel(
        concurrency=concurrency if facts.rate is None else None,
        rate=facts.rate,
        arrivals=facts.arrivals,
        requests=requests,
        tokens_by=tokens_by,
        unknown=_CLIENT,
    )
    return facts.foreign("requests", level, notes)


def read_aiperf_summary(values: Object) -> ImportedRun:
    """Sums only."""
    facts = _facts(values)
    finished = whole(within(values, "request_count"), "avg")
    if finished is None:
        raise LayoutError("request_count is missing")
    by_usage = "usage_completion_tokens" in values
    out = _mean(values, "usage_completion_tokens" if by_usage else "output_sequence_length")
    into = _mean(values, "usage_prompt_tokens" if "usage_prompt_tokens" in values else "input_sequence_length")
    request_s = _mean(values, "request_throughput")
    stated = StatedFigures(
        finished=finished,
        failed=whole(within(values, "error_request_count"), "avg") or 0,
        duration_s=_mean(values, "benchmark_duration"),
        output_tok_s=request_s * out if by_usage and request_s and out else _mean(values, "output_token_throughput"),
        input_tok_s=request_s * into if request_s is not None and into is not None else None,
        request_s=request_s,
        mean_input_tokens=into,
        mean_output_tokens=out,
        mean_in_flight=_mean(values, "effective_concurrency"),
        ttft=_spread(values, "time_to_first_token"),
        tpot=_spread(values, "inter_token_latency"),  # aiperf calls TPOT so: a mean per request
        itl=_spread(values, "inter_chunk_latency"),
        e2e=_spread(values, "request_latency"),
    )
    level = ForeignLevel(
        concurrency=facts.concurrency if facts.rate is None else None,
        rate=facts.rate,
        arrivals=facts.arrivals,
        stated=stated,
        tokens_by="usage" if by_usage else "tool",
        unknown=(*_CLIENT, "overloaded" if facts.rate is not None else "unsteady"),
    )
    if level.concurrency is None and level.rate is None:
        raise LayoutError("its configuration states neither a concurrency nor a rate")
    return facts.foreign("totals", level, [_TTFT, *([] if by_usage else [_OWN_COUNT])])


def _request(line: Object, *, is_open: bool) -> ForeignRequest:
    about, metrics = within(line, "metadata"), within(line, "metrics")
    start, end = number(about, "request_start_ns"), number(about, "request_end_ns")
    if start is None or end is None:
        raise LayoutError("a request has no request_start_ns or request_end_ns")
    # whole nanoseconds do not fit a float: what counts is the distance to the start
    sent_s, done_s = start / 1e9, start / 1e9 + (end - start) / 1e9
    credit = number(about, "credit_issued_ns")
    due_s = sent_s - max(0.0, start - credit) / 1e9 if is_open and credit is not None else sent_s
    error = within(line, "error")
    if error or about.get("was_cancelled") is True:
        return ForeignRequest(
            due_s, sent_s, done_s, None,
            status="stopped" if about.get("was_cancelled") is True else _fault(whole(error, "code")),
            detail=(text(error, "message") or "")[:200] or None,
        )  # fmt: skip
    ttft_ms = _value(metrics, "time_to_first_token")
    gaps = within(metrics, "inter_chunk_latency").get("value")
    pieces: list[float] = []
    if ttft_ms is not None and isinstance(gaps, list):
        moment = sent_s + ttft_ms / 1e3
        pieces.append(moment)
        for gap in gaps:  # pyright: ignore[reportUnknownVariableType]
            moment += gap / 1e3 if isinstance(gap, int | float) else 0.0
            pieces.append(moment)
    return ForeignRequest(
        due_s=due_s,
        sent_s=sent_s,
        done_s=max(done_s, pieces[-1]) if pieces else done_s,
        first_token_s=sent_s + ttft_ms / 1e3 if ttft_ms is not None else None,
        chunk_s=tuple(pieces),
        input_tokens=_tokens(metrics, "usage_prompt_tokens", "input_sequence_length"),
        cached_tokens=_tokens(metrics, "usage_prompt_cache_read_tokens"),
        output_tokens=_tokens(metrics, "usage_completion_tokens", "output_sequence_length"),
    )


def _fault(code: int | None) -> str:
    if code is None:
        return "unnamed"
    if code == 429:
        return "http-429"
    return {4: "http-4xx", 5: "http-5xx"}.get(code // 100, "unnamed")


def _value(metrics: Object, key: str) -> float | None:
    return number(within(metrics, key), "value")


def _tokens(metrics: Object, *keys: str) -> int | None:
    for key in keys:
        found = whole(within(metrics, key), "value")
        if found is not None:
            return found
    return None


def _mean(values: Object, key: str) -> float | None:
    return number(within(values, key), "avg")


def _spread(values: Object, key: str) -> StatedQuantiles | None:
    found = within(values, key)
    points = {name: number(found, name) for name in ("p50", "p90", "p95", "p99")}
    mean = number(found, "avg")
    if mean is None:
        return None
    return StatedQuantiles(
        count=whole(found, "count"),
        mean=mean / 1e3,
        **{name: value / 1e3 if value is not None else None for name, value in points.items()},
    )


class _Facts:
    """What the summary says of the load and the server."""

    def __init__(self, summary: Object) -> None:
        given = within(summary, "input_config")
        phases = [entry for entry in objects(given.get("phases")) if entry.get("kind", entry.get("name")) != "warmup"]
        load = phases[0] if phases else within(given, "loadgen")
        endpoint = within(given, "endpoint")
        self.version = text(summary, "aiperf_version")
        self.created = text(summary, "start_time")
        self.rate = number(load, "request_rate") or number(load, "rate")
        self.concurrency = whole(load, "concurrency")
        pattern = text(load, "arrival_pattern") or text(load, "request_rate_mode") or text(load, "type")
        known = pattern if pattern in {"poisson", "constant", "gamma"} else "poisson"
        self.arrivals = known if self.rate is not None else None
        models = objects(within(given, "models").get("items"))
        names = endpoint.get("model_names")
        self.model = text(models[0], "name") if models else None
        if self.model is None and isinstance(names, list) and names:
            self.model = str(names[0])  # pyright: ignore[reportUnknownArgumentType]
        urls = endpoint.get("urls")
        self.url = str(urls[0]) if isinstance(urls, list) and urls else text(endpoint, "url")  # pyright: ignore[reportUnknownArgumentType]
        kind = text(endpoint, "type")
        self.endpoint: Literal["chat", "completions"] | None = None
        if kind in {"chat", "completions"}:
            self.endpoint = "chat" if kind == "chat" else "completions"
        prompts = within((objects(given.get("datasets")) or [{}])[0], "prompts") or within(given, "input", "prompt")
        self.input_tokens = whole(within(prompts, "isl"), "mean") or whole(within(prompts, "input_tokens"), "mean")
        self.output_tokens = whole(within(prompts, "osl"), "mean") or whole(within(prompts, "output_tokens"), "mean")

    def foreign(self, layout: str, level: ForeignLevel, notes: Sequence[str]) -> ImportedRun:
        """Together with the level."""
        return ImportedRun(
            tool="aiperf",
            version=self.version,
            layout=layout,
            levels=[level],
            created=self.created,
            model=self.model,
            url=self.url,
            endpoint=self.endpoint,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            notes=tuple(notes),
        )


def _facts(summary: Object) -> _Facts:
    return _Facts(summary)
