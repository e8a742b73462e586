"""Standard output and error of any encoding: what they cannot show is written in letters that they can."""

# ruff: noqa: RUF001 - letters that are replaced
from __future__ import annotations

import codecs
import io
import os
import re
import sys
import unicodedata
from typing import TextIO, cast

_ASCII = {
    "×": "x", "–": "-", "—": "-", "−": "-", "…": "...", "≤": "<=", "≥": ">=", "≈": "~", "→": "->", "←": "<-", "’": "'",
    "‘": "'", "“": '"', "”": '"', "€": "EUR ", "£": "GBP ", "·": "*", "•": "*", "µ": "u", "±": "+-", "²": "^2",
    "█": "#", "▇": "#", "▆": "#", "▅": "=", "▄": "=", "▃": "-", "▂": "_", "▁": "_", "━": "-", "╸": "-", "╺": "-",
}  # fmt: skip
"""What tables, bars and sentences use beyond ASCII."""
_ERRORS = "rackrate"
"""The name under which `codecs` knows what to do with what cannot be encoded."""
_LONGEST_WORD = 300


def prepare_streams() -> None:
    """Lets standard output and error take any text. A terminal of ASCII gets the nearest letters.

    One that is closed takes it, too, and it goes nowhere. Its number is taken: else the next file that is opened, such
    as a run's journal, would have it, and get what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # Python has None for one that was closed
    sys.stdout = cast("TextIO | None", sys.stdout) or _to(1)
    sys.stderr = cast("TextIO | None", sys.stderr) or _to(2)
    codecs.register_error(_ERRORS, _nearest)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def _to(number: int) -> TextIO:
    return os.fdopen(number, "w", encoding="utf-8", closefd=False)


def _nearest(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_letter(character) for character in text), error.end


def _letter(character: str) -> str:
    if character in _ASCII:
        return _ASCII[character]
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or "?"


def json_for(text: str, encoding: str | None) -> str:
    """JSON as it can be printed in an encoding: the same values, with escapes where letters are missing.

    >>> json_for('{"name": "é"}', "ascii"), json_for('{"name": "é"}', "utf-8")
    ('{"name": "\\\\u00e9"}', '{"name": "é"}')
    """
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        units = text.encode("utf-16-be", "surrogatepass")
        codes = (int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2))
        return "".join(chr(code) if code < 128 else f"\\u{code:04x}" for code in codes)
    return text


def readable(message: str) -> str:
    """A message whose endless words (a name of a thousand letters) are cut in the middle."""
    return re.sub(rf"\S{{{_LONGEST_WORD},}}", lambda word: f"{word[0][:60]}...{word[0][-60:]}", message)
