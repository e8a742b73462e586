"""How many tokens an API counts for each token of the served model, where both tokenizers are at hand."""

from __future__ import annotations

from pathlib import Path

from rackrate.errors import UserError
from rackrate.files import MOST_DOCUMENT, is_regular, read_text, reason


def count_tokens(tokenizer: Path, text: str) -> int:
    """Tokens of a text by a `tokenizer.json` (the format of the package tokenizers), without special tokens.

    Raises:
        UserError: the package is not there, or the file is no tokenizer.
    """
    try:
        from tokenizers import Tokenizer  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
    except ImportError:
        raise UserError(
            "comparing tokenizers needs the package tokenizers (pip install tokenizers); or state tokenizer_ratio"
        ) from None
    if not is_regular(tokenizer):
        raise UserError(f"{tokenizer}: no such file")
    try:
        reader = Tokenizer.from_file(str(tokenizer))  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    except Exception as error:  # noqa: BLE001 - the package raises plain Exceptions
        raise UserError(f"{tokenizer}: not a tokenizer.json ({error})") from None
    encoded = reader.encode(text, add_special_tokens=False)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return len(encoded.ids)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]


def measured_ratio(served: Path, api: Path, text: Path) -> float:
    """The API's tokens over the served model's, for one text.

    Raises:
        UserError: a file cannot be read, or the text has no tokens.
    """
    try:
        sample = read_text(text, most=MOST_DOCUMENT)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{text}: cannot be read ({reason(error)})") from None
    mine = count_tokens(served, sample)
    if not mine:
        raise UserError(f"{text}: has no tokens to compare")
    return count_tokens(api, sample) / mine
