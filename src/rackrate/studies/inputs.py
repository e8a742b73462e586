"""A study's inputs: what was written, what the catalogue says, what follows from others, and what nobody knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from rackrate.catalog.apis import chosen_apis
from rackrate.catalog.load import Catalog
from rackrate.catalog.types import Entry, moment
from rackrate.economics.quantities import as_share
from rackrate.economics.uncertainty import Fixed, Quantity, Uniform, estimate
from rackrate.errors import PriceError, UserError, did_you_mean
from rackrate.studies.documents import BUILT_IN, Input
from rackrate.studies.expressions import Expression
from rackrate.studies.loading import Loaded, input_order
from rackrate.studies.prices import offer_at
from rackrate.studies.results import Assumption

if TYPE_CHECKING:
    from rackrate.units import Numbers

_PRICE_KINDS = {
    "on_demand_usd_h": "on-demand",
    "spot_usd_h": "spot",
    "reserved_1y_usd_h": "reserved-1y",
    "reserved_3y_usd_h": "reserved-3y",
}
_API_FIGURES = (
    "input_usd_per_1m", "output_usd_per_1m", "cached_input_usd_per_1m", "cache_write_usd_per_1m",
    "cache_write_1h_usd_per_1m",
)  # fmt: skip


@dataclass(frozen=True)
class Known:
    """One input with what it is."""

    quantity: Quantity | None
    formula: Expression | None
    missing: str | None
    unit: str | None
    source: str | None
    date: str | None
    text: str


@dataclass(frozen=True)
class Inputs:
    """All inputs of a study, in an order in which each follows those that it is computed from."""

    known: Mapping[str, Known]
    hours_per_month: float
    names: tuple[str, ...] = ()
    """As the file orders them, for printing."""

    @property
    def leaves(self) -> dict[str, Quantity]:
        """The inputs that nothing else determines."""
        return {name: item.quantity for name, item in self.known.items() if item.quantity is not None}

    @property
    def missing(self) -> dict[str, str]:
        """The inputs that are not known, each with why."""
        return {name: item.missing for name, item in self.known.items() if item.missing is not None}

    def values(self, leaves: Mapping[str, Numbers]) -> dict[str, Numbers]:
        """Every known input, from the values of those that nothing else determines."""
        values: dict[str, Numbers] = {"hours_per_month": self.hours_per_month}
        for name, item in self.known.items():
            if item.formula is not None and item.missing is None:
                values[name] = item.formula.value(values)
            elif item.quantity is not None:
                values[name] = leaves[name]
        return values

    def assumptions(self, middle: Mapping[str, Numbers], drawn: Mapping[str, Numbers]) -> tuple[Assumption, ...]:
        """All inputs for printing, from their central values and their draws."""
        return tuple(
            Assumption(
                name=name,
                text=item.text,
                value=None if item.missing is not None else estimate(float(middle[name]), drawn[name]),
                unit=item.unit,
                source=item.source,
                date=item.date,
                missing=item.missing,
            )
            for name in self.names
            for item in [self.known[name]]
        )


def read_inputs(loaded: Loaded, catalog: Catalog, as_of: str) -> Inputs:
    """Resolves the inputs, catalogue figures at that date's prices.

    Raises:
        UserError: an input names a catalogue entry or a figure that there is not; with file, line and column.
    """
    study = loaded.study
    known: dict[str, Known] = {}
    for name in input_order(study):
        given = study.inputs[name]
        if given.unknown is not None:
            known[name] = Known(None, None, given.unknown, given.unit, given.source, given.date, "not known")
        elif given.value is not None:
            known[name] = _written(name, given, known, study.source, study.date)
        else:
            known[name] = _looked_up(loaded, name, given, catalog, as_of)
    return Inputs(known, study.hours_per_month, tuple(study.inputs))


def _written(name: str, given: Input, known: Mapping[str, Known], source: str | None, date: str | None) -> Known:
    assert given.value is not None  # noqa: S101 - the caller's case
    formula = given.value.formula
    if formula is None:
        said, of = (given.source, given.date) if given.source else (source, given.date or date)
        quantity = given.value.quantity
        if quantity is not None and given.unit == "share":
            quantity = as_share(quantity)
        return Known(quantity, None, None, given.unit, said, of, str(quantity))
    lacking = [other for other in formula.names if other in known and known[other].missing is not None]
    reason = f"{name} = {formula} needs {lacking[0]}: {known[lacking[0]].missing}" if lacking else None
    said = given.source or f"computed: {formula}"
    return Known(None, formula, reason, given.unit, said, given.date, str(formula))


def _looked_up(loaded: Loaded, name: str, given: Input, catalog: Catalog, as_of: str) -> Known:
    figure = given.figure or ""
    place = ["inputs", name]
    unit = given.stated_unit
    try:
        if given.api is not None:
            if figure not in _API_FIGURES:
                raise UserError(f"no figure of an API is called {figure!r}{did_you_mean(figure, _API_FIGURES)}")
            ((sold, _),) = chosen_apis(None, catalog, (given.api,), when=moment(as_of))
            return _known(getattr(sold, figure), unit, sold.source, sold.since or sold.date, f"{given.api} {figure}")
        kind, wanted = next(
            (kind, wanted)
            for kind, wanted in (("offer", given.offer), ("model", given.model), ("accelerator", given.accelerator))
            if wanted is not None
        )
        entry: Entry = getattr(catalog, kind)(wanted)
        if given.offer is not None and figure in _PRICE_KINDS:
            try:
                dated = offer_at(catalog.offer(given.offer), _PRICE_KINDS[figure], as_of)  # pyright: ignore[reportArgumentType]
            except PriceError as error:
                return Known(None, None, str(error), unit, None, None, f"{wanted} {figure}")
            price = Uniform(*dated.spot_usd_h) if dated.spot_usd_h else Fixed(dated.cost.fixed_usd_h)
            return Known(price, None, None, unit, dated.cost.source, dated.cost.date, f"{wanted} {figure}")
        value = _figure(entry, figure, wanted)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UserError(f"{figure} of {wanted} is not a number")
        source = entry.source_of(figure)
        return _known(
            value, unit, source.source if source else None, source.date if source else None, f"{wanted} {figure}"
        )
    except UserError as error:
        raise UserError(f"{loaded.place([*place, 'figure'])}: {error}") from None


def _figure(entry: Entry, figure: str, wanted: str) -> Any:
    """A figure of a catalogue entry; one inside another is named with a dot: peak_tflops.fp16."""
    name, _, inner = figure.partition(".")
    fields = type(entry).model_fields
    if name not in fields:
        raise UserError(f"no figure of {wanted} is called {figure!r}{did_you_mean(figure, fields)}")
    value: Any = getattr(entry, name)
    if not inner:
        return value
    return cast("dict[str, Any]", value).get(inner) if isinstance(value, dict) else getattr(value, inner, None)


def _known(value: Any, unit: str | None, source: str | None, date: str | None, text: str) -> Known:
    if value is None:
        return Known(None, None, f"the catalogue does not know {text}", unit, source, date, text)
    return Known(Fixed(float(value)), None, None, unit, source, date, text)


def unit_of(name: str, inputs: Inputs) -> str | None:
    """The unit of an input, or of a name that every formula may use."""
    return inputs.known[name].unit if name in inputs.known else BUILT_IN.get(name)
