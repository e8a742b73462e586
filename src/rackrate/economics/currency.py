"""Currencies: everything inside is USD; other money comes in, and goes out, at a rate that is stated."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from rackrate.errors import PriceError

_CODE = re.compile(r"[a-z]{3}")

_MOST = 1e7
"""USD a unit, and units a USD: far beyond every currency there is."""


@dataclass(frozen=True)
class Currency:
    """A currency and its stated rate."""

    code: str = "USD"
    usd_per_unit: float = 1.0

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.code.lower()):
            raise PriceError(f"a currency is a code of three letters, such as EUR, not {self.code!r}")
        if not (math.isfinite(self.usd_per_unit) and self.usd_per_unit > 0):
            raise PriceError(f"{self.code}: its rate is USD per unit, above 0, not {self.usd_per_unit:g}")
        if not 1 / _MOST <= self.usd_per_unit <= _MOST:
            raise PriceError(f"{self.code}: no currency is worth {self.usd_per_unit:g} USD a unit")

    def usd(self, amount: float) -> float:
        """What an amount of this currency is. [USD]

        >>> Currency("EUR", 1.08).usd(100)
        108.0
        """
        return amount * self.usd_per_unit

    def of_usd(self, usd: float) -> float:
        """What USD are in this currency.

        >>> Currency("EUR", 1.08).of_usd(108)
        100.0
        """
        return usd / self.usd_per_unit


def parse_currency(text: str) -> Currency:
    """A currency with its rate in USD per unit.

    >>> parse_currency("EUR=1.08")
    Currency(code='EUR', usd_per_unit=1.08)

    Raises:
        PriceError: no rate, or not a number.
    """
    code, mark, rate = text.strip().partition("=")
    if code.upper() == "USD" and not mark:
        return Currency()
    try:
        return Currency(code.strip().upper(), float(rate))
    except ValueError:
        raise PriceError(f"a currency is CODE=USD-PER-UNIT, such as EUR=1.08, not {text!r}") from None


def to_usd_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """A document's money in USD: `capex_eur: 100` becomes `capex_usd: 108.0` at `usd_per: {eur: 1.08}`.

    >>> to_usd_keys({"usd_per": {"eur": 1.25}, "capex_eur": 100, "eur_per_kwh": 0.2, "pue": 1.1})
    {'usd_per': {'eur': 1.25}, 'capex_usd': 125.0, 'usd_per_kwh': 0.25, 'pue': 1.1}

    Raises:
        ValueError: a rate that is not a positive number, or the same figure in two currencies.
    """
    rates = values.get("usd_per")
    if not isinstance(rates, dict):
        return dict(values)
    known = cast("dict[Any, Any]", rates)
    for code, rate in known.items():
        if not (isinstance(code, str) and _CODE.fullmatch(code)):
            raise ValueError(f"usd_per: a currency is a code of three small letters, such as eur, not {code!r}")
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
            raise ValueError(f"usd_per: {code}: a rate is USD per unit, above 0, not {rate!r}")
    converted: dict[str, Any] = {}
    for key, value in values.items():
        code = next((part for part in key.split("_") if part in known), None)
        name, amount = key, value
        if code is not None and key != "usd_per":
            name = "_".join("usd" if part == code else part for part in key.split("_"))
            amount = _times(value, float(known[code]))
        if name in converted:
            raise ValueError(f"{name} is stated twice, in two currencies")
        converted[name] = amount
    return converted


def _times(value: Any, rate: float) -> Any:
    """A number, or a list of them, times a rate; anything else as it is, to be refused where it is validated."""
    if isinstance(value, list | tuple):
        return [_times(item, rate) for item in cast("list[Any]", list(value))]  # pyright: ignore[reportUnknownArgumentType]
    return value * rate if isinstance(value, int | float) and not isinstance(value, bool) else value
