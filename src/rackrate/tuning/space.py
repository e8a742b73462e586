"""What can be tuned on an engine here, and a configuration as settings of the engine."""

from __future__ import annotations

from rackrate.engines import known
from rackrate.engines.knobs import LAYOUT, UNSET, WEIGHTS, Configuration, Machine, Space, Value
from rackrate.errors import EngineError


def space_of(engine: str, machine: Machine) -> Space:
    """What can be tuned on an engine here. Raises EngineError where there is nothing."""
    spec = known.find_engine(engine)
    space = spec.tuning(machine) if spec is not None and spec.tuning is not None else None
    if space is None:
        there = [spec.name for spec in known.ENGINES if spec.tuning is not None and spec.tuning(machine) is not None]
        raise EngineError(f"{engine} has nothing to tune here; {', '.join(there)} have")
    return space


def settings_of(configuration: Configuration) -> dict[str, Value]:
    """What a configuration sets on the engine; the format of the weights is no setting.

    >>> settings_of({"weights": "Q4_0", "layout": "2x4", "kv_gib": "unset", "eager": True})
    {'tensor_parallel': 2, 'data_parallel': 4, 'eager': True}
    """
    settings: dict[str, Value] = {}
    for name, value in configuration.items():
        if name == LAYOUT:
            ranks, replicas = map(int, str(value).split("x"))
            settings |= {"tensor_parallel": ranks, "data_parallel": replicas}
        elif name != WEIGHTS and value != UNSET:
            settings[name] = value
    return settings


def assignments(configuration: Configuration) -> list[str]:
    """The same as NAME=VALUE, as `read_settings` reads it.

    >>> assignments({"layout": "1x2", "prefix_caching": False})
    ['tensor_parallel=1', 'data_parallel=2', 'prefix_caching=off']
    """
    return [
        f"{name}={('on' if value else 'off') if isinstance(value, bool) else value}"
        for name, value in settings_of(configuration).items()
    ]
