"""Which engine is behind a URL, by what it says of itself."""

from __future__ import annotations

from typing import Any

from rackrate.measure.http import Client
from rackrate.measure.lenient_json import as_list, as_object, as_text, parse
from rackrate.runs.statuses import OK

_OWNERS = {
    "llamacpp": "llama.cpp",
    "vllm": "vLLM",
    "sglang": "SGLang",
    "library": "Ollama",  # the namespace of models from its own library
    "organization_owner": "LM Studio",
    "rackrate-naive": "naive transformers",
}
"""`owned_by` of /v1/models."""
_METRIC_PREFIXES = {
    "vllm:": "vLLM",
    "sglang:": "SGLang",
    "llamacpp:": "llama.cpp",
    "tgi_": "Text Generation Inference",
}
_VERSION_PAGES = {
    "vLLM": ("/version",),
    "SGLang": ("/server_info", "/get_server_info"),
    "Ollama": ("/api/version",),
    "Text Generation Inference": ("/info",),
}
"""Pages whose JSON has a `version`."""


async def identify(client: Client, served: dict[str, Any]) -> tuple[str, str | None]:
    """The engine's name and version; "unknown engine" where nothing tells.

    Looked at, in this order: `owned_by` of /v1/models, the metric names of /metrics, and pages that one engine alone
    has (/info of TGI, /api/version of Ollama, /api/v0/models of LM Studio).
    """
    name = _OWNERS.get(str(served.get("owned_by", "")).lower())
    if name is None:
        name = await _by_metrics(client) or await _by_pages(client)
    for page in _VERSION_PAGES.get(name or "", ()):
        version = as_text((await _json(client, page)).get("version"))
        if version:
            return name or "", version
    return name or "unknown engine", None


async def _by_metrics(client: Client) -> str | None:
    metrics = await client.exchange(client.request("GET", "/metrics"))
    if metrics.status != OK or metrics.http_status != 200:
        return None
    text = "\n" + metrics.body[:200_000].decode("utf-8", "replace")
    return next((engine for prefix, engine in _METRIC_PREFIXES.items() if f"\n{prefix}" in text), None)


async def _by_pages(client: Client) -> str | None:
    info = await _json(client, "/info")
    if "text-generation" in as_text(info.get("router")) or ("model_id" in info and "max_total_tokens" in info):
        return "Text Generation Inference"
    if as_text((await _json(client, "/api/version")).get("version")):
        return "Ollama"
    models = as_list((await _json(client, "/api/v0/models")).get("data"))
    if models and "compatibility_type" in as_object(models[0]):  # gguf or mlx
        return "LM Studio"
    return None


async def _json(client: Client, page: str) -> dict[str, Any]:
    """A page as a JSON object; empty where there is none."""
    answer = await client.exchange(client.request("GET", page))
    if answer.status != OK or answer.http_status != 200:
        return {}
    return as_object(parse(answer.body))
