"""What a length, a think time or a number of turns may be: fixed, drawn from a law, or from a file of one's own.

Written as on the command line: `512`, `lognormal:mean=512,cv=0.8`, `lognormal:p50=400,p95=2000,max=8000`,
`exponential:mean=5`, `geometric:mean=4`, `file:lengths.csv,column=tokens`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rackrate.errors import WorkloadError
from rackrate.files import reason
from rackrate.files.bounded import open_text_lines

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Kind = Literal["fixed", "lognormal", "exponential", "geometric", "file"]

_Z95 = 1.6448536269514722
"""95 % quantile of the standard normal distribution."""
_Z999 = 3.090232306167813
"""99.9 % quantile of it."""
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "lognormal": ("mean", "cv", "p50", "p95", "min", "max"),
    "exponential": ("mean", "min", "max"),
    "geometric": ("mean", "max"),
}
_MOST = 2**31 - 1
_LEAST = 1e-6
"""Of a parameter, such as a mean: a millionth of a token, or a microsecond."""
DEFAULT_TOKENS = "128"
"""Input or output tokens of a request, where nothing is said of them."""


@dataclass(frozen=True, eq=False)
class Distribution:
    """Values from `least` to `most`, drawn independently. What falls outside is moved to the nearer end."""

    kind: Kind
    text: str
    """As it was written."""
    mean: float
    """Of the law, before what falls outside is moved."""
    least: float
    most: float
    whole: bool
    """Whether values are whole numbers."""
    mu: float = 0.0
    """Lognormal: mean of the logarithm."""
    sigma: float = 0.0
    """Lognormal: standard deviation of the logarithm."""
    values: npt.NDArray[np.float64] | None = None
    """Of a file: drawn with replacement."""

    def __str__(self) -> str:
        return self.text

    @property
    def varies(self) -> bool:
        """Whether more than one value can be drawn."""
        return self.kind != "fixed"

    def draw(self, generator: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
        """So many values. Fixed ones leave the generator alone, so that what else is drawn from it stays."""
        import numpy as np

        match self.kind:
            case "fixed":
                return np.full(count, self.mean)
            case "lognormal":
                drawn = generator.lognormal(self.mu, self.sigma, count)
            case "exponential":
                drawn = generator.exponential(self.mean, count)
            case "geometric":
                drawn = generator.geometric(1 / self.mean, count).astype(np.float64)
            case "file":
                assert self.values is not None  # noqa: S101 - made so by parse_distribution
                drawn = self.values[generator.integers(0, len(self.values), count)]
        drawn = np.clip(drawn, self.least, self.most)
        return np.rint(drawn) if self.whole else drawn


def fixed(value: float, *, whole: bool = True) -> Distribution:
    """One value, always."""
    return Distribution("fixed", f"{value:g}" if not whole else str(int(value)), value, value, value, whole)


def parse_distribution(text: str, field: str, *, whole: bool = True, least: float = 1.0) -> Distribution:
    """A distribution as it is written on the command line.

    Args:
        text: such as 512, lognormal:mean=512,cv=0.8, file:lengths.txt.
        field: of the request that it is the value of, for the sentence when it is wrong.
        whole: whether values are whole numbers (tokens, turns).
        least: nothing below this is drawn; a fixed value below it is refused.

    >>> parse_distribution("512", "input_tokens").mean
    512.0
    >>> parse_distribution("lognormal:mean=512,cv=0.8", "input_tokens").most    # 99.9th percentile
    3514.0

    Raises:
        WorkloadError: not a distribution, a parameter that is missing, unknown or impossible, an unreadable file.
    """
    try:
        return _parsed(text, f"{{{field}}}", whole=whole, least=least)
    except WorkloadError as error:
        raise WorkloadError(error.message, field=field) from None


def _parsed(text: str, flag: str, *, whole: bool, least: float) -> Distribution:
    """As `parse_distribution`; sentences begin with `flag`."""
    kind, colon, rest = text.strip().partition(":")
    kind = kind.lower()
    if not colon:
        value = _number(kind, flag, "")
        if value < least or (whole and value != math.floor(value)) or value > _MOST:
            what = "a whole number" if whole else "a number"
            raise WorkloadError(f"{flag} must be {what} of at least {least:g}, got {kind}")
        return fixed(value, whole=whole)
    if kind == "file":
        return _from_file(rest, flag, text, whole=whole, least=least)
    if kind not in _PARAMETERS:
        raise WorkloadError(
            f"{flag}: no distribution is called {kind!r}; there are a plain number, lognormal:mean=..,cv=.. (or p50, "
            "p95), exponential:mean=.., geometric:mean=.. and file:PATH"
        )
    given = _parameters(rest, kind, flag)
    low, high = max(given.pop("min", least), least), given.pop("max", None)
    if kind == "lognormal":
        mean, mu, sigma = _lognormal(given, flag)
        tail = math.exp(mu + _Z999 * sigma)
    else:
        mean = _positive(given, "mean", kind, flag)
        if kind == "geometric" and mean < 1:
            raise WorkloadError(f"{flag}: the mean of geometric numbers is at least 1, got {mean:g}")
        mu = sigma = 0.0
        # 99.9 % quantiles: of the exponential, and of the geometric, whose tail is (1 - 1/mean)^k
        tail = -math.log(0.001) * mean
        if kind == "geometric":
            tail = 1.0 if mean == 1 else math.log(0.001) / math.log1p(-1 / mean)
    most = math.ceil(tail) if high is None and whole else tail if high is None else high
    most = min(max(most, low) if high is None else most, _MOST)
    if most < low:
        raise WorkloadError(f"{flag}: max={most:g} is below the least, {low:g}")
    return Distribution(kind, text.strip(), mean, low, float(most), whole, mu, sigma)  # pyright: ignore[reportArgumentType]


def _parameters(rest: str, kind: str, flag: str) -> dict[str, float]:
    given: dict[str, float] = {}
    for part in rest.split(","):
        name, equals, value = (item.strip() for item in part.partition("="))
        if not equals or name not in _PARAMETERS[kind]:
            raise WorkloadError(
                f"{flag}: {part.strip()!r} is no parameter of {kind}; it takes {', '.join(_PARAMETERS[kind])}, "
                "such as mean=512"
            )
        if name in given:
            raise WorkloadError(f"{flag}: {name} is given twice")
        given[name] = _number(value, flag, f"{name}=")
    return given


def _number(text: str, flag: str, before: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise WorkloadError(f"{flag}: {before}{text!r} is not a number (nor a distribution such as lognormal:mean=512)")
    return value


def _positive(given: dict[str, float], name: str, kind: str, flag: str) -> float:
    if name not in given:
        raise WorkloadError(f"{flag}: {kind} needs {name}=")
    if not given[name] > 0:
        raise WorkloadError(f"{flag}: {name} must be above 0, got {given[name]:g}")
    if not _LEAST <= given[name] <= _MOST:  # beyond, a quantile is no number any more
        raise WorkloadError(f"{flag}: {name} is from {_LEAST:g} to {_MOST}, got {given[name]:g}")
    return given[name]


def _lognormal(given: dict[str, float], flag: str) -> tuple[float, float, float]:
    """(mean, mu, sigma). A lognormal variable has mean exp(mu + sigma^2 / 2) and CV sqrt(exp(sigma^2) - 1)."""
    if given.keys() == {"mean", "cv"}:
        mean, cv = (_positive(given, name, "lognormal", flag) for name in ("mean", "cv"))
        sigma = math.sqrt(math.log1p(cv**2))
        return mean, math.log(mean) - sigma**2 / 2, sigma
    if given.keys() == {"p50", "p95"}:
        median, p95 = (_positive(given, name, "lognormal", flag) for name in ("p50", "p95"))
        if p95 <= median:
            raise WorkloadError(f"{flag}: p95 must be above p50, got {p95:g} and {median:g}")
        sigma = math.log(p95 / median) / _Z95
        return median * math.exp(sigma**2 / 2), math.log(median), sigma
    raise WorkloadError(f"{flag}: lognormal takes mean and cv, or p50 and p95, such as lognormal:mean=512,cv=0.8")


def _from_file(rest: str, flag: str, text: str, *, whole: bool, least: float) -> Distribution:
    name, _, column = rest.partition(",column=")
    path = Path(name)
    try:
        with open_text_lines(path) as file:
            values = _column(csv.reader(file), path, flag, column or None)
    except FileNotFoundError:
        raise WorkloadError(f"{flag}: {path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise WorkloadError(f"{flag}: {path}: cannot be read ({reason(error)})") from None
    if not values:
        raise WorkloadError(f"{flag}: {path}: has no values")
    import numpy as np

    found = np.array(values)
    if whole:
        found = np.rint(found)
    found = np.maximum(found, least)  # an answer of no token, say, cannot be asked for
    return Distribution(
        "file", text.strip(), float(found.mean()), float(found.min()), float(found.max()), whole, values=found
    )


def _column(rows: Iterable[list[str]], path: Path, flag: str, column: str | None) -> list[float]:
    """The numbers of one column: the one named, or the only one. The first line may be a header."""
    values: list[float] = []
    position: int | None = None
    for line, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if position is None:
            if column is not None and column not in cells:
                raise WorkloadError(f"{flag}: {path}:{line}: no column {column} (there are: {', '.join(cells)[:100]})")
            if column is None and len(cells) > 1:
                raise WorkloadError(
                    f"{flag}: {path}:{line}: {len(cells)} columns; say which, such as file:{path},column={cells[0]}"
                )
            position = cells.index(column) if column is not None else 0
            if column is not None or _cell(cells[0]) is None:
                continue  # a header
        cell = cells[position] if position < len(cells) else ""
        value = _cell(cell)
        if value is None or not 0 <= value <= _MOST:
            raise WorkloadError(f"{flag}: {path}:{line}: {cell!r} is not a number from 0 to {_MOST}")
        values.append(value)
    return values


def _cell(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
