"""Which assumption matters most: each is moved alone, from one end of its interval to the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from rackrate.economics.uncertainty import Fixed, Quantity, central, ends80

WHAT_IF = 0.2
"""How far a figure that is taken as exact is moved: a fifth up and down, which says how much it matters, not how sure
it is."""


@dataclass(frozen=True)
class Bar:
    """One assumption of a tornado chart."""

    name: str
    basis: Literal["80 % interval", "+-20 %"]
    low_input: float
    high_input: float
    at_low: float
    """The outcome with this assumption at its low end and all others at their medians."""
    at_high: float

    @property
    def swing(self) -> float:
        """How far the outcome moves."""
        return abs(self.at_high - self.at_low)


@dataclass(frozen=True)
class Tornado:
    """The outcome with everything at its median, and a bar per assumption, the widest first."""

    outcome: float
    bars: tuple[Bar, ...]


def tornado(
    outcome: Callable[[Mapping[str, float]], float],
    quantities: Mapping[str, Quantity],
    limits: Mapping[str, tuple[float, float]] | None = None,
) -> Tornado:
    """Moves each quantity from its 10 % to its 90 % quantile, all others at their medians.

    A quantity without an interval is moved a fifth down and up instead, and its bar says so. Bars that do not move the
    outcome are left out. `limits` are the least and greatest value that a quantity can have.

    >>> from rackrate.economics.uncertainty import Interval80
    >>> chart = tornado(lambda at: at["price"] / at["speed"], {"price": Fixed(3), "speed": Interval80(1, 4)})
    >>> [(bar.name, bar.basis, round(bar.swing, 6)) for bar in chart.bars]
    [('speed', '80 % interval', 2.25), ('price', '+-20 %', 0.6)]
    """
    middle = {name: central(quantity) for name, quantity in quantities.items()}
    bars: list[Bar] = []
    for name, quantity in quantities.items():
        exact = isinstance(quantity, Fixed) or ends80(quantity)[0] == ends80(quantity)[1]
        if exact:
            low, high = sorted((middle[name] * (1 - WHAT_IF), middle[name] * (1 + WHAT_IF)))
        else:
            low, high = ends80(quantity)
        least, greatest = (limits or {}).get(name, (-math.inf, math.inf))
        low, high = min(max(low, least), greatest), min(max(high, least), greatest)
        bar = Bar(
            name=name,
            basis="+-20 %" if exact else "80 % interval",
            low_input=low,
            high_input=high,
            at_low=outcome({**middle, name: low}),
            at_high=outcome({**middle, name: high}),
        )
        if bar.swing > 0:
            bars.append(bar)
    bars.sort(key=lambda bar: (-bar.swing, bar.name))
    return Tornado(outcome(middle), tuple(bars))
