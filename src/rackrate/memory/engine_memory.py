"""What an engine takes besides weights and KV cache, and what a card's driver leaves to it."""

from __future__ import annotations

from rackrate.catalog.types import Accelerator
from rackrate.engines import known
from rackrate.engines.spec import EngineMemory
from rackrate.errors import UserError
from rackrate.models.architecture import Architecture
from rackrate.units import GIB


def engine_memory(name: str) -> EngineMemory:
    """What an engine takes, by name. Raises UserError with the known ones."""
    spec = known.find_engine(name)
    if spec is None or spec.memory is None:
        there = [spec.name for spec in known.ENGINES if spec.memory is not None]
        raise UserError(f"no memory facts for the engine {name!r} (known: {', '.join(there)})")
    return spec.memory


def activation_bytes(
    architecture: Architecture, engine: EngineMemory, batch_tokens: int, max_requests: int, tp: int = 1,
    context_tokens: int = 0,
) -> float:  # fmt: skip
    """Working memory at the peak of a step: the widest layer over a full batch, or sampling, whichever is more. [byte]

    A layer holds gate, up and their product (3 x the inner width, split over ranks) and a few hidden states, and
    perhaps a mask. Sampling holds `sampler_values` float32 values per request and vocabulary entry. Checked against
    vLLM's start-up logs (tests/memory/test_vllm_logs.py, within 20 %) and llama.cpp's (within 1 %).

    >>> from rackrate.catalog.load import load_catalog
    >>> from rackrate.models.architecture import of_catalogue_model
    >>> llama = of_catalogue_model(load_catalog().model("llama-3-8b-instruct"))
    >>> vllm = engine_memory("vllm")
    >>> round(activation_bytes(llama, vllm, batch_tokens=8192, max_requests=256) / GIB, 2)    # vLLM says 1.19 to 1.26
    1.22
    """
    values = 3 * architecture.widest_feed_forward / tp + engine.hidden_states * architecture.hidden_size
    layer = batch_tokens * (engine.value_bytes * values + engine.mask_bytes * context_tokens)
    logits = 4.0 * max_requests * architecture.vocabulary
    return max(layer, logits * max(1.0, engine.sampler_values))


def batch_of_card(accelerator: Accelerator) -> tuple[int, int]:
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
        raise UserError(
            f"{accelerator.id} has no memory of its own: say how much the machine has ({{memory}} GIB)", field="memory"
        )
    return 0.98 * accelerator.memory_gib * GIB


def communication_bytes(accelerator: Accelerator, ranks: int) -> float:
    """Buffers of NCCL and custom all-reduces on one of several ranks. [byte]

    From start-up logs of vLLM: 0.1 GiB more than on one card over PCIe (RTX 3090, 2080 Ti), 1.0 GiB over NVLink (A100).
    """
    if ranks == 1:
        return 0.0
    fast = accelerator.link is not None and not accelerator.link.name.startswith("pcie")
    return (1.0 if fast else 0.1) * GIB
