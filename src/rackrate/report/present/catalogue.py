"""Entries of the catalogue: models, accelerators, offers or prices of APIs, a row each, and where figures come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rackrate.catalog.types import Accelerator, Model, Offer
from rackrate.report.document import Between, Cell, Column, Document, Row, Section, Table
from rackrate.report.format import usd
from rackrate.schemas.lists import CatalogView, ListedApi


def document(view: CatalogView, *, full: bool = False, sources: bool = False) -> Document:
    """A row per entry; where `sources`, a row per source, too."""
    columns, row = _KINDS[view.kind]
    tables = [Table(columns, tuple(row(entry) for entry in view.entries))]
    if (sources or full) and view.kind != "apis":
        said = tuple(line for entry in view.entries for line in _sources(entry))
        names = (Column("id"), Column("figures", wraps=True), Column("date"), Column("source", wraps=True))
        tables.append(Table(names, said, title="Where the figures come from" if full else ""))
    headline = f"The catalogue: {view.kind}" if full else ""
    return Document(subject="catalog", headline=headline, sections=(Section(blocks=tuple(tables)),))


def _model(model: Model) -> Row:
    active = model.active_parameters - (model.vision_parameters or 0) if model.active_parameters else ""
    return (
        model.id, model.parameters, active, model.layers, f"{model.heads}/{model.kv_heads}", model.head_dim,
        model.attention, model.context_tokens, model.weight_format, len(model.apis),
    )  # fmt: skip


def _accelerator(entry: Accelerator) -> Row:
    peaks = (entry.peak_tflops.get(name) for name in ("fp16", "bf16", "fp8", "int8", "fp4"))
    return (
        entry.id, entry.architecture, _plain(entry.memory_gib) if entry.kind == "gpu" else f"{entry.cores} cores",
        _plain(entry.bandwidth_gb_s), *map(_plain, peaks), _plain(entry.tdp_w),
        f"{entry.link.gb_s:g} {entry.link.name}" if entry.link else None, " ".join(entry.lacks),
    )  # fmt: skip


def _plain(value: float | None) -> Cell | None:
    return None if value is None else Cell(value, shown=f"{value:g}")


def _offer(offer: Offer) -> Row:
    price = offer.price
    spot = price.spot_usd_h
    return (
        offer.id, f"{offer.accelerator_count} x {offer.accelerator}" if offer.accelerator else f"{offer.cpu}",
        offer.vcpus, _plain(offer.memory_gib) if offer.memory_gib else None, price.on_demand_usd_h,
        None if spot is None else spot[0] if spot[0] == spot[1] else _between(*spot), price.reserved_1y_usd_h,
        price.date, offer.region or "",
    )  # fmt: skip


def _between(low: float, high: float) -> Cell:
    return Cell(Between(low, high), shown=f"{usd(low)}-{usd(high)}")


def _api(price: ListedApi) -> Row:
    return (
        price.ref, price.input_usd_per_1m, price.output_usd_per_1m, price.cached_input_usd_per_1m, price.note or "",
    )  # fmt: skip


_KINDS: dict[str, tuple[tuple[Column, ...], Callable[[Any], Row]]] = {
    "models": (
        (Column("id"), Column("parameters", "count"), Column("active", "count"), Column("layers", "integer"),
         Column("heads/KV", "number"), Column("head dim", "integer"), Column("attention"),
         Column("context", "integer"), Column("format"), Column("APIs", "integer")),
        _model,
    ),
    "accelerators": (
        (Column("id"), Column("architecture"), *(Column(name, "number") for name in (
            "memory GiB", "GB/s", "fp16 TFLOPS", "bf16", "fp8", "int8 TOPS", "fp4", "TDP W", "link GB/s")),
         Column("lacks")),
        _accelerator,
    ),
    "offers": (
        (Column("id"), Column("hardware"), Column("vCPU", "integer"), Column("GiB", "number"),
         *(Column(name, "money") for name in ("USD/h", "spot", "reserved 1y")), Column("as of"), Column("region")),
        _offer,
    ),
    "apis": (
        (Column("api"), *(Column(f"{what} USD/1M", "money") for what in ("input", "output", "cached input")),
         Column("note", wraps=True)),
        _api,
    ),
}  # fmt: skip
"""Columns, and the row of an entry, by kind."""


def _sources(entry: Any) -> Iterator[Row]:
    for source in entry.sources:
        yield entry.id, ", ".join(source.figures) or "all others", source.date, source.source
    for price in getattr(entry, "prices", ()):
        yield entry.id, "price", price.date, price.source
