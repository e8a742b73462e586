"""Lengths, shared prefixes and conversations on a real engine, with a real tokenizer and a real prefix cache."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rackrate.engines import llamacpp
from rackrate.engines.process import RunningEngine
from rackrate.engines.quality import text as quality_text
from rackrate.engines.settings import LaunchOptions
from rackrate.engines.weights import EMBEDDED, find_weights
from rackrate.models.tokenizer_files import read_tokenizer
from rackrate.runs.records import RequestRecord
from rackrate.runs.store import read_run
from rackrate.workload.prompts import WORDS, Ask, PromptLength, prompt, prompt_text

pytestmark = pytest.mark.engine


def rackrate(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rackrate", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, env=dict(os.environ))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded engine, with two slots."""
    result = rackrate("engines", "install", "llamacpp")
    assert result.returncode == 0, result.stderr
    weights = find_weights(EMBEDDED[0].model, lambda _: None, install=False)
    command = llamacpp.command(weights, "tiny", LaunchOptions(slots=2, context_tokens=1024, threads=1))
    with RunningEngine(command, tmp_path_factory.mktemp("engine") / "engine.log") as running:
        running.wait_until_ready(on_wait=lambda _: None)
        yield command.url


@pytest.fixture(scope="module")
def tokens(server: str) -> Callable[[str], int]:
    """How many tokens the model's own tokenizer makes of a text."""

    def count(text: str) -> int:
        body = json.dumps({"content": text}).encode()
        request = urllib.request.Request(f"{server}/tokenize", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return len(json.load(answer)["tokens"])

    return count


def requests(server: str, directory: Path, *words: str) -> list[RequestRecord]:
    result = rackrate(
        "measure", "--url", server, "--out", str(directory), "--warmup", "1", "--no-prefill", "-c", "1", *words
    )
    assert result.returncode == 0, result.stderr
    return list(read_run(directory).requests)


def test_every_word_is_one_token_of_the_model(tokens: Callable[[str], int]) -> None:
    assert tokens("the " + " ".join(WORDS)) == len(WORDS) + 1


@pytest.mark.parametrize("words", [1, 3, 63, 64, 65, 500, 4000])
def test_a_prompt_of_n_words_is_n_tokens_to_one(tokens: Callable[[str], int], words: int) -> None:
    # the very first word has no space before it, and a few are then two tokens
    off = [tokens(prompt(words, 0, index)) - words for index in range(20)]
    assert set(off) <= {0, 1}
    assert off.count(1) <= 4


def test_a_prompt_of_shared_parts_is_as_long_as_asked(tokens: Callable[[str], int]) -> None:
    ask = Ask(1500, 1, (("0.0/block 5", 512), ("0.0/block 6", 512), ("0.0/block 7", 300)))
    assert abs(tokens(prompt_text(ask, 0, 0, PromptLength(0.0, 1.0))) - 1500) <= 1


def test_the_vocabulary_in_its_file_counts_as_the_engine_does(tokens: Callable[[str], int]) -> None:
    """Words, code, digits, spaces, other scripts: llama.cpp's own tokenizer against ours from the same GGUF file."""
    path = find_weights(EMBEDDED[0].model, lambda _: None, install=False).path
    count = read_tokenizer(str(path))
    odd = [
        "",
        " ",
        "  \n\n x",
        "In 1984, 12345 of them didn't",
        "def f(x):\n    return x**2\n",
        "naïve 東京 😀 Ωμέγα\r\n",
        "I'LL",
    ]
    for text in [*odd, quality_text(), Path(__file__).read_text(encoding="utf-8")]:
        assert count(text) == tokens(text), text[:60]


def test_the_engines_usage_is_its_models_tokens(server: str) -> None:
    path = find_weights(EMBEDDED[0].model, lambda _: None, install=False).path
    result = rackrate("tokens", server, "-t", str(path), "--requests", "4", "--output-tokens", "16", "--json")
    assert result.returncode == 0, result.stderr
    view = json.loads(result.stdout)
    assert view["agrees"]
    assert view["tokenizers"][0]["input_disagreement"] == pytest.approx(0, abs=1e-6)


def test_a_shared_prefix_is_found_in_the_engines_cache(server: str, tmp_path: Path) -> None:
    found = requests(
        server, tmp_path / "run", "--requests", "3", "--input-tokens", "160", "--shared-prefix", "100",
        "--output-tokens", "2", "--seed", "11",
    )  # fmt: skip
    assert [match.input_tokens for match in found] == pytest.approx([160] * 3, abs=1)
    # and the beginning of the chat template, some 24 tokens
    assert 100 <= (found[-1].cached_tokens or 0) < 140


def test_what_was_said_in_a_conversation_is_found_in_the_engines_cache(server: str, tmp_path: Path) -> None:
    found = requests(
        server, tmp_path / "run", "--requests", "3", "--turns", "3", "--input-tokens", "50", "--output-tokens", "6"
    )
    assert [match.turn for match in found] == [0, 1, 2]
    # the template of a further turn was measured before the run, so that each adds 50 tokens to the 6 of the answer
    assert [match.input_tokens for match in found] == pytest.approx([50, 106, 162], abs=3)
    for before, after in itertools.pairwise(found):
        assert after.cached_tokens == pytest.approx((before.input_tokens or 0) + (before.output_tokens or 0), abs=2)
