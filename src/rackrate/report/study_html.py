"""A study or a comparison as one HTML file that needs no network."""

from __future__ import annotations

from typing import Any

from rackrate.report.format import between, count, figure, percent, usd
from rackrate.report.html import environment, script_json, vega_scripts
from rackrate.report.study_charts import ranking_chart, tornado_chart
from rackrate.report.study_terminal import against_each, crossing_sentence, difference, published
from rackrate.report.study_view import QUESTION_VERDICTS, VERDICTS

Json = dict[str, Any]


def study_report(view: Json) -> str:
    """A study's page: claims with their verdicts, questions with their charts. Equal inputs give equal bytes."""
    return _page(view, view["questions"], view["title"])


def compare_report(view: Json) -> str:
    """A comparison's page."""
    return _page(view, [view], f"What {view['model']} costs")


def _page(view: Json, questions: list[Json], title: str) -> str:
    jinja = environment()
    filters: Json = {
        "usd": usd, "count": count, "percent": percent, "figure": figure, "between": between, "published": published,
        "crossing": crossing_sentence, "against_each": against_each, "difference": difference,
    }  # fmt: skip
    jinja.filters.update(filters)
    specs: Json = {}
    for position, question in enumerate(questions):
        specs[f"ranking-{position}"] = ranking_chart(question)
        if question["tornado"] and question["tornado"]["bars"]:
            specs[f"tornado-{position}"] = tornado_chart(question)
    return jinja.get_template("study.html").render(
        view=view,
        title=title,
        questions=questions,
        definitions=VERDICTS if view.get("claims") else QUESTION_VERDICTS,
        specs=script_json(specs),
        scripts=vega_scripts(),
        charts=sorted(specs),
    )
