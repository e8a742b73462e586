"""Formulas in study files: arithmetic over the study's own inputs, and nothing else.

Python's parser reads them, and a list of what is allowed walks the tree: numbers, names, + - * / ** %, comparisons,
and a few functions. There is no attribute, no subscript, no call of anything but these functions, and no eval. All
arithmetic is on floats (or arrays of them), so that no formula can ask for a number of a million digits.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rackrate.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from rackrate.units import Numbers

MOST_CHARACTERS = 1000
MOST_DEPTH = 60


class ExpressionError(UserError):
    """A formula that cannot be read or names what does not exist; `column` is where in the formula, from 0."""

    def __init__(self, message: str, column: int = 0, line: int = 0) -> None:
        super().__init__(message)
        self.column = column
        self.line = line


def _least(*values: Numbers) -> Numbers:
    import numpy as np

    smallest = values[0]
    for value in values[1:]:
        smallest = np.minimum(smallest, value)
    return smallest


def _greatest(*values: Numbers) -> Numbers:
    import numpy as np

    largest = values[0]
    for value in values[1:]:
        largest = np.maximum(largest, value)
    return largest


def _numpy(name: str) -> Callable[..., Numbers]:
    def call(*values: Numbers) -> Numbers:
        import numpy as np

        return getattr(np, name)(*values)

    return call


FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int | None]] = {
    "min": (_least, 1, None),
    "max": (_greatest, 1, None),
    "ceil": (_numpy("ceil"), 1, 1),
    "floor": (_numpy("floor"), 1, 1),
    "round": (_numpy("round"), 1, 1),
    "abs": (_numpy("abs"), 1, 1),
    "sqrt": (_numpy("sqrt"), 1, 1),
    "exp": (_numpy("exp"), 1, 1),
    "log": (_numpy("log"), 1, 1),
    "when": (_numpy("where"), 3, 3),
}
"""Name: the function, the fewest and the most arguments. `when(condition, a, b)` is a where it holds, else b."""

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Mod: lambda a, b: a % b,
    ast.Pow: lambda a, b: a**b,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


@dataclass(frozen=True)
class Expression:
    """A formula that was read and found harmless."""

    text: str
    tree: ast.expr
    names: Mapping[str, tuple[int, int]]
    """The inputs it names, each with the line and column (from 0) of its first mention."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text

    def check(self, known: Mapping[str, object] | set[str]) -> None:
        """Raises ExpressionError, with the nearest name, where the formula names an input that there is not."""
        for name, (line, column) in self.names.items():
            if name not in known:
                raise ExpressionError(f"no input is called {name!r}{did_you_mean(name, known)}", column, line)

    def value(self, of: Mapping[str, Numbers]) -> Numbers:
        """The formula's value. Division by zero gives an infinite or undefined number, which the caller must look for.

        >>> float(parse("rig / (bill - 100)").value({"rig": 3800.0, "bill": 157.0752}))
        66.57...
        """
        import numpy as np

        with np.errstate(all="ignore"):
            return _value(self.tree, of)


def parse(text: str) -> Expression:
    """Reads a formula.

    Raises:
        ExpressionError: not a formula, or one that uses more than arithmetic.

    >>> sorted(parse("4 * gpu + rest").names)
    ['gpu', 'rest']
    >>> parse("__import__('os')")
    Traceback (most recent call last):
    rackrate.studies.expressions.ExpressionError: no function is called '__import__'; there are min, max, ceil, ...
    """
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(f"a formula has at most {MOST_CHARACTERS} characters, this one {len(text)}")
    if not text.strip():
        raise ExpressionError("the formula is empty")
    indent = len(text) - len(text.lstrip())
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        column = max(0, (error.offset or 1) - 1) + (indent if error.lineno in (1, None) else 0)
        raise ExpressionError(f"not a formula: {error.msg}", column, (error.lineno or 1) - 1) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"not a formula: {error}") from None
    names: dict[str, tuple[int, int]] = {}
    for name in _walk(tree, 0):
        place = (name.lineno - 1, name.col_offset + (indent if name.lineno == 1 else 0))
        names[name.id] = min(place, names.get(name.id, place))
    return Expression(text, tree, names)


def _walk(node: ast.expr, depth: int) -> Iterator[ast.Name]:
    """The names of a tree; raises ExpressionError at the first thing that is not allowed."""
    if depth > MOST_DEPTH:
        raise _refuse(node, f"a formula is nested at most {MOST_DEPTH} deep")
    match node:
        case ast.Constant(value=value):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise _refuse(node, f"only numbers may be written out, not {value!r}")
            try:
                float(value)
            except OverflowError:
                raise _refuse(node, "a number is too large") from None
        case ast.Name():
            yield node
        case ast.BinOp(left=left, op=op, right=right):
            if type(op) not in _BINARY:
                raise _refuse(node, f"{type(op).__name__} is not one of + - * / % **")
            yield from _walk(left, depth + 1)
            yield from _walk(right, depth + 1)
        case ast.UnaryOp(op=op, operand=operand):
            if type(op) not in _UNARY:
                raise _refuse(node, f"{type(op).__name__} is not allowed")
            yield from _walk(operand, depth + 1)
        case ast.Compare(left=left, ops=ops, comparators=others):
            if len(ops) != 1 or type(ops[0]) not in _COMPARE:
                raise _refuse(node, "compare two values with one of < <= > >= == !=")
            yield from _walk(left, depth + 1)
            yield from _walk(others[0], depth + 1)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords):
            if name not in FUNCTIONS:
                raise _refuse(node, f"no function is called {name!r}; there are {', '.join(FUNCTIONS)}")
            _, least, most = FUNCTIONS[name]
            if keywords or len(arguments) < least or (most is not None and len(arguments) > most):
                wanted = f"{least}" if least == most else f"at least {least}"
                raise _refuse(node, f"{name} takes {wanted} argument{'s' if wanted != '1' else ''}")
            for argument in arguments:
                yield from _walk(argument, depth + 1)
        case _:
            raise _refuse(
                node, f"a formula is arithmetic over the study's inputs; {type(node).__name__} is not allowed"
            )


def _refuse(node: ast.expr, message: str) -> ExpressionError:
    return ExpressionError(message, node.col_offset, node.lineno - 1)


def _value(node: ast.expr, of: Mapping[str, Numbers]) -> Any:
    import numpy as np

    match node:
        case ast.Constant(value=value):
            # a Python float would raise where an array says infinite
            return np.float64(value)  # pyright: ignore[reportArgumentType]
        case ast.Name(id=name):
            return np.float64(of[name]) if isinstance(of[name], float | int) else of[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_value(left, of), _value(right, of))
        case ast.UnaryOp(op=op, operand=operand):
            return _UNARY[type(op)](_value(operand, of))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _COMPARE[type(op)](_value(left, of), _value(right, of)) * np.float64(1)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return FUNCTIONS[name][0](*(_value(argument, of) for argument in arguments))
        case _:
            raise AssertionError(f"{ast.dump(node)} was not refused")
