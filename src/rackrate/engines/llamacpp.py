"""The embedded engine: llama.cpp's server, from the wheel xllamacpp."""

from __future__ import annotations

import json
from pathlib import Path

import psutil

from rackrate.engines.install import environment_python, is_installed, pin_file
from rackrate.engines.process import EngineCommand, free_port
from rackrate.engines.weights import Weights
from rackrate.errors import EngineError

NAME = "llamacpp"
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


def command(
    weights: Weights,
    alias: str,
    *,
    slots: int,
    context_tokens: int,
    threads: int | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
) -> EngineCommand:
    """How to serve a GGUF file with continuous batching.

    Args:
        weights: the file.
        alias: the model's name in requests.
        slots: requests that are served at once; more wait.
        context_tokens: longest input + output of one request.
        threads: for computing; all physical cores by default.
        host: 127.0.0.1 unless told otherwise.
        port: a free one by default.

    Raises:
        EngineError: the engine is not installed.
    """
    if not is_installed(NAME):
        raise EngineError("llama.cpp is not installed: run `rackrate engines install llamacpp`")
    threads = threads or psutil.cpu_count(logical=False) or 1
    context = -(-context_tokens // _CONTEXT_STEP) * _CONTEXT_STEP
    chosen = port or free_port(host)
    settings: dict[str, str | int | float | bool | None] = {
        "slots": slots,
        "context_per_slot": context,
        "threads": threads,
        "batch_tokens": 2048,
        "micro_batch_tokens": 512,
    }
    started_with = {**settings, "weights": str(weights.path), "alias": alias, "host": host, "port": chosen}
    launcher = Path(__file__).parent / "launch" / "llamacpp_server.py"
    return EngineCommand(
        name="llama.cpp",
        version=f"xllamacpp {version()}",
        argv=[str(environment_python(NAME)), "-u", str(launcher), json.dumps(started_with)],
        environment={},
        host=host,
        port=chosen,
        ready_path="/health",
        served_name=alias,
        settings=settings,
    )
