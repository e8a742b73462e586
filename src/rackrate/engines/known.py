"""The engines that rackrate knows, and what each needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rackrate.engines.process import EngineCommand
from rackrate.engines.settings import LaunchOptions, Setting
from rackrate.engines.weights import Weights
from rackrate.errors import EngineError, did_you_mean


class Launcher(Protocol):
    """What an engine's module says of it: how to install it, find weights for it, and start it."""

    @property
    def NAME(self) -> str: ...  # noqa: N802 - a module's constant
    @property
    def TITLE(self) -> str: ...  # noqa: N802
    @property
    def SETTINGS(self) -> tuple[Setting, ...]: ...  # noqa: N802
    @property
    def is_ready(self) -> Callable[[], bool]: ...
    @property
    def install(self) -> Callable[[Callable[[str], None]], None]: ...
    def find(self, model: str, say: Callable[[str], None], *, install: bool = True) -> Weights: ...
    def command(self, weights: Weights, alias: str, wanted: LaunchOptions) -> EngineCommand: ...


@dataclass(frozen=True)
class KnownEngine:
    """An engine that rackrate starts itself, or that it measures by URL."""

    name: str
    title: str
    needs: str
    started_by_us: bool
    how: str


ENGINES = (
    KnownEngine(
        "llamacpp",
        "llama.cpp server (embedded)",
        "an x86-64 or arm64 CPU; 33 MB of engine and 93 MB of weights from the package index; 1 GB of memory",
        True,
        "rackrate measure --engine llamacpp",
    ),
    KnownEngine(
        "vllm",
        "vLLM",
        "a CPU with AVX2 or AVX-512: 2.4 GB on the disk, a C++ compiler for full speed; on NVIDIA GPUs its own wheel, "
        "or an installation of your own named by RACKRATE_VLLM_PYTHON",
        True,
        "rackrate measure --engine vllm",
    ),
    KnownEngine(
        "transformers",
        "transformers serve (Hugging Face, continuous batching)",
        "1.2 GB on the disk (PyTorch)",
        True,
        "rackrate measure --engine transformers",
    ),
    KnownEngine(
        "naive",
        "transformers' model.generate, one request at a time: a baseline",
        "the environment of transformers",
        True,
        "rackrate measure --engine naive",
    ),
    KnownEngine(
        "sglang",
        "SGLang",
        "an NVIDIA GPU, or an installation of your own named by RACKRATE_SGLANG_PYTHON",
        True,
        "rackrate measure --engine sglang",
    ),
    KnownEngine("tgi", "Text Generation Inference", "a server that you started", False, "rackrate measure --url http://HOST:8080"),
    KnownEngine("ollama", "Ollama", "a server that you started", False, "rackrate measure --url http://HOST:11434"),
    KnownEngine("lmstudio", "LM Studio", "a server that you started", False, "rackrate measure --url http://HOST:1234"),
    KnownEngine(
        "openai", "any OpenAI-compatible server or API", "its URL, and its key in a variable", False,
        "rackrate measure --url URL --key-env NAME",
    ),
)  # fmt: skip


def known_engine(name: str) -> KnownEngine:
    """The engine of that name, if rackrate can start it. Raises EngineError with what to do instead."""
    for engine in ENGINES:
        if engine.name == name.lower():
            if not engine.started_by_us:
                raise EngineError(
                    f"rackrate does not start {engine.title} yet: start it yourself and measure it with `{engine.how}`"
                )
            return engine
    ours = [engine.name for engine in ENGINES]
    raise EngineError(f"no engine is called {name!r}{did_you_mean(name, ours)} (`rackrate engines` lists them)")


def launcher(name: str) -> Launcher:
    """The module of an engine that rackrate starts. Raises EngineError where there is none of that name."""
    from rackrate.engines import llamacpp, naive, sglang, transformers_serve, vllm

    wanted = known_engine(name).name
    modules: tuple[Launcher, ...] = (llamacpp, vllm, sglang, transformers_serve, naive)
    return next(module for module in modules if wanted == module.NAME)
