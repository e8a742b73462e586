"""`transformers serve`: Hugging Face's own server, with continuous batching."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rackrate.engines import naive
from rackrate.engines.install import cache_directory, environment_python
from rackrate.engines.knobs import Knob, Machine, Space, distinct, thread_counts
from rackrate.engines.process import EngineCommand, free_port
from rackrate.engines.safetensors import find_safetensors
from rackrate.engines.settings import LaunchOptions, Scalar, Setting, flags_of, merged
from rackrate.engines.spec import EngineMemory, EngineRelease, EngineSpec, HostTimes, Launch, Scheduler
from rackrate.engines.vllm import on_gpu
from rackrate.engines.weights import Weights
from rackrate.errors import EngineError
from rackrate.units import GIB

if TYPE_CHECKING:
    from rackrate.catalog.types import Accelerator

NAME = "transformers"
TITLE = "transformers serve"
START_TIMEOUT_S = 300.0
BLOCK_TOKENS = 256
"""Its own default."""
SETTINGS = (
    Setting("dtype", "word", "number format of weights and KV", ("bfloat16", "float16", "float32", "auto")),
    Setting("continuous_batching", "switch", "whether requests are batched; without, they take turns"),
    Setting("device", "word", "cpu, cuda:0, auto, ..."),
    Setting("attention", "word", "attention implementation, such as sdpa or flash_attention_2"),
    Setting("block_size", "whole", "tokens of a KV block", least=1),
    Setting("blocks", "whole", "KV blocks", least=1),
    Setting("batch_tokens", "whole", "tokens of one step at most", least=1),
    Setting("compile", "switch", "whether the model is compiled"),
    Setting("threads", "whole", "for computing", least=1),
)

_FLAGS = {
    "device": "--device",
    "attention": "--attn-implementation",
    "block_size": "--cb-block-size",
    "blocks": "--cb-num-blocks",
    "batch_tokens": "--cb-max-batch-tokens",
}


def command(weights: Weights, alias: str, wanted: LaunchOptions) -> EngineCommand:
    """How to serve a model. It is served by the name of its directory or hub id: there are no aliases.

    Args:
        weights: a directory of safetensors or a hub id.
        alias: unused.
        wanted: what for; the KV cache has room for so many slots.

    Raises:
        EngineError: not installed, or no such setting.
    """
    del alias
    if not naive.is_ready():
        raise EngineError(
            "transformers is not installed: run `{engines install} transformers`", field="engines install"
        )
    defaults: dict[str, Scalar] = {"dtype": "bfloat16", "continuous_batching": True}
    if wanted.threads:
        defaults["threads"] = wanted.threads
    if not on_gpu():  # left to itself it takes nine tenths of the machine's memory for the KV cache
        defaults |= {"block_size": BLOCK_TOKENS, "batch_tokens": max(512, wanted.slots)}
        defaults["blocks"] = (-(-wanted.context_tokens // BLOCK_TOKENS) + 1) * wanted.slots
    chosen = merged(NAME, SETTINGS, defaults, wanted.settings)
    port = wanted.port or free_port(wanted.host)
    program = str(environment_python(naive.PINS).parent / "transformers")
    argv = [program, "serve", weights.argument, "--host", wanted.host, "--port", str(port)]
    argv += ["--dtype", str(chosen["dtype"])]
    if chosen.get("continuous_batching"):
        argv.append("--continuous-batching")
    if chosen.get("compile"):
        argv.append("--compile")
    argv += flags_of(chosen, _FLAGS)
    environment = {"OMP_NUM_THREADS": str(chosen["threads"])} if chosen.get("threads") else {}
    if weights.hub_id is None:
        environment["HF_HUB_CACHE"] = str(_empty_hub())
    return EngineCommand(
        name=TITLE,
        version=naive.version(),
        argv=argv,
        has_children=True,
        environment=environment,
        host=wanted.host,
        port=port,
        ready_path="/health",
        served_name=weights.argument,
        settings=chosen,
        start_timeout_s=START_TIMEOUT_S,
        fetches=weights.hub_id is not None,
    )


def _empty_hub() -> Path:
    """A hub cache without anything in it: /v1/models lists the cache, and fails where there is none."""
    directory = cache_directory() / "empty-hub"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _scheduler(accelerator: Accelerator, prompt_tokens: float) -> Scheduler:
    del accelerator, prompt_tokens
    return Scheduler(4096, 1 << 30, mixed=False, reserve_fraction=1.0, memory_share=0.95)


def _tuning(machine: Machine) -> Space:
    knobs = (
        Knob("batch_tokens", distinct(max(512, machine.concurrency), 2048, 128), "tokens of one step"),
        Knob("threads", thread_counts(machine), "for computing"),
        Knob("block_size", (256, 64, 32), "tokens of a KV block"),
    )
    return Space(knobs, ())


MEMORY = EngineMemory(
    NAME, usable_share=1.0, batch_tokens=2048, max_requests=1, block_tokens=1, overhead_bytes=0.5 * GIB
)
"""No reservation; the cache grows as it goes. Overhead: a CUDA context."""

SPEC = EngineSpec(
    name=NAME,
    title="transformers serve (Hugging Face, continuous batching)",
    label=TITLE,
    needs="1.2 GB on the disk (PyTorch)",
    launch=Launch(
        settings=SETTINGS, is_ready=naive.is_ready, install=naive.install, find=find_safetensors, command=command
    ),
    chosen_for={"safetensors": "the weights are safetensors, and vLLM is not installed"},
    memory=MEMORY,
    releases=(
        EngineRelease(
            NAME,
            NAME,
            captured=False,
            host_times=HostTimes(
                host_step_s=5e-3, host_sequence_s=1e-4, host_prefill_s=5e-3, stream_s=1e-5, request_s=5e-3
            ),
            scheduler=_scheduler,
            layers_in_turn=True,
        ),
    ),
    spellings=("transformers",),
    kin=("optimum", "hugging"),
    tuning=_tuning,
)
