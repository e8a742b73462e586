"""The ratio of two tokenizers whose counts are known."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rackrate.catalog.load import load_catalog
from rackrate.errors import UserError
from rackrate.studies.evaluate import evaluate
from rackrate.studies.loading import load_study

TEXT = "the cat sat on the mat"  # 6 words, 17 letters


def tokenizer(splits: str) -> dict[str, Any]:
    """A tokenizer.json that counts words, or letters."""
    letters = {letter: number for number, letter in enumerate(sorted(set(TEXT) - {" "}))}
    words = {word: number for number, word in enumerate(sorted(set(TEXT.split())))}
    pattern: dict[str, Any] = {"type": "WhitespaceSplit"}
    if splits == "letters":
        letter = {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": False}
        pattern = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, letter]}
    vocabulary = {**(letters if splits == "letters" else words), "?": 100}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": pattern, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "?"},
    }  # fmt: skip


def write(tmp_path: Path, **more: Any) -> Path:
    for name in ("words", "letters"):
        (tmp_path / f"{name}.json").write_text(json.dumps(tokenizer(name)), encoding="utf-8")
    (tmp_path / "sample.txt").write_text(TEXT, encoding="utf-8")
    api = {"name": "api", "api": "groq/llama3-8b-8192"}
    other = {**api, "name": "counts letters", **more}
    study = {
        "study": "t", "title": "a test", "draws": 1000, "scenarios": [api, other],
        "questions": [{"id": "q", "asks": "which", "traffic": {"tokens_per_month": 1e9}}],
    }  # fmt: skip
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    return path


FILES = {"served": "words.json", "api": "letters.json", "text": "sample.txt"}


def test_the_ratio_is_that_of_the_counts(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    (question,) = evaluate(load_study(write(tmp_path, tokenizers=FILES)), load_catalog(), "2026-11-20").questions
    usd = {row.name: row.usd_month.value for row in question.rows}
    assert usd["api"] is not None
    assert usd["counts letters"] == pytest.approx(usd["api"] * 17 / 6)
    assert "counts 2.833 tokens for each of the served model's, measured on sample.txt" in question.rows[1].notes


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({**FILES, "text": "none.txt"}, "cannot be read"),
        ({**FILES, "api": "none.json"}, "no such file"),
        ({**FILES, "api": "sample.txt"}, "not a tokenizer.json"),
    ],
)
def test_files_that_are_not_there(tmp_path: Path, files: dict[str, str], says: str) -> None:
    pytest.importorskip("tokenizers")
    with pytest.raises(UserError, match=says) as error:
        evaluate(load_study(write(tmp_path, tokenizers=files)), load_catalog())
    assert str(error.value).startswith(f"{tmp_path / 't.yaml'}:")


def test_without_the_package_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UserError, match="pip install tokenizers"):
        evaluate(load_study(write(tmp_path, tokenizers=FILES)), load_catalog())


def test_not_both(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not both"):
        load_study(write(tmp_path, tokenizers=FILES, tokenizer_ratio=1.1))
