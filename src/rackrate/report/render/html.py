"""A document as one HTML file that needs no network: data, charts, and the code that draws them, inlined."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, cast

import jinja2
from markupsafe import Markup

from rackrate.report.document import Block, Cell, Document, Note, Table, Value
from rackrate.report.format import heading, is_number, shown
from rackrate.text import plain

FULL = True
SUFFIXES = (".html", ".htm")


def render(document: Document) -> str:
    """The page. Equal inputs give equal bytes; everything that comes from outside is escaped."""
    jinja = jinja2.Environment(
        loader=jinja2.PackageLoader("rackrate.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_plain,  # whatever a template shows goes through it, and is escaped then
    )
    filters: dict[str, Any] = {"shown": shown, "heading": heading, "cell": _cell}
    tests: dict[str, Any] = {"note": _is_note, "table": _is_table, "numeric": is_number}
    jinja.filters.update(filters)
    jinja.tests.update(tests)
    specs = {chart.name: chart.spec() for chart in document.charts()}
    return jinja.get_template("document.html").render(
        document=document, specs=_script_json(specs), scripts=_vega() if specs else []
    )


def _plain(value: object) -> object:
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _cell(value: Value | Cell) -> Cell:
    return value if isinstance(value, Cell) else Cell(value)


def _is_note(block: Block) -> bool:
    return isinstance(block, Note)


def _is_table(block: Block) -> bool:
    return isinstance(block, Table)


def _vega() -> list[Markup]:
    """The code that draws the charts, unchanged (tests compare its hash)."""
    scripts: list[Markup] = []
    for name in ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js"):
        text = (resources.files("rackrate.report") / "vega" / name).read_text(encoding="utf-8")
        if "</script" in text.lower():
            raise AssertionError(f"{name} would end its own script element")
        scripts.append(Markup(text))  # noqa: S704
    return scripts


def _plain_in(value: Any) -> Any:
    """The same values, each text in them plain."""
    if isinstance(value, dict):
        return {_plain(key): _plain_in(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain_in(item) for item in cast("list[Any]", value)]
    return _plain(value)


def _script_json(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(_plain_in(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))  # noqa: S704
