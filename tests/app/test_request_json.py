"""Requests survive JSON, and refuse what they do not know."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast, get_args, get_origin

import numpy as np
import pytest

from rackrate import app, bounds
from rackrate.app.pricing import PriceRequest
from rackrate.app.request_json import Request, from_json, hints_of, to_json
from rackrate.bounds import Bounds
from rackrate.errors import UserError


@dataclass(frozen=True)
class Question(Request):
    NAME: ClassVar[str] = "question"

    run: Path | None = None
    offers: tuple[str, ...] = ()
    share: bounds.Share | None = None
    free: float = 0.0
    number: bounds.Count | None = None
    loud: bool = False
    distinct: bounds.Names = ()


def test_a_request_comes_back_from_json_as_it_was() -> None:
    asked = Question(run=Path("runs/a"), offers=("aws/g5.xlarge",), share=0.3)
    assert from_json(Question, json.loads(json.dumps(to_json(asked)))) == asked
    assert to_json(Question()) == {"request": "question"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"request": "other"}, "the request is 'other', not 'question'"),
        ({"run": "x", "shell": "rm"}, "keys that this version does not know: shell"),
        ({"share": "many"}, "share is a number, got 'many'"),
        ({"offers": {"a": 1}}, "offers is a list, got {'a': 1}"),
        ({"offers": "aws/g5.xlarge"}, "offers is a list, got 'aws/g5.xlarge'"),
        ({"offers": [3]}, "offers is text, got 3"),
        ({"run": 3}, "run is a path, got 3"),
        ({"run": "a\0b"}, "run has a NUL in it"),
        ({"run": ""}, "run is empty"),
        ({"offers": [" "]}, "offers is empty"),
        ({"run": "a\udcff"}, "run has bytes that are not UTF-8"),
        ({"run": "x" * 300}, "run has a name of more than 255 bytes"),
        ({"share": True}, "share is a number, got True"),
        ({"share": 2}, "share is a share from 0 to 1"),
        ({"share": float("nan")}, "share is a share from 0 to 1 .*, got nan"),
        ({"free": float("inf")}, "free is a number, got inf"),
        ({"free": 10**400}, "free is a number, got a number of 401 digits"),
        ({"number": 1.5}, "number is a whole number, got 1.5"),
        ({"number": float("inf")}, "number is a whole number, got inf"),
        ({"number": 0}, "number is a whole number from 1 to"),
        ({"number": 10**400}, "number is a whole number from 1 to .*, got a number of 401 digits"),
        ({"loud": 1}, "loud is true or false, got 1"),
        ({"distinct": ["a", "b", "a"]}, "distinct names 'a' twice"),
    ],
)
def test_what_is_no_such_request_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_json(Question, values)


def test_what_a_hand_makes_is_checked_and_made_as_the_field_is() -> None:
    made = Question(run="runs/a", offers=["a"], share=1, number=np.int64(3))  # pyright: ignore[reportArgumentType]
    assert made == Question(run=Path("runs/a"), offers=("a",), share=1.0, number=3)
    assert hash(made) == hash(Question(run=Path("runs/a"), offers=("a",), share=1.0, number=3))
    with pytest.raises(UserError, match="run is a path, got 3") as caught:
        Question(run=3)  # pyright: ignore[reportArgumentType]
    assert caught.value.field == "run"


def test_paths_are_distinct_by_where_they_lead() -> None:
    with pytest.raises(UserError, match=r"rigs names .* twice"):
        PriceRequest(rigs=(Path("a/rig.yaml"), Path("a/../a/rig.yaml")))


def _requests(kind: type[Request] = Request) -> Iterator[type[Request]]:
    for found in kind.__subclasses__():
        if found.__module__.startswith("rackrate."):
            yield found
        yield from _requests(found)


for _module in pkgutil.walk_packages(app.__path__, "rackrate.app."):
    importlib.import_module(_module.name)
KINDS = sorted(set(_requests()), key=lambda kind: kind.__qualname__)
WRONG: tuple[Any, ...] = (
    object(),
    "\0",
    "",
    "x" * 10_000,
    -1,
    0,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    True,
    {"a": []},
    [[]],
    None,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_value_of_any_field_of_any_request_ends_otherwise_than_in_a_sentence(kind: type[Request]) -> None:
    """Of what cannot be known from a field alone (text, switches) the use case speaks."""
    hints = hints_of(kind)
    needed = {
        field.name: ["x"] if "tuple" in repr(hints[field.name]) else "x"
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING
    }
    refused = 0
    for name in hints:
        for value in WRONG:
            if (error := _refusal(kind, {**needed, name: value})) is not None:
                assert error.field == name
                assert len(str(error)) < 300
                assert "{" + name not in error.named(str.upper)
                refused += 1
    assert refused >= 4 * len(hints)


def _refusal(kind: type[Request], values: dict[str, Any]) -> UserError | None:
    try:
        from_json(kind, values)
    except UserError as error:
        return error
    return None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_number_that_is_asked_for_has_bounds(kind: type[Request]) -> None:
    assert [name for name, hint in hints_of(kind).items() if {int, float} & set(_bare(hint))] == []


def _bare(hint: Any) -> list[Any]:
    """The types that a hint is made of, without those that have bounds."""
    if get_origin(hint) is Annotated and any(isinstance(limit, Bounds) for limit in get_args(hint)[1:]):
        return []
    return [kind for item in get_args(hint) for kind in _bare(item)] if get_args(hint) else [hint]


@pytest.mark.parametrize("values", [None, 1, "x", [1], ["ab"], {1: 2}])
def test_what_is_no_request_at_all_is_a_sentence(values: object) -> None:
    with pytest.raises(UserError, match="a request is kept as names with values, not "):
        from_json(PriceRequest, cast("dict[str, object]", values))
