"""OpenRouter's activity export and activity API. Its export of single generations is read as recorded requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rackrate.workload.usage_format import Bucket, UsageLayout, UsagePages, number, utc_moment

LAYOUTS = (
    # the activity page's export: a day and model a row; reasoning tokens are part of the completion
    UsageLayout(
        "OpenRouter activity export", "Date", None, ("Requests",), ("Prompt Tokens",), (), ("Completion Tokens",),
        ("Slug", "Model"),
    ),
)  # fmt: skip


def _rows(entry: Mapping[str, Any]) -> Iterator[tuple[str, Bucket]]:
    """GET /api/v1/activity: a day, model and endpoint an entry."""
    yield (
        str(entry.get("model") or ""),
        Bucket(
            utc_moment(entry["date"]), None, number(entry, "requests"), number(entry, "prompt_tokens"), None,
            number(entry, "completion_tokens"),
        ),
    )  # fmt: skip


PAGES = UsagePages(
    "OpenRouter activity API", "date", "date, requests, prompt_tokens and completion_tokens", _rows, has_requests=True,
    cached_key="", input_key="prompt_tokens",
)  # fmt: skip
