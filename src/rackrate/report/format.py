"""Numbers for people. Inside, durations are seconds and sizes are bytes; here they become ms and GiB."""

from __future__ import annotations

from typing import Any

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

    >>> rate(84.91), rate(1234.5), rate(0.1234)
    ('84.9', '1,234', '0.123')
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
    )


def count(value: float | None) -> str:
    """A large number of tokens.

    >>> count(157_075_200), count(2.19e9), count(950)
    ('157 M', '2.19 G', '950')
    """
    if value is None:
        return NONE
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def percent(share: float | None) -> str:
    """A share of one.

    >>> percent(0.731), percent(0.002)
    ('73 %', '0.2 %')
    """
    if share is None:
        return NONE
    return f"{share * 100:.0f} %" if share >= 0.1 or share == 0 else f"{share * 100:.2g} %"


def lengths(workload: dict[str, Any]) -> str:
    """How long requests were, as asked for.

    >>> lengths({"input_tokens": 64, "output_tokens": 128, "endpoint": "chat"})
    '64 tokens in, 128 out, chat'
    >>> lengths({"input_tokens": None, "output_tokens": 128, "endpoint": None})
    'input length not stated, 128 tokens out'
    """
    into, out = workload["input_tokens"], workload["output_tokens"]
    words = [f"{into} tokens in" if into is not None else "input length not stated"]
    if out is None:
        words.append("output length not stated")
    else:
        words.append(f"{out} out" if into is not None else f"{out} tokens out")
    return ", ".join([*words, *([workload["endpoint"]] if workload["endpoint"] else [])])


def load_label(level: dict[str, Any]) -> str:
    """A level's load: requests in flight, or arrivals a second.

    >>> load_label({"kind": "closed", "concurrency": 8, "rate": None, "arrivals": None})
    '8'
    >>> load_label({"kind": "open", "concurrency": None, "rate": 2.5, "arrivals": "poisson"})
    '2.5/s poisson'
    """
    if level["kind"] == "open":
        return f"{level['rate']:g}/s {level['arrivals']}"
    return f"{level['concurrency']}" + (" (prefill alone)" if level["kind"] == "prefill" else "")


def clock(seconds: float) -> str:
    """A span of time to wait.

    >>> clock(75), clock(4000)
    ('1:15', '1:06:40')
    """
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
