"""Whether an API's model can still be bought: what the price list says, and a dated table of announced ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Literal

from rackrate.catalog.documents import read_document
from rackrate.catalog.types import Document, PartialDate

Status = Literal["live", "deprecated", "ended"]


class ApiEnds(Document):
    """Ends that a provider has announced, on one page, for one day."""

    provider: str
    """As genai-prices names it."""
    ended: PartialDate
    """The day from which requests fail."""
    at_latest: bool = False
    """It was gone by then; the day itself is not known."""
    announced: PartialDate | None = None
    models: tuple[str, ...]
    """As genai-prices names them."""
    source: str
    read: PartialDate
    """When the source was read."""
    note: str | None = None


@dataclass(frozen=True)
class ApiStatus:
    """Whether a model is sold at a date."""

    status: Status = "live"
    ends: str | None = None
    """The announced day, YYYY-MM-DD; None: none is known."""
    source: str | None = None
    at_latest: bool = False
    """It was gone by `ends`; the day itself is not known."""

    @property
    def words(self) -> str | None:
        """For a table; None where it is live."""
        if self.status == "ended":
            return f"shut down {'by' if self.at_latest else 'on'} {self.ends}: its price is history"
        if self.status == "deprecated":
            return f"deprecated, shuts down on {self.ends}" if self.ends else "deprecated by its provider"
        return None


LIVE = ApiStatus()


@cache
def _ends() -> dict[tuple[str, str], ApiEnds]:
    with resources.as_file(resources.files("rackrate.catalog") / "data" / "api_ends.yaml") as file:
        listed = read_document(file, list[ApiEnds])
    return {(ends.provider, model): ends for ends in listed for model in ends.models}


def api_status(provider: str, model: str, when: datetime, *, flagged: bool, list_released: str) -> ApiStatus:
    """Whether a model is sold at a date.

    Args:
        provider: as the price list names it.
        model: likewise.
        when: the date.
        flagged: the price list calls it deprecated, without a date: it counts from the list's release on.
        list_released: YYYY-MM-DD.
    """
    day = when.astimezone(UTC).date().isoformat()
    known = _ends().get((provider, model))
    if known is not None:
        status: Status = "ended" if day >= known.ended else "deprecated"
        if status == "deprecated" and known.announced is not None and day < known.announced:
            return LIVE
        return ApiStatus(status, known.ended, known.source, known.at_latest)
    if flagged and day >= list_released:
        return ApiStatus("deprecated", None, f"the price list, {list_released}")
    return LIVE
