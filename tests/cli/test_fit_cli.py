"""rackrate fit from the outside: answers, JSON, and one sentence on bad input."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rackrate.catalog.load import load_catalog
from rackrate.cli import main


class Ran(NamedTuple):
    """What a command left."""

    code: int
    stdout: str
    stderr: str


Rackrate = Callable[..., Ran]
Values = Callable[..., dict[str, Any]]


@pytest.fixture
def rackrate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Rackrate:
    """Runs `rackrate fit` in this process."""

    def run(*words: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["rackrate", "fit", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        printed = capsys.readouterr()
        return Ran(code if isinstance(code, int) else 0, printed.out, printed.err)

    return run


@pytest.fixture
def values(rackrate: Rackrate) -> Values:
    """The same with --json, read."""

    def read(*words: str) -> dict[str, Any]:
        ran = rackrate(*words, "--json")
        found = json.loads(ran.stdout)
        assert ran.code == (0 if any(fit["fits"] for fit in found["fits"]) else 2), ran.stderr
        return found

    return read


def test_the_article_in_one_command(rackrate: Rackrate) -> None:
    ran = rackrate("llama-3-8b-instruct", "--on", "t4", "--on", "aws/g4dn.12xlarge")
    assert ran.code == 0, ran.stderr
    assert "16.1 GB of weights in fp16" in ran.stdout
    assert "does not fit t4" in ran.stdout
    assert "fits 4 x t4 (tp 4)" in ran.stdout
    assert "2 x t4 (tp 2)" in ran.stdout


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_model_that_fits_nowhere_ends_as_an_empty_plan_does(rackrate: Rackrate, form: tuple[str, ...]) -> None:
    ran = rackrate("llama-3-70b-instruct", "--on", "t4", "--on", "t4x2", *form)
    assert ran.code == 2
    assert "t4" in ran.stdout
    assert "does not fit: none of the 2 holds it" in ran.stderr


def test_json_says_what_the_table_says(values: Values) -> None:
    found = values("meta-llama/Meta-Llama-3-70B-Instruct", "--on", "t4x4", "--on", "4xt4")
    assert found["schema"] == "rackrate.fit/1"
    assert found["model"]["parameters"] == 70_553_706_496
    first, second = found["fits"]
    assert first == second
    assert first["fits"] is False
    assert first["spare_bytes"] < 0
    assert {way["kind"] for way in first["remedies"]} == {"format", "count", "accelerator"}
    assert all(way["fits"] for way in first["remedies"])


def test_without_a_place_every_gpu_is_answered_for(rackrate: Rackrate, values: Values) -> None:
    found = values("qwen3-8b", "--weights", "awq", "--context", "8192", "--kv-format", "fp8")
    gpus = {name for name, card in load_catalog().accelerators.items() if card.kind == "gpu"}
    assert {row["accelerator"] for row in found["fits"]} == gpus
    assert all(row["context_tokens"] == 8192 for row in found["fits"])
    table = rackrate("qwen3-8b", "--weights", "awq").stdout
    assert all(name in table for name in gpus)


def test_a_cpu_with_its_memory_and_a_format_of_llama_cpp(values: Values) -> None:
    found = values("smollm2-135m-instruct", "--weights", "q4_k_m", "--on", "epyc-9654", "--memory", "1")
    (row,) = found["fits"]
    assert (row["engine"], row["fits"], row["memory_bytes"]) == ("llamacpp", True, 2**30)


def test_a_config_file(tmp_path: Path, values: Values) -> None:
    config = {
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192,
    }  # fmt: skip
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    found = values(str(file), "--on", "a100-sxm-80gb")
    assert found["model"]["parameters"] == 8_030_261_248
    assert found["model"]["origin"] == str(file)
    assert found["fits"][0]["fits"] is True


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["llama-9"], "no model is called 'llama-9'; did you mean"),
        (["llama-3-8b-instruct", "--on", "t5"], "no accelerator is called 't5'; did you mean"),
        (["llama-3-8b-instruct", "--on", "t4x0"], "at least one accelerator is needed"),
        (["llama-3-8b-instruct", "--on", "aws/c7i.large"], "aws/c7i.large"),
        (["llama-3-8b-instruct", "--on", "epyc-9654"], "has no memory of its own: say how much"),
        (["llama-3-8b-instruct", "--weights", "q9"], "no weight format is called 'q9'"),
        (["llama-3-8b-instruct", "--kv-format", "fp3"], "no KV cache format is called 'fp3'"),
        (
            ["llama-3-8b-instruct", "--context", "0"],
            "--context is a whole number of tokens from 1 to 1,",
        ),
        (["llama-3-8b-instruct", "--on", "t4", "--tp", "0"], "--tp is a whole number from 1 to 1,024, got 0"),
        (["llama-3-8b-instruct", "--on", "t4", "--memory", "1e308"], "at most 1,000,000, got 1e+308"),
        (["smollm2-135m-instruct", "--on", "epyc-9654", "--memory", "1e308"], "at most 1,000,000, got 1e+308"),
        (["llama-3-8b-instruct", "--on", "t4x4", "--tp", "3"], "--tp 3 times --pp 1 is 3, but --on names 4 x t4"),
        (["llama-3-8b-instruct", "--tp", "2"], "--tp and --pp need --on"),
        (["llama-3-8b-instruct", "--on", "t4x37"], "too many"),
        (
            ["llama-3-8b-instruct", "--memory", "-1"],
            "--memory is a number of GiB above 0 and at most",
        ),
        (["llama-3-8b-instruct", "--engine", "tgi"], "no memory facts for the engine 'tgi'"),
    ],
)
def test_bad_input_is_one_sentence(rackrate: Rackrate, words: list[str], sentence: str) -> None:
    ran = rackrate(*words)
    assert ran.code == 2
    assert sentence in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
    assert "Traceback" not in ran.stderr


def test_a_damaged_gguf_is_one_sentence(tmp_path: Path, rackrate: Rackrate) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF\x03\x00\x00\x00" + b"\xff" * 16)
    ran = rackrate(str(file))
    assert ran.code == 2
    assert f"{file}: not a sound GGUF header" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
