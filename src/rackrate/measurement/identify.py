"""Which engine is behind a URL, by what it says of itself."""

from __future__ import annotations

from typing import Any

from rackrate.engines import known
from rackrate.engines.spec import EngineSpec
from rackrate.measurement.http import Client
from rackrate.measurement.lenient_json import as_object, as_text, parse
from rackrate.runs.statuses import OK


async def identify(client: Client, served: dict[str, Any]) -> tuple[str, str | None]:
    """The engine's name and version; "unknown engine" where nothing tells.

    Looked at, in this order: `owned_by` of /v1/models, the metric names of /metrics, and pages that one engine alone
    has (`Fingerprint`).
    """
    owner = str(served.get("owned_by", "")).lower()
    spec = next((spec for spec in known.ENGINES if owner in spec.fingerprint.owned_by), None)
    spec = spec or await _by_metrics(client) or await _by_pages(client)
    if spec is None:
        return "unknown engine", None
    for page in spec.fingerprint.version_pages:
        version = as_text((await _json(client, page)).get("version"))
        if version:
            return spec.label, version
    return spec.label, None


async def _by_metrics(client: Client) -> EngineSpec | None:
    metrics = await client.exchange(client.request("GET", "/metrics"))
    if metrics.status != OK or metrics.http_status != 200:
        return None
    text = "\n" + metrics.body[:200_000].decode("utf-8", "replace")
    for spec in known.ENGINES:
        prefix = spec.fingerprint.metric_prefix
        plain = prefix.replace(":", "_") if prefix is not None else None
        if any(f"\n{begin}" in text for begin in (prefix, plain, f"ray_{plain}") if prefix is not None):
            return spec
    return None


async def _by_pages(client: Client) -> EngineSpec | None:
    for spec in known.ENGINES:
        page = spec.fingerprint.page
        if page is not None and (answer := await _json(client, page)) and spec.fingerprint.on_page(answer):
            return spec
    return None


async def _json(client: Client, page: str) -> dict[str, Any]:
    """A page as a JSON object; empty where there is none."""
    answer = await client.exchange(client.request("GET", page))
    if answer.status != OK or answer.http_status != 200:
        return {}
    return as_object(parse(answer.body))
