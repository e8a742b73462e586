"""Which engine is behind a URL, by what it says of itself."""

from __future__ import annotations

from typing import Any

from rackrate.measure.http import Client
from rackrate.measure.loose_json import as_object, as_text, parse
from rackrate.records import OK

_OWNERS = {"llamacpp": "llama.cpp", "vllm": "vLLM", "sglang": "SGLang", "library": "Ollama"}
_METRIC_PREFIXES = {
    "vllm:": "vLLM",
    "sglang:": "SGLang",
    "llamacpp:": "llama.cpp",
    "tgi_": "Text Generation Inference",
}


async def identify(client: Client, served: dict[str, Any]) -> tuple[str, str | None]:
    """The engine's name and version; "unknown engine" where nothing tells.

    Looked at: `owned_by` of /v1/models, the metric names of /metrics, /version (vLLM's way).
    """
    name = _OWNERS.get(str(served.get("owned_by", "")).lower())
    metrics = await client.exchange(client.request("GET", "/metrics"))
    if name is None and metrics.status == OK and metrics.http_status == 200:
        text = metrics.body[:200_000].decode("utf-8", "replace")
        name = next((engine for prefix, engine in _METRIC_PREFIXES.items() if f"\n{prefix}" in text), None)
    version = None
    if name in {"vLLM", "SGLang"}:
        answer = await client.exchange(client.request("GET", "/version"))
        if answer.status == OK and answer.http_status == 200:
            version = as_text(as_object(parse(answer.body)).get("version")) or None
    return name or "unknown engine", version
