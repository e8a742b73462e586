"""What a study file says: inputs, claims, scenarios, questions. Unknown keys are refused; units are in the names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from rackrate.catalog.types import Document, PartialDate, Price
from rackrate.economics.quantities import as_share, quantity_of
from rackrate.economics.uncertainty import Quantity, QuantityError
from rackrate.studies.expressions import FUNCTIONS, Expression, ExpressionError, parse

PriceKind = Literal["on-demand", "spot", "reserved-1y", "reserved-3y"]
BUILT_IN = {"hours_per_month": "h/month"}
"""Names that every formula may use, with their units."""
FIGURE_UNITS = (
    ("_usd_h", "USD/h"), ("_usd_per_1m", "USD/1M tokens"), ("_gib", "GiB"), ("_w", "W"), ("vcpus", "vCPU"),
    ("accelerator_count", "GPU"), ("parameters", "parameter"), ("_tokens", "token"), ("_gb_s", "GB/s"),
)  # fmt: skip
"""Units of the catalogue's figures, by how their names end."""


@dataclass(frozen=True)
class Number:
    """A figure as written: a quantity, or a formula over the inputs."""

    quantity: Quantity | None
    formula: Expression | None

    @classmethod
    def product(cls, *factors: str | float) -> Self:
        """A formula that multiplies inputs, by name, and plain numbers, from the left.

        >>> str(Number.product(0.3, "throughput", 3600).formula)
        '0.3 * throughput * 3600'
        """
        return cls(None, parse(" * ".join(map(str, factors))))


def _number(raw: Any) -> Number:
    if isinstance(raw, Number):
        return raw
    try:
        if isinstance(raw, str):
            formula = parse(raw)
            # without a name it is a number: 1e9, which YAML 1.1 reads as a word, or 4 * 700
            return Number(None, formula) if formula.names else Number(quantity_of(float(formula.value({}))), None)
        return Number(quantity_of(raw), None)
    except (QuantityError, ExpressionError) as error:
        raise ValueError(str(error)) from None


Figure = Annotated[Number, PlainValidator(_number)]
"""A number, a range [low, high] (80 %), a distribution, or a formula over the inputs."""


def _share(raw: Any) -> Number:
    number = _number(raw)
    return number if number.quantity is None else Number(as_share(number.quantity), None)


Share = Annotated[Number, PlainValidator(_share)]
"""A figure between 0 and 1."""


def _formula(raw: Any) -> Expression:
    if isinstance(raw, Expression):
        return raw
    try:
        return parse(str(raw))
    except ExpressionError as error:
        raise ValueError(str(error)) from None


Formula = Annotated[Expression, PlainValidator(_formula)]


def _name(text: str) -> str:
    if not text.isidentifier() or text in FUNCTIONS or text in BUILT_IN or text.startswith("_"):
        raise ValueError(f"{text!r} cannot name an input: letters, digits and _ only, and no name of a function")
    return text


Name = Annotated[str, AfterValidator(_name)]


class Input(Document):
    """A figure that formulas may name, with its unit and where it comes from."""

    value: Figure | None = None
    offer: str | None = None
    """Or a figure of a catalogue entry: `offer: aws/g4dn.12xlarge`, `figure: on_demand_usd_h`."""
    model: str | None = None
    accelerator: str | None = None
    api: str | None = None
    figure: str | None = None
    unknown: str | None = Field(default=None, min_length=3)
    """Or why it is not known: claims that need it cannot be checked."""
    unit: str | None = None
    source: str | None = None
    date: PartialDate | None = None
    notes: str | None = None

    @property
    def stated_unit(self) -> str | None:
        """Its unit: as written, or that of the catalogue's figure."""
        figure = self.figure or ""
        return self.unit or next((unit for ending, unit in FIGURE_UNITS if figure.endswith(ending)), None)

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        looked_up = [name for name in ("offer", "model", "accelerator", "api") if getattr(self, name) is not None]
        given = [*(["value"] if self.value is not None else []), *looked_up, *(["unknown"] if self.unknown else [])]
        if len(given) != 1:
            raise ValueError(
                f"give one of value, offer, model, accelerator, api, unknown; got {', '.join(given) or '-'}"
            )
        if bool(looked_up) != (self.figure is not None):
            raise ValueError("`figure` says which figure of the catalogue's entry: it goes with offer, model, api, ...")
        return self


class Tolerance(Document):
    """How near is near enough."""

    absolute: float = 0.0
    relative: float = 0.0


def _tolerance(raw: Any) -> Tolerance:
    if isinstance(raw, Tolerance):
        return raw
    if isinstance(raw, int | float) and not isinstance(raw, bool) and raw >= 0:
        return Tolerance(absolute=float(raw))
    if isinstance(raw, str) and raw.strip().endswith("%"):
        try:
            return Tolerance(relative=float(raw.strip()[:-1]) / 100)
        except ValueError:
            pass
    raise ValueError(f"a tolerance is a number in the claim's unit, or a percentage such as '5 %', not {raw!r}")


class Claim(Document):
    """A published sentence with a number, and the formula that should give it."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    says: str = Field(min_length=3)
    """The sentence."""
    source: str | None = None
    """Where it was published; the study's source by default."""
    formula: Formula
    unit: str | None = None
    published: float | bool
    is_: Literal["equal", "below", "above"] = Field(default="equal", alias="is")
    """Whether the sentence says the number, or that it is below or above the number."""
    tolerance: Annotated[Tolerance, PlainValidator(_tolerance)] = Tolerance()
    why: str | None = None
    """What the formula takes into account that the sentence does not, in a sentence of its own."""


class DatedTariff(Document):
    """An API's price at a time, USD per 1M tokens."""

    date: PartialDate
    source: str = Field(min_length=3)
    input_usd_per_1m: Figure
    output_usd_per_1m: Figure
    cached_input_usd_per_1m: Figure | None = None


class RateLimit(Document):
    """What an API allows."""

    tokens_per_minute: float | None = Field(default=None, gt=0)
    requests_per_minute: float | None = Field(default=None, gt=0)
    source: str | None = None


class Tokenizers(Document):
    """Files to count one text with, by the served model's tokenizer and by the API's; relative to the study's file."""

    served: Path
    api: Path
    text: Path
    """A text like the traffic's."""


class Owned(Document):
    """A machine that is bought; the keys are those of a rig file (docs/pricing.md), any of them uncertain."""

    capex_usd: Figure
    life_years: Figure
    resale_usd: Figure = _number(0)
    spare_share: Figure = _number(0)
    """Spare parts and machines kept ready, as a share of the purchase."""
    discount_rate: Share = _number(0)
    idle_w: Figure = _number(0)
    busy_w: Figure = _number(0)
    pue: Figure = _number(1)
    usd_per_kwh: Figure = _number(0)
    hosting_usd_per_kw_month: Figure = _number(0)
    labour_hours_per_month: Figure = _number(0)
    labour_usd_per_hour: Figure = _number(0)
    other_usd_per_month: Figure = _number(0)
    """Anything else that is paid each month for the machine."""


class Scenario(Document):
    """One way to have the requests served: machines (rented, bought, or at a stated price), or an API."""

    name: str = Field(min_length=1)
    model: str | None = None
    source: str | None = None
    """Of the throughput."""
    date: PartialDate | None = None
    notes: str | None = None

    offer: str | None = None
    price_kind: PriceKind = "on-demand"
    offer_prices: tuple[Price, ...] = ()
    """Dated prices of that offer that the catalogue lacks."""
    interruptions_per_month: Figure | None = None
    """Of a spot machine; what is lost to them makes its hours dearer."""
    recovery_s: Figure = _number(180)
    """From an interruption until a replacement serves."""
    own: Owned | None = None
    usd_per_hour: Figure | None = None
    tokens_per_second: Figure | None = None
    """New input and output tokens together that one machine serves at full load; cached input takes no time."""
    output_tokens_per_second: Figure | None = None
    """Or its output tokens; how much input was beside them, or how fast it is, says one of the next two."""
    input_tokens_per_second: Figure | None = None
    """New input tokens when it does nothing else; output_tokens_per_second then is output alone too."""
    measured_input_per_output: Figure | None = None
    """New input tokens beside each output token when the output tokens were counted; by default the traffic's."""
    run: Path | None = None
    """Or a measured run."""
    force: bool = False
    """Take the run's figure although it is not the machine's capacity."""
    as_if: bool = False
    """Price the run by a machine other than the one that it was on."""
    max_load: Share = _number(1)
    least_machines: int = Field(default=1, ge=1)

    api: str | None = None
    prices: tuple[DatedTariff, ...] = ()
    """Dated prices of the API that the price list lacks."""
    batch: bool = False
    discount: Share = _number(0)
    tokenizer_ratio: Figure = _number(1)
    tokenizers: Tokenizers | None = None
    """Or both tokenizers, to measure the ratio with."""
    rate_limit: RateLimit | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        hosted = [key for key in ("offer", "own", "usd_per_hour") if getattr(self, key) is not None]
        if len(hosted) + bool(self.api or self.prices) != 1:
            raise ValueError("a scenario has one of offer, own, usd_per_hour (machines) and api or prices (an API)")
        rates = [
            key for key in ("tokens_per_second", "output_tokens_per_second", "run") if getattr(self, key) is not None
        ]
        if hosted and len(rates) != 1:
            raise ValueError("machines need one of tokens_per_second, output_tokens_per_second, run")
        beside = [
            key for key in ("input_tokens_per_second", "measured_input_per_output") if getattr(self, key) is not None
        ]
        if not hosted and (rates or beside):
            raise ValueError(f"{[*rates, *beside][0]} is for machines, not for an API")
        if beside and self.output_tokens_per_second is None:
            raise ValueError(f"{beside[0]} goes with output_tokens_per_second")
        if len(beside) > 1:
            raise ValueError("give input_tokens_per_second or measured_input_per_output, not both")
        if self.interruptions_per_month is not None and (self.own is not None or not hosted):
            raise ValueError("interruptions_per_month goes with rented machines: offer or usd_per_hour")
        if self.tokenizers is not None and "tokenizer_ratio" in self.model_fields_set:
            raise ValueError("give tokenizer_ratio or tokenizers, not both")
        if self.prices and not self.api and self.model is None:
            raise ValueError("prices without `api` need `model`: which model the API sells")
        return self

    @property
    def is_api(self) -> bool:
        """Whether it is an API."""
        return self.api is not None or bool(self.prices)


class Traffic(Document):
    """What is asked for in a month; the same for every scenario of a question."""

    file: Path | None = None
    """A trace, rates over time or a usage export, relative to the study's file: it says what is not stated here."""
    usage_model: str | None = None
    """Of a usage export: only models whose name has this."""
    tokens_per_month: Figure | None = None
    input_share: Share = _number(0.5)
    """With tokens_per_month: the input's share of the tokens."""
    requests_per_day: Figure | None = None
    input_tokens: Figure | None = None
    output_tokens: Figure | None = None
    cached_share: Share = _number(0)
    """Share of the input tokens that a prefix cache holds."""
    profile: tuple[float, ...] | None = None
    """Relative rates of the hours of a day (24) or of a week (168)."""
    peak_to_mean: Figure = _number(1)
    """The peak within an hour over the hour's mean rate; without a profile, over the month's."""

    @model_validator(mode="after")
    def _volume(self) -> Self:
        by_requests = (self.requests_per_day, self.input_tokens, self.output_tokens)
        if self.usage_model is not None and self.file is None:
            raise ValueError("usage_model goes with file: an API's usage export")
        if self.file is not None:
            if self.tokens_per_month is not None and self.requests_per_day is not None:
                raise ValueError("tokens_per_month and requests_per_day are both stated: give one")
        elif (self.tokens_per_month is None) == (self.requests_per_day is None):
            raise ValueError("traffic needs tokens_per_month, or requests_per_day with input_tokens and output_tokens")
        if self.file is None and self.requests_per_day is not None and None in by_requests:
            raise ValueError("requests_per_day goes with input_tokens and output_tokens")
        if self.profile is not None:
            if len(self.profile) not in {24, 168}:
                raise ValueError(f"a profile has 24 hours (a day) or 168 (a week), not {len(self.profile)}")
            if min(self.profile) < 0 or not sum(self.profile) > 0:
                raise ValueError("a profile's rates must not be negative, nor all 0")
        return self


class Question(Document):
    """Scenarios compared for the same requests."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    asks: str = Field(min_length=3)
    traffic: Traffic
    among: tuple[str, ...] = ()
    """Names of scenarios; all of them by default."""
    against: str | None = None
    """The API that machines are held against; by default the cheapest that sells the same model."""
    prices_as_of: PartialDate | None = None
    """The study's by default."""
    horizon_years: float | None = Field(default=None, gt=0, le=30)
    """Over which alternatives are compared by present value; by default the life of what is bought, else a month."""
    discount_rate: Share = _number(0)
    """A year; by default that of the machine that is bought."""
    api_price_decline: Figure = _number(0)
    """Share that API prices lose a year."""
    notes: str | None = None


class Study(Document):
    """The file."""

    study: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    title: str = Field(min_length=3)
    about: str | None = None
    source: str | None = None
    date: PartialDate | None = None
    prices_as_of: PartialDate | None = None
    """The date whose list prices are meant; today by default."""
    hours_per_month: float = Field(default=730, gt=0, le=744)
    draws: int = Field(default=100_000, ge=1000, le=1_000_000)
    seed: int = Field(default=1, ge=0)
    inputs: Mapping[Name, Input] = Field(default_factory=dict[str, Input])
    claims: tuple[Claim, ...] = ()
    scenarios: tuple[Scenario, ...] = ()
    questions: tuple[Question, ...] = ()
