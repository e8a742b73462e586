"""What authors call models, accelerators and weight formats, and which entries of the catalogue they mean."""

from __future__ import annotations

import math
import re
from functools import cache
from importlib import resources
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from rackrate.catalog.documents import parse_document
from rackrate.catalog.load import Catalog
from rackrate.catalog.types import Accelerator, Model
from rackrate.errors import CatalogError
from rackrate.files.yaml import read_yaml

D = TypeVar("D", bound=BaseModel)


class _Names(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    models: dict[str, str]
    added_models: list[Model]
    accelerators: dict[str, str]
    added_accelerators: list[Accelerator]


class _Models(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    models: list[Model]


class CannotPredictError(Exception):
    """Why a row is left out; counted, never raised to the user."""


class PublishedNames:
    """Finds what a published name means: in a catalogue, then in what is known of published rows alone."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._names = _document("published_names.yaml", _Names)
        self._accelerators = self._accelerators_by_name()
        self._models = self._models_by_name()
        self.accelerator = cache(self._find_accelerator)
        """The accelerator of a published spelling. Raises CannotPredictError."""
        self.model = cache(self._find_model)
        """The model of a published name and parameter count, and whether its shape was only assumed from the count."""

    def _accelerators_by_name(self) -> dict[str, Accelerator]:
        table: dict[str, Accelerator] = {}
        for accelerator in (*self.catalog.accelerators.values(), *self._names.added_accelerators):
            for name in (accelerator.id, accelerator.name, *accelerator.aliases):
                table.setdefault(_squeeze(name), accelerator)
        for name, target in self._names.accelerators.items():
            if _squeeze(target) in table:
                table.setdefault(_squeeze(name), table[_squeeze(target)])
        return table

    def _models_by_name(self) -> dict[str, Model]:
        """By every name, and by its letters and digits alone; what the catalogue lists comes first."""
        table: dict[str, Model] = {}
        listed: list[tuple[str, Model]] = []
        for model in self.catalog.models.values():
            hub = (model.hub_id.rsplit("/", 1)[-1],) if model.hub_id else ()
            listed += [(name, model) for name in (model.id, *model.aliases, *hub)]
        more = _document("published_models.yaml", _Models).models
        # of two entries with one name the later one counts, at the place of the first
        added = {alias: model for model in (*self._names.added_models, *more) for alias in (model.id, *model.aliases)}
        for name, entry in (*listed, *added.items()):
            table.setdefault(name.lower(), entry)
        for name, target in self._names.models.items():
            if target in table:
                table.setdefault(name, table[target])
        for name, item in tuple(table.items()):
            for spelling in _spellings(name):
                table.setdefault(spelling, item)
        for name, item in tuple(table.items()):
            table.setdefault(_squeeze(name), item)
        return table

    def _find_accelerator(self, name: str) -> Accelerator:
        if "unknown" in name.lower() or not name.strip():
            raise CannotPredictError("the accelerator is not stated")
        if name.count(" (x") >= 1:
            raise CannotPredictError("several accelerator types in one row")
        one_of = re.sub(r"(?i)^\s*\d+\s*x\s*|^hpu\s+|\s+mig .*$|-\d+q$|\s+x\s*\d+$|\s+oam$", "", name)
        tries = [name, one_of, re.sub(r"\(.*?\)", "", one_of)]
        tries += [
            re.sub(
                r"(?i)virtualized|-cts$|-nps1-spx|-\d+w$|geforce|(blackwell )?(server|workstation) edition", "", attempt
            )
            for attempt in tuple(tries)
        ]
        maker = re.compile(r"(?i)^\s*(nvidia|amd|intel|amd instinct|tesla|radeon pro)[\s-]+")
        tries += [maker.sub("", attempt) for attempt in tuple(tries)]
        tries += [re.sub(r"(?i)(\d)g$", r"\1gb", attempt) for attempt in tuple(tries)]
        tries += [re.sub(r"(?i)[ -]*\d+(\.\d+)?\s*gb.*$", "", attempt) for attempt in tuple(tries)]
        tries += [re.sub(r"(?i)^\s*(nvidia|amd|amd instinct|tesla|rtx)\s+", "", attempt) for attempt in tuple(tries)]
        tries += [f"rtx{attempt}" for attempt in tuple(tries)]
        for attempt in tries:
            if (found := self._accelerators.get(_squeeze(attempt))) is not None:
                return found
        try:
            return self.catalog.accelerator(name)
        except CatalogError:
            raise CannotPredictError(f"no facts about the accelerator {name}") from None

    def _find_model(self, name: str, params: str) -> tuple[Model, bool]:
        for spelling in _spellings(name):
            found = self._models.get(spelling) or self._models.get(_squeeze(spelling))
            if found is not None:
                return found, False
        return self._assumed(name, params), True

    def _assumed(self, name: str, params: str) -> Model:
        """A model of the nearest known shape, scaled to the stated parameters."""
        sizes = stated_sizes(params, name)
        if not sizes:
            raise CannotPredictError(f"no facts about the model {name}, and no parameter count")
        total = sizes[0]
        active = sizes[1] if len(sizes) > 1 else None
        routed = active is not None or re.search(r"\bmoe\b|experts", params.lower()) is not None

        def distance(model: Model) -> float:
            apart = abs(math.log(model.parameters / total))
            if active is not None and model.active_parameters is not None:
                apart += abs(math.log(model.active_parameters / active))
            return apart

        pool = [
            model
            for model in self.catalog.models.values()
            if (model.active_parameters is not None) == routed and model.attention in {"gqa", "mha", "mla"}
        ]
        nearest = min(pool, key=distance)
        changes: dict[str, Any] = {"parameters": int(total), "id": f"like-{nearest.id}"}
        if active is not None:
            changes["active_parameters"] = int(active)
        return nearest.model_copy(update=changes)


def _document(name: str, kind: type[D]) -> D:
    with resources.as_file(resources.files("rackrate.validation") / "data" / name) as file:
        return parse_document(read_yaml(file), kind, file)


def _squeeze(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_SUFFIXES = re.compile(
    r"[-.](gguf|i?q\d[\w-]*|fp8.*|w?\d?-?(nv|mx)?fp4.*|awq.*|gptq.*|exl2.*|int[48].*|w\da\d+.*|quantized.*|bnb.*|\d-?bit"
    r"|bf16|fp16|f16|float16|kv|hf|dynamic|instruct|chat|it|base|instruct-v[\d.]+)$"
)


def _spellings(name: str) -> list[str]:
    """The name, and what is left of it without its organisation, number format and kind of tuning, longest first."""
    last = re.sub(r"[\s:_]+", "-", name.lower().strip().rsplit("/", 1)[-1])
    found = [name.lower().strip(), name.lower().strip().rsplit("/", 1)[-1], last]
    while (shorter := _SUFFIXES.sub("", last)) != last:
        found.append(shorter)
        last = shorter
    return list(dict.fromkeys(found))


_UNITS = {"M": 1e6, "B": 1e9, "T": 1e12}


def stated_sizes(params: str, name: str) -> list[float]:
    """Parameters, and active ones if there are, from the column, else as names state them. [parameter]

    >>> stated_sizes("1T(32B active)", ""), stated_sizes("", "someone/tuned-30b-a3b"), stated_sizes("494M", "")
    ([1000000000000.0, 32000000000.0], [30000000000.0, 3000000000.0], [494000000.0])
    """
    bare = number_of(params)
    if bare is not None:
        return [bare if bare > 1e6 else bare * 1e9]
    found = re.findall(r"(\d+(?:\.\d+)?)\s*([MBT])(?![A-Z])", params.upper())
    if not found:
        found = re.findall(r"(?<![A-Z0-9.])A?(\d+(?:\.\d+)?)([MBT])(?![A-Z0-9])", name.upper())
    sizes = [float(number) * _UNITS[unit] for number, unit in found if float(number) > 0]
    return sizes[:2] if len(sizes) > 1 and sizes[1] < sizes[0] else sizes[:1]


def number_of(text: str) -> float | None:
    """A number above 0; None where there is none, or one out of all proportion."""
    try:
        value = float(text.replace(",", "").strip())
    except ValueError:
        return None
    return value if value > 0 and value < 1e15 else None
