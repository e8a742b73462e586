"""Tokenizers out of the files that models come with: tokenizer.json, a GGUF vocabulary, a table of ranks (tiktoken)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate.errors import UserError
from rackrate.files import MOST_DOCUMENT, is_directory, is_regular, is_there, read_bytes
from rackrate.models.gguf_header import read_gguf_header

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CASELESS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = _CASELESS + r"\p{N}{1,3}" + _REST
"""How Llama 3 cuts text before merging (llama_models/llama3/tokenizer.py)."""
_CUTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("gpt-2", "mpt", "olmo"), (_GPT2,)),
    **dict.fromkeys(("llama-bpe", "llama-v3", "llama3", "dbrx", "smaug-bpe"), (LLAMA3,)),
    **dict.fromkeys(("qwen2", "stablelm2"), (_CASELESS + r"\p{N}" + _REST,)),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell"), (r"\p{N}", _GPT2)),
}
"""The same by `tokenizer.ggml.pre` of GGUF files (llama.cpp, src/llama-vocab.cpp); several cut one after the other."""
_TOKENS, _MERGES = "tokenizer.ggml.tokens", "tokenizer.ggml.merges"
LLAMA3_NAME = "llama3"


def read_tokenizer(source: str) -> Callable[[str], int]:
    """Counts the tokens of texts, special tokens apart.

    Args:
        source: a tokenizer.json, the directory that holds one, a GGUF file, a table of ranks as tiktoken reads it
            (Llama 3's tokenizer.model), or `llama3`: that table out of the package llama-models.

    Raises:
        UserError: the library is not installed, nothing is there, or it is none of these; says what it needs.
    """
    if find_spec("tokenizers") is None:
        raise UserError("counting tokens needs the library tokenizers: pip install 'rackrate[tokens]'")
    path = Path(source).expanduser()
    if source.lower() == LLAMA3_NAME and not is_there(path):
        path = _of_llama_models()
    if is_directory(path):
        path = next((path / name for name in ("tokenizer.json", "tokenizer.model") if is_there(path / name)), path)
    if not is_regular(path):
        raise UserError(
            f"{path}: there is no tokenizer; give a tokenizer.json, a directory with one, a GGUF file, or {LLAMA3_NAME}"
        )
    if path.suffix == ".gguf":
        tokenizer = _of_gguf(path)
    elif path.suffix == ".model":
        tokenizer = _of_ranks(read_ranks(path))
    else:
        tokenizer = _of_json(path)
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _of_llama_models() -> Path:
    found = find_spec("llama_models")
    for place in (found.submodule_search_locations or []) if found else []:
        if (path := Path(place) / "llama3" / "tokenizer.model").exists():
            return path
    raise UserError("Llama 3's tokenizer comes with the package llama-models: pip install llama-models")


def _of_json(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise UserError(f"{path} is no tokenizer.json ({error})") from None


def _of_gguf(path: Path) -> Tokenizer:
    header = read_gguf_header(path, texts=(_TOKENS, _MERGES))
    kind, cut = header.metadata.get("tokenizer.ggml.model"), str(header.metadata.get("tokenizer.ggml.pre") or "gpt-2")
    if kind != "gpt2" or not header.texts.get(_MERGES):
        raise UserError(
            f"{path}: its vocabulary is of the kind {kind!r}, which is not read here; give a tokenizer.json"
        )
    if cut not in _CUTS:
        raise UserError(
            f"{path}: how its vocabulary cuts text ({cut!r}) is not known here (known: {', '.join(_CUTS)}); give a "
            "tokenizer.json"
        )
    vocabulary = {token: number for number, token in enumerate(header.texts[_TOKENS])}
    merges = [tuple(line.split(" ", 1)) for line in header.texts[_MERGES]]
    wrong = next((pair for pair in merges if len(pair) != 2 or not all(part in vocabulary for part in pair)), None)
    if wrong is not None:
        raise UserError(f"{path}: {_MERGES} joins {' '.join(wrong)!r}, which the vocabulary lacks")
    return _byte_level(
        vocabulary, [(left, right) for left, right in merges], _CUTS[cut], whole_words=cut in _CUTS_WHOLE
    )


_CUTS_WHOLE = {"llama-bpe", "llama-v3", "llama3"}
"""Whose words that are tokens are taken as they are, merges or not (llama.cpp, `ignore_merges`)."""


def read_ranks(path: Path) -> dict[bytes, int]:
    """A table of ranks: a token in base64 and its rank on each line. Raises UserError with the line that is none."""
    ranks: dict[bytes, int] = {}
    try:
        lines = read_bytes(path, MOST_DOCUMENT).splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    for number, line in enumerate(lines, 1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise UserError(
                f"{path}, line {number}: not a token in base64 and its rank; a SentencePiece model is not read here, "
                "give a tokenizer.json"
            ) from None
    if not ranks:
        raise UserError(f"{path}: it is empty")
    return ranks


def _of_ranks(ranks: Mapping[bytes, int]) -> Tokenizer:
    return _byte_level(
        {_spelt(token): rank for token, rank in ranks.items()}, merges_of(ranks), (LLAMA3,), whole_words=True
    )


def merges_of(ranks: Mapping[bytes, int]) -> list[tuple[str, str]]:
    """The merges that a table of ranks implies, in their order: every split of a token into two tokens.

    Where two neighbours make a token, byte-pair encoding by ranks joins them, however that token was first learnt.

    >>> merges_of({b"a": 0, b"b": 1, b"c": 2, b"ab": 3, b"bc": 4, b"abc": 5})
    [('a', 'b'), ('b', 'c'), ('a', 'bc'), ('ab', 'c')]
    """
    merges: list[tuple[int, int, int, str, str]] = []
    for token, rank in ranks.items():
        for at in range(1, len(token)):
            left, right = ranks.get(token[:at]), ranks.get(token[at:])
            if left is not None and right is not None:
                merges.append((rank, left, right, _spelt(token[:at]), _spelt(token[at:])))
    return [(left, right) for _, _, _, left, right in sorted(merges)]


def _letters() -> list[str]:
    """A letter for each byte, as GPT-2 spells bytes: printable Latin-1 is itself, the rest comes from 256 up."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(rest)) for byte in range(256)]


_LETTERS = _letters()


def _spelt(token: bytes) -> str:
    """A token's bytes as letters.

    >>> _spelt(b" a")
    'Ġa'
    """
    return "".join(_LETTERS[byte] for byte in token)


def _byte_level(
    vocabulary: dict[str, int], merges: list[tuple[str, str]], cuts: tuple[str, ...], *, whole_words: bool
) -> Tokenizer:
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    tokenizer = Tokenizer(BPE(vocabulary, merges, ignore_merges=whole_words))
    steps = [Split(Regex(cut), "isolated") for cut in cuts]
    tokenizer.pre_tokenizer = Sequence([*steps, ByteLevel(add_prefix_space=False, use_regex=False)])
    return tokenizer
