"""What a million tokens costs on hardware you rent or own, at your own traffic, and when that beats an API.

    import rackrate
    pricing = rackrate.price("runs/gpu", utilisation=0.3)

The functions of `rackrate.api` are here by their names; each is loaded when it is first asked for.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
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
    found = import_module(f"rackrate.{name}") if name in _ROOMS else getattr(import_module("rackrate.api"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_ROOMS = ("measure", "simulate", "study")
"""Functions of the API that a room of the package shares its name with: the room itself can be called."""


class _CalledRoom(ModuleType):
    """A room that is called as the function of the API whose name it has."""

    def __call__(self, *args: Any, **fields: Any) -> Any:
        return getattr(import_module("rackrate.api"), self.__name__.rpartition(".")[2])(*args, **fields)


class _Package(ModuleType):
    """This package. The import system binds a room under its name here, which makes it one that can be called."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _ROOMS and isinstance(value, ModuleType):
            value.__class__ = _CalledRoom
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
