"""YAML of strangers is refused by size, depth, number of values and aliases before anything is built of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rackrate.errors import UserError
from rackrate.files.yaml import MOST_BYTES, MOST_NESTED, MOST_VALUES, read_yaml


def _file(directory: Path, text: str) -> Path:
    path = directory / "it.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _bomb(levels: int, wide: int = 10) -> str:
    """A list of lists of lists, each level an alias ten times: 10^levels values in some 400 bytes."""
    text = "[1, 1]"
    for level in range(levels):
        text = f"[&a{level} {text}{f', *a{level}' * (wide - 1)}]"
    return f"name: {text}\n"


def _merges(levels: int) -> str:
    first = "a0: &a0 {k0: 1}\n"
    return first + "".join(
        f"a{level}: &a{level}\n  <<: [{', '.join([f'*a{level - 1}'] * 10)}]\n  k{level}: 1\n"
        for level in range(1, levels)
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_bomb(9), "stand for more than 200,000 values"),
        (_merges(9), "stand for more than 200,000 values"),
        ("a: &a [*a]\n", "stands inside what it names"),
        ("a: &a\n  b: *a\n", "stands inside what it names"),
        ("[" * 5000, f"more than {MOST_NESTED} lists and mappings inside each other"),
        ("- " * 5000 + "1", f"more than {MOST_NESTED} lists and mappings inside each other"),
        (
            "- &a0 [1]\n" + "".join(f"- &a{level} [*a{level - 1}]\n" for level in range(1, 99)),
            "inside each other, by its aliases",
        ),
        ("- 1\n" * (MOST_VALUES + 1), "more than 200,000 keys and values"),
        ("a: !!int abc\n", "the tag 'tag:yaml.org,2002:int'"),
        ("a: !!timestamp 2001-99-99\n", "the tag 'tag:yaml.org,2002:timestamp'"),
        ("a: !!python/object/apply:os.system [id]\n", "the tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("a: *nothing\n", "undefined alias"),
        ("a: \0\n", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        ("a: " + "9" * 400, "a number of 400 characters"),
        ("#" * (MOST_BYTES + 1), "it has more than 16,777,216 bytes"),
    ],
)
def test_what_goes_beyond_a_bound_is_refused_at_its_place(tmp_path: Path, text: str, said: str) -> None:
    began = time.process_time()
    with pytest.raises(UserError, match=r"it\.yaml") as caught:
        read_yaml(_file(tmp_path, text))
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300
    assert time.process_time() - began < 3


def test_aliases_and_merges_of_a_few_values_are_read(tmp_path: Path) -> None:
    path = _file(tmp_path, "base: &base {a: 1, b: [2, 3]}\nmore:\n  <<: *base\n  b: *base\n")
    base = {"a": 1, "b": [2, 3]}
    assert read_yaml(path) == {"base": base, "more": {"a": 1, "b": base}}


def test_an_empty_file_is_nothing(tmp_path: Path) -> None:
    assert read_yaml(_file(tmp_path, "")) is None
