"""A study's scenarios as machines and tariffs: their figures by name, their prices at a date, their provenance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from rackrate.catalog.api_rates import Rates
from rackrate.catalog.api_status import LIVE, ApiStatus
from rackrate.catalog.api_use import ANY_USE, ApiUse
from rackrate.catalog.apis import ApiPrice
from rackrate.catalog.load import Catalog
from rackrate.economics.alternatives import Demand, Machine, Tariff, profile_of
from rackrate.economics.hourly import owned_parts
from rackrate.economics.ratecard import Serving
from rackrate.economics.terms import ASSUMED_INTERRUPTIONS_PER_MONTH, lost_share, spot_usd_h
from rackrate.economics.uncertainty import Fixed, Quantity, Uniform, measured
from rackrate.errors import PriceError, RunError, UserError
from rackrate.studies.documents import Number, Owned, Scenario, Traffic
from rackrate.studies.loading import Loaded, Where, limits_of
from rackrate.studies.prices import TypedPrice, api_at, offer_at, rates_at
from rackrate.studies.throughput import RATES, caution, new_input_per_output, served_tok_s
from rackrate.studies.tokenizers import measured_ratio
from rackrate.units import MONTHS_PER_YEAR

if TYPE_CHECKING:
    from rackrate.units import Numbers


UNITS = {
    "tokens_per_second": "token/s",
    "output_tokens_per_second": "token/s",
    "input_tokens_per_second": "token/s",
    "usd_per_hour": "USD/h",
    "tokens_per_month": "token/month",
    "requests_per_day": "request/day",
    "input_tokens": "token",
    "output_tokens": "token",
    "input_usd_per_1m": "USD/1M tokens",
    "output_usd_per_1m": "USD/1M tokens",
    "cached_input_usd_per_1m": "USD/1M tokens",
    "capex_usd": "USD",
    "resale_usd": "USD",
    "life_years": "year",
    "idle_w": "W",
    "busy_w": "W",
    "usd_per_kwh": "USD/kWh",
    "hosting_usd_per_kw_month": "USD/kW/month",
    "labour_hours_per_month": "h/month",
    "labour_usd_per_hour": "USD/h",
    "other_usd_per_month": "USD/month",
    "interruptions_per_month": "1/month",
    "recovery_s": "s",
}
"""Of figures by their key; shares and ratios have none."""


@dataclass
class ParameterTable:
    """ParameterTable by name: what is drawn for each, and in which unit it is."""

    quantities: dict[str, Quantity] = field(default_factory=dict[str, Quantity])
    units: dict[str, str | None] = field(default_factory=dict[str, str | None])
    limits: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])

    def add(self, name: str, key: str, number: Number) -> None:
        """A figure that is written out; formulas follow from inputs and are not figures of their own."""
        if number.quantity is not None:
            self.put(name, key, number.quantity)

    def put(self, name: str, key: str, quantity: Quantity) -> None:
        """A figure from elsewhere: a list price, a measured throughput."""
        self.quantities[name] = quantity
        self.units[name] = UNITS.get(key)
        self.limits[name] = limits_of(key)


@dataclass(frozen=True)
class Valuation:
    """Values of all figures and inputs: central ones, or draws."""

    figures: Mapping[str, Numbers]
    inputs: Mapping[str, Numbers]

    def of(self, name: str, key: str, number: Number) -> Numbers:
        """A figure's value, cut at what it can be (a share at 1)."""
        import numpy as np

        value = number.formula.value(self.inputs) if number.formula is not None else self.figures[name]
        return np.clip(value, *limits_of(key))


@dataclass(frozen=True)
class Alternative:
    """A scenario at a date's prices."""

    scenario: Scenario
    kind: Literal["rented", "owned", "stated", "api"]
    model: str | None
    """Id of the catalogue's model, or as it was written."""
    serving: Serving | None
    """Of a measured run."""
    listed: ApiPrice | None
    typed: int | None
    """Which of the scenario's own dated API prices."""
    source: str
    date: str
    notes: tuple[str, ...]
    tiers: tuple[tuple[int, Rates], ...] = ()
    """Of an API whose price depends on it: from how many input tokens of a request on, and the price then."""
    mix: float | None = None
    """A machine: the traffic's new input tokens for each output token, in the central case."""

    @property
    def status(self) -> ApiStatus:
        """Of an API by the price list: whether it is sold at the date of the prices."""
        return self.listed.status if self.listed is not None else LIVE

    @property
    def name(self) -> str:
        """As the file names it."""
        return self.scenario.name

    def price(self, at: Valuation, demand: Demand) -> str:
        """Its price in words."""
        if self.kind == "api":
            tariff = self.tariff(at, demand)
            batch = ", batch" if self.listed is not None and self.listed.batch else ""
            into, out = float(tariff.input_usd_per_1m), float(tariff.output_usd_per_1m)
            return f"${into:.4g} in, ${out:.4g} out{batch}"
        machine, scenario = self.machine(at, demand), self.scenario
        if machine.capex_usd is not None and scenario.own is not None:
            years = at.of(f"{self.name}: life_years", "life_years", scenario.own.life_years)
            return f"${float(machine.capex_usd):,.0f} bought, {float(years):.3g} years"
        where = f", {scenario.offer}" if scenario.offer and scenario.offer != self.name else ""
        kind = f" {scenario.price_kind}" if scenario.offer else ""
        return f"${float(machine.fixed_usd_h):.4g}/h{kind}{where}"

    def machine(self, at: Valuation, demand: Demand) -> Machine:
        """Its machine, for a demand's mix of tokens."""
        scenario = self.scenario
        capex, running, busy = None, 0.0, 0.0
        resale, life = 0.0, math.inf
        if scenario.own is not None:
            get = {key: at.of(f"{self.name}: {key}", key, getattr(scenario.own, key)) for key in Owned.model_fields}
            other = get.pop("other_usd_per_month") / demand.hours
            parts = owned_parts(**get, hours_per_month=demand.hours)
            busy = parts.pop("busy energy")
            running = sum((usd for name, usd in parts.items() if name != "purchase"), start=other)
            fixed = running + parts["purchase"]
            capex, resale = (get[key] * (1 + get["spare_share"]) for key in ("capex_usd", "resale_usd"))
            life = get["life_years"] * MONTHS_PER_YEAR
        elif scenario.usd_per_hour is not None:
            fixed = at.of(f"{self.name}: usd_per_hour", "usd_per_hour", scenario.usd_per_hour)
        else:
            fixed = at.figures[f"{self.name}: list price"]
        if (often := _interruptions(scenario)) is not None:
            recovery = at.of(f"{self.name}: recovery_s", "recovery_s", scenario.recovery_s)
            interruptions = at.of(f"{self.name}: interruptions_per_month", "interruptions_per_month", often)
            fixed = spot_usd_h(fixed, lost_share(interruptions, recovery, demand.hours))
        return Machine(
            tok_s=self._tok_s(at, demand),
            fixed_usd_h=fixed,
            busy_usd_h=busy,
            capex_usd=capex,
            running_usd_h=running,
            resale_usd=resale,
            life_months=life,
            max_load=at.of(f"{self.name}: max_load", "max_load", scenario.max_load),
            least=scenario.least_machines,
        )

    def _tok_s(self, at: Valuation, demand: Demand) -> Numbers:
        return served_tok_s(
            self.scenario,
            lambda key, number: at.of(f"{self.name}: {key}", key, number),
            demand,
            self.mix,
            self.serving,
            at.figures.get(f"{self.name}: measured throughput"),
        )

    def of_mix(self, at: Valuation, demand: Demand) -> Alternative:
        """A machine with the traffic that its throughput is stated for, and what that leaves out."""
        if self.kind == "api":
            return self
        mix, key = new_input_per_output(demand), "measured_input_per_output"
        stated = self.scenario.measured_input_per_output
        beside = float(at.of(f"{self.name}: {key}", key, stated)) if stated is not None else None
        said = caution(self.scenario, beside, self.serving, mix)
        return replace(self, mix=mix, notes=(*self.notes, *((said,) if said else ())))

    def tariff(self, at: Valuation, demand: Demand) -> Tariff:
        """Its prices, for requests as long as the demand's."""
        scenario, name = self.scenario, self.name
        if self.typed is not None:
            own = scenario.prices[self.typed]
            rates = [
                at.of(f"{name}: {key}", key, number) if (number := getattr(own, key)) is not None else None
                for key in ("input_usd_per_1m", "output_usd_per_1m", "cached_input_usd_per_1m")
            ]
        else:
            rates = [at.figures.get(f"{name}: {kind} price") for kind in ("input", "output", "cached input")]
            if self.listed is not None and self.tiers and demand.prompt_tokens is not None:
                factors = self._by_length(self.listed, demand.prompt_tokens)
                rates = [None if rate is None else rate * factor for rate, factor in zip(rates, factors, strict=True)]
        into, out, cached = rates
        assert into is not None and out is not None  # noqa: S101, PT018 - only the cached price may be absent
        return Tariff(
            input_usd_per_1m=into,
            output_usd_per_1m=out,
            cached_input_usd_per_1m=cached,
            discount=at.of(f"{name}: discount", "discount", scenario.discount),
            tokenizer_ratio=at.of(f"{name}: tokenizer_ratio", "tokenizer_ratio", scenario.tokenizer_ratio),
        )

    def _by_length(self, listed: ApiPrice, prompt_tokens: Numbers) -> list[Numbers]:
        """Input, output and cached prices of requests of that length (or of each draw's) over the listed ones."""
        import numpy as np

        starts = np.array([start for start, _ in self.tiers[1:]], dtype=np.float64)
        tier = np.searchsorted(starts, np.asarray(prompt_tokens, dtype=np.float64), side="left")
        factors: list[Numbers] = []
        for name in ("input", "output", "cached_input"):
            values = [getattr(rates, name) or 0.0 for _, rates in self.tiers]
            factors.append(np.asarray(values)[tier] / (getattr(listed.rates, name) or 1.0))
        return factors


def alternative(
    loaded: Loaded, scenario: Scenario, catalog: Catalog, as_of: str, figures: ParameterTable, use: ApiUse = ANY_USE
) -> Alternative:
    """Looks a scenario up and puts its figures among `figures`.

    Raises:
        UserError: an offer, API, model or run that there is not; with file, line and column.
    """
    position = loaded.study.scenarios.index(scenario)
    where: Where = ["scenarios", position]
    try:
        model = catalog.known_model(scenario.model) if scenario.model else None
        model_id = model.id if model is not None else scenario.model
        if scenario.is_api:
            return _api(loaded, scenario, catalog, as_of, figures, model_id, use)
        return _machine(loaded, scenario, catalog, as_of, figures, model_id)
    except UserError as error:
        keys = ("run",) if isinstance(error, RunError) else ("tokenizers", "api", "offer", "run")
        key = next((key for key in keys if getattr(scenario, key) is not None), "name")
        raise UserError(f"{loaded.place([*where, key])}: {error}") from None


def _api(
    loaded: Loaded,
    scenario: Scenario,
    catalog: Catalog,
    as_of: str,
    figures: ParameterTable,
    model: str | None,
    use: ApiUse,
) -> Alternative:
    name = scenario.name
    typed = [TypedPrice(price.date, price.source, position) for position, price in enumerate(scenario.prices)]
    dated = api_at(scenario.api, catalog, as_of, typed, batch=scenario.batch, use=use)
    notes = [dated.note] if dated.note else []
    figures.add(f"{name}: discount", "discount", scenario.discount)
    figures.add(f"{name}: tokenizer_ratio", "tokenizer_ratio", scenario.tokenizer_ratio)
    if scenario.tokenizers is not None:
        files, folder = scenario.tokenizers, loaded.path.parent
        ratio = measured_ratio(folder / files.served, folder / files.api, folder / files.text)
        figures.put(f"{name}: tokenizer_ratio", "tokenizer_ratio", Fixed(ratio))
        notes.append(f"counts {ratio:.3f} tokens for each of the served model's, measured on {files.text}")
    listed, which = dated.listed, None
    if listed is not None:
        for kind in ("input", "output", "cached_input"):
            value = getattr(listed, f"{kind}_usd_per_1m")
            if value is not None:
                figures.put(f"{name}: {kind.replace('_', ' ')} price", f"{kind}_usd_per_1m", Fixed(value))
        if listed.note:
            notes.append(listed.note)
    else:
        assert dated.typed is not None  # noqa: S101 - one of the two
        which = dated.typed.position
        own = scenario.prices[which]
        for key in ("input_usd_per_1m", "output_usd_per_1m", "cached_input_usd_per_1m"):
            if (number := getattr(own, key)) is not None:
                figures.add(f"{name}: {key}", key, number)
    if dated.sells is not None:
        model = model or _sells(catalog, dated.sells)
    since = f"{listed.date}, price since {listed.since}" if listed is not None and listed.since else dated.date
    notes += [scenario.notes] if scenario.notes else []
    tiers: tuple[tuple[int, Rates], ...] = ()
    alike = use.prompts is None or len(use.prompts.prompt_tokens) == 1  # else the prices are of all lengths already
    if (
        alike
        and listed is not None
        and (starts := sorted({part.longer_than for part in listed.parts}))
        and len(starts) > 1
    ):
        tiers = tuple(
            (start, rates_at(listed.ref, catalog, as_of, start, use, batch=scenario.batch)) for start in starts
        )
    return Alternative(scenario, "api", model, None, listed, which, dated.source, since, tuple(notes), tiers)


def _sells(catalog: Catalog, price: ApiPrice) -> str | None:
    """The catalogue's model that this API sells."""
    for model in catalog.models.values():
        if any(api.provider == price.provider and api.model == price.model for api in model.apis):
            return model.id
    return price.model


def _machine(
    loaded: Loaded, scenario: Scenario, catalog: Catalog, as_of: str, figures: ParameterTable, model: str | None
) -> Alternative:
    name = scenario.name
    for key in (*RATES, "usd_per_hour", "max_load"):
        if (number := getattr(scenario, key)) is not None:
            figures.add(f"{name}: {key}", key, number)
    notes = [scenario.notes] if scenario.notes else []
    if (often := _interruptions(scenario)) is not None:
        figures.add(f"{name}: interruptions_per_month", "interruptions_per_month", often)
        figures.add(f"{name}: recovery_s", "recovery_s", scenario.recovery_s)
        if scenario.interruptions_per_month is None:
            few, many = ASSUMED_INTERRUPTIONS_PER_MONTH
            notes.append(f"{few:g} to {many:g} interruptions a month are assumed")
    serving = None
    if scenario.run is not None:
        serving, served, why = _measured(loaded, scenario, catalog)
        model = model or served
        notes += [why] if why else []
        speed = measured(serving.tok_s, serving.relative_half_width)
        figures.put(f"{name}: measured throughput", "tokens_per_second", speed)
        notes += [f"{word}: not the machine's capacity" for word in serving.caveats]
    kind: Literal["rented", "owned", "stated"]
    source, date = scenario.source or "", scenario.date or ""
    if scenario.own is not None:
        kind = "owned"
        for key in Owned.model_fields:
            figures.add(f"{name}: {key}", key, getattr(scenario.own, key))
    elif scenario.usd_per_hour is not None:
        kind = "stated"
    else:
        kind = "rented"
        dated = offer_at(catalog.offer(scenario.offer or ""), scenario.price_kind, as_of, scenario.offer_prices)
        spread = dated.spot_usd_h is not None and dated.spot_usd_h[0] < dated.spot_usd_h[1]
        listed = Uniform(*dated.spot_usd_h) if dated.spot_usd_h and spread else Fixed(dated.cost.fixed_usd_h)
        figures.put(f"{name}: list price", "usd_per_hour", listed)
        notes += [dated.note] if dated.note else []
        if spread and dated.spot_usd_h is not None:
            notes.append("zones ask ${:.4g} to ${:.4g} an hour: all between are drawn".format(*dated.spot_usd_h))
        source, date = f"{source}; price: {dated.cost.source}" if source else dated.cost.source, dated.cost.date
    if serving is not None:
        source = f"{serving.origin}; {source}" if source else serving.origin
    return Alternative(scenario, kind, model, serving, None, None, source, date, tuple(notes))


def _interruptions(scenario: Scenario) -> Number | None:
    """How often a machine is taken away: as stated; of spot prices, where nothing is, as assumed."""
    if scenario.interruptions_per_month is not None:
        return scenario.interruptions_per_month
    if scenario.offer is not None and scenario.price_kind == "spot":
        return Number(Uniform(*ASSUMED_INTERRUPTIONS_PER_MONTH), None)
    return None


def _measured(loaded: Loaded, scenario: Scenario, catalog: Catalog) -> tuple[Serving, str, str | None]:
    """What a run's best level serves, the model it served, and why its price is another machine's, if it is.

    The run's path is relative to the study's file.
    """
    from rackrate.economics.hardware import mismatch
    from rackrate.economics.served import served_by

    assert scenario.run is not None  # noqa: S101 - the caller looked
    path = scenario.run if scenario.run.is_absolute() else loaded.path.parent / scenario.run
    found = served_by(path, force=scenario.force, name=str(scenario.run))
    why = mismatch(found.run.header.machine, catalog.offer(scenario.offer)) if scenario.offer is not None else None
    if why is not None and not scenario.as_if:
        raise PriceError(f"{why}: a figure belongs to its machine; choose its offer, or say as_if: true")
    served = found.run.header.model
    return found.serving, served.catalogue_id or served.requested, f"priced as if: {why}" if why is not None else None


def traffic_figures(traffic: Traffic, figures: ParameterTable) -> None:
    """Puts the traffic's figures among `figures`."""
    for key in Traffic.model_fields:
        number = getattr(traffic, key)
        if isinstance(number, Number):
            figures.add(f"traffic: {key}", key, number)


def demand_at(traffic: Traffic, at: Valuation, hours: float) -> Demand:
    """What is asked in a month."""

    def get(key: str) -> Numbers:
        return at.of(f"traffic: {key}", key, getattr(traffic, key))

    if traffic.tokens_per_month is not None:
        tokens = get("tokens_per_month")
        into = tokens * get("input_share")
        out = tokens - into
    else:
        requests = get("requests_per_day") * hours / 24
        into, out = requests * get("input_tokens"), requests * get("output_tokens")
    cached = into * get("cached_share")
    profile = profile_of(traffic.profile) if traffic.profile is not None else (1.0,)
    length = get("input_tokens") if traffic.input_tokens is not None else None
    return Demand(
        new_input_tokens=into - cached,
        cached_input_tokens=cached,
        output_tokens=out,
        hours=hours,
        peak_to_mean=get("peak_to_mean") * max(profile),
        profile=profile,
        prompt_tokens=length,
    )
