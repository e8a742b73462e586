"""Lists of the catalogue as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rackrate.report.format import count, usd
from rackrate.report.tables import plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from rackrate.catalog.apis import ApiPrice
    from rackrate.catalog.types import Entry


def entry_table(kind: str, entries: Sequence[Entry]) -> Table:
    """Models, accelerators or offers, a row each."""
    return _TABLES[kind](entries)


def api_table(prices: Sequence[ApiPrice]) -> Table:
    """What APIs charge."""
    table = plain_table("api", "input USD/1M", "output USD/1M", "cached input USD/1M", "note", left=["api", "note"])
    for price in prices:
        table.add_row(
            price.ref,
            usd(price.input_usd_per_1m),
            usd(price.output_usd_per_1m),
            usd(price.cached_input_usd_per_1m),
            price.note or "",
        )
    return table


def _models(entries: Sequence[Any]) -> Table:
    table = plain_table(
        "id",
        "parameters",
        "active",
        "layers",
        "heads/KV",
        "head dim",
        "attention",
        "context",
        "format",
        "APIs",
        left=["id", "attention", "format"],
    )
    for model in entries:
        active = count(model.active_parameters - (model.vision_parameters or 0)) if model.active_parameters else ""
        table.add_row(
            model.id, count(model.parameters), active, str(model.layers), f"{model.heads}/{model.kv_heads}",
            str(model.head_dim),
            model.attention, f"{model.context_tokens:,}", model.weight_format, str(len(model.apis)),
        )  # fmt: skip
    return table


def _accelerators(entries: Sequence[Any]) -> Table:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:g}"

    table = plain_table(
        "id", "architecture", "memory GiB", "GB/s", "fp16 TFLOPS", "bf16", "fp8", "int8 TOPS", "fp4", "TDP W",
        "link GB/s", "lacks",
        left=["id", "architecture", "lacks"],
    )  # fmt: skip
    for entry in entries:
        peaks = entry.peak_tflops
        table.add_row(
            entry.id, entry.architecture, number(entry.memory_gib) if entry.kind == "gpu" else f"{entry.cores} cores",
            number(entry.bandwidth_gb_s), *(number(peaks.get(name)) for name in ("fp16", "bf16", "fp8", "int8", "fp4")),
            number(entry.tdp_w), f"{entry.link.gb_s:g} {entry.link.name}" if entry.link else "-", " ".join(entry.lacks),
        )  # fmt: skip
    return table


def _offers(entries: Sequence[Any]) -> Table:
    table = plain_table(
        "id",
        "hardware",
        "vCPU",
        "GiB",
        "USD/h",
        "spot",
        "reserved 1y",
        "as of",
        "region",
        left=["id", "hardware", "region"],
    )
    for offer in entries:
        price = offer.price
        spot = price.spot_usd_h
        hardware = f"{offer.accelerator_count} x {offer.accelerator}" if offer.accelerator else f"{offer.cpu}"
        table.add_row(
            offer.id, hardware, str(offer.vcpus or "-"), f"{offer.memory_gib:g}" if offer.memory_gib else "-",
            usd(price.on_demand_usd_h),
            "-" if spot is None else usd(spot[0]) if spot[0] == spot[1] else f"{usd(spot[0])}-{usd(spot[1])}",
            usd(price.reserved_1y_usd_h), price.date, offer.region or "",
        )  # fmt: skip
    return table


_TABLES: dict[str, Callable[[Sequence[Any]], Table]] = {
    "models": _models, "accelerators": _accelerators, "offers": _offers,
}  # fmt: skip


def source_table(entries: Sequence[Entry]) -> Table:
    """Where each figure comes from, and of when."""
    columns = ["id", "figures", "date", "source"]
    table = plain_table(*columns, left=columns)
    for entry in entries:
        for source in entry.sources:
            table.add_row(entry.id, ", ".join(source.figures) or "all others", source.date, source.source)
        for price in getattr(entry, "prices", ()):
            table.add_row(entry.id, "price", price.date, price.source)
    return table
