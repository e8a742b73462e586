"""Text that others wrote, made plain: what it says is kept, what it would do to a terminal or a page is not.

Names, answers, logs and messages come from servers, files and engines. Each output has one function for them, and each
of those begins with one of these.
"""

from __future__ import annotations

import re
import unicodedata

_DOES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of characters that do something instead of standing there: control, formatting (the direction of writing,
zero width), halves of a character, ends of lines and paragraphs."""
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
"""A colour, as programs write it into their logs."""


def plain(text: str) -> str:
    r"""Text on one line, without what moves a cursor, colours a screen, turns the direction of writing or hides.

    >>> plain("gpu\x1b[2J\n\u202egnp.exe\u2069")
    'gpu?[2J ?gnp.exe?'
    """
    if text.isprintable():
        return text
    marks = (" " if item in "\n\r\t" else item for item in text)
    return "".join("?" if unicodedata.category(item) in _DOES else item for item in marks)


def plain_lines(text: str) -> str:
    r"""As `plain`, of text on several lines, such as the end of a log; colours are left out.

    >>> plain_lines("\x1b[31mred\x1b[0m\r\n  \x1b]0;title\x07")
    'red\n  ?]0;title?'
    """
    return "\n".join(plain(line.rstrip("\r")) for line in _STYLE.sub("", text).split("\n"))
