"""genai-perf: profile_export.json (what perf_analyzer received, piece by piece) and profile_export_genai_perf.json.

Timestamps are nanoseconds. The pieces hold the raw events, so they are decoded as our own client decodes them.
"""

from __future__ import annotations

from typing import Any, Literal

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
    objects,
    text,
    utc,
    whole,
    within,
)
from rackrate.measurement.sse import decode
from rackrate.runs.records import StatedFigures, StatedQuantiles

_DECODED = (
    "genai-perf's first token is the first chunk of any kind; here the chunks were decoded again, and TTFT counts to "
    "the first text."
)
_NO_USAGE = "genai-perf asked for no usage (--extra-inputs stream_options): its pieces are counted instead of tokens."
_RETOKENISED = "genai-perf counts tokens by its own tokenizer, without special tokens and the chat template."
_ROLE = "genai-perf takes the first chunk for the first token, even if it only names the role."
_CLIENT = ("client-bound", "contended", "cold")

FILES = "genai-perf (profile_export.json, profile_export_genai_perf.json)"
_EXPORT, _SUMMARY = "profile_export.json", "profile_export_genai_perf.json"


def read(file: ResultFile) -> list[ImportedRun] | None:
    """The requests where their file is this one or lies beside, else the sums. See `detect.Importer`."""
    if is_genai_perf_export(file.values):
        return [read_genai_perf_export(file.values, file.values_beside(_SUMMARY, is_genai_perf_summary))]
    if not is_genai_perf_summary(file.values):
        return None
    export = file.beside(_EXPORT) if file.path.name == _SUMMARY else None
    return [read_genai_perf_export(export.values, file.values) if export else read_genai_perf_summary(file.values)]


def is_genai_perf_export(values: Object) -> bool:
    """Whether it looks like profile_export.json."""
    listed = objects(values.get("experiments"))
    return bool(listed) and all("experiment" in entry and "requests" in entry for entry in listed)


def is_genai_perf_summary(values: Object) -> bool:
    """Whether it looks like profile_export_genai_perf.json."""
    return "input_config" in values and "request_latency" in values and "output_sequence_length" in values


def read_genai_perf_export(values: Object, summary: Object) -> ImportedRun:
    """A level per experiment; the summary beside the file names the model (empty where there is none).

    Raises:
        LayoutError: a request without its times.
    """
    levels: list[ForeignLevel] = []
    model: str | None = None
    started: float | None = None
    for experiment in objects(values["experiments"]):
        mode = text(within(experiment, "experiment"), "mode")
        value = number(within(experiment, "experiment"), "value")
        asked = objects(experiment.get("requests"))
        requests = [_request(demand) for demand in asked]
        if asked and model is None:
            model = _model(asked[0])
        if requests and started is None:
            started = requests[0].sent_s
        open_loop = mode == "request_rate" and value is not None
        in_flight = int(value) if mode == "concurrency" and value else most_at_once(requests)
        levels.append(
            ForeignLevel(
                concurrency=None if open_loop else in_flight,
                rate=value if open_loop else None,
                arrivals="constant" if open_loop else None,
                requests=requests,
                tokens_by="usage",
                unknown=_CLIENT,
            )
        )  # fmt: skip
    usage = all(
        request.output_tokens is not None for level in levels for request in level.requests if request.status == "ok"
    )
    return _foreign(summary, "requests", levels, [_DECODED, *([] if usage else [_NO_USAGE])], model, started, values)


def read_genai_perf_summary(values: Object) -> ImportedRun:
    """Sums only."""
    stimulus = within(values, "input_config", "perf_analyzer", "stimulus")
    finished = whole(within(values, "request_count"), "avg")
    rate, concurrency = number(stimulus, "request_rate"), whole(stimulus, "concurrency")
    if finished is None:
        raise LayoutError("request_count is missing")
    if rate is None and concurrency is None:
        raise LayoutError("its configuration states neither a concurrency nor a request rate")
    request_s, into = _mean(values, "request_throughput"), _mean(values, "input_sequence_length")
    latency_ms = _mean(values, "request_latency")
    stated = StatedFigures(
        finished=finished,
        output_tok_s=_mean(values, "output_token_throughput"),
        input_tok_s=request_s * into if request_s is not None and into is not None else None,
        request_s=request_s,
        mean_input_tokens=into,
        mean_output_tokens=_mean(values, "output_sequence_length"),
        # Little's law: requests in flight = rate x time in the system
        mean_in_flight=request_s * latency_ms / 1e3 if request_s is not None and latency_ms is not None else None,
        ttft=_spread(values, "time_to_first_token"),
        tpot=_spread(values, "inter_token_latency"),  # genai-perf calls TPOT so: a mean per request
        e2e=_spread(values, "request_latency"),
    )
    level = ForeignLevel(
        concurrency=concurrency if rate is None else None,
        rate=rate,
        arrivals="constant" if rate is not None else None,
        stated=stated,
        tokens_by="tool",
        unknown=(*_CLIENT, "errors", "overloaded" if rate is not None else "unsteady"),
    )
    return _foreign(values, "totals", [level], [_ROLE, _RETOKENISED], None, None, {})


def _request(values: Object) -> ForeignRequest:
    start = number(values, "timestamp")
    times = numbers(values.get("response_timestamps"))
    outputs = objects(values.get("response_outputs"))
    if start is None or len(times) != len(outputs) or times != sorted(times):
        raise LayoutError("a request has no timestamp, or not one for each of its responses")
    sent_s = start / 1e9
    # whole nanoseconds do not fit a float: what counts is the distance to the start
    pieces = [
        (sent_s + (moment - start) / 1e9, (text(output, "response") or "").encode())
        for moment, output in zip(times, outputs, strict=True)
    ]
    done_s = pieces[-1][0] if pieces else sent_s
    answer = decode(pieces)
    return ForeignRequest(
        due_s=sent_s,
        sent_s=sent_s,
        done_s=done_s,
        first_token_s=answer.chunk_s[0] if answer.chunk_s else None,
        chunk_s=answer.chunk_s,
        status=answer.status,
        detail=answer.detail,
        input_tokens=answer.input_tokens,
        cached_tokens=answer.cached_tokens,
        output_tokens=answer.output_tokens,
        finish_reason=answer.finish_reason,
    )


def _model(request: Object) -> str | None:
    import orjson

    payload = text(within(request, "request_inputs"), "payload")
    try:
        found: Any = orjson.loads(payload) if payload else None
    except orjson.JSONDecodeError:
        return None
    return text(within(found), "model")


def _mean(values: Object, key: str) -> float | None:
    return number(within(values, key), "avg")


def _spread(values: Object, key: str) -> StatedQuantiles | None:
    found = within(values, key)
    mean = number(found, "avg")
    if mean is None:
        return None

    def seconds(name: str) -> float | None:
        value = number(found, name)
        return value / 1e3 if value is not None else None

    return StatedQuantiles(
        mean=mean / 1e3, p50=seconds("p50"), p90=seconds("p90"), p95=seconds("p95"), p99=seconds("p99")
    )


def _foreign(
    summary: Object,
    layout: str,
    levels: list[ForeignLevel],
    notes: list[str],
    model: str | None,
    started_s: float | None,
    export: Object,
) -> ImportedRun:
    given = within(summary, "input_config")
    names = given.get("model_names")
    if model is None and isinstance(names, list) and names:
        model = str(names[0])  # pyright: ignore[reportUnknownArgumentType]
    endpoint: Literal["chat", "completions"] | None = None
    kind = text(within(given, "endpoint"), "type") or text(export, "endpoint") or ""
    if "completions" in kind or kind == "chat":
        endpoint = "chat" if "chat" in kind else "completions"
    lengths = within(given, "input")
    # a clock that counts from 1970; some builds of perf_analyzer count from the start of the machine
    dated = started_s is not None and started_s > 1e9
    return ImportedRun(
        tool="genai-perf",
        layout=layout,
        levels=levels,
        created=utc(started_s) if dated else None,
        model=model,
        url=text(within(given, "endpoint"), "url"),
        endpoint=endpoint,
        input_tokens=whole(within(lengths, "synthetic_tokens"), "mean"),
        output_tokens=whole(within(lengths, "output_tokens"), "mean"),
        notes=tuple(notes),
    )
