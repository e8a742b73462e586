"""Tables of a terminal: columns where they fit, else each row as lines of name and value; no figure is ever cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Column, Table
from rich.text import Text

from rackrate.report.format import NONE

_GAP = 2
"""Blanks between two columns."""
_LEAST_NAME = 24
"""Characters of a line that a folded name takes at least."""


class PlainTable(Table):
    """A table that turns into lists where the terminal is too narrow for its names and numbers."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = [_least_width(column) for column in self.columns]
        needed = sum(widths) + _GAP * (len(widths) - 1)
        if needed > options.max_width and widths:
            # long names may be folded, as long as enough of a line is left for them
            left = options.max_width - (needed - widths[0])
            if left >= min(widths[0], _LEAST_NAME):
                self.columns[0].width = left
                needed = options.max_width
        if needed <= options.max_width:
            self._give_way(widths, options.max_width)
            yield from super().__rich_console__(console, options)
            return
        if self.title:
            yield Text(str(self.title), style="bold")
        headers = [_lines(column.header) for column in self.columns]
        for row in zip(*(column.cells for column in self.columns), strict=True):
            cells = [_lines(cell) for cell in row]
            name = Text("\n").join(cells[0])
            bare = name.plain.replace(",", "").isdigit()
            yield Text.assemble((f"{headers[0][0].plain} ", "dim"), name) if bare else name
            facts = [fact for header, cell in zip(headers[1:], cells[1:], strict=True) for fact in _facts(header, cell)]
            if facts:
                yield from _filled(facts, options.max_width)

    def _give_way(self, least: list[int], width: int) -> None:
        """Folds columns of words between their words, the one with most to give first; left to rich, words break."""
        wide = [column.width or _full_width(column) for column in self.columns]
        over = sum(wide) + _GAP * (len(wide) - 1) - width
        for _ in range(max(0, over)):
            giving = max(range(len(wide)), key=lambda place: wide[place] - least[place])
            if wide[giving] <= least[giving]:
                return
            wide[giving] -= 1
            self.columns[giving].width = wide[giving]


def plain_table(*columns: str, title: str | None = None, left: Iterable[str] = ()) -> Table:
    """A table without much ink; columns are numbers unless named in `left`."""
    words = set(left)
    return typed_table([(column, column not in words) for column in columns], title)


def typed_table(columns: Iterable[tuple[str, bool]], title: str | None = None) -> Table:
    """The same of columns by name, and whether they are numbers."""
    table = PlainTable(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim"
    )
    for position, (name, is_number) in enumerate(columns):
        # names and numbers may never be cut: only the other columns of words give way on a narrow terminal
        table.add_column(
            name, justify="right" if is_number else "left", no_wrap=position == 0 or is_number, overflow="fold"
        )
    return table


def _least_width(column: Column) -> int:
    """Characters that a column takes at least: whole lines, or, of words that give way, the longest word."""
    lines = [line for cell in (column.header, *column.cells) for line in _lines(cell)]
    parts = (
        [line.plain for line in lines] if column.no_wrap else [word for line in lines for word in line.plain.split()]
    )
    return max((cell_len(part) for part in parts), default=0)


def _full_width(column: Column) -> int:
    """Characters that a column takes where nothing is folded."""
    return max((cell_len(line.plain) for cell in (column.header, *column.cells) for line in _lines(cell)), default=0)


def _lines(cell: RenderableType) -> list[Text]:
    text = cell if isinstance(cell, Text) else Text(str(cell))  # brackets from outside are just that
    return list(text.split("\n"))


def _facts(header: list[Text], cell: list[Text]) -> Iterator[Text]:
    """Name and value, a line of the cell each; values that are not there are left out."""
    extra = max(0, len(header) - len(cell))  # what stands above the names of several lines belongs to each
    above = [line.plain.strip() for line in header[:extra]]
    for number, value in enumerate(cell):
        if value.plain.strip() in {"", NONE}:
            continue
        below = [header[extra + number].plain.strip()] if extra + number < len(header) else []
        name = " ".join([*above, *below])
        yield Text.assemble((f"{name} ", "dim") if name else "", _stripped(value))


def _stripped(value: Text) -> Text:
    """Without the blanks that stand around it."""
    before = len(value.plain) - len(value.plain.lstrip())
    return value[before : len(value.plain.rstrip())]


def _filled(facts: list[Text], width: int) -> Iterator[Text]:
    """Facts side by side, as many as a line takes; one that is longer than a line is wrapped by itself."""
    line = Text()
    for fact in facts:
        if line.plain and len(line.plain) + 4 + len(fact.plain) > width:
            yield line
            line = Text()
        line = Text.assemble(line, "   " if line.plain else "  ", fact)
    yield line
