"""What the command line calls the fields of requests."""

from __future__ import annotations

_OTHERS = {
    "apis": "--api",
    "contracts": "--contract",
    "context_tokens": "--context",
    "discounts": "--discount",
    "engines": "--engine",
    "levels": "--concurrency",
    "offers": "--offer",
    "price_kinds": "--price-kind",
    "rates": "--rate",
    "rigs": "--own",
    "run": "RUN",
    "settings": "--set",
    "shapes": "--shape",
    "tokenizer_ratios": "--tokenizer-ratio",
    "with_run": "--run",
}
"""Fields whose option is not their own name."""


def option_name(field: str) -> str:
    """The option that sets a field.

    >>> option_name("requests_per_day"), option_name("rigs")
    ('--requests-per-day', '--own')
    """
    return _OTHERS.get(field) or "--" + field.replace("_", "-")
