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
LMDEPLOY = EngineSpec(
    name="lmdeploy",
    title="LMDeploy",
    label="LMDeploy",
    needs="a server that you started",
    url="http://HOST:23333",
    # lmdeploy/metrics/loggers.py, 0.10 on
    metrics={
        "output_tokens": ("lmdeploy:generation_tokens_total",),
        "running": ("lmdeploy:num_requests_running",),
        "waiting": ("lmdeploy:num_requests_waiting",),
        "kv_use": ("lmdeploy:gpu_cache_usage_perc",),
    },
    fingerprint=Fingerprint(owned_by=("lmdeploy",), metric_prefix="lmdeploy:"),
)
DYNAMO = EngineSpec(
    name="dynamo",
    title="NVIDIA Dynamo",
    label="Dynamo",
    needs="a server that you started",
    url="http://HOST:8000",
    # of its front end: what is queued there is a part of what is in flight (docs.nvidia.com/dynamo, metrics catalogue)
    metrics={
        "output_tokens": ("dynamo_frontend_output_tokens_total", "dynamo_frontend_output_sequence_tokens_sum"),
        "running": ("dynamo_frontend_inflight_requests",),
    },
    fingerprint=Fingerprint(metric_prefix="dynamo_frontend_"),
)
OPENAI = EngineSpec(
    name="openai",
    title="any OpenAI-compatible server or API",
    label="unknown engine",
    needs="its URL, and its key in a variable",
    url="URL",
    needs_key=True,
)
