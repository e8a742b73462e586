"""Exports of API usage that are known: a file a seller, and a line here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rackrate.workload import usage_anthropic, usage_openai, usage_openrouter
from rackrate.workload.usage_format import UsageLayout, UsagePages

USAGE_LAYOUTS: tuple[UsageLayout, ...] = (
    *usage_openai.LAYOUTS,
    *usage_anthropic.LAYOUTS,
    *usage_openrouter.LAYOUTS,
)
"""Columns of real exports, as their publishers document them or as users of them publish them."""
USAGE_PAGES: tuple[UsagePages, ...] = (usage_openai.PAGES, usage_anthropic.PAGES, usage_openrouter.PAGES)
"""Answers of usage APIs, in JSON."""
KNOWN_EXPORTS = "OpenAI (usage or activity CSV, usage API), Anthropic (Console CSV, usage report API), OpenRouter \
(activity CSV or API, generations CSV)"
"""For refusals."""


def usage_layout(columns: Sequence[str]) -> UsageLayout | None:
    """Whose export has these columns; None where it is nobody's."""
    return next((layout for layout in USAGE_LAYOUTS if layout.fits(columns)), None)


def usage_pages(entry: dict[str, Any]) -> UsagePages | None:
    """Whose usage API answers with such an entry of its `data`; None: nobody's."""
    return next((pages for pages in USAGE_PAGES if pages.begin in entry), None)
