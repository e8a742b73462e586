"""rackrate catalog: the models, accelerators, offers and API prices that are known, with their sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.catalog.load import Catalog
    from rackrate.catalog.types import Entry


def catalog(
    kind: Annotated[str, typer.Argument(metavar="models|accelerators|offers|apis", help="What to list.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORD", help="Only entries that contain every word.", show_default=False),
    ] = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="Also print where each figure comes from, and of when.")
    ] = False,
    as_json: given.AsJson = False,
) -> None:
    """List what is known: models, accelerators, offers or API prices, each figure with its source and date.

    Your own YAML files (models.yaml, accelerators.yaml, offers.yaml, apis.yaml) in the directory that `rackrate
    doctor` names, or in RACKRATE_CATALOG, are laid over the shipped ones.
    """
    from rackrate.catalog.load import KINDS, load_catalog, search
    from rackrate.cli.output import print_json, say, show
    from rackrate.errors import CatalogError, did_you_mean

    if kind not in KINDS:
        raise CatalogError(f"there is no list of {kind!r}{did_you_mean(kind, KINDS)}")
    known = load_catalog()
    wanted = words or []
    if kind == "apis":
        _apis(known, wanted, as_json=as_json)
        return
    entries = search(getattr(known, kind).values(), wanted)
    if as_json:
        print_json([entry.model_dump(mode="json") for entry in entries])
        return
    if not entries:
        hint = did_you_mean(" ".join(wanted), getattr(known, kind))
        raise CatalogError(f"no {kind[:-1]} contains {' and '.join(wanted)}{hint}")
    show(_TABLES[kind](entries))
    if sources:
        show(_source_table(entries))
    say(f"{len(entries)} {kind}" + ("" if sources else "; --sources says where each figure comes from"))


def _apis(known: Catalog, words: list[str], *, as_json: bool) -> None:
    from rackrate.catalog.apis import list_apis, price_list_origin
    from rackrate.cli.output import print_json, say, show
    from rackrate.errors import CatalogError, did_you_mean
    from rackrate.report.format import usd
    from rackrate.report.tables import plain_table

    listed = list_apis(known)
    found = [price for price in listed if all(word.lower() in f"{price.ref} {price.name}".lower() for word in words)]
    if as_json:
        from dataclasses import asdict

        print_json([{"ref": price.ref, **asdict(price)} for price in found])
        return
    if not found:
        raise CatalogError(
            f"no API contains {' and '.join(words)}{did_you_mean(' '.join(words), [p.ref for p in listed])}"
        )
    table = plain_table("api", "input USD/1M", "output USD/1M", "cached input USD/1M", "note", left=["api", "note"])
    for price in found:
        table.add_row(
            price.ref,
            usd(price.input_usd_per_1m),
            usd(price.output_usd_per_1m),
            usd(price.cached_input_usd_per_1m),
            price.note or "",
        )
    show(table)
    name, released = price_list_origin()
    say(f"{len(found)} APIs; listed by {name}, released {released}")


def _models(entries: list[Any]) -> Any:
    from rackrate.report.format import count
    from rackrate.report.tables import plain_table

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


def _accelerators(entries: list[Any]) -> Any:
    from rackrate.report.tables import plain_table

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


def _offers(entries: list[Any]) -> Any:
    from rackrate.report.format import usd
    from rackrate.report.tables import plain_table

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


_TABLES = {"models": _models, "accelerators": _accelerators, "offers": _offers}


def _source_table(entries: list[Entry]) -> Any:
    from rackrate.report.tables import plain_table

    columns = ["id", "figures", "date", "source"]
    table = plain_table(*columns, left=columns)
    for entry in entries:
        for source in entry.sources:
            table.add_row(entry.id, ", ".join(source.figures) or "all others", source.date, source.source)
        for price in getattr(entry, "prices", ()):
            table.add_row(entry.id, "price", price.date, price.source)
    return table
