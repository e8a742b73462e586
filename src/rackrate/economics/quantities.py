"""Numbers that are not known exactly, as a document writes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from rackrate.economics.uncertainty import (
    Discrete,
    Fixed,
    Interval80,
    LogNormal,
    Normal,
    Quantity,
    QuantityError,
    ShareInterval80,
    Triangular,
    Uniform,
)


def quantity_of(raw: Any) -> Quantity:
    """A quantity as a document writes it.

    A number; `[low, high]`, an 80 % interval; or one of `{uniform: [low, high]}`, `{triangular: [low, mode, high]}`,
    `{normal: {mean: 3, sd: 1}}`, `{lognormal: {median: 3, p90: 5}}`, `{discrete: [[value, weight], ...]}`.

    Raises:
        QuantityError: anything else.

    >>> quantity_of([50, 200])
    Interval80(low=50.0, high=200.0)
    >>> print(quantity_of({"triangular": [1, 2, 4]}))
    1 to 4, most likely 2
    """
    if isinstance(raw, bool) or raw is None:
        raise QuantityError(f"should be a number, a range [low, high] or a distribution, not {raw!r}")
    if isinstance(raw, int | float):
        return Fixed(_number(raw))
    if isinstance(raw, Sequence) and not isinstance(raw, str):
        low, high = _several(raw, 2, "a range is [low, high]")
        return Interval80(low, high)
    if isinstance(raw, Mapping) and len(item := cast("Mapping[Any, Any]", raw)) == 1:
        ((kind, values),) = item.items()
        match kind:
            case "uniform":
                return Uniform(*_several(values, 2, "uniform is [low, high]"))
            case "triangular":
                return Triangular(*_several(values, 3, "triangular is [low, mode, high]"))
            case "normal":
                return Normal(*_named(values, ("mean", "sd"), kind))
            case "lognormal":
                return LogNormal(*_named(values, ("median", "p90"), kind))
            case "discrete":
                if not isinstance(values, Sequence) or isinstance(values, str):
                    raise QuantityError("discrete is a list of [value, weight]")
                listed = cast("Sequence[Any]", values)
                pairs = [_several(pair, 2, "discrete is a list of [value, weight]") for pair in listed]
                return Discrete(tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs))
            case _:
                pass
    raise QuantityError(
        "should be a number, a range [low, high], or one of uniform, triangular, normal, lognormal, discrete"
    )


def as_share(quantity: Quantity) -> Quantity:
    """The same quantity, known to be a share: a range of one stays between 0 and 1."""
    if isinstance(quantity, Interval80) and quantity.low > 0 and quantity.high < 1:
        return ShareInterval80(quantity.low, quantity.high)
    return quantity


def _number(raw: Any) -> float:
    if isinstance(raw, str):
        # YAML 1.1 reads 1e9 as a word: a number it is
        with suppress(ValueError):
            raw = float(raw)
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        raise QuantityError(f"should be a finite number, not {raw!r}")
    return float(raw)


def _several(raw: Any, count: int, rule: str) -> list[float]:
    if not isinstance(raw, Sequence) or isinstance(raw, str) or len(listed := cast("Sequence[Any]", raw)) != count:
        raise QuantityError(rule)
    return [_number(entry) for entry in listed]


def _named(raw: Any, names: tuple[str, str], kind: str) -> list[float]:
    if not isinstance(raw, Mapping) or set(given := cast("Mapping[Any, Any]", raw)) != set(names):
        raise QuantityError(f"{kind} is {{{names[0]}: ..., {names[1]}: ...}}")
    return [_number(given[name]) for name in names]
