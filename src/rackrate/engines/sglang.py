"""SGLang on GPUs: from its wheel, or from an installation of the user's own. Not run by us: it needs one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate.engines.gpus import found_gpus
from rackrate.engines.install import (
    environment_python,
    install_by_version,
    install_environment,
    is_installed,
    pinned_version,
)
from rackrate.engines.knobs import Knob, Machine, Space, best_layout, distinct, over_gpus
from rackrate.engines.process import EngineCommand, free_port
from rackrate.engines.safetensors import CONVERTER, find_safetensors
from rackrate.engines.settings import LaunchOptions, Setting, Settings, flags_of, merged
from rackrate.engines.spec import (
    EngineMemory,
    EngineRelease,
    EngineSpec,
    Fingerprint,
    HostTimes,
    Launch,
    Notify,
    Scheduler,
    is_large,
)
from rackrate.engines.vllm import on_gpu
from rackrate.engines.weights import Weights
from rackrate.errors import EngineError

if TYPE_CHECKING:
    from rackrate.catalog.types import Accelerator

NAME = "sglang"
TITLE = "SGLang"
START_TIMEOUT_S = 900.0
"""Large models are read and their CUDA graphs captured for minutes."""
SETTINGS = (
    Setting("dtype", "word", "number format of weights", ("auto", "float16", "bfloat16", "float32")),
    Setting("max_num_seqs", "whole", "requests served at once", least=1),
    Setting("batch_tokens", "whole", "prompt tokens of one step at most (its chunked prefill)", least=1),
    Setting("prefix_caching", "switch", "whether equal beginnings of prompts are computed once"),
    Setting("memory_share", "number", "share of a GPU's memory for weights and KV cache", least=0.05),
    Setting("tensor_parallel", "whole", "GPUs that share each layer", least=1),
    Setting("pipeline_parallel", "whole", "GPUs that take layers in turn", least=1),
    Setting("data_parallel", "whole", "replicas behind the one URL", least=1),
    Setting("quantisation", "word", "how weights are quantised, such as fp8 or awq"),
    Setting("kv_format", "word", "number format of the KV cache, such as fp8_e5m2"),
    Setting("eager", "switch", "without CUDA graphs: starts sooner, decodes slower"),
    Setting("context_tokens", "whole", "longest input + output of one request", least=1),
)
_PINS = "sglang"
_OWN = "RACKRATE_SGLANG_PYTHON"


def version() -> str:
    """The pinned version."""
    return pinned_version(_PINS, "sglang")


def is_ready() -> bool:
    """Whether it is installed."""
    return _python() is not None


def _python() -> Path | None:
    """The Python to run it with: of the user's own SGLang, or of the environment made for it."""
    named = os.environ.get(_OWN)
    if named:
        return Path(named)
    return environment_python(_PINS) if is_installed(_PINS) else None


def install(notify: Notify) -> None:
    """Makes its environment, and the one that converts weights for it.

    Raises:
        EngineError: no NVIDIA GPU is here; the package index has no SGLang for anything else.
    """
    if not any(gpu.vendor == "nvidia" for gpu in found_gpus()):
        raise EngineError(
            "SGLang's wheels are for NVIDIA GPUs, and this machine shows none: with a build for other hardware, name "
            f"its Python by {_OWN}"
        )
    install_by_version(_PINS, notify)
    install_environment(CONVERTER, notify, torch=True)


def command(weights: Weights, alias: str, wanted: LaunchOptions) -> EngineCommand:
    """How to serve a model; what is not set is left to SGLang.

    Args:
        weights: a directory of safetensors or a hub id.
        alias: the model's name in requests.
        wanted: what for; threads is not used: SGLang places its own.

    Raises:
        EngineError: not installed, or no such setting.
    """
    python = _python()
    if python is None:
        raise EngineError(
            "SGLang is not installed: run `{engines install} sglang` on a machine with an NVIDIA GPU, or name "
            f"the Python of an installation of your own by {_OWN}",
            field="engines install",
        )
    chosen = merged(
        NAME, SETTINGS, {"max_num_seqs": wanted.slots, "context_tokens": wanted.context_tokens}, wanted.settings
    )
    port = wanted.port or free_port(wanted.host)
    argv = [str(python), "-m", "sglang.launch_server", "--model-path", weights.argument]
    argv += ["--served-model-name", alias, "--host", wanted.host, "--port", str(port), "--enable-metrics"]
    argv += _flags(chosen)
    if not on_gpu():
        argv += ["--device", "cpu"]
    return EngineCommand(
        name=TITLE,
        version=None if os.environ.get(_OWN) else version(),
        argv=argv,
        has_children=True,
        environment={},
        host=wanted.host,
        port=port,
        ready_path="/health",
        served_name=alias,
        settings=chosen,
        start_timeout_s=START_TIMEOUT_S,
        fetches=weights.hub_id is not None,
    )


def _flags(chosen: Settings) -> list[str]:
    """As `python -m sglang.launch_server --help` names them (its server_args.py, 0.5.23)."""
    plain = {
        "dtype": "--dtype", "max_num_seqs": "--max-running-requests", "batch_tokens": "--chunked-prefill-size",
        "context_tokens": "--context-length", "tensor_parallel": "--tensor-parallel-size",
        "pipeline_parallel": "--pipeline-parallel-size", "data_parallel": "--data-parallel-size",
        "quantisation": "--quantization", "kv_format": "--kv-cache-dtype", "memory_share": "--mem-fraction-static",
    }  # fmt: skip
    flags = flags_of(chosen, plain)
    if chosen.get("prefix_caching") is False:
        flags.append("--disable-radix-cache")
    if chosen.get("eager"):
        flags.append("--disable-cuda-graph")
    return flags


def _scheduler(accelerator: Accelerator, prompt_tokens: float) -> Scheduler:
    del prompt_tokens
    budget = 8192 if is_large(accelerator) else 4096
    return Scheduler(2048, budget, mixed=False, reserve_fraction=0.4, memory_share=0.87)


def _tuning(machine: Machine) -> Space | None:
    if not machine.gpus:
        return None
    most = distinct(machine.concurrency, max(1, machine.concurrency // 2), 2 * machine.concurrency)
    batches = (8192, 2048, 4096, 16384)
    knobs = [
        Knob("batch_tokens", batches, "prompt tokens of one step: how long prefill holds up decoding"),
        Knob("max_num_seqs", most, "requests at once"),
        Knob("prefix_caching", (True, False), "equal beginnings of prompts are computed once"),
        *over_gpus(machine, "fp8_e5m2"),
    ]
    first = (*best_layout(machine.layouts), {"batch_tokens": 2048}, {"prefix_caching": False})
    return Space(tuple(knobs), first)


MEMORY = EngineMemory(
    NAME, usable_share=0.88, batch_tokens=8192, max_requests=256, block_tokens=1, activations_inside=False,
    sparse_fp8=("blackwell",),
)  # fmt: skip
"""mem_fraction_static covers weights and KV cache only; 0.88 is its value for one card of up to 80 GB
(docs.sglang.ai, hyperparameter tuning). Sparse attention: "H200 uses bf16 kvcache by default, B200 uses fp8"
(sgl-project/sglang issue 11989; the log of pull request 11309 agrees)."""

SPEC = EngineSpec(
    name=NAME,
    title=TITLE,
    label=TITLE,
    needs=f"an NVIDIA GPU, or an installation of your own named by {_OWN}",
    launch=Launch(
        settings=SETTINGS,
        is_ready=is_ready,
        install=install,
        find=find_safetensors,
        command=command,
        spreads_over_gpus=True,
    ),
    # sglang metrics_collector.py, `--enable-metrics`
    metrics={
        "output_tokens": ("sglang:generation_tokens_total",),
        "running": ("sglang:num_running_reqs",),
        "waiting": ("sglang:num_queue_reqs",),
        "kv_use": ("sglang:token_usage",),
        "preemptions": ("sglang:num_retracted_requests_total", "sglang:num_retracted_reqs_total"),
    },
    fingerprint=Fingerprint(
        owned_by=("sglang",), metric_prefix="sglang:", version_pages=("/server_info", "/get_server_info")
    ),
    memory=MEMORY,
    releases=(
        EngineRelease(
            NAME,
            NAME,
            captured=True,
            host_times=HostTimes(
                host_step_s=1e-3, host_sequence_s=1e-5, host_prefill_s=3e-3, stream_s=1e-5, request_s=8e-3
            ),
            scheduler=_scheduler,
        ),
    ),
    spellings=("sglang",),
    tuning=_tuning,
)
