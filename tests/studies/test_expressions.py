"""The formula language: arithmetic as Python does it, and nothing but arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.studies.dimensions import check_units, dimension_of
from rackrate.studies.expressions import ExpressionError, parse

INPUTS = {"a": 2.0, "b": 0.5, "price_usd": 3.912}


def formulas(depth: int = 4) -> st.SearchStrategy[str]:
    leaf = st.sampled_from(["a", "b", "price_usd", "3600", "1e6", "0.25", "7"])
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from([" + ", " - ", "*", " / ", " % "]), inner).map("".join),
            inner.map(lambda text: f"({text})"),
            inner.map(lambda text: f"-{text}"),
            st.tuples(inner, inner).map(lambda two: f"min({two[0]}, {two[1]})"),
            st.tuples(inner, inner).map(lambda two: f"max({two[0]}, {two[1]}, 1)"),
        ),
        max_leaves=12,
    )


@settings(deadline=None, max_examples=300)
@given(text=formulas())
def test_arithmetic_is_pythons(text: str) -> None:
    formula = parse(text)
    got = float(formula.value(INPUTS))
    try:
        expected = float(eval(text, {"__builtins__": {}, "min": min, "max": max}, dict(INPUTS)))  # noqa: S307
    except ZeroDivisionError:
        assert not math.isfinite(got)
        return
    if math.isfinite(expected) and math.isfinite(got):
        assert got == pytest.approx(expected, rel=1e-12, abs=1e-300)


@settings(deadline=None, max_examples=50)
@given(text=formulas(), seed=st.integers(0, 100))
def test_many_draws_are_each_alone(text: str, seed: int) -> None:
    drawn = np.random.default_rng(seed).uniform(0.5, 2, 5)
    formula = parse(text)
    together = np.broadcast_to(np.asarray(formula.value({**INPUTS, "a": drawn}), dtype=float), (5,))
    alone = [float(formula.value({**INPUTS, "a": float(item)})) for item in drawn]
    assert np.array_equal(together, np.array(alone), equal_nan=True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("when(a > 1, 10, 20)", 10),
        ("when(a < 1, 10, 20)", 20),
        ("ceil(a / 1.5)", 2),
        ("floor(2.9)", 2),
        ("round(2.6)", 3),
        ("abs(-a)", 2),
        ("sqrt(a * 8)", 4),
        ("exp(log(a))", 2),
        ("(a == 2) * (b == 0.5)", 1),
        ("a != 2", 0),
        ("a ** 3", 8),
        ("2 ** 30", 2**30),
        ("157_075_200 / 1e6", 157.0752),
        (" a ", 2),
    ],
)
def test_functions(text: str, value: float) -> None:
    assert float(parse(text).value(INPUTS)) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "a.__class__",
        "a[0]",
        "[a for a in (1, 2)]",
        "(lambda: 1)()",
        "open('x')",
        "'text'",
        "f'{a}'",
        "a if b else 1",
        "a and b",
        "not a",
        "~1",
        "a << 2",
        "a // 2",
        "a @ b",
        "1 < a < 3",
        "a is b",
        "min()",
        "min(a=1)",
        "ceil(1, 2)",
        "(a := 3)",
        "*a",
        "a, b",
        "{a: b}",
        "...",
        "None",
        "True",
        "1j",
        "b'x'",
        "print",
        "9" * 400,
        "min(*a)",
        "min.x(a)",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    if text == "print":  # a name like any other, and unknown
        with pytest.raises(ExpressionError):
            parse(text).check(INPUTS)
        return
    with pytest.raises(ExpressionError):
        parse(text)


@pytest.mark.parametrize("text", ["", "   ", "a +", "(a", "a b", "1 +* 2", "a\0b", "(" * 150 + "a" + ")" * 150 + "+"])
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text)


def test_no_formula_can_take_long() -> None:
    with pytest.raises(ExpressionError, match="characters"):
        parse("1 + " * 1000 + "1")
    with pytest.raises(ExpressionError, match="deep"):
        parse("-" * 200 + "1")
    assert math.isinf(float(parse("9 ** 9 ** 9").value({})))  # floats: infinite at once, not a number of 10^8 digits


def test_an_unknown_name_is_pointed_at() -> None:
    formula = parse("4 * price_usd + prise_usd")
    with pytest.raises(ExpressionError, match="no input is called 'prise_usd'; did you mean price_usd") as error:
        formula.check(INPUTS)
    assert error.value.column == 16


@pytest.mark.parametrize(
    ("unit", "kind"),
    [
        ("USD/1M tokens", {"money": 1, "token": -1}),
        ("USD/kWh", {"money": 1, "energy": -1}),
        ("W", {"energy": 1, "time": -1}),
        ("kWh/month", {"energy": 1, "time": -1}),
        ("share", {}),
        ("GPU", {}),
        ("h/month", {}),
        ("byte/parameter", {"byte": 1}),
        ("USD/kW/month", {"money": 1, "energy": -1}),
        ("requests/day", {"request": 1, "time": -1}),
    ],
)
def test_kinds(unit: str, kind: dict[str, float]) -> None:
    assert dimension_of(unit) == kind


UNITS = {"rent": "USD/h", "speed": "token/s", "cards": "GPU", "draw": "W", "tariff": "USD/kWh", "month": "h/month"}


@pytest.mark.parametrize(
    ("text", "unit", "says"),
    [
        ("rent / (speed * 3600) * 1e6", "USD/1M tokens", None),
        ("cards * draw / 1000 * month * tariff", "USD/month", None),
        ("rent * month", "USD/month", None),
        ("rent + tariff", "USD/h", "cannot be added"),
        ("rent * speed", "USD/1M tokens", "comes to"),
        ("min(rent, speed)", "USD/h", "cannot be added"),
        ("rent > speed", "yes/no", "cannot be added"),
        ("rent > 3", "yes/no", None),
        ("sqrt(rent)", "USD/h", None),  # not followed
        ("rent + 3", "USD/h", None),
        ("rent / speed", None, None),
        ("unstated * rent", "token", None),
    ],
)
def test_kinds_of_formulas(text: str, unit: str | None, says: str | None) -> None:
    found = check_units(parse(text), {**UNITS, "unstated": None}, unit)
    if says is None:
        assert found == []
    else:
        assert says in found[0].message
