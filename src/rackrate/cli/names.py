"""What a command calls the fields of requests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache

from rackrate.cli.commands import COMMANDS, Commands

_OTHERS: dict[str, tuple[str, ...]] = {
    "apis": ("api",),
    "calibration": ("calibrated",),
    "contracts": ("contract",),
    "context_tokens": ("context",),
    "data": ("files",),
    "discounts": ("discount",),
    "engine": ("name",),
    "engines": ("engine",),
    "levels": ("concurrency",),
    "offers": ("offer",),
    "other": ("others",),
    "price_kinds": ("price_kind",),
    "rates": ("rate",),
    "rigs": ("own",),
    "run": ("what", "resume"),
    "settings": ("set",),
    "shapes": ("shape",),
    "tokenizer_ratios": ("tokenizer_ratio",),
    "with_run": ("run",),
}
"""Fields that commands have under other names."""

_COMMANDS = frozenset({"calibrate fit", "catalog", "engines install"})
"""What messages name as a thing to run."""


def option_name(field: str, names: Mapping[str, str] | None = None) -> str:
    """What sets a field: an option, or an argument by its placeholder; plain words where the command has neither.

    Args:
        field: of a request.
        names: of the command, by `names_of`; None: of any.

    >>> option_name("requests_per_day"), option_name("rigs"), option_name("price_kind", {"offer": "--offer"})
    ('--requests-per-day', '--own', 'price kind')
    >>> option_name("engines install")
    'rackrate engines install'
    """
    if field in _COMMANDS:
        return f"rackrate {field}"
    also = _OTHERS.get(field, ())
    if names is None:
        return "--" + (*also, field)[0].replace("_", "-")
    known = next((names[name] for name in (field, *also) if name in names), None)
    return known if known is not None else field.replace("_", " ")


@cache
def names_of(command: str) -> Mapping[str, str]:
    """What each parameter of a command is called: its longest option, or the placeholder of an argument."""
    names: dict[str, str] = {}
    for item in Commands()[command].params if command in COMMANDS else ():
        for option in (*item.opts, *item.secondary_opts):
            if option.startswith("--"):
                names[option.removeprefix("--").replace("-", "_")] = option
        if item.param_type_name == "argument":
            names[item.name] = str(item.metavar or item.name.upper()).partition("|")[0]
        else:
            names[item.name] = max(item.opts, key=len)
    return names


def namer_of(command: str) -> Callable[[str], str]:
    """What a command calls fields."""
    return lambda field: option_name(field, names_of(command))


def command_line_namer() -> Callable[[str], str]:
    """What the command of this process calls fields; the root has no option that takes a value."""
    return namer_of(next((word for word in sys.argv[1:] if not word.startswith("-")), ""))
