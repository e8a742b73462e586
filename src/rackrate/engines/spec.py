"""What rackrate knows of an engine: a module has one such value, and `known.ENGINES` has a line for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from rackrate.catalog.types import Accelerator
    from rackrate.engines.knobs import Machine, Space
    from rackrate.engines.process import EngineCommand
    from rackrate.engines.settings import LaunchOptions, Setting
    from rackrate.engines.weights import Weights

Notify = Callable[[str], None]
"""Takes a line that the user should see now."""
WeightKind = Literal["gpu", "gguf", "safetensors"]
"""What an engine is chosen for: any weights on a GPU, or files of one kind."""

OLD_KERNELS = frozenset({"pascal", "volta", "turing"})
"""Generations without FlashAttention 2, on which vLLM before 0.8 neither chunks prompts nor shares key-value heads."""


class FindWeights(Protocol):
    """Weights that an engine can serve, by name or path. Raises EngineError where there are none."""

    def __call__(self, model: str, notify: Notify, *, install: bool = True) -> Weights:
        """With `install`, what is missing is fetched and converted."""
        ...


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How an engine is installed and started on this machine."""

    settings: tuple[Setting, ...]
    """What can be set on it."""
    is_ready: Callable[[], bool]
    """Whether it is installed."""
    install: Callable[[Notify], None]
    """Makes its environment. Raises EngineError where it cannot be had for this machine."""
    find: FindWeights
    command: Callable[[Weights, str, LaunchOptions], EngineCommand]
    """How to serve weights under a name. Raises EngineError: not installed, no such setting."""
    spreads_over_gpus: bool = False
    """It spreads a model over GPUs as its settings `tensor_parallel` and `data_parallel` say."""
    takes_key: bool = False
    """It takes an API key otherwise than in its command, which `ps` shows to everyone."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """By what a server is recognised, in the order in which it is looked at."""

    owned_by: tuple[str, ...] = ()
    """Values of `owned_by` in /v1/models."""
    metric_prefix: str | None = None
    """What names in /metrics begin with; colons may have become underscores, `ray_` may stand before."""
    page: str | None = None
    """A page that this engine alone has, as a JSON object ..."""
    on_page: Callable[[Mapping[str, Any]], bool] = lambda _: True
    """... that says this of it."""
    version_pages: tuple[str, ...] = ()
    """Pages whose JSON has a `version`."""


@dataclass(frozen=True)
class EngineMemory:
    """What an engine takes besides weights and KV cache, with its defaults."""

    name: str
    usable_share: float
    """Of the memory that the driver leaves."""
    batch_tokens: int | None
    """Tokens of one step; None: by card, see `memory.engine_memory.batch_of_card`."""
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
    gguf: bool = False
    """Serves GGUF files, whose number formats are their own; other engines serve other formats."""
    takes_stated_cache: bool = False
    """Keeps the KV cache in the format that a checkpoint states, where nobody names one."""
    sparse_fp8: tuple[str, ...] = ()
    """Architectures of accelerators on which sparse latent attention is cached in fp8, where nobody names a format."""
    mxfp4_padding: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Multiples to which kernels of MXFP4 pad an expert's outer and inner width, by architecture of the accelerator;
    under an empty name: all others."""


@dataclass(frozen=True)
class Scheduler:
    """The part of an engine that decides what a step holds; defaults of the engine where nothing else is stated."""

    slots: int
    """Most sequences at once."""
    budget: int
    """Most tokens of a step."""
    mixed: bool
    """Whether prompts and decoding share a step; otherwise prompts go first."""
    reserve_fraction: float
    """Share of the stated output for which cache is kept free when a request is let in."""
    memory_share: float
    """Share of the accelerator's memory that weights, activations and cache may take."""
    micro_batch: int = 0
    """Tokens that llama.cpp computes at once; 0 for engines that do not divide their steps."""


@dataclass(frozen=True, kw_only=True)
class HostTimes:
    """What an engine's host program takes, before any row is seen: medians, weak ones; rows decide. [s]"""

    host_step_s: float
    """For each step."""
    host_sequence_s: float
    """For each sequence of a step."""
    host_prefill_s: float
    """For each step with prompts, of a model of 32 layers."""
    stream_s: float
    """For each sequence of a step whose tokens are streamed."""
    request_s: float
    """For each request, outside the steps."""


@dataclass(frozen=True)
class EngineRelease:
    """An engine within the versions that behave alike."""

    id: str
    engine: str
    """As runs and fits call it."""
    captured: bool
    """Whether decode steps replay a captured graph."""
    host_times: HostTimes
    scheduler: Callable[[Accelerator, float], Scheduler]
    """Its defaults on an accelerator, for prompts of so many tokens."""
    first_paged_attention: bool = False
    """Decode attention is the first PagedAttention kernel on ROCm and on cards without FlashAttention 2."""
    amd_tuned_flop_s: float | None = None
    """The 16-bit peak that products were tuned for on AMD's accelerators. [FLOP/s]"""
    departures: tuple[tuple[str, str, float], ...] = ()
    """Where a vendor's accelerators are expected to depart: vendor, term, logarithm."""
    layers_in_turn: bool = False
    """Several accelerators share the layers, where a published row does not say how."""
    narrow_kv: bool = False
    """Weights of 8 and 4 bits go with a KV cache of 8, where a published row does not say it."""


@dataclass(frozen=True)
class PublishedEngine:
    """An engine as the author of a row or a server names it."""

    name: str
    """In small letters."""
    version: str
    """In small letters; empty where it is not stated."""
    year: int | None
    """Of the row."""
    cpu: bool

    @property
    def number(self) -> tuple[int, int] | None:
        """The first two parts of the version; None where there are none."""
        import re

        found = re.search(r"(\d+)\.(\d+)", self.version)
        return (int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """One engine: what it is called, needs and prints, how it is started, and what is predicted of it."""

    name: str
    """As the user names it."""
    title: str
    """What a list of engines says of it."""
    label: str
    """What runs call it."""
    aliases: tuple[str, ...] = ()
    """Other names that the user may give."""
    needs: str = ""
    """What it takes to measure it; empty for one that is known from published rows only."""
    url: str | None = None
    """Where it listens if the user starts it; None for an engine that rackrate starts."""
    needs_key: bool = False
    """Its URL goes with a key."""
    launch: Launch | None = None
    """None: rackrate does not start it."""
    chosen_for: Mapping[WeightKind, str] = field(default_factory=dict[WeightKind, str])
    """What it is chosen for where the user names no engine, and why."""
    metrics: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """What it calls output_tokens, running, waiting, kv_use and preemptions; the first name that is there counts, and
    labels are summed over."""
    metrics_page: str = "/metrics"
    """Where they are."""
    fingerprint: Fingerprint = Fingerprint()
    memory: EngineMemory | None = None
    """None: nothing is known of it."""
    out_of_memory: tuple[str, ...] = ()
    """Patterns of what its log says when memory ran out, besides those of all programs."""
    releases: tuple[EngineRelease, ...] = ()
    """Whose step times can be predicted; empty: none."""
    spellings: tuple[str, ...] = ()
    """Words by which a published name is this engine's."""
    kin: tuple[str, ...] = ()
    """Words of other programs that behave like it, looked for where no engine's own spelling is found."""
    release: Callable[[PublishedEngine], str] | None = None
    """Id of the release that a published name and version mean; None: the first one."""
    tuning: Callable[[Machine], Space | None] | None = None
    """What can be tuned on a machine; None: nothing there."""


def is_large(accelerator: Accelerator) -> bool:
    """Whether vLLM gives a card larger budgets and more sequences: from 70 GiB on, except the A100.

    vLLM, vllm/engine/arg_utils.py, 0.8 to 0.11.
    """
    return (accelerator.memory_gib or 0) >= 70 and not accelerator.id.startswith(("a100", "a800"))
