"""Kinds of quantity, and which values each can have: the one check of a number that a user, a file or a page gives.

    ports: Annotated[int, PORT]        # a field of a request, or of a document; checked as the value is made
    USD.check(float(text), "budget")   # a number read from text

Upper bounds are far above what is real, and far below where sums overflow: 1e300 dollars is a slip of the hand.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from rackrate.errors import UserError


@dataclass(frozen=True)
class Bounds:
    """A kind of quantity: what its values are, and the least and the most of them."""

    noun: str
    """`a number of seconds`; a sentence goes on with its bounds."""
    least: float
    most: float
    above: bool = False
    """Whether `least` itself is too little."""
    example: str = ""
    """What helps to get it right, such as `0.3 is 30 %`."""

    def holds(self, value: float) -> bool:
        """Whether a number is one of this kind. NaN is none."""
        return (self.least < value if self.above else self.least <= value) and value <= self.most

    def check(self, value: float, field: str) -> None:
        """Raises UserError, which names the field, where a number is not of this kind."""
        if not self.holds(value):
            raise UserError(f"{{{field}}} is {self.described}, got {shown(value)}", field=field)

    @property
    def described(self) -> str:
        """What its values are, in words.

        >>> SHARE.described, PORT.described
        ('a share from 0 to 1 (0.3 is 30 %)', 'a port number from 1 to 65,535')
        """
        if self.above:
            words = f"{self.noun} above {shown(self.least)} and at most {shown(self.most)}"
        else:
            words = f"{self.noun} from {shown(self.least)} to {shown(self.most)}"
        return f"{words} ({self.example})" if self.example else words

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Documents of pydantic check their annotated fields by the same bounds."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: float) -> float:
        if not self.holds(value):
            raise ValueError(f"is {self.described}, got {shown(value)}")
        return value


def shown(value: object) -> str:
    """A value in a message: short, whatever was given.

    >>> shown(70000), shown(1e308), shown(0.25), shown("x" * 100), shown(2**63)
    ('70,000', '1e+308', '0.25', "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...", '9.22337e+18')
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value == 0:
            return "0"
        if abs(value) < 10**13 and value == int(value):
            return f"{value:,.0f}"
        try:
            return f"{float(value):g}"
        except OverflowError:
            return f"a number of {len(str(abs(value))) if abs(value) < 10**4000 else 'over 4000'} digits"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:38]}..."


_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?", re.ASCII)


def is_date(text: str) -> bool:
    """Whether it is YYYY, YYYY-MM or YYYY-MM-DD, of a day that there is.

    >>> is_date("2024-06"), is_date("2024-02-29"), is_date("2023-02-29")
    (True, True, False)
    """
    if _DATE.fullmatch(text) is None:
        return False
    try:
        # from 1970 on, so that a date can be a moment anywhere
        return date.fromisoformat(text + "-01-01"[len(text) - 4 :]).year >= 1970
    except ValueError:
        return False


def check_date(text: str, field: str, today: str) -> None:
    """Raises UserError, which names the field, where a text is no date, or a day that is still to come."""
    if not is_date(text):
        raise UserError(f"{{{field}}} is a date such as 2024-06-13, not {shown(text)}", field=field)
    if text > today[: len(text)]:
        raise UserError(
            f"{{{field}}} {text} is still to come (today is {today}): its prices are not known", field=field
        )


_WHOLE = "a whole number"

# what is asked
TOKENS = Bounds(f"{_WHOLE} of tokens", 1, 1e9)
"""Of a request or a model's context: a thousand times the longest context there is (10 million)."""
TOKENS_PER_SECOND = Bounds("a number of tokens per second", 0, 1e12, above=True)
TOKENS_PER_MONTH = Bounds("a number of tokens per month", 0, 1e18, above=True)
"""Google said in October 2025 that it processes 1.3e15 a month."""
REQUESTS = Bounds(f"{_WHOLE} of requests", 1, 1e9)
REQUESTS_PER_SECOND = Bounds("a number of requests per second", 0, 1e9, above=True)
REQUESTS_PER_DAY = Bounds("a number of requests per day", 0, 1e14, above=True)
CONCURRENCY = Bounds(f"{_WHOLE} of requests in flight", 1, 1e6)
# time
SECONDS = Bounds("a number of seconds", 0, 1e9)
"""Thirty years."""
SECONDS_ABOVE_0 = Bounds("a number of seconds", 0, 1e9, above=True)
MINUTES = Bounds("a number of minutes", 0, 7 * 24 * 60, above=True, example="at most a week")
YEARS = Bounds("a number of years", 0, 30, above=True)
HOURS_PER_MONTH = Bounds("a number of hours", 1, 744, example="a month has 672 to 744")
UTC_OFFSET = Bounds("a number of hours", -14, 14)
"""The widest there are: -12 and +14, by the tz database."""
# money and energy
USD = Bounds("a number of USD", 0, 1e12)
"""A million times what the dearest machine costs."""
USD_PER_HOUR = Bounds("a number of USD per hour", 0, 1e9)
USD_PER_KWH = Bounds("a number of USD per kWh", 0, 1e3)
WATTS = Bounds("a number of watts", 0, 1e9, above=True)
PUE = Bounds("a ratio", 1, 100, example="power of the site over that of its machines")
# machines
PORT = Bounds("a port number", 1, 65535)
RANKS = Bounds(_WHOLE, 1, 1024)
"""Accelerators of one replica."""
MACHINES = Bounds(_WHOLE, 0, 1e6)
REPLICAS = Bounds(_WHOLE, 1, 1e6)
PROCESSES = Bounds(_WHOLE, 1, 1024)
THREADS = Bounds(_WHOLE, 1, 65535)
GIB = Bounds("a number of GiB", 0, 1e6, above=True)
# ratios, counts and the rest
SHARE = Bounds("a share", 0, 1, example="0.3 is 30 %")
SHARE_BELOW_1 = Bounds("a share", 0, 0.999, example="0.4 is 40 %")
SHARE_ABOVE_0 = Bounds("a share", 0, 1, above=True, example="0.3 is 30 %")
GROWTH = Bounds("a number a month", -0.9, 10, example="0.05 is 5 %")
PER_MONTH = Bounds("a number a month", 0, 1e5)
FACTOR = Bounds("a number", 0, 1e9, above=True)
FACTOR_FROM_1 = Bounds("a number", 1, 1e6)
COUNT = Bounds(_WHOLE, 1, 1e9)
COUNT_FROM_0 = Bounds(_WHOLE, 0, 1e9)
FIGURE = Bounds("a number", -1e18, 1e18)
"""Any number of a file: tokens of a month are the largest that are real."""
SEED = Bounds(_WHOLE, 0, 2**63 - 1)

Tokens = Annotated[int, TOKENS]
TokensPerSecond = Annotated[float, TOKENS_PER_SECOND]
Requests = Annotated[int, REQUESTS]
RequestsPerSecond = Annotated[float, REQUESTS_PER_SECOND]
RequestsPerDay = Annotated[float, REQUESTS_PER_DAY]
Concurrency = Annotated[int, CONCURRENCY]
Seconds = Annotated[float, SECONDS]
SecondsAbove0 = Annotated[float, SECONDS_ABOVE_0]
Minutes = Annotated[float, MINUTES]
Years = Annotated[float, YEARS]
HoursPerMonth = Annotated[float, HOURS_PER_MONTH]
UtcOffset = Annotated[float, UTC_OFFSET]
Usd = Annotated[float, USD]
UsdPerHour = Annotated[float, USD_PER_HOUR]
UsdPerKwh = Annotated[float, USD_PER_KWH]
Watts = Annotated[float, WATTS]
Pue = Annotated[float, PUE]
Port = Annotated[int, PORT]
Ranks = Annotated[int, RANKS]
Machines = Annotated[int, MACHINES]
Replicas = Annotated[int, REPLICAS]
Processes = Annotated[int, PROCESSES]
Threads = Annotated[int, THREADS]
GiB = Annotated[float, GIB]
Share = Annotated[float, SHARE]
ShareBelow1 = Annotated[float, SHARE_BELOW_1]
ShareAbove0 = Annotated[float, SHARE_ABOVE_0]
Growth = Annotated[float, GROWTH]
PerMonth = Annotated[float, PER_MONTH]
Factor = Annotated[float, FACTOR]
FactorFrom1 = Annotated[float, FACTOR_FROM_1]
Count = Annotated[int, COUNT]
CountFrom0 = Annotated[int, COUNT_FROM_0]
Seed = Annotated[int, SEED]


@dataclass(frozen=True)
class Distinct:
    """A list that names nothing twice: what is doubled would be counted twice, or hidden."""

    def check(self, values: tuple[object, ...], field: str) -> None:
        """Raises UserError, which names the field, where two values are the same; paths by where they lead."""
        seen: set[object] = set()
        for value in values:
            key = os.path.realpath(value) if isinstance(value, Path) else value  # no loop of links stops it
            if key in seen:
                raise UserError(f"{{{field}}} names {shown(str(value))} twice; name it once", field=field)
            seen.add(key)


DISTINCT = Distinct()


Names = Annotated[tuple[str, ...], DISTINCT]
Paths = Annotated[tuple[Path, ...], DISTINCT]
