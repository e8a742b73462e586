"""JSON Schema of all that `--json` prints, made from types; docs/schemas and docs/json.md are written from it."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import textwrap
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

Json = dict[str, Any]


@dataclass(frozen=True)
class Output:
    """A JSON output of a command."""

    schema: str
    """As the output names it."""
    kind: str
    """Its type: module and name, below this package."""
    commands: str
    """Who prints it."""


OUTPUTS: tuple[Output, ...] = (
    Output("rackrate.run-summary/2", "costs.RunSummary", "show RUN, measure, simulate, import FILE"),
    Output("rackrate.pricing/2", "costs.PricingView", "price RUN"),
    Output("rackrate.report/1", "costs.PricedRunView", "report RUN --format json"),
    Output("rackrate.comparison/2", "costs.ComparisonView", "side-by-side RUN..."),
    Output("rackrate.compare/1", "predictions.CompareView", "compare RUN"),
    Output("rackrate.study/1", "predictions.StudyView", "study run FILE"),
    Output("rackrate.study-diff/1", "predictions.StudyDiffView", "study diff FILE"),
    Output("rackrate.traffic/1", "costs.TrafficView", "traffic TRAFFIC"),
    Output("rackrate.fleet/2", "costs.FleetView", "fleet RUN"),
    Output("rackrate.plan/1", "predictions.PlanView", "plan MODEL"),
    Output("rackrate.simulated-aggregates/1", "predictions.AggregatesView", "simulate MODEL --aggregates"),
    Output("rackrate.tune/1", "predictions.TuneView", "tune"),
    Output("rackrate.serve/1", "predictions.ServeView", "serve MODEL"),
    Output("rackrate.trace-summary/1", "predictions.TraceView", "trace FILE"),
    Output("rackrate.verify/2", "predictions.VerifyView", "verify RUN"),
    Output("rackrate.calibration/2", "predictions.CalibrationView", "calibrate RUN"),
    Output("rackrate.coefficients/1", "predictions.CoefficientsView", "calibrate fit"),
    Output("rackrate.validate/1", "predictions.ValidateView", "validate FILE..."),
    Output("rackrate.fit/1", "predictions.FitView", "fit MODEL"),
    Output("rackrate.tokens/1", "predictions.TokensView", "tokens URL"),
    Output("rackrate.quality/1", "predictions.QualityView", "quality MODEL"),
    Output("rackrate.energy/1", "costs.EnergyView", "energy RUN"),
)
"""Every output that names a schema."""


def json_schema(output: Output) -> Json:
    """The JSON Schema (draft 2020-12) of an output. Every key is always there, but those that have a default."""
    from pydantic import TypeAdapter

    module, _, name = output.kind.rpartition(".")
    kind = getattr(import_module(f"rackrate.report.schemas.{module}"), name)
    schema = cast("Json", _tidied(TypeAdapter(kind).json_schema(mode="serialization", by_alias=True)))
    _describe(schema, kind)
    for part, found in schema.get("$defs", {}).items():
        for place in ("costs", "predictions"):
            if (known := getattr(import_module(f"rackrate.report.schemas.{place}"), part, None)) is not None:
                _describe(found, known)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": output.schema, **schema}


def _describe(schema: Json, kind: type) -> None:
    """Adds what the classes that a type derives from say of their fields: pydantic reads a class's own alone."""
    for base in kind.__mro__[1:-1]:
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


OPTIONAL = frozenset({"corrected", "explained", "ready_s", "log"})
"""Keys that an output has only where they apply."""


def closed(value: Any) -> Any:
    """A schema that refuses keys which it does not name: what tests hold real output against."""
    if isinstance(value, list):
        return [closed(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    found = {key: closed(item) for key, item in cast("Json", value).items()}
    return {**found, "additionalProperties": False} if isinstance(found.get("properties"), dict) else found


def page() -> str:
    """docs/json.md: a table per output, then one per object that outputs are made of."""
    lines = [_HEAD]
    objects: dict[str, Json] = {}
    for output in OUTPUTS:
        schema = json_schema(output)
        objects |= schema.get("$defs", {})
        top = objects[str(schema["$ref"]).rpartition("/")[2]] if "$ref" in schema else schema
        commands = ", ".join(f"`{command} --json`" for command in output.commands.split(", "))
        file = f"schemas/{file_name(output)}"
        lines += [f"## `{output.schema}`", "", f"{top.get('description', '')} {commands}, [schema]({file}).", ""]
        lines += _keys(top)
    lines += ["## Objects", "", "What the outputs above are made of.", ""]
    for name in sorted(objects):
        if "properties" in objects[name]:
            description = " ".join(str(objects[name].get("description", "")).split("\n\n")[0].split())
            lines += [f"### {name}", "", description, "", *_keys(objects[name])]
    return "\n".join(lines).rstrip() + "\n"


_HEAD = """# JSON

Generated by `make docs` from the types of the answers; the JSON Schema of each output is in docs/schemas.

`--json` stands beside every table. Durations are seconds, rates are per second, money is USD; no data is `null`. A
`schema` names the version; keys are added within a version, never renamed or removed. What `-o` writes as .json is the
same; .csv has the same figures in rows, in the same units.

An **estimate** is `value` (every number at its median), `low` and `high` (the 80 % interval), and `finite_share` (the
share of draws that have such a figure); `null` is no such figure (a break-even that never comes), and as `high` beside
a number: never, in more than one draw of ten.
"""


def file_name(output: Output) -> str:
    """Of the schema, such as `pricing-2.json`."""
    return output.schema.removeprefix("rackrate.").replace("/", "-") + ".json"


def _keys(schema: Json) -> list[str]:
    lines = ["| key | type | what |", "| --- | --- | --- |"]
    for key, value in schema["properties"].items():
        what = " ".join(str(value.get("description", "")).replace("|", "\\|").split())
        what = re.sub(r"\bNone\b", "null", what)
        lines.append(f"| `{key}` | {_type(value)} | {what} |")
    return [*lines, ""]


def _type(value: Json) -> str:
    """In a few words: `number or null`, `list of Card`."""
    if "$ref" in value:
        name = str(value["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_type(choice) for choice in value["anyOf"]))
    if "enum" in value:
        return " or ".join(f"`{choice}`" for choice in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    match value.get("type"):
        case "array":
            items: Json = value.get("items") or {}
            return f"list of {_type(items)}" if items else "list"
        case "object":
            inside = value.get("additionalProperties")
            return f"object of {_type(cast('Json', inside))}" if isinstance(inside, dict) and inside else "object"
        case kind:
            return str(kind or "any")
