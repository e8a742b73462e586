"""What every `--json` output holds, as types: docs/schemas (JSON Schema) and docs/json.md are written from them."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

from rackrate.schemas.root import OPTIONAL, Root

Json = dict[str, Any]


@dataclass(frozen=True)
class Output:
    """A JSON output of a command."""

    schema: str
    """As the output names it."""
    kind: str
    """Its type: module and name, below this package."""


OUTPUTS: tuple[Output, ...] = (
    Output("rackrate.run-summary/2", "costs.RunSummary"),
    Output("rackrate.pricing/2", "costs.PricingView"),
    Output("rackrate.report/1", "costs.PricedRunView"),
    Output("rackrate.comparison/2", "costs.ComparisonView"),
    Output("rackrate.compare/1", "predictions.CompareView"),
    Output("rackrate.study/1", "predictions.StudyView"),
    Output("rackrate.study-diff/1", "predictions.StudyDiffView"),
    Output("rackrate.traffic/1", "costs.TrafficView"),
    Output("rackrate.fleet/2", "costs.FleetView"),
    Output("rackrate.plan/1", "predictions.PlanView"),
    Output("rackrate.simulated-aggregates/1", "predictions.AggregatesView"),
    Output("rackrate.tune/1", "predictions.TuneView"),
    Output("rackrate.serve/1", "checks.ServeView"),
    Output("rackrate.trace-summary/1", "checks.TraceView"),
    Output("rackrate.verify/2", "checks.VerifyView"),
    Output("rackrate.calibration/2", "checks.CalibrationView"),
    Output("rackrate.coefficients/1", "checks.CoefficientsView"),
    Output("rackrate.validate/1", "checks.ValidateView"),
    Output("rackrate.fit/1", "checks.FitView"),
    Output("rackrate.tokens/1", "checks.TokensView"),
    Output("rackrate.quality/1", "checks.QualityView"),
    Output("rackrate.energy/1", "costs.EnergyView"),
    Output("rackrate.catalog/1", "lists.CatalogView"),
    Output("rackrate.engines/1", "lists.EnginesView"),
    Output("rackrate.engine-settings/1", "lists.SettingsView"),
    Output("rackrate.doctor/1", "lists.DoctorView"),
)
"""Every output that names a schema."""


def type_of(output: Output) -> type[Any]:
    """The type of an output's view."""
    module, _, name = output.kind.rpartition(".")
    kind: type[Any] = getattr(import_module(f"rackrate.schemas.{module}"), name)
    return kind


def read_view(values: Mapping[str, Any]) -> object:
    """A view, read back from its JSON. Raises KeyError where the schema is unknown, ValueError where it is not that."""
    from pydantic import TypeAdapter

    kind = {output.schema: output for output in OUTPUTS}[str(values["schema"])]
    return TypeAdapter(type_of(kind)).validate_python(values)


def json_schema(output: Output) -> Json:
    """The JSON Schema (draft 2020-12) of an output. Every key is always there, but those that have a default."""
    from pydantic import TypeAdapter

    kind = type_of(output)
    schema = cast("Json", _tidied(TypeAdapter(kind).json_schema(mode="serialization", by_alias=True)))
    _describe(schema, kind)
    for part, found in schema.get("$defs", {}).items():
        for place in ("costs", "predictions", "checks", "lists"):
            known = getattr(import_module(f"rackrate.schemas.{place}"), part, None)
            if isinstance(known, type):
                _describe(found, known)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": output.schema, **schema}


def _describe(schema: Json, kind: type) -> None:
    """Adds the name of its schema, and what the classes that a type derives from say of their fields.

    Pydantic reads the descriptions of a class's own fields alone.
    """
    if issubclass(kind, Root):
        named = {"schema": {"const": kind.schema, "description": "Name and version."}}
        schema["properties"] = {**named, **schema["properties"]}
        schema["required"] = ["schema", *schema["required"]]
    for base in kind.__mro__[:-1]:
        if not base.__module__.startswith("rackrate."):
            continue
        body = cast("ast.ClassDef", ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]).body
        for item, after in itertools.pairwise(body):
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and isinstance(after, ast.Expr):
                text = after.value.value if isinstance(after.value, ast.Constant) else None
                if isinstance(text, str) and (known := schema.get("properties", {}).get(item.target.id)) is not None:
                    known.setdefault("description", text)


def _tidied(value: Any) -> Any:
    """Without titles that repeat the key, and without defaults: an output has all its keys."""
    if isinstance(value, list):
        return [_tidied(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    found = cast("Json", value)
    kept = {
        key: _tidied(item) for key, item in found.items() if key not in {"title", "default"} or isinstance(item, dict)
    }
    if isinstance(found.get("properties"), dict):
        properties = cast("Json", found["properties"])
        kept["properties"] = {key: _tidied(item) for key, item in properties.items()}
        kept["required"] = [key for key in properties if key not in OPTIONAL]
    return kept


def closed(value: Any) -> Any:
    """A schema that refuses keys which it does not name: what tests hold real output against."""
    if isinstance(value, list):
        return [closed(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    found = {key: closed(item) for key, item in cast("Json", value).items()}
    return {**found, "additionalProperties": False} if isinstance(found.get("properties"), dict) else found


def file_name(output: Output) -> str:
    """Of the schema, such as `pricing-2.json`."""
    return output.schema.removeprefix("rackrate.").replace("/", "-") + ".json"
