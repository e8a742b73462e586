"""A run and its pricing as one HTML file that needs no network: data, charts, and the code that draws them, inlined."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from rackrate.report.format import NONE, ms, rate, usd

Json = dict[str, Any]


def comparison_page(view: Json, chart: Json, **values: Any) -> str:
    """The page of engines side by side."""
    jinja = environment()
    jinja.filters.update(usd=usd, ms=ms, rate=rate)
    return jinja.get_template("comparison.html").render(
        view=view, dash=NONE, specs=script_json({"throughput": chart}), scripts=vega_scripts(), **values
    )


def environment() -> jinja2.Environment:
    """The templates, with everything that comes from outside escaped."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("rackrate.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def vega_scripts() -> list[Markup]:
    """The code that draws the charts, inlined."""
    return [_script(name) for name in ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")]


def script_json(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))  # noqa: S704


def _script(name: str) -> Markup:
    """One of the shipped scripts, unchanged (tests compare its hash)."""
    text = (resources.files("rackrate.report") / "vega" / name).read_text(encoding="utf-8")
    if "</script" in text.lower():
        raise AssertionError(f"{name} would end its own script element")
    return Markup(text)  # noqa: S704
