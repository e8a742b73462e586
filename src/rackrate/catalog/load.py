"""The catalogue as one object: the shipped data files with the user's YAML files laid over them.

Shipped are a file a kind in `data/`, and of offers a file a provider in `data/offers/`. The user's files are named as
the kinds (models.yaml, accelerators.yaml, offers.yaml, apis.yaml). An entry with a new id is added; one with a known id
replaces just the keys that it names (`prices:` alone changes an offer's price).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from rackrate.catalog.documents import parse_document, read_document
from rackrate.catalog.types import Accelerator, ApiPriceEntry, CpuArchitecture, EnergyPrice, Entry, Model, Offer
from rackrate.errors import CatalogError, UserError, did_you_mean
from rackrate.files import is_directory, is_there
from rackrate.files.yaml import read_yaml

E = TypeVar("E", bound=Entry)

DATA = Path(__file__).parent / "data"
"""The shipped files."""

KINDS: dict[str, type[Entry]] = {
    "models": Model,
    "accelerators": Accelerator,
    "offers": Offer,
    "apis": ApiPriceEntry,
}


@dataclass(frozen=True)
class Catalog:
    """All entries by id, in file order, the user's own last."""

    models: Mapping[str, Model]
    accelerators: Mapping[str, Accelerator]
    offers: Mapping[str, Offer]
    apis: Mapping[str, ApiPriceEntry]
    energy: Mapping[str, EnergyPrice] = field(default_factory=dict[str, EnergyPrice])
    """What a kWh costs, by region."""
    cpu_architectures: tuple[CpuArchitecture, ...] = ()
    """Which microarchitecture a CPU is, by what it says of itself."""
    overlays: tuple[Path, ...] = field(default=())
    """The user's files that were read."""

    def model(self, name: str) -> Model:
        """The model of that id or alias, in any case. Raises CatalogError with the three nearest names."""
        return _find(name, self.models.values(), "model")

    def accelerator(self, name: str) -> Accelerator:
        """The accelerator of that id or alias, in any case, or the only one whose id goes on from it, such as `a800`.

        Raises:
            CatalogError: none or several; the nearest names are said.
        """
        entries = self.accelerators.values()
        if not any(name.lower() in _names(entry) for entry in entries):
            longer = [entry for entry in entries if entry.id.startswith(f"{name.strip().lower()}-")]
            if len(longer) == 1:
                return longer[0]
            if longer:
                several = ", ".join(entry.id for entry in longer)
                raise CatalogError(f"{name!r} is {len(longer)} accelerators: say which of {several}", field="catalog")
        return _find(name, entries, "accelerator")

    def offer(self, name: str) -> Offer:
        """The offer of that id or alias, in any case. Raises CatalogError with the three nearest names."""
        return _find(name, self.offers.values(), "offer")

    def known_model(self, name: str) -> Model | None:
        """The model of that id, hub id or alias; also by the last part of a path or hub id. None where unknown."""
        candidates = {name.lower(), name.rsplit("/", 1)[-1].lower()}
        return next((model for model in self.models.values() if candidates & _names(model)), None)


def _names(entry: Entry) -> set[str]:
    names = {entry.id, *entry.aliases}
    if isinstance(entry, Model) and entry.hub_id:
        names |= {entry.hub_id, entry.hub_id.rsplit("/", 1)[-1]}
    return {name.lower() for name in names}


def _find(name: str, entries: Iterable[E], kind: str) -> E:
    listed = list(entries)
    for entry in listed:
        if name.lower() in _names(entry):
            return entry
    hint = did_you_mean(name, [entry.id for entry in listed])
    raise CatalogError(f"no {kind} is called {name!r}{hint} (`{{catalog}} {kind}s` lists them)", field="catalog")


def search(entries: Iterable[E], words: Iterable[str]) -> list[E]:
    """The entries that contain every word, in any field that a person would search."""
    wanted = [word.lower() for word in words]
    found: list[E] = []
    for entry in entries:
        text = " ".join(str(value) for key, value in entry if key not in {"sources", "prices", "apis"}).lower()
        if all(word in text for word in wanted):
            found.append(entry)
    return found


@cache
def load_catalog(directories: tuple[Path, ...] = ()) -> Catalog:
    """The shipped catalogue with the files of these directories laid over it, later ones winning.

    Raises:
        UserError: one of the files is wrong; with file, line and key.
    """
    overlays: list[Path] = []
    tables: dict[str, Mapping[str, Any]] = {}
    for name, kind in KINDS.items():
        rows = _shipped(name)
        files = [directory / f"{name}.yaml" for directory in directories]
        for file in files:
            if is_there(file):
                overlays.append(file)
                _lay_over(rows, file, kind)
        tables[name] = {entry_id: kind.model_validate(row) for entry_id, row in rows.items()}
    energy, cpus = DATA / "energy.yaml", DATA / "cpu_architectures.yaml"
    catalog = Catalog(
        **tables,
        energy={price.id: price for price in read_document(energy, list[EnergyPrice])},
        cpu_architectures=tuple(read_document(cpus, list[CpuArchitecture])),
        overlays=tuple(overlays),
    )
    _check_references(catalog)
    return catalog


def load_user_catalog(configuration: Path, named: str | None) -> Catalog:
    """The catalogue with the user's files: of the configuration directory, then of each directory that is named.

    Args:
        configuration: the user's directory of rackrate's configuration, there or not.
        named: what RACKRATE_CATALOG says: directories, separated as PATH is.

    Raises:
        UserError: what is named is no directory, or a file is wrong.
    """
    directories = [configuration / "catalog"]
    for item in named.split(os.pathsep) if named else []:
        directory = Path(item).expanduser()
        if not is_directory(directory):
            raise UserError(f"RACKRATE_CATALOG names {directory}, which is not a directory")
        directories.append(directory)
    return load_catalog(tuple(directories))


def _check_references(catalog: Catalog) -> None:
    """Raises UserError where an entry of the user's names a model or an accelerator that nobody knows."""

    def files(name: str) -> str:
        return ", ".join(str(path) for path in catalog.overlays if path.name == f"{name}.yaml")

    for offer in catalog.offers.values():
        if offer.accelerator is not None and offer.accelerator not in catalog.accelerators:
            hint = did_you_mean(offer.accelerator, catalog.accelerators)
            raise UserError(f"{files('offers')}: {offer.id}: no accelerator is called {offer.accelerator!r}{hint}")
    for api in catalog.apis.values():
        if api.same_as is not None and not any(
            api.same_as.lower() in _names(model) for model in catalog.models.values()
        ):
            hint = did_you_mean(api.same_as, catalog.models)
            raise UserError(f"{files('apis')}: {api.id}: no model is called {api.same_as!r}{hint}")


def _shipped(name: str) -> dict[str, dict[str, Any]]:
    """The rows of a kind by id: of `data/NAME.yaml`, or of all files of `data/NAME/` in the order of their names."""
    files = sorted((DATA / name).glob("*.yaml")) or [DATA / f"{name}.yaml"]
    rows = [row for file in files if is_there(file) for row in cast("list[dict[str, Any]]", read_yaml(file))]
    return {row["id"]: row for row in rows}


def _lay_over(rows: dict[str, dict[str, Any]], file: Path, kind: type[Entry]) -> None:
    added = read_yaml(file)
    if added is None:
        return
    if not isinstance(added, list):
        raise UserError(f"{file}:1:1: should be a list of entries, each beginning with `- id: ...`")
    merged: list[Any] = []
    for row in cast("list[Any]", added):
        known = rows.get(str(cast("dict[str, Any]", row).get("id"))) if isinstance(row, dict) else None
        merged.append({**known, **row} if known else row)
    added_ids: set[str] = set()
    for entry, row in zip(parse_document(merged, list[kind], file), merged, strict=True):
        if entry.id in added_ids:
            raise UserError(f"{file}: the id {entry.id!r} is written twice")
        added_ids.add(entry.id)
        rows[entry.id] = row
