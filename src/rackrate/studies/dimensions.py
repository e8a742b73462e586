"""What a unit measures, and whether a formula can have the unit that is claimed for it.

Scales are left alone (a formula multiplies by 3600 where it must): only kinds are compared, so that USD/h against
USD/month passes and USD/month against USD/token does not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

from rackrate.studies.expressions import Expression

Dimension = dict[str, float]
"""Exponents of what is measured: {"money": 1, "token": -1}."""

_ATOMS: dict[str, Dimension] = {
    "usd": {"money": 1},
    "eur": {"money": 1},
    "token": {"token": 1},
    "request": {"request": 1},
    "s": {"time": 1},
    "ms": {"time": 1},
    "min": {"time": 1},
    "h": {"time": 1},
    "hour": {"time": 1},
    "day": {"time": 1},
    "month": {"time": 1},
    "year": {"time": 1},
    "w": {"energy": 1, "time": -1},
    "kw": {"energy": 1, "time": -1},
    "wh": {"energy": 1},
    "kwh": {"energy": 1},
    "byte": {"byte": 1},
    "gb": {"byte": 1},
    "gib": {"byte": 1},
    "share": {},
    "%": {},
    "ratio": {},
    "1": {},
    "1m": {},
    "1k": {},
}
COUNTED = {"gpu", "vcpu", "machine", "card", "core", "parameter", "yes/no"}
"""Things that are counted: plain numbers, so that 4 GPUs x 70 W are watts."""


def dimension_of(unit: str) -> Dimension | None:
    """What a unit measures; None where it has a word that is not known.

    >>> dimension_of("USD/1M tokens") == {"money": 1, "token": -1}
    True
    >>> dimension_of("furlong") is None
    True
    """
    result: Dimension = {}
    if unit.lower() in COUNTED:
        return result
    for position, part in enumerate(unit.split("/")):
        for word in re.split(r"[\s*·]+", part.strip()):
            atom = _atom(word)
            if atom is None:
                return None
            for name, exponent in atom.items():
                result[name] = result.get(name, 0.0) + (exponent if position == 0 else -exponent)
    return _clean(result)


def _atom(word: str) -> Dimension | None:
    low = word.lower()
    for name in (low, low.removesuffix("s")):
        if not name or name in COUNTED:
            return {}
        if name in _ATOMS:
            return _ATOMS[name]
    return None


@dataclass(frozen=True)
class Mismatch:
    """Two kinds that cannot be added, compared or equal."""

    message: str
    line: int
    column: int


def check_units(formula: Expression, units: Mapping[str, str | None], claimed: str | None) -> list[Mismatch]:
    """Where a formula adds or compares different kinds, or comes to another kind than its unit says.

    Numbers written out fit anything, and so does an input whose unit is not stated.

    >>> from rackrate.studies.expressions import parse
    >>> units = {"price": "USD/h", "speed": "token/s"}
    >>> check_units(parse("price / (speed * 3600) * 1e6"), units, "USD/1M tokens")
    []
    >>> [one.message for one in check_units(parse("price * speed"), units, "USD/1M tokens")]
    ['the formula comes to money token / time^2, its unit (USD/1M tokens) is money / token']
    """
    found: list[Mismatch] = []
    kinds = {name: dimension_of(unit) if unit else None for name, unit in units.items()}
    outcome = _kind(formula.tree, kinds, found)
    wanted = dimension_of(claimed) if claimed else None
    if outcome is not None and wanted is not None and outcome != wanted:
        found.append(Mismatch(f"the formula comes to {_say(outcome)}, its unit ({claimed}) is {_say(wanted)}", 0, 0))
    return found


def _kind(node: ast.expr, kinds: Mapping[str, Dimension | None], found: list[Mismatch]) -> Dimension | None:
    """The kind of a part of a formula; None: fits anything."""
    match node:
        case ast.Name(id=name):
            return kinds.get(name)
        case ast.UnaryOp(operand=operand):
            return _kind(operand, kinds, found)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _kind(left, kinds, found), _kind(right, kinds, found)
            if isinstance(op, ast.Add | ast.Sub | ast.Mod):
                return _same(node, a, b, found)
            if isinstance(op, ast.Pow):
                power = right.value if isinstance(right, ast.Constant) else None
                return _clean({k: v * power for k, v in a.items()}) if a and isinstance(power, int | float) else None
            # a number written out may stand for anything with a unit (hours, gigabytes): it keeps the other's kind
            if a is None and b is None:
                return None
            sign = 1 if isinstance(op, ast.Mult) else -1
            names = {*(a or {}), *(b or {})}
            if (a is None and not isinstance(left, ast.Constant)) or (
                b is None and not isinstance(right, ast.Constant)
            ):
                return None
            return _clean({name: (a or {}).get(name, 0) + sign * (b or {}).get(name, 0) for name in names})
        case ast.Compare(left=left, comparators=[right]):
            _same(node, _kind(left, kinds, found), _kind(right, kinds, found), found)
            return {}
        case ast.Call(func=ast.Name(id=name), args=arguments):
            inner = [_kind(argument, kinds, found) for argument in arguments]
            if name in {"min", "max", "ceil", "floor", "round", "abs"}:
                outcome = inner[0]
                for item in inner[1:]:
                    outcome = _same(node, outcome, item, found)
                return outcome
            if name == "when":
                return _same(node, inner[1], inner[2], found)
            return None
        case _:
            return None


def _same(node: ast.expr, a: Dimension | None, b: Dimension | None, found: list[Mismatch]) -> Dimension | None:
    if a is not None and b is not None and a != b:
        found.append(Mismatch(f"{_say(a)} and {_say(b)} cannot be added or compared", node.lineno - 1, node.col_offset))
    return a if a is not None else b


def _clean(kind: Dimension) -> Dimension:
    return {name: exponent for name, exponent in kind.items() if exponent}


def _say(kind: Dimension) -> str:
    def factor(name: str, exponent: float) -> str:
        return name if exponent == 1 else f"{name}^{exponent:g}"

    above = " ".join(factor(name, exponent) for name, exponent in sorted(kind.items()) if exponent > 0)
    below = " ".join(factor(name, -exponent) for name, exponent in sorted(kind.items()) if exponent < 0)
    if not kind:
        return "a plain number"
    return f"{above or '1'} / {below}" if below else above
