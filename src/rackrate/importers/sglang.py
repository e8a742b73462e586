"""SGLang's `bench_serving` (--output-file): a result a line, with and without --output-details.

Keys as written by SGLang 0.3 to 0.5.23 (sglang/bench_serving.py, later sglang/benchmark/serving.py). No start times are
kept, so requests cannot be placed in time and only their latencies are used.
"""

from __future__ import annotations

from typing import Literal

from rackrate.importers.files import ResultFile
from rackrate.importers.latencies import Latencies, stated_totals
from rackrate.importers.results import (
    ForeignLevel,
    ImportedRun,
    LayoutError,
    Object,
    number,
    text,
    whole,
    within,
)

_TOKENS = (
    "SGLang bench takes output tokens from the server's usage where there is one, else those that were asked for; the "
    "file does not say which."
)
_FAILED = "SGLang bench does not keep how many requests failed (its detailed output does)."
_WHOLE = "Answers came in one piece (no streaming): there is no TTFT, TPOT or ITL."
_TRACE = "Requests were sent by the times of a trace; the rate shown is that of the answers."
_CLIENT = ("client-bound", "contended", "cold", "no-usage")

FILES = "SGLang `bench_serving` (.jsonl)"


def read(file: ResultFile) -> list[ImportedRun] | None:
    """A result a line. See `detect.Importer`."""
    if not file.lines or not all(is_sglang(line) for line in file.lines):
        return None
    return [read_sglang(line) for line in file.lines]


def is_sglang(values: Object) -> bool:
    """Whether it looks like a result of SGLang's bench: it alone counts the tokens a second time itself."""
    return {"request_throughput", "total_output_tokens", "total_output_tokens_retokenized"} <= set(values)


def read_sglang(values: Object) -> ImportedRun:
    """One result.

    Raises:
        LayoutError: what a result must have is missing.
    """
    finished = whole(values, "completed")
    if finished is None:
        raise LayoutError("completed is missing")
    notes = [_TOKENS]
    latencies = Latencies(values) if "ttfts" in values and "itls" in values else None
    failed = None if latencies is None else len(latencies.ok) - sum(latencies.ok)
    if failed is None:
        notes.append(_FAILED)
    rate, concurrency = number(values, "request_rate"), whole(values, "max_concurrency")
    by_trace = text(values, "request_rate") == "trace"
    if by_trace:
        rate = number(values, "request_throughput")
        notes.append(_TRACE)
    if rate is None and concurrency is None:
        concurrency = finished + (failed or 0) or 1
        notes.append(f"All {concurrency} requests were sent at once.")
    elif rate is not None and concurrency is not None:
        notes.append(f"No more than {concurrency} requests were let out at a time, so the loop was not fully open.")
    stated = stated_totals(values, finished, failed, latencies, e2e_name="e2e_latency")
    if (in_flight := number(values, "concurrency")) is not None:
        stated = stated.model_copy(update={"mean_in_flight": in_flight})
    if stated.tpot is not None and stated.tpot.mean == 0.0:
        stated = stated.model_copy(update={"ttft": None, "tpot": None, "itl": None})
        notes.append(_WHOLE)
    level = ForeignLevel(
        concurrency=concurrency if rate is None else None,
        rate=rate,
        arrivals=None if rate is None else "trace" if by_trace else "poisson",
        stated=stated,
        unknown=(*_CLIENT, "overloaded" if rate is not None else "unsteady", *(["errors"] if failed is None else [])),
    )
    server = within(values, "server_info")
    fixed = number(values, "random_range_ratio") == 1.0 and (text(values, "dataset_name") or "").startswith("random")
    backend = text(values, "backend") or ""
    return ImportedRun(
        tool="SGLang bench_serving",
        layout="totals" if latencies is None else "detailed, without start times",
        levels=[level],
        model=text(server, "served_model_name") or text(server, "model_path"),
        engine="SGLang" if backend.startswith("sglang") else None,
        endpoint=_endpoint(backend),
        input_tokens=whole(values, "random_input_len") if fixed else None,
        output_tokens=whole(values, "random_output_len") if fixed else None,
        notes=tuple(notes),
    )


def _endpoint(backend: str) -> Literal["chat", "completions"] | None:
    if backend.endswith("chat"):
        return "chat"
    return "completions" if backend in {"sglang-oai", "vllm", "lmdeploy", "truss"} else None
