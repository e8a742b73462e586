"""A result made ready to look at: what every output draws, and none of them computes.

A presenter (`report.present`) turns an answer into a `Document`; a renderer (`report.render`) turns that into an HTML
page, lines of a terminal, Markdown or CSV. Values stay numbers in SI units and USD until a renderer writes them by the
kind of their column (`report.format`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]

Kind = Literal[
    "text", "tags", "integer", "number", "figure", "count", "money", "rate", "duration", "span", "share", "change"
]
"""What a column holds; `report.format.KINDS` says how each is written."""
Tone = Literal["plain", "strong", "good", "best", "soft", "warn", "bad"]
"""How loudly something is said; `best` is the row or figure that the page is about."""


@dataclass(frozen=True)
class Between:
    """An interval; None at an end is no such figure."""

    low: float | None
    high: float | None


Value = str | bool | int | float | Between | tuple[str, ...] | None


@dataclass(frozen=True)
class Cell:
    """A value that is said in its own way."""

    value: Value
    tone: Tone = "plain"
    below: str = ""
    """A second line, smaller, where there is room."""
    shown: str | None = None
    """How it is written where not by its column's kind, such as `$3.912/h` of a column of many units."""


@dataclass(frozen=True)
class Column:
    """What stands in a column. A string in a column of numbers is shown as it is (`never`)."""

    name: str
    kind: Kind = "text"
    unit: str = ""
    """Of money: the currency where it is not USD. Of figures: what is written behind each."""
    digits: int | None = None
    """Of numbers: how many after the point; None for three figures."""
    wraps: bool = False
    """Whether long words may be broken over lines."""


Row = tuple[Value | Cell, ...]


@dataclass(frozen=True)
class Table:
    """Rows of typed columns."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    title: str = ""
    best: int | None = None
    """The row that the page is about."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{len(self.columns)} columns, but a row of {len(row)} cells: {row}")


@dataclass(frozen=True)
class Note:
    """A sentence."""

    text: str
    tone: Tone = "plain"
    head: str = ""
    """What it is about, said before it with a colon."""


@dataclass(frozen=True)
class Chart:
    """A picture of data that the page draws; other outputs have the data in their tables."""

    name: str
    """Tells it from the others of the document."""
    caption: str
    draw: Callable[..., Json]
    """Gives the Vega-Lite specification; called where a page is drawn, since the library is slow to load."""
    data: tuple[Any, ...]
    """What it is called with."""

    def spec(self) -> Json:
        """The Vega-Lite specification."""
        return self.draw(*self.data)


Block = Note | Table | Chart


@dataclass(frozen=True)
class Section:
    """Blocks under a heading."""

    title: str = ""
    blocks: tuple[Block, ...] = ()
    level: Literal[2, 3] = 2


@dataclass(frozen=True)
class Fact:
    """A headline figure: what it is of, the figure, what it is, and what belongs to it."""

    label: str
    figure: str
    what: str
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Document:
    """Everything that is said of one answer, in order."""

    subject: str
    """What it is of, such as `price`."""
    headline: str
    lead: tuple[Note, ...] = ()
    facts: tuple[Fact, ...] = ()
    sections: tuple[Section, ...] = ()
    definitions: tuple[tuple[str, str], ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    records: Table | None = None
    """What CSV gives, where it is not the first table."""

    def blocks(self) -> tuple[Block, ...]:
        """All blocks of all sections."""
        return tuple(block for section in self.sections for block in section.blocks)

    def charts(self) -> tuple[Chart, ...]:
        """All charts."""
        return tuple(block for block in self.blocks() if isinstance(block, Chart))

    def tables(self) -> tuple[Table, ...]:
        """All tables."""
        return tuple(block for block in self.blocks() if isinstance(block, Table))


def notes(texts: Any, tone: Tone = "soft") -> tuple[Note, ...]:
    """Sentences, those that are empty left out."""
    return tuple(Note(text, tone) for text in texts if text)
