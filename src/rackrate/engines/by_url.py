"""Servers that the user starts, of which rackrate knows no more than how to tell them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from rackrate.engines.spec import EngineSpec, Fingerprint


def _lists_formats(page: Mapping[str, Any]) -> bool:
    """LM Studio says of each model whether it is GGUF or MLX."""
    models = page.get("data")
    first = cast("list[object]", models)[0] if isinstance(models, list) and models else None
    return isinstance(first, dict) and "compatibility_type" in first


OLLAMA = EngineSpec(
    name="ollama",
    title="Ollama",
    label="Ollama",
    needs="a server that you started",
    url="http://HOST:11434",
    fingerprint=Fingerprint(
        owned_by=("library",),  # the namespace of models from its own library
        page="/api/version",
        on_page=lambda page: isinstance(version := page.get("version"), str) and bool(version),
        version_pages=("/api/version",),
    ),
)
LM_STUDIO = EngineSpec(
    name="lmstudio",
    title="LM Studio",
    label="LM Studio",
    needs="a server that you started",
    url="http://HOST:1234",
    fingerprint=Fingerprint(owned_by=("organization_owner",), page="/api/v0/models", on_page=_lists_formats),
)
OPENAI = EngineSpec(
    name="openai",
    title="any OpenAI-compatible server or API",
    label="unknown engine",
    needs="its URL, and its key in a variable",
    url="URL",
    needs_key=True,
)
