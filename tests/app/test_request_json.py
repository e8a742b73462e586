"""Requests survive JSON, and refuse what they do not know."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rackrate.app.request_json import Request, from_json, to_json
from rackrate.errors import UserError


@dataclass(frozen=True)
class Question(Request):
    NAME: ClassVar[str] = "question"

    run: Path | None = None
    offers: tuple[str, ...] = ()
    share: float | None = None


def test_a_request_comes_back_from_json_as_it_was() -> None:
    asked = Question(run=Path("runs/a"), offers=("aws/g5.xlarge",), share=0.3)
    assert from_json(Question, json.loads(json.dumps(to_json(asked)))) == asked
    assert to_json(Question()) == {"request": "question"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"request": "other"}, "the request is 'other', not 'question'"),
        ({"run": "x", "shell": "rm"}, "keys that this version does not know: shell"),
        ({"share": "many"}, "question: share: "),
        ({"offers": {"a": 1}}, "question: offers"),
    ],
)
def test_what_is_no_such_request_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_json(Question, values)
