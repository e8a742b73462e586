"""What can be tuned on each engine, and what to try first."""

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


def space_of(
    engine: str, *, cores: int, logical: int, concurrency: int, gguf: bool, gpus: int = 0, layouts: Sequence[str] = ()
) -> Space:  # fmt: skip
    """What can be tuned on an engine here.

    Args:
        engine: its name.
        cores: physical cores.
        logical: logical ones.
        concurrency: the highest load that will be measured.
        gguf: whether the weights can be rewritten in another format.
        gpus: how many there are; on GPUs the knobs of CPUs are left out.
        layouts: ranks x replicas that hold the model, the best predicted one first; empty: not known.

    Raises:
        EngineError: the engine has nothing to tune.
    """
    if engine == "llamacpp":
        return _llamacpp(cores, logical, concurrency, gguf=gguf)
    if engine == "vllm":
        return _vllm(cores, concurrency, gpus, layouts)
    if engine == "sglang" and gpus:
        return _sglang(concurrency, gpus, layouts)
    if engine == "transformers":
        knobs = (
            Knob("batch_tokens", _around(max(512, concurrency), (2048, 128)), "tokens of one step"),
            Knob("threads", _up_to(cores, logical), "for computing"),
            Knob("block_size", (256, 64, 32), "tokens of a KV block"),
        )
        return Space(knobs, ())
    raise EngineError(f"{engine} has nothing to tune here; llamacpp, vllm and transformers have, and sglang on GPUs")


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


def as_options(configuration: Configuration) -> list[str]:
    """The same as options of `measure` and `serve`.

    >>> as_options({"layout": "1x2", "prefix_caching": False})
    ['--set', 'tensor_parallel=1', '--set', 'data_parallel=2', '--set', 'prefix_caching=off']
    """
    options: list[str] = []
    for name, value in settings_of(configuration).items():
        said = ("on" if value else "off") if isinstance(value, bool) else str(value)
        options += ["--set", f"{name}={said}"]
    return options


def _llamacpp(cores: int, logical: int, concurrency: int, *, gguf: bool) -> Space:
    knobs = [
        Knob("slots", _around(concurrency, (max(1, concurrency // 2), max(1, concurrency // 4))), "requests at once"),
        Knob("threads", _up_to(cores, logical), "for computing"),
        Knob("micro_batch_tokens", (512, 64, 128, 256, 1024), "tokens computed at once"),
        Knob("batch_tokens", (2048, 256, 512), "tokens of one step: how long a prefill holds up decoding"),
        Knob("kv_unified", (False, True), "one KV cache for all slots"),
        Knob("flash_attention", ("auto", "on", "off"), "fused attention"),
        Knob("kv_format", ("f16", "q8_0", "bf16"), "number format of the KV cache"),
        Knob("bind", (False, True), "a thread to a core"),
        Knob("poll", (50, 0, 100), "how eagerly threads wait"),
    ]
    first: list[Configuration] = []
    if gguf:
        # llama.cpp repacks Q4_0 and Q8_0 for wide vector units; other formats are computed as stored
        knobs.insert(0, Knob(WEIGHTS, (AS_THEY_ARE, "Q4_0", "Q8_0"), "number format of the weights"))
        first = [{WEIGHTS: "Q4_0"}, {WEIGHTS: "Q8_0"}, {WEIGHTS: "Q4_0", "kv_unified": True}]
    first += [{"kv_unified": True}, {"micro_batch_tokens": 128}]
    return Space(tuple(knobs), tuple(first))


def _vllm(cores: int, concurrency: int, gpus: int, layouts: Sequence[str]) -> Space:
    knobs = [
        Knob("batch_tokens", (2048, 256, 512, 1024, 4096), "tokens of one step: prefill and decode together"),
        Knob("max_num_seqs", _around(concurrency, (max(1, concurrency // 2), 2 * concurrency)), "requests at once"),
        Knob("prefix_caching", (True, False), "equal beginnings of prompts are computed once"),
    ]
    first: list[Configuration] = [{"batch_tokens": 512}, {"prefix_caching": False}]
    if gpus:
        knobs += _over_gpus(gpus, layouts)
        knobs.append(Knob("memory_share", (0.9, 0.95, 0.8), "share of a GPU's memory: room for the KV cache"))
        first = [*_best_layout(layouts), *first]
    else:
        everything = f"0-{cores - 1}" if cores > 1 else "0"
        binds = dict.fromkeys((everything, "nobind", f"0-{cores - 2}" if cores > 2 else "0"))
        knobs.append(Knob("threads_bind", tuple(binds), "cores of the worker; one fewer leaves one to the server"))
        knobs.append(Knob("eager", (False, True), "without compiling the model"))
        knobs.append(Knob("kv_gib", (UNSET, 1, 4), "memory of the KV cache; unset: by what is free"))
        first += [{"threads_bind": "nobind"}, {"eager": True}]
    return Space(tuple(knobs), tuple(first))


def _sglang(concurrency: int, gpus: int, layouts: Sequence[str]) -> Space:
    knobs = [
        Knob(
            "batch_tokens", (8192, 2048, 4096, 16384), "prompt tokens of one step: how long prefill holds up decoding"
        ),
        Knob("max_num_seqs", _around(concurrency, (max(1, concurrency // 2), 2 * concurrency)), "requests at once"),
        Knob("prefix_caching", (True, False), "equal beginnings of prompts are computed once"),
        *_over_gpus(gpus, layouts, "fp8_e5m2"),
    ]
    return Space(tuple(knobs), (*_best_layout(layouts), {"batch_tokens": 2048}, {"prefix_caching": False}))


def _over_gpus(gpus: int, known: Sequence[str], small_kv: str = "fp8") -> list[Knob]:
    """Every GPU is paid for, so every layout uses them all: the fewest ranks for each replica first."""
    layouts = known or [f"{ranks}x{gpus // ranks}" for ranks in range(1, gpus + 1) if gpus % ranks == 0]
    layouts = sorted(layouts, key=lambda layout: int(layout.split("x")[0]))
    knobs = [Knob(LAYOUT, tuple(layouts), "GPUs that share each layer x replicas")] if gpus > 1 else []
    return [*knobs, Knob("kv_format", ("auto", small_kv), "number format of the KV cache")]


def _best_layout(predicted: Sequence[str]) -> list[Configuration]:
    """Tried first, where it is not the default anyway."""
    return [{LAYOUT: predicted[0]}] if len(predicted) > 1 else []


def _around(first: int, others: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(dict.fromkeys((first, *others)))


def _up_to(cores: int, logical: int) -> tuple[int, ...]:
    """All physical cores first; then one fewer, half, and every logical one."""
    return tuple(dict.fromkeys((cores, max(1, cores - 1), max(1, cores // 2), logical)))
