"""The engines that rackrate knows, and what each needs."""

from __future__ import annotations

from dataclasses import dataclass

from rackrate.errors import EngineError, did_you_mean


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
    KnownEngine("vllm", "vLLM", "a server that you started", False, "rackrate measure --url http://HOST:8000"),
    KnownEngine("sglang", "SGLang", "a server that you started", False, "rackrate measure --url http://HOST:30000"),
    KnownEngine("tgi", "Text Generation Inference", "a server that you started", False, "rackrate measure --url http://HOST:8080"),
    KnownEngine("ollama", "Ollama", "a server that you started", False, "rackrate measure --url http://HOST:11434"),
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
