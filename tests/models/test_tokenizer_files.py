"""Tokenizers from files: a table of ranks against byte-pair encoding by ranks, and files that are none."""

from __future__ import annotations

import base64
import importlib.util
import itertools
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.errors import UserError
from rackrate.models import tokenizer_files
from rackrate.models.tokenizer_files import read_ranks, read_tokenizer

pytest.importorskip("tokenizers")


def by_ranks(text: bytes, ranks: Mapping[bytes, int]) -> int:
    """Byte-pair encoding as it is defined: the neighbours whose union ranks lowest are joined, first ones first."""
    if text in ranks:
        return 1
    parts = [text[at : at + 1] for at in range(len(text))]
    while True:
        pairs = enumerate(left + right for left, right in itertools.pairwise(parts))
        joined = [(ranks[union], at) for at, union in pairs if union in ranks]
        if not joined:
            return len(parts)
        _, at = min(joined)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


@st.composite
def tables(draw: st.DrawFn) -> dict[bytes, int]:
    """Single bytes, and unions of two tokens that were there before, as training learns them."""
    tokens = [bytes([byte]) for byte in range(256)]
    for _ in range(draw(st.integers(0, 25))):
        union = draw(st.sampled_from(tokens[ord("a") : ord("e")] + tokens[256:])) + draw(
            st.sampled_from(tokens[ord("a") : ord("e")] + tokens[256:])
        )
        if union not in tokens and len(union) < 12:
            tokens.append(union)
    return {token: rank for rank, token in enumerate(tokens)}


@settings(max_examples=60, deadline=None)
@given(tables(), st.lists(st.text("abcd", min_size=1, max_size=30), min_size=1, max_size=8))
def test_counts_are_those_of_the_ranks(
    tmp_path_factory: pytest.TempPathFactory, ranks: dict[bytes, int], words: list[str]
) -> None:
    path = tmp_path_factory.mktemp("ranks") / "tokenizer.model"
    path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items()))
    assert read_ranks(path) == ranks
    count = read_tokenizer(str(path))
    for word in words:  # a run of letters is one piece of the text
        assert count(word) == by_ranks(word.encode(), ranks)


def test_llama_3_cuts_numbers_into_threes_and_keeps_a_space_with_its_word(tmp_path: Path) -> None:
    ranks = {bytes([byte]): byte for byte in range(256)} | {
        b"123": 256,
        b"12": 257,
        b" a": 258,
        b"45": 259,
        b"345": 260,
    }
    (tmp_path / "tokenizer.model").write_bytes(
        b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())
    )
    count = read_tokenizer(str(tmp_path))
    assert count("12345") == 2  # 123 and 45: 345 would cross the cut
    assert count("a a a") == 3


@pytest.mark.skipif(
    importlib.util.find_spec("llama_models") is None, reason="the package llama-models is not installed"
)
def test_the_tokenizer_of_llama_3() -> None:
    count = read_tokenizer("llama3")
    assert count("Hello world!") == 3


def test_without_the_package_llama_3_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> ModuleSpec | None:
        return None if name == "llama_models" else importlib.util.find_spec(name)

    monkeypatch.setattr(tokenizer_files, "find_spec", without)
    with pytest.raises(UserError, match="pip install llama-models"):
        read_tokenizer("llama3")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer.json", b"{}", "is no tokenizer.json"),
        ("tokenizer.model", b"\x0a\x0b not ranks", "line 1: not a token in base64"),
        ("tokenizer.model", b"YQ== 0\nYg== one\n", "line 2"),
        ("tokenizer.model", b"", "it is empty"),
        ("model.gguf", b"GGUF", "is not a GGUF file"),
        ("model.gguf", b"", "is not a GGUF file"),
    ],
)
def test_files_that_are_no_tokenizers(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_tokenizer(str(tmp_path / name))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no tokenizer"):
        read_tokenizer(str(tmp_path / "none"))
    with pytest.raises(UserError, match="there is no tokenizer"):
        read_tokenizer(str(tmp_path))
