"""OpenAI's usage exports and usage API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rackrate.workload.usage_format import Bucket, UsageLayout, UsagePages, is_batch, number

LAYOUTS = (
    # usage of completions: the export of the usage page has the fields of GET /organization/usage/completions, whose
    # reference says that input_tokens includes cached and (since 2026) cache-write tokens (OpenAI API reference, Usage)
    UsageLayout(
        "OpenAI usage export", "start_time", "end_time", ("num_model_requests",), ("input_tokens",),
        ("input_cached_tokens",), ("output_tokens",), ("model",), written=("input_cache_write_tokens",),
        batch=("batch",), empty=("start_time", "end_time", "start_time_iso", "end_time_iso"),
    ),
    # the activity export of before 2025
    UsageLayout(
        "OpenAI activity export", "timestamp", None, ("n_requests",), ("n_context_tokens_total",),
        ("n_cached_context_tokens_total",), ("n_generated_tokens_total",), ("model", "snapshot_id"),
    ),
)  # fmt: skip


def _rows(entry: Mapping[str, Any]) -> Iterator[tuple[str, Bucket]]:
    begin = datetime.fromtimestamp(entry["start_time"], UTC)
    end = datetime.fromtimestamp(entry["end_time"], UTC)
    yield "", Bucket(begin, end, 0.0, 0.0, 0.0, 0.0)
    for row in entry["results"]:
        yield (
            str(row.get("model") or ""),
            Bucket(
                begin, end, number(row, "num_model_requests"), number(row, "input_tokens"),
                number(row, "input_cached_tokens"), number(row, "output_tokens"),
                written=number(row, "input_cache_write_tokens"), batch=is_batch(row.get("batch")),
            ),
        )  # fmt: skip


PAGES = UsagePages(
    "OpenAI usage API", "start_time", "start_time, end_time and results[]", _rows, has_requests=True,
    cached_key="input_cached_tokens", input_key="input_tokens",
)  # fmt: skip
