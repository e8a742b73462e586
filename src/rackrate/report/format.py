"""Numbers for people. Inside, durations are seconds and sizes are bytes; here they become ms and GiB."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rackrate.report.document import Between, Cell, Column, Value

if TYPE_CHECKING:
    from rackrate.economics.uncertainty import Estimate
    from rackrate.metrics.summary import LevelSummary
    from rackrate.runs.records import WorkloadFacts
    from rackrate.schemas.predictions import DeploymentRow

NONE = "-"
"""Shown where there is no data."""

RIG_UNITS = {
    "capex_usd": "USD",
    "life_years": "years",
    "resale_usd": "USD",
    "discount_rate": "per year",
    "idle_w": "W",
    "busy_w": "W",
    "pue": "",
    "usd_per_kwh": "USD/kWh",
    "spare_share": "of the purchase",
    "hosting_usd_per_kw_month": "USD/kW/month",
    "labour_hours_per_month": "h/month",
    "labour_usd_per_hour": "USD/h",
}
"""What an owned machine's figures are in, in the order in which they are shown."""


def usd(value: float | None) -> str:
    """Dollars to three significant figures or the cent, whichever is finer.

    >>> usd(167.1795), usd(0.0421), usd(0.00000123), usd(1234.5), usd(None)
    ('$167.18', '$0.0421', '$0.00000123', '$1,234.50', '-')
    """
    if value is None:
        return NONE
    if value == 0:
        return "$0.00"
    if abs(value) >= 1:
        return f"${value:,.2f}"
    digits = 2
    while abs(value) * 10**digits < 99.5 and digits < 12:
        digits += 1
    return f"${value:.{digits}f}"


def figure(value: float | bool | None, unit: str | None) -> str:
    """A number with its unit, money to the cent or finer.

    >>> figure(3.912, "USD/h"), figure(167.1795, "USD/1M tokens"), figure(157_075_200, "token/month")
    ('$3.912/h', '$167.18/1M tokens', '157,075,200 token/month')
    >>> figure(60.6, "token/s"), figure(True, None), figure(0.23148, "USD/kWh"), figure(1.04, "USD")
    ('60.6 token/s', 'yes', '$0.231/kWh', '$1.04')
    """
    if value is None:
        return NONE
    if isinstance(value, bool) or unit == "yes/no":
        return "yes" if value else "no"
    if unit is not None and unit.startswith("USD"):
        if not 1 <= abs(value) < 10:
            text = usd(abs(value))
        else:
            text = f"${abs(value):.3f}"
            text = text.removesuffix("0")
        return ("-" if value < 0 else "") + text + unit.removeprefix("USD")
    if value == int(value) and abs(value) < 1e15:
        text = f"{int(value):,}"
    elif abs(value) >= 1000:
        text = f"{value:,.1f}"
    else:
        text = f"{value:.4g}"
    return f"{text} {unit}" if unit not in (None, "share", "ratio", "1") else text


def between(estimate: Estimate | None, unit: str | None, *, alone: bool = False) -> str:
    """An 80 % interval in words; nothing where both ends are the value.

    >>> from rackrate.economics.uncertainty import Estimate
    >>> between(Estimate(2.0, 1.0, 4.0), "USD")
    '$1.00 to $4.00'
    """
    if estimate is None or (estimate.low is None and estimate.high is None):
        return ""
    low, high, value = estimate.low, estimate.high, estimate.value
    if not alone and low is not None and high is not None and value is not None:
        room = 1e-9 * max(abs(value), 1e-300)
        if abs(low - value) <= room and abs(high - value) <= room:
            return ""
    return f"{figure(low, unit)} to {'never' if high is None else figure(high, unit)}"


def ms(seconds: float | None) -> str:
    """A duration in milliseconds, three figures.

    >>> ms(0.0213), ms(1.234), ms(None)
    ('21.3', '1,234', '-')
    """
    if seconds is None:
        return NONE
    value = seconds * 1000
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """A rate per second, three figures.

    >>> rate(84.91), rate(1234.5), rate(0.1234), rate(0.00028935), rate(0)
    ('84.9', '1,234', '0.123', '0.000289', '0.000')
    """
    if value is None:
        return NONE
    return (
        f"{value:,.0f}"
        if value >= 100
        else f"{value:.1f}"
        if value >= 10
        else f"{value:.2f}"
        if value >= 1
        else f"{value:.3f}"
        if value >= 0.0995 or value == 0
        else f"{value:.3g}"
    )


def count(value: float | None) -> str:
    """A large number of tokens.

    >>> count(157_075_200), count(2.19e9), count(950), count(999_999_999.9)
    ('157 M', '2.19 G', '950', '1 G')
    """
    if value is None:
        return NONE
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999.6 M, with three figures, is 1 G
        if value >= size * 0.9995:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "replica"), counted(4096, "replica")
    ('1 replica', '4,096 replicas')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def percent(share: float | None) -> str:
    """A share of one.

    >>> percent(0.731), percent(0.002)
    ('73 %', '0.2 %')
    """
    if share is None:
        return NONE
    return f"{share * 100:.0f} %" if share >= 0.1 or share == 0 else f"{share * 100:.2g} %"


def load_label(level: LevelSummary) -> str:
    """A level's load: requests in flight, or arrivals a second; users or conversations, where requests are turns.

    >>> from types import SimpleNamespace as Level
    >>> load_label(Level(kind="closed", concurrency=8, conversations=None))
    '8'
    >>> load_label(Level(kind="open", rate=2.5, arrivals="poisson", conversations=None))
    '2.5/s poisson'
    >>> load_label(Level(kind="closed", concurrency=8, conversations=20))
    '8 users'
    """
    talk = level.conversations
    if level.kind == "open":
        return f"{level.rate:.4g}{' conversations' if talk else ''}/s {level.arrivals}"
    users = f" user{'s' if level.concurrency != 1 else ''}" if talk else ""
    return f"{level.concurrency}{users}" + (" (prefill alone)" if level.kind == "prefill" else "")


def workload_text(work: WorkloadFacts) -> str:
    """What each request asks for.

    >>> from rackrate.runs.records import WorkloadFacts
    >>> workload_text(WorkloadFacts(input_tokens=512, output_tokens=128, endpoint="chat", seed=0))
    '512 tokens in, 128 out'
    >>> workload_text(WorkloadFacts(input_tokens=None, output_tokens=128, endpoint="chat", seed=0))
    'input length not stated, 128 tokens out'
    >>> workload_text(WorkloadFacts(input_tokens=512, output_tokens=128, endpoint="chat", seed=0, turns="4",
    ...     inputs="lognormal:mean=512,cv=1", think_s="5", shared_prefix="256:0.8"))
    '512 tokens in (lognormal:mean=512,cv=1), 128 out, 256 shared by 80 %, conversations of 4 turns, 5 s apart'
    """

    def tokens(drawn: str | None) -> str:
        return f" ({drawn})" if drawn and not drawn.isdigit() else ""

    into, out = work.input_tokens, work.output_tokens
    text = f"{into} tokens in" if into is not None else "input length not stated"
    text += f"{tokens(work.inputs)}, {out if out is not None else 'output length not stated'}"
    text += f"{' out' if into is not None else ' tokens out'}{tokens(work.outputs)}" if out is not None else ""
    if work.trace:
        text += f" on average, from {work.trace}"
    if work.shared_prefix:
        length, _, share = work.shared_prefix.partition(":")
        text += f", {length} shared" + (f" by {percent(float(share))}" if share else "")
    if work.turns:
        text += f", conversations of {work.turns} turns, {work.think_s} s apart"
    return text


def split(row: DeploymentRow) -> str:
    """How a replica is split over accelerators, in a word.

    >>> from types import SimpleNamespace as Row
    >>> split(Row(tensor_parallel=4, pipeline_parallel=1)), split(Row(tensor_parallel=1, pipeline_parallel=2))
    ('tp4', 'pp2')
    """
    return f"pp{row.pipeline_parallel}" if row.pipeline_parallel > 1 else f"tp{row.tensor_parallel}"


def clock(seconds: float) -> str:
    """A span of time to wait.

    >>> clock(75), clock(4000)
    ('1:15', '1:06:40')
    """
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def money(value: float | None, currency: str = "") -> str:
    """An amount, of a currency other than USD where one is named.

    >>> money(10.8), money(10.0, "EUR"), money(None)
    ('$10.80', '10.00 EUR', '-')
    """
    if value is None or not currency:
        return usd(value)
    return f"{usd(value).replace('$', '')} {currency}"


def span(seconds: float | None) -> str:
    """A length of time.

    >>> span(90), span(7200), span(31536000), span(2.5), span(None)
    ('1.5 min', '2 h', '365 days', '2.5 s', '-')
    """
    if seconds is None:
        return NONE
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size * (2 if size == 86_400 else 1):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _number(value: float, column: Column) -> str:
    return f"{value:.3g}" if column.digits is None else f"{value:,.{column.digits}f}"


KINDS: dict[str, Callable[[Any, Column], str]] = {
    "text": lambda value, _: str(value),
    "tags": lambda value, _: "; ".join(value),
    "integer": lambda value, _: f"{value:,.0f}",
    "number": _number,
    "figure": lambda value, column: figure(value, column.unit or None),
    "count": lambda value, _: count(value),
    "money": lambda value, column: money(value, column.unit),
    "rate": lambda value, _: rate(value),
    "duration": lambda value, _: ms(value),
    "span": lambda value, _: span(value),
    "share": lambda value, column: percent(value) if column.digits is None else f"{value * 100:.{column.digits}f} %",
    "change": lambda value, column: f"{value * 100:+.{1 if column.digits is None else column.digits}f} %",
}
"""How each kind of column is written."""


def shown(value: Value | Cell, column: Column) -> str:
    """A cell as people read it.

    >>> shown(0.0213, Column("TTFT p50", "duration")), shown(Between(1.0, 2.5), Column("80 %", "money"))
    ('21.3', '$1.00 to $2.50')
    >>> shown("never", Column("break-even", "count")), shown(None, Column("p95", "duration"))
    ('never', '-')
    """
    if isinstance(value, Cell):
        return shown(value.value, column) if value.shown is None else value.shown
    if value is None:
        return NONE
    if isinstance(value, Between):
        low, high = shown(value.low, column), "never" if value.high is None else shown(value.high, column)
        return f"{low} to {high}"
    return value if isinstance(value, str) else KINDS[column.kind](value, column)


def heading(column: Column) -> str:
    """A column's name, with the unit where it is not in the cells: durations are milliseconds.

    >>> heading(Column("TTFT p95", "duration")), heading(Column("USD/month", "money"))
    ('TTFT p95 ms', 'USD/month')
    """
    return f"{column.name} ms" if column.kind == "duration" else column.name


def is_number(column: Column) -> bool:
    """Whether its cells are numbers, which stand to the right and are never broken."""
    return column.kind not in {"text", "tags"}
