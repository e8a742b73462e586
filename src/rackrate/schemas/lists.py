"""What `--json` prints of lists: the catalogue, engines and their settings, and what a machine has, as types."""

# what answers compute when asked stands written in JSON: properties become fields
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rackrate.catalog.api_price import ApiPrice
from rackrate.catalog.types import Accelerator, Model, Offer
from rackrate.engines.settings import Setting
from rackrate.schemas.root import Root


@dataclass(frozen=True)
class ListedApi(ApiPrice):
    """A price of the list."""

    ref: str = ""
    """PROVIDER/MODEL, as it is named elsewhere."""


@dataclass(frozen=True)
class CatalogView(Root, schema="rackrate.catalog/1"):
    """Entries of the catalogue, each with its sources."""

    kind: str
    """models, accelerators, offers or apis."""
    entries: Sequence[Model] | Sequence[Accelerator] | Sequence[Offer] | Sequence[ListedApi]


@dataclass(frozen=True)
class ListedEngine:
    """An engine, and whether it can be used here."""

    name: str
    state: Literal["ready", "not installed", "by URL"]
    engine: str
    needs: str
    how: str
    """The command that measures it."""


@dataclass(frozen=True)
class EnginesView(Root, schema="rackrate.engines/1"):
    """The engines that can be measured."""

    engines: Sequence[ListedEngine]


@dataclass(frozen=True)
class SettingsView(Root, schema="rackrate.engine-settings/1"):
    """What can be set on an engine."""

    engine: str
    settings: Sequence[Setting]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for."""

    what: str
    state: Literal["ok", "missing", "none"]
    found: str
    do: str
    """What to do about it; empty where nothing is to be done."""


@dataclass(frozen=True)
class DoctorView(Root, schema="rackrate.doctor/1"):
    """What this machine has, and what is missing."""

    findings: Sequence[Finding]
