"""Rows of small CSV files, with their place in the file, so that a mistake can be named: file, line, column."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from rackrate.errors import WorkloadError
from rackrate.files.bounded import open_lines, open_text_lines

MOST = 1e18
"""No rate or number of tokens in a row is larger."""
_COMMA = re.compile(r"\s*-?\d+,\d+\s*", re.ASCII)
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+(\.\d*)?", re.ASCII)
"""Commas between thousands, as a cell in quotation marks has them; decimal commas are points by then."""


def delimiter_of(header: str) -> str:
    """What stands between columns: Excel writes semicolons where commas are decimal marks, a paste of it has tabs.

    >>> delimiter_of("t_s,rate"), delimiter_of("t_s;rate"), delimiter_of("rate")
    (',', ';', ',')
    """
    return next((mark for mark in ",;\t" if mark in header), ",")


def with_point(cell: str) -> str:
    """A number with a decimal comma as one with a point; any other text as it is.

    >>> with_point("0,35"), with_point("1.5"), with_point("a,b")
    ('0.35', '1.5', 'a,b')
    """
    return cell.replace(",", ".") if _COMMA.fullmatch(cell) else cell


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and values of each row. Raises WorkloadError for a row of another length, or no row."""
    any_row = False
    line = 1
    try:
        with open_text_lines(path) as file:
            header = file.readline(1 << 16)
            delimiter = delimiter_of(header)
            reader = csv.reader(chain([header], file), strict=True, delimiter=delimiter)
            next(reader)
            for row in reader:
                line = reader.line_num
                if not row:
                    continue
                if len(row) != len(columns):
                    raise WorkloadError(
                        f"{path}:{reader.line_num}: {len(row)} columns, where the header has {len(columns)}"
                    )
                any_row = True
                cells = [with_point(cell) for cell in row] if delimiter == ";" else row
                yield reader.line_num, dict(zip(columns, cells, strict=True))
    except UnicodeDecodeError:
        raise WorkloadError(not_utf8(path)) from None
    except csv.Error as error:
        raise WorkloadError(f"{path}:{line + 1}: {csv_fault(error)}") from None
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not any_row:
        raise WorkloadError(f"{path}: has a header but no rows")


def csv_number(path: Path, line: int, row: dict[str, str], column: str, *, empty: float | None = None) -> float:
    """A value that is a number of at least 0. Raises WorkloadError with file, line and column."""
    text = row[column].strip()
    if not text and empty is not None:
        return empty
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    try:
        value = float(text.replace("_", "?"))  # Python would read 1_0 as 10
    except ValueError:
        raise WorkloadError(f"{path}:{line}: column {column}: {text or 'nothing'} is not a number") from None
    if not 0 <= value < math.inf:
        raise WorkloadError(f"{path}:{line}: column {column}: {text} must be finite and not negative")
    if value > MOST:
        raise WorkloadError(f"{path}:{line}: column {column}: {text} is more than can be meant")
    return value


def not_utf8(path: Path) -> str:
    """Where a file stops being UTF-8, in a sentence."""
    with open_lines(path) as file:
        for line, raw in enumerate(file, 1):
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError as error:
                column = len(raw[: error.start].decode("utf-8")) + 1
                return f"{path}:{line}:{column}: is not UTF-8 text (byte 0x{raw[error.start]:02x}); save it as UTF-8"
    return f"{path}: is not UTF-8 text; save it as UTF-8"


def csv_fault(error: csv.Error) -> str:
    """What is wrong with a row that is no CSV, after its place.

    >>> csv_fault(csv.Error("field larger than field limit (131072)"))
    'a value has more than 131,072 characters; is a quotation mark not closed?'
    """
    if "field limit" in str(error):
        return f"a value has more than {csv.field_size_limit():,} characters; is a quotation mark not closed?"
    return f"not CSV ({error})"


def first_of(names: Sequence[str], columns: Sequence[str]) -> str | None:
    """The first of the names that is a column."""
    return next((name for name in names if name in columns), None)
