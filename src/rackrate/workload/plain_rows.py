"""Rows of plain numbers and dates, read many at a time: what strangers' files are made of, but for the odd line.

Where a piece of a file has anything else in it (quotes, signs, exponents, empty cells) these functions answer None, and
the row-by-row reader, which is exact and says what is wrong, takes over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_Bytes = npt.NDArray[np.uint8]

_EXACT_DIGITS = 15
"""So many digits are a whole number that a double holds, and divided by a power of ten (an exact double up to 1e22)
they round once: the result is what a parser of decimal numbers gives."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Dates and times of day in nanoseconds since 1970, and whether they have an offset from UTC."""

    nanoseconds: Ints
    zoned: bool


def plain_columns(data: bytes, width: int, numbers: Mapping[str, int], moment: int | None) -> dict[str, Any] | None:
    """Columns of whole lines of CSV.

    Args:
        data: lines, of so many columns each.
        width: columns of a row.
        numbers: name and place of the columns of numbers, each of which is an array.
        moment: place of the column of dates, which is `Moments` by the name "time"; None: there is none.

    >>> found = plain_columns(b"0.5,7\\n12,80\\n", 2, {"time": 0, "input": 1}, None)
    >>> found["time"].tolist(), found["input"].tolist()
    ([0.5, 12.0], [7.0, 80.0])
    >>> plain_columns(b"1e3,7\\n", 2, {"time": 0}, None) is None
    True
    """
    if b'"' in data:
        return None
    lines = data.replace(b"\r\n", b"\n") if b"\r" in data else data
    if not lines.endswith(b"\n"):
        lines += b"\n"
    characters = np.frombuffer(lines, dtype=np.uint8)
    newlines = characters == ord("\n")
    ends = np.flatnonzero((characters == ord(",")) | newlines)
    if not len(ends) or len(ends) % width:
        return None
    is_last = newlines[ends].reshape(-1, width)
    if not is_last[:, -1].all() or is_last[:, :-1].any():
        return None
    begins = np.empty_like(ends)
    begins[0] = 0
    begins[1:] = ends[:-1] + 1
    begins, ends = begins.reshape(-1, width), ends.reshape(-1, width)
    found: dict[str, Any] = {}
    for name, place in numbers.items():
        found[name] = _decimals(characters, begins[:, place].copy(), ends[:, place].copy())
    if moment is not None:
        found["time"] = _moments(characters, begins[:, moment].copy(), ends[:, moment].copy())
    return None if any(column is None for column in found.values()) else found


def _whole(characters: _Bytes, begins: Ints, ends: Ints, most: int = 18) -> Ints | None:
    """Digits as whole numbers; 0 where there are none."""
    lengths = ends - begins
    longest, shortest = int(lengths.max()), int(lengths.min())
    if longest > most or shortest < 0:
        return None
    value = np.zeros(len(ends), dtype=np.int64)
    for place in range(longest):
        digit = characters[ends - (place + 1)] - np.uint8(ord("0"))  # below "0" it wraps round, to more than 9
        if place >= shortest:
            digit[place >= lengths] = 0
        if digit.max() > 9:
            return None
        value += digit.astype(np.int64) * 10**place
    return value


def _decimals(characters: _Bytes, begins: Ints, ends: Ints) -> Floats | None:
    """Digits with a decimal point or without one."""
    if (begins == ends).any():
        return None
    whole = _whole(characters, begins, ends, _EXACT_DIGITS)
    if whole is not None:
        return whole.astype(np.float64)
    is_dot = characters == ord(".")
    dots, so_far = np.flatnonzero(is_dot), np.cumsum(is_dot, dtype=np.int32)
    first = so_far[begins] - is_dot[begins]
    within = so_far[ends] - first  # a mark stands at the end of a value, which is no dot
    digits = ends - begins - within
    if not len(dots) or within.max() > 1 or digits.min() < 1:
        return None
    if digits.max() > _EXACT_DIGITS:
        return _by_parser(characters, begins, ends)
    point = np.where(within == 1, dots[np.minimum(first, len(dots) - 1)], ends)
    after = np.minimum(point + 1, ends)
    before, rest = _whole(characters, begins, point), _whole(characters, after, ends)
    if before is None or rest is None:
        return None
    scale = 10 ** (ends - after)
    return (before * scale + rest) / scale


def _by_parser(characters: _Bytes, begins: Ints, ends: Ints) -> Floats | None:
    """Numbers of more digits, by a parser of JSON, which is slower."""
    import orjson

    step = np.zeros(len(characters) + 1, dtype=np.int8)
    step[begins] = 1
    step[ends + 1] -= 1  # with the mark that ends a value
    column = characters[np.cumsum(step[:-1], dtype=np.int8).view(np.bool_)].tobytes()
    try:
        values = orjson.loads(b"[" + column[:-1].replace(b"\n", b",") + b"]")
    except orjson.JSONDecodeError:
        return None
    return np.array(values, dtype=np.float64)


def _moments(characters: _Bytes, begins: Ints, ends: Ints) -> Moments | None:
    """Dates and times such as 2023-11-16 18:17:03.9799600, with T or a space, in UTC or without an offset."""
    if (ends - begins).min() < 19:
        return None
    zoned = False
    last = characters[ends - 1]
    if (last == ord("Z")).all():
        ends, zoned = ends - 1, True
    elif (characters[ends - 6] == ord("+")).all():
        if any(
            (characters[ends - back] != ord(mark)).any() for back, mark in zip(range(5, 0, -1), "00:00", strict=True)
        ):
            return None
        ends, zoned = ends - 6, True
    if (ends - begins).min() < 19:
        return None
    marks = {4: "-", 7: "-", 13: ":", 16: ":"}
    if any((characters[begins + at] != ord(mark)).any() for at, mark in marks.items()):
        return None
    between = characters[begins + 10]
    if not ((between == ord(" ")) | (between == ord("T"))).all():
        return None
    parts = [_whole(characters, begins + at, begins + at + size) for at, size in
             ((0, 4), (5, 2), (8, 2), (11, 2), (14, 2), (17, 2))]  # fmt: skip
    digits = ends - begins - 20
    has_fraction = digits > -1
    if ((characters[np.minimum(begins + 19, len(characters) - 1)] != ord(".")) & has_fraction).any():
        return None
    if (digits == 0).any() or digits.max() > 9:
        return None
    fraction = _whole(characters, np.minimum(begins + 20, ends), ends)
    if fraction is None or any(part is None for part in parts):
        return None
    year, month, day, hour, minute, second = (part for part in parts if part is not None)
    if not ((year >= 1700) & (year < 2200) & (month >= 1) & (month <= 12) & (day >= 1)).all():
        return None
    months = (year - 1970) * 12 + month - 1
    days = _first_day(months) + day - 1
    if (days >= _first_day(months + 1)).any() or (hour > 23).any() or (minute > 59).any() or (second > 59).any():
        return None
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second
    return Moments(seconds * 10**9 + fraction * 10 ** (9 - np.maximum(digits, 0)), zoned)


def _first_day(months: Ints) -> Ints:
    """Days from 1970-01-01 to the first of a month, counted from January 1970."""
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
