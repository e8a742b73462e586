"""Does a model fit a machine, by how much, and how many requests of which length beside it?

The interface, for the planner, `serve` and the step-time model:

    architecture = of_catalogue_model(model)                 # models.architecture, or read_model of models.read_model
    result = fit(architecture, accelerator, tp=4, weights="fp16", context_tokens=8192)    # a frozen Fit
    result.fits, result.reasons, result.notes                   # why not, in sentences; what else to know
    result.kv_tokens                                            # tokens that the KV cache of one replica holds
    result.requests_of(tokens)                                  # requests of that length at the same time
    result.largest_context, result.requests                     # at the context that was asked for
    parallelisms(architecture, count)                           # (tp, pp) that engines can run on that many cards
    weight_bytes(architecture, weight_format("awq"))            # models.formats: whole model, no machine
    weights_on_rank(...), kv_bytes_per_token_on_rank(...)       # per card, for bytes read in a step

All sizes are of one accelerator (one tensor-parallel rank of one pipeline stage, the fullest one) unless the name
says `total`. What an engine takes is an `EngineMemory`, of its `EngineSpec`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rackrate.catalog.types import Accelerator
from rackrate.engines.spec import EngineMemory
from rackrate.engines.vllm import MEMORY as VLLM
from rackrate.errors import UserError
from rackrate.memory.engine_memory import (
    activation_bytes,
    batch_of_card,
    communication_bytes,
    driver_memory,
)
from rackrate.memory.kv_cache import kv_bytes_per_token_on_rank, request_bytes
from rackrate.memory.sharding import padded_experts, stage_layers, tp_problem, weights_on_rank
from rackrate.models.architecture import Architecture, CacheGroup
from rackrate.models.formats import KV_FORMATS, WeightFormat, kv_value_bytes, support, weight_format
from rackrate.models.weight_sizes import weight_bytes
from rackrate.units import GIB

DEFAULT_CONTEXT_TOKENS = 4096
"""The request that must fit where nobody says how long requests are, or the model's context where that is less."""


@dataclass(frozen=True)
class _Stage:
    """The pipeline stage that runs out of memory first."""

    caches: tuple[CacheGroup, ...]
    share: float
    """Of the model's layers."""
    kv_bytes: float
    value_bytes: float
    tp: int
    block_tokens: int
    beyond_window: int

    def request_bytes(self, tokens: int) -> float:
        whole = request_bytes(
            self.caches, tokens, self.value_bytes, self.tp, self.block_tokens, self.beyond_window
        )  # fmt: skip
        return self.share * whole

    def requests_of(self, tokens: int) -> int:
        if self.kv_bytes <= 0:
            return 0
        each = self.request_bytes(tokens)
        return math.floor(self.kv_bytes / each) if each > 0 else 0

    def largest_context(self, limit: int) -> int:
        """Most tokens of one request. Bisection: bytes never fall with tokens."""
        if self.request_bytes(1) > self.kv_bytes:
            return 0
        low, high = 1, limit
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.request_bytes(middle) <= self.kv_bytes else (low, middle - 1)
        return low


@dataclass(frozen=True)
class Fit:
    """Whether a deployment fits, and what is left. Sizes are of the fullest accelerator. [byte]"""

    model: str
    accelerator: str
    tp: int
    pp: int
    weights_format: str
    kv_format: str
    engine: str
    fits: bool
    reasons: tuple[str, ...]
    """Why it does not fit, or cannot run."""
    notes: tuple[str, ...]
    total_weights_bytes: float
    """The whole model, once."""
    memory_bytes: float
    """What the driver leaves to programs."""
    usable_bytes: float
    """What the engine takes of it."""
    weights_bytes: float
    activation_bytes: float
    overhead_bytes: float
    kv_bytes: float
    """Left for the KV cache; negative where weights and overheads alone do not fit."""
    kv_bytes_per_token: float
    """Of the next token of a short request, on this accelerator."""
    context_tokens: int
    """Length of request that was asked about."""
    request_bytes: float
    """Cache of one request of that length."""
    requests: int
    """How many of them at the same time, by memory."""
    engine_requests: int | None
    """How many the engine takes in one step by default."""
    largest_context: int
    """Longest single request, at most the model's context."""
    kv_tokens: int
    """Tokens that the cache holds in requests of that length."""
    stage: _Stage

    @property
    def accelerators(self) -> int:
        """Accelerators of one replica."""
        return self.tp * self.pp

    @property
    def spare_bytes(self) -> float:
        """Left after one request of that length; negative: what is missing. [byte]"""
        return self.kv_bytes - self.request_bytes

    def requests_of(self, tokens: int) -> int:
        """How many requests of `tokens` (input and output) the cache holds at the same time."""
        return self.stage.requests_of(tokens)


def runnable_format(architecture: Architecture, accelerator: Accelerator) -> WeightFormat:
    """The published format of a model, or fp16 in place of bf16 where the accelerator has no bf16 units.

    Weights that are published in 32 bits are served in 16, as vLLM and SGLang do by themselves; a GGUF file as it is.
    """
    native = weight_format(architecture.native_weights)
    if native.name == "fp32" and not architecture.origin.endswith(".gguf"):
        native = weight_format("bf16")
    if native.name == "bf16" and "bf16" in accelerator.lacks:
        return weight_format("fp16")
    return native


def cache_format(architecture: Architecture, accelerator: Accelerator, engine: EngineMemory) -> tuple[str, str | None]:
    """The format in which an engine keeps the KV cache where nobody names one, and a sentence where it is not 16 bits,
    or not what the checkpoint states."""
    plain = "bf16" if "bf16" not in accelerator.lacks else "fp16"
    stated = architecture.native_cache
    if stated is not None and engine.takes_stated_cache and stated in KV_FORMATS:
        return stated, f"the checkpoint states a KV cache of {stated}, which {engine.name} takes by itself"
    if accelerator.architecture in engine.sparse_fp8 and any(
        group.mixed_rotary_values for group in architecture.caches
    ):
        return "fp8", f"{engine.name} keeps the cache of sparse attention in fp8 on {accelerator.id} by itself"
    if stated is not None:
        return plain, f"the checkpoint states a KV cache of {stated}; {engine.name} is taken to keep {plain} by itself"
    return plain, None


def _expert_multiples(form: WeightFormat, accelerator: Accelerator, engine: EngineMemory) -> tuple[int, int]:
    """To what an engine pads the widths of experts in this format."""
    if form.name != "mxfp4":
        return (1, 1)
    return engine.mxfp4_padding.get(accelerator.architecture or "", engine.mxfp4_padding.get("", (1, 1)))


def fit(
    architecture: Architecture, accelerator: Accelerator, *, tp: int = 1, pp: int = 1, weights: str | None = None,
    kv: str = "auto", context_tokens: int | None = None, engine: EngineMemory = VLLM,
    batch_tokens: int | None = None, max_requests: int | None = None, memory_bytes: float | None = None,
    weights_file_bytes: float | None = None,
) -> Fit:  # fmt: skip
    """Whether a model fits one replica of tp x pp accelerators, and what is left for requests.

    Args:
        architecture: the model.
        accelerator: one of them; all are alike.
        tp: tensor-parallel ranks.
        pp: pipeline stages.
        weights: name of a weight format; None: as published (fp16 for bf16 where the card lacks bf16).
        kv: format of the KV cache; auto: what the engine takes by itself, see `cache_format`.
        context_tokens: the request that must fit, input and output; None: 4096 or the model's context if less.
        engine: what takes memory besides.
        batch_tokens: tokens of a step, in place of the engine's own.
        max_requests: requests of a step, in place of the engine's own.
        memory_bytes: what the driver leaves, in place of the catalogue's.
        weights_file_bytes: exact size of the weights, where their files were read.

    Raises:
        UserError: a format is unknown, a count is not positive, or nobody knows the accelerator's memory.
    """
    for word, number in (("tp", tp), ("pp", pp), ("context_tokens", context_tokens)):
        if number is not None and number < 1:
            raise UserError(f"{word} must be at least 1, got {number}")
    form = runnable_format(architecture, accelerator) if weights is None else weight_format(weights)
    kv_name, kv_note = cache_format(architecture, accelerator, engine) if kv == "auto" else (kv.lower(), None)
    value_bytes = kv_value_bytes(kv_name)
    context = context_tokens or min(DEFAULT_CONTEXT_TOKENS, architecture.context_tokens)
    reasons, notes = _cannot_run(architecture, accelerator, form, weights, kv_name, tp, pp, context, engine)
    if kv_note is not None:
        notes.append(kv_note)
    multiples = _expert_multiples(form, accelerator, engine)
    larger = padded_experts(architecture, tp, multiples) - 1
    if larger > 0.005:
        notes.append(
            f"{engine.name} pads the widths of experts, which makes them {100 * larger:.0f} % larger than in the files"
        )

    default_tokens, default_requests = batch_of_card(accelerator)
    step_tokens = batch_tokens or engine.batch_tokens or default_tokens
    step_requests = max_requests or engine.max_requests or default_requests
    memory = driver_memory(accelerator) if memory_bytes is None else memory_bytes
    usable = engine.usable_share * memory
    activations = activation_bytes(architecture, engine, step_tokens, step_requests, tp, context)
    overhead = engine.overhead_bytes + communication_bytes(accelerator, tp * pp)
    taken = overhead + (activations if engine.activations_inside else 0.0)
    total = weight_bytes(architecture, form)
    exact = 1.0 if weights_file_bytes is None else weights_file_bytes / total
    if weights is None and form.name != "fp32" and architecture.native_weights == "fp32":
        exact /= 2  # the files have 32 bits each

    stages: list[tuple[float, _Stage]] = []
    layers_of = stage_layers(architecture.layers, pp)
    for number, layers in enumerate(layers_of):
        on_rank = exact * weights_on_rank(
            architecture, form, tp, layers=layers, embedding=number == 0, head=number == pp - 1,
            expert_multiples=multiples,
        )  # fmt: skip
        left = usable - taken - on_rank
        share = layers / architecture.layers
        room = _Stage(architecture.caches, share, left, value_bytes, tp, engine.block_tokens, engine.beyond_window)
        stages.append((on_rank, room))
    on_rank, stage = min(stages, key=lambda item: (item[1].kv_bytes - item[1].request_bytes(context), -item[0]))
    needed = stage.request_bytes(context)
    if stage.kv_bytes < needed:
        reasons.append(
            _too_big(architecture, form, accelerator, on_rank, stage, taken, usable, memory, context, tp * pp)
        )
    requests = stage.requests_of(context)
    return Fit(
        model=architecture.name,
        accelerator=accelerator.id,
        tp=tp,
        pp=pp,
        weights_format=form.name,
        kv_format=kv_name,
        engine=engine.name,
        fits=not reasons,
        reasons=tuple(reasons),
        notes=tuple(notes),
        total_weights_bytes=total * exact,
        memory_bytes=memory,
        usable_bytes=usable,
        weights_bytes=on_rank,
        activation_bytes=activations,
        overhead_bytes=overhead,
        kv_bytes=stage.kv_bytes,
        kv_bytes_per_token=stage.share * kv_bytes_per_token_on_rank(architecture, value_bytes, tp),
        context_tokens=context,
        request_bytes=needed,
        requests=requests,
        engine_requests=None if engine.gguf else step_requests,
        largest_context=stage.largest_context(architecture.context_tokens),
        kv_tokens=_tokens_held(stage, context),
        stage=stage,
    )


def _tokens_held(stage: _Stage, tokens: int) -> int:
    """Tokens that the cache holds when every request has `tokens`, parts of a request included."""
    each = stage.request_bytes(tokens)
    return max(0, math.floor(stage.kv_bytes / each * tokens)) if each > 0 else 0


def _cannot_run(
    architecture: Architecture, accelerator: Accelerator, form: WeightFormat, asked: str | None, kv_name: str, tp: int,
    pp: int, context: int, engine: EngineMemory,
) -> tuple[list[str], list[str]]:  # fmt: skip
    """Reasons against and notes that have nothing to do with size."""
    reasons: list[str] = []
    notes: list[str] = []
    can = support(form, accelerator)
    if not can.runs and can.note:
        reasons.append(can.note)
    elif can.note:
        notes.append(can.note)
    if asked is None and form.name == "fp16" and architecture.native_weights == "bf16":
        notes.append(f"{accelerator.id} has no bf16 units: served in fp16, of the same size")
    if asked is None and form.name != "fp32" and architecture.native_weights == "fp32":
        notes.append(f"published in fp32: served in {form.name}, half the size, as {engine.name} does by itself")
    if kv_name == "fp8" and "fp8" in accelerator.lacks:
        notes.append(f"{accelerator.id} has no fp8 units: an fp8 KV cache saves memory only")
    if kv_name == "bf16" and "bf16" in accelerator.lacks:
        reasons.append(f"{accelerator.id} has no bf16 units: keep the KV cache in fp16, of the same size")
    if tp > 1 and not engine.splits_matrices:
        reasons.append(f"{engine.name} does not split matrices over cards: use pp {tp * pp} in place of tp {tp}")
    elif (problem := tp_problem(architecture, tp)) is not None:
        reasons.append(problem)
    if pp > architecture.layers:
        reasons.append(f"{pp} pipeline stages are more than the {architecture.layers} layers")
    if context > architecture.context_tokens:
        reasons.append(
            f"a request of {context:,} tokens is longer than the model's context of {architecture.context_tokens:,}"
        )
    if (form.family == "gguf") != (engine.gguf) and form.family != "plain":
        reasons.append(
            f"{form.name} is a format of llama.cpp, not of {engine.name}" if form.family == "gguf"
            else f"{form.name} is not a format of llama.cpp"
        )  # fmt: skip
    return reasons, notes


def _too_big(
    architecture: Architecture, form: WeightFormat, accelerator: Accelerator, on_rank: float, stage: _Stage,
    taken: float, usable: float, memory: float, context: int, count: int,
) -> str:  # fmt: skip
    where = f"each of the {count} {accelerator.id}" if count > 1 else f"one {accelerator.id}"
    room = f"{usable / GIB:.2f} GiB usable of {memory / GIB:.2f}"
    if on_rank > usable:
        return f"the weights ({form.name}) take {on_rank / GIB:.2f} GiB on {where}, which has {room}"
    if stage.kv_bytes <= 0:
        return (
            f"weights ({form.name}, {on_rank / GIB:.2f} GiB) and working memory ({taken / GIB:.2f} GiB) exceed "
            f"{where}, which has {room}"
        )
    return (
        f"a request of {context:,} tokens needs {stage.request_bytes(context) / GIB:.2f} GiB of KV cache, and "
        f"{stage.kv_bytes / GIB:.2f} GiB is left on {where}: at most "
        f"{stage.largest_context(architecture.context_tokens):,} tokens"
    )
