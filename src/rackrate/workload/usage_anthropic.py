"""Anthropic's usage export and usage report API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rackrate.workload.usage_format import Bucket, UsageLayout, UsagePages, is_batch, longer_than, number, utc_moment

LAYOUTS = (
    # the Console's usage export: a day a row, input by how the cache took part, no number of requests
    UsageLayout(
        "Anthropic usage export", "usage_date_utc", None, (),
        ("usage_input_tokens_no_cache", "usage_input_tokens_cache_write_5m", "usage_input_tokens_cache_write_1h",
         "usage_input_tokens_cache_read"),
        ("usage_input_tokens_cache_read",), ("usage_output_tokens",), ("model_version",),
        written=("usage_input_tokens_cache_write_5m",), written_1h=("usage_input_tokens_cache_write_1h",),
        batch=("usage_type",), context=("context_window",),
    ),
)  # fmt: skip


def _rows(entry: Mapping[str, Any]) -> Iterator[tuple[str, Bucket]]:
    """GET /v1/organizations/usage_report/messages: input apart by how the cache took part, no number of requests."""
    begin, end = utc_moment(entry["starting_at"]), utc_moment(entry["ending_at"])
    yield "", Bucket(begin, end, None, 0.0, 0.0, 0.0)
    for row in entry["results"]:
        read = number(row, "cache_read_input_tokens")
        written = number(row, "cache_creation", "ephemeral_5m_input_tokens")
        written_1h = number(row, "cache_creation", "ephemeral_1h_input_tokens")
        yield (
            str(row.get("model") or ""),
            Bucket(
                begin, end, None, number(row, "uncached_input_tokens") + read + written + written_1h, read,
                number(row, "output_tokens"), written=written, written_1h=written_1h,
                batch=is_batch(row.get("service_tier")), longer_than=longer_than(row.get("context_window")),
            ),
        )  # fmt: skip


PAGES = UsagePages(
    "Anthropic usage report", "starting_at", "starting_at, ending_at and results[]", _rows, has_requests=False,
    cached_key="cache_read_input_tokens", input_key="input tokens",
)  # fmt: skip
