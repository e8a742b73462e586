"""Memory fits as plain JSON-able values. docs/json.md describes them."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rackrate.app.checking import Fits
    from rackrate.memory.fit import Fit

SCHEMA = "rackrate.fit/1"


def fits_view(found: Fits) -> dict[str, Any]:
    """The model, and its fit on each machine."""
    model = found.read.architecture
    return {
        "schema": SCHEMA,
        "model": {
            "name": model.name,
            "origin": model.origin,
            "parameters": model.parameters.total,
            "active_parameters": model.active_parameters,
            "parameters_by_kind": asdict(model.parameters),
            "layers": model.layers,
            "hidden_size": model.hidden_size,
            "heads": model.heads,
            "kv_heads": model.kv_heads,
            "head_dim": model.head_dim,
            "vocabulary": model.vocabulary,
            "context_tokens": model.context_tokens,
            "experts": None if model.experts is None else asdict(model.experts),
            "caches": [asdict(group) for group in model.caches],
            "published_format": model.native_weights,
            "weights_file_bytes": found.read.weights_file_bytes,
            "notes": list(found.read.notes),
        },
        "origin": "predicted",
        "engine": found.engine.name,
        "everywhere": found.everywhere,
        "bits_per_weight": found.bits_per_weight,
        "fits": [
            {
                **_fit_view(place.fit),
                "remedies": [{"kind": way.kind, "text": way.text, **_fit_view(way.fit)} for way in place.remedies],
            }
            for place in found.places
        ],
    }


def _fit_view(found: Fit) -> dict[str, Any]:
    values = {field.name: getattr(found, field.name) for field in fields(found) if field.name != "stage"}
    return {**values, "accelerators": found.accelerators, "spare_bytes": found.spare_bytes}
