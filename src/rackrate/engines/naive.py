"""The naive loop: plain `model.generate`, one request at a time. A baseline, as a first attempt would be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from rackrate.engines.install import environment_python, install_environment, is_installed, pin_file
from rackrate.engines.process import EngineCommand, free_port
from rackrate.engines.safetensors import find_safetensors
from rackrate.engines.settings import LaunchOptions, Scalar, Setting, merged
from rackrate.engines.weights import Weights
from rackrate.errors import EngineError

NAME = "naive"
TITLE = "naive transformers"
PINS = "transformers"
START_TIMEOUT_S = 300.0
SETTINGS = (
    Setting("dtype", "word", "number format of weights and KV", ("bfloat16", "float16", "float32")),
    Setting("device", "word", "cpu, cuda:0, ..."),
    Setting("threads", "whole", "for computing", least=1),
)


def version() -> str:
    """The pinned version of transformers."""
    for line in pin_file(PINS).read_text(encoding="utf-8").splitlines():
        if line.startswith("transformers=="):
            return f"transformers {line.split('==')[1].split()[0]}"
    raise EngineError(f"{pin_file(PINS)} does not pin transformers")


def is_ready() -> bool:
    """Whether its environment is there."""
    return is_installed(PINS)


def install(say: Callable[[str], None]) -> None:
    """Makes its environment."""
    install_environment(PINS, say, torch=True)


def find(model: str, say: Callable[[str], None], *, install: bool = True) -> Weights:
    """Weights that it can serve."""
    return find_safetensors(model, say, install=install)


def command(weights: Weights, alias: str, wanted: LaunchOptions) -> EngineCommand:
    """How to serve a model, one request at a time.

    Args:
        weights: a directory of safetensors or a hub id.
        alias: the model's name in requests.
        wanted: what for; slots and context_tokens are not used: it takes one request at a time.

    Raises:
        EngineError: not installed, or no such setting.
    """
    if not is_ready():
        raise EngineError("transformers is not installed: run `rackrate engines install naive`")
    defaults: dict[str, Scalar] = {
        "dtype": "bfloat16",
        "device": "cpu",
        "threads": wanted.threads,
    }
    chosen = merged(NAME, SETTINGS, defaults, wanted.settings)
    port = wanted.port or free_port(wanted.host)
    launcher = Path(__file__).parent / "launch" / "naive_server.py"
    started_with = {**chosen, "weights": weights.argument, "alias": alias, "host": wanted.host, "port": port}
    return EngineCommand(
        name=TITLE,
        version=version(),
        argv=[str(environment_python(PINS)), "-u", str(launcher), json.dumps(started_with)],
        has_children=True,
        environment={},
        host=wanted.host,
        port=port,
        ready_path="/health",
        served_name=alias,
        settings=chosen,
        start_timeout_s=START_TIMEOUT_S,
    )
