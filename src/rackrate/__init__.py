"""What a million tokens costs on hardware you rent or own, at your own traffic, and when that beats an API.

    import rackrate
    pricing = rackrate.price("runs/gpu", utilisation=0.3)

The functions of `rackrate.api` are here by their names; each is loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rackrate.api import ameasure, compare, fit, fleet, load, measure, plan, price, simulate, study

__version__ = "0.1.0"

__all__ = [
    "__version__", "ameasure", "compare", "fit", "fleet", "load", "measure", "plan", "price", "simulate", "study",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'rackrate' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module("rackrate.api"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
