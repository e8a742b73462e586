"""The engines that rackrate knows. A new one is a module with an `EngineSpec`, and a line here."""

from __future__ import annotations

from rackrate.engines import (
    by_url,
    deepspeed_mii,
    llamacpp,
    naive,
    sglang,
    tensorrt_llm,
    tgi,
    transformers_serve,
    vllm,
)
from rackrate.engines.spec import EngineSpec, Launch
from rackrate.errors import EngineError, did_you_mean

ENGINES: tuple[EngineSpec, ...] = (
    llamacpp.SPEC,
    vllm.SPEC,
    transformers_serve.SPEC,
    naive.SPEC,
    sglang.SPEC,
    tgi.SPEC,
    by_url.OLLAMA,
    by_url.LM_STUDIO,
    by_url.LMDEPLOY,
    by_url.DYNAMO,
    by_url.OPENAI,
    tensorrt_llm.SPEC,
    deepspeed_mii.SPEC,
)


def default_engine(*, gguf: bool) -> str:
    """The engine that predictions are of where none is named: llama.cpp for GGUF, else vLLM."""
    return llamacpp.NAME if gguf else vllm.NAME


def find_engine(name: str) -> EngineSpec | None:
    """The engine of that name or alias; None where there is none."""
    wanted = name.lower()
    return next((spec for spec in ENGINES if wanted == spec.name or wanted in spec.aliases), None)


def names_that_take_keys() -> list[str]:
    """The engines that can be started with an API key that no command shows."""
    return [spec.name for spec in ENGINES if spec.launch is not None and spec.launch.takes_key]


def engine_of_label(label: str) -> EngineSpec | None:
    """The engine that runs call so; None where there is none."""
    return next((spec for spec in ENGINES if label == spec.label), None)


def listed_engine(name: str) -> EngineSpec:
    """The engine of that name that can be measured. Raises EngineError naming like ones where there is none."""
    listed = [spec for spec in ENGINES if spec.needs]
    for spec in listed:
        if name.lower() == spec.name:
            return spec
    ours = [spec.name for spec in listed]
    raise EngineError(f"no engine is called {name!r}{did_you_mean(name, ours)} (docs/engines.md lists them)")


def launcher(name: str) -> Launch:
    """How the engine of that name is installed and started. Raises EngineError with what to do instead."""
    started = {spec.name: spec.launch for spec in ENGINES if spec.launch is not None}
    launch = started.get(name.lower())
    if launch is not None:
        return launch
    spec = find_engine(name)
    if spec is None:
        raise EngineError(f"no engine is called {name!r}{did_you_mean(name, started)} (docs/engines.md lists them)")
    if spec.launch is not None:
        raise EngineError(f"no engine is called {name!r}; did you mean {spec.name}?")
    raise EngineError(
        f"rackrate does not start {spec.title} yet: start it yourself and measure it by its URL, such as "
        f"{spec.url or 'http://HOST:8000'}; it starts {', '.join(started)}"
    )
