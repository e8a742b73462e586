"""How a model is split over accelerators: tensor-parallel ranks and pipeline stages."""

from __future__ import annotations

import math

from rackrate.engines.spec import EngineMemory
from rackrate.engines.vllm import MEMORY as VLLM
from rackrate.errors import UserError
from rackrate.memory.kv_cache import kv_heads_on_rank
from rackrate.models.architecture import Architecture
from rackrate.models.formats import WeightFormat
from rackrate.models.weight_sizes import bytes_by_kind


def padded_vocabulary(vocabulary: int, tp: int) -> int:
    """Rows of the embedding after padding: a multiple of 64, then of the ranks. [row]

    vLLM, vllm/model_executor/layers/vocab_parallel_embedding.py.

    >>> padded_vocabulary(32001, 4)
    32064
    """
    padded = 64 * math.ceil(vocabulary / 64)
    return tp * math.ceil(padded / tp)


def padded_experts(architecture: Architecture, tp: int, multiples: tuple[int, int]) -> float:
    """How much larger routed experts are once their widths are padded to multiples, on one of `tp` ranks. [1]

    >>> from rackrate.catalog.load import load_catalog
    >>> from rackrate.models.architecture import of_catalogue_model
    >>> oss = of_catalogue_model(load_catalog().model("gpt-oss-120b"))    # 2880 x 2880 become 3072 x 2944
    >>> round(padded_experts(oss, 1, (256, 128)), 4)
    1.0904
    """
    outer = 0 if architecture.experts is None else architecture.experts.width or architecture.hidden_size
    inner = architecture.expert_inner_width
    if not outer or not inner:
        return 1.0
    share = math.ceil(inner / tp)
    padded = (multiples[0] * math.ceil(outer / multiples[0])) * (multiples[1] * math.ceil(share / multiples[1]))
    return padded / (outer * share)


def weights_on_rank(
    architecture: Architecture, form: WeightFormat, tp: int = 1, *, layers: int | None = None, embedding: bool = True,
    head: bool = True, expert_multiples: tuple[int, int] = (1, 1),
) -> float:  # fmt: skip
    """Weights on one of `tp` ranks of a stage with so many layers (None: all). [byte]

    Matrices are split evenly. Norms, routers, MLA's down-projections and the vision tower are on every rank, and so are
    key and value projections where ranks outnumber KV heads. A tied output matrix is kept once, but a last stage
    that has not the embedding needs a copy. Experts are padded to `expert_multiples` of their outer and inner widths.
    """
    sizes = bytes_by_kind(architecture, form)
    share = 1.0 if layers is None else layers / architecture.layers
    padding = padded_vocabulary(architecture.vocabulary, tp) / architecture.vocabulary
    kv_share = kv_heads_on_rank(architecture.kv_heads, tp) / architecture.kv_heads
    experts = sizes["experts"] * padded_experts(architecture, tp, expert_multiples)
    split = sizes["attention"] + sizes["feed_forward"] + experts + sizes["state"]
    whole = sizes["latent"] + sizes["router"] + sizes["vectors"]
    total = share * (split / tp + sizes["key_value"] * kv_share + whole)
    tied = architecture.parameters.head == 0
    if embedding:
        total += padding * sizes["embedding"] / tp + sizes["vision"]
    if head and not (tied and embedding):
        total += padding * (sizes["embedding"] if tied else sizes["head"]) / tp
    return total


def stage_layers(layers: int, pp: int) -> tuple[int, ...]:
    """Layers of each pipeline stage: even, and what is left over goes to the stages before the last.

    vLLM, vllm/distributed/utils.py, get_pp_indices.

    >>> stage_layers(61, 4)
    (15, 15, 16, 15)
    """
    counts = [layers // pp] * pp
    for back in range(2, layers % pp + 2):
        counts[-back] += 1
    return tuple(counts)


def tp_problem(architecture: Architecture, tp: int) -> str | None:
    """Why a model cannot be split over `tp` ranks; None where it can.

    vLLM wants heads to divide by the ranks, and KV heads to divide by them or they by KV heads.

    >>> from rackrate.catalog.load import load_catalog
    >>> from rackrate.models.architecture import of_catalogue_model
    >>> tp_problem(of_catalogue_model(load_catalog().model("smollm2-135m-instruct")), 2)
    'tensor parallelism of 2: the 9 attention heads do not divide by it (1, 3, 9 do)'
    """
    heads = architecture.heads
    if heads % tp:
        can = ", ".join(str(n) for n in range(1, min(heads, 128) + 1) if heads % n == 0)
        return f"tensor parallelism of {tp}: the {heads} attention heads do not divide by it ({can} do)"
    kv_heads = architecture.kv_heads
    grouped = any(group.kind == "grouped" for group in architecture.caches)
    if grouped and kv_heads % tp and tp % kv_heads:
        return f"tensor parallelism of {tp}: {kv_heads} KV heads can be neither split nor copied evenly"
    return None


def parallelisms(architecture: Architecture, count: int, engine: EngineMemory = VLLM) -> tuple[tuple[int, int], ...]:
    """The (tensor, pipeline) parallelisms that use `count` accelerators for one replica, most tensor-parallel first.

    >>> from rackrate.catalog.load import load_catalog
    >>> from rackrate.models.architecture import of_catalogue_model
    >>> parallelisms(of_catalogue_model(load_catalog().model("llama-3-8b-instruct")), 4)
    ((4, 1), (2, 2), (1, 4))
    """
    if not engine.splits_matrices:
        return ((1, count),) if count <= architecture.layers else ()
    return tuple(
        (tp, count // tp)
        for tp in range(count, 0, -1)
        if count % tp == 0 and count // tp <= architecture.layers and tp_problem(architecture, tp) is None
    )


def best_parallelism(architecture: Architecture, count: int, engine: EngineMemory = VLLM) -> tuple[int, int]:
    """The first of `parallelisms`. Raises UserError where there is none."""
    found = parallelisms(architecture, count, engine)
    if not found:
        raise UserError(
            f"{architecture.name} has {architecture.layers} layers: {count} accelerators are too many for it"
        )
    return found[0]
