"""The catalogue's documents: models, accelerators, offers. Unknown keys are refused; every figure has a source.

Units are in the field names. `_gib` is 2**30 bytes (how memory is built and reported by drivers), `_gb_s` is
10**9 bytes per second (how vendors state bandwidth). Peaks are dense (no structured sparsity) tensor rates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date as calendar_day
from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from rackrate.bounds import USD_PER_HOUR, is_date

NumberFormat = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "fp6", "fp4", "int8", "int4"]

PaidPerHour = Annotated[PositiveFloat, USD_PER_HOUR]


def last_day(date: str) -> str:
    """The last day that a partial date can mean, for `up to`.

    >>> last_day("2024"), last_day("2024-06"), last_day("2024-06-13")
    ('2024-12-31', '2024-06-30', '2024-06-13')
    """
    if len(date) == 4:
        return f"{date}-12-31"
    if len(date) == 7:
        year, month = int(date[:4]), int(date[5:])
        following = calendar_day(year + month // 12, month % 12 + 1, 1)
        return (following - timedelta(days=1)).isoformat()
    return date


def ages(dates: Iterable[str]) -> tuple[str, str, str]:
    """The oldest, the median and the newest of partial dates; of an even number the older one of the middle.

    >>> ages(["2026-11-10", "2026", "2026-01", "2025-06-30"])
    ('2025-06-30', '2026-01', '2026')
    """
    ordered = sorted(dates, key=last_day)
    return ordered[0], ordered[(len(ordered) - 1) // 2], ordered[-1]


def moment(date: str) -> datetime:
    """A date as a moment: its last day. Prices are asked for by the day, whatever its hour."""
    return datetime.fromisoformat(f"{last_day(date)}T12:00:00+00:00")


def _partial_date(text: str) -> str:
    if not is_date(text):
        raise ValueError(f"a date is YYYY, YYYY-MM or YYYY-MM-DD, not {text!r}")
    return text


PartialDate = Annotated[str, AfterValidator(_partial_date)]
"""How exactly a source dates a figure differs: 2024, 2024-06 or 2024-06-18."""


class Document(BaseModel):
    """Frozen, and refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Source(Document):
    """Where figures come from. Without `figures`, it covers all figures that no other source of the entry names."""

    source: str = Field(min_length=3)
    date: PartialDate
    figures: tuple[str, ...] = ()


class Entry(Document):
    """What every catalogue entry has: a unique id, other spellings, and the sources of its figures."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/+-]*$")
    aliases: tuple[str, ...] = ()
    sources: tuple[Source, ...] = Field(min_length=1)
    notes: str | None = None

    def source_of(self, figure: str) -> Source | None:
        """The source of one figure: the one that names it, else the one that names none.

        A figure inside another is named with a dot: `peak_tflops.fp16`.
        """
        names = {figure, figure.split(".", 1)[0]}
        for source in self.sources:
            if names & set(source.figures):
                return source
        return next((source for source in self.sources if not source.figures), None)


class Experts(Document):
    """A mixture-of-experts feed-forward."""

    routed: PositiveInt
    active: PositiveInt
    shared: int = Field(default=0, ge=0)
    intermediate_size: PositiveInt
    dense_layers: int = Field(default=0, ge=0)
    """Layers that have a dense feed-forward instead."""
    width: PositiveInt | None = None
    """Width on which routed experts work; None means hidden_size."""
    biases: bool = False
    """Whether the three matrices of a routed expert have biases."""


class LatentAttention(Document):
    """Multi-head latent attention: what is cached per token and layer is kv_lora_rank + rope_head_dim values."""

    kv_lora_rank: PositiveInt
    rope_head_dim: PositiveInt
    index_values: int = Field(default=0, ge=0)
    """What a sparse-attention indexer caches besides, per token and layer that has one."""
    index_layers: PositiveInt | None = None
    """Layers with an indexer; None means all."""


class FixedState(Document):
    """Linear-attention or SSM layers: what they keep of a request does not grow with its length."""

    layers: PositiveInt
    bytes_per_layer: PositiveInt
    """Recurrent state (float32) and convolution state (16 bits) of one layer and request."""


class ApiName(Document):
    """The name under which an API provider sells this very model (names of the package genai-prices)."""

    provider: str
    model: str


class Model(Entry):
    """Architecture facts of an open-weights LLM, as its config.json states them."""

    name: str
    hub_id: str | None = None
    family: str
    released: PartialDate | None = None
    licence: str | None = None
    parameters: PositiveInt
    active_parameters: PositiveInt | None = None
    """`parameters` less the experts that a token does not choose: both have embeddings and a vision tower in them."""
    layers: PositiveInt
    hidden_size: PositiveInt
    intermediate_size: PositiveInt | None = None
    heads: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt
    vocabulary: PositiveInt
    context_tokens: PositiveInt
    tied_embeddings: bool = False
    attention: Literal["mha", "mqa", "gqa", "mla", "hybrid"]
    sliding_window_tokens: PositiveInt | None = None
    full_attention_layers: int | None = Field(default=None, ge=0)
    """Layers whose cache grows with the whole context; None means all of them."""
    latent: LatentAttention | None = None
    fixed_state: FixedState | None = None
    experts: Experts | None = None
    vision_parameters: PositiveInt | None = None
    """Vision tower and projector, part of `parameters`."""
    weight_format: NumberFormat
    apis: tuple[ApiName, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        if self.active_parameters is not None and self.active_parameters > self.parameters:
            raise ValueError("active_parameters cannot exceed parameters")
        if (self.attention == "mla") != (self.latent is not None):
            raise ValueError("attention mla goes with `latent`, and only with it")
        if self.experts is not None and self.experts.dense_layers >= self.layers:
            raise ValueError("experts.dense_layers must be fewer than layers")
        return self


class Link(Document):
    """How accelerators of one machine reach each other, per accelerator and direction."""

    name: str
    gb_s: PositiveFloat


class Accelerator(Entry):
    """A GPU or CPU type. For a CPU, memory and rates are those of one socket."""

    name: str
    vendor: str
    kind: Literal["gpu", "cpu"]
    architecture: str
    memory_gib: PositiveFloat | None = None
    driver_memory_gib: PositiveFloat | None = None
    """What the driver leaves to programs (as PyTorch reports it): less error correction and reserves."""
    bandwidth_gb_s: PositiveFloat | None = None
    peak_tflops: dict[NumberFormat, PositiveFloat] = Field(default_factory=dict[NumberFormat, float])
    """Dense tensor (matrix-unit) rates by number format; int formats in TOPS. A format not listed is unknown."""
    lacks: tuple[NumberFormat, ...] = ()
    """Formats that the hardware has no matrix units for."""
    tdp_w: PositiveFloat | None = None
    dies: PositiveInt = 1
    """Devices that the runtime shows for it; memory, rates and link are those of all of them together."""
    link: Link | None = None
    pcie_gb_s: PositiveFloat | None = None
    cores: PositiveInt | None = None
    released: PartialDate | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        both = set(self.lacks) & set(self.peak_tflops)
        if both:
            raise ValueError(f"{', '.join(sorted(both))}: has a peak rate and is said to be lacking")
        if self.kind == "gpu" and self.memory_gib is None:
            raise ValueError("a GPU needs memory_gib")
        if self.kind == "cpu" and self.cores is None:
            raise ValueError("a CPU needs cores")
        return self


class Price(Document):
    """One dated price of an offer, USD per hour of the whole machine. History is appended, newest last."""

    date: PartialDate
    source: str = Field(min_length=3)
    on_demand_usd_h: PaidPerHour | None = None
    spot_usd_h: tuple[PaidPerHour, PaidPerHour] | None = None
    """Lowest and highest spot price that the source saw."""
    reserved_1y_usd_h: PaidPerHour | None = None
    reserved_3y_usd_h: PaidPerHour | None = None

    @model_validator(mode="after")
    def _some_price(self) -> Self:
        if self.on_demand_usd_h is None and self.spot_usd_h is None and self.reserved_1y_usd_h is None:
            raise ValueError("a price needs on_demand_usd_h, spot_usd_h or reserved_1y_usd_h")
        return self


def newest(prices: Sequence[Price]) -> Price:
    """The price written last: history is appended, and dates differ in how exact they are (2026, 2026-01-19)."""
    return prices[-1]


class Offer(Entry):
    """A machine that is rented by the hour."""

    provider: str
    instance: str
    region: str | None = None
    accelerator: str | None = None
    """Id of the GPU type; None for a CPU-only machine."""
    accelerator_count: int = Field(default=0, ge=0)
    cpu: str | None = None
    """CPU microarchitecture (zen4, sapphire-rapids, ...) where the provider states it."""
    vcpus: PositiveInt | None = None
    memory_gib: PositiveFloat | None = None
    prices: tuple[Price, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.accelerator is None) != (self.accelerator_count == 0):
            raise ValueError("accelerator and accelerator_count go together")
        if self.accelerator is None and (self.vcpus is None or self.cpu is None):
            raise ValueError("a CPU-only offer needs vcpus and cpu")
        if self.id != f"{self.provider}/{self.instance}" and not self.id.startswith(f"{self.provider}/"):
            raise ValueError(f"id must start with {self.provider}/")
        return self

    @property
    def price(self) -> Price:
        """The newest price."""
        return newest(self.prices)


class ApiPriceEntry(Entry):
    """The user's own API price (a negotiated one, or a provider that genai-prices lacks), USD per 1M tokens."""

    provider: str
    model: str
    input_usd_per_1m: float = Field(ge=0)
    output_usd_per_1m: float = Field(ge=0)
    cached_input_usd_per_1m: float | None = Field(default=None, ge=0)
    cache_write_usd_per_1m: float | None = Field(default=None, ge=0)
    """Of input that is written to the cache; none: it costs what new input does."""
    cache_write_1h_usd_per_1m: float | None = Field(default=None, ge=0)
    same_as: str | None = None
    """Id of the catalogue's model that this is, so that it is compared first with a run of that model."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """The seller's limits, for `rackrate compare` to warn of."""
    requests_per_minute: float | None = Field(default=None, gt=0)


class EnergyPrice(Entry):
    """What a kWh costs in a region, in the currency in which the source states it."""

    name: str
    currency: str = Field(pattern=r"^[a-z]{3}$")
    price_per_kwh: PositiveFloat

    def usd_per_kwh(self, usd_per: Mapping[str, float]) -> float:
        """In USD, at stated rates. Raises ValueError where the rate of its currency is not stated."""
        if self.currency == "usd":
            return self.price_per_kwh
        if self.currency not in usd_per:
            raise ValueError(
                f"the price of {self.id} is in {self.currency.upper()}: state a rate, such as "
                f"usd_per: {{{self.currency}: 1.1}}"
            )
        return self.price_per_kwh * usd_per[self.currency]


class CpuArchitecture(Document):
    """How a CPU's own words (CPUID family and model, or an ARM part number) give its microarchitecture."""

    vendor: str
    family: int | None = None
    model_ranges: tuple[tuple[int, int], ...] = ()
    part: str | None = None
    architecture: str
    name: str
    source: str
    date: PartialDate
