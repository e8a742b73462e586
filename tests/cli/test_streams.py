"""Every command prints on a terminal of ASCII, and JSON keeps its values there."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from rackrate.cli.streams import json_for, readable

PRICE = ("price", "--tokens-per-second", "60", "--usd-per-hour", "1", "--api", "openai/gpt-4o-mini")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_of_few_letters_gets_the_nearest(encoding: str, private_environment: dict[str, str]) -> None:
    environment = {**private_environment, "PYTHONIOENCODING": encoding, "LC_ALL": "C"}
    for words in (PRICE, ("catalog", "accelerators", "t4"), ("fit", "llama-3-8b-instruct", "--on", "t4x4")):
        ran = subprocess.run(
            [sys.executable, "-m", "rackrate", *words], env=environment, capture_output=True, check=True
        )
        assert ran.stdout.decode(encoding)
    wrong = subprocess.run(
        [sys.executable, "-m", "rackrate", "fit", "\u65e5\u672c"], env=environment, capture_output=True, check=False
    )
    assert wrong.returncode == 2
    assert b"Traceback" not in wrong.stderr


def test_json_keeps_its_values_where_letters_are_missing() -> None:
    values = {"name": "Qwen \u00e9\u65e5\U0001f600", "plain": "a"}
    text = json.dumps(values, ensure_ascii=False)
    assert json.loads(json_for(text, "ascii")) == values
    assert json_for(text, "ascii").isascii()
    assert json_for(text, "utf-8") == text


def test_endless_words_of_messages_are_cut() -> None:
    assert readable("no model is called 'llama'") == "no model is called 'llama'"
    assert len(readable(f"no model is called '{'x' * 100_000}'")) < 200
