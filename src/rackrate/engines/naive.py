"""The naive loop: plain `model.generate`, one request at a time. A baseline, as a first attempt would be."""

from __future__ import annotations

import json
from pathlib import Path

from rackrate.engines.install import environment_python, install_environment, is_installed, pinned_version
from rackrate.engines.process import KEY_VARIABLE, EngineCommand, free_port
from rackrate.engines.safetensors import find_safetensors
from rackrate.engines.settings import LaunchOptions, Scalar, Setting, merged
from rackrate.engines.spec import EngineSpec, Fingerprint, Launch, Notify
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
    return f"transformers {pinned_version(PINS, 'transformers')}"


def is_ready() -> bool:
    """Whether its environment is there."""
    return is_installed(PINS)


def install(notify: Notify) -> None:
    """Makes its environment."""
    install_environment(PINS, notify, torch=True)


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
        raise EngineError("transformers is not installed: run `{engines install} naive`", field="engines install")
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
        fetches=weights.hub_id is not None,
        secrets={KEY_VARIABLE: wanted.key} if wanted.key else {},
    )


SPEC = EngineSpec(
    name=NAME,
    title="transformers' model.generate, one request at a time: a baseline",
    label=TITLE,
    needs="the environment of transformers",
    launch=Launch(
        settings=SETTINGS, is_ready=is_ready, install=install, find=find_safetensors, command=command, takes_key=True
    ),
    # engines/launch/naive_server.py
    metrics={
        "output_tokens": ("naive:generation_tokens_total",),
        "running": ("naive:requests_running",),
        "waiting": ("naive:requests_waiting",),
    },
    fingerprint=Fingerprint(owned_by=("rackrate-naive",)),
)
