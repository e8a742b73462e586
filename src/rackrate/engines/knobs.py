"""What a search may change on an engine, and which values are worth trying; each engine's module says its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rackrate.errors import EngineError

Value = str | int | float | bool
Configuration = Mapping[str, Value]

WEIGHTS = "weights"
"""The knob that is no setting of the engine but the number format of its weights: MODEL:FORMAT."""
AS_THEY_ARE = "as they are"

UNSET = "unset"
"""What is not set follows the machine, and may be another figure on the next day."""

LAYOUT = "layout"
"""The knob that is two settings: how many GPUs share each layer x how many replicas, over all GPUs of the machine."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the values worth trying hang on."""

    cores: int
    """Physical ones."""
    logical: int
    """Logical cores."""
    concurrency: int
    """The highest load that will be measured."""
    gguf: bool
    """Whether the weights can be rewritten in another format of GGUF."""
    gpus: int = 0
    """On GPUs the knobs of CPUs are left out."""
    layouts: Sequence[str] = ()
    """Ranks x replicas that hold the model, the best predicted one first; empty: not known."""


@dataclass(frozen=True)
class Knob:
    """One setting and the values worth trying, the engine's (or rackrate's) default first."""

    name: str
    values: tuple[Value, ...]
    why: str

    @property
    def default(self) -> Value:
        """What is measured against."""
        return self.values[0]


@dataclass(frozen=True)
class Space:
    """The knobs of an engine, and configurations to try before any search."""

    knobs: tuple[Knob, ...]
    first: tuple[Configuration, ...]
    """Hunches: changes to the default that have helped before."""

    @property
    def default(self) -> dict[str, Value]:
        """Every knob at its default."""
        return {knob.name: knob.default for knob in self.knobs}

    @property
    def size(self) -> int:
        """How many configurations there are."""
        size = 1
        for knob in self.knobs:
            size *= len(knob.values)
        return size

    def limited(self, names: Sequence[str]) -> Space:
        """Only these knobs. Raises EngineError where one is not known."""
        known = {knob.name: knob for knob in self.knobs}
        for name in names:
            if name not in known:
                raise EngineError(f"{name!r} is nothing that is tuned; there are {', '.join(known)}")
        return Space(
            tuple(known[name] for name in names),
            tuple(config for config in self.first if all(name in names for name in config)),
        )


def over_gpus(machine: Machine, small_kv: str = "fp8") -> list[Knob]:
    """Every GPU is paid for, so every layout uses them all: the fewest ranks for each replica first."""
    gpus = machine.gpus
    layouts = machine.layouts or [f"{ranks}x{gpus // ranks}" for ranks in range(1, gpus + 1) if gpus % ranks == 0]
    layouts = sorted(layouts, key=lambda layout: int(layout.split("x")[0]))
    knobs = [Knob(LAYOUT, tuple(layouts), "GPUs that share each layer x replicas")] if gpus > 1 else []
    return [*knobs, Knob("kv_format", ("auto", small_kv), "number format of the KV cache")]


def best_layout(predicted: Sequence[str]) -> list[Configuration]:
    """Tried first, where it is not the default anyway."""
    return [{LAYOUT: predicted[0]}] if len(predicted) > 1 else []


def distinct(first: int, *others: int) -> tuple[int, ...]:
    """The values in their order, each once."""
    return tuple(dict.fromkeys((first, *others)))


def thread_counts(machine: Machine) -> tuple[int, ...]:
    """All physical cores first; then one fewer, half, and every logical one."""
    return distinct(machine.cores, max(1, machine.cores - 1), max(1, machine.cores // 2), machine.logical)
