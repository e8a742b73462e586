"""What an engine takes besides weights and KV cache, and what a card's driver leaves to it."""

from __future__ import annotations

from dataclasses import dataclass

from rackrate.catalog.types import Accelerator
from rackrate.errors import UserError
from rackrate.models.architecture import Architecture
from rackrate.units import GIB


@dataclass(frozen=True)
class EngineMemory:
    """What an engine takes besides weights and KV cache, with its defaults."""

    name: str
    usable_share: float
    """Of the memory that the driver leaves."""
    batch_tokens: int | None
    """Tokens of one step; None: by card, see `vllm_batch`."""
    max_requests: int | None
    """Requests of one step; None: by card."""
    block_tokens: int = 16
    """The KV cache is given out in blocks of so many tokens."""
    beyond_window: int = 0
    """Tokens that layers with a sliding window keep besides it, for each request."""
    activations_inside: bool = True
    """The working memory of a step comes out of the usable share, not out of what is left free."""
    overhead_bytes: float = 0.0
    """Context and libraries inside the usable share, one card."""
    sampler_values: float = 0.0
    """Float32 values per request and vocabulary entry that sampling holds at its peak."""
    value_bytes: float = 2.0
    """Of one value of a layer's working memory."""
    hidden_states: float = 4.0
    """Hidden states that a layer holds at once, for each token of a batch."""
    mask_bytes: float = 0.0
    """Of the attention mask, for each token of a batch and each of the longest request."""
    splits_matrices: bool = True
    """Has tensor parallelism; otherwise several cards share the layers."""


VLLM = EngineMemory(
    "vllm", usable_share=0.90, batch_tokens=None, max_requests=None, overhead_bytes=0.12 * GIB, sampler_values=10.0
)
"""gpu_memory_utilization 0.9; CUDA context and graphs live in the tenth left over. Overhead and sampler: start-up logs
of vLLM, tests/memory/test_vllm_logs.py."""


SGLANG = EngineMemory(
    "sglang", usable_share=0.88, batch_tokens=8192, max_requests=256, block_tokens=1, activations_inside=False
)
"""mem_fraction_static covers weights and KV cache only; 0.88 is its value for one card of up to 80 GB
(docs.sglang.ai, hyperparameter tuning)."""


LLAMACPP = EngineMemory(
    "llamacpp", usable_share=1.0, batch_tokens=512, max_requests=32, block_tokens=256, overhead_bytes=0.4 * GIB,
    sampler_values=1.0, value_bytes=4.0, hidden_states=5.0, mask_bytes=2.0, beyond_window=512,
    splits_matrices=False,
)  # fmt: skip
"""Micro-batches of 512 tokens in float32 with flash attention; contexts are multiples of 256; windows keep a
micro-batch more (src/llama-kv-cache-iswa.cpp). The working memory is what llama.cpp says of the embedded model,
tests/engines/test_fit_engine.py. Overhead: a CUDA context."""


TRANSFORMERS = EngineMemory(
    "transformers", usable_share=1.0, batch_tokens=2048, max_requests=1, block_tokens=1, overhead_bytes=0.5 * GIB
)
"""No reservation; the cache grows as it goes. Overhead: a CUDA context."""


ENGINES = {item.name: item for item in (VLLM, SGLANG, LLAMACPP, TRANSFORMERS)}


def engine_memory(name: str) -> EngineMemory:
    """What an engine takes, by name. Raises UserError with the known ones."""
    if name.lower() not in ENGINES:
        raise UserError(f"no memory facts for the engine {name!r} (known: {', '.join(ENGINES)})")
    return ENGINES[name.lower()]


def activation_bytes(
    architecture: Architecture, engine: EngineMemory, batch_tokens: int, max_requests: int, tp: int = 1,
    context_tokens: int = 0,
) -> float:  # fmt: skip
    """Working memory at the peak of a step: the widest layer over a full batch, or sampling, whichever is more. [byte]

    A layer holds gate, up and their product (3 x the inner width, split over ranks) and a few hidden states, and
    perhaps a mask. Sampling holds `sampler_values` float32 values per request and vocabulary entry. Checked against
    vLLM's start-up logs (tests/memory/test_vllm_logs.py, within 20 %) and llama.cpp's (within 1 %).

    >>> from rackrate.models.architecture import load, of_catalogue_model
    >>> llama = of_catalogue_model(load("llama-3-8b-instruct"))
    >>> round(activation_bytes(llama, VLLM, batch_tokens=8192, max_requests=256) / GIB, 2)    # vLLM says 1.19 to 1.26
    1.22
    """
    values = 3 * architecture.widest_feed_forward / tp + engine.hidden_states * architecture.hidden_size
    layer = batch_tokens * (engine.value_bytes * values + engine.mask_bytes * context_tokens)
    logits = 4.0 * max_requests * architecture.vocabulary
    return max(layer, logits * max(1.0, engine.sampler_values))


def vllm_batch(accelerator: Accelerator) -> tuple[int, int]:
    """Tokens and requests of a step that vLLM's server takes by default: more on big cards other than the A100.

    vLLM, vllm/engine/arg_utils.py, get_batch_defaults (0.8 and later).
    """
    big = (accelerator.memory_gib or 0) >= 70 and not accelerator.id.startswith("a100")
    return (8192, 1024) if big else (2048, 256)


def driver_memory(accelerator: Accelerator) -> float:
    """What the driver leaves to programs: the catalogue's figure, else 98 % of the built-in memory. [byte]

    98 % is the median of the cards whose figure is known and that have no in-line error correction.
    """
    if accelerator.driver_memory_gib is not None:
        return accelerator.driver_memory_gib * GIB
    if accelerator.memory_gib is None:
        raise UserError(f"{accelerator.id} has no memory of its own: say how much the machine has (--memory GIB)")
    return 0.98 * accelerator.memory_gib * GIB


def communication_bytes(accelerator: Accelerator, ranks: int) -> float:
    """Buffers of NCCL and custom all-reduces on one of several ranks. [byte]

    From start-up logs of vLLM: 0.1 GiB more than on one card over PCIe (RTX 3090, 2080 Ti), 1.0 GiB over NVLink (A100).
    """
    if ranks == 1:
        return 0.0
    fast = accelerator.link is not None and not accelerator.link.name.startswith("pcie")
    return (1.0 if fast else 0.1) * GIB
