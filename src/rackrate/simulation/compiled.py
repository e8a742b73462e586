"""`compiled`: numba's njit, and nothing at all where RACKRATE_PLAIN_PYTHON is set or numba does not load.

The decorated functions are written in the part of Python that both understand, so that they give equal results either
way (docs/decisions/0006). Compiled code is kept in the user's cache directory, one folder per state of the sources:
numba looks only at the file of a function itself, not at the files of those that it calls.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")
_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

SOURCES = (
    "compiled.py",
    "state.py",
    "step.py",
    "kernel.py",
    "queues.py",
    "scheduling.py",
    "stretches.py",
    "slots.py",
    "prefix.py",
    "routing.py",
    "tally.py",
    "finite_run.py",
)
"""The files whose functions are compiled together."""


def _cache_directory() -> str | None:
    """Where compiled code is kept; None where nothing can be written."""
    import platformdirs

    digest = hashlib.sha256()
    for name in SOURCES:
        path = Path(__file__).parent / name
        if path.exists():
            digest.update(path.read_bytes())
    directory = platformdirs.user_cache_path("rackrate") / "compiled" / digest.hexdigest()[:16]
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return str(directory) if os.access(directory, os.W_OK) else None


_DIRECTORY = os.environ.get("NUMBA_CACHE_DIR") or _cache_directory()


def first_use() -> str | None:
    """What to say before the first simulation: that it is slow without numba, or compiled now; else None.

    Whether compiled code is kept is looked up by the index files of numba: nothing is loaded.
    """
    if not IS_COMPILED:
        return "numba is switched off or does not load here: this runs some hundred times slower"
    if _DIRECTORY is None:
        return "the simulator is compiled now, some 20 s, at each use: no cache directory can be written"
    if not any(Path(_DIRECTORY).glob("**/scheduling.*.nbi")):
        return "the simulator is compiled now, at its first use: some 20 s"
    return None


def _decorators() -> tuple[_Decorator, _Decorator, _Decorator] | None:
    if os.environ.get("RACKRATE_PLAIN_PYTHON"):
        return None
    try:
        import numba
    except ImportError:
        return None
    directory = _DIRECTORY
    # nogil: plans simulate on several cores at once; numpy's rules of division save a check in every one
    njit = cast("Any", numba).njit
    settings = {"cache": directory is not None, "nogil": True, "error_model": "numpy"}
    if hasattr(cast("Any", numba).core.options.DefaultOptions, "_nrt"):
        # no function makes an array: without this each look into one counts references to it up and down, with two
        # locked instructions, which took nine tenths of the time
        settings["_nrt"] = False

    def decorator(**more: bool) -> _Decorator:
        decorate = njit(**settings, **more)

        def apply(function: Callable[..., Any]) -> Callable[..., Any]:
            if directory is not None:
                # set anew for each function: others may keep theirs elsewhere in the meantime
                cast("Any", numba).config.CACHE_DIR = directory
            return decorate(function)

        return apply

    # inlined, jit_inline functions are not handed the arrays one by one: 1.4 times as fast, no longer to compile
    bare = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return decorator(), decorator(**bare, forceinline=True), decorator(**bare)


_DECORATORS = _decorators()

IS_COMPILED = _DECORATORS is not None
"""Whether numba is used. Without it the same functions run as plain Python, some hundred times slower."""


def compiled(function: Callable[P, T]) -> Callable[P, T]:
    """Compiles a function at its first call; leaves it as it is without numba, or with RACKRATE_PLAIN_PYTHON set."""
    return function if _DECORATORS is None else cast("Callable[P, T]", _DECORATORS[0](function))


def jit_inline(function: Callable[P, T]) -> Callable[P, T]:
    """The same for a function that only compiled ones call: what Python would need to call it is not compiled."""
    return function if _DECORATORS is None else cast("Callable[P, T]", _DECORATORS[1](function))


def jit(function: Callable[P, T]) -> Callable[P, T]:
    """As `jit_inline`, but not inlined where it is called: for what only some simulations need."""
    return function if _DECORATORS is None else cast("Callable[P, T]", _DECORATORS[2](function))
