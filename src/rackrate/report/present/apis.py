"""An API in a table: its name, marked where it is no longer sold, and what must be said of its price."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from rackrate.report.document import Cell, Note, Tone
from rackrate.schemas.apis import ApiFacts


class Sold(Protocol):
    """Whatever says whether it is still sold."""

    @property
    def status(self) -> str:
        """live, deprecated or ended."""
        ...

    @property
    def ends(self) -> str | None:
        """When it is, or was, shut down."""
        ...


def api_cell(name: str, api: Sold, tone: Tone = "plain") -> Cell:
    """An API's name, with a mark where it is deprecated or was shut down."""
    mark = status_mark(api.status, api.ends)
    return Cell(f"{name} ({mark})", "bad" if api.status == "ended" else "warn") if mark else Cell(name, tone)


def status_mark(status: str, ends: str | None) -> str | None:
    """Whether it is still sold, in words for a table; None where it is.

    >>> status_mark("ended", "2026-10-23"), status_mark("deprecated", None), status_mark("live", None)
    ('shut down 2026-10-23', 'deprecated', None)
    """
    if status == "ended":
        return f"shut down {ends}"
    if status == "deprecated":
        return f"deprecated, ends {ends}" if ends else "deprecated"
    return None


def api_notes(apis: Sequence[ApiFacts]) -> Iterator[Note]:
    """What must be said of the prices, an API a line; the same words of several once."""
    told: dict[str, list[str]] = {}
    for api in apis:
        if api.note and api.note != "your own price":
            told.setdefault(api.note, []).append(api.api)
    for said, names in told.items():
        yield Note(f"{', '.join(names)}: {said}.", "soft")
